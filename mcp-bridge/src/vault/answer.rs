//! Reads Vault's envelope: data, or an error text that may be the engine's.

use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The engine's error codes (product.md, answers and errors).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineCode {
    /// The arguments can't be sent.
    InvalidRequest,
    /// There is no such service.
    UnknownService,
    /// The service's rules refuse the call.
    DeniedByRule,
    /// No secret is stored for the service.
    CredentialMissing,
    /// The upstream refused the secret.
    CredentialRefused,
    /// The secret's time has passed.
    CredentialExpired,
    /// The secret was stored for another place.
    BindingChanged,
    /// The upstream's address may not be called.
    AddressForbidden,
    /// TLS with the upstream failed.
    TlsFailed,
    /// The upstream can't be reached; nothing was sent.
    UpstreamUnreachable,
    /// The upstream didn't answer after something was sent.
    OutcomeUnknown,
    /// The upstream's answer is too large.
    ResponseTooLarge,
    /// The upstream's answer can't be read.
    ResponseUndecodable,
    /// Too many calls at once.
    Busy,
    /// An operator switched the service off.
    ServiceDisabled,
    /// An operator switched the engine off.
    Paused,
    /// Another write came first.
    CheckAndSetFailed,
    /// The MCP server has no such tool or prompt.
    UnknownTool,
    /// The tool waits for an operator's approval.
    ToolNotApproved,
    /// The MCP server asked its client for something that isn't there to give.
    InputRequiredUnsupported,
    /// The server doesn't speak MCP as it should; the call itself wasn't sent.
    UpstreamProtocol,
}

impl EngineCode {
    const ALL: [Self; 21] = [
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

    /// The code as it stands at the head of a text.
    pub(crate) fn as_str(self) -> &'static str {
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
}

/// An error text of the engine, taken apart.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EngineError {
    /// The code at its head.
    pub(crate) code: EngineCode,
    /// What stands between code and request id.
    pub(crate) text: String,
    /// The request id at its end.
    pub(crate) request_id: Option<String>,
}

#[derive(Deserialize)]
struct Envelope<T> {
    data: T,
}

#[derive(Deserialize)]
struct Errors {
    errors: Vec<String>,
}

/// Reads the `data` of an answer.
pub(crate) fn data<T: DeserializeOwned>(body: &[u8]) -> Option<T> {
    serde_json::from_slice::<Envelope<T>>(body).ok().map(|envelope| envelope.data)
}

/// Reads the `errors` of an answer: the engine's error if it is one, and all of the text.
pub(crate) fn refusal(body: &[u8]) -> (Option<EngineError>, String) {
    let errors = serde_json::from_slice::<Errors>(body).map(|e| e.errors).unwrap_or_default();
    let text = errors.join("; ");
    (errors.iter().find_map(|error| engine_error(error)), text)
}

/// Finds `<code>: <text> (request_id <id>)`, also where the server has wrapped it in an
/// `errors.Wrap` prefix or go-multierror's list ("1 error occurred:\n\t* …\n\n").
fn engine_error(text: &str) -> Option<EngineError> {
    let (start, code) = EngineCode::ALL
        .into_iter()
        .flat_map(|code| {
            let head = format!("{}: ", code.as_str());
            text.match_indices(&head)
                .map(|(at, _)| at)
                .collect::<Vec<_>>()
                .into_iter()
                .map(move |at| (at, code))
        })
        .filter(|(at, _)| {
            text.get(..*at)
                .is_some_and(|before| before.chars().next_back().is_none_or(|c| c.is_whitespace()))
        })
        .min_by_key(|(at, _)| *at)?;
    let rest = text.get(start + code.as_str().len() + 1..)?.trim();
    let (text, request_id) = match rest.rsplit_once("(request_id ") {
        Some((text, id)) => (text.trim(), Some(id.trim().trim_end_matches(')').to_owned())),
        None => (rest, None),
    };
    Some(EngineError { code, text: text.to_owned(), request_id })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, code: EngineCode, expected: &str, id: Option<&str>) {
        let body = serde_json::json!({ "errors": [text] }).to_string();
        let error = refusal(body.as_bytes()).0.unwrap();
        assert_eq!((error.code, error.text.as_str()), (code, expected), "{text}");
        assert_eq!(error.request_id.as_deref(), id, "{text}");
    }

    #[test]
    fn the_engines_text_is_found_however_it_is_wrapped() {
        let code = EngineCode::DeniedByRule;
        check("denied_by_rule: no. Ask. (request_id r-1)", code, "no. Ask.", Some("r-1"));
        check(
            "1 error occurred:\n\t* denied_by_rule: no. (request_id r-1)\n\n",
            code,
            "no.",
            Some("r-1"),
        );
        check("rpc failed: denied_by_rule: no", code, "no", None);
        // A code that is named within another's text doesn't win.
        check("busy: not paused: busy", EngineCode::Busy, "not paused: busy", None);
    }

    #[test]
    fn a_text_of_vaults_own_is_no_engine_error() {
        for text in ["permission denied", "Vault is sealed", "xbusy: no"] {
            let body = serde_json::json!({ "errors": [text] }).to_string();
            assert_eq!(refusal(body.as_bytes()), (None, text.to_owned()));
        }
        assert_eq!(refusal(b"<html>"), (None, String::new()));
    }
}
