//! Looks at MCP servers: on an operator's word, and in the background while they are used.
//!
//! A background look is started by the use of a service when the last one is [`PERIOD`] old, and
//! nothing waits for it. It only changes what is withheld: no look makes an approval. While a server
//! can't be listed, what was last seen stays, marked, and looks become rarer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use vault_sdk::Storage;

use super::{Engine, ToolsBook, aside};
use crate::error::{Code, Error, Failure};
use crate::mcp::client;
use crate::mcp::offer::Fresh;
use crate::mcp::seen::Seen;
use crate::name::Name;
use crate::storage;

/// Seconds after which a look is due, ± 20 %.
const PERIOD: u64 = 600;
/// Seconds after the first failure, ± 20 %; each further one doubles them.
const RETRY: u64 = 60;
/// Seconds between failing looks at most, ± 20 %.
const MOST_RETRY: u64 = 3_600;
/// Background looks at one time on one mount.
pub(super) const LOOKERS: usize = 4;
/// For all pages of all lists of one server.
const LOOKING: Duration = Duration::from_secs(60);

/// What looks at one server came to, on this node.
#[derive(Debug, Default)]
pub(super) struct Look {
    running: bool,
    /// When the next is due, in seconds since 1970.
    due: u64,
    failures: u32,
    stale: Option<Stale>,
    /// What the last one found, where it couldn't be stored.
    pub(super) fresh: Option<Arc<Fresh>>,
}

/// A server that can't be listed any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stale {
    /// The first look that failed, in seconds since 1970.
    pub since: u64,
    /// What the last one failed with.
    pub code: Code,
}

/// A background look under way; whatever ends it, another may begin.
struct Looking {
    engine: Arc<Engine>,
    id: String,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Looking {
    fn drop(&mut self) {
        if let Some(look) = self.engine.tools.state().looks.get_mut(&self.id) {
            look.running = false;
        }
    }
}

impl ToolsBook {
    pub(super) fn set_fresh(&self, id: &str, fresh: Option<Fresh>) {
        let mut state = self.state();
        let look = state.looks.entry(id.to_owned()).or_default();
        if look.fresh.is_some() || fresh.is_some() {
            look.fresh = fresh.map(Arc::new);
            state.forget(id);
        }
    }

    /// Makes a look due: the definition of the service has changed.
    pub(in crate::engine) fn expire(&self, id: &str) {
        if let Some(look) = self.state().looks.get_mut(id) {
            look.due = 0;
        }
    }

    fn ended(&self, id: &str, now: u64, failure: Option<Code>) {
        let mut state = self.state();
        let look = state.looks.entry(id.to_owned()).or_default();
        match failure {
            None => {
                look.failures = 0;
                look.stale = None;
                look.due = now + jittered(PERIOD);
            }
            Some(code) => {
                let since = look.stale.map_or(now, |stale| stale.since);
                look.stale = Some(Stale { since, code });
                look.due = now + jittered((RETRY << look.failures.min(10)).min(MOST_RETRY));
                look.failures += 1;
            }
        }
    }
}

impl Engine {
    /// Since when a server can't be listed, if the last look failed on this node.
    pub fn stale(&self, id: &str) -> Option<Stale> {
        self.tools.state().looks.get(id).and_then(|look| look.stale)
    }

    /// Looks at a server in the background, if that is due. Returns at once.
    pub fn look_if_due(self: &Arc<Self>, storage: &Arc<dyn Storage>, name: &Name, id: &str) {
        let now = (self.clock)();
        let looking = {
            let mut state = self.tools.state();
            let look = state.looks.entry(id.to_owned()).or_default();
            if look.running || now < look.due {
                return;
            }
            // All are out: the next use asks again.
            let Ok(permit) = Arc::clone(&self.tools.lookers).try_acquire_owned() else { return };
            look.running = true;
            // Until it has ended with something better to go by.
            look.due = now + RETRY;
            Looking { engine: Arc::clone(self), id: id.to_owned(), _permit: permit }
        };
        let (storage, name) = (Arc::clone(storage), name.clone());
        tokio::spawn(async move {
            let engine = &looking.engine;
            let request_id = storage::random_id().unwrap_or_default();
            let looked = engine.look(storage.as_ref(), &name, &request_id).await;
            match looked {
                Ok(changed) if changed => tracing::info!(service = %name, "its tools have changed"),
                Ok(_) => {}
                Err(error) => tracing::warn!(service = %name, %error, "its tools can't be listed"),
            }
        });
    }

