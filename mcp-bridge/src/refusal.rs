//! Sends a call to the engine, and says in the agent's words why one has no answer.

use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::catalog::{Method, ServiceName, Store, Use};
use crate::config::Mount;
use crate::error::{CallError, Check};
use crate::vault::{
    self, EngineCode, EngineError, Lost, Reply, Request, SessionError, Unavailable, is_standby,
};

/// A use of a service that is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked<'a> {
    /// Where the catalog and the session are.
    pub(crate) store: &'a Store,
    /// The service.
    pub(crate) service: &'a ServiceName,
    /// What is to be done with it.
    pub(crate) one: &'a Use,
}

impl Asked<'_> {
    /// Sends it once; gives the body of an answer of status 200.
    ///
    /// # Errors
    ///
    /// [`CallError`] for everything else.
    pub(crate) async fn send(&self, fields: Map<String, Value>) -> Result<Bytes, CallError> {
        let path = self.one.path(self.store.mount(), self.service);
        let request = Request::post(path, Value::Object(fields).to_string()).with_timeout(LIMIT);
        match self.store.session().request(&request).await {
            Ok(reply) if reply.status == 200 => Ok(reply.body),
            Ok(reply) => Err(self.refused(&reply).await),
            Err(SessionError::Login(error)) => Err(CallError::Login(error)),
            Err(SessionError::Lost(lost)) => Err(self.lost(lost)),
        }
    }

    /// Takes note of an answer: of the permission that it proves, and of the catalog's revision.
    pub(crate) async fn passed(&self, revision: Option<&str>) {
        self.store.saw_permitted(self.service, self.one).await;
        if let Some(revision) = revision {
            self.store.saw_revision(revision);
        }
    }

    /// The error of an answer of status 200 that says nothing.
    pub(crate) fn unreadable(&self) -> CallError {
        self.unknown_outcome("Vault's answer couldn't be read")
    }

    fn lost(&self, lost: Lost) -> CallError {
        match lost {
            Lost::NeverSent(why) => CallError::Unavailable(why),
            Lost::TimedOut => self.unknown_outcome("Vault didn't answer in time"),
            Lost::Broken => self.unknown_outcome("the connection to Vault broke"),
            Lost::TooLarge => self.unknown_outcome("Vault's answer was too large to take"),
        }
    }

    fn unknown_outcome(&self, cause: &'static str) -> CallError {
        CallError::OutcomeUnknown { service: self.service.to_string(), cause, check: self.check() }
    }

    /// What to do about an unknown outcome.
    fn check(&self) -> Check {
        match self.one {
            one if one.is_safe() => Check::Repeat,
            Use::Method(_) => Check::Read,
            Use::Tool(_) | Use::Prompt(_) | Use::Resources => Check::Tool,
        }
    }

    /// Reads an answer that isn't 200.
    async fn refused(&self, reply: &Reply) -> CallError {
        let (engine, text) = vault::refusal(&reply.body);
        if let Some(engine) = engine {
            return self.of_engine(engine).await;
        }
        if reply.status == 503 && text.contains("sealed") {
            return CallError::Unavailable(Unavailable::Sealed);
        }
        if may_have_passed_on(reply.status, &text) {
            return self.unknown_outcome("the way to Vault's active node broke");
        }
        if is_standby(reply.status, &text) {
            return CallError::Unavailable(Unavailable::Standby);
        }
        match reply.status {
            403 => self.not_permitted().await,
            404 => CallError::Unavailable(Unavailable::NotMounted),
            413 => CallError::Invalid(
                "the request is larger than Vault takes. Send less at once.".to_owned(),
            ),
            429 => CallError::Busy { retry_after: reply.retry_after.clone() },
            // Vault's own refusals of a request that it can't take; it asks no plugin before.
            400 | 401 | 405 | 414 | 415 | 422 | 431 => CallError::Invalid(format!(
                "Vault refused the request (HTTP {}): {}.",
                reply.status,
                text.trim().trim_end_matches('.')
            )),
            _ => self.unknown_outcome("Vault failed (its plugin may have been restarting)"),
        }
    }

    /// Vault's own 403 by a living token: either the use isn't permitted, or nothing on a service
    /// that this agent needn't even know of.
    async fn not_permitted(&self) -> CallError {
        self.store.doubt(self.service).await;
        let catalog = match self.store.refresh().await {
            Ok(catalog) => catalog,
            Err(error) => return error,
        };
        let service = self.service.to_string();
        if catalog.find(&service).is_none() {
            return unknown(self.store, &service, None);
        }
        let flags = policy_flags(self.store.mount());
        let (what, wanted) = match self.one {
            Use::Method(method) => {
                let method = method.as_str();
                let permitted = self.store.permitted(&service);
                return CallError::NotPermitted {
                    service,
                    method,
                    allowed: permitted
                        .into_iter()
                        .map(Method::as_str)
                        .filter(|m| *m != method)
                        .collect(),
                    policy_flags: flags,
                };
            }
            Use::Tool(segment) => (format!("the tool {segment:?}"), segment.as_str()),
            // The policy for any tool of a server has the rest of it too.
            Use::Prompt(segment) => (format!("the prompt {segment:?}"), "any"),
            Use::Resources => ("the resources".to_owned(), "any"),
        };
        let command = format!("mcp-bridge policy {service} --tools {wanted}{flags}");
        CallError::UseNotPermitted { service, what, command }
    }

    async fn of_engine(&self, error: EngineError) -> CallError {
        let EngineError { code, text, request_id } = error;
        tracing::info!(
            service = %self.service,
            what = ?self.one,
            code = code.as_str(),
            request_id = request_id.as_deref().unwrap_or_default(),
            "refused"
        );
        let advice = match code {
            EngineCode::UnknownService => {
                // The name may have gone since the catalog was read.
                let _ = self.store.refresh().await;
                return unknown(self.store, self.service.as_str(), request_id);
            }
            EngineCode::CredentialRefused => {
                return CallError::CredentialRefused {
                    service: self.service.to_string(),
                    mount: self.store.mount().to_string(),
                    credential: None,
                    request_id,
                };
            }
            EngineCode::OutcomeUnknown => match self.check() {
                Check::Read if text.contains("repeat") => {
                    advise(&text, "proxy_read", "Use proxy_read for that, then decide.")
                }
                Check::Tool => advise(&text, "repeat", TOOL_CHECK),
                Check::Read | Check::Repeat => advise(
                    &text,
                    "repeat",
                    "Don't repeat it. First use proxy_read to see whether it happened, then decide.",
                ),
            },
            EngineCode::DeniedByRule => {
                let known = self.store.snapshot().catalog;
                let rules = known.and_then(|catalog| {
                    catalog.find(self.service.as_str()).map(crate::tools::allowed)
                });
                let rules = rules.map(|rules| format!("{rules}. ")).unwrap_or_default();
                let advice = format!(
                    "{rules}Nothing was sent. Use an allowed call or tell the user that an operator \
                     would have to change the rules."
                );
                advise(&text, "Allowed:", &advice)
            }
            EngineCode::Busy => {
                advise(&text, "again", "Nothing was sent. Try again in a few seconds.")
            }
            EngineCode::ServiceDisabled | EngineCode::Paused => for_the_user(
                &text,
                "Nothing was sent. Retrying won't help. Tell the user; an operator switched it off.",
            ),
            EngineCode::CredentialMissing
            | EngineCode::CredentialExpired
            | EngineCode::BindingChanged
            | EngineCode::AddressForbidden => for_the_user(
                &text,
                "Nothing was sent. This isn't your mistake. Tell the user that an operator must \
                 mend it.",
            ),
            EngineCode::UpstreamUnreachable | EngineCode::TlsFailed => for_the_user(
                &text,
                "Nothing was sent. Not your mistake. Try once more in a minute; then tell the user \
                 that the service seems to be down.",
            ),
            EngineCode::ResponseTooLarge => advise(
                &text,
                "less",
                "Ask for less: paging parameters, a filter, or a narrower path.",
            ),
            EngineCode::UnknownTool => {
                // It may have gone since the catalog was read.
                let _ = self.store.refresh().await;
                for_the_user(
                    &text,
                    "Nothing was sent. Choose another tool, or tell the user that it is gone.",
                )
            }
            EngineCode::ToolNotApproved => for_the_user(
                &text,
                "Nothing was sent. Retrying won't help. Tell the user; an operator has to approve it.",
            ),
            EngineCode::InputRequiredUnsupported => {
                for_the_user(&text, "Retrying won't help. Tell the user what it asked for.")
            }
            EngineCode::UpstreamProtocol => for_the_user(
                &text,
                "Not your mistake. Tell the user that the service doesn't work as it should.",
            ),
            EngineCode::InvalidRequest
            | EngineCode::ResponseUndecodable
            | EngineCode::CheckAndSetFailed => String::new(),
        };
        let id = request_id.map(|id| format!(" (request_id {id})")).unwrap_or_default();
        CallError::Engine { code, text: format!("{text}{advice}{id}") }
    }
}

