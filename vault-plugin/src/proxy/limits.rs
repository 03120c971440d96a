//! Places for calls and bytes for bodies, reserved before anything is sent; an answer that needs more
//! bytes than are free waits for them.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, SemaphorePermit};

use super::egress::Room;
use crate::bounds;

/// Bytes of request and response bodies that all calls of the process hold at one time. A body counts
/// once: at its peak a call also holds the redacted copy and the answer's JSON, two to three times as
/// much.
pub const BODY_BUDGET: usize = 256 << 20;

/// Of these, the part that one answer at a time has to itself. No answer takes more, as it came and
/// decoded.
const RESERVE: usize = 2 * bounds::MAX_RESPONSE as usize;

/// What the calls of one service may hold of the rest, beside what each has for the beginning of its
/// answer: so an upstream that announces much and sends nothing holds up its own service alone.
const SHARE: usize = (BODY_BUDGET - RESERVE) / 3;

/// What growing answers leave free of the rest: the next that waits takes what comes free, and new
/// calls would find nothing.
const LEFT_FOR_NEW: usize = 16 << 20;

/// Reserved for an answer before the request is sent; larger answers take more.
const FIRST_ANSWER: usize = 64 << 10;

static BUDGET: Budget = Budget::new(BODY_BUDGET);

/// The bytes that calls share.
///
/// Calls that hold parts of answers and wait for more could wait for each other. They don't: the one
/// that has waited longest moves into the reserve as soon as that is free. There it has all that it may
/// need and waits for nobody, so it ends, soon after its deadline at the latest, and the reserve is the
/// next one's.
#[derive(Debug)]
struct Budget {
    /// Not in use, the reserve left out.
    free: AtomicUsize,
    freed: Notify,
    reserve: Semaphore,
}

impl Budget {
    const fn new(bytes: usize) -> Self {
        Self {
            free: AtomicUsize::new(bytes - RESERVE),
            freed: Notify::const_new(),
            reserve: Semaphore::const_new(1),
        }
    }

    /// Takes bytes where at least `leave` stay free.
    fn take(&self, bytes: usize, leave: usize) -> bool {
        let taken = |free: usize| free.checked_sub(bytes).filter(|rest| *rest >= leave);
        self.free.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        let free = self.free.fetch_add(bytes, Ordering::AcqRel) + bytes;
        // Below that nobody who waits may take anything.
        if free > LEFT_FOR_NEW {
            self.freed.notify_waiters();
        }
    }
}

/// One service's part of the budget.
#[derive(Debug)]
struct Share {
    budget: &'static Budget,
    held: AtomicUsize,
    freed: Notify,
}

/// What there isn't enough of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Short {
    /// Of the service's share.
    Share,
    /// Of the budget.
    Budget,
}

impl Share {
    fn new(budget: &'static Budget) -> Self {
        Self { budget, held: AtomicUsize::new(0), freed: Notify::new() }
    }

    /// Takes bytes of the budget within the share, where at least `leave` stay free of the budget.
    fn take(&self, bytes: usize, leave: usize) -> Result<(), Short> {
        let within = |held: usize| held.checked_add(bytes).filter(|sum| *sum <= SHARE);
        if self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, within).is_err() {
            return Err(Short::Share);
        }
        if self.budget.take(bytes, leave) {
            return Ok(());
        }
        self.let_go(bytes);
        Err(Short::Budget)
    }

    /// Counts bytes as the service's no more; whether the budget has them back is the caller's affair.
    fn let_go(&self, bytes: usize) {
        if bytes > 0 {
            self.held.fetch_sub(bytes, Ordering::AcqRel);
            self.freed.notify_waiters();
        }
    }
}

/// Where a call takes its places from.
#[derive(Clone, Debug)]
pub struct Places {
    service: Arc<Semaphore>,
    mount: Arc<Semaphore>,
    share: Arc<Share>,
}

/// Which place was missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Full {
    /// `max_in_flight` of the service.
    Service,
    /// `max_in_flight` of the mount.
    Mount,
    /// The process's bytes.
    Bytes,
}

impl fmt::Display for Full {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Service => "the service has as many calls in flight as max_in_flight allows",
            Self::Mount => "the mount has as many calls in flight as config's max_in_flight allows",
            Self::Bytes => "calls in flight hold all the memory set aside for bodies",
        })
    }
}

impl Places {
    /// Places of one service on one mount.
    pub fn new(service: Arc<Semaphore>, mount: Arc<Semaphore>) -> Self {
        Self { service, mount, share: Arc::new(Share::new(&BUDGET)) }
    }

