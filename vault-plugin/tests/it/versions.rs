//! Versions of credentials: back to an earlier one, destroyed, demanded by check-and-set.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use http::Response;
use http_body_util::Full;
use serde_json::{Map, Value, json};
use vault_plugin::engine::Engine;
use vault_sdk::Operation;

use crate::mount::{Mount, refusal};
use crate::upstream::{Upstream, echo, text};

async fn with_versions() -> (Mount, Upstream) {
    let upstream = Upstream::start(echo).await;
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let service = json!({
        "base_url": upstream.base_url, "ca_cert": upstream.ca, "auth": "bearer", "token": "the-first-secret",
    });
    mount.write("services/demo", service).await.unwrap();
    mount.write("services/demo", json!({ "token": "the-second-secret" })).await.unwrap();
    (mount, upstream)
}

async fn sent(mount: &Mount, upstream: &Upstream) -> String {
    mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/" })).await.unwrap();
    upstream.seen().pop().unwrap().headers["authorization"].to_str().unwrap().to_owned()
}

#[tokio::test]
async fn going_back_makes_a_new_version_of_the_old_secret() {
    let (mount, upstream) = with_versions().await;
    assert_eq!(sent(&mount, &upstream).await, "Bearer the-second-secret");
    let made = mount.write("credentials/demo/rollback", json!({ "version": "1" })).await.unwrap();
    assert_eq!(made.as_data().unwrap()["version"], 3);
    assert_eq!(sent(&mount, &upstream).await, "Bearer the-first-secret");
    let shown = mount.read("credentials/demo/versions").await.unwrap();
    assert_eq!(shown["current_version"], 3);
    assert_eq!(shown["versions"]["3"]["source"], "rollback of 1");
    assert_eq!(shown["versions"]["3"]["created_by"], "entity e-1");
    for version in [json!(0), json!(9), json!(-1), json!("x"), Value::Null] {
        refusal(mount.write("credentials/demo/rollback", json!({ "version": version })).await);
    }
    refusal(mount.write("credentials/nothing/rollback", json!({ "version": 1 })).await);
}

