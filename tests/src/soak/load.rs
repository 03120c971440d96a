//! The calls, at a steady pace, and which answer each must get.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::stage::{API, OLD, SHELF, SLOW, Stage};
use crate::bridge::Bridge;
use crate::world::AppRole;

/// From one call of a client, or of an agent, to its next.
const CLIENT_PACE: Duration = Duration::from_millis(150);
const AGENT_PACE: Duration = Duration::from_millis(400);
/// After this a caller leaves.
const PATIENCE: Duration = Duration::from_millis(60);

/// What a call must get.
#[derive(Clone, Copy, Debug)]
enum Expected {
    /// This status.
    Status(u16),
    /// Nothing in time: the caller leaves.
    Nothing,
}

/// One call of a client: method, path, body.
type Call = (&'static str, String, Option<Value>, Expected);

fn calls(stage: &Stage) -> Vec<Call> {
    use Expected::{Nothing, Status};
    let proxied = |method: &str, path: &str, expected| {
        let fields = json!({ "path": path });
        ("POST", format!("mcp-proxy/proxy/{API}/{method}"), Some(fields), expected)
    };
    let tool = |service: &str, tool: &str, arguments: Value, expected| {
        let fields = json!({ "arguments": arguments });
        ("POST", format!("mcp-proxy/call/{service}/{tool}"), Some(fields), expected)
    };
    let read = |method, path: &str| (method, format!("mcp-proxy/{path}"), None, Status(200));
    let body = json!({ "path": "/headers", "json": { "a": ["b", 1, null] } });
    let mut calls = vec![
        proxied("GET", "/a", Status(200)),
        ("POST", format!("mcp-proxy/proxy/{API}/POST"), Some(body), Status(200)),
        tool(SHELF, "echo", json!({ "text": "x" }), Status(200)),
        proxied("GET", "/size/100000", Status(200)),
        proxied("GET", "/admin/a", Status(400)),
        proxied("GET", "/stall", Nothing),
        read("LIST", "services"),
        proxied("GET", "/echo/json", Status(200)),
        ("POST", "mcp-proxy/proxy/nobody/GET".to_owned(), Some(json!({})), Status(404)),
        ("POST", "mcp-proxy/config".to_owned(), Some(json!({})), Status(403)),
        tool(SHELF, "echo", json!({ "text": "y" }), Status(200)),
        read("GET", "catalog"),
        proxied("GET", "/status/500", Status(200)),
        tool(SHELF, "unknown", json!({}), Status(404)),
        proxied("GET", "/reset", Status(424)),
        read("GET", "health"),
        (
            "POST",
            format!("mcp-proxy/proxy/{SLOW}/GET"),
            Some(json!({ "path": "/stall" })),
            Status(424),
        ),
    ];
    if stage.has_sessions {
        calls.insert(4, tool(OLD, "add", json!({ "a": 1, "b": 2 }), Status(200)));
        calls.insert(9, tool(OLD, "slow", json!({ "seconds": 5 }), Nothing));
        calls.insert(14, tool(OLD, "add", json!({ "a": 3, "b": 4 }), Status(200)));
    }
    calls
}

/// Calls one after another until it is told to stop, from the `first` on.
pub async fn client(stage: Arc<Stage>, first: usize, mut stop: watch::Receiver<bool>) {
    let calls = calls(&stage);
    let mut pace = paced(CLIENT_PACE);
    for (method, path, body, expected) in calls.iter().cycle().skip(first) {
        tokio::select! {
            _ = pace.tick() => {}
            _ = stop.changed() => return,
        }
        let began = Instant::now();
        let answer = stage.caller.send(method, path, body.as_ref());
        let wrong = match expected {
            Expected::Nothing => timeout(PATIENCE, answer).await.err().map_or_else(
                || Some(format!("{method} {path}: an answer where there is none")),
                |_| None,
            ),
            Expected::Status(status) => match answer.await {
                Ok(answer) if answer.status == *status => None,
                Ok(answer) => Some(format!("{method} {path}: {}: {}", answer.status, answer.text)),
                Err(error) => Some(format!("{method} {path}: {error}")),
            },
        };
        stage.tally.note(began, wrong);
    }
}

/// One agent's bridge, as the run sees it.
#[derive(Debug, Default)]
pub struct Seat {
    /// The process; 0 before the first.
    pub pid: AtomicU32,
    /// How often it is to be started again.
    pub restarts: AtomicUsize,
}

/// What an agent does: a tool, its arguments, and whether it must fail.
type Act = (String, Value, bool);

fn acts(stage: &Stage) -> Vec<Act> {
    let read_of = |service: &str, path: &str, fails| {
        ("proxy_read".to_owned(), json!({ "service": service, "path": path }), fails)
    };
    let read = |path: &str, fails| read_of(API, path, fails);
    let change = json!({
        "service": API, "method": "POST", "path": "/headers", "json": { "a": "b" },
    });
    let mut acts = vec![
        read("/a", false),
        (format!("{SHELF}__echo"), json!({ "text": "x" }), false),
        read("/size/20000", false),
        ("proxy_request".to_owned(), change, false),
        read("/admin/a", true),
        ("list_services".to_owned(), json!({}), false),
        read("/status/404", false),
        read_of(SLOW, "/stall", true),
    ];
    if stage.has_sessions {
        acts.insert(4, (format!("{OLD}__add"), json!({ "a": 1, "b": 2 }), false));
        acts.insert(6, (format!("{OLD}__fail"), json!({ "reason": "x" }), true));
    }
    acts
}

/// An agent with a bridge of its own, until it is told to stop.
pub async fn agent(
    stage: Arc<Stage>,
    role: AppRole,
    seat: Arc<Seat>,
    mut stop: watch::Receiver<bool>,
) {
    let acts = acts(&stage);
    let mut bridge = sit(&stage, &role, &seat).await;
    let mut pace = paced(AGENT_PACE);
    let mut restarts = 0;
    for (number, (tool, arguments, fails)) in acts.iter().cycle().enumerate() {
        tokio::select! {
            _ = pace.tick() => {}
            _ = stop.changed() => break,
        }
        if seat.restarts.load(Ordering::SeqCst) > restarts {
            restarts += 1;
            seat.pid.store(0, Ordering::SeqCst);
            bridge.leave().await;
            bridge = sit(&stage, &role, &seat).await;
        }
        if number % acts.len() == 2 {
            leave_a_call(&mut bridge).await;
            bridge.request("tools/list", json!({})).await;
        }
        let began = Instant::now();
        let result = bridge.call(tool, arguments.clone()).await;
        let wrong = (result.is_error != *fails).then(|| format!("{tool}: {}", result.text));
        stage.tally.note(began, wrong);
    }
    bridge.leave().await;
}

async fn sit(stage: &Stage, role: &AppRole, seat: &Seat) -> Bridge {
    let mut bridge = Bridge::start(stage.world.server.address(), role).await;
    // Tools of servers are known once the catalog is read.
    let wanted = format!("{SHELF}__echo");
    crate::wait::until("the bridge to know the tools", async || {
        bridge.call("list_services", json!({})).await;
        let listed = bridge.request("tools/list", json!({})).await.to_string();
        listed.contains(&wanted).then_some(())
    })
    .await;
    seat.pid.store(bridge.pid(), Ordering::SeqCst);
    bridge
}

/// Begins a call that gets no answer soon, and takes it back.
async fn leave_a_call(bridge: &mut Bridge) {
    let call = json!({ "name": "proxy_read", "arguments": { "service": API, "path": "/stall" } });
    let id = bridge.begin("tools/call", call).await;
    bridge.request("ping", json!({})).await;
    let cancelled = json!({
        "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id },
    });
    bridge.send(&cancelled).await;
}

fn paced(pace: Duration) -> tokio::time::Interval {
    let mut pace = interval(pace);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    pace
}
