//! What a handler may fail with, and how each failure is told to the host.

use crate::storage::StorageError;

/// The text by which a host recognises that a write belongs on the active node.
///
/// It must reach the host unchanged (matched as a substring, OpenBao `sdk/logical/error.go`).
pub const READ_ONLY: &str = "cannot write to readonly storage";

/// A failed operation.
///
/// `Display` is the text that the client sees, except for [`Error::Internal`] and
/// [`Error::Storage`], whose details go to the log only.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request is wrong: HTTP 400 with this text, unchanged.
    #[error("{0}")]
    Invalid(String),
    /// Refused with a status of the engine's choice, clamped to 400–599.
    #[error("{message}")]
    Coded {
        /// HTTP status. The hosts' clients repeat 412, 429 and 5xx by themselves.
        status: u16,
        /// The text for the client.
        message: String,
    },
    /// The path exists, the operation doesn't: HTTP 405.
    #[error("unsupported operation")]
    UnsupportedOperation,
    /// No such path: HTTP 404.
    #[error("unsupported path")]
    UnsupportedPath,
    /// This node may not write: the host forwards the request to the active node.
    #[error("{READ_ONLY}")]
    ReadOnly,
    /// Storage failed: HTTP 500, or [`Error::ReadOnly`] when storage said so.
    #[error("storage failed; the server's log has the reason")]
    Storage(#[from] StorageError),
    /// A defect or an unusable environment: HTTP 500; the text goes to the log only.
    #[error("internal error; the server's log has the reason")]
    Internal(String),
}

impl Error {
    /// A refusal with HTTP 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid(message.into())
    }

    /// A refusal with HTTP 404 and a text of its own.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::Coded { status: 404, message: message.into() }
    }
}
