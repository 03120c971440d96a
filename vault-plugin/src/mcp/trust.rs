//! Which of a server's tools, prompts and resources may be asked for: those that an operator approved,
//! as long as they are as approved.

use std::sync::Arc;

use vault_sdk::Storage;

use super::definition::Kind;
use super::mirror::Mirror;
use super::offer::{Item, Offer, State};
use super::template;
use crate::engine::{Engine, Snapshot, aside};
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::proxy::rules::uri::most_lenient;
use crate::proxy::service::{self, ToolTrust};

/// A tool that may be called.
#[derive(Clone, Debug)]
pub struct ToolToCall {
    /// The name that the server itself uses.
    pub upstream_name: String,
    /// Which arguments are repeated in headers, if any are.
    pub mirror: Option<Arc<Mirror>>,
}

/// Finds the tool that goes by a path segment, if it may be called. Rules are the caller's to ask.
///
/// The server is looked at again in the background when that is due; nothing waits for it.
///
/// # Errors
/// `unknown_tool`, `tool_not_approved`; storage's own.
pub async fn executable(
    engine: &Arc<Engine>,
    storage: &Arc<dyn Storage>,
    snapshot: &Snapshot,
    segment: &str,
) -> Result<ToolToCall, Error> {
    engine.look_if_due(storage, &snapshot.service.name, &snapshot.service_id);
    explained(engine, storage.as_ref(), snapshot, segment).await
}

/// The same, without a look at the server: nothing is sent anywhere.
///
/// # Errors
/// As of [`executable`].
pub async fn explained(
    engine: &Engine,
    storage: &dyn Storage,
    snapshot: &Snapshot,
    segment: &str,
) -> Result<ToolToCall, Error> {
    let item = offered(engine, storage, snapshot, Kind::Tool, segment).await?;
    Ok(ToolToCall { upstream_name: item.key, mirror: item.mirror })
}

/// Finds the upstream's name of the prompt that goes by a path segment, if it may be asked for.
///
/// # Errors
/// As of [`executable`].
pub async fn promptable(
    engine: &Arc<Engine>,
    storage: &Arc<dyn Storage>,
    snapshot: &Snapshot,
    segment: &str,
) -> Result<String, Error> {
    engine.look_if_due(storage, &snapshot.service.name, &snapshot.service_id);
    Ok(offered(engine, storage.as_ref(), snapshot, Kind::Prompt, segment).await?.key)
}

/// Makes sure that a resource may be read: it is approved, or it isn't listed and an approved template
/// gives its URI. What is listed and withheld is withheld, whatever template fits it.
///
/// # Errors
/// `tool_not_approved`; storage's own.
pub async fn readable(
    engine: &Arc<Engine>,
    storage: &Arc<dyn Storage>,
    snapshot: &Snapshot,
    uri: &str,
) -> Result<(), Error> {
    let service = &snapshot.service;
    let trust = trust(snapshot, Kind::Resource)?;
    if trust == ToolTrust::Allow {
        return Ok(());
    }
    engine.look_if_due(storage, &service.name, &snapshot.service_id);
    let tools = engine.tools(storage.as_ref(), &snapshot.service_id, trust).await?;
    let listed = tools.offer.of_kind(Kind::Resource).find(|item| item.key == uri);
    let is_readable = match listed.filter(|item| item.state != State::Gone) {
        Some(item) => item.state.is_offered(),
        None => {
            let (tools, uri) = (Arc::clone(&tools), uri.to_owned());
            aside(move || is_given(&tools.offer, &uri)).await?
        }
    };
    if is_readable {
        return Ok(());
    }
    Err(Failure::new(
        Code::ToolNotApproved,
        format!(
            "no operator has approved this resource of \"{name}\" as it is now, nor a template that \
             gives its URI. Nothing was sent. Retrying won't help until then. What there is: vault \
             read <mount>/catalog/{name}. What an operator reads: vault read <mount>/tools/{name}/diff",
            name = service.name
        ),
    )
    .into())
}

