//! Sessions with servers that want a handshake (MCP up to 2025-11-25): one per caller, bounded, closed
//! when nobody uses them.
//!
//! They live in a service's snapshot, and end with it: a definition or credential that changed is
//! another party to the server. Nothing of them is stored, and no two nodes share one.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::HeaderValue;
use tokio::runtime::Handle;
use tokio::time::{Instant, sleep, timeout};

use super::client;
use super::era::Hello;
use super::message::Revision;
use crate::engine::Snapshot;

/// Sessions of one service at one time; beyond, the one that was longest unused is closed, but none that
/// is in use.
const MOST: usize = 256;
/// The shortest name of a session that is taken out of answers, in bytes: a shorter one is no secret, and
/// may be anybody's word.
const SHORTEST_NAME: usize = 16;
/// What stands in its place.
const CONCEALED: &str = "[redacted: session]";
/// How long a session is kept without a call.
const IDLE: Duration = Duration::from_secs(10 * 60);
/// How long the sessions of one snapshot are ended, which lives until then.
const CLOSING: Duration = Duration::from_secs(60);

/// One session, agreed on.
pub(super) struct Session {
    /// The server's name for it, as good as a password; `None` where the server keeps none.
    pub(super) id: Option<HeaderValue>,
    /// What is spoken in it.
    pub(super) revision: Revision,
    /// Who answered.
    pub(super) hello: Arc<Hello>,
    /// Where it is kept for more calls than one, if it is.
    home: Weak<Snapshot>,
    is_over: AtomicBool,
}

/// Whoever lets go of a kept session last ends it at the server: a call may still be in one that others
/// have given up.
impl Drop for Session {
    fn drop(&mut self) {
        if !*self.is_over.get_mut()
            && let (Some(id), Some(home)) = (self.id.take(), self.home.upgrade())
            && let Ok(runtime) = Handle::try_current()
        {
            let revision = self.revision;
            runtime.spawn(async move { client::close(&home, &id, revision).await });
        }
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("revision", &self.revision).finish_non_exhaustive()
    }
}

impl Session {
    pub(super) fn new(id: Option<HeaderValue>, revision: Revision, hello: Arc<Hello>) -> Self {
        Self { id, revision, hello, home: Weak::new(), is_over: AtomicBool::new(false) }
    }

    /// Has it end at the server when nobody holds it any more, as long as the snapshot lives.
    pub(super) fn kept_by(mut self, snapshot: &Arc<Snapshot>) -> Self {
        self.home = Arc::downgrade(snapshot);
        self
    }

