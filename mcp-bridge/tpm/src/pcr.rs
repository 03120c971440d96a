//! Names platform configuration registers, what they stand for and which of them changed.

use std::collections::BTreeSet;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::TpmError;

/// The registers that a credential is bound to: none, unless asked for. Each is 0 to 23.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<u8>", into = "Vec<u8>")]
pub struct PcrSet(BTreeSet<u8>);

impl PcrSet {
    /// Tells whether no register is bound.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Walks through the registers in rising order.
    pub fn iter(&self) -> impl Iterator<Item = u8> + '_ {
        self.0.iter().copied()
    }
}

impl FromStr for PcrSet {
    type Err = TpmError;

    /// Reads `7` or `7,11`.
    fn from_str(text: &str) -> Result<Self, TpmError> {
        let registers: Result<Vec<u8>, _> =
            text.split(',').map(|part| part.trim().parse()).collect();
        registers.map_err(|_| refused())?.try_into()
    }
}

impl TryFrom<Vec<u8>> for PcrSet {
    type Error = TpmError;

    fn try_from(registers: Vec<u8>) -> Result<Self, TpmError> {
        if registers.iter().any(|register| *register > 23) {
            return Err(refused());
        }
        Ok(Self(registers.into_iter().collect()))
    }
}

impl From<PcrSet> for Vec<u8> {
    fn from(set: PcrSet) -> Self {
        set.0.into_iter().collect()
    }
}

fn refused() -> TpmError {
    TpmError::usage("registers are numbers from 0 to 23, separated by commas: 7 or 7,11")
}

/// One register whose value isn't the sealed one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PcrDrift {
    /// The register's number.
    pub pcr: u8,
    /// The value at sealing, hexadecimal.
    pub sealed: String,
    /// The value now, hexadecimal; `None` if the TPM has no such bank any more.
    pub now: Option<String>,
}

/// Says in words what a register stands for and what changes it.
///
/// TCG PC Client Platform Firmware Profile, section 3.3.4, for 0 to 7; the Linux TPM PCR Registry
/// of the UAPI Group for the others.
#[must_use]
pub const fn describe(pcr: u8) -> &'static str {
    match pcr {
        0 => "the firmware's code, typical after a firmware update",
        1 => "the firmware's settings or the hardware",
        2 => "code of plug-in cards",
        3 => "settings of plug-in cards",
        4 => "the boot loader, typical after its update",
        5 => "the boot loader's settings or the partition table",
        6 => "the machine's maker's own measurements",
        7 => "Secure Boot keys or dbx, typical after a firmware or fwupd update",
        8 => "boot loader commands or the kernel's command line",
        9 => "the kernel or the initial RAM disk, typical after a kernel update",
        10 => "files measured by the kernel (IMA)",
        11 => "the unified kernel image, typical after a kernel update",
        12 => "the kernel's command line and boot credentials",
        13 => "system extensions",
        14 => "Secure Boot's machine owner keys (shim)",
        15 => "the system's identity: volume key or machine id",
        16 => "debugging",
        17..=22 => "a dynamic launch (TXT, SKINIT)",
        23 => "applications",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_sorted_and_bounded() {
        let set: PcrSet = "16, 7,7".parse().unwrap();
        assert_eq!(set.iter().collect::<Vec<_>>(), [7, 16]);
        for bad in ["", "24", "-1", "7,", "sha256:7", "300"] {
            assert!(bad.parse::<PcrSet>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<PcrSet>("[24]").is_err());
    }
}
