//! Credentials that upstreams go on refusing: which version, and since when.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use vault_sdk::Storage;

use super::Engine;
use crate::error::Error;
use crate::proxy::credential::Credential;
use crate::storage::{self, CREDENTIALS, CredentialEntry, ServiceEntry};

/// So many refusals in a row, over at least so many seconds, are no accident.
const REFUSALS: u32 = 3;
const REFUSED_FOR: u64 = 60;

/// The refusals in a row of one version. Times are seconds since 1970.
#[derive(Debug)]
struct Row {
    name: String,
    version: u64,
    first: u64,
    last: u64,
    count: u32,
}

impl Row {
    fn failing_since(&self) -> Option<u64> {
        let lasting = self.last.saturating_sub(self.first) >= REFUSED_FOR;
        (self.count >= REFUSALS && lasting).then_some(self.first)
    }
}

/// The rows of a mount, by the credential's random id: through whichever service it was sent.
#[derive(Debug, Default)]
pub(super) struct RefusalBook(Mutex<HashMap<String, Row>>);

impl RefusalBook {
    /// Notes that an upstream took a credential.
    pub(super) fn accepted(&self, credential: &Credential) {
        let mut book = self.lock();
        if book.get(&credential.id).is_some_and(|row| row.version <= credential.version) {
            book.remove(&credential.id);
        }
    }

    /// Notes that an upstream answered 401 to a credential.
    pub(super) fn refused(&self, credential: &Credential, time: u64) {
        let version = credential.version;
        let new = || Row {
            name: credential.name.to_string(),
            version,
            first: time,
            last: time,
            count: 1,
        };
        let mut book = self.lock();
        match book.get_mut(&credential.id) {
            // A call that set out before a newer version was stored tells nothing of that one.
            Some(row) if row.version > version => {}
            Some(row) if row.version == version => {
                row.last = time;
                row.count = row.count.saturating_add(1);
            }
            Some(row) => *row = new(),
            None => {
                book.insert(credential.id.clone(), new());
            }
        }
    }

    /// Since when a version of a credential has been failing.
    pub(super) fn failing_since(&self, credential_id: &str, version: u64) -> Option<u64> {
        let book = self.lock();
        book.get(credential_id).filter(|row| row.version == version)?.failing_since()
    }

    /// Whether a credential of this name may be failing.
    fn suspects(&self, name: &str) -> bool {
        self.lock().values().any(|row| row.name == name && row.failing_since().is_some())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Row>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine {
    /// Since when upstreams have refused this version, if they have done so for long enough; in
    /// seconds since 1970.
    pub fn refused_since(&self, credential: &Credential) -> Option<u64> {
        self.refusals.failing_since(&credential.id, credential.version)
    }

    /// Since when the version that a service sends now has been failing.
    pub(super) async fn failing_since(
        &self,
        storage: &dyn Storage,
        service: &str,
        entry: &ServiceEntry,
    ) -> Result<Option<u64>, Error> {
        let shared = entry.definition.credential.as_deref();
        let name = shared.unwrap_or(service);
        if !self.refusals.suspects(name) {
            return Ok(None);
        }
        let stored: Option<CredentialEntry> =
            storage::load(storage, &format!("{CREDENTIALS}{name}")).await?;
        let Some(stored) = stored else { return Ok(None) };
        let version = match (shared, &entry.own) {
            (Some(_), _) => stored.current,
            (None, Some(own)) => own.version,
            (None, None) => return Ok(None),
        };
        Ok(self.refusals.failing_since(&stored.id, version))
    }
}
