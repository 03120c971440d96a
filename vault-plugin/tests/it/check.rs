//! Checks tell apart what doesn't work; and the three homes that people have.

use http::Response;
use http_body_util::Full;
use serde_json::{Map, Value, json};
use vault_sdk::Operation;

use crate::mount::{Mount, refusal};
use crate::upstream::{Seen, Upstream, echo};

const SECRET: &str = "checked-s3cret";

async fn mount(upstream: &Upstream, more: Value) -> Mount {
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let mut service = json!({
        "base_url": upstream.base_url, "ca_cert": upstream.ca, "auth": "bearer", "token": SECRET,
    });
    service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    mount.write("services/demo", service).await.unwrap();
    mount
}

async fn check(mount: &Mount) -> Map<String, Value> {
    let answer = mount.handle(Operation::Update, "check/demo", json!({})).await.unwrap();
    answer.as_data().unwrap().clone()
}

fn stage(report: &Map<String, Value>) -> (&str, &str) {
    (report["verdict"].as_str().unwrap(), report.get("stage").and_then(Value::as_str).unwrap_or(""))
}

#[tokio::test]
async fn a_probe_that_is_answered_is_shared_for_a_while() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({ "probe_path": "/user" })).await;
    let report = check(&mount).await;
    assert_eq!(stage(&report), ("ok", ""));
    assert_eq!((&report["status"], &report["not_tested"]), (&json!(200), &json!([])));
    assert!(!format!("{report:?}").contains(SECRET));
    check(&mount).await;
    assert_eq!(upstream.seen().len(), 1, "the second takes the first one's result");
    assert_eq!(upstream.seen()[0].headers["authorization"], format!("Bearer {SECRET}"));
    // A change of the service is another thing to check.
    mount
        .write("services/demo", json!({ "probe_method": "HEAD", "probe_status": "200,204" }))
        .await
        .unwrap();
    assert_eq!(stage(&check(&mount).await), ("ok", ""));
    assert_eq!(upstream.seen()[1].method, "HEAD");
}

#[tokio::test]
async fn without_a_probe_it_says_what_was_not_tested() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    let report = check(&mount).await;
    assert_eq!(stage(&report), ("ok", ""));
    assert_eq!(report["not_tested"], json!(["credential_accepted", "upstream"]));
    assert!(report["message"].as_str().unwrap().contains("probe_path"));
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_refusal_that_is_expected_is_fine() {
    let upstream = Upstream::start(|seen: &Seen| {
        let status = seen.target.trim_start_matches('/').parse().unwrap();
        Response::builder().status::<u16>(status).body(Full::default()).unwrap()
    })
    .await;
    for (path, statuses, expected) in [
        ("/403", "403", ("ok", "")),
        ("/401", "200,401", ("ok", "")),
        ("/403", "200", ("failed", "credential_accepted")),
        ("/401", "403", ("failed", "credential_accepted")),
        ("/200", "403", ("failed", "upstream")),
    ] {
        let probe = json!({ "probe_path": path, "probe_status": statuses });
        let report = check(&mount(&upstream, probe).await).await;
        assert_eq!(stage(&report), expected, "{path} {statuses}: {report:?}");
    }
}

