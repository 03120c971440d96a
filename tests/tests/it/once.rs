//! One POST is executed once, whatever the upstream does and however often a client repeats.

use e2e::api::Api;
use e2e::cli::{self, Proxy};
use e2e::upstream::Upstream;
use e2e::world::World;
use serde_json::json;

/// What the upstream does with a POST, and how the engine reports it.
const MISBEHAVIOUR: [(&str, Result<u16, &str>); 6] = [
    ("/reset", Err("outcome_unknown")),
    ("/stall", Err("outcome_unknown")),
    ("/status/503", Ok(503)),
    ("/status/500", Ok(500)),
    ("/status/429", Ok(429)),
    ("/status/412", Ok(412)),
];

#[tokio::test]
async fn by_the_go_clients_retry_policy() {
    let world = World::start().await;
    let (upstream, _) = prepared(&world).await;
    for (path, expected) in MISBEHAVIOUR {
        let before = upstream.seen().len();
        let path = format!("path={path}");
        let arguments = ["write", "-format=json", "mcp-proxy/proxy/demo/POST", &path, "body=once"];
        let output = cli::run(&world.root, &arguments).await;
        let stdout = String::from_utf8_lossy(&output.stdout);
        let stderr = String::from_utf8_lossy(&output.stderr);
        match expected {
            Ok(status) => {
                let answer: serde_json::Value = serde_json::from_str(&stdout).unwrap();
                assert_eq!(answer["data"]["status"], status, "{path}: {stdout}");
            }
            Err(code) => assert!(stderr.contains(code), "{path}: {stdout}{stderr}"),
        }
        assert_eq!(upstream.seen().len(), before + 1, "{path}: executed once");
    }
}

#[tokio::test]
async fn through_the_servers_own_api_proxy() {
    let world = World::start().await;
    let (upstream, _) = prepared(&world).await;
    let proxy = Proxy::start(&world.server).await;
    let client = proxy.api(&world.root);
    for (path, expected) in MISBEHAVIOUR {
        let before = upstream.seen().len();
        let call = json!({ "path": path, "body": "once" });
        let answer = client.write("mcp-proxy/proxy/demo/POST", call).await;
        match expected {
            Ok(status) => assert_eq!(answer.ok().data()["status"], status, "{path}"),
            Err(code) => drop(answer.refused(424, code)),
        }
        assert_eq!(upstream.seen().len(), before + 1, "{path}: executed once");
    }
}

#[tokio::test]
async fn what_the_engine_refuses_is_asked_once_and_sent_never() {
    let world = World::start().await;
    let (upstream, _) = prepared(&world).await;
    let before = upstream.connections();
    drop_upstream(&world.root).await;
    for (service, path, code) in [
        ("demo", "/../admin", "invalid_request"),
        ("nobody", "/a", "unknown_service"),
        ("closed", "/a", "upstream_unreachable"),
    ] {
        let path = format!("path={path}");
        let target = format!("mcp-proxy/proxy/{service}/POST");
        let output = cli::run(&world.root, &["write", &target, &path]).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(code), "{service}: {stderr}");
        let status = stderr.lines().find(|line| line.starts_with("Code: ")).unwrap_or_default();
        assert!(status.starts_with("Code: 4"), "{service}: nothing repeats a 4xx: {stderr}");
    }
    assert_eq!(upstream.connections(), before);
}

/// A service that gives up after a second, with a connection that is already in its pool.
async fn prepared(world: &World) -> (Upstream, String) {
    let (upstream, token) = world.service("demo").await;
    world.root.write("mcp-proxy/services/demo", json!({ "timeout": "1s" })).await.ok();
    world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/a" })).await.ok();
    (upstream, token)
}

/// The service `closed`, whose upstream has gone.
async fn drop_upstream(api: &Api) {
    let gone = Upstream::start().await;
    let fields = e2e::world::definition(&gone);
    drop(gone);
    api.write("mcp-proxy/services/closed", fields).await.ok();
}
