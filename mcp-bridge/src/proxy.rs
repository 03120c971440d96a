//! Sends one HTTP request to the engine.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::catalog::{Method, ServiceName, Store, Use};
use crate::error::CallError;
use crate::refusal::Asked;
use crate::vault;

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
    let one = Use::Method(call.method);
    let asked = Asked { store, service: &call.service, one: &one };
    let body = asked.send(fields(call)).await?;
    let Some(answer) = vault::data::<Answer>(&body) else {
        return Err(asked.unreadable());
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
    asked.passed(answer.catalog_revision.as_deref()).await;
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
pub(crate) fn pieces(text: &str) -> Value {
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
}
