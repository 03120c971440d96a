//! Open connections to one origin, kept for the next call.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};

use super::connection::{Connection, Http1, Http2};
use super::dial::Dialer;
use super::error::{EgressError, Unreachable};

/// Idle HTTP/1.1 connections kept at most: as many as a service may have calls in flight by default,
/// or the next burst pays for handshakes. What a burst leaves behind goes when its time is over.
const MAX_IDLE: usize = 64;
/// How long hyper may take to be ready again after a body was read to its end.
const READY_TIMEOUT: Duration = Duration::from_millis(100);

/// How long connections are kept.
#[derive(Clone, Copy)]
pub(super) struct Keep {
    /// Without a call; below what common servers keep, so that theirs is rarely the first close.
    pub(super) idle: Duration,
    /// In all, which bounds how long a connection outlives a change in DNS.
    pub(super) age: Duration,
}

impl Default for Keep {
    fn default() -> Self {
        Self { idle: Duration::from_secs(30), age: Duration::from_secs(300) }
    }
}

/// The connections of one upstream: last in, first out for HTTP/1.1, one for HTTP/2.
pub(super) struct Pool {
    dialer: Dialer,
    keep: Keep,
    slots: Mutex<Slots>,
    /// Held while a connection is opened that many calls may share; holds the last failure.
    gate: tokio::sync::Mutex<Option<(Instant, EgressError)>>,
    /// Ends the sweeper with the pool.
    alive: watch::Sender<()>,
}

#[derive(Default)]
struct Slots {
    idle: Vec<(Instant, Http1)>,
    shared: Option<(Instant, Http2)>,
    /// The last handshake chose HTTP/1.1: nothing to share, so calls connect side by side.
    unshared: bool,
    swept: bool,
}

/// A connection for one call.
pub(super) struct Lease {
    pub(super) connection: Connection,
    /// Whether an earlier call used it, so that the server may have closed it meanwhile.
    pub(super) reused: bool,
}

impl Pool {
    pub(super) fn new(dialer: Dialer, keep: Keep) -> Self {
        let unshared = dialer.tls.is_none();
        Self {
            dialer,
            keep,
            slots: Mutex::new(Slots { unshared, ..Slots::default() }),
            gate: tokio::sync::Mutex::new(None),
            alive: watch::Sender::new(()),
        }
    }

    pub(super) fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Takes a kept connection, or opens one.
    pub(super) async fn checkout(&self, deadline: Instant) -> Result<Lease, EgressError> {
        match self.kept() {
            Some(connection) => Ok(Lease { connection, reused: true }),
            None => self.fresh(deadline).await,
        }
    }

    /// Opens a connection, or joins an HTTP/2 one that another call has just opened.
    pub(super) async fn fresh(&self, deadline: Instant) -> Result<Lease, EgressError> {
        if self.slots().unshared {
            return self.open(deadline).await;
        }
        // One connect at a time while the outcome may be shared: else a burst of calls would open
        // a connection each.
        let asked = Instant::now();
        let mut gate = timeout_at(deadline, self.gate.lock())
            .await
            .map_err(|_| Unreachable::ConnectTimeout)?;
        if let Some((failed, error)) = *gate
            && failed >= asked
        {
            return Err(error);
        }
        if let Some(connection) = self.shared() {
            return Ok(Lease { connection, reused: true });
        }
        if self.slots().unshared {
            drop(gate);
            return self.open(deadline).await;
        }
        let opened = self.open(deadline).await;
        *gate = match &opened {
            // A failure by this call's own deadline says nothing to the others.
            Err(error) if Instant::now() < deadline => Some((Instant::now(), *error)),
            Ok(_) | Err(_) => None,
        };
        opened
    }

    /// Opens a connection, whatever is kept.
    pub(super) async fn open(&self, deadline: Instant) -> Result<Lease, EgressError> {
        // Boxed because it is large (names, TLS) and rare: a call on a kept connection, whose future
        // this is a part of, stays small enough to be moved for next to nothing.
        let connection = Box::pin(self.connection(deadline)).await?;
        let mut slots = self.slots();
        match &connection {
            Connection::Http1(_) => slots.unshared = true,
            Connection::Http2(http2) => {
                slots.unshared = false;
                slots.shared = Some((Instant::now(), http2.clone()));
            }
        }
        Ok(Lease { connection, reused: false })
    }

    async fn connection(&self, deadline: Instant) -> Result<Connection, EgressError> {
        let socket = self.dialer.dial(deadline).await?;
        timeout_at(deadline, Connection::start(socket))
            .await
            .map_err(|_| Unreachable::ConnectTimeout)?
    }

