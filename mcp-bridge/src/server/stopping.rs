//! Stops serving in steps: nothing new, a moment for what is under way, the end.

use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// The steps of stopping, of one session or of all.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stopping {
    /// No more requests will come: subscriptions end, calls in flight get a moment.
    pub(crate) closed: CancellationToken,
    /// Everything ends now.
    pub(crate) now: CancellationToken,
    /// Calls that come are refused.
    refusing: CancellationToken,
    calls: watch::Sender<usize>,
}

/// A call under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct UnderWay(watch::Sender<usize>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Stopping {
    /// That of one session among others: it can end alone, and ends with all.
    pub(crate) fn session(&self) -> Self {
        Self { closed: self.closed.child_token(), now: self.now.child_token(), ..self.clone() }
    }

    /// Counts a call; none if no more begin.
    pub(crate) fn begin_call(&self) -> Option<UnderWay> {
        if self.refusing.is_cancelled() {
            return None;
        }
        self.calls.send_modify(|count| *count += 1);
        Some(UnderWay(self.calls.clone()))
    }

    /// Stops: refuses what comes, and ends everything once the calls under way have ended, or the
    /// limit has passed.
    pub(crate) async fn stop(&self, limit: Duration) {
        self.refusing.cancel();
        self.closed.cancel();
        let mut calls = self.calls.subscribe();
        let _ = tokio::time::timeout(limit, calls.wait_for(|count| *count == 0)).await;
        self.now.cancel();
    }
}
