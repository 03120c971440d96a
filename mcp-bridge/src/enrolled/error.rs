//! Says why a credential can't be enrolled, kept, opened or replaced, and what to do.

use mcp_bridge_tpm::{CredentialError, TpmError};

use crate::error::Exit;
use crate::vault::{ConnectFault, LoginError, Lost, TlsFault, Unavailable, WrappingError};

/// Why a credential can't be enrolled, kept, opened or replaced. Holds no secret.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolledError {
    /// The TPM or the file fails.
    #[error("{0}")]
    Kept(#[from] CredentialError),
    /// There is no TPM to seal to, before anything was spent.
    #[error(
        "{0}\nNothing was stored, and the wrapping token wasn't used. What there is instead:\n  \
         --store external    nothing is stored: somebody delivers a wrapping token at each start\n  \
         --store plain-file  NOT PROTECTED: whoever copies the file has the credential; bind it by \
         time and network (provision --ttl --cidr)"
    )]
    NoTpm(CredentialError),
    /// What was unsealed can't be used.
    #[error("the kept credential can't be used: {0}. Run mcp-bridge enroll")]
    Unusable(&'static str),
    /// The copy of the pinned authority isn't the one that was pinned.
    #[error(
        "{path} isn't the authority that the credential was enrolled with ({problem}). Run \
         mcp-bridge enroll with --ca-cert"
    )]
    Authority {
        /// The copy's file.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The copy of the authority can't be written.
    #[error("the authority's copy can't be written beside the credential")]
    AuthorityWrite,
    /// The file with the PIN can't be used.
    #[error("the PIN's file {path} {problem}")]
    PinFile {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// There is nobody to type a PIN.
    #[error("there is no terminal to type a PIN at: give its file with --pin-file")]
    NoTerminal,
    /// What is asked for doesn't go with what keeps the credential.
    #[error("{0}")]
    Unfit(&'static str),
    /// There is a credential already.
    #[error(
        "a credential is kept in {0} already: --force replaces it, mcp-bridge forget removes it"
    )]
    Exists(String),
    /// The wrapping token can't be trusted.
    #[error("{error}.{advice}")]
    Wrapping {
        /// Why.
        error: WrappingError,
        /// The command that revokes what it may have given to somebody.
        advice: String,
    },
    /// Vault doesn't take the credential.
    #[error("{error}{advice}")]
    Login {
        /// Why.
        error: LoginError,
        /// What to do about it.
        advice: &'static str,
    },
    /// Vault gave no answer in the middle of a rotation.
    #[error("{0}. The kept credential is as it was")]
    Lost(Lost),
    /// Vault refuses to issue a new secret_id.
    #[error("Vault refuses to {what} (HTTP {status}). The kept credential is as it was")]
    Refused {
        /// What was asked.
        what: &'static str,
        /// The answer's status.
        status: u16,
    },
    /// The secret_id serves for one login, and proving it is one.
    #[error(
        "the role's secret_ids serve for one login each (accessor {accessor}), so none of them can \
         be kept: vault write auth/MOUNT/role/ROLE secret_id_num_uses=0, then mcp-bridge provision"
    )]
    OneUse {
        /// The accessor of the one that was unwrapped.
        accessor: String,
    },
    /// It failed after the wrapping token was spent.
    #[error(
        "{error}\nThe wrapping token is used up, and its secret_id lives on and isn't kept here. \
         Tell an operator to destroy it, and to provision again: {command}"
    )]
    Spent {
        /// What failed.
        error: Box<Self>,
        /// The command that destroys the secret_id.
        command: String,
    },
    /// The credential can't be opened, which may pass, so it isn't deleted.
    #[error(
        "{0}\nNothing was deleted, since the credential alone knows the accessor that ends its \
         secret_id: mend that first, or delete it unread with --force"
    )]
    NotForgotten(Box<Self>),
    /// The credential was enrolled without the right to replace itself.
    #[error(
        "this credential may not replace itself. An operator runs mcp-bridge provision AGENT \
         (--self-rotate for the right), and you mcp-bridge enroll --force"
    )]
    NotSelfRotating,
    /// What was kept isn't what was read back.
    #[error("what was kept can't be read back as it was: don't rely on it. Run mcp-bridge enroll")]
    Mismatch,
}