/// Whether an approved template gives a URI, and it isn't another spelling of what is withheld.
fn is_given(offer: &Offer, uri: &str) -> bool {
    let mut templates = offer.of_kind(Kind::ResourceTemplate);
    if !templates.any(|item| item.state.is_offered() && template::gives(&item.key, uri)) {
        return false;
    }
    let is_withheld = |item: &&Item| !item.state.is_offered() && item.state != State::Gone;
    let reading = most_lenient(uri);
    let mut withheld = offer.of_kind(Kind::Resource).filter(is_withheld);
    !withheld.any(|item| most_lenient(&item.key) == reading)
}

/// Whether what a server offers waits for approval.
fn trust(snapshot: &Snapshot, kind: Kind) -> Result<ToolTrust, Failure> {
    match &snapshot.service.kind {
        service::Kind::Mcp(mcp) => Ok(mcp.trust),
        service::Kind::Http => Err(Failure::invalid(format!(
            "\"{name}\" speaks HTTP and has no {}s: its calls are made at proxy/{name}. Nothing was \
             sent",
            kind.word(),
            name = snapshot.service.name
        ))),
    }
}

async fn offered(
    engine: &Engine,
    storage: &dyn Storage,
    snapshot: &Snapshot,
    kind: Kind,
    segment: &str,
) -> Result<Item, Error> {
    let name = &snapshot.service.name;
    let trust = trust(snapshot, kind)?;
    let tools = engine.tools(storage, &snapshot.service_id, trust).await?;
    match tools.offer.by_segment(kind, segment) {
        Some(item) if item.state.is_offered() => Ok(item.clone()),
        Some(item) => Err(withheld(name, item, segment).into()),
        None if tools.seen.is_none() => Err(Failure::new(
            Code::UnknownTool,
            format!(
                "nothing was seen of \"{name}\" yet. Nothing was sent. What an operator does first: \
                 vault write -f <mount>/tools/{name}/refresh"
            ),
        )
        .into()),
        None => Err(Failure::new(
            Code::UnknownTool,
            format!(
                "\"{name}\" has no {} that goes by {segment:?}. Nothing was sent. What it has: vault \
                 read <mount>/catalog/{name}",
                kind.word()
            ),
        )
        .into()),
    }
}

/// Why something that the server has isn't offered, told to an agent: in the caller's words, and none of
/// the server's.
fn withheld(name: &Name, item: &Item, segment: &str) -> Failure {
    let what = format!("the {} {segment:?} of \"{name}\"", item.kind.word());
    let not_approved = |text: String| Failure::new(Code::ToolNotApproved, text);
    match item.state {
        State::New => not_approved(format!(
            "{what} waits for an operator's approval. Nothing was sent. Retrying won't help until then. \
             What an operator reads: vault read <mount>/tools/{name}/diff"
        )),
        State::Changed => not_approved(format!(
            "{what} has changed since an operator approved it, and waits to be approved again. Nothing \
             was sent. Retrying won't help until then. What an operator reads: vault read \
             <mount>/tools/{name}/diff"
        )),
        State::Collision => not_approved(format!(
            "{what} is withheld: another goes by the same path segment, or its name gives none. Nothing \
             was sent. Retrying won't help. What an operator reads: vault read <mount>/tools/{name}"
        )),
        State::Refused => not_approved(format!(
            "{what} is withheld: its definition isn't one that can be offered. Nothing was sent. \
             Retrying won't help. What an operator reads: vault read <mount>/tools/{name}"
        )),
        State::Gone | State::Approved | State::Allowed => Failure::new(
            Code::UnknownTool,
            format!(
                "the server doesn't list {what} any more. Nothing was sent. What it has: vault read \
                 <mount>/catalog/{name}"
            ),
        ),
    }
}
