//! Every way a request can fail, with its code, status and text: one exhaustive mapping.

use vault_sdk::{Error as SdkError, StorageError};

use crate::storage::{Form, LoadError};

/// The codes that a caller can act on. They stand first in every error text and are listed by
/// `info`; programs may match them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// The request isn't one that can be sent.
    InvalidRequest,
    /// No service of that name.
    UnknownService,
    /// A rule of the service forbids it.
    DeniedByRule,
    /// The service has no usable credential.
    CredentialMissing,
    /// The upstream refuses the stored credential.
    CredentialRefused,
    /// The stored credential is past its time.
    CredentialExpired,
    /// The service no longer matches what its credential is bound to.
    BindingChanged,
    /// The upstream's address may not be dialled.
    AddressForbidden,
    /// TLS with the upstream failed.
    TlsFailed,
    /// The upstream could not be reached; nothing was sent.
    UpstreamUnreachable,
    /// Something was sent and no whole answer came.
    OutcomeUnknown,
    /// The answer is larger than allowed.
    ResponseTooLarge,
    /// The answer can't be decoded, so it can't be searched for the credential.
    ResponseUndecodable,
    /// No room for another call now.
    Busy,
    /// The operator switched the service off.
    ServiceDisabled,
    /// The operator paused the mount.
    Paused,
    /// A check-and-set write lost.
    CheckAndSetFailed,
    /// The MCP server has no tool of that name.
    UnknownTool,
    /// No operator has approved the tool, or not as it is now.
    ToolNotApproved,
    /// The MCP server asks for something that only its client's user or model could give.
    InputRequiredUnsupported,
    /// What the MCP server answers isn't MCP.
    UpstreamProtocol,
}

impl Code {
    /// Every code, as `info` lists them.
    pub const ALL: [Self; 21] = [
        Self::InvalidRequest,
        Self::UnknownService,
        Self::DeniedByRule,
        Self::CredentialMissing,
        Self::CredentialRefused,
        Self::CredentialExpired,
        Self::BindingChanged,
        Self::AddressForbidden,
        Self::TlsFailed,
        Self::UpstreamUnreachable,
        Self::OutcomeUnknown,
        Self::ResponseTooLarge,
        Self::ResponseUndecodable,
        Self::Busy,
        Self::ServiceDisabled,
        Self::Paused,
        Self::CheckAndSetFailed,
        Self::UnknownTool,
        Self::ToolNotApproved,
        Self::InputRequiredUnsupported,
        Self::UpstreamProtocol,
    ];

    /// The code as it stands in texts.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid_request",
            Self::UnknownService => "unknown_service",
            Self::DeniedByRule => "denied_by_rule",
            Self::CredentialMissing => "credential_missing",
            Self::CredentialRefused => "credential_refused",
            Self::CredentialExpired => "credential_expired",
            Self::BindingChanged => "binding_changed",
            Self::AddressForbidden => "address_forbidden",
            Self::TlsFailed => "tls_failed",
            Self::UpstreamUnreachable => "upstream_unreachable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::ResponseTooLarge => "response_too_large",
            Self::ResponseUndecodable => "response_undecodable",
            Self::Busy => "busy",
            Self::ServiceDisabled => "service_disabled",
            Self::Paused => "paused",
            Self::CheckAndSetFailed => "check_and_set_failed",
            Self::UnknownTool => "unknown_tool",
            Self::ToolNotApproved => "tool_not_approved",
            Self::InputRequiredUnsupported => "input_required_unsupported",
            Self::UpstreamProtocol => "upstream_protocol",
        }
    }

    /// The HTTP status: 400 for what was refused before anything was sent, 404 for nothing there,
    /// 424 for an upstream that failed.
    ///
    /// Never 403, which is the host's own, and never 412, 429 or 5xx: the hosts' clients answer
    /// those by repeating the request.
    pub fn status(self) -> u16 {
        match self {
            Self::InvalidRequest
            | Self::DeniedByRule
            | Self::CredentialMissing
            | Self::CredentialExpired
            | Self::BindingChanged
            | Self::AddressForbidden
            | Self::Busy
            | Self::ServiceDisabled
            | Self::Paused
            | Self::CheckAndSetFailed
            | Self::ToolNotApproved => 400,
            Self::UnknownService | Self::UnknownTool => 404,
            Self::CredentialRefused
            | Self::TlsFailed
            | Self::UpstreamUnreachable
            | Self::OutcomeUnknown
            | Self::ResponseTooLarge
            | Self::ResponseUndecodable
            | Self::InputRequiredUnsupported
            | Self::UpstreamProtocol => 424,
        }
    }
}

