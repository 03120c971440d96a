//! Places for calls and bytes for bodies, reserved before anything is sent.

use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::egress::Room;

/// Bytes of request and response bodies that all calls of the process hold at one time. A body counts
/// once: at its peak a call also holds the redacted copy and the answer's JSON, two to three times as
/// much.
pub const BODY_BUDGET: usize = 256 << 20;

/// The budget is kept in units of this many bytes: a semaphore counts in u32 steps.
const UNIT: usize = 1024;

/// Reserved for an answer before the request is sent; larger answers take more as they arrive.
const FIRST_ANSWER: usize = 64 << 10;

static BUDGET: LazyLock<Arc<Semaphore>> =
    LazyLock::new(|| Arc::new(Semaphore::new(BODY_BUDGET / UNIT)));

/// Where a call takes its places from.
#[derive(Clone, Debug)]
pub struct Places {
    service: Arc<Semaphore>,
    mount: Arc<Semaphore>,
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
        Self { service, mount }
    }

    /// Takes a place everywhere, or none at all; never waits.
    ///
    /// # Errors
    /// The first that is full.
    pub fn reserve(&self, request_bytes: usize) -> Result<Reservation, Full> {
        let service = Arc::clone(&self.service).try_acquire_owned().map_err(|_| Full::Service)?;
        let mount = Arc::clone(&self.mount).try_acquire_owned().map_err(|_| Full::Mount)?;
        let bytes = take(request_bytes + FIRST_ANSWER).ok_or(Full::Bytes)?;
        let bytes = Mutex::new(Held { permit: bytes, answer: FIRST_ANSWER });
        Ok(Reservation { _service: service, _mount: mount, bytes })
    }
}

fn take(bytes: usize) -> Option<OwnedSemaphorePermit> {
    let units = u32::try_from(bytes.div_ceil(UNIT)).ok()?;
    Arc::clone(&BUDGET).try_acquire_many_owned(units).ok()
}

/// Places held by one call; given back on drop.
#[derive(Debug)]
pub struct Reservation {
    _service: OwnedSemaphorePermit,
    _mount: OwnedSemaphorePermit,
    bytes: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    permit: OwnedSemaphorePermit,
    answer: usize,
}

impl Room for Reservation {
    fn cover(&self, bytes: usize) -> bool {
        let mut held = self.bytes.lock().unwrap_or_else(PoisonError::into_inner);
        if bytes <= held.answer {
            return true;
        }
        // In steps, so that a large answer doesn't ask anew for every frame; by the byte when room is
        // short.
        let least = bytes - held.answer;
        let step = least.max(held.answer);
        let taken = [step, least].into_iter().find_map(|wanted| Some((take(wanted)?, wanted)));
        let Some((more, wanted)) = taken else { return false };
        held.permit.merge(more);
        held.answer += wanted;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(service: usize, mount: usize) -> Places {
        Places::new(Arc::new(Semaphore::new(service)), Arc::new(Semaphore::new(mount)))
    }

    #[test]
    fn full_is_told_at_once_and_dropped_places_come_back() {
        let places = places(1, 2);
        let first = places.reserve(10).unwrap();
        assert_eq!(places.reserve(10).unwrap_err(), Full::Service);
        drop(first);
        assert!(places.reserve(10).is_ok());
    }

    #[test]
    fn a_request_over_the_budget_is_refused_and_takes_nothing() {
        let places = places(4, 4);
        assert_eq!(places.reserve(BODY_BUDGET).unwrap_err(), Full::Bytes);
        let held = places.reserve(0).unwrap();
        assert!(held.cover(1 << 20));
        assert!(!held.cover(BODY_BUDGET + 1));
    }
}
