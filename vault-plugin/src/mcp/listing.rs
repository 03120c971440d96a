//! All that a server offers: tools, prompts, resources and their templates, within bounds.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::client::{Client, Opened, Reply, Server, bound};
use super::era::INSTRUCTIONS_BYTES;
use super::message::{Request, code_of};
use super::raw;
use super::trouble::Trouble;
use crate::engine::{Engine, Outcome, Snapshot};
use crate::error::{Code, Failure};
use crate::proxy::policy;
use crate::proxy::service::Kind;

/// Definitions of one kind that are taken; the rest is left out.
pub const MOST: usize = 1000;
/// All definitions together, in bytes.
pub const MOST_BYTES: usize = 4 << 20;
/// One definition, in bytes.
pub const MOST_DEFINITION_BYTES: usize = 256 << 10;
/// Pages of one list.
const MOST_PAGES: usize = 100;
/// One page, in bytes: all definitions, and what stands around them.
const MOST_PAGE_BYTES: usize = MOST_BYTES + (1 << 20);
/// One cursor, in bytes.
const MOST_CURSOR_BYTES: usize = 64 << 10;

/// All that a server offers, each definition as the server wrote it, less the credential.
#[derive(Debug, Default)]
pub struct Listing {
    /// The revision of MCP that was spoken.
    pub protocol: String,
    /// Who answered.
    pub server: Server,
    /// Definitions of tools: JSON objects, in the server's order.
    pub tools: Vec<Box<RawValue>>,
    /// Definitions of prompts.
    pub prompts: Vec<Box<RawValue>>,
    /// Resources.
    pub resources: Vec<Box<RawValue>>,
    /// Templates of resources.
    pub templates: Vec<Box<RawValue>>,
    /// Why the rest was left out, if something was, in words for an operator.
    pub left_out: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<'p> {
    #[serde(borrow, default, alias = "prompts", alias = "resources", alias = "resourceTemplates")]
    tools: Option<&'p RawValue>,
    #[serde(default)]
    next_cursor: Option<String>,
}

/// Lists all that a server offers, on a session of its own. Nothing of it can have an effect, so it may
/// be repeated.
///
/// # Errors
/// A [`Failure`] with the code of what was in the way of the tools. A server without prompts or
/// resources, or with broken lists of them, is listed without them.
pub async fn list_all(
    engine: &Engine,
    snapshot: &Arc<Snapshot>,
    request_id: &str,
    deadline: Instant,
) -> Result<Listing, Failure> {
    let service = &snapshot.service;
    let Kind::Mcp(mcp) = &service.kind else {
        return Err(not_mcp(snapshot));
    };
    let passage = policy::admit(None, 0, service, mcp, &snapshot.places)?;
    let credential = bound(snapshot)?;
    let client = Client { snapshot, passage: &passage, credential, request_id, deadline };
    let listed = match client.open(None).await {
        Ok(opened) => all(&client, &opened).await,
        Err(trouble) => Err(trouble),
    };
    match &listed {
        Ok(_) => engine.note(&snapshot.service_id, credential, Outcome::Answered),
        Err(trouble) => trouble.note(engine, snapshot, credential),
    }
    listed.map_err(|trouble| trouble.before_the_call(service))
}

/// Says why something was left out; of many reasons the first ones.
pub(super) fn leave_out(left_out: &mut Vec<String>, why: String) {
    const MANY: usize = 50;
    match left_out.len() {
        0..MANY => left_out.push(why),
        MANY => left_out.push("and more".to_owned()),
        _ => {}
    }
}

/// Whoever asks has looked already.
pub(super) fn not_mcp(snapshot: &Snapshot) -> Failure {
    Failure::invalid(format!(
        "\"{name}\" isn't an MCP server: call it at proxy/{name}/<METHOD>. Nothing was sent",
        name = snapshot.service.name
    ))
}

