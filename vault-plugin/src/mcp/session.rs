//! Sessions with servers that want a handshake (MCP up to 2025-11-25): one per caller, bounded, closed
//! when nobody uses them.
//!
//! They live in a service's snapshot, and end with it: a definition or credential that changed is
//! another party to the server. Nothing of them is stored, and no two nodes share one.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderValue;
use tokio::time::{Instant, sleep};

use super::client;
use super::era::Hello;
use super::message::Revision;
use crate::engine::Snapshot;

/// Sessions of one service at one time; beyond, the one that was longest unused is closed.
const MOST: usize = 256;
/// How long a session is kept without a call.
const IDLE: Duration = Duration::from_secs(10 * 60);

/// One session, agreed on.
pub(super) struct Session {
    /// The server's name for it, as good as a password; `None` where the server keeps none.
    pub(super) id: Option<HeaderValue>,
    /// What is spoken in it.
    pub(super) revision: Revision,
    /// Who answered.
    pub(super) hello: Arc<Hello>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("revision", &self.revision).finish_non_exhaustive()
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
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sessions")
    }
}

impl Sessions {
    /// The place of a caller's session, made if there is none. A session that had to make room for it
    /// is closed.
    pub(super) fn slot(&self, who: &str, snapshot: &Arc<Snapshot>) -> Arc<Slot> {
        let now = Instant::now();
        let mut book = self.book();
        if let Some(slot) = book.slots.get(who) {
            *lock(&slot.used) = now;
            return Arc::clone(slot);
        }
        if book.slots.len() >= MOST {
            let oldest = book.slots.iter().min_by_key(|(_, slot)| *lock(&slot.used));
            if let Some(who) = oldest.map(|(who, _)| who.clone())
                && let Some(slot) = book.slots.remove(&who)
            {
                let snapshot = Arc::clone(snapshot);
                tokio::spawn(async move { close(&snapshot, &slot).await });
            }
        }
        let slot = Arc::new(Slot { session: tokio::sync::Mutex::new(None), used: Mutex::new(now) });
        book.slots.insert(who.to_owned(), Arc::clone(&slot));
        if !std::mem::replace(&mut book.swept, true) {
            sweep_later(snapshot);
        }
        slot
    }

    /// Takes out what nobody has used for a time and nobody uses now.
    fn take_idle(&self, now: Instant) -> Vec<Arc<Slot>> {
        let mut book = self.book();
        let mut idle = Vec::new();
        book.slots.retain(|_, slot| {
            let is_idle = now >= *lock(&slot.used) + IDLE && Arc::strong_count(slot) == 1;
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

async fn close(snapshot: &Arc<Snapshot>, slot: &Slot) {
    if let Some(session) = slot.session.lock().await.take() {
        client::close(snapshot, &session).await;
    }
}

/// Forgets a session that the server no longer knows, unless another has taken its place.
pub(super) async fn forget(slot: &Slot, session: &Arc<Session>) {
    let mut held = slot.session.lock().await;
    if held.as_ref().is_some_and(|held| Arc::ptr_eq(held, session)) {
        *held = None;
    }
}
