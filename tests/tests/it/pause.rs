//! The kill switches: `paused` for the mount, `enabled` for a service.

use e2e::world::World;
use serde_json::json;

#[tokio::test]
async fn paused_refuses_the_next_call_and_lets_those_in_flight_end() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let path = "mcp-proxy/proxy/demo/GET";
    let api = world.root.clone();
    let held = tokio::spawn(async move { api.write(path, json!({ "path": "/hold" })).await });
    upstream.saw(1).await;

    let pause = json!({ "paused": true, "pause_reason": "a key has leaked" });
    world.root.write("mcp-proxy/config", pause).await.ok();
    let refused = world.root.write(path, json!({ "path": "/a" })).await;
    assert!(refused.text.contains("a key has leaked"), "{}", refused.text);
    assert!(refused.text.contains("vault write mcp-proxy/config paused=false"), "{}", refused.text);
    refused.refused(400, "paused");
    world.root.write("mcp-proxy/check/demo", json!({})).await.refused(400, "paused");
    let explained = world.root.write("mcp-proxy/explain/demo", json!({ "path": "/a" })).await.ok();
    assert_eq!(explained.data()["code"], "paused", "{}", explained.text);
    // Reads, lists and definitions work.
    assert_eq!(world.root.read("mcp-proxy/health").await.ok().data()["paused"], true);
    world.root.read("mcp-proxy/catalog").await.ok();
    world.root.list("mcp-proxy/services").await.ok();
    world.root.write("mcp-proxy/services/demo", json!({ "description": "x" })).await.ok();

    // Neither write made it forget the call that is under way.
    assert!(!held.is_finished());
    let health = world.root.read("mcp-proxy/health").await.ok();
    assert_eq!(health.data()["services"]["demo"]["in_flight"], 1, "{}", health.text);
    upstream.release();
    assert_eq!(held.await.unwrap().ok().data()["status"], 200);
    assert_eq!(upstream.seen().len(), 1);

    // A new process knows it as well; what goes on, goes on at once.
    let reload = json!({ "plugin": "mcp-proxy" });
    world.root.write("sys/plugins/reload/backend", reload).await.ok();
    world.root.write(path, json!({ "path": "/a" })).await.refused(400, "paused");
    assert_eq!(upstream.seen().len(), 1);
    world.root.write("mcp-proxy/config", json!({ "paused": false })).await.ok();
    world.root.write(path, json!({ "path": "/a" })).await.ok();
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_service_that_is_off_is_refused_and_its_neighbour_works() {
    let world = World::start().await;
    let (off, _) = world.service("off").await;
    let (_on, _) = world.service("on").await;
    let call = json!({ "path": "/a" });
    let api = world.root.clone();
    let held = tokio::spawn(async move {
        api.write("mcp-proxy/proxy/off/POST", json!({ "path": "/hold" })).await
    });
    off.saw(1).await;
    world.root.write("mcp-proxy/services/off", json!({ "enabled": "false" })).await.ok();
    let refused = world.root.write("mcp-proxy/proxy/off/GET", call.clone()).await;
    assert!(refused.text.contains("services/off enabled=true"), "{}", refused.text);
    refused.refused(400, "service_disabled");
    world.root.write("mcp-proxy/check/off", json!({})).await.refused(400, "service_disabled");
    world.root.write("mcp-proxy/proxy/on/GET", call.clone()).await.ok();
    off.release();
    assert_eq!(held.await.unwrap().ok().data()["status"], 200);
    assert_eq!(off.seen().len(), 1);
    world.root.write("mcp-proxy/services/off", json!({ "enabled": "" })).await.ok();
    world.root.write("mcp-proxy/proxy/off/GET", call).await.ok();
    assert_eq!(off.seen().len(), 2);
}
