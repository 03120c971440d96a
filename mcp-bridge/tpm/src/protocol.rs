//! The one request and one answer that this library and the helper program exchange as JSON.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::TpmError;
use crate::key::{DataKey, Pin};
use crate::object::{ObjectPolicy, TpmInfo, TpmObject};
use crate::pcr::{PcrDrift, PcrSet};
use crate::tcti::Tcti;

/// The protocol's version: both sides must have the same, since they are installed together.
pub const VERSION: u32 = 1;

/// The largest request or answer, in bytes.
pub const MAX_BYTES: usize = 64 * 1024;

/// What the library asks of the helper, on its stdin, which is then closed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request<'a> {
    /// [`VERSION`].
    pub version: u32,
    /// The way to the TPM.
    pub tcti: Tcti,
    /// What to do.
    pub operation: Operation<'a>,
}

/// What the helper can do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Operation<'a> {
    /// Tell about the TPM.
    Info,
    /// Seal a data key.
    Seal {
        /// The key.
        key: WireSecret<'a>,
        /// The registers to bind it to.
        pcrs: PcrSet,
        /// The PIN to ask for at unsealing.
        pin: Option<WireSecret<'a>>,
    },
    /// Unseal a data key.
    Unseal {
        /// The sealed object.
        object: Box<TpmObject>,
        /// The PIN, if the object asks for one.
        pin: Option<WireSecret<'a>>,
        /// Whether to spend the last try before the TPM locks.
        force: bool,
    },
    /// Tell which registers differ from the sealed values.
    PcrDiff {
        /// The object's policy.
        policy: Box<ObjectPolicy>,
    },
}

/// What the helper answers on its stdout: a reply, or why there is none.
pub type Answer = Result<Reply, TpmError>;

/// The answer to each [`Operation`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// To [`Operation::Info`].
    Info(TpmInfo),
    /// To [`Operation::Seal`].
    Sealed(Box<TpmObject>),
    /// To [`Operation::Unseal`].
    Key(WireSecret<'static>),
    /// To [`Operation::PcrDiff`].
    Drift(Vec<PcrDrift>),
}

/// A secret on the pipe between the two programs: wiped when dropped if it is owned.
///
/// It is the one secret type that serializes, since it exists for the pipe alone.
pub struct WireSecret<'a>(Held<'a>);

enum Held<'a> {
    Borrowed(&'a str),
    Owned(Zeroizing<String>),
}

impl<'a> WireSecret<'a> {
    /// Lends a PIN to a request.
    #[must_use]
    pub fn pin(pin: &'a Pin) -> Self {
        Self(Held::Borrowed(pin.expose()))
    }

    /// Encodes a data key.
    #[must_use]
    pub fn key(key: &DataKey) -> Self {
        Self(Held::Owned(key.to_base64()))
    }

    /// Reads a data key; `None` if it isn't one.
    #[must_use]
    pub fn to_key(&self) -> Option<DataKey> {
        DataKey::from_base64(self.text())
    }

    /// Reads a PIN.
    ///
    /// # Errors
    ///
    /// [`TpmError::Usage`] if it can't be one.
    pub fn to_pin(&self) -> Result<Pin, TpmError> {
        Pin::new(self.text())
    }

    fn text(&self) -> &str {
        match &self.0 {
            Held::Borrowed(text) => text,
            Held::Owned(text) => text,
        }
    }
}

impl fmt::Debug for WireSecret<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("WireSecret([redacted])")
    }
}

impl Serialize for WireSecret<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl<'de> Deserialize<'de> for WireSecret<'_> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Held::Owned(Zeroizing::new(String::deserialize(deserializer)?))))
    }
}

/// Writes a message to a buffer that is wiped when dropped and, large enough from the start, leaves
/// no copies behind by growing.
///
/// # Errors
///
/// [`TpmError::Helper`] if the message is larger than [`MAX_BYTES`].
pub fn encode(message: &impl Serialize) -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
    serde_json::to_writer(&mut *bytes, message)
        .map_err(|_| TpmError::Helper { what: "a message couldn't be written".into() })?;
    if bytes.len() > MAX_BYTES {
        bytes.zeroize();
        return Err(TpmError::Helper { what: "a message is too large".into() });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_travel_but_never_show() {
        let key = DataKey::from_slice(&[7; 32]).unwrap();
        let pin = Pin::new("canary-pin").unwrap();
        let request = Request {
            version: VERSION,
            tcti: Tcti::default(),
            operation: Operation::Seal {
                key: WireSecret::key(&key),
                pcrs: PcrSet::default(),
                pin: Some(WireSecret::pin(&pin)),
            },
        };
        let shown = format!("{request:?}");
        assert!(!shown.contains("canary") && !shown.contains("Bwc"), "{shown}");

        let bytes = encode(&request).unwrap();
        let read: Request<'_> = serde_json::from_slice(&bytes).unwrap();
        let Operation::Seal { key: read_key, pin: Some(read_pin), .. } = read.operation else {
            panic!("another operation")
        };
        assert!(read_key.to_key().unwrap().matches(&key));
        assert_eq!(read_pin.to_pin().unwrap().expose(), "canary-pin");
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let request = r#"{"version":1,"tcti":"tabrmd","operation":{"info":null},"more":1}"#;
        assert!(serde_json::from_str::<Request<'_>>(request).is_err());
    }
}
