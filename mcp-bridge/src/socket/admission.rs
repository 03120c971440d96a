//! Decides who gets a connection, and tells the log of the others without letting them fill it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::AllowedUsers;

/// The most connections of one user at once; each is one MCP client. There is no limit that users
/// share: none can take another's place.
const MAX_CONNECTIONS: usize = 32;
/// A user's refusals are told once in so long.
const QUIET: Duration = Duration::from_secs(60);

/// Why a connection is refused, for the process at its other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Denial {
    /// The user is none of those of `--allow-user`.
    #[error(
        "not_permitted: user {0} isn't among those that this bridge serves; an operator can add \
         --allow-user"
    )]
    Stranger(u32),
    /// The user has as many connections as one may have.
    #[error(
        "busy: {MAX_CONNECTIONS} MCP clients of user {0} are connected, the most that this bridge \
         serves at once"
    )]
    Full(u32),
}

/// The room that each allowed user has.
#[derive(Debug)]
pub(super) struct Rooms(HashMap<u32, Arc<Semaphore>>);

impl Rooms {
    pub(super) fn new(allowed: &AllowedUsers) -> Self {
        let room = |uid| (uid, Arc::new(Semaphore::new(MAX_CONNECTIONS)));
        Self(allowed.uids().map(room).collect())
    }

    /// Takes a place, until the permit is dropped.
    ///
    /// # Errors
    ///
    /// [`Denial`].
    pub(super) fn enter(&self, uid: u32) -> Result<OwnedSemaphorePermit, Denial> {
        let room = self.0.get(&uid).ok_or(Denial::Stranger(uid))?;
        Arc::clone(room).try_acquire_owned().map_err(|_| Denial::Full(uid))
    }
}

/// Whose refusals the log has been told of, and how many it hasn't.
#[derive(Debug, Default)]
pub(super) struct Refusals(HashMap<u32, (Instant, u64)>);

impl Refusals {
    /// Counts a refusal; if the log is to be told now, of how many.
    pub(super) fn count(&mut self, uid: u32, now: Instant) -> Option<u64> {
        let is_quiet = |told: &Instant| now.duration_since(*told) < QUIET;
        if let Some((_, untold)) = self.0.get_mut(&uid).filter(|(told, _)| is_quiet(told)) {
            *untold += 1;
            return None;
        }
        let untold = self.0.insert(uid, (now, 0)).map_or(0, |(_, untold)| untold);
        // Some users have thousands of uids to try.
        self.0.retain(|_, (told, untold)| *untold > 0 || is_quiet(told));
        Some(untold + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_who_takes_every_place_takes_nobody_elses() {
        let users = ["7", "8"].map(str::to_owned);
        let rooms = Rooms::new(&AllowedUsers::parse(&users).unwrap());
        let mut taken = (0..MAX_CONNECTIONS).map(|_| rooms.enter(7).unwrap()).collect::<Vec<_>>();
        assert_eq!(rooms.enter(7).unwrap_err(), Denial::Full(7));
        assert!(rooms.enter(8).is_ok());
        assert_eq!(rooms.enter(9).unwrap_err(), Denial::Stranger(9));
        taken.pop();
        assert!(rooms.enter(7).is_ok());
    }

    #[test]
    fn a_users_refusals_are_told_once_in_a_while_and_none_is_forgotten() {
        let mut refusals = Refusals::default();
        let start = Instant::now();
        assert_eq!(refusals.count(7, start), Some(1));
        for _ in 0..1000 {
            assert_eq!(refusals.count(7, start + QUIET / 2), None);
        }
        assert_eq!(refusals.count(8, start), Some(1));
        assert_eq!(refusals.count(7, start + QUIET), Some(1001));
        assert_eq!(refusals.count(7, start + QUIET * 3), Some(1));
        assert_eq!(refusals.0.len(), 1, "who has gone takes no room");
    }
}