impl EnrolledError {
    /// Puts the command that revokes a secret_id behind what is wrong with its token.
    pub(crate) fn wrapping(error: WrappingError, path: &str, accessor: Option<&str>) -> Self {
        let revoke = |accessor: &str| {
            let place = path.trim_end_matches("/secret-id");
            format!("vault write {place}/secret-id-accessor/destroy secret_id_accessor={accessor}")
        };
        let advice = match (&error, accessor) {
            (WrappingError::Unavailable(why), _) => {
                format!("{} The wrapping token wasn't used", tls(*why))
            }
            (WrappingError::NoVault(_), accessor) => format!(
                " Is the address right, and the namespace? The wrapping token was shown to that \
                 server: unless it is your own Vault, tell an operator to revoke what it holds: \
                 {}. Else mend the address and run the command again",
                revoke(accessor.unwrap_or("ACCESSOR"))
            ),
            (WrappingError::Lost(_), accessor) => format!(
                " Run the command again; if the token was used, tell an operator to end what it \
                 held and to provision again: {}",
                revoke(accessor.unwrap_or("ACCESSOR"))
            ),
            (_, Some(accessor)) => format!(
                " Tell an operator to revoke it, and to find out who was there: {}",
                revoke(accessor)
            ),
            (_, None) => format!(
                " Tell an operator to revoke it by its accessor, which mcp-bridge provision \
                 printed, and to find out who was there: {}",
                revoke("ACCESSOR")
            ),
        };
        Self::Wrapping { error, advice }
    }

    /// Whether the TPM may answer the same question in a moment.
    pub(crate) fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Kept(CredentialError::Tpm(
                TpmError::Busy { .. }
                    | TpmError::Timeout { .. }
                    | TpmError::Unreachable { .. }
                    | TpmError::NotStarted
            ))
        )
    }

    /// Whether what keeps the credential from being opened may be mended, by a PIN, a permission or
    /// patience: then it isn't lost.
    pub(crate) fn is_mendable(&self) -> bool {
        self.is_passing()
            || self.is_about_a_try()
            || matches!(
                self,
                Self::PinFile { .. }
                    | Self::NoTerminal
                    | Self::Kept(CredentialError::Tpm(
                        TpmError::PinMissing
                            | TpmError::NoPermission { .. }
                            | TpmError::HelperMissing { .. }
                            | TpmError::LibraryMissing { .. }
                    ))
            )
    }

    /// Whether a PIN was refused: the TPM has counted it, so nothing may try it again by itself.
    pub(crate) fn is_wrong_pin(&self) -> bool {
        matches!(self, Self::Kept(CredentialError::Tpm(TpmError::WrongPin { .. })))
    }

    /// Whether the PIN was refused, or may not be tried now.
    pub(crate) fn is_about_a_try(&self) -> bool {
        matches!(
            self,
            Self::Kept(CredentialError::Tpm(
                TpmError::WrongPin { .. } | TpmError::NearLockout { .. } | TpmError::Lockout { .. }
            ))
        )
    }

    /// The exit status that belongs to the error.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Kept(error) | Self::NoTpm(error) => match error.exit_code() {
                2 => Exit::Usage,
                code => Exit::Store(code),
            },
            Self::Unusable(_) | Self::Authority { .. } | Self::AuthorityWrite | Self::Mismatch => {
                Exit::Store(FILE)
            }
            Self::Spent { error, .. } | Self::NotForgotten(error) => error.exit(),
            Self::PinFile { .. } => Exit::Store(PIN),
            Self::Exists(_) | Self::NotSelfRotating | Self::NoTerminal | Self::Unfit(_) => {
                Exit::Usage
            }
            Self::Wrapping {
                error:
                    WrappingError::Unavailable(_) | WrappingError::NoVault(_) | WrappingError::Lost(_),
                ..
            }
            | Self::Refused { status: 500.., .. }
            | Self::Login { error: LoginError::Unavailable(_), .. }
            | Self::Lost(_) => Exit::VaultUnreachable,
            Self::Wrapping { .. } => Exit::Tampered,
            Self::Login { .. } | Self::Refused { .. } | Self::OneUse { .. } => {
                Exit::CredentialRefused
            }
        }
    }
}

impl From<Unavailable> for EnrolledError {
    fn from(why: Unavailable) -> Self {
        Self::Login { error: LoginError::Unavailable(why), advice: "" }
    }
}

/// Says which part of TLS failed, and what to give `enroll`.
fn tls(why: Unavailable) -> String {
    let Unavailable::NoConnection(ConnectFault::Tls(fault)) = why else { return String::new() };
    let cure = match fault {
        TlsFault::WrongName => ": --tls-server-name gives its name",
        TlsFault::UnknownIssuer => ": --ca-cert gives its authority",
        TlsFault::Expired
        | TlsFault::NotYetValid
        | TlsFault::NoTls
        | TlsFault::ClientCertificate
        | TlsFault::Other => "",
    };
    format!(" {fault}{cure}.")
}

/// The exit status for a PIN that can't be given.
const PIN: u8 = 14;
/// The exit status for a file that can't be used.
const FILE: u8 = 16;
