//! Offers the agent's tools: their definitions, and what a call of one answers.

mod arguments;
mod list;
mod request;
mod result;
mod schema;
mod select;
mod upstream;

use std::sync::Arc;

use rmcp::model::{
    CallToolResult, ContentBlock, ErrorCode, ErrorData, JsonObject, ProtocolVersion,
};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

pub(crate) use list::{allowed, overview};
pub(crate) use result::{Shape, render, status_line};
pub(crate) use schema::instructions;

use crate::catalog::{Kind, ServiceName, Snapshot, Store, Use};
use crate::error::{CallError, nearest};
use crate::proxy::{self, ProxyRequest};
use crate::refusal::{Asked, unknown};
use crate::upstream::{self as mcp, Given, Outcome, RpcError, tool_result};

use self::arguments::Arguments;

/// The names of the bridge's own tools.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ToolName {
    /// Which services there are.
    ListServices,
    /// Reads from one.
    ProxyRead,
    /// Sends any request to one.
    ProxyRequest,
}

impl ToolName {
    /// All tools, in the order in which they are listed.
    pub(crate) const ALL: [Self; 3] = [Self::ListServices, Self::ProxyRead, Self::ProxyRequest];

    /// The tool's name on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::ListServices => "list_services",
            Self::ProxyRead => "proxy_read",
            Self::ProxyRequest => "proxy_request",
        }
    }
}

/// A tool that a client asked for by its name.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Found {
    /// One of the bridge's own.
    Own(ToolName),
    /// The search for tools of MCP servers.
    Search,
    /// The call of one that was searched for.
    Searched,
    /// One of an MCP server's, by its service and segment.
    Of(ServiceName, Use),
}

/// What a call of a tool gives the client.
#[derive(Debug)]
pub(crate) enum Called {
    /// The bridge's own result.
    Own(CallToolResult),
    /// A server's result, as JSON text that fits the client's revision.
    Raw(String),
    /// A server's error.
    Error(ErrorData),
}

/// Whether a tool hands its arguments on as they were written: all but those of the bridge's own.
pub(crate) fn hands_on_arguments(name: &str) -> bool {
    name != upstream::FIND && ToolName::ALL.iter().all(|own| own.as_str() != name)
}

/// The agent's tools over one store.
#[derive(Clone, Debug)]
pub(crate) struct Tools {
    store: Arc<Store>,
    structured: bool,
}

impl Tools {
    /// Makes the tools; with `structured`, results carry `structuredContent` as well.
    pub(crate) fn new(store: Arc<Store>, structured: bool) -> Self {
        Self { store, structured }
    }

    /// The definitions that belong to what is known.
    pub(crate) fn definitions(&self, snapshot: &Snapshot) -> Vec<Value> {
        let catalog = snapshot.catalog.as_deref();
        let own = ToolName::ALL.into_iter().map(|name| schema::tool(name, catalog));
        let own = own.filter_map(|tool| serde_json::to_value(tool).ok());
        own.chain(upstream::definitions(catalog, self.store.tool_limits())).collect()
    }

    /// The definitions of the prompts of MCP servers.
    pub(crate) fn prompts(snapshot: &Snapshot) -> Vec<Value> {
        let prompts = upstream::prompts(snapshot.catalog.as_deref());
        prompts.into_iter().map(|(_, entry)| Value::Object(entry.definition.clone())).collect()
    }

    /// Finds a tool by its name.
    pub(crate) fn find(&self, name: &str) -> Option<Found> {
        match name {
            upstream::FIND => return Some(Found::Search),
            upstream::CALL => return Some(Found::Searched),
            _ => {}
        }
        if let Some(own) = ToolName::ALL.into_iter().find(|tool| tool.as_str() == name) {
            return Some(Found::Own(own));
        }
        let snapshot = self.store.snapshot();
        let tools = upstream::tools(snapshot.catalog.as_deref());
        let (service, entry) = tools.into_iter().find(|(_, entry)| entry.name == name)?;
        Some(Found::Of(service.clone(), Use::Tool(entry.segment.clone())))
    }