/// The advice, unless the engine's text already gives it.
fn advise(text: &str, mark: &str, advice: &str) -> String {
    if text.contains(mark) { String::new() } else { format!(" {advice}") }
}

/// The advice on what only an operator can mend, who doesn't read what the agent does: where the
/// engine's text names the operator, it remains to pass it on.
fn for_the_user(text: &str, advice: &str) -> String {
    let advised = text.contains("the user") || text.contains("once more");
    match (advised, text.contains("operator")) {
        (true, _) => String::new(),
        (false, false) => format!(" {advice}"),
        (false, true) if text.ends_with('.') => " Tell the user.".to_owned(),
        // It ends with a command to be typed.
        (false, true) => " (tell the user)".to_owned(),
    }
}

/// The error of a name that the agent can't call.
pub(crate) fn unknown(store: &Store, service: &str, request_id: Option<String>) -> CallError {
    let callable = store.snapshot().catalog.map(|c| c.callable_names()).unwrap_or_default();
    CallError::UnknownService { service: service.to_owned(), callable, request_id }
}

/// What has to follow `mcp-bridge policy …` for a mount, if it isn't the default.
pub(crate) fn policy_flags(mount: &Mount) -> String {
    if mount.as_str() == Mount::ENGINE { String::new() } else { format!(" --mount {mount}") }
}

/// The engine's longest call is 60 s; Vault's own limit is 90 s.
const LIMIT: Duration = Duration::from_secs(80);
/// What to do when nobody knows whether a tool did something.
pub(crate) const TOOL_CHECK: &str = "Don't repeat it. First check whether it happened, with a tool of the \
                                     same service that only reads, then decide.";

/// Whether a standby may have passed the request on before it answered so: it says the same when it
/// knows no active node and when that one is lost in mid-call (OpenBao, `http/handler.go`,
/// `forwardRequest`: falls back to redirection whatever the error was).
fn may_have_passed_on(status: u16, text: &str) -> bool {
    status == 307 || text.contains("active cluster node not found")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_given_once() {
        assert_eq!(advise("Don't repeat it.", "repeat", "Don't repeat it."), "");
        assert_eq!(advise("It hung.", "repeat", "Don't repeat it."), " Don't repeat it.");
        assert_eq!(for_the_user("It's down.", "Tell the user."), " Tell the user.");
        assert_eq!(for_the_user("Down. Then tell the user.", "Wait."), "");
        assert_eq!(for_the_user("An operator must look.", "Wait."), " Tell the user.");
        assert_eq!(for_the_user("An operator: write a=b", "Wait."), " (tell the user)");
    }
}
