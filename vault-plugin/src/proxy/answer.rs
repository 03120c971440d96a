//! From an upstream's answer, or its failure, to what the caller gets.

mod search;
mod wrapped;

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use vault_sdk::Response;

use super::address::Refusal;
use super::credential::Credential;
use super::egress::{EgressError, OutcomeUnknown, Unreachable, UpstreamResponse};
use super::headers;
use super::limits::{Memory, Reservation};
use super::redact::RedactorError;
use super::service::Service;
use crate::bounds;
use crate::engine::{Engine, Outcome, Snapshot};
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::storage::rfc3339;
use search::{Redacted, Search};
pub(crate) use wrapped::stored_bytes_of;

/// What a caller gets of an upstream's answer.
#[derive(Debug)]
pub struct Answer {
    status: u16,
    headers: Map<String, Value>,
    body: Body,
    truncated: bool,
    redacted: u32,
    /// Until it has gone to the host.
    memory: Option<Arc<Memory>>,
}

enum Body {
    Text(String),
    Binary(Bytes),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Body")
    }
}

/// A credential as the caller may know it, told when the upstream refused it.
#[derive(Debug)]
pub struct Refused {
    name: String,
    version: u64,
    stored: u64,
    failing_since: Option<u64>,
}

impl Refused {
    /// Of the credential that was sent, once the end of the call was noted.
    pub fn of(engine: &Engine, credential: &Credential) -> Self {
        Self {
            name: credential.name.to_string(),
            version: credential.version,
            stored: credential.stored,
            failing_since: engine.refused_since(credential),
        }
    }
}

impl Refused {
    /// As it stands in an answer.
    pub(crate) fn into_value(self) -> Value {
        json!({
            "name": self.name,
            "version": self.version,
            "stored": rfc3339(self.stored),
            "failing_since": self.failing_since.map(rfc3339),
        })
    }
}

/// Remembers what the end of a call says about the service and its credential.
pub(super) fn note(
    engine: &Engine,
    snapshot: &Snapshot,
    sent: &Result<UpstreamResponse, EgressError>,
    credential: Option<&Credential>,
) -> Outcome {
    let outcome = match sent {
        Err(error) => Outcome::Failed(code(error)),
        Ok(response) if response.status == StatusCode::UNAUTHORIZED && credential.is_some() => {
            Outcome::CredentialRefused
        }
        Ok(_) => Outcome::Answered,
    };
    let was_sent = sent.as_ref().err().is_none_or(EgressError::sent);
    engine.note(&snapshot.service_id, credential.filter(|_| was_sent), outcome);
    outcome
}

/// An answer with what belongs to the call.
#[derive(Debug)]
pub struct ProxyResponse {
    /// What the upstream said.
    pub answer: Answer,
    /// The rule that allowed the request; empty when the service has none.
    pub rule: String,
    /// The credential that was sent, if one was; told with a 401 alone.
    pub refused: Option<Refused>,
    /// The host's id of the request.
    pub request_id: String,
    /// The catalog's revision, so that a bridge sees a change at its next call.
    pub revision: Arc<str>,
    /// From the request's arrival to the end of the answer.
    pub duration: Duration,
}

impl ProxyResponse {
    /// The upstream's status.
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// Refuses an answer that the host couldn't store, if it is to be wrapped.
    ///
    /// # Errors
    /// `response_too_large`.
    pub(super) fn storable(self, service: &Service) -> Result<Self, Failure> {
        let stored = wrapped::stored_bytes(&self);
        if stored <= bounds::WRAPPED_ENTRY {
            return Ok(self);
        }
        Err(Failure::new(
            Code::ResponseTooLarge,
            format!(
                "the answer of \"{}\" would take {stored} bytes in storage, and a wrapped one may \
                 take {}. The request was sent. Ask for less: paging parameters, a filter, or a \
                 narrower path; or call without wrapping",
                service.name,
                bounds::WRAPPED_ENTRY
            ),
        ))
    }

