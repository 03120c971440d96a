//! Shared credentials: who may only define services can't lead a secret astray.

use serde_json::json;
use vault_sdk::Operation;

use crate::mount::{Mount, refusal};

const SECRET: &str = "shared-s3cret-value";

async fn with_shared() -> Mount {
    let mount = Mount::new();
    mount
        .write(
            "credentials/corp",
            json!({ "origin": "https://api.corp.example", "auth": "header", "header_name": "X-Api-Key", "token": SECRET }),
        )
        .await
        .unwrap();
    mount
}

fn service(change: serde_json::Value) -> serde_json::Value {
    let mut service = json!({
        "base_url": "https://api.corp.example/v1", "auth": "header", "header_name": "x-api-key", "credential": "corp",
    });
    service.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    service
}

#[tokio::test]
async fn a_service_that_matches_in_every_part_may_use_it() {
    let mount = with_shared().await;
    mount.write("services/a", service(json!({}))).await.unwrap();
    mount
        .write("services/b", service(json!({ "base_url": "https://api.corp.example:443" })))
        .await
        .unwrap();
    let text = refusal(mount.handle(Operation::Delete, "credentials/corp", json!(null)).await);
    assert!(text.contains("\"a\" uses this credential"), "{text}");
}

#[tokio::test]
async fn no_way_of_binding_it_to_another_place_is_accepted() {
    let mount = with_shared().await;
    mount.write("services/good", service(json!({}))).await.unwrap();
    let pem = rcgen::generate_simple_self_signed(vec!["evil.example".into()]).unwrap().cert.pem();
    let ways = [
        json!({ "base_url": "https://evil.example/v1" }),
        json!({ "base_url": "https://api.corp.example:8443/v1" }),
        json!({ "base_url": "https://api.corp.example.evil.example/v1" }),
        json!({ "header_name": "user-agent" }),
        json!({ "prefix": "Token " }),
        json!({ "auth": "bearer", "header_name": "" }),
        json!({ "ca_cert": pem }),
        json!({ "tls_server_name": "evil.example" }),
        json!({ "tls_pin_sha256": "cd".repeat(32) }),
    ];
    for way in ways {
        for path in ["services/evil", "services/good"] {
            let text = refusal(mount.write(path, service(way.clone())).await);
            assert!(text.starts_with("binding_changed: "), "{way}: {text}");
        }
        refusal(
            mount
                .write(
                    "services",
                    service({
                        let mut w = way.clone();
                        w["name"] = json!("evil");
                        w
                    }),
                )
                .await,
        );
    }
    assert_eq!(mount.list("services/").await, ["good"]);
}

#[tokio::test]
async fn a_secret_is_written_where_it_belongs() {
    let mount = with_shared().await;
    mount.write("services/a", service(json!({}))).await.unwrap();
    let text = refusal(mount.write("services/a", json!({ "token": "another-secret" })).await);
    assert!(text.contains("vault write mcp-proxy/credentials/corp"), "{text}");

    mount
        .write(
            "services/own",
            json!({ "base_url": "https://h.example", "auth": "bearer", "token": SECRET }),
        )
        .await
        .unwrap();
    let text = refusal(mount.write("credentials/own", json!({ "token": "another-secret" })).await);
    assert!(text.contains("vault write mcp-proxy/services/own"), "{text}");
    refusal(mount.handle(Operation::Delete, "credentials/own", json!(null)).await);
    let text = refusal(
        mount
            .write(
                "services/thief",
                json!({ "base_url": "https://h.example", "auth": "bearer", "credential": "own" }),
            )
            .await,
    );
    assert!(text.contains("can't be shared"), "{text}");
    // Nor does a service take over a shared one by its name.
    let text = refusal(mount.write("services/corp", json!({ "base_url": "https://evil.example", "auth": "bearer", "token": "mine-mine" })).await);
    assert!(text.contains("credential=corp"), "{text}");
}

#[tokio::test]
async fn rotation_keeps_the_binding_and_only_a_new_secret_may_change_it() {
    let mount = with_shared().await;
    mount.write("credentials/corp", json!({ "token": "second-secret-value" })).await.unwrap();
    let data = mount.read("credentials/corp").await.unwrap();
    assert_eq!(
        (&data["current_version"], &data["origin"]),
        (&json!(2), &json!("https://api.corp.example"))
    );
    let elsewhere = json!({ "origin": "https://evil.example", "auth": "bearer" });
    let text = refusal(mount.write("credentials/corp", elsewhere.clone()).await);
    assert!(text.starts_with("binding_changed: "), "{text}");
    refusal(
        mount
            .write(
                "credentials/corp",
                json!({ "origin": "https://evil.example", "token": "third-secret" }),
            )
            .await,
    );
    let mut whole = elsewhere;
    whole["token"] = json!("third-secret");
    mount.write("credentials/corp", whole).await.unwrap();
    assert_eq!(mount.read("credentials/corp").await.unwrap()["origin"], "https://evil.example");
}

#[tokio::test]
async fn deleting_takes_all_material() {
    let mount = with_shared().await;
    mount.write("credentials/corp", json!({ "token": "second-secret-value" })).await.unwrap();
    mount.handle(Operation::Delete, "credentials/corp", json!(null)).await.unwrap();
    assert_eq!((mount.count("material/"), mount.count("credential/")), (0, 0));
    assert!(mount.read("credentials/corp").await.is_none());
    assert!(mount.list("credentials/").await.is_empty());
}

#[tokio::test]
async fn a_first_write_names_the_binding_and_the_secret() {
    let mount = Mount::new();
    for data in [
        json!({ "token": SECRET }),
        json!({ "origin": "https://h.example", "auth": "bearer" }),
        json!({ "origin": "https://h.example", "token": SECRET }),
        json!({ "origin": "https://h.example", "auth": "none", "token": SECRET }),
        json!({ "origin": "http://h.example", "auth": "bearer", "token": SECRET }),
        json!({ "origin": "https://127.0.0.1", "auth": "bearer", "token": SECRET }),
        json!({ "origin": "https://h.example", "auth": "bearer", "token": ["a"] }),
        json!({ "orgin": "https://h.example", "auth": "bearer", "token": SECRET }),
    ] {
        refusal(mount.write("credentials/x", data).await);
    }
    assert_eq!(mount.storage.keys(), Vec::<String>::new());
}
