//! Sends one call to the engine and says in the agent's words what became of it.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalog::{Method, ServiceName, Store};
use crate::config::Mount;
use crate::error::CallError;
use crate::vault::{
    self, EngineCode, EngineError, Lost, Reply, Request, SessionError, Unavailable, is_standby,
};

/// One upstream request, as the engine takes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ProxyRequest {
    /// The service to call.
    pub(crate) service: ServiceName,
    /// The method; it stands in Vault's path.
    pub(crate) method: Method,
    /// The path below the base URL.
    pub(crate) path: String,
    /// Query parameters: strings or lists of strings.
    pub(crate) query: Map<String, Value>,
    /// Headers: strings.
    pub(crate) headers: Map<String, Value>,
    /// The body.
    pub(crate) payload: Payload,
}

/// The body of an upstream request.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Payload {
    /// No body.
    #[default]
    None,
    /// JSON as text, so that numbers reach the upstream as they were written.
    Json(String),
    /// Form fields: strings or lists of strings.
    Form(Map<String, Value>),
    /// Text.
    Text(String),
    /// Bytes that are no text.
    Bytes(Vec<u8>),
}

/// The upstream's answer, as the engine gives it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Answer {
    /// The upstream's status.
    pub(crate) status: u16,
    /// The upstream's headers, names in lower case.
    #[serde(default)]
    pub(crate) headers: BTreeMap<String, String>,
    /// The body, if it is text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body: Option<String>,
    /// The body in base64, if it is no text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) body_base64: Option<String>,
    /// Whether the engine cut the body.
    #[serde(default)]
    pub(crate) truncated: bool,
    /// In how many places the engine removed a credential.
    #[serde(default)]
    pub(crate) redacted: u64,
    /// What the call took, in milliseconds.
    #[serde(default)]
    pub(crate) duration_ms: u64,
    /// The engine's id of the request.
    #[serde(default)]
    pub(crate) request_id: Option<String>,
    /// The rule that allowed it.
    #[serde(default)]
    pub(crate) rule: Option<String>,
    /// The catalog's revision.
    #[serde(default)]
    pub(crate) catalog_revision: Option<String>,
    /// The stored credential that the upstream refused, with a 401.
    #[serde(default, skip_serializing)]
    pub(crate) refused_credential: Option<Box<RefusedCredential>>,
}

/// A stored credential, as far as an agent may know it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub(crate) struct RefusedCredential {
    /// Its name; the service's, unless it is a shared one.
    pub(crate) name: String,
    /// Which version was sent.
    pub(crate) version: u64,
    /// When that was stored (RFC 3339).
    pub(crate) stored: String,
    /// Since when it has been refused, if that is no accident (RFC 3339).
    #[serde(default)]
    pub(crate) failing_since: Option<String>,
}

/// Sends a call once.
///
/// # Errors
///
/// [`CallError`], including an upstream's 401, which tells of the stored credential and not of the
/// agent.
pub(crate) async fn send(store: &Store, call: &ProxyRequest) -> Result<Answer, CallError> {
    let path = format!("{}/proxy/{}/{}", store.mount(), call.service, call.method);
    let request = Request::post(path, Value::Object(fields(call)).to_string()).with_timeout(LIMIT);
    let reply = match store.session().request(&request).await {
        Ok(reply) => reply,
        Err(SessionError::Login(error)) => return Err(CallError::Login(error)),
        Err(SessionError::Lost(lost)) => return Err(lost_call(call, lost)),
    };
    if reply.status != 200 {
        return Err(refused(store, call, &reply).await);
    }
    let Some(answer) = vault::data::<Answer>(&reply.body) else {
        return Err(unknown_outcome(call, "Vault's answer couldn't be read"));
    };
    // Not the path: it may name what is private.
    tracing::info!(
        service = %call.service,
        method = %call.method,
        status = answer.status,
        request_id = answer.request_id.as_deref().unwrap_or_default(),
        duration_ms = answer.duration_ms,
        "called"
    );
    store.saw_permitted(&call.service, call.method).await;
    if let Some(revision) = &answer.catalog_revision {
        store.saw_revision(revision);
    }
    if answer.status == 401 {
        return Err(CallError::CredentialRefused {
            service: call.service.to_string(),
            mount: store.mount().to_string(),
            credential: answer.refused_credential,
            request_id: answer.request_id,
        });
    }
    Ok(answer)
}

/// The engine's fields of a call.
pub(crate) fn fields(call: &ProxyRequest) -> Map<String, Value> {
    let mut body = Map::new();
    body.insert("path".to_owned(), Value::from(call.path.as_str()));
    if !call.query.is_empty() {
        body.insert("query".to_owned(), Value::Object(call.query.clone()));
    }
    if !call.headers.is_empty() {
        body.insert("headers".to_owned(), Value::Object(call.headers.clone()));
    }
    let payload = match &call.payload {
        Payload::None => None,
        Payload::Json(text) => Some(("json", pieces(text))),
        Payload::Form(fields) => Some(("form", Value::Object(fields.clone()))),
        Payload::Text(text) => Some(("body", pieces(text))),
        Payload::Bytes(bytes) => Some(("body_base64", pieces(&STANDARD.encode(bytes)))),
    };
    if let Some((field, value)) = payload {
        body.insert(field.to_owned(), value);
    }
    body
}

