//! Versions of credentials: back to an earlier one, destroyed, demanded by check-and-set.

use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use vault_sdk::Operation;

use crate::mount::{Mount, refusal};
use crate::upstream::{Upstream, echo};

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
