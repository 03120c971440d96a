//! Says what failed at the TPM, whose fault it is and what to do about it.

use serde::{Deserialize, Serialize};

use crate::pcr::{PcrDrift, describe};

/// Ends the texts of failures that may last: a lost seal is no disaster.
const AGAIN: &str = "The credential can be issued again: have a new wrapping token made and run \
                     mcp-bridge enroll";

/// A failure at or on the way to the TPM. It holds no secret; [`TpmError::exit_code`] sorts it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum TpmError {
    /// What was asked can't be done as it was asked.
    #[error("{what}")]
    Usage {
        /// A sentence for the one who asked.
        what: String,
    },
    /// The helper was built without TPM support, or for a system that has none.
    #[error(
        "mcp-bridge-tpm was built without TPM support (cargo feature tpm, Linux only). Install a \
         build that has it, or use another store"
    )]
    Unsupported,
    /// The helper program isn't where it should be.
    #[error("{path} is missing: install mcp-bridge-tpm beside mcp-bridge. {AGAIN}")]
    HelperMissing {
        /// Where it was looked for.
        path: String,
    },
    /// The C library that the helper is linked with isn't installed.
    #[error(
        "libtss2 is missing ({library}): apt install libtss2-esys-3.0.2-0 libtss2-tctildr0 \
         libtss2-mu0 on Debian 12, tpm2-tss on Fedora and Alpine. {AGAIN}"
    )]
    LibraryMissing {
        /// The shared object that the loader named.
        library: String,
    },
    /// There is no TPM device.
    #[error(
        "{path} doesn't exist: this machine has no TPM 2.0 that is switched on, or this is a \
         container without it (--device /dev/tpmrm0). Switch it on in the firmware's set-up, or \
         use another store. {AGAIN}"
    )]
    NoDevice {
        /// The device.
        path: String,
    },
    /// The device is a TPM of the first generation.
    #[error("this machine has a TPM 1.2, which can't seal for us: use another store")]
    Tpm12,
    /// The device exists, but this user may not open it.
    #[error(
        "{path} may not be opened by {user} (it belongs to {owner}:{group}, mode {mode:04o}): \
         {}. Members of that group can use and clear the TPM: trusted users only",
        grant(user, group, *mode)
    )]
    NoPermission {
        /// The device.
        path: String,
        /// The user who tried.
        user: String,
        /// The device's owner.
        owner: String,
        /// The device's group.
        group: String,
        /// The device's permission bits.
        mode: u32,
    },
    /// The TPM didn't answer: nothing listens, the module for the transport is missing, or the
    /// device failed.
    #[error(
        "the TPM can't be reached (code {code:#x}): is the device or simulator there, and the \
         libtss2-tcti module for it installed? {AGAIN}"
    )]
    Unreachable {
        /// The library's response code.
        code: u32,
    },
    /// The firmware never started the TPM.
    #[error(
        "the TPM wasn't started by the firmware: update the firmware or restart the machine. \
         {AGAIN}"
    )]
    NotStarted,
    /// The TPM's few slots stayed taken, or it stayed busy.
    #[error(
        "the TPM is busy (code {code:#x}): is something using /dev/tpm0 directly, without the \
         resource manager /dev/tpmrm0? Try again"
    )]
    Busy {
        /// The TPM's response code.
        code: u32,
    },
    /// The helper was ended because it took too long.
    #[error("the TPM didn't answer within {seconds} s: try again. If it stays so: {AGAIN}")]
    Timeout {
        /// The limit.
        seconds: u64,
    },
    /// The helper broke, or speaks another version of the protocol.
    #[error(
        "mcp-bridge-tpm failed: {what}. Is it of the same version as mcp-bridge? If it stays so: \
         {AGAIN}"
    )]
    Helper {
        /// What was seen.
        what: String,
    },
    /// The TPM refused for a reason that we have no words for.
    #[error("the TPM refused {command} (code {code:#x}). If it stays so: {AGAIN}")]
    Refused {
        /// The step that was refused.
        command: String,
        /// The TPM's response code.
        code: u32,
    },
    /// The storage hierarchy has a password, and no usable storage key is kept in the TPM.
    #[error(
        "the TPM's owner password is set and no storage key without a password is kept at \
         0x81000001: have one made there (tpm2_createprimary, tpm2_evictcontrol), or use another \
         store. {AGAIN}"
    )]
    OwnerPassword,
    /// The storage key that the credential was sealed under has got a password.
    #[error("the TPM's storage key has a password, which can't be given here. {AGAIN}")]
    ParentPassword,
    /// The platform's state isn't the one that was sealed to.
    #[error("the machine's state differs from the sealed one: {}. {AGAIN}", changes(drift))]
    PolicyMismatch {
        /// The registers that differ; empty if none does, which means an edited file.
        drift: Vec<PcrDrift>,
    },
    /// No storage key of this TPM is the one that the credential was sealed under.
    #[error(
        "the credential was sealed by another TPM, or this one was cleared since (another \
         machine, or a firmware reset). {AGAIN}"
    )]
    OtherTpm,
    /// The TPM found the sealed object changed or foreign.
    #[error(
        "the TPM doesn't accept the sealed object: another machine's, from before the TPM was \
         cleared, or a damaged file. {AGAIN}"
    )]
    Integrity,
    /// The credential was sealed with a PIN, and none was given.
    #[error(
        "the credential is sealed with a PIN: type it at a terminal, or name its file (--pin-file, \
         MCP_BRIDGE_PIN_FILE, pin_file in the configuration). If it is lost: {AGAIN}"
    )]
    PinMissing,
    /// The PIN was wrong, which the TPM counts.
    #[error("wrong PIN{}. If it is lost: {AGAIN}", tries(*tries_left))]
    WrongPin {
        /// How many tries the TPM grants before it locks; `None` if it doesn't tell.
        tries_left: Option<u32>,
    },
    /// One more wrong PIN would lock the TPM for everybody.
    #[error(
        "the TPM has counted {counter} of {max_tries} failures: one more wrong PIN locks it for \
         every user of this machine. Wait {wait_seconds} s for one try more, or say --force"
    )]
    NearLockout {
        /// Failures counted.
        counter: u32,
        /// Failures that lock.
        max_tries: u32,
        /// Seconds until one is forgotten.
        wait_seconds: u32,
    },
    /// The TPM is locked after too many failures.
    #[error(
        "the TPM is locked after too many wrong PINs or power cuts: wait {wait_seconds} s, or have \
         its administrator run tpm2_dictionarylockout --clear-lockout. Credentials without a PIN \
         still work. {AGAIN}"
    )]
    Lockout {
        /// Seconds until one failure is forgotten.
        wait_seconds: u32,
    },
}