    /// Looks at a server now and stores what was seen; tells whether that differs from before.
    ///
    /// # Errors
    /// What is in the way of any call to the service; storage's own.
    pub async fn look(
        &self,
        storage: &dyn Storage,
        name: &Name,
        request_id: &str,
    ) -> Result<bool, Error> {
        let service = self.mcp_service(storage, name).await?;
        let listed = self.list(storage, name, request_id).await;
        let failure = match &listed {
            Ok(_) => None,
            // Nothing was asked of the server, so nothing is known of it.
            Err(Error::Failure(Failure { code: Code::Paused | Code::ServiceDisabled, .. })) => {
                return listed.map(|_| false);
            }
            Err(Error::Failure(failure)) => Some(failure.code),
            Err(Error::Storage(_) | Error::Internal(_)) => Some(Code::UpstreamUnreachable),
        };
        self.tools.ended(&service.id, (self.clock)(), failure);
        self.store_seen(storage, name, &service.id, &listed?).await
    }

    async fn list(
        &self,
        storage: &dyn Storage,
        name: &Name,
        request_id: &str,
    ) -> Result<Seen, Error> {
        if self.mount(storage).await?.entry.paused {
            return Err(Failure::new(
                Code::Paused,
                format!(
                    "an operator has paused all calls, so \"{name}\" isn't looked at. Resume: vault \
                     write <mount>/config paused=false"
                ),
            )
            .into());
        }
        let snapshot = self.snapshot(storage, name).await?;
        if !snapshot.enabled {
            return Err(Failure::new(
                Code::ServiceDisabled,
                format!(
                    "an operator has switched \"{name}\" off, so it isn't looked at. Switch it on: \
                     vault write <mount>/services/{name} enabled=true"
                ),
            )
            .into());
        }
        let deadline = Instant::now() + LOOKING;
        let listing = client::list_all(self, &snapshot, request_id, deadline).await?;
        aside(move || Seen::of(&listing)).await
    }
}

/// Within 20 % of a time, so that nodes and services don't look all at once.
fn jittered(seconds: u64) -> u64 {
    let mut byte = [0_u8; 1];
    // Without random bytes, it is the middle.
    let spread = getrandom::fill(&mut byte).map_or(20, |()| u64::from(byte[0]) % 41);
    seconds * (80 + spread) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_come_at_odd_times_and_rarer_while_they_fail() {
        let book = ToolsBook::default();
        let due = |failure| {
            book.ended("id", 1_000_000, failure);
            book.state().looks["id"].due - 1_000_000
        };
        let times: std::collections::BTreeSet<u64> = (0..50).map(|_| due(None)).collect();
        assert!(times.iter().all(|time| (480..=720).contains(time)), "{times:?}");
        assert!(times.len() > 5, "{times:?}");
        for least in [48, 96, 192, 384, 768, 1_536, 2_880, 2_880, 2_880] {
            let time = due(Some(Code::UpstreamUnreachable));
            assert!((least..=least * 3 / 2).contains(&time), "{time} {least}");
        }
        for _ in 0..100 {
            assert!(due(Some(Code::UpstreamUnreachable)) <= MOST_RETRY * 12 / 10);
        }
        assert!((480..=720).contains(&due(None)));
        assert_eq!(book.state().looks["id"].stale, None);
    }

    #[test]
    fn stale_is_since_the_first_failure() {
        let book = ToolsBook::default();
        book.ended("id", 10, Some(Code::UpstreamUnreachable));
        book.ended("id", 20, Some(Code::OutcomeUnknown));
        let expected = Stale { since: 10, code: Code::OutcomeUnknown };
        assert_eq!(book.state().looks["id"].stale, Some(expected));
    }
}
