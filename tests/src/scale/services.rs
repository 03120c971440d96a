//! Many services on a mount, and calls that go round them all.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::api::Api;
use crate::bench::cost::processor_time;

/// Callers and writers at one time.
const AT_ONCE: usize = 8;

/// Writes services with a definition, each with a credential of its own.
///
/// # Panics
/// When one is refused.
pub async fn define(root: &Api, names: &[String], definition: &Value) {
    each(names, async |name| {
        let mut fields = definition.clone();
        fields["description"] = json!(format!("Sample service {name}"));
        root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
    })
    .await;
}

/// What one call costs when all services are called in turn: milliseconds, and microseconds on the
/// processor of the server and of the plugin.
///
/// # Panics
/// When a call fails.
pub async fn round(root: &Api, names: &[String], processes: [u32; 2]) -> (f64, [f64; 2]) {
    let before = processes.map(processor_time);
    let started = Instant::now();
    each(names, async |name| {
        let path = format!("mcp-proxy/proxy/{name}/GET");
        let answer = root.write(&path, json!({ "path": "/a" })).await.ok();
        assert_eq!(answer.data()["status"], 200, "{}", answer.text);
    })
    .await;
    let count = names.len() as f64;
    let took = started.elapsed().as_secs_f64() * 1e3 * AT_ONCE.min(names.len()) as f64 / count;
    let after = processes.map(processor_time);
    let cost = |at: usize| after[at].saturating_sub(before[at]).as_secs_f64() * 1e6 / count;
    (took, [cost(0), cost(1)])
}

/// Does something for each name, a few at one time.
async fn each(names: &[String], work: impl AsyncFn(&String)) {
    let next = Arc::new(AtomicUsize::new(0));
    let workers = (0..AT_ONCE).map(async |_| {
        while let Some(name) = names.get(next.fetch_add(1, Ordering::Relaxed)) {
            work(name).await;
        }
    });
    futures_util::future::join_all(workers).await;
}