/// Cuts a text into strings that Vault takes: it refuses strings of over 1 MiB.
fn pieces(text: &str) -> Value {
    if text.len() <= PIECE {
        return Value::from(text);
    }
    let mut pieces = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let mut end = PIECE.min(rest.len());
        while !rest.is_char_boundary(end) {
            end -= 1;
        }
        let (piece, after) = rest.split_at(end);
        pieces.push(piece);
        rest = after;
    }
    Value::from(pieces)
}

fn lost_call(call: &ProxyRequest, lost: Lost) -> CallError {
    match lost {
        Lost::NeverSent(why) => CallError::Unavailable(why),
        Lost::TimedOut => unknown_outcome(call, "Vault didn't answer in time"),
        Lost::Broken => unknown_outcome(call, "the connection to Vault broke"),
        Lost::TooLarge => unknown_outcome(call, "Vault's answer was too large to take"),
    }
}

fn unknown_outcome(call: &ProxyRequest, cause: &'static str) -> CallError {
    CallError::OutcomeUnknown {
        service: call.service.to_string(),
        cause,
        read: call.method.is_safe(),
    }
}

/// Reads an answer that isn't 200.
async fn refused(store: &Store, call: &ProxyRequest, reply: &Reply) -> CallError {
    let (engine, text) = vault::refusal(&reply.body);
    if let Some(engine) = engine {
        return of_engine(store, call, engine).await;
    }
    if reply.status == 503 && text.contains("sealed") {
        return CallError::Unavailable(Unavailable::Sealed);
    }
    if is_standby(reply.status, &text) {
        return CallError::Unavailable(Unavailable::Standby);
    }
    match reply.status {
        403 => not_permitted(store, call).await,
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
        _ => unknown_outcome(call, "Vault failed (its plugin may have been restarting)"),
    }
}

/// Vault's own 403 by a living token: either the method isn't permitted, or nothing on a service
/// that this agent needn't even know of.
async fn not_permitted(store: &Store, call: &ProxyRequest) -> CallError {
    store.doubt(&call.service).await;
    let catalog = match store.refresh().await {
        Ok(catalog) => catalog,
        Err(error) => return error,
    };
    let permitted = store.permitted(call.service.as_str());
    if catalog.find(call.service.as_str()).is_none() {
        return unknown(store, call.service.as_str(), None);
    }
    let method = call.method.as_str();
    CallError::NotPermitted {
        service: call.service.to_string(),
        method,
        allowed: permitted.into_iter().map(Method::as_str).filter(|m| *m != method).collect(),
        policy_flags: policy_flags(store.mount()),
    }
}

async fn of_engine(store: &Store, call: &ProxyRequest, error: EngineError) -> CallError {
    let EngineError { code, text, request_id } = error;
    tracing::info!(
        service = %call.service,
        method = %call.method,
        code = code.as_str(),
        request_id = request_id.as_deref().unwrap_or_default(),
        "refused"
    );
    let advice = match code {
        EngineCode::UnknownService => {
            // The name may have gone since the catalog was read.
            let _ = store.refresh().await;
            return unknown(store, call.service.as_str(), request_id);
        }
        EngineCode::CredentialRefused => {
            return CallError::CredentialRefused {
                service: call.service.to_string(),
                mount: store.mount().to_string(),
                credential: None,
                request_id,
            };
        }
        EngineCode::OutcomeUnknown if text.contains("repeat") && !call.method.is_safe() => {
            advise(&text, "proxy_read", "Use proxy_read for that, then decide.")
        }
        EngineCode::OutcomeUnknown => advise(
            &text,
            "repeat",
            "Don't repeat it. First use proxy_read to see whether it happened, then decide.",
        ),
        EngineCode::DeniedByRule => {
            let rules = store
                .snapshot()
                .catalog
                .and_then(|catalog| catalog.find(call.service.as_str()).map(crate::tools::allowed));
            let rules = rules.map(|rules| format!("{rules}. ")).unwrap_or_default();
            let advice = format!(
                "{rules}Nothing was sent. Use an allowed call or tell the user that an operator \
                 would have to change the rules."
            );
            advise(&text, "Allowed:", &advice)
        }
        EngineCode::Busy => advise(&text, "again", "Nothing was sent. Try again in a few seconds."),
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
        EngineCode::ResponseTooLarge => {
            advise(&text, "less", "Ask for less: paging parameters, a filter, or a narrower path.")
        }
        EngineCode::InvalidRequest
        | EngineCode::ResponseUndecodable
        | EngineCode::CheckAndSetFailed => String::new(),
    };
    let id = request_id.map(|id| format!(" (request_id {id})")).unwrap_or_default();
    CallError::Engine { code, text: format!("{text}{advice}{id}") }
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
/// The longest string that is sent, in bytes: half of Vault's limit.
const PIECE: usize = 512 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_is_cut_between_characters_and_joins_to_the_same() {
        assert_eq!(pieces("short"), Value::from("short"));
        let text = "a\u{20ac}".repeat(400_000);
        let Value::Array(cut) = pieces(&text) else { panic!("a list") };
        assert!(cut.iter().all(|piece| piece.as_str().unwrap().len() <= PIECE));
        assert_eq!(cut.iter().map(|piece| piece.as_str().unwrap()).collect::<String>(), text);
    }

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
