//! One credential version's secret material as stored, with what it is bound to.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::BindingEntry;

/// Secret material and its binding, written together and never changed.
#[derive(Debug, Serialize, Deserialize)]
pub struct MaterialEntry {
    /// The credential's random id.
    pub credential_id: String,
    /// The version's number.
    pub version: u64,
    /// Where, how and over what the material may be sent.
    pub binding: BindingEntry,
    /// The secret values, by field name.
    #[serde(serialize_with = "expose", deserialize_with = "conceal")]
    pub secret: BTreeMap<String, SecretString>,
}

/// One of the named exits of a secret: into the storage that the host encrypts.
fn expose<S: Serializer>(
    secret: &BTreeMap<String, SecretString>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    #[expect(clippy::disallowed_methods, reason = "exit: storage encoding; the host encrypts it")]
    serializer.collect_map(secret.iter().map(|(name, value)| (name, value.expose_secret())))
}

fn conceal<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<String, SecretString>, D::Error> {
    let plain = BTreeMap::<String, String>::deserialize(deserializer)?;
    Ok(plain.into_iter().map(|(name, value)| (name, SecretString::from(value))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_no_secret() {
        let entry = MaterialEntry {
            credential_id: "c".into(),
            version: 1,
            binding: BindingEntry::default(),
            secret: BTreeMap::from([("token".to_owned(), SecretString::from("hunter2-secret"))]),
        };
        assert!(!format!("{entry:?}").contains("hunter2"));
        let stored = serde_json::to_string(&entry).unwrap();
        assert!(stored.contains("hunter2-secret"), "the control: storage does hold it");
    }
}
