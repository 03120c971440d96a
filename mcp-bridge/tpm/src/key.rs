//! Holds the two secrets that pass between this library and a TPM: the data key and the PIN.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ring::rand::{SecureRandom as _, SystemRandom};
use secrecy::{ExposeSecret as _, SecretBox, SecretString};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::TpmError;

/// The longest PIN in bytes: an authorization value is at most as long as the digest of the
/// object's name algorithm, SHA-256 (TPM 2.0 Library, part 1, section 19.6.4.3).
const MAX_PIN_BYTES: usize = 32;

/// The AES-256 key of one sealed file: made anew at every seal, used once.
pub struct DataKey(SecretBox<[u8; 32]>);

impl DataKey {
    /// Makes a new key from the system's generator.
    ///
    /// # Errors
    ///
    /// [`TpmError::Helper`] if the system has no randomness to give.
    pub fn generate() -> Result<Self, TpmError> {
        let mut failed = false;
        let key = SecretBox::init_with_mut(|key: &mut [u8; 32]| {
            failed = SystemRandom::new().fill(key).is_err();
        });
        if failed {
            return Err(TpmError::Helper { what: "the system gave no random bytes".into() });
        }
        Ok(Self(key))
    }

    /// Takes a key that came out of a TPM; `None` unless it is 32 bytes long.
    #[must_use]
    pub fn from_slice(bytes: &[u8]) -> Option<Self> {
        let mut key: [u8; 32] = bytes.try_into().ok()?;
        let secret = SecretBox::init_with_mut(|place: &mut [u8; 32]| place.copy_from_slice(&key));
        key.zeroize();
        Some(Self(secret))
    }

    /// Tells whether two keys are the same, without telling where they differ.
    #[must_use]
    pub fn matches(&self, other: &Self) -> bool {
        // Keys are compared by their digests: the time tells nothing about the keys themselves.
        let digest = |key: &Self| ring::digest::digest(&ring::digest::SHA256, key.expose());
        digest(self).as_ref() == digest(other).as_ref()
    }

    /// Gives the bytes, to the cipher and to the TPM alone.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        #[expect(
            clippy::disallowed_methods,
            reason = "the data key's one way out: the cipher of the sealed file, and the pipe to \
                      the helper with the TPM behind it"
        )]
        self.0.expose_secret()
    }

    /// Encodes the key for the pipe to the helper.
    pub(crate) fn to_base64(&self) -> Zeroizing<String> {
        Zeroizing::new(BASE64_URL_SAFE_NO_PAD.encode(self.expose()))
    }

    /// Decodes a key from the pipe.
    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?);
        Self::from_slice(&bytes)
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("DataKey([redacted])")
    }
}

/// What a person types to unseal: the TPM counts wrong ones and locks.
#[derive(Debug)]
pub struct Pin(SecretString);

impl Pin {
    /// Takes a PIN of 1 to 32 bytes.
    ///
    /// # Errors
    ///
    /// [`TpmError::Usage`] for any other length, or for a NUL, which a TPM drops at the end.
    pub fn new(text: &str) -> Result<Self, TpmError> {
        if text.is_empty() || text.len() > MAX_PIN_BYTES || text.contains('\0') {
            return Err(TpmError::usage("a PIN has 1 to 32 bytes, none of them zero"));
        }
        Ok(Self(SecretString::from(text)))
    }

    /// Copies the PIN for a second use of it: deliberate, so no `Clone`.
    #[must_use]
    pub fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    /// Gives the PIN, to the TPM alone.
    #[must_use]
    pub fn expose(&self) -> &str {
        #[expect(
            clippy::disallowed_methods,
            reason = "the PIN's one way out: the pipe to the helper with the TPM behind it"
        )]
        self.0.expose_secret()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_secret_shows_in_debug_output() {
        let key = DataKey::from_slice(&[0x41; 32]).unwrap();
        assert_eq!(format!("{key:?}"), "DataKey([redacted])");
        let pin = Pin::new("1234-canary").unwrap();
        assert!(!format!("{pin:?}").contains("canary"), "{pin:?}");
    }

    #[test]
    fn a_key_survives_the_pipe_and_lengths_are_checked() {
        let key = DataKey::generate().unwrap();
        assert!(DataKey::from_base64(&key.to_base64()).unwrap().matches(&key));
        assert!(!DataKey::generate().unwrap().matches(&key));
        assert!(DataKey::from_slice(&[0; 31]).is_none());
        assert!(Pin::new("").is_err());
        assert!(Pin::new(&"x".repeat(33)).is_err());
    }
}
