//! Answers MCP requests of every revision: lists tools, calls them, tells of changes.

mod gate;
mod lists;
mod raw;
mod stdio;
mod stopping;
mod upstream;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestMethod,
    CompleteRequestParams, CompleteResult, DiscoverResult, ErrorData, GetPromptRequestParams,
    GetPromptResponse, GetPromptResult, Implementation, ListPromptsRequestMethod,
    ListPromptsResult, ListResourceTemplatesRequestMethod, ListResourceTemplatesResult,
    ListResourcesRequestMethod, ListResourcesResult, ListToolsResult, MetaObject,
    PaginatedRequestParams, ProgressNotificationParam, PromptsCapability, ProtocolVersion,
    ReadResourceRequestParams, ReadResourceResponse, ReadResourceResult, ResourcesCapability,
    ServerCapabilities, ServerConfig, SubscriptionFilter,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{Peer, RoleServer, ServerHandler};
use serde_json::{Value, json};

pub(crate) use gate::Gate;
pub(crate) use stdio::stdio;
#[cfg(unix)]
pub(crate) use stdio::{lines, streams};
pub(crate) use stopping::Stopping;

use self::lists::{List, Listed, Lists};
use self::raw::{Raw, RawArguments, Slot};
use crate::catalog::{Snapshot, Store};
use crate::error::CallError;
use crate::tools::{Called, Tools, failure, instructions};
use crate::upstream::Resources;

/// How long a first `tools/list` may wait for Vault: clients give a first answer a few seconds.
const SETTLE: Duration = Duration::from_millis(1_500);
/// How often a client that asked for progress hears that a call still runs.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long clients may keep a fresh list, in milliseconds.
const FRESH_TTL_MS: u64 = 60_000;
/// The key of the server's name in a result's `_meta` (MCP 2026-07-28, basic/index).
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The MCP server of one process.
pub(crate) type Server = Raw<Handler>;

/// What answers its requests.
#[derive(Clone, Debug)]
pub(crate) struct Handler {
    store: Arc<Store>,
    tools: Tools,
    stopping: Stopping,
    listed: Listed,
    /// Whether a client without subscriptions is told of changes already.
    telling: Arc<AtomicBool>,
}

impl Server {
    /// Makes the server; nothing is asked of Vault yet.
    pub(crate) fn new(store: Arc<Store>, structured: bool, stopping: Stopping) -> Self {
        let tools = Tools::new(Arc::clone(&store), structured);
        let (listed, telling) = Default::default();
        Self(Handler { store, tools, stopping, listed, telling })
    }
}

impl Handler {
    /// Tells of every change that the client hasn't seen, until telling fails or it stops.
    async fn tell_changes<F, E>(&self, mut tell: impl FnMut(List) -> F)
    where
        F: Future<Output = Result<(), E>>,
    {
        let _interest = self.store.interest();
        let mut watcher = self.store.watch();
        let mut known = Lists::of(&self.tools, &watcher.borrow_and_update().clone());
        loop {
            tokio::select! {
                changed = watcher.changed() => if changed.is_err() { return },
                () = self.stopping.closed.cancelled() => return,
            }
            let now = Lists::of(&self.tools, &watcher.borrow_and_update().clone());
            if self.listed.tell(&known, &now, &mut tell).await.is_err() {
                return;
            }
            known = now;
        }
    }

    /// What is known once a client lists something. The revisions with a handshake have no
    /// subscriptions: whoever lists hears of changes.
    async fn listing(&self, context: &RequestContext<RoleServer>) -> Snapshot {
        let snapshot = self.store.settled(SETTLE).await;
        if !is_modern(context) && !self.telling.swap(true, Ordering::Relaxed) {
            let server = self.clone();
            let peer = context.peer.clone();
            tokio::spawn(async move {
                let tell = |list| {
                    let peer = peer.clone();
                    async move {
                        match list {
                            List::Tools => peer.notify_tool_list_changed().await,
                            List::Prompts => peer.notify_prompt_list_changed().await,
                            List::Resources => peer.notify_resource_list_changed().await,
                        }
                    }
                };
                server.tell_changes(tell).await;
            });
        }
        snapshot
    }

