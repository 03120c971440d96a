//! Says why a call has no answer, in the words that an agent reads.

use super::{Exit, nearest};
use crate::proxy::RefusedCredential;
use crate::vault::{EngineCode, LoginError, Unavailable};

/// Why a call has no answer. [`CallError::message`] is the text that the agent reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.message())]
pub(crate) enum CallError {
    /// The arguments can't be sent: the field, what is wrong, a corrected value.
    Invalid(String),
    /// No such service, or none that this agent may know of.
    UnknownService {
        /// The name that was asked for.
        service: String,
        /// What the agent may call, nearest name first to be suggested.
        callable: Vec<String>,
        /// The engine's id of the request, if it came so far.
        request_id: Option<String>,
    },
    /// Vault's policy refuses the method on the service.
    NotPermitted {
        /// The service.
        service: String,
        /// The method that was refused.
        method: &'static str,
        /// The methods that the policy allows.
        allowed: Vec<&'static str>,
        /// What has to follow `mcp-bridge policy <service> --methods …`: a mount, if not the default.
        policy_flags: String,
    },
    /// Vault's policy refuses a tool, a prompt or the resources of an MCP server.
    UseNotPermitted {
        /// The service.
        service: String,
        /// What was refused, in words.
        what: String,
        /// The command that prints the policy for it.
        command: String,
    },
    /// The upstream answered 401: the stored credential doesn't work there.
    CredentialRefused {
        /// The service.
        service: String,
        /// Where the engine is mounted.
        mount: String,
        /// What it refused, where the engine says so.
        credential: Option<Box<RefusedCredential>>,
        /// The engine's id of the request.
        request_id: Option<String>,
    },
    /// The engine refused or failed; the text is its own, with advice for the agent.
    Engine {
        /// The engine's code.
        code: EngineCode,
        /// The engine's text after the code, with the bridge's advice.
        text: String,
    },
    /// The connection to Vault broke, or Vault failed, after the request may have been sent on.
    OutcomeUnknown {
        /// The service.
        service: String,
        /// What happened.
        cause: &'static str,
        /// What to do about it.
        check: Check,
    },
    /// Vault refused for reasons of load; nothing was sent.
    Busy {
        /// Seconds to wait, if Vault said so.
        retry_after: Option<String>,
    },
    /// Vault can't be reached or can't work; nothing was sent.
    Unavailable(Unavailable),
    /// Vault doesn't accept this machine's credential.
    Login(LoginError),
    /// The client withdrew the call, or the bridge is stopping.
    Cancelled,
    /// The bridge is stopping and begins nothing more; nothing was sent.
    Stopping,
}

/// How an agent finds out whether a call with an unknown outcome happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It needn't: what only reads may be repeated.
    Repeat,
    /// By reading.
    Read,
    /// By another tool of the service.
    Tool,
}

