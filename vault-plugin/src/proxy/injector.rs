//! Writes a credential into a request: the one place where the two meet.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::canonical::{canonicalise, encode_component};
use super::credential::Credential;
use super::egress::OutboundRequest;
use super::limits::Reservation;
use super::placement::{PASSWORD, Placement, TOKEN};
use super::policy::{Passage, Permit};
use super::service::Service;
use crate::error::{Code, Failure};

/// The header by which an upstream's log can be matched with Vault's audit log.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What one message to an MCP server is made of.
#[derive(Debug)]
pub struct Message {
    /// `POST`, or `DELETE` at the end of a session.
    pub method: Method,
    /// The protocol's.
    pub headers: HeaderMap,
    /// JSON.
    pub body: Bytes,
}

/// A request that is complete but for its credential. A signing kind sees all of it.
struct Draft {
    method: Method,
    target: String,
    headers: HeaderMap,
    body: Bytes,
}

/// Spends a permit: gives the request as it goes out, and the places that it holds.
///
/// # Errors
/// `credential_missing` or `invalid_request` when the credential can't be written where it belongs.
pub fn inject(
    permit: Permit,
    service: &Service,
    credential: Option<&Credential>,
    request_id: &str,
) -> Result<(OutboundRequest, Reservation), Failure> {
    let (request, reservation) = permit.into_parts();
    let draft = Draft {
        method: request.method,
        target: request.target.target().to_owned(),
        headers: request.headers,
        body: request.body,
    };
    Ok((finish(draft, service, credential, request_id)?, reservation))
}

/// Gives one message of a call to an MCP server as it goes out: to the service's endpoint, whatever it
/// is.
///
/// # Errors
/// As for [`inject`].
pub fn inject_message(
    _passage: &Passage,
    message: Message,
    service: &Service,
    credential: Option<&Credential>,
    request_id: &str,
) -> Result<OutboundRequest, Failure> {
    let Message { method, mut headers, body } = message;
    // The operator's word stands against ours, except on what the protocol is made of, which a
    // definition can't name.
    for (name, value) in &service.headers {
        headers.insert(name.clone(), value.clone());
    }
    let slash = if service.base.ends_in_slash() { "/" } else { "" };
    let target = canonicalise(&service.base, slash, &[], service.switches)
        .map_err(|error| Failure::invalid(format!("{error}. Nothing was sent")))?;
    let draft = Draft { method, target: target.target().to_owned(), headers, body };
    finish(draft, service, credential, request_id).map(OutboundRequest::plain_answer)
}

fn finish(
    mut draft: Draft,
    service: &Service,
    credential: Option<&Credential>,
    request_id: &str,
) -> Result<OutboundRequest, Failure> {
    draft.headers.entry(header::USER_AGENT).or_insert(HeaderValue::from_static(concat!(
        "vault-mcp-proxy/",
        env!("CARGO_PKG_VERSION")
    )));
    draft.headers.entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
    if service.send_request_id
        && !request_id.is_empty()
        && let Ok(id) = HeaderValue::try_from(request_id)
    {
        draft.headers.insert(REQUEST_ID, id);
    }
    place(&mut draft, &service.placement, credential)?;
    let Draft { method, target, headers, body } = draft;
    OutboundRequest::new(method, &target, headers, body)
        .map_err(|error| Failure::invalid(format!("{error}. Nothing was sent")))
}

fn place(
    draft: &mut Draft,
    placement: &Placement,
    credential: Option<&Credential>,
) -> Result<(), Failure> {
    match placement {
        Placement::None => Ok(()),
        Placement::Bearer => {
            let value = header_value("Bearer ", expose(secret(credential, TOKEN)?))?;
            // Insert replaces whatever stands there; the caller's headers have been through an
            // allow list that never has it.
            draft.headers.insert(header::AUTHORIZATION, value);
            Ok(())
        }
        Placement::Header { name, prefix } => {
            let value = header_value(prefix, expose(secret(credential, TOKEN)?))?;
            draft.headers.insert(name.clone(), value);
            Ok(())
        }
        Placement::Query { name } => {
            let value = Zeroizing::new(encode_component(expose(secret(credential, TOKEN)?)));
            let separator = if draft.target.contains('?') { '&' } else { '?' };
            draft.target =
                format!("{}{separator}{}={}", draft.target, encode_component(name), *value);
            Ok(())
        }
        Placement::Basic => {
            let basic = credential.and_then(|credential| credential.material.basic());
            let value = header_value("Basic ", &basic.ok_or_else(|| missing(PASSWORD))?)?;
            draft.headers.insert(header::AUTHORIZATION, value);
            Ok(())
        }
        Placement::Cookie { name } => {
            let value = header_value(&format!("{name}="), expose(secret(credential, TOKEN)?))?;
            draft.headers.insert(header::COOKIE, value);
            Ok(())
        }
    }
}

fn secret<'c>(
    credential: Option<&'c Credential>,
    field: &str,
) -> Result<&'c SecretString, Failure> {
    credential.and_then(|credential| credential.material.get(field)).ok_or_else(|| missing(field))
}

fn missing(field: &str) -> Failure {
    Failure::new(
        Code::CredentialMissing,
        format!(
            "the stored credential has no {field}. Nothing was sent. An operator must store it again"
        ),
    )
}

fn expose(secret: &SecretString) -> &str {
    #[expect(
        clippy::disallowed_methods,
        reason = "exit: into the upstream request it is meant for"
    )]
    secret.expose_secret()
}

fn header_value(prefix: &str, secret: &str) -> Result<HeaderValue, Failure> {
    let text = Zeroizing::new(format!("{prefix}{secret}"));
    let mut value = HeaderValue::try_from(text.as_str()).map_err(|_| {
        Failure::new(
            Code::CredentialMissing,
            "the stored credential can't stand in a header. Nothing was sent. An operator must \
             store it again",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}
