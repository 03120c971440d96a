//! The last word to a server: sent when nobody waits for an answer any more, however that comes about.

use std::fmt;
use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use crate::engine::Snapshot;
use crate::proxy::egress::{Limits, OutboundRequest, Room};
use crate::proxy::limits::Reservation;

/// How long a message may take for which nobody waits.
pub(super) const ASIDE: Duration = Duration::from_secs(5);
/// How much of its answer is read, in bytes.
const MOST_ANSWER: usize = 64 << 10;

/// A message that goes out when this is dropped. Its call has its place until then, so that there are
/// never more requests under way than there are places.
pub(super) struct Parting {
    /// Nothing, once it needn't be sent.
    message: Option<OutboundRequest>,
    snapshot: Arc<Snapshot>,
    place: Arc<Reservation>,
}

impl Parting {
    pub(super) fn new(
        message: OutboundRequest,
        snapshot: &Arc<Snapshot>,
        place: &Arc<Reservation>,
    ) -> Self {
        Self { message: Some(message), snapshot: Arc::clone(snapshot), place: Arc::clone(place) }
    }

    /// Leaves it unsaid.
    pub(super) fn forgo(mut self) {
        self.message = None;
    }
}

impl Drop for Parting {
    fn drop(&mut self) {
        if let Some(message) = self.message.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (snapshot, place) = (Arc::clone(&self.snapshot), Arc::clone(&self.place));
            runtime.spawn(async move {
                send_aside(&snapshot, message).await;
                drop(place);
            });
        }
    }
}

impl fmt::Debug for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Parting")
    }
}

/// Room for an answer of which nothing is wanted.
struct NoMatter;

impl Room for NoMatter {
    fn cover(&self, bytes: usize) -> bool {
        bytes <= MOST_ANSWER
    }

    fn wait(&self, bytes: usize) -> BoxFuture<'_, bool> {
        Box::pin(ready(self.cover(bytes)))
    }
}

/// Sends what nobody waits for.
pub(super) async fn send_aside(snapshot: &Snapshot, outbound: OutboundRequest) {
    let limits = Limits {
        deadline: Instant::now() + ASIDE,
        max_response_bytes: MOST_ANSWER,
        room: &NoMatter,
    };
    // A server that doesn't hear it finds out by itself.
    let _ = snapshot.upstream.send(outbound, &limits).await;
}