impl CallError {
    /// The code at the head of the text.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "invalid_request",
            Self::UnknownService { .. } => "unknown_service",
            Self::NotPermitted { .. } | Self::UseNotPermitted { .. } => "not_permitted",
            Self::CredentialRefused { .. } => "credential_refused",
            Self::Engine { code, .. } => code.as_str(),
            Self::OutcomeUnknown { .. } | Self::Cancelled => "outcome_unknown",
            Self::Busy { .. } => "busy",
            Self::Unavailable(_) | Self::Stopping => "vault_unavailable",
            Self::Login(error) => match error {
                LoginError::Unavailable(_) | LoginError::TpmAway => "vault_unavailable",
                LoginError::Refused
                | LoginError::Unreadable
                | LoginError::WrongPin
                | LoginError::TooSoon => "login_refused",
            },
        }
    }

    /// The whole text: `<code>: <what happened>. <whose fault, what to do>.`
    pub(crate) fn message(&self) -> String {
        format!("{}: {}", self.code(), self.text())
    }

    /// The exit status of `call` for this error.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Invalid(_)
            | Self::UnknownService { .. }
            | Self::NotPermitted { .. }
            | Self::UseNotPermitted { .. } => Exit::Refused,
            Self::CredentialRefused { .. } => Exit::Upstream,
            Self::Engine { code, .. } => match code {
                EngineCode::UpstreamUnreachable
                | EngineCode::TlsFailed
                | EngineCode::OutcomeUnknown
                | EngineCode::ResponseTooLarge
                | EngineCode::ResponseUndecodable
                | EngineCode::CredentialRefused
                | EngineCode::InputRequiredUnsupported
                | EngineCode::UpstreamProtocol => Exit::Upstream,
                EngineCode::InvalidRequest
                | EngineCode::UnknownService
                | EngineCode::UnknownTool
                | EngineCode::ToolNotApproved
                | EngineCode::DeniedByRule
                | EngineCode::CredentialMissing
                | EngineCode::CredentialExpired
                | EngineCode::BindingChanged
                | EngineCode::AddressForbidden
                | EngineCode::Busy
                | EngineCode::ServiceDisabled
                | EngineCode::Paused
                | EngineCode::CheckAndSetFailed => Exit::Refused,
            },
            Self::Busy { .. } => Exit::Refused,
            Self::OutcomeUnknown { .. }
            | Self::Unavailable(_)
            | Self::Cancelled
            | Self::Stopping => Exit::Unavailable,
            Self::Login(error) => match error {
                LoginError::Unavailable(_) | LoginError::TpmAway => Exit::Unavailable,
                LoginError::Refused
                | LoginError::Unreadable
                | LoginError::WrongPin
                | LoginError::TooSoon => Exit::Refused,
            },
        }
    }

    fn text(&self) -> String {
        match self {
            Self::Invalid(text) => format!("{text} Nothing was sent."),
            Self::UnknownService { service, callable, request_id } => {
                unknown_service(service, callable) + &with_id(request_id.as_deref())
            }
            Self::NotPermitted { service, method, allowed, policy_flags } => {
                let mut wanted = allowed.clone();
                if !wanted.contains(method) {
                    wanted.push(method);
                }
                let known = if allowed.is_empty() { "none".to_owned() } else { allowed.join(", ") };
                format!(
                    "Vault's policy for this agent doesn't allow {method} on \"{service}\" \
                     (allowed: {known}). Nothing was sent. Retrying won't help. Tell the user; an \
                     operator can allow it: mcp-bridge policy {service} --methods \
                     {}{policy_flags}",
                    wanted.join(",")
                )
            }
            Self::UseNotPermitted { service, what, command } => format!(
                "Vault's policy for this agent doesn't allow {what} of \"{service}\". Nothing was \
                 sent. Retrying won't help. Tell the user; an operator can allow it: {command}"
            ),
            Self::CredentialRefused { service, mount, credential, request_id } => {
                refused(service, mount, credential.as_deref()) + &with_id(request_id.as_deref())
            }
            Self::Engine { text, .. } => text.clone(),
            Self::OutcomeUnknown { service, cause, check } => {
                let advice = match check {
                    Check::Repeat => "It only reads, so you may repeat it once.",
                    Check::Read => {
                        "Don't repeat it. First use proxy_read to see whether it happened, then \
                         decide."
                    }
                    Check::Tool => crate::refusal::TOOL_CHECK,
                };
                format!(
                    "{cause} after the request to \"{service}\" was sent, so it may have taken \
                     effect. {advice}"
                )
            }
            Self::Busy { retry_after } => {
                let wait = retry_after.as_deref().unwrap_or("a few");
                format!(
                    "Vault's rate limit refused the request. Nothing was sent. Not your mistake. \
                     Wait {wait} seconds before the next call."
                )
            }
            Self::Unavailable(why) => unavailable(why),
            Self::Login(error) => login(error),
            Self::Cancelled => "the call was withdrawn before its answer came, so it may have \
                                taken effect. Don't repeat it. First use proxy_read to see \
                                whether it happened, then decide."
                .to_owned(),
            Self::Stopping => "the bridge on this machine is stopping. Nothing was sent. Not your \
                               mistake. Try again in a few seconds."
                .to_owned(),
        }
    }
}

