//! How services fare, from memory: what the last calls ended with.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use vault_sdk::Storage;

use super::Engine;
use crate::error::{Code, Error};
use crate::proxy::credential::Credential;
use crate::storage::ServiceEntry;

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
    /// Since when the upstream has refused the credential in use, if it has done so for long enough.
    pub credential_failing_since: Option<u64>,
}

impl Health {
    /// One word: `unknown` before the first call, `credential_failing` while the upstream refuses
    /// the credential, `failing` while calls fail, else `ok`.
    pub fn state(&self) -> &'static str {
        if self.credential_failing_since.is_some() {
            return "credential_failing";
        }
        match (self.failing_since, self.last_success) {
            (Some(_), _) => "failing",
            (None, Some(_)) => "ok",
            (None, None) => "unknown",
        }
    }

    /// Takes the end of a call at a time into account.
    fn note(&mut self, outcome: Outcome, time: u64) {
        match outcome {
            Outcome::Answered => {
                self.last_success = Some(time);
                self.failing_since = None;
            }
            Outcome::CredentialRefused => {
                self.last_success = Some(time);
                self.failing_since = None;
                self.last_refusal = Some(time);
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
pub(super) struct HealthBook(Mutex<HashMap<String, Health>>);

impl HealthBook {
    /// Notes the end of a call.
    fn note(&self, service_id: &str, outcome: Outcome, time: u64) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match book.get_mut(service_id) {
            Some(health) => health.note(outcome, time),
            None => book.entry(service_id.to_owned()).or_default().note(outcome, time),
        }
    }

    /// Looks one up.
    fn of(&self, service_id: &str) -> Health {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(service_id).copied().unwrap_or_default()
    }

    /// Forgets a service that is gone.
    pub(super) fn forget(&self, service_id: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(service_id);
    }
}

impl Engine {
    /// Notes the end of a call, with the credential if one was sent.
    pub fn note(&self, service_id: &str, credential: Option<&Credential>, outcome: Outcome) {
        let time = (self.clock)();
        self.health.note(service_id, outcome, time);
        let Some(credential) = credential else { return };
        self.note_usage(&credential.id, outcome);
        match outcome {
            Outcome::Answered => self.refusals.accepted(credential),
            Outcome::CredentialRefused => self.refusals.refused(credential, time),
            Outcome::Failed(_) => {}
        }
    }

    /// How a service fares. Storage is read only while a credential of that name is failing: whether
    /// it is still the version in use.
    ///
    /// # Errors
    /// When storage can't be read.
    pub async fn health(
        &self,
        storage: &dyn Storage,
        name: &str,
        entry: &ServiceEntry,
    ) -> Result<Health, Error> {
        let mut health = self.health.of(&entry.id);
        health.credential_failing_since = self.failing_since(storage, name, entry).await?;
        Ok(health)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_success_ends_a_row_of_failures() {
        let book = HealthBook::default();
        assert_eq!(book.of("s").state(), "unknown");
        book.note("s", Outcome::Failed(Code::TlsFailed), 1);
        assert_eq!(
            (book.of("s").state(), book.of("s").failure),
            ("failing", Some(Code::TlsFailed))
        );
        book.note("s", Outcome::Answered, 2);
        assert_eq!(book.of("s").state(), "ok");
        book.forget("s");
        assert_eq!(book.of("s").state(), "unknown");
    }
}