async fn all(client: &Client<'_>, opened: &Opened) -> Result<Listing, Trouble> {
    let mut listing = Listing {
        protocol: opened.revision.as_str().to_owned(),
        server: opened.hello.server.clone(),
        ..Listing::default()
    };
    let mut room = MOST_BYTES;
    let mut left_out = Vec::new();
    if opened.hello.has_more_instructions {
        let why = format!("the instructions after their first {INSTRUCTIONS_BYTES} bytes");
        leave_out(&mut left_out, why);
    }
    let mut list = List { client, opened, room: &mut room, left_out: &mut left_out };
    listing.tools = list.read("tools/list").await?;
    if opened.hello.has_prompts {
        listing.prompts = list.read_if_possible("prompts/list").await?;
    }
    if opened.hello.has_resources {
        listing.resources = list.read_if_possible("resources/list").await?;
        listing.templates = list.read_if_possible("resources/templates/list").await?;
    }
    listing.left_out = left_out;
    Ok(listing)
}

struct List<'l> {
    client: &'l Client<'l>,
    opened: &'l Opened,
    /// Bytes left for definitions.
    room: &'l mut usize,
    left_out: &'l mut Vec<String>,
}

impl List<'_> {
    /// A list without which the others are of use.
    async fn read_if_possible(
        &mut self,
        method: &'static str,
    ) -> Result<Vec<Box<RawValue>>, Trouble> {
        match self.read(method).await {
            Err(Trouble::Failure(failure)) if failure.code != Code::UpstreamProtocol => {
                Err(failure.into())
            }
            Err(Trouble::Egress(error)) if !error.sent() => Err(error.into()),
            Err(_) => {
                leave_out(self.left_out, format!("{method} gave no list"));
                Ok(Vec::new())
            }
            Ok(list) => Ok(list),
        }
    }

    async fn read(&mut self, method: &'static str) -> Result<Vec<Box<RawValue>>, Trouble> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut cursor: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let mut request = Request::new(method).at_most(MOST_PAGE_BYTES);
            if let Some(cursor) = &cursor {
                request = request.with("cursor", cursor);
            }
            let page = match self.client.ask(&request, &self.opened.framing).await?.reply {
                Reply::Result(text) => self.client.cleaned(text).await?,
                Reply::Error(error) => {
                    if code_of(&error) == Some(METHOD_NOT_FOUND) {
                        return Ok(found);
                    }
                    return Err(Trouble::NotMcp("it answers a list with an error"));
                }
            };
            const ODD: Trouble = Trouble::NotMcp("a list isn't what it should be");
            let page: Page<'_> = serde_json::from_str(&page).map_err(|_| ODD)?;
            let mut taken = ControlFlow::Continue(());
            raw::items(page.tools.map_or("[]", RawValue::get), |definition| {
                taken = self.take(method, definition, &mut found);
                taken
            })
            .ok_or(ODD)?;
            if taken.is_break() {
                return Ok(found);
            }
            match page.next_cursor {
                None => return Ok(found),
                Some(next) if next.len() > MOST_CURSOR_BYTES || !seen.insert(next.clone()) => {
                    leave_out(self.left_out, format!("{method} goes round in circles"));
                    return Ok(found);
                }
                Some(next) => cursor = Some(next),
            }
        }
        leave_out(self.left_out, format!("{method} has more than {MOST_PAGES} pages"));
        Ok(found)
    }

    /// Takes a definition, until there is no room for more.
    fn take(
        &mut self,
        method: &str,
        definition: &RawValue,
        found: &mut Vec<Box<RawValue>>,
    ) -> ControlFlow<()> {
        let bytes = definition.get().len();
        if bytes > MOST_DEFINITION_BYTES {
            let why = format!(
                "{method} has a definition of {bytes} bytes, more than {MOST_DEFINITION_BYTES}"
            );
            leave_out(self.left_out, why);
            return ControlFlow::Continue(());
        }
        let full = if found.len() == MOST {
            format!("{method} has more than {MOST} definitions")
        } else if let Some(rest) = self.room.checked_sub(bytes) {
            *self.room = rest;
            found.push(definition.to_owned());
            return ControlFlow::Continue(());
        } else {
            format!("the lists have more than {MOST_BYTES} bytes, at {method}")
        };
        leave_out(self.left_out, full);
        ControlFlow::Break(())
    }
}

/// JSON-RPC 2.0, section 5.1.
const METHOD_NOT_FOUND: i64 = -32601;
