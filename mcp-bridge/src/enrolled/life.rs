//! Replaces the secret_id in time while a bridge runs, or warns before it expires.

use std::time::Duration;

use super::rotate::{Rotated, settle};
use super::{Asked, EnrolledError, now, rotate, sealer};
use crate::config::{CredentialSource, Enrolled};
use crate::vault::{Kept, Session, jitter};

/// What is due for a kept credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    /// Nothing, for so long at least.
    Nothing,
    /// The secret_id before the present one can be destroyed.
    Settle,
    /// The secret_id is to be replaced.
    Rotate,
    /// It can't be replaced from here and ends soon.
    Warn,
}

/// Looks after the kept credential of a session. Never returns; does nothing for other kinds.
pub(crate) async fn maintain(session: &Session) {
    let CredentialSource::Enrolled(place) = session.source() else {
        return std::future::pending().await;
    };
    let mut pause = FIRST;
    let mut warned = None;
    let mut settle_from = 0;
    loop {
        // Bridges that share the file look at different moments.
        tokio::time::sleep(jitter(pause, 30)).await;
        // Not known before the first login.
        let Some(kept) = session.kept() else { continue };
        pause = between(&kept);
        let due = due(&kept, now());
        let outcome = match due {
            Due::Settle if now() < settle_from => Ok(None),
            Due::Settle => settled(place).await.map(Some),
            Due::Rotate => rotated(place, kept.issued_at).await.map(Some),
            Due::Nothing => Ok(None),
            Due::Warn => {
                warn(&kept, &mut warned);
                Ok(None)
            }
        };
        match outcome {
            Ok(Some(done)) => {
                if done.is_new {
                    tracing::info!("the credential was replaced by a new one");
                }
                for leftover in &done.leftovers {
                    tracing::warn!("{leftover}");
                    settle_from = now() + SETTLE_AGAIN.as_secs();
                }
                session.note(done.kept);
            }
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("the credential couldn't be renewed: {error}");
                if due == Due::Rotate {
                    warn(&kept, &mut warned);
                }
                if error.is_wrong_pin() {
                    // The TPM counts tries, and forgets them in hours.
                    pause = Duration::from_secs(DAY);
                }
            }
        }
    }
}

/// Tells once for each day that the credential will end, if it is soon.
fn warn(kept: &Kept, warned: &mut Option<u64>) {
    let left = kept.expires_at.map(|at| at.saturating_sub(now()));
    let Some(days) = left.filter(|left| *left <= WARN.as_secs()).map(|left| left / DAY) else {
        return;
    };
    if warned.replace(days) != Some(days) {
        tracing::warn!(
            "this machine's credential expires in {days} days: have an operator run mcp-bridge \
             provision AGENT, and run mcp-bridge enroll --force"
        );
    }
}

async fn rotated(place: &Enrolled, seen: u64) -> Result<Rotated, EnrolledError> {
    let sealer = sealer(place)?;
    rotate(place, &*sealer, Asked::ByBridge { seen }).await
}

async fn settled(place: &Enrolled) -> Result<Rotated, EnrolledError> {
    let sealer = sealer(place)?;
    settle(place, &*sealer).await
}

/// How long to look away: often enough for a short life.
fn between(kept: &Kept) -> Duration {
    let life = kept.expires_at.map(|at| at.saturating_sub(kept.issued_at));
    let tenth = life.map_or(BETWEEN, |life| Duration::from_secs(life / 10));
    tenth.clamp(FIRST, BETWEEN)
}

fn due(kept: &Kept, now: u64) -> Due {
    let Kept { issued_at, expires_at, self_rotating, has_previous } = *kept;
    // A secret_id of days to come was issued under a wrong clock: nobody knows when it ends.
    let is_due = |life| now >= issued_at + life / 3 * 2 || issued_at > now + DAY;
    match expires_at {
        // Before what is past is tidied up: that may be refused, and this one ends.
        Some(at) if self_rotating && is_due(at.saturating_sub(issued_at)) => Due::Rotate,
        Some(_) | None if self_rotating => {
            let settles = has_previous && now >= issued_at + SETTLED.as_secs();
            if settles { Due::Settle } else { Due::Nothing }
        }
        Some(at) if at.saturating_sub(now) <= WARN.as_secs() => Due::Warn,
        Some(_) | None => Due::Nothing,
    }
}

/// After so long nobody still logs in with what the file held before.
pub(crate) const SETTLED: Duration = Duration::from_secs(300);
/// From so long before its end on, a credential's end is told.
pub(crate) const WARN: Duration = Duration::from_secs(7 * DAY);
const DAY: u64 = 86400;
/// What couldn't be destroyed is tried again after so long.
const SETTLE_AGAIN: Duration = Duration::from_secs(3600);
/// The first look comes soon after the start, the others now and then.
const FIRST: Duration = Duration::from_secs(5);
const BETWEEN: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

    fn kept_now() -> Kept {
        Kept { issued_at: 0, expires_at: None, self_rotating: true, has_previous: false }
    }

    #[test]
    fn what_is_due_follows_age_and_rights() {
        let check = |self_rotating, has_previous, expires_at, now, expected| {
            let kept = Kept { issued_at: 1000, expires_at, self_rotating, has_previous };
            assert_eq!(due(&kept, now), expected, "{kept:?} at {now}");
        };
        let month = Some(1000 + 30 * DAY);
        check(true, false, month, 1000 + 19 * DAY, Due::Nothing);
        check(true, false, month, 1000 + 20 * DAY, Due::Rotate);
        check(true, true, month, 1000 + 299, Due::Nothing);
        check(true, true, month, 1000 + 300, Due::Settle);
        // What can't be tidied up stands in nobody's way.
        check(true, true, month, 1000 + 20 * DAY, Due::Rotate);
        check(true, false, None, u64::MAX, Due::Nothing);
        check(true, true, None, u64::MAX, Due::Settle);
        check(false, false, month, 1000 + 22 * DAY, Due::Nothing);
        check(false, false, month, 1000 + 23 * DAY, Due::Warn);
        check(false, false, month, 1000 + 31 * DAY, Due::Warn);
        // Issued under a clock that was ahead.
        let kept = Kept { issued_at: 90 * DAY, expires_at: Some(120 * DAY), ..kept_now() };
        assert_eq!(due(&kept, 50 * DAY), Due::Rotate);
        assert_eq!(due(&kept, 90 * DAY - 60), Due::Nothing);
    }
}
