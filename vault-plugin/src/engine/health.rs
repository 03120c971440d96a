//! How services fare, from memory: what the last calls ended with.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::error::Code;
use crate::storage::now;

/// One service's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// The last call that the upstream answered, in seconds since 1970.
    pub last_success: Option<u64>,
    /// The last call that failed on the upstream's side.
    pub last_failure: Option<u64>,
    /// What that failure was.
    pub failure: Option<Code>,
    /// When the present row of failures began.
    pub failing_since: Option<u64>,
}

impl Health {
    /// One word: `unknown` before the first call, `failing` while failures last, else `ok`.
    pub fn state(&self) -> &'static str {
        match (self.failing_since, self.last_success) {
            (Some(_), _) => "failing",
            (None, Some(_)) => "ok",
            (None, None) => "unknown",
        }
    }
}

/// The health of all services of a mount, by the service's random id.
#[derive(Debug, Default)]
pub struct HealthBook(Mutex<HashMap<String, Health>>);

impl HealthBook {
    /// Notes the end of a call; `None` for an answer.
    pub fn note(&self, service_id: &str, failure: Option<Code>) {
        let mut book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let health = match book.get_mut(service_id) {
            Some(health) => health,
            None => book.entry(service_id.to_owned()).or_default(),
        };
        let time = now();
        match failure {
            None => {
                health.last_success = Some(time);
                health.failing_since = None;
            }
            Some(code) => {
                health.last_failure = Some(time);
                health.failure = Some(code);
                health.failing_since.get_or_insert(time);
            }
        }
    }

    /// Looks one up.
    pub fn of(&self, service_id: &str) -> Health {
        let book = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        book.get(service_id).copied().unwrap_or_default()
    }

    /// Forgets a service that is gone.
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
        book.note("s", Some(Code::TlsFailed));
        assert_eq!(
            (book.of("s").state(), book.of("s").failure),
            ("failing", Some(Code::TlsFailed))
        );
        book.note("s", None);
        assert_eq!(book.of("s").state(), "ok");
        book.forget("s");
        assert_eq!(book.of("s").state(), "unknown");
    }
}
