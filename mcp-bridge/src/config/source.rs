//! Says what the bridge logs in with, and where each kind of credential is.

use std::path::PathBuf;

use reqwest::Url;
use tokio::sync::Mutex;

use super::Mount;
use crate::secret::{SecretId, VaultToken};

/// What the bridge logs in with.
#[derive(Debug)]
pub(crate) enum CredentialSource {
    /// AppRole, both halves in files.
    AppRole {
        /// Where the auth method is mounted.
        mount: Mount,
        /// The file of the role_id.
        role_id: PathBuf,
        /// The file of the secret_id.
        secret_id: PathBuf,
    },
    /// AppRole, kept by `enroll` with the server that it is for.
    Enrolled(Enrolled),
    /// AppRole, its secret_id delivered in a wrapping token at each start.
    Delivered(Delivered),
    /// A token in a file, for development.
    TokenFile(PathBuf),
    /// The token of an operator's environment; for `call`, never for `serve`.
    Environment(VaultToken),
}

/// A credential that `enroll` kept: the file, the way to what protects it, and what the settings say
/// beside it.
#[derive(Clone, Debug)]
pub(crate) struct Enrolled {
    /// The file.
    pub(crate) file: PathBuf,
    /// The way to the TPM, if not the usual one.
    pub(crate) tcti: Option<String>,
    /// Where its PIN comes from, if it has one.
    pub(crate) pin: PinSource,
    /// Whether the last try before the TPM locks may be spent on the PIN.
    pub(crate) last_try: bool,
    /// Certificate and key of this machine.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// What the settings say of the server: compared, never followed.
    pub(crate) told: Told,
}

/// Where the PIN of an enrolled credential comes from: never an argument or a variable's value.
#[derive(Clone, Debug)]
pub(crate) enum PinSource {
    /// Nobody gives one.
    None,
    /// The first line of a file, read at each unsealing.
    File(PathBuf),
    /// A person, who typed it.
    #[cfg(unix)]
    Typed(std::sync::Arc<mcp_bridge_tpm::Pin>),
}

/// What settings say of a server that the credential knows better.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    /// The setting that names the addresses.
    pub(crate) named_by: String,
    /// The addresses, if they can be read.
    pub(crate) addresses: Option<Vec<Url>>,
    /// The namespace.
    pub(crate) namespace: Option<String>,
    /// Authorities to trust.
    pub(crate) ca_cert: Option<PathBuf>,
    /// The name in the certificate.
    pub(crate) server_name: Option<String>,
}

/// A credential of which nothing secret is kept on this machine.
#[derive(Debug)]
pub(crate) struct Delivered {
    /// Where the auth method is mounted.
    pub(crate) mount: Mount,
    /// The role that the wrapping token must be of.
    pub(crate) role: String,
    /// The file of the role_id.
    pub(crate) role_id: PathBuf,
    /// The file of the wrapping token.
    pub(crate) token: PathBuf,
    /// The secret_id, once unwrapped: a wrapping token serves once, and a long life needs more than
    /// one login.
    pub(crate) unwrapped: Mutex<Option<SecretId>>,
}

impl Delivered {
    /// Describes a credential of which nothing is unwrapped yet.
    pub(crate) fn new(mount: Mount, role: String, role_id: PathBuf, token: PathBuf) -> Self {
        Self { mount, role, role_id, token, unwrapped: Mutex::default() }
    }
}