    /// Finds a prompt by its name.
    pub(crate) fn find_prompt(&self, name: &str) -> Option<(ServiceName, Use)> {
        let snapshot = self.store.snapshot();
        let prompts = upstream::prompts(snapshot.catalog.as_deref());
        let (service, entry) = prompts.into_iter().find(|(_, entry)| entry.name == name)?;
        Some((service.clone(), Use::Prompt(entry.segment.clone())))
    }

    /// Answers a call. Everything that goes wrong is a result that the model can read, but for what
    /// a server answers in JSON-RPC's way. `raw` is the text of the arguments, if there are any.
    pub(crate) async fn call(
        &self,
        tool: Found,
        arguments: JsonObject,
        raw: Option<&str>,
        revision: &ProtocolVersion,
    ) -> Called {
        let outcome = match tool {
            Found::Own(ToolName::ListServices) => self.list(arguments).await.map(Called::Own),
            Found::Own(tool @ (ToolName::ProxyRead | ToolName::ProxyRequest)) => {
                self.proxy(tool, arguments).await.map(Called::Own)
            }
            Found::Search => {
                let snapshot = self.store.snapshot();
                let found = upstream::find(snapshot.catalog.as_deref(), arguments);
                found.map(|text| {
                    Called::Own(CallToolResult::success(vec![ContentBlock::text(text)]))
                })
            }
            Found::Searched => match self.searched(arguments, raw) {
                Ok(call) => self.upstream(&call, revision).await,
                Err(error) => Err(error),
            },
            Found::Of(service, one) => {
                let text = raw.map_or_else(|| Value::Object(arguments).to_string(), str::to_owned);
                let call = mcp::Call { service, one, given: Given::Arguments(text) };
                self.upstream(&call, revision).await
            }
        };
        outcome.unwrap_or_else(|error| Called::Own(failure(&error)))
    }

    /// Reads the arguments of `call_tool`. Those of the tool itself stay as they were written.
    fn searched(&self, arguments: JsonObject, raw: Option<&str>) -> Result<mcp::Call, CallError> {
        #[derive(Deserialize)]
        struct Nested {
            arguments: Box<RawValue>,
        }
        let nested = raw.and_then(|raw| serde_json::from_str::<Nested>(raw).ok());
        let arguments = Arguments::new(arguments, &["name", "arguments"])?;
        let Some(name) = arguments.text("name")? else {
            return Err(CallError::Invalid(format!(
                "name is missing. Use a tool's name from {}.",
                upstream::FIND
            )));
        };
        let Some(Found::Of(service, one)) = self.find(&name) else {
            let snapshot = self.store.snapshot();
            let tools = upstream::tools(snapshot.catalog.as_deref());
            let near = nearest(&name, tools.iter().map(|(_, entry)| entry.name.as_str()));
            let near = near.map(|near| format!(" Did you mean {near:?}?")).unwrap_or_default();
            return Err(CallError::Invalid(format!(
                "there is no tool named {name:?}.{near} Search with {}.",
                upstream::FIND
            )));
        };
        let text = match arguments.get("arguments") {
            None => "{}".to_owned(),
            Some(Value::String(text)) if text.trim().is_empty() => "{}".to_owned(),
            // What can only mean an object is one.
            Some(Value::String(text)) => text.trim().to_owned(),
            Some(value) => {
                nested.map_or_else(|| value.to_string(), |n| n.arguments.get().to_owned())
            }
        };
        if !text.starts_with('{') {
            return Err(CallError::Invalid(
                "arguments must be an object, as the tool's inputSchema says.".to_owned(),
            ));
        }
        Ok(mcp::Call { service, one, given: Given::Arguments(text) })
    }

    async fn upstream(
        &self,
        call: &mcp::Call,
        revision: &ProtocolVersion,
    ) -> Result<Called, CallError> {
        let answer = mcp::send(&self.store, call, revision.as_str()).await?;
        match answer.outcome {
            Outcome::Result(text) => {
                let note = (answer.redacted > 0).then_some(result::REDACTED);
                let text = tool_result(&text, revision, note);
                text.map(Called::Raw).ok_or_else(|| unreadable(&self.store, call))
            }
            Outcome::Error(error) => Ok(match passed_on(&error) {
                Some(error) => Called::Error(error),
                None => {
                    let text = refusal(&call.service, &error);
                    Called::Own(CallToolResult::error(vec![ContentBlock::text(text)]))
                }
            }),
        }
    }