/// A refusal or failure: a code, and a text that says what happened, whose fault it is and what to
/// do. The text holds no secret and no address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {text}", code.as_str())]
pub struct Failure {
    /// What kind.
    pub code: Code,
    /// Sentences, without the code and without the request id. `<mount>/` stands for the mount's
    /// path.
    pub text: String,
}

impl Failure {
    /// A failure with its text.
    pub fn new(code: Code, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// A request that can't be meant, or can't be sent.
    pub fn invalid(text: impl Into<String>) -> Self {
        Self::new(Code::InvalidRequest, text)
    }

    /// The text that the client sees. Commands in it name the mount where it really is.
    pub fn public_message(&self, mount_point: &str, request_id: &str) -> String {
        let text = self.text.replace("<mount>/", mount_point);
        // No stop after a command, which is there to be copied.
        let last = text.rsplit(". ").next().unwrap_or_default();
        let stop =
            if text.ends_with(['.', '?', '!']) || last.contains(": vault ") { "" } else { "." };
        format!("{}: {text}{stop} (request_id {request_id})", self.code.as_str())
    }
}

/// What an operation of the engine fails with.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Told to the caller.
    #[error(transparent)]
    Failure(#[from] Failure),
    /// Storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A defect; the text is for the log.
    #[error("{0}")]
    Internal(String),
}

impl From<LoadError> for Error {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Storage(error) => error.into(),
            LoadError::Newer { key, written_by, .. } => newer(&key, &written_by).into(),
        }
    }
}

/// What an operator does after a downgrade, or where an upgrade reached one node alone: the version
/// that wrote the entry is registered.
fn newer(key: &str, version: &str) -> Failure {
    let this = Form::current().version;
    let text = if version.is_empty() {
        format!("a newer version of this engine wrote {key}; install it again instead of {this}")
    } else {
        format!(
            "version {version} of this engine wrote {key} in a form that version {this}, which runs \
             on this node, doesn't know. Nothing was changed or sent. An operator has {version} or \
             newer run on every node: vault secrets tune -plugin-version=v{version} <mount>/ && \
             vault plugin reload -scope=global -mounts=<mount>/"
        )
    };
    Failure::new(Code::ServiceDisabled, text)
}

impl Error {
    /// The SDK's error for a request.
    pub fn into_sdk(self, mount_point: &str, request_id: &str) -> SdkError {
        match self {
            Self::Failure(failure) => {
                let message = failure.public_message(mount_point, request_id);
                match failure.code.status() {
                    400 => SdkError::Invalid(message),
                    status => SdkError::Coded { status, message },
                }
            }
            Self::Storage(error) => SdkError::Storage(error),
            Self::Internal(text) => SdkError::Internal(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Failure};

    #[test]
    fn no_code_has_a_status_that_clients_repeat_or_that_is_the_hosts_own() {
        for code in Code::ALL {
            assert!(matches!(code.status(), 400 | 404 | 424), "{code:?}");
        }
    }

    #[test]
    fn codes_are_distinct() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
    }

    #[test]
    fn the_text_has_the_agreed_form() {
        let failure = Failure::new(Code::Busy, "too many calls in flight. Try again in a moment.");
        assert_eq!(
            failure.public_message("mcp-proxy/", "r-1"),
            "busy: too many calls in flight. Try again in a moment. (request_id r-1)"
        );
        let failure = Failure::new(Code::Paused, "stopped. Resume: vault write <mount>/config x=1");
        assert_eq!(
            failure.public_message("ns1/apis/", "r-1"),
            "paused: stopped. Resume: vault write ns1/apis/config x=1 (request_id r-1)"
        );
    }
}
