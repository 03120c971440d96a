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

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vault_sdk::{Storage, StorageError};

pub use binding::BindingEntry;
pub use config::ConfigEntry;
pub use credential::{CredentialEntry, Owner, VersionEntry};
pub use material::MaterialEntry;
pub use service::{Definition, OwnCredential, ServiceEntry};

/// The form of entries that this build writes. One number for all kinds: an upgrade is one step.
const SCHEMA: u32 = 1;

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

/// Every entry carries the number of its form beside its own fields.
#[derive(Serialize)]
struct Versioned<'e, T> {
    schema: u32,
    #[serde(flatten)]
    entry: &'e T,
}

#[derive(Deserialize)]
struct Schema {
    schema: u32,
}

/// Reads an entry; `None` when there is none.
///
/// # Errors
/// An entry that a newer build wrote is refused, with what to do.
pub async fn load<T: DeserializeOwned>(
    storage: &dyn Storage,
    key: &str,
) -> Result<Option<T>, StorageError> {
    let Some(bytes) = storage.get(key).await? else { return Ok(None) };
    let undecodable = |error: serde_json::Error| StorageError::Undecodable {
        key: key.to_owned(),
        // Not the error's own text, which quotes values.
        reason: format!("{:?} at column {}", error.classify(), error.column()),
    };
    let Schema { schema } = serde_json::from_slice(&bytes).map_err(undecodable)?;
    if schema > SCHEMA {
        return Err(StorageError::Undecodable {
            key: key.to_owned(),
            reason: format!(
                "it has schema {schema}, this plugin ({}) knows {SCHEMA}: install the newer plugin \
                 that wrote it",
                env!("CARGO_PKG_VERSION")
            ),
        });
    }
    serde_json::from_slice(&bytes).map(Some).map_err(undecodable)
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
    storage.put_json(key, &Versioned { schema: SCHEMA, entry }).await
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
    async fn an_entry_of_a_newer_build_is_refused_with_what_to_do() {
        let storage = InMemoryStorage::default();
        storage.put(CONFIG, br#"{"schema":2,"future":true}"#.to_vec()).await.unwrap();
        let error = load::<ConfigEntry>(&storage, CONFIG).await.unwrap_err();
        assert!(error.to_string().contains("install the newer plugin"), "{error}");
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
