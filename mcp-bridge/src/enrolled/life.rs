//! Replaces the secret_id in time while a bridge runs, or warns before it expires.

use std::time::Duration;

use super::rotate::settle;
use super::{EnrolledError, now, rotate, sealer};
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
    /// It can't be replaced from here and ends in so many days.
    Warn(u64),
}

/// Looks after the kept credential of a session. Never returns; does nothing for other kinds.
pub(crate) async fn maintain(session: &Session) {
    let CredentialSource::Enrolled(place) = session.source() else {
        return std::future::pending().await;
    };
    let mut pause = FIRST;
    let mut warned = None;
    loop {
        // Bridges that share the file look at different moments.
        tokio::time::sleep(jitter(pause, 30)).await;
        // Not known before the first login.
        let Some(kept) = session.kept() else { continue };
        pause = between(&kept);
        let outcome = match due(&kept, now()) {
            Due::Nothing => Ok(None),
            Due::Settle => settled(place).await.map(Some),
            Due::Rotate => rotated(place, kept.issued_at).await.map(Some),
            Due::Warn(days) if warned == Some(days) => Ok(None),
            Due::Warn(days) => {
                warned = Some(days);
                tracing::warn!(
                    "this machine's credential expires in {days} days: have an operator run \
                     mcp-bridge provision AGENT, and run mcp-bridge enroll --force"
                );
                Ok(None)
            }
        };
        match outcome {
            Ok(Some(kept)) => session.note(kept),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!("the credential couldn't be renewed: {error}");
                if error.is_wrong_pin() {
                    // The TPM counts tries, and forgets them in hours.
                    pause = Duration::from_secs(DAY);
                }
            }
        }
    }
}

async fn rotated(place: &Enrolled, issued_at: u64) -> Result<Kept, EnrolledError> {
    let sealer = sealer(place)?;
    let rotated = rotate(place, &*sealer, issued_at).await?;
    if rotated.is_new {
        tracing::info!("the credential was replaced by a new one");
    }
    Ok(rotated.kept)
}

async fn settled(place: &Enrolled) -> Result<Kept, EnrolledError> {
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
    if kept.self_rotating && kept.has_previous && now >= kept.issued_at + SETTLED.as_secs() {
        return Due::Settle;
    }
    let Some(expires_at) = kept.expires_at else { return Due::Nothing };
    let life = expires_at.saturating_sub(kept.issued_at);
    if kept.self_rotating {
        let at = kept.issued_at + life / 3 * 2;
        return if now >= at { Due::Rotate } else { Due::Nothing };
    }
    let left = expires_at.saturating_sub(now);
    if left <= WARN.as_secs() { Due::Warn(left / DAY) } else { Due::Nothing }
}

/// After so long nobody still logs in with what the file held before.
pub(crate) const SETTLED: Duration = Duration::from_secs(300);
/// From so long before its end on, a credential's end is told.
pub(crate) const WARN: Duration = Duration::from_secs(7 * DAY);
const DAY: u64 = 86400;
/// The first look comes soon after the start, the others now and then.
const FIRST: Duration = Duration::from_secs(5);
const BETWEEN: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use super::*;

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
        check(true, false, None, u64::MAX, Due::Nothing);
        check(false, false, month, 1000 + 22 * DAY, Due::Nothing);
        check(false, false, month, 1000 + 23 * DAY, Due::Warn(7));
        check(false, false, month, 1000 + 31 * DAY, Due::Warn(0));
    }
}
