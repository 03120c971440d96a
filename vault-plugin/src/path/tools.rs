//! `tools/`: what MCP servers offer, looked at and approved by operators. Nothing here calls a tool.

mod changes;
mod declared;
mod diff;
mod readable;
mod shown;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_sdk::{Call, Effect, Fields, Given, Operation, Path, Response, Spec};

use self::declared as fields;
pub(super) use self::declared::unreadable;
pub(super) use self::shown::{counted, denied};
use super::{UNKNOWN_SERVICE, handler, page};
use crate::engine::{Engine, Selection, Tools, aside, author, is_mcp, trust};
use crate::error::{Error, Failure};
use crate::mcp::definition::Kind;
use crate::mcp::flags::MEANINGS;
use crate::name::Name;
use crate::proxy::service::ToolTrust;
use crate::storage::{ServiceEntry, rfc3339};

const DESCRIPTION: &str = "\
Agents see and call a tool only as an operator approved it. An approval is of the whole definition as
the server gave it: name, texts, schemas, annotations, to the last character. What changes afterwards
is withheld until it is approved again; a tool under another name is another tool; no call and no read
of the catalog approves anything. The server is looked at by refresh, and in the background while it is
used (about every 10 minutes).

    vault write -f mcp-proxy/tools/linear/refresh
    vault read -field=text mcp-proxy/tools/linear/diff
    vault write mcp-proxy/tools/linear/approve digest=…

States: approved; changed and new wait for an approval; withheld-collision waits for a path segment of
its own; refused can't be offered, and says why; gone is approved and no longer listed; allowed is
what trust=allow lets through.";

const FLAGS: &str = "\
Flags are hints for who reads, no verdict: an honest definition may have one, a cunning one none.
They are: ";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("tools", "Lists the MCP servers.").description(DESCRIPTION).operation(
            Operation::List,
            Effect::Pure,
            Spec::new("Lists names, with counts of tools.")
                .query([super::fields::AFTER, super::fields::LIMIT])
                .list(fields::counts_of_service()),
            handler(servers),
        ),
        Path::new("tools/:service", "What one MCP server offers, and what of it is approved.")
            .description(DESCRIPTION)
            .fields([fields::SERVICE])
            .operation(
                Operation::Read,
                Effect::Pure,
                Spec::new("Tells the state of everything that was seen or is approved.")
                    .data("The states.", fields::states())
                    .refuses(404, UNKNOWN_SERVICE),
                handler(read),
            )
            .operation(
                Operation::List,
                Effect::Pure,
                Spec::new("Lists the names of its tools, with their states.")
                    .query([super::fields::AFTER, super::fields::LIMIT])
                    .list(fields::state_of_name())
                    .refuses(404, UNKNOWN_SERVICE),
                handler(list),
            ),
        action(
            "tools/:service/refresh",
            "Looks at the server now.",
            Spec::new("Lists the server, and stores what was seen. Approves nothing.")
                .data("What was seen.", fields::looked())
                .refuses(404, UNKNOWN_SERVICE)
                .refuses(424, "The server can't be listed; what was seen before stays."),
        )
        .operation_of(handler(refresh)),
        Path::new("tools/:service/diff", "What an approval would change, for people to read.")
            .description(flags_explained())
            .fields([fields::SERVICE])
            .operation(
                Operation::Read,
                Effect::Pure,
                Spec::new("Compares what was last stored as seen with what is approved.")
                    .data("The differences.", fields::differences())
                    .refuses(404, UNKNOWN_SERVICE),
                handler(diff::read),
            ),
        action(
            "tools/:service/approve",
            "Approves what was last stored as seen.",
            Spec::new("Approves everything, or what is named.")
                .data("What was approved.", fields::approved())
                .refuses(404, UNKNOWN_SERVICE)
                .refuses(424, "Nothing was seen yet, and the server can't be listed.")
                .example(json!({ "names": ["create_issue"], "digest": "…" })),
        )
        .fields(fields::selection())
        .fields([fields::DIGEST])
        .operation_of(handler(approve)),
        action(
            "tools/:service/revoke",
            "Takes approvals back.",
            Spec::new("Takes back every approval, or those that are named.")
                .data("What was taken back.", fields::revoked())
                .refuses(404, UNKNOWN_SERVICE)
                .example(json!({ "names": ["create_issue"] })),
        )
        .fields(fields::selection())
        .operation_of(handler(revoke)),
        Path::new("tools/:service/tool/:name", "One tool: its definition, and its path segment.")
            .description(
                "The name is the tool's own, or its digest (for a name that no path can hold), or a \
                 segment that it alone has. By its digest, anything else that was seen or is approved \
                 is read as well: a prompt, a resource, a template, the instructions. A segment is what \
                 the tool goes by in call/ and in policies; an operator names one where two tools have \
                 the same, or a name gives none.",
            )
            .fields([fields::SERVICE, fields::TOOL, fields::SEGMENT])
            .operation(
                Operation::Read,
                Effect::Pure,
                Spec::new("Reads the definition as the server gave it, and as agents see it.")
                    .data("The tool, or whatever has the digest.", fields::tool())
                    .refuses(404, "There is no such service or tool."),
                handler(diff::tool),
            )
            .operation(
                Operation::Update,
                Effect::MayWrite,
                Spec::new("Names its path segment; an empty one goes back to the derived one.")
                    .data("Named.", fields::named())
                    .refuses(404, "There is no such service or tool.")
                    .example(json!({ "segment": "create_issue_v2" })),
                handler(name_segment),
            ),
    ]
}

