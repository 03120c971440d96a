//! Describes a sealed object and the TPM that holds its parent: public facts, no secret.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use crate::error::TpmError;
use crate::pcr::PcrSet;

/// The one persistent handle that is looked at: the storage root key of TCG's "TPM v2.0
/// Provisioning Guidance", section 7.5.1.
pub const SRK_HANDLE: u32 = 0x8100_0001;

/// The one template for a storage key: ECC P-256 in the owner hierarchy, `unique` empty.
pub const SRK_TEMPLATE: &str = "ecc-p256-owner-srk/1";

/// The one bank that registers are read from.
pub const BANK: &str = "sha256";

/// A data key sealed by a TPM, with all that is needed to find its parent again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmObject {
    /// The storage key it is sealed under.
    pub parent: Parent,
    /// What has to hold for unsealing.
    pub policy: ObjectPolicy,
    /// The TPM at sealing: a hint for people, never compared.
    pub tpm: Maker,
    /// The object's `TPM2B_PUBLIC`.
    pub public: Blob,
    /// The object's `TPM2B_PRIVATE`, encrypted by the TPM.
    pub private: Blob,
}

/// A storage key, known by its Name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parent {
    /// The Name, hexadecimal: the digest of the public area, with the algorithm before it.
    pub name: String,
    /// The persistent handle it was found at; `None` if it was derived from the template.
    pub handle: Option<u32>,
    /// The template to derive it from.
    pub template: String,
}

/// What has to hold for unsealing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectPolicy {
    /// The bank of registers.
    pub bank: String,
    /// The registers bound.
    pub pcrs: PcrSet,
    /// Their values at sealing, hexadecimal: for the diagnosis alone.
    pub pcr_values: BTreeMap<u8, String>,
    /// Whether a PIN is asked for.
    pub pin: bool,
}

/// Who made a TPM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maker {
    /// The manufacturer's code, such as `IFX`.
    pub manufacturer: String,
    /// The vendor's string.
    pub vendor: String,
    /// The firmware's version.
    pub firmware: String,
}

impl Maker {
    /// Tells whether this is a TPM in software, whose state the host's administrator can copy.
    ///
    /// `swtpm`, and with it every QEMU guest, says manufacturer `IBM`, vendor `SW   TPM`. Other
    /// hypervisors may say other names, so `false` isn't a proof of hardware.
    #[must_use]
    pub fn is_software(&self) -> bool {
        self.manufacturer == "IBM" && self.vendor.starts_with("SW")
    }

    /// Says in words what the seal is worth with this TPM.
    #[must_use]
    pub fn label(&self) -> &'static str {
        if self.is_software() {
            "bound to this machine's TPM (software or virtual: the host's administrator can copy it)"
        } else {
            "bound to this machine's TPM"
        }
    }
}

/// What a TPM tells about itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmInfo {
    /// Who made it.
    pub maker: Maker,
    /// The state of its guard against guessing.
    pub lockout: Lockout,
    /// The banks of registers in use.
    pub pcr_banks: Vec<String>,
    /// The storage keys that a credential could be sealed under, best first.
    pub parents: Vec<Parent>,
    /// Whether the owner hierarchy has a password: then only a persistent parent serves.
    pub owner_password: bool,
    /// Whether clearing the TPM takes a password: if not, whoever may use it may clear it.
    pub lockout_password: bool,
}

impl TpmInfo {
    /// Tells whether this TPM has the storage key that an object was sealed under.
    #[must_use]
    pub fn has_parent_of(&self, object: &TpmObject) -> bool {
        self.parents.iter().any(|parent| parent.name == object.parent.name)
    }
}

/// The state of a TPM's guard against guessing PINs: one for all its users.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lockout {
    /// Failures counted.
    pub counter: u32,
    /// Failures that lock.
    pub max_tries: u32,
    /// Seconds until one failure is forgotten.
    pub recovery_seconds: u32,
    /// Whether it is locked now.
    pub locked: bool,
}

impl Lockout {
    /// Refuses a PIN that would be in vain, or whose failing would lock the TPM for everybody.
    ///
    /// # Errors
    ///
    /// [`TpmError::Lockout`] when it is locked, [`TpmError::NearLockout`] when one try is left and
    /// `force` isn't set.
    pub fn permit_try(&self, force: bool) -> Result<(), TpmError> {
        if self.locked {
            return Err(TpmError::Lockout { wait_seconds: self.recovery_seconds });
        }
        if !force && self.tries_left() <= 1 {
            return Err(TpmError::NearLockout {
                counter: self.counter,
                max_tries: self.max_tries,
                wait_seconds: self.recovery_seconds,
            });
        }
        Ok(())
    }

    /// Counts the tries before the TPM locks.
    #[must_use]
    pub const fn tries_left(&self) -> u32 {
        self.max_tries.saturating_sub(self.counter)
    }
}

/// Bytes that stand in JSON as base64url without padding.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Blob(pub Vec<u8>);

impl TryFrom<String> for Blob {
    type Error = base64::DecodeError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        BASE64_URL_SAFE_NO_PAD.decode(text).map(Self)
    }
}

impl From<Blob> for String {
    fn from(blob: Blob) -> Self {
        BASE64_URL_SAFE_NO_PAD.encode(blob.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_try_is_kept_unless_forced() {
        let mut lockout = Lockout { counter: 1, max_tries: 3, recovery_seconds: 9, locked: false };
        assert_eq!(lockout.permit_try(false), Ok(()));
        lockout.counter = 2;
        assert!(matches!(lockout.permit_try(false), Err(TpmError::NearLockout { counter: 2, .. })));
        assert_eq!(lockout.permit_try(true), Ok(()));
        lockout.locked = true;
        assert_eq!(lockout.permit_try(true), Err(TpmError::Lockout { wait_seconds: 9 }));
    }
}