    /// Reads the arguments of `proxy_request`, for callers that aren't agents.
    ///
    /// # Errors
    ///
    /// [`CallError::Invalid`] or [`CallError::UnknownService`].
    pub(crate) fn request(&self, arguments: JsonObject) -> Result<ProxyRequest, CallError> {
        self.parse(ToolName::ProxyRequest, arguments).map(|(request, _)| request)
    }

    async fn list(&self, arguments: JsonObject) -> Result<CallToolResult, CallError> {
        let arguments = Arguments::new(arguments, &["service"])?;
        self.store.doubt_refused().await;
        let catalog = self.store.refresh().await?;
        let text = match arguments.text("service")? {
            None => list::overview(&catalog, self.store.tool_limits()),
            Some(name) => {
                let service =
                    ServiceName::parse(&name).and_then(|name| catalog.find(name.as_str())).filter(
                        |service| catalog.visible().any(|visible| visible.name == service.name),
                    );
                let Some(service) = service else {
                    return Err(unknown(&self.store, &name, None));
                };
                let details = self.store.details(&service.name).await?;
                let whole = upstream::is_whole(&catalog, self.store.tool_limits());
                list::details(service, details.as_ref(), whole)
            }
        };
        Ok(CallToolResult::success(vec![ContentBlock::text(text)]))
    }

    async fn proxy(
        &self,
        tool: ToolName,
        arguments: JsonObject,
    ) -> Result<CallToolResult, CallError> {
        let (request, shape) = self.parse(tool, arguments)?;
        let answer = proxy::send(&self.store, &request).await?;
        Ok(render(&request, &answer, &shape, self.structured))
    }

    fn parse(
        &self,
        tool: ToolName,
        arguments: JsonObject,
    ) -> Result<(ProxyRequest, Shape), CallError> {
        let catalog = self.store.snapshot().catalog;
        let call = request::parse(tool, arguments, catalog.as_deref())?;
        let service = ServiceName::parse(&call.service);
        let known = service.as_ref().and_then(|name| catalog.as_ref()?.find(name.as_str()));
        if known.is_some_and(|service| service.kind == Kind::Mcp) {
            let name = &call.service;
            return Err(CallError::Invalid(format!(
                "{name:?} is an MCP server: it takes no paths. Use its tools, named {name}__…"
            )));
        }
        match service {
            Some(service) => Ok((call.request(service), call.shape)),
            None => Err(unknown(&self.store, &call.service, None)),
        }
    }
}

/// A server's error as JSON-RPC's own, unless its code would tell the client something of the bridge:
/// of its protocol, its revision or its capabilities (JSON-RPC 2.0, section 5.1; MCP 2026-07-28,
/// "Error codes"), or is an HTTP status.
pub(crate) fn passed_on(error: &RpcError) -> Option<ErrorData> {
    let code = i32::try_from(error.code).ok()?;
    let ours = matches!(code, -32_700 | -32_600 | -32_601 | -32_099..=-32_020 | 100..=599);
    (!ours).then(|| ErrorData::new(ErrorCode(code), error.message.clone(), error.data.clone()))
}

/// The same in words.
pub(crate) fn refusal(service: &ServiceName, error: &RpcError) -> String {
    let message = error.message.trim().trim_end_matches('.');
    let code = match error.code {
        100..=599 => String::new(),
        code => format!(" (its error {code})"),
    };
    let mut text = format!("\"{service}\" refused the call{code}: {message}.");
    if let Some(data) = error.data.as_ref().filter(|data| !data.is_null()) {
        let data = data.to_string();
        let cut = data.char_indices().nth(MAX_DATA).map_or(data.len(), |(at, _)| at);
        text.push(' ');
        text.push_str(data.get(..cut).unwrap_or_default());
    }
    text
}

/// The error of an answer whose result is none.
pub(crate) fn unreadable(store: &Store, call: &mcp::Call) -> CallError {
    Asked { store, service: &call.service, one: &call.one }.unreadable()
}

/// How much of the data of a server's error is shown, in characters.
const MAX_DATA: usize = 1_000;

/// The result that tells the model of an error.
pub(crate) fn failure(error: &CallError) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(error.message())])
}