/// A path with one writing operation, whose handler is still to come.
struct Action(Path<Engine>, Spec);

fn action(pattern: &'static str, synopsis: &'static str, spec: Spec) -> Action {
    Action(Path::new(pattern, synopsis).description(DESCRIPTION).fields([fields::SERVICE]), spec)
}

impl Action {
    fn fields(self, fields: impl IntoIterator<Item = vault_sdk::Field>) -> Self {
        Self(self.0.fields(fields), self.1)
    }

    fn operation_of<F, Fut>(self, handle: F) -> Path<Engine>
    where
        F: Fn(Arc<Engine>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, vault_sdk::Error>> + Send + 'static,
    {
        self.0.operation(Operation::Update, Effect::MayWrite, self.1, handle)
    }
}

fn flags_explained() -> &'static str {
    static TEXT: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    TEXT.get_or_init(|| format!("{DESCRIPTION}\n\n{FLAGS}{MEANINGS}."))
}

fn service(call: &Call) -> Result<Name, Failure> {
    Name::parse(call.fields.text("service")).map_err(|error| Failure::invalid(error.to_string()))
}

fn data(value: Value) -> Result<Response, Error> {
    Response::data(value).map_err(|error| Error::Internal(error.to_string()))
}

/// The same for what may be large.
fn object(data: Map<String, Value>) -> Result<Response, Error> {
    Response::object(data).map_err(|error| Error::Internal(error.to_string()))
}

async fn servers(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let storage = call.storage.as_ref();
    let catalog = engine.catalog(storage).await?;
    let servers: Vec<_> = catalog.iter().filter(|(_, entry)| is_mcp(entry)).collect();
    let names = servers.iter().map(|(name, _)| name.clone()).collect();
    let names = page(names, &mut call.fields);
    let mut detail = Map::new();
    for (name, entry) in servers {
        if names.contains(name) {
            let counted = counted(engine.count_tools(storage, entry).await?);
            detail.insert(name.clone(), Value::Object(counted));
        }
    }
    Ok(Response::list(names, detail))
}

/// The service with what is known of it.
async fn known(engine: &Engine, call: &Call) -> Result<(Name, ServiceEntry, Arc<Tools>), Error> {
    let name = service(call)?;
    let entry = engine.mcp_service(call.storage.as_ref(), &name).await?;
    let tools = engine.tools(call.storage.as_ref(), &entry.id, trust(&entry)).await?;
    Ok((name, entry, tools))
}

async fn read(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let (name, entry, tools) = known(&engine, &call).await?;
    let stored = engine.stored_tools(call.storage.as_ref(), &entry.id).await?;
    let stale = engine.stale(&entry.id);
    let shown = aside(move || {
        let mut shown = shown::overview(&name, &entry, &tools, stale);
        shown::states(&mut shown, &entry, &tools, &stored);
        shown
    });
    object(shown.await?)
}

