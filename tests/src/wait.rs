//! Waiting for a condition, with a limit.

use std::time::{Duration, Instant};

/// How long anything may take before a test gives up on it; far above what a busy machine needs.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Asks `condition` every few milliseconds until it gives a value.
///
/// # Panics
/// After [`LIMIT`], naming `what`.
pub async fn until<T>(what: &str, mut condition: impl AsyncFnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(value) = condition().await {
            return value;
        }
        assert!(started.elapsed() < LIMIT, "not within {LIMIT:?}: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