#[tokio::test]
async fn going_back_can_not_rebind() {
    let (mount, upstream) = with_versions().await;
    let moved = json!({ "base_url": "https://127.0.0.1:1", "token": "the-third-secret" });
    mount.write("services/demo", moved).await.unwrap();
    let text = refusal(mount.write("credentials/demo/rollback", json!({ "version": 1 })).await);
    assert!(text.starts_with("binding_changed: "), "{text}");
    assert_eq!(mount.read("credentials/demo").await.unwrap()["current_version"], 3);
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn destroyed_material_is_gone_and_the_version_in_use_stays() {
    let (mount, upstream) = with_versions().await;
    refusal(mount.write("credentials/demo/destroy", json!({ "versions": "1,2" })).await);
    refusal(mount.write("credentials/demo/destroy", json!({ "versions": "1,7" })).await);
    refusal(mount.write("credentials/demo/destroy", json!({ "versions": "" })).await);
    assert_eq!(mount.count("material/"), 2, "all or nothing");
    mount.write("credentials/demo/destroy", json!({ "versions": [1] })).await.unwrap();
    assert_eq!(mount.count("material/"), 1);
    assert_eq!(
        mount.read("credentials/demo/versions").await.unwrap()["versions"]["1"]["destroyed"],
        true
    );
    refusal(mount.write("credentials/demo/rollback", json!({ "version": 1 })).await);
    assert_eq!(sent(&mount, &upstream).await, "Bearer the-second-secret");
    mount.engine.sweep(mount.storage.as_ref()).await.unwrap();
    assert_eq!(mount.count("material/"), 1);
}

#[tokio::test]
async fn a_mount_may_demand_check_and_set() {
    let (mount, _upstream) = with_versions().await;
    mount.write("config", json!({ "cas_required": true })).await.unwrap();
    let text = refusal(mount.write("services/demo", json!({ "description": "x" })).await);
    assert!(text.contains("check-and-set parameter required for this call"), "{text}");
    mount.write("services/demo", json!({ "description": "x", "cas": 2 })).await.unwrap();
    let shared =
        json!({ "origin": "https://h.example", "auth": "bearer", "token": "a-shared-secret" });
    refusal(mount.write("credentials/shared", shared.clone()).await);
    let mut with_cas = shared;
    with_cas["cas"] = json!(0);
    mount.write("credentials/shared", with_cas).await.unwrap();

    // Going back and destroying are writes of the credential: its current version counts.
    let (rollback, destroy) = ("credentials/demo/rollback", "credentials/demo/destroy");
    for (path, change) in [(rollback, json!({ "version": 1 })), (destroy, json!({ "versions": 1 }))]
    {
        for (cas, words) in [
            (json!({}), "check-and-set parameter required for this call"),
            (json!({ "cas": 1 }), "did not match the current version. The current version is 2"),
            (json!({ "options": { "cas": 7 } }), "did not match the current version"),
            (json!({ "cas": 2, "options": { "cas": 1 } }), "two versions"),
        ] {
            let text = refusal(mount.write(path, with(&change, &cas)).await);
            assert!(text.contains(words), "{path} {cas}: {text}");
        }
    }
    assert_eq!(mount.read("credentials/demo").await.unwrap()["current_version"], 2);
    assert_eq!(mount.count("material/"), 3, "nothing was changed");
    mount.write(rollback, json!({ "version": 1, "options": { "cas": 2 } })).await.unwrap();
    mount.write(destroy, json!({ "versions": "1,2", "cas": "3" })).await.unwrap();
    assert_eq!(mount.count("material/"), 2);
    // Where it isn't demanded, it still counts when it is given.
    mount.write("config", json!({ "cas_required": false })).await.unwrap();
    refusal(mount.write(rollback, json!({ "version": 3, "cas": 2 })).await);
    mount.write(rollback, json!({ "version": 3 })).await.unwrap();
}

fn with(change: &Value, more: &Value) -> Value {
    let mut change = change.clone();
    change.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    change
}

#[tokio::test]
async fn an_upstreams_401_names_the_credential_that_it_refused() {
    let upstream =
        Upstream::start(|_| Response::builder().status(401).body(Full::default()).unwrap()).await;
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let service = json!({ "base_url": upstream.base_url, "ca_cert": upstream.ca, "auth": "bearer", "token": "a-revoked-secret" });
    mount.write("services/demo", service).await.unwrap();
    let answer =
        mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/" })).await.unwrap();
    let refused = &answer.as_data().unwrap()["refused_credential"];
    assert_eq!((&refused["name"], &refused["version"]), (&json!("demo"), &json!(1)));
    let health = mount.read("health").await.unwrap()["services"]["demo"].clone();
    assert!(health["last_credential_refusal"].is_string(), "{health}");
    assert_eq!(health["state"], "ok", "one refusal is not a failing credential");
    assert_eq!(health["in_flight"], 0);
}

#[tokio::test]
async fn when_a_credential_was_last_used_survives_a_restart() {
    let (mount, upstream) = with_versions().await;
    assert_eq!(mount.read("credentials/demo").await.unwrap()["last_used_time"], Value::Null);
    sent(&mount, &upstream).await;
    let used = mount.read("credentials/demo").await.unwrap()["last_used_time"].clone();
    assert!(used.is_string(), "{used}");
    mount.engine.keep_usage(mount.storage.as_ref()).await.unwrap();
    let restarted = Mount::on(std::sync::Arc::clone(&mount.storage));
    let data = restarted.read("credentials/demo").await.unwrap();
    assert_eq!((&data["last_used_time"], &data["last_refused_time"]), (&used, &Value::Null));
    restarted.engine.sweep(restarted.storage.as_ref()).await.unwrap();
    assert_eq!(restarted.count("usage/"), 1);
    restarted.handle(Operation::Delete, "services/demo", Value::Null).await.unwrap();
    assert_eq!(restarted.count("usage/"), 0);
}

/// A mount whose clock is set by the test, and an upstream: 401 at `/401`, an answer that is too
/// large at `/large`, else 200.
async fn watched() -> (Mount, Upstream, Arc<AtomicU64>) {
    let upstream = Upstream::start(|seen| match &*seen.target {
        "/401" => Response::builder().status(401).body(Full::default()).unwrap(),
        "/large" => text("text/plain", "x".repeat(100)),
        _ => text("text/plain", "ok"),
    })
    .await;
    let clock = Arc::new(AtomicU64::new(0));
    let told = Arc::clone(&clock);
    let mut mount = Mount::new();
    mount.engine = Arc::new(Engine::with_clock(move || told.load(Ordering::SeqCst)));
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    (mount, upstream, clock)
}

fn watched_service(upstream: &Upstream, more: Value) -> Value {
    let service = json!({
        "base_url": upstream.base_url, "ca_cert": upstream.ca, "auth": "bearer", "max_response_bytes": 50,
    });
    with(&service, &more)
}

/// What LIST, `health` and the catalogs say of a service, which must agree.
async fn state(mount: &Mount, name: &str) -> String {
    let listed = details(mount, "services/").await[name]["health"].clone();
    let health = mount.read("health").await.unwrap()["services"][name].clone();
    assert_eq!(listed, health["state"]);
    let failing = health["state"] == "credential_failing";
    let catalog = mount.read("catalog").await.unwrap()["services"].clone();
    let shown = catalog.as_array().unwrap().iter().find(|shown| shown["name"] == name).unwrap();
    let one = mount.read(&format!("catalog/{name}")).await.unwrap();
    for shown in [&shown["health"], &one["health"]] {
        assert_eq!(shown["code"] == "credential_refused", failing, "{shown}");
        assert_eq!(shown["state"] == "failing" && shown["since"].is_string(), failing, "{shown}");
    }
    let credential = mount.read(&format!("services/{name}")).await.unwrap()["credential"].clone();
    let credential = credential.as_str().unwrap();
    let listed = details(mount, "credentials/").await[credential].clone();
    let read = mount.read(&format!("credentials/{credential}")).await.unwrap();
    for shown in [&listed["failing_since"], &read["failing_since"]] {
        assert_eq!(shown.is_string(), failing, "{shown}");
    }
    assert_eq!(listed["current_version"], read["current_version"]);
    health["state"].as_str().unwrap().to_owned()
}

/// The detail of a list.
async fn details(mount: &Mount, path: &str) -> Value {
    let listed = mount.handle(Operation::List, path, Value::Null).await.unwrap();
    listed.as_data().unwrap()["key_info"].clone()
}

/// Calls a service at each of the times; gives the last answer, if there was one.
async fn calls(
    mount: &Mount,
    clock: &AtomicU64,
    name: &str,
    row: &[(u64, &str)],
) -> Option<Map<String, Value>> {
    let mut last = None;
    for (time, path) in row {
        clock.store(*time, Ordering::SeqCst);
        let asked = json!({ "path": path });
        let answer = mount.handle(Operation::Update, &format!("proxy/{name}/GET"), asked).await;
        last = answer.ok().and_then(|answer| answer.as_data().cloned());
    }
    last
}

#[tokio::test]
async fn a_credential_fails_after_three_refusals_over_a_minute_with_none_accepted_between() {
    const FAILING: &str = "credential_failing";
    for (row, expected) in [
        (&[(0, "/401"), (30, "/401"), (60, "/401")][..], FAILING),
        (&[(0, "/401"), (30, "/401"), (59, "/401")], "ok"),
        (&[(0, "/401"), (60, "/401")], "ok"),
        (&[(0, "/401"), (30, "/"), (60, "/401"), (90, "/401")], "ok"),
        (&[(0, "/401"), (30, "/large"), (60, "/401"), (90, "/401")], FAILING),
        (&[(0, "/401"), (30, "/401"), (60, "/401"), (61, "/")], "ok"),
    ] {
        let (mount, upstream, clock) = watched().await;
        let service = watched_service(&upstream, json!({ "token": "a-revoked-secret" }));
        mount.write("services/demo", service).await.unwrap();
        let last = calls(&mount, &clock, "demo", row).await.unwrap();
        assert_eq!(upstream.seen().len(), row.len());
        assert_eq!(state(&mount, "demo").await, expected, "{row:?}");
        if last["status"] == 401 {
            // The agent is told as well, with the answer itself.
            let since = &last["refused_credential"]["failing_since"];
            let expected = json!((expected == FAILING).then_some("1970-01-01T00:00:00Z"));
            assert_eq!(since, &expected, "{row:?}");
        }
    }
}

#[tokio::test]
async fn another_version_is_not_failing_at_once_and_on_every_node() {
    for (path, change) in [
        ("services/demo", json!({ "token": "the-third-secret" })),
        ("credentials/demo/rollback", json!({ "version": 1 })),
    ] {
        let (mount, upstream, clock) = watched().await;
        let service = watched_service(&upstream, json!({ "token": "the-first-secret" }));
        mount.write("services/demo", service).await.unwrap();
        mount.write("services/demo", json!({ "token": "the-second-secret" })).await.unwrap();
        let row = [(0, "/401"), (30, "/401"), (60, "/401")];
        calls(&mount, &clock, "demo", &row).await;
        assert_eq!(state(&mount, "demo").await, "credential_failing");
        // What changes no secret mends nothing.
        mount.write("services/demo", json!({ "description": "x" })).await.unwrap();
        assert_eq!(state(&mount, "demo").await, "credential_failing");

        // Another node writes; this one hears of it by the keys.
        let other = Mount::on(Arc::clone(&mount.storage));
        other.write(path, change).await.unwrap();
        for key in ["service/demo", "credential/demo"] {
            mount.engine.forget(key);
        }
        assert_eq!(state(&mount, "demo").await, "ok", "{path}");
        // The new version's row begins anew.
        calls(&mount, &clock, "demo", &[(100, "/401"), (170, "/401")]).await;
        assert_eq!(state(&mount, "demo").await, "ok", "{path}");
        calls(&mount, &clock, "demo", &[(171, "/401")]).await;
        assert_eq!(state(&mount, "demo").await, "credential_failing", "{path}");
    }
}

#[tokio::test]
async fn a_shared_credential_fails_through_whichever_service_it_is_sent() {
    let (mount, upstream, clock) = watched().await;
    let shared = json!({ "origin": upstream.base_url, "ca_cert": upstream.ca, "auth": "bearer", "token": "a-shared-secret" });
    mount.write("credentials/shared", shared).await.unwrap();
    let service = watched_service(&upstream, json!({ "credential": "shared" }));
    for (time, name) in [(0, "one"), (40, "two"), (80, "three")] {
        mount.write(&format!("services/{name}"), service.clone()).await.unwrap();
        calls(&mount, &clock, name, &[(time, "/401")]).await;
    }
    for name in ["one", "two", "three"] {
        assert_eq!(state(&mount, name).await, "credential_failing", "{name}");
    }
    mount.write("credentials/shared", json!({ "token": "another-secret" })).await.unwrap();
    for name in ["one", "two", "three"] {
        assert_eq!(state(&mount, name).await, "ok", "{name}");
    }
}