    /// Keeps a connection whose answer was read to its end.
    pub(super) async fn give_back(self: &Arc<Self>, connection: Connection) {
        match connection {
            Connection::Http1(mut http1) => {
                // Not ready: the server closes, or sent more than its answer.
                if !matches!(timeout(READY_TIMEOUT, http1.sender.ready()).await, Ok(Ok(()))) {
                    return;
                }
                let mut slots = self.slots();
                if slots.idle.len() == MAX_IDLE {
                    slots.idle.remove(0);
                }
                slots.idle.push((Instant::now(), http1));
            }
            Connection::Http2(used) => {
                if let Some((last_used, shared)) = &mut self.slots().shared
                    && Arc::ptr_eq(&shared.life, &used.life)
                {
                    *last_used = Instant::now();
                }
            }
        }
        self.sweep_later();
    }

    /// Gives no further call a connection that left one without an answer; those on it go on.
    pub(super) fn retire(&self, connection: &Connection) {
        if let Connection::Http2(failed) = connection {
            let mut slots = self.slots();
            if slots.shared.as_ref().is_some_and(|(_, one)| Arc::ptr_eq(&one.life, &failed.life)) {
                slots.shared = None;
            }
        }
    }

    fn kept(&self) -> Option<Connection> {
        let now = Instant::now();
        let mut slots = self.slots();
        if let Some(connection) = slots.shared(now, self.keep) {
            return Some(connection);
        }
        // Only those that are looked at: the others are the sweeper's.
        while let Some((since, http1)) = slots.idle.pop() {
            if is_kept(since, &http1, now, self.keep) && http1.sender.is_ready() {
                return Some(Connection::Http1(http1));
            }
        }
        None
    }

    fn shared(&self) -> Option<Connection> {
        self.slots().shared(Instant::now(), self.keep)
    }

    /// Closes idle connections when their time has come, also when no call comes by.
    fn sweep_later(self: &Arc<Self>) {
        {
            let mut slots = self.slots();
            if slots.swept {
                return;
            }
            slots.swept = true;
        }
        let pool = Arc::downgrade(self);
        let keep = self.keep;
        let mut alive = self.alive.subscribe();
        tokio::spawn(async move {
            let mut next = Instant::now() + keep.idle;
            loop {
                tokio::select! {
                    () = sleep_until(next) => {}
                    _ = alive.changed() => return,
                }
                let Some(pool) = pool.upgrade() else { return };
                let mut slots = pool.slots();
                slots.sweep(keep);
                if slots.is_empty() {
                    slots.swept = false;
                    return;
                }
                next = slots.next_expiry(keep).max(Instant::now() + MIN_SWEEP);
            }
        });
    }

    /// How many idle HTTP/1.1 connections are usable.
    #[cfg(test)]
    pub(super) fn idle(&self) -> usize {
        let mut slots = self.slots();
        slots.sweep(self.keep);
        slots.idle.len()
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The sweeper never turns faster than this, whatever is in use.
const MIN_SWEEP: Duration = Duration::from_millis(100);

fn is_kept(since: Instant, http1: &Http1, now: Instant, keep: Keep) -> bool {
    !http1.sender.is_closed() && now < since + keep.idle && now < http1.life.born + keep.age
}

impl Slots {
    fn sweep(&mut self, keep: Keep) {
        let now = Instant::now();
        self.idle.retain(|(since, http1)| is_kept(*since, http1, now, keep));
        self.sweep_shared(now, keep);
    }

    fn sweep_shared(&mut self, now: Instant, keep: Keep) {
        if let Some((last_used, http2)) = &self.shared {
            let unused = Arc::strong_count(&http2.life) == 1;
            if http2.sender.is_closed()
                || now >= http2.life.born + keep.age
                || (unused && now >= *last_used + keep.idle)
            {
                self.shared = None;
            }
        }
    }

    fn shared(&mut self, now: Instant, keep: Keep) -> Option<Connection> {
        self.sweep_shared(now, keep);
        let (last_used, shared) = self.shared.as_mut()?;
        *last_used = now;
        Some(Connection::Http2(shared.clone()))
    }

    fn is_empty(&self) -> bool {
        self.idle.is_empty() && self.shared.is_none()
    }

    fn next_expiry(&self, keep: Keep) -> Instant {
        let idle = self.idle.iter().map(|(since, _)| *since);
        let shared = self.shared.iter().map(|(last_used, _)| *last_used);
        idle.chain(shared).min().unwrap_or_else(Instant::now) + keep.idle
    }
}