    /// Takes a place everywhere, or none at all; never waits.
    ///
    /// # Errors
    /// The first that is full.
    pub fn reserve(&self, request_bytes: usize) -> Result<Reservation, Full> {
        let service = Arc::clone(&self.service).try_acquire_owned().map_err(|_| Full::Service)?;
        let mount = Arc::clone(&self.mount).try_acquire_owned().map_err(|_| Full::Mount)?;
        self.share.take(request_bytes, 0).map_err(|_| Full::Bytes)?;
        if !self.share.budget.take(FIRST_ANSWER, 0) {
            self.share.let_go(request_bytes);
            self.share.budget.give_back(request_bytes);
            return Err(Full::Bytes);
        }
        let memory = Arc::new(Memory {
            share: Arc::clone(&self.share),
            request: request_bytes,
            answer: Mutex::new(Answer { taken: FIRST_ANSWER, shared: 0, reserve: None }),
        });
        Ok(Reservation { _service: service, _mount: mount, memory })
    }
}

/// Places held by one call; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    _service: OwnedSemaphorePermit,
    _mount: OwnedSemaphorePermit,
    memory: Arc<Memory>,
}

/// Bytes held for the bodies of one call; given back on drop.
#[derive(Debug)]
pub struct Memory {
    share: Arc<Share>,
    request: usize,
    answer: Mutex<Answer>,
}

/// What an answer is covered by.
#[derive(Debug, Default)]
struct Answer {
    /// Bytes of the budget.
    taken: usize,
    /// Those of them that count as the service's.
    shared: usize,
    /// The whole reserve, instead of these.
    reserve: Option<SemaphorePermit<'static>>,
}

impl Reservation {
    /// Room for the call's answer.
    pub fn room(&self) -> &dyn Room {
        self.memory.as_ref()
    }

    /// Covers what an answer grows by as it is searched; `false` when there is no room for it.
    pub fn cover_marks(&self, bytes: usize) -> bool {
        self.memory.cover_marks(bytes)
    }

    /// The bytes of a large answer, which stays in memory until it has gone to the host: answers come in
    /// faster than a busy host takes them. Those of a small one go with the call's places.
    pub fn kept_for_large(&self) -> Option<Arc<Memory>> {
        let is_large = self.memory.answer().covers(FIRST_ANSWER + 1);
        is_large.then(|| Arc::clone(&self.memory))
    }
}

impl Answer {
    fn covers(&self, bytes: usize) -> bool {
        bytes <= self.taken || (bytes <= RESERVE && self.reserve.is_some())
    }
}

impl Memory {
    fn answer(&self) -> MutexGuard<'_, Answer> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Covers so many bytes in all, in steps, so that a large answer doesn't ask anew for every frame; by
    /// the byte when room is short.
    fn grow(&self, bytes: usize) -> Result<(), Short> {
        let mut answer = self.answer();
        if answer.covers(bytes) {
            return Ok(());
        }
        let least = bytes - answer.taken;
        let double = answer.taken.min(RESERVE.saturating_sub(answer.taken));
        let mut step = least.max(double);
        let mut taken = self.share.take(step, LEFT_FOR_NEW);
        if taken.is_err() && step > least {
            step = least;
            taken = self.share.take(step, LEFT_FOR_NEW);
        }
        taken?;
        answer.taken += step;
        answer.shared += step;
        Ok(())
    }

    /// Covers what an answer that is whole grows by as it is searched: the request was sent, nothing waits
    /// any more, and it is little. All that the budget has is there for it.
    fn cover_marks(&self, bytes: usize) -> bool {
        let mut answer = self.answer();
        if answer.covers(bytes) {
            return true;
        }
        let least = bytes - answer.taken;
        let taken = self.share.budget.take(least, 0);
        if taken {
            answer.taken += least;
        }
        taken
    }

    fn give_back(&self, answer: &mut Answer) {
        self.share.let_go(std::mem::take(&mut answer.shared));
        self.share.budget.give_back(std::mem::take(&mut answer.taken));
    }
}

impl Room for Memory {
    fn cover(&self, bytes: usize) -> bool {
        self.grow(bytes).is_ok()
    }

    fn wait(&self, bytes: usize) -> BoxFuture<'_, bool> {
        Box::pin(async move {
            if bytes > RESERVE {
                return false;
            }
            let budget = self.share.budget;
            // Fair: who waits first has it first.
            let mut turn = pin!(budget.reserve.acquire());
            loop {
                // Made before the try: they also hear of what comes free in between.
                let (of_share, of_budget) = (self.share.freed.notified(), budget.freed.notified());
                let freed = match self.grow(bytes) {
                    Ok(()) => return true,
                    Err(Short::Share) => of_share,
                    Err(Short::Budget) => of_budget,
                };
                tokio::select! {
                    () = freed => {}
                    turn = &mut turn => {
                        // It is never closed.
                        let Ok(reserve) = turn else { return false };
                        let mut answer = self.answer();
                        answer.reserve = Some(reserve);
                        self.give_back(&mut answer);
                        return true;
                    }
                }
            }
        })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let mut answer =
            std::mem::take(self.answer.get_mut().unwrap_or_else(PoisonError::into_inner));
        self.give_back(&mut answer);
        self.share.let_go(self.request);
        self.share.budget.give_back(self.request);
    }
}

#[cfg(test)]
mod tests;
