//! Keeps a Vault AppRole credential on disk, sealed to this machine's TPM 2.0.
//!
//! ```text
//!  mcp-bridge                                     mcp-bridge-tpm (one process for each request)
//!  CredentialFile -> SealedCredential -> Sealer -- JSON on stdin, JSON on stdout --> libtss2 -> TPM
//! ```
//!
//! - [`credential`]: what is kept, and how it is sealed and opened.
//! - [`sealed`]: the container's format. [`mod@file`]: the one place that touches the file.
//! - [`sealer`]: the seam to a TPM, and [`sealer::helper`], which starts the helper program.
//! - [`protocol`], [`response_code`]: what the helper and this library say to each other, and what
//!   the TPM says to the helper.
//!
//! This library never links libtss2: a program that uses it starts on a machine without the C
//! library, and hears of it only when it asks for the TPM. The C library leaves copies of what it
//! unsealed on its heap and stack; they end with the helper's process.
//!
//! What the seal does not do: a process of the same user on the same running machine can unseal
//! too. It protects what is copied away from the machine.

pub mod credential;
pub mod error;
pub mod file;
pub mod key;
pub mod object;
pub mod pcr;
pub mod precheck;
pub mod protocol;
pub mod response_code;
pub mod sealed;
pub mod sealer;
pub mod tcti;

pub use credential::{Credential, CredentialError, VaultBinding};
pub use error::TpmError;
pub use file::{CredentialFile, FileError, LockedFile};
pub use key::{DataKey, Pin};
pub use object::{TpmInfo, TpmObject};
pub use pcr::{PcrDrift, PcrSet};
pub use sealed::{SealedCredential, Store};
pub use sealer::{SealOptions, Sealer, UnsealOptions};
pub use tcti::Tcti;