#[tokio::test]
async fn each_stage_is_told_apart() {
    let upstream = Upstream::start(|seen: &Seen| {
        let status = if seen.target == "/refused" { 401 } else { 500 };
        Response::builder().status(status).body(Full::default()).unwrap()
    })
    .await;
    let closed = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    for (more, expected) in [
        (json!({ "probe_path": "/refused" }), "credential_accepted"),
        (json!({ "probe_path": "/broken" }), "upstream"),
        (json!({ "probe_path": "/x", "rules": "allow GET /y" }), "rules"),
        (json!({ "probe_path": "/../x" }), "rules"),
        (json!({ "base_url": format!("https://127.0.0.1:{closed}") }), "tcp"),
        (json!({ "ca_cert": "" }), "tls"),
        (json!({ "base_url": "https://no-such-name.invalid" }), "dns"),
    ] {
        let mount = mount(&upstream, more.clone()).await;
        let report = check(&mount).await;
        assert_eq!(stage(&report), ("failed", expected), "{more}: {report:?}");
    }
    let mount = mount(&upstream, json!({})).await;
    mount.write("services/demo", json!({ "auth": "none" })).await.unwrap();
    mount.write("services/demo", json!({ "auth": "bearer" })).await.unwrap();
    assert_eq!(stage(&check(&mount).await), ("failed", "credential_stored"));
    mount.write("services/demo", json!({ "enabled": false })).await.unwrap();
    assert!(
        refusal(mount.handle(Operation::Update, "check/demo", json!({})).await)
            .starts_with("service_disabled")
    );
    assert!(
        refusal(mount.handle(Operation::Update, "check/nothing", json!({})).await)
            .starts_with("unknown_service")
    );
}

#[tokio::test]
async fn an_unknown_certificate_is_shown_with_the_command_that_pins_it() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({ "ca_cert": "", "probe_path": "/x" })).await;
    let report = check(&mount).await;
    assert_eq!(stage(&report), ("failed", "tls"));
    let pin = report["certificate_sha256"].as_str().unwrap();
    let command = format!("vault write mcp-proxy/services/demo tls_pin_sha256={pin} token=-");
    assert!(report["message"].as_str().unwrap().contains(&command), "{report:?}");
    assert!(upstream.seen().is_empty(), "nothing was sent to it");
    mount.write("services/demo", json!({ "tls_pin_sha256": pin, "token": SECRET })).await.unwrap();
    assert_eq!(stage(&check(&mount).await), ("ok", ""));
}

#[tokio::test]
async fn a_closed_address_is_shown_with_the_commands_that_open_it() {
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "10.0.0.0/8" })).await.unwrap();
    let service = json!({ "base_url": "https://localhost", "address": "", "auth": "none" });
    let text = refusal(mount.write("services/demo", service.clone()).await);
    assert!(text.contains("allow_single_label_names=true"), "{text}");
    mount.write("config", json!({ "allow_single_label_names": true })).await.unwrap();
    mount.write("services/demo", service).await.unwrap();
    let report = check(&mount).await;
    assert_eq!(stage(&report), ("failed", "address"));
    let text = report["message"].as_str().unwrap();
    assert!(
        text.contains("vault write mcp-proxy/config upstream_cidrs=10.0.0.0/8,127.0.0.1"),
        "{text}"
    );
    assert!(
        text.contains("vault write mcp-proxy/services/demo upstream_cidrs=127.0.0.1"),
        "{text}"
    );
}

#[tokio::test]
async fn a_service_that_config_no_longer_allows_is_shown_with_the_command_that_does() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    mount.write("config", json!({ "upstream_cidrs": "10.0.0.0/8" })).await.unwrap();
    let call = mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/" })).await;
    assert!(refusal(call).contains("vault write -f mcp-proxy/check/demo"));
    let report = check(&mount).await;
    assert_eq!(stage(&report), ("failed", "definition"));
    assert_eq!((&report["code"], &report["passed"]), (&json!("address_forbidden"), &json!([])));
    assert_eq!(report["not_tested"].as_array().unwrap().len(), 8);
    let text = report["message"].as_str().unwrap();
    let command = "vault write mcp-proxy/config upstream_cidrs=10.0.0.0/8,127.0.0.1";
    assert!(text.contains(command), "{text}");
    mount.write("config", json!({ "upstream_cidrs": "10.0.0.0/8,127.0.0.1" })).await.unwrap();
    assert_eq!(stage(&check(&mount).await), ("ok", ""));
    // Switched off is another thing, also when it isn't allowed.
    mount.write("services/demo", json!({ "enabled": false })).await.unwrap();
    let checked = mount.handle(Operation::Update, "check/demo", json!({})).await;
    assert!(refusal(checked).starts_with("service_disabled"));
}

