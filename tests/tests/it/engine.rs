//! Registering, enabling, writing, listing and reading: what an operator does.

use e2e::upstream::Upstream;
use e2e::world::{World, definition};
use serde_json::json;

#[tokio::test]
async fn the_catalogue_knows_the_plugin_and_info_says_what_it_is() {
    let world = World::start().await;
    let mounts = world.root.read("sys/mounts").await.ok();
    assert_eq!(mounts.data()["mcp-proxy/"]["type"], "mcp-proxy");
    let info = world.root.read("mcp-proxy/info").await.ok();
    assert!(info.data()["api_version"].is_number(), "{}", info.text);
    assert_eq!(info.data()["version"], env!("CARGO_PKG_VERSION"), "{}", info.text);
    assert!(info.text.contains("outcome_unknown"), "the error codes are listed: {}", info.text);
}

#[tokio::test]
async fn a_service_with_its_credential_is_two_objects_and_reads_without_the_secret() {
    let world = World::start().await;
    let (upstream, token) = world.service("demo").await;
    let api = &world.root;

    assert_eq!(api.list("mcp-proxy/services").await.ok().keys(), ["demo"]);
    assert_eq!(api.list("mcp-proxy/credentials").await.ok().keys(), ["demo"]);
    let service = api.read("mcp-proxy/services/demo").await.ok();
    assert_eq!(service.data()["base_url"], upstream.url());
    assert_eq!(service.data()["auth"], "bearer");
    let credential = api.read("mcp-proxy/credentials/demo").await.ok();
    for answer in [&service, &credential] {
        assert!(e2e::forms::found(answer.text.as_bytes(), &token).is_empty(), "{}", answer.text);
        assert!(answer.data()["token"].is_null(), "{}", answer.text);
    }

    // What is read can be written back, and is the same afterwards, but for the count of writes.
    let mut before = service.data().clone();
    api.write("mcp-proxy/services/demo", before.clone()).await.ok();
    let mut after = api.read("mcp-proxy/services/demo").await.ok().data().clone();
    for counted in ["version", "updated_time"] {
        before.as_object_mut().unwrap().remove(counted);
        after.as_object_mut().unwrap().remove(counted);
    }
    assert_eq!(after, before);

    let answer = api.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/a" })).await.ok();
    assert_eq!(answer.data()["status"], 200, "{}", answer.text);
    assert_eq!(answer.data()["body"], r#"{"ok":true}"#);
    assert_eq!(upstream.only().header("authorization"), Some(&*format!("Bearer {token}")));

    api.delete("mcp-proxy/services/demo").await.ok();
    assert_eq!(api.read("mcp-proxy/services/demo").await.status, 404);
    assert_eq!(api.read("mcp-proxy/credentials/demo").await.status, 404);
    api.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/a" }))
        .await
        .refused(404, "unknown_service");
}

#[tokio::test]
async fn the_header_kind_puts_the_secret_where_the_service_says() {
    let world = World::start().await;
    let secret = world.secret();
    let upstream = Upstream::start().await.demanding("x-api-key", &secret);
    let mut fields = definition(&upstream);
    fields["auth"] = json!("header");
    fields["header_name"] = json!("X-Api-Key");
    fields["token"] = json!(secret);
    world.root.write("mcp-proxy/services/keyed", fields).await.ok();
    let answer = world.root.write("mcp-proxy/proxy/keyed", json!({ "path": "/a" })).await.ok();
    assert_eq!(answer.data()["status"], 200, "{}", answer.text);
    assert_eq!(upstream.only().header("authorization"), None);
}

#[tokio::test]
async fn a_write_changes_what_it_names_and_refuses_what_it_does_not_know() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let api = &world.root;
    api.write("mcp-proxy/services/demo", json!({ "description": "A demo" })).await.ok();
    let service = api.read("mcp-proxy/services/demo").await.ok();
    assert_eq!(service.data()["description"], "A demo");
    assert_eq!(service.data()["base_url"], upstream.url());
    let mistyped = json!({ "upstream_cidr": "127.0.0.0/8" });
    let answer = api.write("mcp-proxy/services/demo", mistyped).await;
    answer.clone().refused(400, "invalid_request");
    assert!(answer.text.contains("upstream_cidrs"), "names the nearest field: {}", answer.text);
    // The path for a name that doesn't exist yet refuses one that does.
    let again = json!({ "name": "demo", "base_url": upstream.url() });
    assert_eq!(api.write("mcp-proxy/services", again).await.status, 400);
    let stale = json!({ "description": "B", "cas": 0 });
    let answer = api.write("mcp-proxy/services/demo", stale).await;
    answer.clone().refused(400, "check_and_set_failed");
    assert!(answer.text.contains("check-and-set parameter did not match the current version"));
}

