//! What is kept in the mount's storage: keys, entries, versions of their form.
//!
//! A write with a secret makes up to three entries, in this order: the material under a random id,
//! the credential that names it, the service that names the credential's version. The last put is
//! the commit; what a kill leaves unreferenced is swept.

mod binding;
mod config;
mod credential;
mod material;
mod service;
mod tools;

use std::sync::OnceLock;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vault_sdk::{Storage, StorageError};

pub use binding::BindingEntry;
pub use config::ConfigEntry;
pub use credential::{CredentialEntry, Owner, VersionEntry};
pub use material::MaterialEntry;
pub use service::{Definition, OwnCredential, ServiceEntry};
pub use tools::{
    DefinitionEntry, PinEntry, SeenEntry, StoredTools, TOOL_PARTS, TOOLS, ToolsEntry, delete_parts,
    delete_tools, load_pins, load_tools, store_parts,
};

/// The mount-wide settings.
pub const CONFIG: &str = "config";
/// The catalog's revision.
pub const REVISION: &str = "revision";
/// Prefix of services, by name.
pub const SERVICES: &str = "service/";
/// Prefix of credentials, by name.
pub const CREDENTIALS: &str = "credential/";
/// Prefix of when credentials were last used, by the credential's random id.
pub const USAGE: &str = "usage/";
/// Prefix of secret material, by random id. Wrapped by the seal a second time.
pub const MATERIAL: &str = "material/";

/// What a build writes into entries, and the newest that it reads.
///
/// One number for all kinds of entries: an upgrade is one step. It counts up when a version keeps
/// something that the versions before it must not overlook: a field that is lost, or a guard that is
/// ignored, in an older version's hands. A field whose absence means what it meant before needs no
/// new number. Where the number changes, [`load`] turns the older form into the newer one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Form {
    /// The number of the form.
    pub schema: u32,
    /// The version of the engine, without `v`: what an older one tells the operator to install.
    pub version: &'static str,
}

impl Form {
    /// This build's.
    pub const BUILT: Self = Self { schema: 1, version: env!("CARGO_PKG_VERSION") };

    /// What this process writes.
    pub fn current() -> Self {
        *CURRENT.get_or_init(|| Self::BUILT)
    }

    /// Has this process write as another version, if it hasn't written yet. Nothing in the plugin
    /// calls it: it is for the program with which the tests upgrade and downgrade.
    pub fn pretend(self) {
        let _ = CURRENT.set(self);
    }
}

static CURRENT: OnceLock<Form> = OnceLock::new();

/// Every entry carries the number of its form, and who wrote it, beside its own fields.
#[derive(Serialize)]
struct Versioned<'e, T> {
    schema: u32,
    written_by: &'static str,
    #[serde(flatten)]
    entry: &'e T,
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
    /// UPGRADING(0.1.0): the first builds didn't write it.
    #[serde(default)]
    written_by: String,
}

/// Why an entry can't be read.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Storage failed, or the entry isn't what the engine wrote.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A newer version of the engine wrote it, in a form that this one doesn't know.
    #[error(
        "version {} of this engine doesn't know the form ({schema}) in which version {written_by} \
         wrote {key}",
        Form::current().version
    )]
    Newer {
        /// Which entry; keys are not secret.
        key: String,
        /// The number of its form.
        schema: u32,
        /// The version to install.
        written_by: String,
    },
}

impl From<LoadError> for StorageError {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Storage(error) => error,
            LoadError::Newer { ref key, .. } => {
                Self::Undecodable { key: key.clone(), reason: error.to_string() }
            }
        }
    }
}

