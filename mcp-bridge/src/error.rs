//! Says how a command ends, and why without its result, in the words that an operator reads.

mod call;
mod nearest;

use std::process::ExitCode;

use crate::config::ConfigErrors;
#[cfg(unix)]
use crate::enrolled::EnrolledError;
use crate::operator::OperatorError;

pub(crate) use call::{CallError, Check};
pub(crate) use nearest::nearest;

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All went well.
    Success,
    /// The command line or the configuration is wrong.
    Usage,
    /// The call was refused: by the bridge, by Vault's policy or by the service's rules.
    Refused,
    /// Vault can't be reached or can't answer.
    Unavailable,
    /// The upstream answered 4xx or 5xx, or failed.
    Upstream,
    /// `doctor` found a late link that doesn't hold: mount, policy, service or client.
    Broken,
    /// `doctor` or `status` found that Vault can't be reached or can't work.
    VaultUnreachable,
    /// `doctor` or `status` found that the credential can't be read or is refused.
    CredentialRefused,
    /// The wrapping token gives no secret_id that can be trusted.
    Tampered,
    /// What keeps the enrolled credential fails: 10 no TPM, 11 no permission, 12 the machine's
    /// state, 13 another TPM, 14 PIN, 15 lockout, 16 the file.
    Store(u8),
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Success => 0,
            Exit::Usage => 2,
            Exit::Refused => 3,
            Exit::Unavailable => 4,
            Exit::Upstream | Exit::Tampered => 22,
            Exit::Store(code) => code,
            Exit::Broken => 1,
            Exit::VaultUnreachable => 20,
            Exit::CredentialRefused => 21,
        })
    }
}

/// Why a command ended without its result.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CommandError {
    /// The settings can't be used; every fault is listed.
    #[error("{0}")]
    Config(ConfigErrors),
    /// An argument can't be used.
    #[error("{0}")]
    Argument(String),
    /// The call failed.
    #[error("{}", .0.message())]
    Call(CallError),
    /// An operator's command stopped.
    #[error("{0}")]
    Operator(OperatorError),
    /// The enrolled credential can't be made, opened or replaced.
    #[cfg(unix)]
    #[error("{0}")]
    Enrolled(EnrolledError),
    /// stdout can't be written.
    #[error("can't write to stdout")]
    Output,
    /// The MCP client spoke no usable MCP.
    #[error("the MCP client's handshake failed")]
    Handshake,
    /// The operating system refused something that the bridge can't do without.
    #[error("can't start: {0}")]
    Start(&'static str),
}

impl CommandError {
    /// The exit status that belongs to the error.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Config(_) | Self::Argument(_) | Self::Handshake | Self::Start(_) => Exit::Usage,
            Self::Call(error) => error.exit(),
            #[cfg(unix)]
            Self::Enrolled(error) => error.exit(),
            Self::Operator(error) => match error {
                OperatorError::Lost(_) => Exit::VaultUnreachable,
                OperatorError::NoServices(_) => Exit::Usage,
                OperatorError::Refused { .. }
                | OperatorError::Unreadable(_)
                | OperatorError::NoAppRole(_)
                | OperatorError::ForeignEntity(_)
                | OperatorError::NotDisabled(_)
                | OperatorError::Disabled(_)
                | OperatorError::NothingToRestore(_) => Exit::Refused,
            },
            Self::Output => Exit::Unavailable,
        }
    }
}

impl From<ConfigErrors> for CommandError {
    fn from(errors: ConfigErrors) -> Self {
        Self::Config(errors)
    }
}

#[cfg(unix)]
impl From<EnrolledError> for CommandError {
    fn from(error: EnrolledError) -> Self {
        Self::Enrolled(error)
    }
}

impl From<OperatorError> for CommandError {
    fn from(error: OperatorError) -> Self {
        Self::Operator(error)
    }
}

impl From<CallError> for CommandError {
    fn from(error: CallError) -> Self {
        Self::Call(error)
    }
}