impl TpmError {
    /// Gives the exit code of a command that ends with this: 2 usage, 10 no usable TPM, 11 no
    /// permission, 12 state of the machine, 13 another TPM, 14 PIN, 15 lockout.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage { .. } => 2,
            Self::Unsupported
            | Self::HelperMissing { .. }
            | Self::LibraryMissing { .. }
            | Self::NoDevice { .. }
            | Self::Tpm12
            | Self::Unreachable { .. }
            | Self::NotStarted
            | Self::Busy { .. }
            | Self::Timeout { .. }
            | Self::Helper { .. }
            | Self::Refused { .. } => 10,
            Self::NoPermission { .. } | Self::OwnerPassword | Self::ParentPassword => 11,
            Self::PolicyMismatch { .. } => 12,
            Self::OtherTpm | Self::Integrity => 13,
            Self::PinMissing | Self::WrongPin { .. } => 14,
            Self::NearLockout { .. } | Self::Lockout { .. } => 15,
        }
    }

    /// Makes a [`TpmError::Usage`] from a sentence.
    #[must_use]
    pub fn usage(what: impl Into<String>) -> Self {
        Self::Usage { what: what.into() }
    }
}

/// Says how a user gets at a device, by a group that isn't the administrators' own.
fn grant(user: &str, group: &str, mode: u32) -> String {
    if group != "root" && mode & 0o060 == 0o060 {
        return format!("sudo usermod -aG {group} {user}, then log in again");
    }
    format!(
        "no group for its users has it yet. Install tpm-udev (Debian) or tpm2-tss (Fedora), whose \
         rule gives it to group tss, restart, then sudo usermod -aG tss {user}, and log in again"
    )
}

fn changes(drift: &[PcrDrift]) -> String {
    if drift.is_empty() {
        return "no register differs, so the file was edited".into();
    }
    let all: Vec<String> =
        drift.iter().map(|one| format!("PCR {} ({})", one.pcr, describe(one.pcr))).collect();
    format!("{} changed", all.join(", "))
}

fn tries(left: Option<u32>) -> String {
    left.map_or_else(String::new, |left| format!(", {left} tries left before the TPM locks"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_register_is_named_with_its_meaning_and_the_way_out() {
        let drift = vec![PcrDrift { pcr: 7, sealed: "aa".into(), now: Some("bb".into()) }];
        let error = TpmError::PolicyMismatch { drift };
        let text = error.to_string();
        assert!(text.contains("PCR 7 (Secure Boot"), "{text}");
        assert!(text.contains("mcp-bridge enroll"), "{text}");
        assert_eq!(error.exit_code(), 12);
    }

    #[test]
    fn a_missing_permission_names_the_command_that_mends_it() {
        let error = TpmError::NoPermission {
            path: "/dev/tpmrm0".into(),
            user: "ada".into(),
            owner: "tss".into(),
            group: "tss".into(),
            mode: 0o660,
        };
        assert!(error.to_string().contains("sudo usermod -aG tss ada"), "{error}");
        assert!(error.to_string().contains("mode 0660"), "{error}");
    }

    #[test]
    fn nobody_is_told_to_join_the_administrators_group() {
        for (group, mode) in [("root", 0o660), ("tss", 0o600)] {
            let text = grant("ada", group, mode);
            assert!(text.contains("tpm-udev") && text.contains("-aG tss ada"), "{text}");
        }
    }

    #[test]
    fn an_error_survives_the_pipe() {
        let error = TpmError::WrongPin { tries_left: Some(2) };
        let text = serde_json::to_string(&error).unwrap();
        assert_eq!(serde_json::from_str::<TpmError>(&text).unwrap(), error);
        assert!(error.to_string().contains("2 tries left"), "{error}");
    }
}