async fn list(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let (_, _, tools) = known(&engine, &call).await?;
    let names = tools.offer.of_kind(Kind::Tool).map(|item| item.key.clone()).collect();
    let names = page(names, &mut call.fields);
    let mut detail = Map::new();
    for item in tools.offer.of_kind(Kind::Tool).filter(|item| names.contains(&item.key)) {
        detail.insert(
            item.key.clone(),
            json!({ "state": item.state.as_str(), "segment": item.segment }),
        );
    }
    Ok(Response::list(names, detail))
}

async fn refresh(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let name = service(&call)?;
    let changed = engine.look(call.storage.as_ref(), &name, &call.id).await?;
    let (name, entry, tools) = known(&engine, &call).await?;
    let mut shown = shown::overview(&name, &entry, &tools, engine.stale(&entry.id));
    shown.insert("changed".into(), changed.into());
    let response = data(Value::Object(shown))?;
    let waiting = tools.offer.waiting();
    Ok(match trust(&entry) {
        ToolTrust::Pin if waiting > 0 => response.warn(format!(
            "{waiting} tools wait for approval. What they say: vault read -field=text \
             {}tools/{name}/diff",
            call.mount_point
        )),
        ToolTrust::Pin | ToolTrust::Allow => response,
    })
}

fn selection(fields: &mut Fields) -> Result<Selection, Failure> {
    let mut selection = Selection::default();
    for (field, kind) in fields::SELECTED {
        match fields.list(field) {
            None => {}
            Some(Given::Set(names)) if !names.is_empty() => selection.add(kind, names),
            // Not "all", which is what leaving it out means.
            Some(Given::Set(_) | Given::Reset) => {
                return Err(Failure::invalid(format!(
                    "{field} is empty. Name some, or leave it out. Nothing was changed"
                )));
            }
        }
    }
    Ok(selection)
}

async fn approve(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let name = service(&call)?;
    let selection = selection(&mut call.fields)?;
    let digest = call.fields.str("digest").and_then(Given::value);
    let storage = call.storage.as_ref();
    let entry = engine.mcp_service(storage, &name).await?;
    // With a digest, something was read that isn't there.
    if digest.is_none() && engine.tools(storage, &entry.id, trust(&entry)).await?.seen.is_none() {
        engine.look(storage, &name, &call.id).await?;
    }
    let author = author(&call.caller);
    let approval = engine.approve(storage, &name, &selection, digest.as_deref(), &author).await?;
    let mut response = data(json!({
        "approved": approval.approved,
        "tools": shown::counts(&approval.tools),
        "waiting": approval.tools.offer.waiting(),
        "digest": approval.tools.seen.as_ref().map(|seen| seen.digest.as_str()),
    }))?;
    if !approval.flagged.is_empty() {
        response = response.warn(format!(
            "{} of what was approved has flags: {}. Read them: vault read \
             {}tools/{name}",
            approval.flagged.len(),
            shown::few(approval.flagged.iter().map(String::as_str)),
            call.mount_point
        ));
    }
    for (refused, problem) in approval.refused.iter().take(shown::FEW) {
        response = response.warn(format!("{refused:?} can't be offered: {problem}"));
    }
    let collisions: Vec<&str> = shown::collisions(&approval.tools).collect();
    if !collisions.is_empty() {
        response = response.warn(format!(
            "{} tools are approved and withheld until each has a path segment of its own: {}. Name \
             one: vault write {}tools/{name}/tool/<name> segment=…",
            collisions.len(),
            shown::few(collisions.into_iter()),
            call.mount_point
        ));
    }
    Ok(response)
}

async fn revoke(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let name = service(&call)?;
    let selection = selection(&mut call.fields)?;
    let (revoked, tools) = engine.revoke(call.storage.as_ref(), &name, &selection).await?;
    data(json!({
        "revoked": revoked,
        "tools": shown::counts(&tools),
        "waiting": tools.offer.waiting(),
    }))
}

async fn name_segment(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let name = service(&call)?;
    let Some(segment) = call.fields.str("segment") else {
        return Err(Failure::invalid("segment is missing: what the tool is to go by").into());
    };
    let tool = call.fields.text("name").to_owned();
    let storage = call.storage.as_ref();
    let tools = engine.name_segment(storage, &name, &tool, segment.value()).await?;
    let item = tools.find(&name, &tool)?;
    data(json!({
        "name": item.key,
        "segment": item.segment,
        "state": item.state.as_str(),
    }))
}

fn time(seconds: u64) -> Value {
    rfc3339(seconds).into()
}
