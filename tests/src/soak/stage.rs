//! The server, the upstreams behind it, and who may call what.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::api::Api;
use crate::certificates::Authority;
use crate::mcp::{McpUpstream, tool};
use crate::mcp_upstream::{Revisions, Running, fastmcp};
use crate::upstream::Upstream;
use crate::world::World;
use crate::{forms, wait};

/// The service over HTTP.
pub const API: &str = "api";
/// The same upstream, of which little patience is had.
pub const SLOW: &str = "slow";
/// The MCP server without sessions.
pub const SHELF: &str = "shelf";
/// The MCP server with sessions, where it is installed.
pub const OLD: &str = "old";

/// What agents and other callers may do.
pub const CALLER: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/catalog/+" { capabilities = ["read"] }
path "mcp-proxy/health" { capabilities = ["read"] }
path "mcp-proxy/services" { capabilities = ["list"] }
path "mcp-proxy/proxy/+/+" { capabilities = ["update"] }
path "mcp-proxy/call/+/+" { capabilities = ["update"] }
"#;

/// What the load needs.
#[derive(Debug)]
pub struct Stage {
    /// The server with the plugin.
    pub world: World,
    /// A client that may call.
    pub caller: Api,
    /// Whether there is a server with sessions.
    pub has_sessions: bool,
    /// How the calls went.
    pub tally: Tally,
}

/// What the faults need.
#[derive(Debug)]
pub struct Upstreams {
    /// Over HTTP; always at the same place.
    pub api: Upstream,
    /// Gone with the run.
    pub shelf: McpUpstream,
    /// With sessions.
    pub old: Option<Running>,
    authority: Authority,
}

/// How the calls went.
#[derive(Debug)]
pub struct Tally(Mutex<Book>);

#[derive(Debug)]
struct Book {
    /// Before this, a call may fail.
    rough_until: Instant,
    calls: usize,
    excused: usize,
    failures: Vec<String>,
}

/// How many versions of a credential the plugin keeps.
const VERSIONS: usize = 10;
/// How long after a fault calls may still fail: go-plugin and the bridges find out at their next turn.
const AFTERMATH: Duration = Duration::from_secs(4);
const FAR: Duration = Duration::from_secs(24 * 3600);

impl Tally {
    fn new() -> Self {
        let (calls, excused, failures) = (0, 0, Vec::new());
        Self(Mutex::new(Book { rough_until: Instant::now(), calls, excused, failures }))
    }

    /// A fault begins: until it ends, calls may fail.
    pub fn begin_fault(&self) {
        self.0.lock().unwrap().rough_until = Instant::now() + FAR;
    }

    /// It is over, but for its aftermath.
    pub fn end_fault(&self) {
        self.0.lock().unwrap().rough_until = Instant::now() + AFTERMATH;
    }

    /// Notes a call that began then, and what was wrong with its answer.
    pub fn note(&self, began: Instant, wrong: Option<String>) {
        let mut book = self.0.lock().unwrap();
        book.calls += 1;
        match wrong {
            None => {}
            Some(_) if began < book.rough_until => book.excused += 1,
            Some(wrong) => book.failures.push(wrong),
        }
    }

    /// Calls in all, and those that failed in or after a fault.
    pub fn counts(&self) -> (usize, usize) {
        let book = self.0.lock().unwrap();
        (book.calls, book.excused)
    }

    /// What else went wrong: without a fault, nothing may.
    pub fn failures(&self) -> Vec<String> {
        self.0.lock().unwrap().failures.clone()
    }
}

impl Stage {
    /// Starts all of it.
    pub async fn set() -> (Self, Upstreams) {
        let world = World::start_quiet().await;
        let config = json!({
            "allow_danger": "danger_allow_plaintext", "upstream_cidrs": "127.0.0.0/8",
        });
        world.root.write("mcp-proxy/config", config).await.ok();
        let authority = Authority::new();
        let api = Upstream::start_with(&authority).await;
        let fields = json!({
            "base_url": api.url(), "ca_cert": api.ca(), "auth": "bearer", "token": world.secret(),
            "rules": "deny * /admin/**, allow GET,POST /**",
        });
        world.root.write(&format!("mcp-proxy/services/{API}"), fields).await.ok();

        let fields = json!({
            "base_url": api.url(), "ca_cert": api.ca(), "auth": "none", "timeout": "3s",
        });
        world.root.write(&format!("mcp-proxy/services/{SLOW}"), fields).await.ok();
        // Answers are searched for every version that is kept. As many as are kept at most are there
        // from the start, or each rotation would add to the plugin's memory.
        for _ in 0..VERSIONS {
            let fields = json!({ "token": forms::canary() });
            world.root.write(&format!("mcp-proxy/services/{API}"), fields).await.ok();
        }

        let token = world.secret();
        let shelf = McpUpstream::start(&token).await;
        shelf.list(vec![tool("echo", "Says its name.")]);
        offer(&world.root, SHELF, &shelf.url(), &token).await;
        let token = world.secret();
        let bearer = format!("Bearer {token}");
        let old = fastmcp(Revisions::WithHandshake, "Authorization", &bearer).await;
        if let Some(old) = &old {
            offer(&world.root, OLD, &old.url(), &token).await;
        }
        let caller = world.client(CALLER).await;
        let stage = Self { world, caller, has_sessions: old.is_some(), tally: Tally::new() };
        (stage, Upstreams { api, shelf, old, authority })
    }
}

impl Upstreams {
    /// Ends the upstream over HTTP with all its connections, and starts it again where it was.
    pub async fn restart_api(self) -> Self {
        let Self { api, shelf, old, authority } = self;
        let port = api.port();
        drop(api);
        wait::until("the upstream to be gone", async || {
            tokio::net::TcpStream::connect(("127.0.0.1", port)).await.is_err().then_some(())
        })
        .await;
        let api = Upstream::start_at([127, 0, 0, 1], port, &authority).await;
        Self { api, shelf, old, authority }
    }
}

/// Writes a service for an MCP server, and approves all that it has.
async fn offer(root: &Api, name: &str, url: &str, token: &str) {
    let fields = json!({
        "type": "mcp", "base_url": url, "danger_allow_plaintext": true, "auth": "bearer",
        "token": token, "timeout": "10s",
    });
    root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
    let seen = root.write(&format!("mcp-proxy/tools/{name}/refresh"), json!({})).await.ok();
    let digest: &Value = &seen.data()["digest"];
    let approve = json!({ "digest": digest });
    root.write(&format!("mcp-proxy/tools/{name}/approve"), approve).await.ok();
}