#[tokio::test]
async fn a_rotated_token_is_used_by_the_next_call() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let call = || world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/a" }));
    assert_eq!(call().await.ok().data()["status"], 200);
    let next = world.secret();
    world.root.write("mcp-proxy/services/demo", json!({ "token": next })).await.ok();
    assert_eq!(call().await.ok().data()["status"], 401, "the upstream still wants the old one");
    let upstream = upstream.demanding("authorization", &format!("Bearer {next}"));
    assert_eq!(call().await.ok().data()["status"], 200);
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test]
async fn the_kill_switch_stops_calls_and_leaves_reads() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let api = &world.root;
    let stop = json!({ "paused": true, "pause_reason": "drill" });
    api.write("mcp-proxy/config", stop).await.ok();
    let call = json!({ "path": "/a" });
    api.write("mcp-proxy/proxy/demo/GET", call.clone()).await.refused(400, "paused");
    assert_eq!(api.list("mcp-proxy/services").await.ok().keys(), ["demo"]);
    assert_eq!(upstream.connections(), 0);
    api.write("mcp-proxy/config", json!({ "paused": false })).await.ok();
    api.write("mcp-proxy/services/demo", json!({ "enabled": false })).await.ok();
    api.write("mcp-proxy/proxy/demo/GET", call.clone()).await.refused(400, "service_disabled");
    api.write("mcp-proxy/services/demo", json!({ "enabled": true })).await.ok();
    assert_eq!(api.write("mcp-proxy/proxy/demo/GET", call).await.ok().data()["status"], 200);
}

#[tokio::test]
async fn a_secret_that_is_no_string_is_refused_with_the_truth() {
    let world = World::start().await;
    let upstream = Upstream::start().await;
    let mut fields = definition(&upstream);
    fields["auth"] = json!("bearer");
    fields["token"] = json!(12_345_678);
    let answer = world.root.write("mcp-proxy/services/pin", fields).await;
    answer.clone().refused(400, "invalid_request");
    assert!(answer.text.contains("audit log"), "{}", answer.text);
    assert_eq!(world.root.list("mcp-proxy/services").await.status, 404);
}

#[tokio::test]
async fn every_path_has_help() {
    let world = World::start().await;
    for path in ["", "info", "config", "services", "services/a", "credentials", "credentials/a"]
        .into_iter()
        .chain(["proxy/a", "proxy/a/GET", "catalog", "catalog/a", "explain/a", "health"])
    {
        let help = world.root.read(&format!("mcp-proxy/{path}?help=1")).await.ok();
        assert!(help.text.len() > 40, "{path}: {}", help.text);
    }
}

#[tokio::test]
async fn openapi_lists_every_path() {
    let world = World::start().await;
    let openapi = world.root.read("sys/internal/specs/openapi").await.ok();
    let paths = openapi.body["paths"].as_object().unwrap();
    let ours = paths.keys().filter(|path| path.contains("mcp-proxy")).count();
    assert!(ours >= 8, "{ours} paths of ours in the specification");
}

#[tokio::test]
async fn two_mounts_in_one_process_do_not_meet() {
    let world = World::start().await;
    let (first, _) = world.service("demo").await;
    let api = &world.root;
    api.write("sys/mounts/other", json!({ "type": "mcp-proxy" })).await.ok();
    let call = json!({ "path": "/a" });
    api.write("other/proxy/demo/GET", call.clone()).await.refused(404, "unknown_service");
    let token = world.secret();
    let second = Upstream::start().await.demanding("authorization", &format!("Bearer {token}"));
    let mut fields = definition(&second);
    fields["auth"] = json!("bearer");
    fields["token"] = json!(token);
    // The bound of one mount isn't the other's.
    let answer = api.write("other/services/demo", fields.clone()).await;
    assert_eq!(answer.status, 400, "{}", answer.text);
    api.write("other/config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.ok();
    api.write("other/services/demo", fields).await.ok();
    for _ in 0..3 {
        for (mount, upstream) in [("mcp-proxy", &first), ("other", &second)] {
            let before = upstream.seen().len();
            let answer = api.write(&format!("{mount}/proxy/demo/GET"), call.clone()).await.ok();
            assert_eq!(answer.data()["status"], 200, "{mount}: {}", answer.text);
            assert_eq!(upstream.seen().len(), before + 1);
        }
    }
    assert_eq!(world.server.plugins().len(), 1, "one process serves both");
    api.delete("sys/mounts/other").await.ok();
    api.write("mcp-proxy/proxy/demo/GET", call).await.ok();
}

#[tokio::test]
async fn many_callers_share_few_connections() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    for _ in 0..5 {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                let api = world.root.clone();
                let call = json!({ "path": "/a" });
                tokio::spawn(async move { api.write("mcp-proxy/proxy/demo/GET", call).await })
            })
            .collect();
        for call in calls {
            let answer = call.await.unwrap().ok();
            assert_eq!(answer.data()["status"], 200, "{}", answer.text);
        }
    }
    assert_eq!(upstream.seen().len(), 100);
    assert!(upstream.connections() < 80, "{} connections", upstream.connections());
}