/// Reads an entry; `None` when there is none.
///
/// # Errors
/// Storage's own, and [`LoadError::Newer`] for an entry of a later version, which is left as it is.
pub async fn load<T: DeserializeOwned>(
    storage: &dyn Storage,
    key: &str,
) -> Result<Option<T>, LoadError> {
    let Some(bytes) = storage.get(key).await? else { return Ok(None) };
    let undecodable = |error: serde_json::Error| StorageError::Undecodable {
        key: key.to_owned(),
        // Not the error's own text, which quotes values.
        reason: format!("{:?} at column {}", error.classify(), error.column()),
    };
    let Schema { schema, written_by } = serde_json::from_slice(&bytes).map_err(undecodable)?;
    if schema > Form::current().schema {
        return Err(LoadError::Newer { key: key.to_owned(), schema, written_by });
    }
    Ok(serde_json::from_slice(&bytes).map(Some).map_err(undecodable)?)
}

/// Writes an entry.
///
/// # Errors
/// Storage's own.
pub async fn store<T: Serialize + Sync>(
    storage: &dyn Storage,
    key: &str,
    entry: &T,
) -> Result<(), StorageError> {
    let Form { schema, version } = Form::current();
    storage.put_json(key, &Versioned { schema, written_by: version, entry }).await
}

/// A random id of 128 bits, in hex.
///
/// # Errors
/// When the system gives no random bytes.
pub fn random_id() -> Result<String, StorageError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes)
        .map_err(|_| StorageError::Failed("the system gives no random bytes".into()))?;
    Ok(hex(&bytes))
}

/// Lower-case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        use std::fmt::Write as _;
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// Seconds since 1970, UTC.
pub fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |elapsed| elapsed.as_secs())
}

/// A time as RFC 3339, in whole seconds, UTC.
pub fn rfc3339(seconds: u64) -> String {
    i64::try_from(seconds)
        .ok()
        .and_then(|seconds| time::OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&time::format_description::well_known::Rfc3339).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use vault_sdk::InMemoryStorage;

    use super::*;

    #[tokio::test]
    async fn an_entry_of_a_newer_version_is_refused_with_the_version_to_install() {
        let storage = InMemoryStorage::default();
        let newer = br#"{"schema":2,"written_by":"9.8.7","paused":"a form of its own"}"#;
        storage.put(CONFIG, newer.to_vec()).await.unwrap();
        let error = load::<ConfigEntry>(&storage, CONFIG).await.unwrap_err();
        let LoadError::Newer { key, schema, written_by } = &error else { panic!("{error:?}") };
        assert_eq!((key.as_str(), *schema, written_by.as_str()), (CONFIG, 2, "9.8.7"));
    }

    #[tokio::test]
    async fn an_entry_says_in_which_form_it_is_and_which_version_wrote_it() {
        let storage = InMemoryStorage::default();
        store(&storage, CONFIG, &ConfigEntry::default()).await.unwrap();
        let entry = storage.get(CONFIG).await.unwrap().unwrap();
        let entry: serde_json::Value = serde_json::from_slice(&entry).unwrap();
        assert_eq!(entry["schema"], 1);
        assert_eq!(entry["written_by"], env!("CARGO_PKG_VERSION"));
    }

    #[tokio::test]
    async fn an_entry_of_the_first_builds_is_read() {
        let storage = InMemoryStorage::default();
        storage.put(CONFIG, br#"{"schema":1,"paused":true}"#.to_vec()).await.unwrap();
        assert!(load::<ConfigEntry>(&storage, CONFIG).await.unwrap().unwrap().paused);
    }

    #[tokio::test]
    async fn entries_round_trip() {
        let storage = InMemoryStorage::default();
        let config =
            ConfigEntry { upstream_cidrs: vec!["10.0.0.0/8".into()], ..Default::default() };
        store(&storage, CONFIG, &config).await.unwrap();
        let read: ConfigEntry = load(&storage, CONFIG).await.unwrap().unwrap();
        assert_eq!(read.upstream_cidrs, config.upstream_cidrs);
    }

    #[test]
    fn times_are_rfc_3339() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(1_795_000_000), "2026-11-18T11:06:40Z");
    }
}
