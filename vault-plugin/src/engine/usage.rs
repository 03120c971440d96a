//! When credentials were last used and last refused: from memory, and kept once a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};
use vault_sdk::Storage;

use super::{Engine, Outcome};
use crate::error::Error;
use crate::storage::{self, USAGE, now};

/// Of one credential, in seconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Usage {
    /// The last call that sent it.
    pub last_used: Option<u64>,
    /// The last call in which the upstream answered 401 to it.
    pub last_refused: Option<u64>,
}

/// What this node has seen since it last wrote it down, by the credential's random id.
#[derive(Debug, Default)]
pub(super) struct UsageBook(Mutex<HashMap<String, Usage>>);

impl Engine {
    /// Notes the end of a call that sent a credential.
    pub(super) fn note_usage(&self, credential_id: &str, outcome: Outcome) {
        let mut book = self.usage.0.lock().unwrap_or_else(PoisonError::into_inner);
        let usage = match book.get_mut(credential_id) {
            Some(usage) => usage,
            None => book.entry(credential_id.to_owned()).or_default(),
        };
        usage.last_used = Some(now());
        match outcome {
            Outcome::CredentialRefused => usage.last_refused = usage.last_used,
            Outcome::Answered | Outcome::Failed(_) => {}
        }
    }

    /// When a credential was last used: what is kept, or what was seen since.
    ///
    /// # Errors
    /// When storage can't be read.
    pub async fn usage(&self, storage: &dyn Storage, credential_id: &str) -> Result<Usage, Error> {
        let kept: Option<Usage> =
            storage::load(storage, &format!("{USAGE}{credential_id}")).await?;
        let book = self.usage.0.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = book.get(credential_id).copied().unwrap_or_default();
        Ok(merged(kept.unwrap_or_default(), seen))
    }

    /// Writes down what was seen since the last time. On a node that may not write, it stays in
    /// memory.
    ///
    /// # Errors
    /// Storage's own; what wasn't written is written the next time.
    pub async fn keep_usage(&self, storage: &dyn Storage) -> Result<(), Error> {
        let seen: Vec<(String, Usage)> = {
            let book = self.usage.0.lock().unwrap_or_else(PoisonError::into_inner);
            book.iter().map(|(id, usage)| (id.clone(), *usage)).collect()
        };
        for (id, usage) in seen {
            let key = format!("{USAGE}{id}");
            let kept: Option<Usage> = storage::load(storage, &key).await?;
            storage::store(storage, &key, &merged(kept.unwrap_or_default(), usage)).await?;
            let mut book = self.usage.0.lock().unwrap_or_else(PoisonError::into_inner);
            // Unless it was used again meanwhile.
            if book.get(&id) == Some(&usage) {
                book.remove(&id);
            }
        }
        Ok(())
    }
}

fn merged(kept: Usage, seen: Usage) -> Usage {
    Usage {
        last_used: kept.last_used.max(seen.last_used),
        last_refused: kept.last_refused.max(seen.last_refused),
    }
}
