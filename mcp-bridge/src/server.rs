//! Answers MCP requests of every revision: lists tools, calls them, tells of changes.

mod gate;
mod stdio;
mod stopping;

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CompleteRequestMethod,
    CompleteRequestParams, CompleteResult, DiscoverResult, ErrorData, Implementation,
    ListPromptsRequestMethod, ListPromptsResult, ListResourceTemplatesRequestMethod,
    ListResourceTemplatesResult, ListResourcesRequestMethod, ListResourcesResult, ListToolsResult,
    MetaObject, PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion,
    ServerCapabilities, ServerConfig, SubscriptionFilter, Tool,
};
use rmcp::service::{RequestContext, SubscriptionContext};
use rmcp::{Peer, RoleServer, ServerHandler};

pub(crate) use gate::Gate;
pub(crate) use stdio::stdio;
#[cfg(unix)]
pub(crate) use stdio::{lines, streams};
pub(crate) use stopping::Stopping;

use crate::catalog::{Snapshot, Store};
use crate::error::CallError;
use crate::tools::{Tools, failure, instructions};

/// How long a first `tools/list` may wait for Vault: clients give a first answer a few seconds.
const SETTLE: Duration = Duration::from_millis(1_500);
/// How often a client that asked for progress hears that a call still runs.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// How long clients may keep a fresh list, in milliseconds.
const FRESH_TTL_MS: u64 = 60_000;
/// The key of the server's name in a result's `_meta` (MCP 2026-07-28, basic/index).
const SERVER_INFO: &str = "io.modelcontextprotocol/serverInfo";

/// The MCP server of one process.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    store: Arc<Store>,
    tools: Tools,
    stopping: Stopping,
    /// The definitions that a client got last.
    listed: Arc<Mutex<Vec<Tool>>>,
    /// Whether a client without subscriptions is told of changes already.
    telling: Arc<AtomicBool>,
}

impl Server {
    /// Makes the server; nothing is asked of Vault yet.
    pub(crate) fn new(store: Arc<Store>, structured: bool, stopping: Stopping) -> Self {
        let tools = Tools::new(Arc::clone(&store), structured);
        Self { store, tools, stopping, listed: Arc::default(), telling: Arc::default() }
    }

    /// Tells of every change that the client hasn't seen, until telling fails or it stops.
    async fn tell_changes<F, E>(&self, mut tell: impl FnMut() -> F)
    where
        F: Future<Output = Result<(), E>>,
    {
        let _interest = self.store.interest();
        let mut watcher = self.store.watch();
        let mut known = Tools::definitions(&watcher.borrow_and_update().clone());
        loop {
            tokio::select! {
                changed = watcher.changed() => if changed.is_err() { return },
                () = self.stopping.closed.cancelled() => return,
            }
            let now = Tools::definitions(&watcher.borrow_and_update().clone());
            if now == known {
                continue;
            }
            known = now;
            // Who has listed nothing yet has nothing that is out of date.
            let outdated = {
                let listed = self.listed();
                !listed.is_empty() && known != *listed
            };
            if outdated && tell().await.is_err() {
                return;
            }
        }
    }

    fn listed(&self) -> std::sync::MutexGuard<'_, Vec<Tool>> {
        self.listed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities =
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        let snapshot = self.store.snapshot();
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
        let snapshot = self.store.settled(SETTLE).await;
        let tools = Tools::definitions(&snapshot);
        self.listed().clone_from(&tools);
        // The revisions with a handshake have no subscriptions: whoever lists hears of changes.
        if !is_modern(&context) && !self.telling.swap(true, Ordering::Relaxed) {
            let server = self.clone();
            let peer = context.peer.clone();
            tokio::spawn(async move {
                server.tell_changes(|| peer.notify_tool_list_changed()).await;
            });
        }
        let mut result = ListToolsResult::with_all_items(tools)
            .with_ttl_ms(ttl(&snapshot))
            .with_cache_scope(CacheScope::Private);
        if is_modern(&context) {
            result.meta = Some(server_info());
        } else {
            // Older revisions know no cache hints.
            result.ttl_ms = None;
            result.cache_scope = None;
        }
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let Some(tool) = Tools::find(&request.name) else {
            return Err(ErrorData::invalid_params(format!("Unknown tool: {}", request.name), None));
        };
        let Some(_under_way) = self.stopping.begin_call() else {
            return Ok(failure(&CallError::Stopping).into());
        };
        let call = self.tools.call(tool, request.arguments.unwrap_or_default());
        let mut result = tokio::select! {
            result = call => result,
            // Whoever drops the call drops its connection, which Vault notices.
            () = context.ct.cancelled() => failure(&CallError::Cancelled),
            () = self.stopping.now.cancelled() => failure(&CallError::Cancelled),
            () = heartbeats(&context) => failure(&CallError::Cancelled),
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
        let tools = SubscriptionFilter::builder().tools_list_changed().build();
        Some(requested.intersection(&tools))
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        if context.accepted().tools_list_changed == Some(true) {
            let sink = context.sink();
            tokio::select! {
                () = self.tell_changes(|| sink.notify_tool_list_changed()) => {}
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
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListPromptsRequestMethod>())
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourcesRequestMethod>())
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        Err(ErrorData::method_not_found::<ListResourceTemplatesRequestMethod>())
    }
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
