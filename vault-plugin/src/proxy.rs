//! The pipeline of a proxied request: each step takes what the one before it made, so that none
//! can be skipped.
//!
//! | step | room | gives |
//! |---|---|---|
//! | what is asked | [`request`] | [`request::ProxyRequest`] |
//! | which service | `engine` | one snapshot for the whole call |
//! | one canonical form | [`canonical`], [`headers`] | [`policy::CanonicalRequest`] |
//! | may it be made | [`policy`] | [`policy::Permit`], which holds the request and its places |
//! | with which credential | [`credential`] | [`credential::Credential`], its binding checked |
//! | written into the request | [`injector`] | [`egress::OutboundRequest`], opaque from here on |
//! | sent once, to a judged address | [`sent`], [`egress`] | [`egress::UpstreamResponse`] |
//! | searched for the credential | [`redact`], [`answer`] | [`answer::ProxyResponse`] |
//!
//! Rooms don't import each other's insides, nor paths or storage. After the request is sent, nothing
//! here can touch storage, so no storage error can make a client repeat a call.

pub mod address;
pub mod answer;
pub mod base_url;
pub mod binding;
pub mod canonical;
pub mod check;
pub mod credential;
pub(crate) mod decision;
pub mod egress;
pub mod explain;
pub mod headers;
pub mod injector;
pub mod limits;
pub mod material;
pub mod origin;
mod overrides;
pub mod placement;
pub mod policy;
pub mod redact;
pub mod request;
pub mod rules;
pub mod sent;
pub mod service;

use std::sync::Arc;

use tokio::time::Instant;
use vault_sdk::{Call, Response};

use crate::bounds;
use crate::engine::{Engine, Snapshot};
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use answer::ProxyResponse;
use decision::Decision;
use policy::CanonicalRequest;
use request::{FORM, ProxyRequest};
use service::Kind;

/// Makes one upstream request for a caller.
///
/// # Errors
/// One [`Failure`] for everything that is decided here; storage's errors only before anything is
/// sent.
pub async fn proxy(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let mut decision = Decision::begin(&call);
    let outcome = pipeline(&engine, call, &mut decision).await;
    decision.end(&outcome);
    outcome?.into_response()
}

async fn pipeline(
    engine: &Engine,
    mut call: Call,
    decision: &mut Decision,
) -> Result<ProxyResponse, Error> {
    let started = Instant::now();
    let request = ProxyRequest::parse(&mut call.fields)?;
    let snapshot = snapshot(engine, &call, &request.service).await?;
    let revision = engine.revision(call.storage.as_ref()).await?;
    let canonical = canonicalise(request, &snapshot)?;
    let permit = policy::authorize(canonical, &snapshot.service, &snapshot.places)?;
    decision.allowed(permit.rule());
    let rule = permit.rule().unwrap_or_default().to_owned();
    let credential = credential::resolve(&permit, &snapshot.service, snapshot.credential.as_ref())?;
    decision.uses(credential);
    let (outbound, reservation) =
        injector::inject(permit, &snapshot.service, credential, &call.id)?;
    let is_wrapped = call.wrap_ttl.is_some();
    let deadline = started + snapshot.service.timeout;
    let max_response_bytes = max_response_bytes(&snapshot, &call);
    let limits = egress::Limits { deadline, max_response_bytes, room: reservation.room() };
    if deadline <= Instant::now() {
        return Err(answer::no_time(&snapshot.service).into());
    }
    if engine.sent().note(&call.id).is_err() {
        return Err(answer::sent_before(&snapshot.service).into());
    }
    decision.sending();
    let sent = snapshot.upstream.send(outbound, &limits).await;
    answer::note(engine, &snapshot, &sent, credential);
    let response = sent.map_err(|error| answer::failure(&snapshot.service, &error))?;
    let within = answer::Within { max_response_bytes, deadline, reservation };
    let answer = answer::redact(response, &snapshot, within).await?;
    let response = ProxyResponse {
        answer,
        rule,
        refused: credential.map(|credential| answer::Refused::of(engine, credential)),
        request_id: call.id,
        revision,
        duration: started.elapsed(),
    };
    if is_wrapped { Ok(response.storable(&snapshot.service)?) } else { Ok(response) }
}

/// One view of the service for the whole call, if it may be called at all.
pub(crate) async fn snapshot(
    engine: &Engine,
    call: &Call,
    name: &Name,
) -> Result<Arc<Snapshot>, Error> {
    let mount = engine.mount(call.storage.as_ref()).await?;
    if mount.entry.paused {
        let reason = match mount.entry.pause_reason.as_str() {
            "" => String::new(),
            reason => format!(": {reason}"),
        };
        return Err(Failure::new(
            Code::Paused,
            format!(
                "an operator has paused all calls{reason}. Nothing was sent. Retrying won't help \
                 until it is resumed: vault write <mount>/config paused=false"
            ),
        )
        .into());
    }
    let snapshot = engine.snapshot(call.storage.as_ref(), name).await?;
    if !snapshot.enabled {
        return Err(Failure::new(
            Code::ServiceDisabled,
            format!(
                "an operator has switched \"{name}\" off. Nothing was sent. Retrying won't help \
                 until it is on again: vault write <mount>/services/{name} enabled=true"
            ),
        )
        .into());
    }
    Ok(snapshot)
}

fn canonicalise(request: ProxyRequest, snapshot: &Snapshot) -> Result<CanonicalRequest, Failure> {
    let service = &snapshot.service;
    match service.kind {
        Kind::Http => {}
        Kind::Mcp(_) => {
            return Err(Failure::invalid(format!(
                "\"{name}\" is an MCP server: call its tools, at call/{name}/<tool>. Nothing was sent",
                name = service.name
            )));
        }
    }
    let nothing_sent = |text: String| Failure::invalid(format!("{text}. Nothing was sent"));
    let target =
        canonical::canonicalise(&service.base, &request.path, &request.query, service.switches)
            .map_err(|error| nothing_sent(error.to_string()))?;
    if let Some(parameter) = service.placement.parameter()
        && target.names_parameter(parameter)
    {
        return Err(nothing_sent(format!(
            "the query parameter {parameter} carries the credential and is set by Vault alone; leave \
             it out"
        )));
    }
    let injected = service.placement.header();
    let mut headers = headers::parse_caller(
        request.headers,
        &service.allowed_request_headers,
        injected.as_ref().map(http::HeaderName::as_str),
    )
    .map_err(|error| nothing_sent(error.to_string()))?;
    match request.content_type {
        // A form is encoded as one, whatever the caller calls it.
        Some(content_type) if content_type == FORM => {
            headers.insert(http::header::CONTENT_TYPE, content_type);
        }
        Some(content_type) => {
            headers.entry(http::header::CONTENT_TYPE).or_insert(content_type);
        }
        None => {}
    }
    // The operator's word stands against the caller's, and is judged with it.
    for (name, value) in &service.headers {
        headers.insert(name.clone(), value.clone());
    }
    if overrides::in_body(&headers, &request.body) {
        return Err(nothing_sent(
            "the body has a field such as _method, which makes servers replace the method"
                .to_owned(),
        ));
    }
    Ok(CanonicalRequest { method: request.method, target, headers, body: request.body })
}

/// Decided before sending: a wrapped answer must fit into one storage entry, however it escapes but
/// for the rarest characters; the rest is decided when it is there.
fn max_response_bytes(snapshot: &Snapshot, call: &Call) -> usize {
    match call.wrap_ttl {
        Some(_) => snapshot.service.max_response_bytes.min(bounds::WRAPPED),
        None => snapshot.service.max_response_bytes,
    }
}