    /// Waits for an answer, and tells a client that asked for it that the call still runs. Whoever
    /// drops the call drops its connection, which Vault notices.
    async fn running<T>(
        &self,
        context: &RequestContext<RoleServer>,
        call: impl Future<Output = T>,
    ) -> Result<T, CallError> {
        let Some(_under_way) = self.stopping.begin_call() else {
            return Err(CallError::Stopping);
        };
        tokio::select! {
            result = call => Ok(result),
            () = context.ct.cancelled() => Err(CallError::Cancelled),
            () = self.stopping.now.cancelled() => Err(CallError::Cancelled),
            () = heartbeats(context) => Err(CallError::Cancelled),
        }
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let mut capabilities =
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        let snapshot = self.store.snapshot();
        if !Tools::prompts(&snapshot).is_empty() {
            let mut prompts = PromptsCapability::default();
            prompts.list_changed = Some(true);
            capabilities.prompts = Some(prompts);
        }
        if !Resources::of(snapshot.catalog.as_deref()).is_empty() {
            let mut resources = ResourcesCapability::default();
            resources.list_changed = Some(true);
            capabilities.resources = Some(resources);
        }
        ServerConfig::new(capabilities)
            .with_server_info(implementation())
            .with_instructions(instructions(snapshot.catalog.as_deref()))
    }

    async fn discover(
        &self,
        _context: RequestContext<RoleServer>,
    ) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        let ttl = ttl(&self.store.snapshot());
        Ok(DiscoverResult::from_server_info(versions, self.get_info())
            .with_ttl_ms(ttl)
            .with_cache_scope(CacheScope::Private))
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let snapshot = self.listing(&context).await;
        let tools = self.tools.definitions(&snapshot);
        self.listed.tools(&tools);
        list(&context, &snapshot, "tools", tools);
        Ok(ListToolsResult::default())
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let found = match self.tools.find(&request.name) {
            // It may stand in a catalog that is just being read.
            None if !self.store.snapshot().fresh => {
                self.store.settled(SETTLE).await;
                self.tools.find(&request.name)
            }
            found => found,
        };
        let Some(tool) = found else {
            return Err(ErrorData::invalid_params(format!("Unknown tool: {}", request.name), None));
        };
        let raw = context.extensions.get::<RawArguments>().map(|raw| Arc::clone(&raw.0));
        let arguments = request.arguments.unwrap_or_default();
        let revision = revision(&context);
        let call = self.tools.call(tool, arguments, raw.as_deref(), &revision);
        let called = self.running(&context, call).await;
        let mut result = match called.unwrap_or_else(|error| Called::Own(failure(&error))) {
            Called::Own(result) => result,
            Called::Raw(text) => {
                Slot::answer(&context, text);
                CallToolResult::success(Vec::new())
            }
            Called::Error(error) => return Err(error),
        };
        if is_modern(&context) {
            result.meta = Some(server_info());
        }
        Ok(result.into())
    }

    fn accepted_subscription_filter(
        &self,
        requested: &SubscriptionFilter,
    ) -> Option<SubscriptionFilter> {
        // rmcp leaves out what isn't declared.
        let lists = SubscriptionFilter::builder()
            .tools_list_changed()
            .prompts_list_changed()
            .resources_list_changed();
        Some(requested.intersection(&lists.build()))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let accepted = context.accepted();
        let wanted = [
            (List::Tools, accepted.tools_list_changed),
            (List::Prompts, accepted.prompts_list_changed),
            (List::Resources, accepted.resources_list_changed),
        ];
        let wants = |list: List| wanted.contains(&(list, Some(true)));
        if [List::Tools, List::Prompts, List::Resources].into_iter().any(wants) {
            let tell = |list| {
                let sink = context.sink();
                async move {
                    match list {
                        list if !wants(list) => Ok(()),
                        List::Tools => sink.notify_tool_list_changed().await,
                        List::Prompts => sink.notify_prompt_list_changed().await,
                        List::Resources => sink.notify_resource_list_changed().await,
                    }
                }
            };
            tokio::select! {
                () = self.tell_changes(tell) => {}
                () = context.cancelled() => {}
            }
        } else {
            tokio::select! {
                () = self.stopping.closed.cancelled() => {}
                () = context.cancelled() => {}
            }
        }
        Ok(())
    }

    // What isn't declared isn't answered: by default rmcp answers these with empty lists.

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        Err(ErrorData::method_not_found::<CompleteRequestMethod>())
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let snapshot = self.listing(&context).await;
        let prompts = Tools::prompts(&snapshot);
        if prompts.is_empty() && self.get_info().capabilities.prompts.is_none() {
            return Err(ErrorData::method_not_found::<ListPromptsRequestMethod>());
        }
        self.listed.prompts(&prompts);
        list(&context, &snapshot, "prompts", prompts);
        Ok(ListPromptsResult::default())
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let text = self.running(&context, self.prompt(request, revision(&context))).await;
        Slot::answer(&context, text.map_err(|error| upstream::error(&error))??);
        Ok(GetPromptResult::default().into())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let snapshot = self.listing(&context).await;
        let resources = Resources::of(snapshot.catalog.as_deref());
        if resources.is_empty() {
            return Err(ErrorData::method_not_found::<ListResourcesRequestMethod>());
        }
        self.listed.resources(&resources.listed);
        list(&context, &snapshot, "resources", resources.listed);
        Ok(ListResourcesResult::default())
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let snapshot = self.listing(&context).await;
        let resources = Resources::of(snapshot.catalog.as_deref());
        if resources.is_empty() {
            return Err(ErrorData::method_not_found::<ListResourceTemplatesRequestMethod>());
        }
        self.listed.templates(&resources.templates);
        list(&context, &snapshot, "resourceTemplates", resources.templates);
        Ok(ListResourceTemplatesResult::default())
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let text = self.running(&context, self.resource(request, revision(&context))).await;
        Slot::answer(&context, text.map_err(|error| upstream::error(&error))??);
        Ok(ReadResourceResult::new(Vec::new()).into())
    }
}

