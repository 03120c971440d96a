//! Offers the agent's tools: their definitions, and what a call of one answers.

mod arguments;
mod list;
mod request;
mod result;
mod schema;
mod select;

use std::sync::Arc;

use rmcp::model::{CallToolResult, ContentBlock, JsonObject, Tool};

pub(crate) use list::{allowed, overview};
pub(crate) use result::{Shape, render, status_line};
pub(crate) use schema::instructions;

use crate::catalog::{ServiceName, Snapshot, Store};
use crate::error::CallError;
use crate::proxy::{self, ProxyRequest};

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
    pub(crate) fn definitions(snapshot: &Snapshot) -> Vec<Tool> {
        let catalog = snapshot.catalog.as_deref();
        ToolName::ALL.into_iter().map(|name| schema::tool(name, catalog)).collect()
    }

    /// Finds a tool by its name.
    pub(crate) fn find(name: &str) -> Option<ToolName> {
        ToolName::ALL.into_iter().find(|tool| tool.as_str() == name)
    }

    /// Answers a call. Everything that goes wrong is a result that the model can read.
    pub(crate) async fn call(&self, tool: ToolName, arguments: JsonObject) -> CallToolResult {
        let outcome = match tool {
            ToolName::ListServices => self.list(arguments).await,
            ToolName::ProxyRead | ToolName::ProxyRequest => self.proxy(tool, arguments).await,
        };
        outcome.unwrap_or_else(|error| failure(&error))
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
            None => list::overview(&catalog),
            Some(name) => {
                let service = ServiceName::parse(&name)
                    .and_then(|name| catalog.find(name.as_str()))
                    .filter(|service| !service.permitted.is_empty());
                let Some(service) = service else {
                    return Err(proxy::unknown(&self.store, &name, None));
                };
                let details = self.store.details(&service.name).await?;
                list::details(service, details.as_ref())
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
        match ServiceName::parse(&call.service) {
            Some(service) => Ok((call.request(service), call.shape)),
            None => Err(proxy::unknown(&self.store, &call.service, None)),
        }
    }
}

/// The result that tells the model of an error.
pub(crate) fn failure(error: &CallError) -> CallToolResult {
    CallToolResult::error(vec![ContentBlock::text(error.message())])
}
