//! A plain Vault policy tells reading from changing, calling from defining.

use e2e::world::World;
use serde_json::json;

#[tokio::test]
async fn the_method_in_the_path_is_what_a_policy_grants() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let agent =
        world.client(r#"path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }"#).await;
    let call = json!({ "path": "/a" });
    assert_eq!(agent.write("mcp-proxy/proxy/demo/GET", call.clone()).await.status, 200);
    for path in ["demo", "demo/POST", "demo/DELETE", "demo/get", "other/GET"] {
        let answer = agent.write(&format!("mcp-proxy/proxy/{path}"), call.clone()).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text);
    }
    for path in ["services/demo", "credentials/demo", "config", "catalog", "services?list=true"] {
        let answer = agent.read(&format!("mcp-proxy/{path}")).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text);
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_method_in_the_body_must_equal_the_paths() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let rules = r#"path "mcp-proxy/proxy/demo" { capabilities = ["update"] }
                   path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }
                   path "mcp-proxy/proxy/demo/DELETE" { capabilities = ["deny"] }"#;
    let agent = world.client(rules).await;
    for (path, method) in [("demo", "DELETE"), ("demo/GET", "DELETE"), ("demo", "POST")] {
        let call = json!({ "path": "/a", "method": method });
        agent.write(&format!("mcp-proxy/proxy/{path}"), call).await.refused(400, "invalid_request");
    }
    assert_eq!(upstream.connections(), 0);
    let call = json!({ "path": "/a", "method": "GET" });
    agent.write("mcp-proxy/proxy/demo", call).await.ok();
    assert_eq!(upstream.only().method, "GET");
}

#[tokio::test]
async fn create_and_update_are_two_capabilities_and_config_wants_sudo() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let rules = r#"path "mcp-proxy/services/*" { capabilities = ["create"] }
                   path "mcp-proxy/config" { capabilities = ["create", "read", "update"] }"#;
    let creator = world.client(rules).await;
    let new = json!({ "base_url": upstream.url(), "ca_cert": upstream.ca(), "auth": "none" });
    creator.write("mcp-proxy/services/new", new).await.ok();
    for name in ["new", "demo"] {
        let change = json!({ "description": "x" });
        let answer = creator.write(&format!("mcp-proxy/services/{name}"), change).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text);
    }
    let config = json!({ "paused": true });
    assert_eq!(creator.write("mcp-proxy/config", config.clone()).await.status, 403);
    let operator =
        world.client(r#"path "mcp-proxy/config" { capabilities = ["update", "sudo"] }"#).await;
    operator.write("mcp-proxy/config", config).await.ok();
}

#[tokio::test]
async fn a_path_that_calls_reads_nothing_and_unknown_paths_are_not_there() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    for (method, path) in [
        ("GET", "proxy/demo"),
        ("GET", "proxy/demo/GET"),
        ("DELETE", "proxy/demo/GET"),
        ("LIST", "proxy/demo"),
        ("DELETE", "info"),
        ("GET", "nothing/here"),
        ("POST", "proxy/demo/GET/more"),
        ("SCAN", "services"),
    ] {
        let body = (method == "POST").then(|| json!({ "path": "/a" }));
        let path = format!("mcp-proxy/{path}");
        let answer = world.root.send(method, &path, body.as_ref()).await.unwrap();
        assert!(matches!(answer.status, 404 | 405), "{method} {path}: {}", answer.text);
    }
    assert_eq!(upstream.connections(), 0);
}

#[tokio::test]
async fn the_shipped_policies_do_what_they_say() {
    let world = World::start().await;
    let (upstream, _) = world.service("github").await;
    let shipped = |name: &str| {
        let path = e2e::programs::root().join("hcl").join(name);
        std::fs::read_to_string(path).unwrap()
    };
    let agent = world.client(&shipped("agent.hcl")).await;
    let writer = world.client(&shipped("secret-writer.hcl")).await;
    let operator = world.client(&shipped("operator.hcl")).await;
    let call = json!({ "path": "/a" });

    agent.write("mcp-proxy/proxy/github/GET", call.clone()).await.ok();
    agent.read("mcp-proxy/catalog").await.ok();
    agent.read("mcp-proxy/catalog/github").await.ok();
    assert_eq!(agent.write("mcp-proxy/proxy/github/DELETE", call.clone()).await.status, 403);
    assert_eq!(agent.read("mcp-proxy/services/github").await.status, 403);

    operator.write("mcp-proxy/services/github", json!({ "description": "Code" })).await.ok();
    operator.read("mcp-proxy/config").await.ok();
    let token = json!({ "token": world.secret() });
    assert_eq!(operator.write("mcp-proxy/credentials/github", token.clone()).await.status, 403);
    assert_eq!(operator.write("mcp-proxy/proxy/github/GET", call.clone()).await.status, 403);

    writer.read("mcp-proxy/credentials/github").await.ok();
    assert_eq!(writer.write("mcp-proxy/services/github", token).await.status, 403);
    assert_eq!(writer.write("mcp-proxy/proxy/github/GET", call).await.status, 403);
    assert_eq!(upstream.seen().len(), 1);
}