    /// Tells the server nothing about its end: the server has ended it, or is being told already.
    pub(super) fn forgo(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    /// Takes the session's name out of a JSON text; gives the number of places too. It is found plain, and
    /// with the escapes that JSON's writers make.
    pub(super) fn conceal(&self, mut text: String) -> (String, u32) {
        let Some(id) = self.id.as_ref().and_then(|id| id.to_str().ok()) else { return (text, 0) };
        if id.len() < SHORTEST_NAME {
            return (text, 0);
        }
        let escaped = id.replace('\\', "\\\\").replace('"', "\\\"");
        let mut places = 0;
        for spelling in [escaped.replace('/', "\\/"), escaped] {
            let found = text.matches(&spelling).count();
            if found > 0 {
                text = text.replace(&spelling, CONCEALED);
                places += u32::try_from(found).unwrap_or(u32::MAX);
            }
        }
        (text, places)
    }
}

/// Where one caller's session is; locked while it is opened.
pub(super) struct Slot {
    pub(super) session: tokio::sync::Mutex<Option<Arc<Session>>>,
    used: Mutex<Instant>,
}

/// All sessions of a service, by who calls.
#[derive(Default)]
pub struct Sessions(Mutex<Book>);

#[derive(Default)]
struct Book {
    slots: HashMap<String, Arc<Slot>>,
    swept: bool,
    /// Whether no more sessions are kept.
    is_over: bool,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl Sessions {
    /// The place of a caller's session, made if there is none; `None` while all are in use, and once the
    /// snapshot has left the cache. A session that had to make room for it is closed.
    pub(super) fn slot(&self, who: &str, snapshot: &Arc<Snapshot>) -> Option<Arc<Slot>> {
        let mut book = self.book();
        let (slot, put_out) = book.slot(who, Instant::now())?;
        if let Some(put_out) = put_out {
            let snapshot = Arc::clone(snapshot);
            tokio::spawn(async move { close(&snapshot, &put_out).await });
        }
        if !std::mem::replace(&mut book.swept, true) {
            sweep_later(snapshot);
        }
        Some(slot)
    }

    /// Takes out what nobody has used for a time and nobody uses now.
    fn take_idle(&self, now: Instant) -> Vec<Arc<Slot>> {
        let mut book = self.book();
        let mut idle = Vec::new();
        book.slots.retain(|_, slot| {
            let is_idle = now >= *lock(&slot.used) + IDLE && !is_in_use(slot);
            if is_idle {
                idle.push(Arc::clone(slot));
            }
            !is_idle
        });
        idle
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.0)
    }
}

impl Book {
    /// The place of a caller's session, and what had to make room for it.
    fn slot(&mut self, who: &str, now: Instant) -> Option<(Arc<Slot>, Option<Arc<Slot>>)> {
        if let Some(slot) = self.slots.get(who) {
            *lock(&slot.used) = now;
            return Some((Arc::clone(slot), None));
        }
        let mut put_out = None;
        if self.is_over {
            return None;
        }
        if self.slots.len() >= MOST {
            let unused = self.slots.iter().filter(|(_, slot)| !is_in_use(slot));
            let oldest = unused.min_by_key(|(_, slot)| *lock(&slot.used));
            let oldest = oldest.map(|(who, _)| who.clone())?;
            put_out = self.slots.remove(&oldest);
        }
        let slot = Arc::new(Slot { session: tokio::sync::Mutex::new(None), used: Mutex::new(now) });
        self.slots.insert(who.to_owned(), Arc::clone(&slot));
        Some((slot, put_out))
    }
}

/// Whether a call holds it, beside the book.
fn is_in_use(slot: &Arc<Slot>) -> bool {
    Arc::strong_count(slot) > 1
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Closes idle sessions, also when no call comes by; ends with the last session, or the snapshot.
fn sweep_later(snapshot: &Arc<Snapshot>) {
    let snapshot = Arc::downgrade(snapshot);
    tokio::spawn(async move {
        loop {
            sleep(IDLE / 4).await;
            let Some(snapshot) = snapshot.upgrade() else { return };
            for slot in snapshot.mcp.sessions.take_idle(Instant::now()) {
                close(&snapshot, &slot).await;
            }
            let mut book = snapshot.mcp.sessions.book();
            if book.slots.is_empty() {
                book.swept = false;
                return;
            }
        }
    });
}

/// Ends all sessions of a snapshot that another takes the place of; those in use, when their calls end.
pub(crate) fn close_all(snapshot: &Arc<Snapshot>) {
    let slots = {
        let mut book = snapshot.mcp.sessions.book();
        book.is_over = true;
        std::mem::take(&mut book.slots)
    };
    let Ok(runtime) = Handle::try_current() else { return };
    if slots.is_empty() {
        return;
    }
    let snapshot = Arc::clone(snapshot);
    runtime.spawn(async move {
        // One after another, so that calls find their places.
        let closing = async {
            for slot in slots.into_values().filter(|slot| !is_in_use(slot)) {
                close(&snapshot, &slot).await;
            }
        };
        let _ = timeout(CLOSING, closing).await;
    });
}

async fn close(snapshot: &Arc<Snapshot>, slot: &Slot) {
    let session = slot.session.lock().await.take();
    if let Some((session, id)) = session.as_ref().and_then(|it| Some((it, it.id.as_ref()?))) {
        session.forgo();
        client::close(snapshot, id, session.revision).await;
    }
}

/// Forgets a session that the server no longer knows, unless another has taken its place.
pub(super) async fn forget(slot: &Slot, session: &Arc<Session>) {
    let mut held = slot.session.lock().await;
    if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, session)) {
        *held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_when_all_is_full_takes_nobodys_session() {
        let mut book = Book::default();
        let now = Instant::now();
        let mut enter =
            |who: usize| book.slot(&who.to_string(), now + Duration::from_secs(who as u64));
        let first = enter(0).unwrap().0;
        for who in 1..MOST {
            enter(who).unwrap();
        }
        // The first is the oldest, but in use.
        let (newcomer, put_out) = enter(MOST).unwrap();
        assert_eq!(put_out.map(|slot| *lock(&slot.used)), Some(now + Duration::from_secs(1)));
        let mut held: Vec<_> = (2..MOST).map(|who| enter(who).unwrap().0).collect();
        assert!(enter(MOST + 1).is_none());
        let (again, put_out) = enter(0).unwrap();
        assert!(Arc::ptr_eq(&first, &again) && put_out.is_none());
        held.pop();
        assert!(enter(MOST + 1).unwrap().1.is_some());
        drop(newcomer);
    }
}
