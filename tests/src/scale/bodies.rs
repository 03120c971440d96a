//! Bodies of the ceiling's size, more at once than the plugin has memory set aside for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::json;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::memory;
use crate::world::World;

/// Calls at one time.
pub const CALLS: usize = 64;
/// `bounds::MAX_RESPONSE`, in bytes.
pub const ANSWER: usize = 32 << 20;
/// What each of them may take.
pub const TIME: Duration = Duration::from_secs(60);
/// `limits::BODY_BUDGET`, in MiB.
pub const BUDGET_MIB: f64 = 256.0;
/// What there is at the peak for each byte of the budget, at most: the body, its text, the answer's
/// JSON and the message to the host.
pub const COPIES: f64 = 4.0;

/// What became of the calls.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Answers that came whole.
    pub whole: usize,
    /// Calls refused before anything was sent.
    pub busy: usize,
    /// Calls whose answer waited for memory until their time was up.
    pub too_large: usize,
    /// The least that one of these took.
    pub least_wait: Option<Duration>,
    /// Calls whose time was up, on a machine that is busy enough.
    pub late: usize,
    /// What the last call took.
    pub last: Duration,
    /// Memory of the plugin before, in MiB.
    pub before: f64,
    /// The most that it ever had, in MiB.
    pub peak: f64,
}

/// Asks [`CALLS`] times at once for [`ANSWER`] bytes, over a service named `demo`, which there must be.
///
/// # Panics
/// When an answer is neither whole nor refused in a way that a caller can tell.
pub async fn at_once(world: &World) -> Outcome {
    let timeout = format!("{}s", TIME.as_secs());
    let fields =
        json!({ "max_response_bytes": ANSWER, "max_in_flight": CALLS, "timeout": timeout });
    world.root.write("mcp-proxy/services/demo", fields).await.ok();
    let path = "mcp-proxy/proxy/demo/GET";
    world.root.write(path, json!({ "path": "/a" })).await.ok();
    let plugin = *world.server.plugins().first().expect("a plugin that runs");
    let mut outcome = Outcome { before: memory(plugin, "VmRSS"), ..Outcome::default() };

    // One is read at a time: what is measured is the plugin's memory, not this process's.
    let reading = Arc::new(Semaphore::new(1));
    let mut calls = JoinSet::new();
    for _ in 0..CALLS {
        let (api, reading) = (world.root.clone(), Arc::clone(&reading));
        calls.spawn(async move {
            let begun = Instant::now();
            let answer = api.write(path, json!({ "path": format!("/size/{ANSWER}") })).await;
            let took = begun.elapsed();
            let _turn = reading.acquire().await;
            let ended = match answer.status {
                200 => {
                    let body = answer.data()["body"].as_str().map_or(0, str::len);
                    assert_eq!(body, ANSWER, "whole");
                    "whole"
                }
                400 => {
                    answer.refused(400, "busy");
                    "busy"
                }
                _ if answer.errors().contains("outcome_unknown: ") => "late",
                _ => {
                    answer.refused(424, "response_too_large");
                    "too_large"
                }
            };
            (ended, took)
        });
    }
    while let Some(call) = calls.join_next().await {
        let (ended, took) = call.expect("an answer, or a clear refusal");
        outcome.last = outcome.last.max(took);
        match ended {
            "whole" => outcome.whole += 1,
            "busy" => outcome.busy += 1,
            "late" => outcome.late += 1,
            _ => {
                outcome.too_large += 1;
                outcome.least_wait = Some(outcome.least_wait.map_or(took, |least| least.min(took)));
            }
        }
    }
    outcome.peak = memory(plugin, "VmHWM");
    assert_eq!(world.server.plugins(), [plugin], "the same process all along");
    outcome
}
