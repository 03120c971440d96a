//! Services: short form, merging, bindings, names, what is read.

use serde_json::json;
use vault_sdk::Operation;

use crate::mount::{Mount, refusal};

const SECRET: &str = "s3cret-token-of-github";

async fn with_github() -> Mount {
    let mount = Mount::new();
    let written = mount
        .write(
            "services/github",
            json!({ "base_url": "https://api.github.com/v3", "auth": "bearer", "token": SECRET }),
        )
        .await
        .unwrap();
    assert_eq!(written.as_data().unwrap()["credential_version"], 1);
    assert!(written.warnings().is_empty(), "{:?}", written.warnings());
    mount
}

#[tokio::test]
async fn the_short_form_makes_both_and_no_read_gives_the_secret() {
    let mount = with_github().await;
    for path in
        ["services/github", "credentials/github", "catalog", "catalog/github", "config", "info"]
    {
        let data = mount.read(path).await.unwrap_or_else(|| panic!("{path}"));
        assert!(!serde_json::to_string(&data).unwrap().contains(SECRET), "{path}");
    }
    assert_eq!(mount.list("services/").await, ["github"]);
    assert_eq!(mount.list("credentials/").await, ["github"]);
    assert_eq!(mount.read("credentials/github").await.unwrap()["owner"], "service");
}

#[tokio::test]
async fn what_is_read_can_be_written_back_and_changes_nothing() {
    let mount = with_github().await;
    mount
        .write(
            "services/github",
            json!({ "timeout": "45s", "custom_metadata": { "team": "a" }, "upstream_cidrs": "" }),
        )
        .await
        .unwrap();
    let before = mount.read("services/github").await.unwrap();
    mount.write("services/github", before.clone().into()).await.unwrap();
    let mut after = mount.read("services/github").await.unwrap();
    for counted in ["version", "updated_time"] {
        after[counted] = before[counted].clone();
    }
    assert_eq!(after, before);
    assert_eq!(after["timeout"], 45);
}

#[tokio::test]
async fn writes_merge_and_an_empty_value_goes_back_to_the_default() {
    let mount = with_github().await;
    mount.write("services/github", json!({ "description": "Code", "timeout": 10 })).await.unwrap();
    mount.write("services/github", json!({ "timeout": "" })).await.unwrap();
    let data = mount.read("services/github").await.unwrap();
    assert_eq!((&data["description"], &data["timeout"]), (&json!("Code"), &json!(30)));
    mount.write("services/github", json!({ "description": null })).await.unwrap();
    assert_eq!(mount.read("services/github").await.unwrap()["description"], "");
}

#[tokio::test]
async fn a_definition_can_not_move_a_stored_secret() {
    let mount = with_github().await;
    for (change, part) in [
        (json!({ "base_url": "https://evil.example/v3" }), "origin"),
        (json!({ "base_url": "https://api.github.com:8443/v3" }), "origin"),
        (json!({ "auth": "header", "header_name": "user-agent" }), "auth"),
        (json!({ "tls_server_name": "evil.example" }), "tls_server_name"),
        (json!({ "tls_pin_sha256": "ab".repeat(32) }), "tls_pin_sha256"),
    ] {
        let text = refusal(mount.write("services/github", change.clone()).await);
        assert!(text.starts_with("binding_changed: "), "{change}: {text}");
        assert!(text.contains(part), "{change}: {text}");
        assert!(text.contains("vault write mcp-proxy/services/github"), "{text}");
    }
    let data = mount.read("services/github").await.unwrap();
    assert_eq!(
        (&data["base_url"], &data["version"]),
        (&json!("https://api.github.com/v3"), &json!(1))
    );
    // The path below the origin isn't part of it; with the secret in the same write, all may change.
    mount
        .write("services/github", json!({ "base_url": "https://api.github.com/v4" }))
        .await
        .unwrap();
    mount
        .write(
            "services/github",
            json!({ "base_url": "https://ghe.example", "token": "another-secret" }),
        )
        .await
        .unwrap();
    assert_eq!(mount.read("credentials/github").await.unwrap()["origin"], "https://ghe.example");
}