/// Answers a request with a list, whole: no list has pages.
fn list(context: &RequestContext<RoleServer>, snapshot: &Snapshot, field: &str, items: Vec<Value>) {
    let mut result = json!({ field: items });
    // Older revisions know no cache hints, nor a result's type.
    if is_modern(context)
        && let Value::Object(result) = &mut result
        && let Value::Object(hints) = json!({
            "resultType": "complete", "ttlMs": ttl(snapshot), "cacheScope": "private",
            "_meta": server_info(),
        })
    {
        result.extend(hints);
    }
    Slot::answer_json(context, result);
}

/// Tells a client that asked for it that the call still runs. Never returns.
async fn heartbeats(context: &RequestContext<RoleServer>) {
    let Some(token) = context.meta.get_progress_token() else {
        return std::future::pending().await;
    };
    let peer: &Peer<RoleServer> = &context.peer;
    let mut beats = 0_u32;
    loop {
        tokio::time::sleep(HEARTBEAT).await;
        beats += 1;
        let progress = ProgressNotificationParam::new(token.clone(), f64::from(beats));
        if peer.notify_progress(progress).await.is_err() {
            tracing::debug!("the client doesn't take progress");
        }
    }
}

fn ttl(snapshot: &Snapshot) -> u64 {
    if snapshot.fresh { FRESH_TTL_MS } else { 0 }
}

/// The revision that a client speaks.
fn revision(context: &RequestContext<RoleServer>) -> ProtocolVersion {
    context.protocol_version().unwrap_or(ProtocolVersion::LATEST_WITH_INITIALIZE)
}

fn is_modern(context: &RequestContext<RoleServer>) -> bool {
    context.protocol_version().is_some_and(|version| version >= ProtocolVersion::V_2026_07_28)
}

fn server_info() -> MetaObject {
    let mut meta = MetaObject::new();
    if let Ok(value) = serde_json::to_value(implementation()) {
        meta.insert(SERVER_INFO.to_owned(), value);
    }
    meta
}

fn implementation() -> Implementation {
    Implementation::new(env!("CARGO_PKG_NAME"), env!("CARGO_PKG_VERSION"))
}
