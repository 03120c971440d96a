//! How services fare, from memory: what the last calls ended with.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::error::Code;
use crate::storage::now;

/// How one call ended, as far as it tells about the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream answered, and took the credential if one was sent.
    Answered,
    /// The upstream answered 401 to the credential.
    CredentialRefused,
    /// It didn't come to a whole answer.
    Failed(Code),
}

/// One service's health. Times are seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The last call that the upstream answered.
    pub last_success: Option<u64>,
    /// The last call that failed on the upstream's side.
    pub last_failure: Option<u64>,
    /// What that failure was.
    pub failure: Option<Code>,
    /// When the present row of failures began.
    pub failing_since: Option<u64>,
    /// The last call in which the credential was refused.
    pub last_refusal: Option<u64>,
    /// When the present row of refusals began, and how many there were.
    refusals: Option<(u64, u32)>,
}

/// So many refusals in a row, over at least so many seconds, are no accident.
const REFUSALS: u32 = 3;
const REFUSED_FOR: u64 = 60;

impl Health {
    /// One word: `unknown` before the first call, `credential_failing` while the upstream refuses
    /// the credential, `failing` while calls fail, else `ok`.
    pub fn state(&self) -> &'static str {
        if self.credential_failing_since().is_some() {
            return "credential_failing";
        }
        match (self.failing_since, self.last_success) {
            (Some(_), _) => "failing",
            (None, Some(_)) => "ok",
            (None, None) => "unknown",
        }
    }

    /// Since when the upstream has refused the credential, if it has done so for long enough.
    pub fn credential_failing_since(&self) -> Option<u64> {
        let (since, count) = self.refusals?;
        let lasting = self.last_refusal?.saturating_sub(since) >= REFUSED_FOR;
        (count >= REFUSALS && lasting).then_some(since)
    }

    /// Takes the end of a call at a time into account.
    fn note(&mut self, outcome: Outcome, time: u64) {
        match outcome {
            Outcome::Answered => {
                self.last_success = Some(time);
                self.failing_since = None;
                self.refusals = None;
            }
            Outcome::CredentialRefused => {
                self.last_success = Some(time);
                self.failing_since = None;
                self.last_refusal = Some(time);
                let (since, count) = self.refusals.unwrap_or((time, 0));
                self.refusals = Some((since, count.saturating_add(1)));
            }
            Outcome::Failed(code) => {
                self.last_failure = Some(time);
                self.failure = Some(code);
                self.failing_since.get_or_insert(time);
            }
        }
    }
}

/// The health of all services of a mount, by the service's random id.
#[derive(Debug, Default)]
pub struct HealthBook(Mutex<HashMap<String, Health>>);

impl HealthBook {
    /// Notes the end of a call.
    pub fn note(&self, service_id: &str, outcome: Outcome) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match book.get_mut(service_id) {
            Some(health) => health.note(outcome, now()),
            None => book.entry(service_id.to_owned()).or_default().note(outcome, now()),
        }
    }

    /// Looks one up.
    pub fn of(&self, service_id: &str) -> Health {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(service_id).copied().unwrap_or_default()
    }

    /// Forgets a service that is gone, or whose credential is another now.
    pub fn forget(&self, service_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(service_id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_ends_a_row_of_failures() {
        let book = HealthBook::default();
        assert_eq!(book.of("s").state(), "unknown");
        book.note("s", Outcome::Failed(Code::TlsFailed));
        assert_eq!(
            (book.of("s").state(), book.of("s").failure),
            ("failing", Some(Code::TlsFailed))
        );
        book.note("s", Outcome::Answered);
        assert_eq!(book.of("s").state(), "ok");
        book.forget("s");
        assert_eq!(book.of("s").state(), "unknown");
    }

    #[test]
    fn a_credential_fails_after_three_refusals_over_a_minute_with_none_accepted_between() {
        use Outcome::{Answered, CredentialRefused, Failed};
        for (row, state) in [
            (
                &[(0, CredentialRefused), (30, CredentialRefused), (60, CredentialRefused)][..],
                "credential_failing",
            ),
            (&[(0, CredentialRefused), (30, CredentialRefused), (59, CredentialRefused)], "ok"),
            (&[(0, CredentialRefused), (60, CredentialRefused)], "ok"),
            (
                &[
                    (0, CredentialRefused),
                    (30, Answered),
                    (60, CredentialRefused),
                    (90, CredentialRefused),
                ],
                "ok",
            ),
            (
                &[
                    (0, CredentialRefused),
                    (30, Failed(Code::TlsFailed)),
                    (60, CredentialRefused),
                    (90, CredentialRefused),
                ],
                "credential_failing",
            ),
            (
                &[
                    (0, CredentialRefused),
                    (30, CredentialRefused),
                    (60, CredentialRefused),
                    (61, Answered),
                ],
                "ok",
            ),
        ] {
            let mut health = Health::default();
            for (time, outcome) in row {
                health.note(*outcome, *time);
            }
            assert_eq!(health.state(), state, "{row:?}");
        }
    }
}
