//! A credential as stored: which versions there are, never what they hold.

use serde::{Deserialize, Serialize};
use vault_sdk::StorageError;

use super::{now, random_id};

/// Whose a credential is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Owner {
    /// Made with a service of the same name, and deleted with it.
    Service,
    /// Made at `credentials/`, for any service that matches its binding.
    Operator,
}

/// A named credential.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct CredentialEntry {
    /// Random, made at creation.
    pub id: String,
    /// Whose it is.
    pub owner: Owner,
    /// The version in use; of a service's own, the service entry names it.
    pub current: u64,
    /// Oldest first.
    pub versions: Vec<VersionEntry>,
    /// When it was made, in seconds since 1970.
    pub created: u64,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionEntry {
    /// Counts up from 1; never used twice.
    pub version: u64,
    /// Where its material is.
    pub material_id: String,
    /// When it was written, in seconds since 1970.
    pub created: u64,
    /// The entity that wrote it, or how its login was named.
    #[serde(default)]
    pub created_by: String,
    /// How it came about: `write`, or `rollback of <version>`.
    #[serde(default)]
    pub source: String,
    /// Its material is gone.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroyed: bool,
}

impl CredentialEntry {
    /// How many versions are kept at most: as many as answers are searched for, where a version has
    /// up to three values and forms.
    pub const MAX_VERSIONS: usize = crate::proxy::redact::MAX_SECRETS / 3;

    const LEAST_VERSIONS: usize = 2;

    /// The version in use.
    pub fn current_version(&self) -> Option<&VersionEntry> {
        self.versions.iter().find(|version| version.version == self.current)
    }

    /// A credential without versions yet.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn new(owner: Owner) -> Result<Self, StorageError> {
        Ok(Self { id: random_id()?, owner, current: 0, versions: Vec::new(), created: now() })
    }

    /// Adds a version and makes it the current one; of those before, the newest are kept, so that
    /// there are `keep` in all, or two: the one before is in use until the write is committed, and for
    /// as long as a standby hasn't heard of it. Versions newer than `committed` are what a
    /// write left that never came to its end: they go, and their numbers aren't used again.
    ///
    /// Gives the new material's id, the version's number, and the material ids that are no longer
    /// referred to.
    ///
    /// # Errors
    /// When the system gives no random bytes.
    pub fn push(
        &mut self,
        committed: u64,
        keep: usize,
        created_by: String,
    ) -> Result<(String, u64, Vec<String>), StorageError> {
        let version = self.versions.last().map_or(1, |last| last.version.max(self.current) + 1);
        let mut dropped = Vec::new();
        self.versions.retain(|entry| {
            let keep = entry.version <= committed;
            if !keep {
                dropped.push(entry.material_id.clone());
            }
            keep
        });
        let material_id = random_id()?;
        self.versions.push(VersionEntry {
            version,
            material_id: material_id.clone(),
            created: now(),
            created_by,
            source: "write".to_owned(),
            destroyed: false,
        });
        while self.versions.len() > keep.clamp(Self::LEAST_VERSIONS, Self::MAX_VERSIONS) {
            dropped.push(self.versions.remove(0).material_id);
        }
        self.current = version;
        Ok((material_id, version, dropped))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_count_up_and_the_oldest_go() {
        let mut credential = CredentialEntry::new(Owner::Operator).unwrap();
        let mut dropped = Vec::new();
        for number in 1..=12 {
            let committed = credential.current;
            let (_, version, gone) =
                credential.push(committed, CredentialEntry::MAX_VERSIONS, String::new()).unwrap();
            assert_eq!(version, number);
            dropped.extend(gone);
        }
        assert_eq!(credential.versions.len(), CredentialEntry::MAX_VERSIONS);
        assert_eq!(dropped.len(), 2);
        assert_eq!(credential.current_version().unwrap().version, 12);
        let (_, _, gone) = credential.push(12, 2, String::new()).unwrap();
        assert_eq!((credential.versions.len(), gone.len()), (2, 9));
    }

    #[test]
    fn the_version_in_use_stays_until_the_write_after_its_successors() {
        let mut credential = CredentialEntry::new(Owner::Service).unwrap();
        credential.push(0, 1, String::new()).unwrap();
        let (_, _, dropped) = credential.push(1, 1, String::new()).unwrap();
        assert_eq!((credential.versions.len(), dropped.len()), (2, 0));
        // Version 2 was never committed: what is in use stays once more.
        credential.push(1, 1, String::new()).unwrap();
        let versions: Vec<u64> = credential.versions.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, [1, 3]);
    }

    #[test]
    fn an_uncommitted_version_is_dropped_and_its_number_not_reused() {
        let mut credential = CredentialEntry::new(Owner::Service).unwrap();
        credential.push(0, 10, String::new()).unwrap();
        credential.push(1, 10, String::new()).unwrap();
        let (_, version, dropped) = credential.push(1, 10, String::new()).unwrap();
        assert_eq!((version, dropped.len()), (3, 1));
        let versions: Vec<u64> = credential.versions.iter().map(|entry| entry.version).collect();
        assert_eq!(versions, [1, 3]);
    }
}
