//! Names the way to the TPM, in the words of the tpm2-tss tools.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::TpmError;

/// A transport to a TPM: the kernel's resource manager unless something else is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Tcti(String);

impl Tcti {
    /// Gives the device file, if the transport is one.
    #[must_use]
    pub fn device(&self) -> Option<PathBuf> {
        self.0.strip_prefix("device:").map(|path| Path::new(path).to_path_buf())
    }

    /// Gives the whole name, as `tpm2-tss` takes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Default for Tcti {
    /// Gives `device:/dev/tpmrm0`.
    fn default() -> Self {
        Self("device:/dev/tpmrm0".into())
    }
}

impl FromStr for Tcti {
    type Err = TpmError;

    fn from_str(text: &str) -> Result<Self, TpmError> {
        if text == "device:/dev/tpm0" {
            return Err(TpmError::usage(
                "/dev/tpm0 has room for one user at a time: say device:/dev/tpmrm0",
            ));
        }
        let known = text == "tabrmd"
            || ["device:/", "swtpm:host=", "tabrmd:"].iter().any(|start| text.starts_with(start));
        if !known || text.len() > 256 || text.chars().any(char::is_control) {
            return Err(TpmError::usage(
                "the TPM's transport must be device:/dev/tpmrm0, tabrmd or \
                 swtpm:host=127.0.0.1,port=2321",
            ));
        }
        Ok(Self(text.into()))
    }
}

impl TryFrom<String> for Tcti {
    type Error = TpmError;

    fn try_from(text: String) -> Result<Self, TpmError> {
        text.parse()
    }
}

impl From<Tcti> for String {
    fn from(tcti: Tcti) -> Self {
        tcti.0
    }
}

impl fmt::Display for Tcti {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_transports_pass() {
        for good in ["device:/dev/tpmrm0", "tabrmd", "tabrmd:bus_type=session"] {
            assert_eq!(good.parse::<Tcti>().unwrap().as_str(), good);
        }
        for bad in ["", "device:/dev/tpm0", "device:", "mssim", "cmd:sh", "swtpm:path=/x"] {
            assert!(bad.parse::<Tcti>().is_err(), "{bad}");
        }
        assert_eq!(Tcti::default().device().unwrap(), Path::new("/dev/tpmrm0"));
    }
}