#[tokio::test]
async fn what_a_check_says_is_for_operators() {
    let upstream = Upstream::start(echo).await;
    for more in [
        json!({ "ca_cert": "" }),
        json!({ "base_url": "https://127.0.0.1:1" }),
        json!({ "base_url": "https://no-such-name.invalid" }),
    ] {
        let report = check(&mount(&upstream, more).await).await;
        let text = report["message"].as_str().unwrap();
        assert!(!text.contains("Tell the user") && !text.contains("caller"), "{text}");
    }
}

/// `https://unifi.local` with the self-signed certificate it came with, pinned.
#[tokio::test]
async fn a_self_signed_appliance_under_a_local_name() {
    let upstream = Upstream::start(echo).await;
    let port = upstream.base_url.rsplit(':').next().unwrap();
    let mount = Mount::new();
    let text = refusal(mount.write("services/unifi", json!({ "base_url": format!("https://unifi.local:{port}"), "address": "127.0.0.1" })).await);
    assert!(text.contains("vault write mcp-proxy/config upstream_cidrs=127.0.0.1"), "{text}");
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.1" })).await.unwrap();
    let written = mount
        .write("services/unifi", json!({ "base_url": format!("https://unifi.local:{port}") }))
        .await
        .unwrap();
    assert!(written.warnings().iter().any(|warning| warning.contains("mDNS")), "{written:?}");
    mount.write("services/unifi", json!({ "address": "127.0.0.1", "auth": "header", "header_name": "X-API-KEY", "token": SECRET })).await.unwrap();
    let answer = mount.handle(Operation::Update, "check/unifi", json!({})).await.unwrap();
    let pin = answer.as_data().unwrap()["certificate_sha256"].clone();
    mount.write("services/unifi", json!({ "tls_pin_sha256": pin, "token": SECRET })).await.unwrap();
    mount.handle(Operation::Update, "proxy/unifi/GET", json!({ "path": "/" })).await.unwrap();
    let seen = &upstream.seen()[0];
    assert_eq!(seen.headers["x-api-key"], SECRET);
    assert_eq!(seen.headers["host"], format!("unifi.local:{port}"));
}

/// `http://homeassistant.local:8123` and `http://192.168.1.20:8989/api/v3`: plaintext, by two keys.
#[tokio::test]
async fn plaintext_at_home_by_two_keys() {
    let (port, seen) = crate::upstream::plaintext().await;
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.1" })).await.unwrap();
    let home = json!({
        "base_url": format!("http://homeassistant.local:{port}"), "address": "127.0.0.1",
        "danger_allow_plaintext": true, "auth": "bearer", "token": SECRET,
    });
    let text = refusal(mount.write("services/home", home.clone()).await);
    assert!(text.contains("allow_danger"), "{text}");
    mount.write("config", json!({ "allow_danger": "danger_allow_plaintext" })).await.unwrap();
    mount.write("services/home", home).await.unwrap();
    let sonarr = json!({
        "base_url": format!("http://127.0.0.1:{port}/api/v3"), "danger_allow_plaintext": true,
        "auth": "header", "header_name": "X-Api-Key", "token": SECRET,
    });
    mount.write("services/sonarr", sonarr).await.unwrap();
    for (service, head) in [
        ("home", format!("GET /states HTTP/1.1\r\nauthorization: Bearer {SECRET}")),
        ("sonarr", format!("x-api-key: {SECRET}")),
    ] {
        mount
            .handle(
                Operation::Update,
                &format!("proxy/{service}/GET"),
                json!({ "path": "/states" }),
            )
            .await
            .unwrap();
        let text = seen.lock().unwrap().pop().unwrap();
        let parts: Vec<&str> = head.split("\r\n").collect();
        assert!(parts.iter().all(|part| text.contains(part)), "{service}: {text}");
    }
    // Where nothing proves who answers, the address is part of what the secret is bound to, also where
    // another one is open.
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let text = refusal(mount.write("services/home", json!({ "address": "127.0.0.2" })).await);
    assert!(text.starts_with("binding_changed: "), "{text}");
}
