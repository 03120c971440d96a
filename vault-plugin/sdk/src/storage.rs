//! The mount's storage as an engine sees it, and a double in memory for tests.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::READ_ONLY;

/// Why storage did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// This node may not write.
    #[error("{READ_ONLY}")]
    ReadOnly,
    /// The host answered with an error, or not at all.
    #[error("storage: {0}")]
    Failed(String),
    /// The entry is there and isn't what the engine wrote.
    #[error("entry {key:?} can't be decoded: {reason}")]
    Undecodable {
        /// Which entry; keys are not secret.
        key: String,
        /// What the decoder said; it never quotes the value.
        reason: String,
    },
}

/// The storage of one mount. Keys are relative to the mount, values are bytes.
///
/// Integrated storage refuses entries over 1 MiB (about 94 bytes of it are overhead).
#[async_trait]
pub trait Storage: Send + Sync {
    /// Lists the direct children of `prefix`; folders end in `/`.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError>;
    /// Reads one entry; `None` when there is none.
    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError>;
    /// Writes one entry, whole.
    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError>;
    /// Deletes one entry; deleting what isn't there is no error.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;
}

impl dyn Storage + '_ {
    /// Reads one entry as JSON.
    ///
    /// # Errors
    /// [`StorageError::Undecodable`] when the entry isn't a `T`.
    pub async fn get_json<T: DeserializeOwned>(
        &self,
        key: &str,
    ) -> Result<Option<T>, StorageError> {
        let Some(bytes) = self.get(key).await? else { return Ok(None) };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| undecodable(key, &error))
    }

    /// Writes one entry as JSON.
    ///
    /// # Errors
    /// Those of [`Storage::put`].
    pub async fn put_json<T: Serialize + Sync>(
        &self,
        key: &str,
        value: &T,
    ) -> Result<(), StorageError> {
        let bytes = serde_json::to_vec(value).map_err(|error| undecodable(key, &error))?;
        self.put(key, bytes).await
    }
}

/// Where and what kind, never the text itself: serde quotes values in its messages.
fn undecodable(key: &str, error: &serde_json::Error) -> StorageError {
    let reason =
        format!("{:?} at line {} column {}", error.classify(), error.line(), error.column());
    StorageError::Undecodable { key: key.to_owned(), reason }
}

/// Storage in memory, for tests of an engine's paths.
#[derive(Debug, Default)]
pub struct InMemoryStorage {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<String, Vec<u8>>,
    reads: usize,
    writes_left: Option<usize>,
    read_only: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Values may hold secrets.
        f.debug_set().entries(self.entries.keys()).finish()
    }
}

impl InMemoryStorage {
    /// Lets `writes` further writes succeed and fails each after them, as a kill between two writes
    /// would.
    pub fn fail_after(&self, writes: usize) {
        self.lock().writes_left = Some(writes);
    }

    /// Ends what [`InMemoryStorage::fail_after`] began.
    pub fn heal(&self) {
        self.lock().writes_left = None;
    }

    /// Refuses every write as a standby's storage does.
    pub fn set_read_only(&self, read_only: bool) {
        self.lock().read_only = read_only;
    }

    /// How often an entry or a list of them was asked for.
    pub fn reads(&self) -> usize {
        self.lock().reads
    }

    /// Every key, sorted.
    pub fn keys(&self) -> Vec<String> {
        self.lock().entries.keys().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(
        &self,
        change: impl FnOnce(&mut BTreeMap<String, Vec<u8>>),
    ) -> Result<(), StorageError> {
        let mut state = self.lock();
        if state.read_only {
            return Err(StorageError::ReadOnly);
        }
        match &mut state.writes_left {
            Some(0) => return Err(StorageError::Failed("no further writes".into())),
            Some(left) => *left -= 1,
            None => {}
        }
        change(&mut state.entries);
        Ok(())
    }
}

#[async_trait]
impl Storage for InMemoryStorage {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let mut children: Vec<String> = Vec::new();
        let mut state = self.lock();
        state.reads += 1;
        for key in state.entries.keys() {
            let Some(rest) = key.strip_prefix(prefix) else { continue };
            let child = match rest.find('/') {
                Some(slash) => rest.get(..=slash).unwrap_or(rest),
                None => rest,
            };
            if children.last().is_none_or(|last| last != child) {
                children.push(child.to_owned());
            }
        }
        Ok(children)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let mut state = self.lock();
        state.reads += 1;
        Ok(state.entries.get(key).cloned())
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        self.write(|entries| {
            entries.insert(key.to_owned(), value);
        })
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.write(|entries| {
            entries.remove(key);
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lists_direct_children_with_folders_once() {
        let storage = InMemoryStorage::default();
        for key in ["a/1", "a/2", "a/b/1", "a/b/2", "c"] {
            storage.put(key, vec![]).await.unwrap();
        }
        assert_eq!(storage.list("a/").await.unwrap(), ["1", "2", "b/"]);
        assert_eq!(storage.list("").await.unwrap(), ["a/", "c"]);
        assert_eq!(storage.list("nothing/").await.unwrap(), Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_decode_error_never_quotes_the_value() {
        let storage = InMemoryStorage::default();
        storage.put("k", b"\"hunter2-secret\"".to_vec()).await.unwrap();
        let storage: &dyn Storage = &storage;
        let error = storage.get_json::<u32>("k").await.unwrap_err();
        assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
    }
}