#[tokio::test]
async fn dangers_need_two_keys() {
    let mount = Mount::new();
    for (fields, name) in [
        (json!({ "base_url": "http://api.example.com" }), "danger_allow_plaintext"),
        (
            json!({ "base_url": "http://api.example.com", "danger_allow_plaintext": true }),
            "danger_allow_plaintext",
        ),
        (
            json!({ "base_url": "https://api.example.com", "danger_insecure_tls": "true" }),
            "danger_insecure_tls",
        ),
    ] {
        let text = refusal(mount.write("services/x", fields).await);
        assert!(text.contains(name), "{text}");
    }
    assert!(mount.read("services/x").await.is_none());
    mount.write("config", json!({ "allow_danger": "danger_insecure_tls" })).await.unwrap();
    let written = mount
        .write("services/x", json!({ "base_url": "https://api.example.com", "danger_insecure_tls": true, "auth": "bearer", "token": SECRET }))
        .await
        .unwrap();
    assert!(written.warnings().iter().any(|warning| warning.starts_with("danger_insecure_tls")));
    let text = refusal(mount.write("config", json!({ "allow_danger": "everything" })).await);
    assert!(text.contains("allow_danger"), "{text}");
}

#[tokio::test]
async fn base_urls_that_could_never_be_dialled_are_refused_when_written() {
    let mount = Mount::new();
    for base_url in [
        "https://127.0.0.1",
        "https://[::1]",
        "https://[::]",
        "https://[::ffff:127.0.0.1]",
        "https://169.254.169.254",
        "https://224.0.0.1",
        "https://255.255.255.255",
        "https://100.64.0.1",
        "https://10.0.0.1",
        "https://127.1",
        "https://2130706433",
        "https://0x7f.1",
        "https://0177.0.0.1",
        "https://localhost.",
        "https://user:pass@h.example",
        "https://good.com\\@evil.com",
        "ftp://h.example",
        "file:///etc/passwd",
        "https://h.example:0",
        "https://h.example/?x=1",
        "https://h.example/#f",
        "https://h.example/a/../b",
        "https://",
        "",
        "https://[fe80::1%25eth0]",
    ] {
        let text = refusal(mount.write("services/x", json!({ "base_url": base_url })).await);
        assert!(
            text.starts_with("invalid_request: ") || text.starts_with("address_forbidden: "),
            "{base_url}: {text}"
        );
    }
    assert_eq!(mount.storage.keys(), Vec::<String>::new(), "nothing was written");
}

#[tokio::test]
async fn a_services_networks_lie_within_the_mounts() {
    let mount = Mount::new();
    let service = json!({ "base_url": "https://nas.example", "upstream_cidrs": "192.168.1.0/24" });
    let text = refusal(mount.write("services/nas", service.clone()).await);
    assert!(text.starts_with("address_forbidden: "), "{text}");
    assert!(text.contains("vault write mcp-proxy/config upstream_cidrs=192.168.1.0/24"), "{text}");
    mount.write("config", json!({ "upstream_cidrs": "192.168.0.0/16" })).await.unwrap();
    let written = mount.write("services/nas", service).await.unwrap();
    assert!(
        written.warnings().iter().any(|warning| warning.contains("192.168.1.0/24")),
        "{written:?}"
    );
}

#[tokio::test]
async fn secrets_that_are_not_plain_strings_are_refused() {
    let mount = Mount::new();
    let base = "https://api.example.com";
    let text = refusal(
        mount
            .write("services/x", json!({ "base_url": base, "auth": "bearer", "token": 123_456 }))
            .await,
    );
    assert!(text.contains("stands in clear in the audit log: change it"), "{text}");
    for token in ["Bearer abcdefgh", "two\nlines-of-it", ""] {
        refusal(
            mount
                .write("services/x", json!({ "base_url": base, "auth": "bearer", "token": token }))
                .await,
        );
    }
    refusal(mount.write("services/x", json!({ "base_url": base, "token": SECRET })).await);
    assert_eq!(mount.storage.keys(), Vec::<String>::new(), "nothing was written");
    let written = mount
        .write(
            "services/x",
            json!({ "base_url": base, "auth": "bearer", "token": "from-a-file\n" }),
        )
        .await
        .unwrap();
    assert!(written.warnings()[0].contains("line break"), "{written:?}");
    let written = mount.write("services/x", json!({ "token": "short" })).await.unwrap();
    assert!(written.warnings()[0].contains("shorter than 8"), "{written:?}");
}

#[tokio::test]
async fn check_and_set_in_kvs_words() {
    let mount = with_github().await;
    for cas in [json!(0), json!("0"), json!(2)] {
        let text = refusal(
            mount.write("services/github", json!({ "cas": cas, "description": "x" })).await,
        );
        assert!(
            text.contains("check-and-set parameter did not match the current version"),
            "{text}"
        );
    }
    mount.write("services/github", json!({ "cas": "1", "description": "x" })).await.unwrap();
    mount
        .write("services/new", json!({ "cas": 0, "base_url": "https://h.example" }))
        .await
        .unwrap();
}

