//! A dry run of one call, by the same functions as a call, up to sending.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use tokio::time::Instant;
use vault_sdk::{Call, Given, Response};

use super::credential::{self, Credential};
use super::request::ProxyRequest;
use super::service::{Kind, Service};
use super::{canonicalise, injector, policy, snapshot};
use crate::engine::{Engine, Snapshot};
use crate::error::Error;
use crate::mcp;

/// Tells what a call would send, where, by which rule and with which credential, or what would
/// refuse it. Sends nothing to the upstream; its name is resolved.
///
/// # Errors
/// Storage's own. A refusal of the call is an answer here.
pub async fn explain(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let mut shown = Map::new();
    let verdict = match steps(&engine, &mut call, &mut shown).await {
        Ok(()) => "allowed",
        Err(Error::Failure(failure)) => {
            shown.insert("code".into(), failure.code.as_str().into());
            let text = failure.public_message(&call.mount_point, &call.id);
            shown.insert("message".into(), text.into());
            "refused"
        }
        Err(error @ (Error::Storage(_) | Error::Internal(_))) => return Err(error),
    };
    shown.insert("verdict".into(), verdict.into());
    shown.insert("request_id".into(), call.id.into());
    Response::object(shown).map_err(|error| Error::Internal(error.to_string()))
}

async fn steps(
    engine: &Arc<Engine>,
    call: &mut Call,
    shown: &mut Map<String, Value>,
) -> Result<(), Error> {
    let started = Instant::now();
    let tool = call.fields.str("tool").and_then(Given::value).unwrap_or_default();
    let request = ProxyRequest::parse(&mut call.fields)?;
    let snapshot = snapshot(engine, call, &request.service).await?;
    let service = &snapshot.service;
    match service.kind {
        Kind::Http => {}
        Kind::Mcp(_) => {
            mcp::call::explain(engine, call, &snapshot, &tool, shown).await?;
            let credential = mcp::client::bound(&snapshot)?;
            uses(service, credential, shown);
            return classes(&snapshot, started, shown).await;
        }
    }
    let canonical = canonicalise(request, &snapshot)?;
    shown.insert("method".into(), canonical.method.as_str().into());
    shown.insert("path".into(), canonical.target.relative().into());
    let url = format!("{}{}", service.base.origin(), canonical.target.target());
    shown.insert("url".into(), url.into());
    let permit = policy::authorize(canonical, service, &snapshot.places)?;
    shown.insert("rule".into(), permit.rule().unwrap_or_default().into());
    let credential = credential::resolve(&permit, service, snapshot.credential.as_ref())?;
    uses(service, credential, shown);
    // Complete, as it would be sent; nothing is held while the name is looked up.
    drop(injector::inject(permit, service, credential, &call.id)?);
    classes(&snapshot, started, shown).await
}

/// The credential as an operator may see it.
fn uses(service: &Service, credential: Option<&Credential>, shown: &mut Map<String, Value>) {
    if let Some(credential) = credential {
        let mut used = Map::from_iter([
            ("name".to_owned(), Value::from(credential.name.as_str())),
            ("version".to_owned(), credential.version.into()),
            ("auth".to_owned(), service.placement.kind().into()),
        ]);
        used.extend(service.placement.parameters().into_iter().map(|(k, v)| (k, v.into())));
        shown.insert("credential".into(), used.into());
    }
}

async fn classes(
    snapshot: &Snapshot,
    started: Instant,
    shown: &mut Map<String, Value>,
) -> Result<(), Error> {
    let service = &snapshot.service;
    let classes = snapshot
        .upstream
        .look(started + service.timeout)
        .await
        .map_err(|error| super::answer::failure(service, &error))?;
    let classes: Vec<String> = classes.iter().map(ToString::to_string).collect();
    shown.insert("address_class".into(), json!(classes));
    Ok(())
}