/// An upstream's 401, in words that never lead a model to ask its user for a key.
fn refused(service: &str, mount: &str, credential: Option<&RefusedCredential>) -> String {
    let advice = "This isn't your mistake and you can't fix it; don't ask the user for a key. \
                  Tell the user that an operator must";
    let Some(credential) = credential else {
        return format!(
            "\"{service}\" answered 401: it demands a credential, and Vault sends it none. \
             {advice} store one: vault write {mount}/services/{service} auth=bearer token=-"
        );
    };
    let place = if credential.name == service {
        format!("services/{service}")
    } else {
        format!("credentials/{}", credential.name)
    };
    let failing = match &credential.failing_since {
        Some(since) => format!("; credential_failing since {since}"),
        None => String::new(),
    };
    format!(
        "\"{service}\" answered 401: it refused the credential that Vault holds (version {}, stored \
         {}{failing}). {advice} renew it: vault write {mount}/{place} token=-",
        credential.version,
        credential.stored.get(..10).unwrap_or_default()
    )
}

fn unknown_service(service: &str, callable: &[String]) -> String {
    if callable.is_empty() {
        return format!(
            "you can't call a service named {service:?}; no service is available to this agent \
             yet. Tell the user; an operator must add or allow it."
        );
    }
    let near = nearest(service, callable.iter().map(String::as_str))
        .map(|name| format!("Did you mean {name:?}? "))
        .unwrap_or_default();
    let shown = callable.iter().take(MAX_NAMES).map(String::as_str).collect::<Vec<_>>().join(", ");
    let more = if callable.len() > MAX_NAMES { ", … (see list_services)" } else { "" };
    format!(
        "you can't call a service named {service:?}. {near}Callable: {shown}{more}. If the task \
         needs another one, tell the user; an operator must add or allow it."
    )
}

fn unavailable(why: &Unavailable) -> String {
    format!(
        "{why}. Nothing was sent. Not your mistake. The bridge keeps trying; try again in 30 s, \
         then tell the user to run: mcp-bridge doctor"
    )
}

fn login(error: &LoginError) -> String {
    let what = match error {
        LoginError::Unavailable(why) => return unavailable(why),
        LoginError::Refused | LoginError::TooSoon => {
            "Vault no longer accepts this machine's credential (expired or revoked)."
        }
        LoginError::Unreadable => "this machine's credential for Vault can't be read.",
        LoginError::TpmAway => {
            return "this machine's TPM, which keeps the credential for Vault, doesn't answer now. \
                    Nothing was sent. Not your mistake. Try again in a few seconds; if it stays \
                    so, tell the user to run: mcp-bridge doctor"
                .to_owned();
        }
        LoginError::WrongPin => {
            "the PIN of this machine's credential for Vault is wrong. It isn't tried again until \
             it is changed."
        }
    };
    format!("{what} No call can work until it is renewed. Tell the user to run: mcp-bridge doctor")
}

fn with_id(request_id: Option<&str>) -> String {
    request_id.map(|id| format!(" (request_id {id})")).unwrap_or_default()
}

/// The most names that an error lists: enough to choose from, few enough to read.
const MAX_NAMES: usize = 50;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_service_reads_as_agreed() {
        let error = CallError::UnknownService {
            service: "sonar".to_owned(),
            callable: ["home_assistant", "sonarr", "radarr"].map(str::to_owned).to_vec(),
            request_id: Some("r1".to_owned()),
        };
        assert_eq!(
            error.message(),
            "unknown_service: you can't call a service named \"sonar\". Did you mean \"sonarr\"? \
             Callable: home_assistant, sonarr, radarr. If the task needs another one, tell the \
             user; an operator must add or allow it. (request_id r1)"
        );
    }

    #[test]
    fn what_policy_forbids_comes_with_the_command_that_allows_it() {
        let error = CallError::NotPermitted {
            service: "github".to_owned(),
            method: "POST",
            allowed: vec!["GET"],
            policy_flags: String::new(),
        };
        assert_eq!(
            error.message(),
            "not_permitted: Vault's policy for this agent doesn't allow POST on \"github\" \
             (allowed: GET). Nothing was sent. Retrying won't help. Tell the user; an operator \
             can allow it: mcp-bridge policy github --methods GET,POST"
        );
    }
}