#[tokio::test]
async fn creating_by_body_name_never_overwrites() {
    let mount = with_github().await;
    let text = refusal(
        mount.write("services", json!({ "name": "github", "base_url": "https://h.example" })).await,
    );
    assert!(text.contains("exists"), "{text}");
    mount
        .write("services", json!({ "name": "other", "base_url": "https://h.example" }))
        .await
        .unwrap();
    assert_eq!(mount.list("services/").await, ["github", "other"]);
    for name in ["", "Bad", "a__b", "a.b"] {
        refusal(
            mount.write("services", json!({ "name": name, "base_url": "https://h.example" })).await,
        );
    }
}

#[tokio::test]
async fn patch_changes_what_exists_and_nothing_else() {
    let mount = with_github().await;
    mount.handle(Operation::Patch, "services/github", json!({ "description": "y" })).await.unwrap();
    assert_eq!(mount.read("services/github").await.unwrap()["description"], "y");
    let text = refusal(
        mount.handle(Operation::Patch, "services/nothing", json!({ "description": "y" })).await,
    );
    assert!(text.starts_with("unknown_service: "), "{text}");
}

#[tokio::test]
async fn deleting_takes_the_own_credential_along_and_a_new_one_starts_fresh() {
    let mount = with_github().await;
    mount.write("services/github", json!({ "token": "the-second-secret" })).await.unwrap();
    assert_eq!(mount.count("material/"), 2);
    mount.handle(Operation::Delete, "services/github", json!(null)).await.unwrap();
    assert_eq!(
        (mount.count("material/"), mount.count("credential/"), mount.count("service/")),
        (0, 0, 0)
    );
    // Nothing of the old one is taken over: the new one has no secret.
    let written = mount
        .write("services/github", json!({ "base_url": "https://evil.example", "auth": "bearer" }))
        .await
        .unwrap();
    assert!(written.warnings()[0].contains("no credential yet"), "{written:?}");
    mount.handle(Operation::Delete, "services/nothing", json!(null)).await.unwrap();
}

#[tokio::test]
async fn versions_kept_are_bounded() {
    let mount = with_github().await;
    for number in 0..12 {
        mount
            .write("services/github", json!({ "token": format!("secret-number-{number}") }))
            .await
            .unwrap();
    }
    assert_eq!(mount.count("material/"), 10);
    assert_eq!(mount.read("credentials/github").await.unwrap()["current_version"], 13);
    mount.write("config", json!({ "max_versions": 2 })).await.unwrap();
    mount.write("services/github", json!({ "token": "the-last-secret" })).await.unwrap();
    assert_eq!(mount.count("material/"), 2);
    // The one before must outlast the write that replaces it.
    let refused = mount.write("config", json!({ "max_versions": 1 })).await.unwrap_err();
    assert!(refused.to_string().contains("from 2 to 10"), "{refused}");
}

#[tokio::test]
async fn calls_under_way_count_across_writes() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // Takes connections and never says a word.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let shared =
        json!({ "origin": format!("https://127.0.0.1:{port}"), "auth": "bearer", "token": SECRET });
    mount.write("credentials/shared", shared).await.unwrap();
    let service = json!({
        "base_url": format!("https://127.0.0.1:{port}"), "auth": "bearer", "credential": "shared",
        "max_in_flight": 1,
    });
    mount.write("services/slow", service).await.unwrap();
    let call = || mount.handle(Operation::Update, "proxy/slow/GET", json!({ "path": "/" }));
    let mut held = Box::pin(call());
    let accepted = tokio::select! {
        _ = &mut held => panic!("answered"),
        accepted = listener.accept() => accepted.unwrap(),
    };
    for (path, change) in [
        ("services/slow", json!({ "description": "x" })),
        ("credentials/shared", json!({ "token": "another-secret" })),
        ("config", json!({ "max_timeout": "50s" })),
    ] {
        mount.write(path, change).await.unwrap();
        assert!(refusal(call().await).starts_with("busy: "), "{path}");
        let health = mount.read("health").await.unwrap();
        assert_eq!(health["services"]["slow"]["in_flight"], 1, "{path}");
    }
    drop(held);
    drop(accepted);
    assert_eq!(mount.read("health").await.unwrap()["services"]["slow"]["in_flight"], 0);
    // Another limit takes new places.
    mount.write("services/slow", json!({ "max_in_flight": 2 })).await.unwrap();
    let mut second = Box::pin(call());
    tokio::select! {
        _ = &mut second => panic!("answered"),
        accepted = listener.accept() => accepted.unwrap(),
    };
}