    /// The fields of the proxy path's answer.
    pub(super) fn into_response(self) -> Result<Response, Error> {
        let Answer { status, headers, body, truncated, redacted, memory } = self.answer;
        let (field, text) = match body {
            Body::Text(text) => ("body", text),
            Body::Binary(bytes) => {
                ("body_base64", base64::engine::general_purpose::STANDARD.encode(bytes))
            }
        };
        let duration_ms = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX);
        let mut data = Map::from_iter([
            ("status".to_owned(), Value::from(status)),
            ("headers".to_owned(), Value::Object(headers)),
            (field.to_owned(), Value::String(text)),
            ("truncated".to_owned(), Value::from(truncated)),
            ("redacted".to_owned(), Value::from(redacted)),
            ("duration_ms".to_owned(), Value::from(duration_ms)),
            ("request_id".to_owned(), Value::String(self.request_id)),
            ("rule".to_owned(), Value::String(self.rule)),
            ("catalog_revision".to_owned(), Value::from(self.revision.as_ref())),
        ]);
        if status == StatusCode::UNAUTHORIZED.as_u16()
            && let Some(refused) = self.refused
        {
            data.insert("refused_credential".to_owned(), refused.into_value());
        }
        let response = Response::object(data);
        Ok(response.map_err(|error| Error::Internal(error.to_string()))?.holding(memory))
    }
}

/// What redacting an answer may take.
#[derive(Debug)]
pub struct Within {
    /// Of the redacted body, in bytes.
    pub max_response_bytes: usize,
    /// The end of the call's time.
    pub deadline: Instant,
    /// What the call holds; given back when the answer has been searched, but for the memory of a large
    /// one.
    pub reservation: Reservation,
}

/// Takes the credential out of an answer, and what else isn't the caller's.
///
/// # Errors
/// `response_undecodable` for a binary body that contains the credential, `outcome_unknown` after the
/// deadline.
pub async fn redact(
    response: UpstreamResponse,
    snapshot: &Snapshot,
    within: Within,
) -> Result<Answer, Failure> {
    let UpstreamResponse { status, headers, body, ended_by_close } = response;
    let service = &snapshot.service;
    let memory = within.reservation.kept_for_large();
    let search = Search {
        headers: headers::filter_response(&headers, &service.allowed_response_headers),
        body,
        redactor: Arc::clone(&snapshot.redactor),
        max_bytes: within.max_response_bytes,
        deadline: within.deadline,
        reservation: Arc::new(within.reservation),
    };
    let Redacted { headers, body, hits } = search.run(service).await?;
    Ok(Answer {
        status: status.as_u16(),
        headers,
        body,
        // Where the upstream marks the end by closing, a cut looks like an end.
        truncated: ended_by_close,
        redacted: hits,
        memory,
    })
}

/// Takes the credential out of one JSON text of an MCP server; gives it with the number of places.
///
/// # Errors
/// As for [`redact`].
pub(crate) async fn redact_json(
    text: String,
    snapshot: &Snapshot,
    deadline: Instant,
    reservation: &Arc<Reservation>,
) -> Result<(String, u32), Failure> {
    const JSON: HeaderValue = HeaderValue::from_static("application/json");
    let search = Search {
        headers: HeaderMap::from_iter([(header::CONTENT_TYPE, JSON)]),
        // A mark may be longer than what it stands for.
        max_bytes: text.len().saturating_mul(2).max(64 << 10),
        body: text.into(),
        redactor: Arc::clone(&snapshot.redactor),
        deadline,
        reservation: Arc::clone(reservation),
    };
    let Redacted { body, hits, .. } = search.run(&snapshot.service).await?;
    match body {
        Body::Text(text) => Ok((text, hits)),
        // It went in as text, and marks are text.
        Body::Binary(_) => Ok((String::new(), hits)),
    }
}

/// A stored secret that can't be looked for in answers isn't sent.
pub fn unsearchable(credential: &Name, error: &RedactorError) -> Failure {
    Failure::new(
        Code::CredentialMissing,
        format!(
            "the stored credential \"{credential}\" can't be used: {error}. Nothing was sent. This \
             isn't the caller's mistake; an operator must store another, or destroy old versions"
        ),
    )
}

/// The time was up before anything was sent.
pub fn no_time(service: &Service) -> Failure {
    Failure::new(
        Code::UpstreamUnreachable,
        format!(
            "the time for this call to \"{}\" ({} s) was up before anything was sent. Try once more",
            service.name,
            service.timeout.as_secs()
        ),
    )
}

