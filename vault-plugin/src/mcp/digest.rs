//! Digests of definitions: SHA-256 over canonical JSON (RFC 8785), of what the upstream gave.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::storage::hex;

/// A SHA-256 in lower-case hex.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Digest(String);

impl Digest {
    /// The digest of a JSON value, whatever the order of its keys, its white space and the spelling
    /// of its numbers and characters.
    ///
    /// `None` for a number that canonical JSON has no form for.
    pub fn of(value: &Value) -> Option<Self> {
        let canonical = serde_json_canonicalizer::to_vec(value).ok()?;
        Some(Self(hex(&Sha256::digest(canonical))))
    }

    /// As it is shown.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn digest(text: &str) -> Digest {
        Digest::of(&serde_json::from_str(text).unwrap()).unwrap()
    }

    #[test]
    fn spelling_makes_no_difference_and_every_value_does() {
        let plain = digest(r#"{"name":"a","inputSchema":{"type":"object","minimum":1}}"#);
        assert_eq!(
            plain,
            digest(
                "{ \"inputSchema\": {\"minimum\": 1.0, \"type\":\"obj\\u0065ct\"},\n\"name\":\"a\"}"
            )
        );
        for other in [
            r#"{"name":"b","inputSchema":{"type":"object","minimum":1}}"#,
            r#"{"name":"a","inputSchema":{"type":"object","minimum":2}}"#,
            r#"{"name":"a","inputSchema":{"type":"object","minimum":1},"title":""}"#,
            r#"{"name":"a","inputSchema":{"type":"object","minimum":"1"}}"#,
            "{\"name\":\"a\u{200b}\",\"inputSchema\":{\"type\":\"object\",\"minimum\":1}}",
        ] {
            assert_ne!(plain, digest(other), "{other}");
        }
    }

    #[test]
    fn it_is_sha_256_over_rfc_8785() {
        // RFC 8785, section 3.2.3: keys sorted by UTF-16 code units, no white space.
        let value = json!({ "b": [1, 2.5], "a": "é" });
        let expected = hex(&Sha256::digest("{\"a\":\"é\",\"b\":[1,2.5]}".as_bytes()));
        assert_eq!(Digest::of(&value).unwrap().as_str(), expected);
    }
}
