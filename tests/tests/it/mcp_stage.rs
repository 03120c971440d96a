//! What the cases with MCP servers share: a world that may call them, services for them, approvals.

use e2e::api::Api;
use e2e::bridge::Bridge;
use e2e::mcp_upstream::{Revisions, Running, fastmcp};
use e2e::wait;
use e2e::world::World;
use serde_json::{Value, json};

/// The service that speaks the stateless revision, and wants a bearer token.
pub(crate) const DOCS: &str = "docs";
/// The service with sessions, which wants a key in a header of its own.
pub(crate) const OLD: &str = "old";

/// An agent that may use everything.
pub(crate) const AGENT: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/catalog/+" { capabilities = ["read"] }
path "mcp-proxy/call/+/+" { capabilities = ["update"] }
path "mcp-proxy/resources/+" { capabilities = ["update"] }
path "mcp-proxy/prompts/+/+" { capabilities = ["update"] }
"#;

/// A server with the plugin and two FastMCP servers behind it.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) docs: Running,
    pub(crate) old: Running,
    /// What the two demand.
    pub(crate) secrets: [String; 2],
}

impl Stage {
    /// Both services are written, nothing is approved; none where FastMCP isn't installed.
    pub(crate) async fn set() -> Option<Self> {
        let world = world().await;
        let (token, key) = (world.secret(), world.secret());
        let bearer = format!("Bearer {token}");
        let docs = fastmcp(Revisions::All, "Authorization", &bearer);
        let old = fastmcp(Revisions::WithHandshake, "X-Api-Key", &key);
        let (docs, old) = tokio::join!(docs, old);
        let (docs, old) = (docs?, old?);
        let bearer = json!({ "auth": "bearer", "token": token });
        define(&world.root, DOCS, &docs.url(), bearer).await;
        let header = json!({ "auth": "header", "header_name": "X-Api-Key", "token": key });
        define(&world.root, OLD, &old.url(), header).await;
        Some(Self { world, docs, old, secrets: [token, key] })
    }

    /// The same with everything approved.
    pub(crate) async fn approved() -> Option<Self> {
        let stage = Self::set().await?;
        for service in [DOCS, OLD] {
            approve(&stage.world.root, service).await;
        }
        Some(stage)
    }

    pub(crate) fn upstream(&self, service: &str) -> &Running {
        if service == DOCS { &self.docs } else { &self.old }
    }

    /// A bridge of a new agent with this policy.
    pub(crate) async fn agent(&self, name: &str, policy: &str) -> Bridge {
        let role = self.world.app_role(name, policy).await;
        Bridge::start(self.world.server.address(), &role).await
    }
}

/// A server whose mount may reach loopback without TLS.
pub(crate) async fn world() -> World {
    let world = World::start().await;
    // `localhost` has two addresses.
    let config = json!({
        "allow_danger": "danger_allow_plaintext", "upstream_cidrs": "127.0.0.0/8,::1/128",
        "allow_single_label_names": true,
    });
    world.root.write("mcp-proxy/config", config).await.ok();
    world
}

/// Writes the service `name` for the MCP server at `url`.
pub(crate) async fn define(root: &Api, name: &str, url: &str, more: Value) {
    let mut fields = json!({ "type": "mcp", "base_url": url, "danger_allow_plaintext": true });
    fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
}

/// Looks at a server, and approves all that is there.
pub(crate) async fn approve(root: &Api, service: &str) {
    let seen = root.write(&format!("mcp-proxy/tools/{service}/refresh"), json!({})).await.ok();
    let digest = json!({ "digest": seen.data()["digest"] });
    root.write(&format!("mcp-proxy/tools/{service}/approve"), digest).await.ok();
}

/// The names of the servers' tools that the client is shown.
pub(crate) async fn tools(agent: &mut Bridge) -> Vec<String> {
    names(agent).await.into_iter().filter(|name| name.contains("__")).collect()
}

async fn names(agent: &mut Bridge) -> Vec<String> {
    let listed = agent.request("tools/list", json!({})).await;
    let names = listed["tools"].as_array().unwrap().iter();
    names.map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

/// Waits until the client is shown a tool.
pub(crate) async fn shown(agent: &mut Bridge, tool: &str) {
    wait::until(tool, async || {
        // What an answer tells of the catalog's revision is what the bridge goes by.
        agent.call("list_services", json!({})).await;
        names(agent).await.iter().any(|name| name == tool).then_some(())
    })
    .await;
}

/// A tool's whole result.
pub(crate) async fn call(agent: &mut Bridge, tool: &str, arguments: Value) -> Value {
    agent.request("tools/call", json!({ "name": tool, "arguments": arguments })).await
}

/// The text of a result.
pub(crate) fn text(result: &Value) -> &str {
    result["content"][0]["text"].as_str().unwrap_or_default()
}