/// The process before this one ended while it made this very call.
pub fn sent_before(service: &Service) -> Failure {
    Failure::new(
        Code::OutcomeUnknown,
        format!(
            "the plugin's process ended while this call to \"{}\" was under way, so it may have \
             taken effect. It wasn't sent again. Don't repeat it; look first whether it happened",
            service.name
        ),
    )
}

/// The code of a failure on the way.
pub fn code(error: &EgressError) -> Code {
    match error {
        EgressError::AddressForbidden { .. } => Code::AddressForbidden,
        EgressError::TlsFailed { .. } => Code::TlsFailed,
        EgressError::Unreachable { .. } => Code::UpstreamUnreachable,
        EgressError::OutcomeUnknown { .. } => Code::OutcomeUnknown,
        EgressError::ResponseTooLarge { .. } | EgressError::NoRoom => Code::ResponseTooLarge,
        EgressError::Undecodable { .. } => Code::ResponseUndecodable,
    }
}

/// What happened on the way, and whether anything was sent.
pub fn happened(service: &Service, error: &EgressError) -> String {
    let name = &service.name;
    match error {
        EgressError::AddressForbidden { .. } => {
            format!("\"{name}\" can't be called: {error}. Nothing was sent")
        }
        EgressError::TlsFailed { kind } => {
            format!("Vault refuses the connection to \"{name}\": {kind}. Nothing was sent")
        }
        EgressError::Unreachable { kind } => {
            format!("Vault can't reach \"{name}\": {kind}. Nothing was sent")
        }
        EgressError::OutcomeUnknown {
            kind: kind @ (OutcomeUnknown::NoAnswer | OutcomeUnknown::BodyTimeout),
        } => format!(
            "the request to \"{name}\" was sent, but {kind} ({} s), so it may have taken effect",
            service.timeout.as_secs()
        ),
        EgressError::OutcomeUnknown { kind } => {
            format!("the request to \"{name}\" was sent, but {kind}, so it may have taken effect")
        }
        EgressError::ResponseTooLarge { limit } => format!(
            "the answer of \"{name}\" is larger than {limit} bytes, this call's limit. The request \
             was sent"
        ),
        EgressError::NoRoom => format!(
            "the answer of \"{name}\" waited for memory until the time for this call ({} s) was up: \
             other calls held all that is set aside for bodies. The request was sent",
            service.timeout.as_secs()
        ),
        EgressError::Undecodable { .. } => format!(
            "\"{name}\" answered in a form that can't be searched for the credential: {error}. It is \
             withheld. The request was sent"
        ),
    }
}

/// What a caller does about it.
fn advice(error: &EgressError) -> &'static str {
    match error {
        EgressError::AddressForbidden {
            refusal: Refusal::Denied | Refusal::NeverOpened | Refusal::OwnServer,
            ..
        } => {
            ". This isn't the caller's mistake and retrying won't help; an operator should look at \
             the service's base_url"
        }
        EgressError::AddressForbidden { .. } => {
            ". This isn't the caller's mistake; an operator can open a network with upstream_cidrs, \
             on the service and in config"
        }
        EgressError::TlsFailed { .. } => {
            ". This isn't the caller's mistake and retrying won't help; an operator should look at \
             the upstream's certificate, or at ca_cert and tls_server_name of the service"
        }
        EgressError::Unreachable {
            kind:
                Unreachable::ProxyUnreachable
                | Unreachable::ProxyRefused { .. }
                | Unreachable::ProxyMalformed
                | Unreachable::ProxyTimeout,
        } => {
            ". This isn't the caller's mistake; an operator should look at config's egress_proxy, \
             and at what it allows"
        }
        EgressError::Unreachable { .. } => {
            ". This isn't the caller's mistake. Try once more in a minute; then tell the user that \
             it seems to be down"
        }
        EgressError::OutcomeUnknown { .. } => ". Don't repeat it; look first whether it happened",
        EgressError::ResponseTooLarge { .. } => {
            ". Ask for less: paging parameters, a filter, or a narrower path"
        }
        EgressError::NoRoom => {
            ". Don't repeat it; look first whether it took effect, later or by asking for less"
        }
        EgressError::Undecodable { .. } => "",
    }
}

/// A failure on the way, told to the caller.
pub fn failure(service: &Service, error: &EgressError) -> Failure {
    Failure::new(code(error), format!("{}{}", happened(service, error), advice(error)))
}
