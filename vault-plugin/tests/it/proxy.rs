//! The pipeline with a real upstream: what it saw, what the caller got.

use std::time::Duration;

use base64::Engine as _;
use http::Response;
use http_body_util::Full;
use serde_json::{Map, Value, json};
use vault_sdk::{Error, Operation};

use crate::mount::{Mount, refusal};
use crate::upstream::{Seen, Upstream, echo, text};

const SECRET: &str = "sk-live/4f+Q~8s9Kx7-demo";

pub(crate) async fn mount(upstream: &Upstream, more: Value) -> Mount {
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let mut service = json!({
        "base_url": format!("{}/api/v3", upstream.base_url), "ca_cert": upstream.ca,
        "auth": "bearer", "token": SECRET,
    });
    service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    mount.write("services/demo", service).await.unwrap();
    mount
}

pub(crate) async fn call(mount: &Mount, path: &str, data: Value) -> Map<String, Value> {
    mount.handle(Operation::Update, path, data).await.unwrap().as_data().unwrap().clone()
}

#[tokio::test]
async fn the_upstream_gets_the_credential_and_the_caller_does_not() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    let data = call(
        &mount,
        "proxy/demo/GET",
        json!({ "path": "/items", "query": { "a": ["1", "2"], "b": "x y" } }),
    )
    .await;
    let seen = &upstream.seen()[0];
    assert_eq!(
        (seen.method.as_str(), seen.target.as_str()),
        ("GET", "/api/v3/items?a=1&a=2&b=x%20y")
    );
    assert_eq!(seen.headers["authorization"], format!("Bearer {SECRET}"));
    assert_eq!(seen.headers["x-request-id"], "r-1");
    assert_eq!(seen.headers["host"], upstream.base_url.strip_prefix("https://").unwrap());
    assert_eq!(data["status"], 200);
    assert_eq!(data["request_id"], "r-1");
    assert_eq!(data["redacted"], 1);
    let body: Value = serde_json::from_str(data["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["authorization"], "Bearer [redacted: credential of \"demo\"]");
    assert!(!serde_json::to_string(&data).unwrap().contains(SECRET));
}

#[tokio::test]
async fn a_header_kind_puts_the_secret_where_it_says() {
    let upstream = Upstream::start(echo).await;
    let header = json!({ "auth": "header", "header_name": "X-Api-Key", "prefix": "Key " });
    let mount = mount(&upstream, header).await;
    call(&mount, "proxy/demo", json!({ "path": "/" })).await;
    let seen = &upstream.seen()[0];
    assert_eq!(seen.headers["x-api-key"], format!("Key {SECRET}"));
    assert!(!seen.headers.contains_key("authorization"));
    // The caller can't set it, in any spelling.
    for name in ["x-api-key", "X-API-KEY", "x_api_key"] {
        refusal(
            mount
                .handle(
                    Operation::Update,
                    "proxy/demo",
                    json!({ "path": "/", "headers": { name: "mine" } }),
                )
                .await,
        );
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn bodies_arrive_as_they_were_given() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    let exact = "{\"n\":9007199254740993,\"f\":1.0}";
    for (form, body, kind) in [
        (json!({ "json": exact }), exact, "application/json"),
        (json!({ "json": ["{\"n\":9007199254", "740993,\"f\":1.0}"] }), exact, "application/json"),
        (json!({ "form": { "a": "1 &2" } }), "a=1%20%262", "application/x-www-form-urlencoded"),
        (json!({ "body": "plain" }), "plain", "text/plain; charset=utf-8"),
        (json!({ "body_base64": "AAH/" }), "\u{0}\u{1}\u{ff}", "application/octet-stream"),
        (json!({ "body": "<a/>", "headers": { "Content-Type": "text/xml" } }), "<a/>", "text/xml"),
    ] {
        let mut data = form.clone();
        data["path"] = json!("/x");
        call(&mount, "proxy/demo/POST", data).await;
        let seen = upstream.seen().pop().unwrap();
        let expected: Vec<u8> = if kind == "application/octet-stream" {
            vec![0, 1, 255]
        } else {
            body.as_bytes().to_vec()
        };
        assert_eq!(seen.body, expected, "{form}");
        assert_eq!(seen.headers["content-type"], kind, "{form}");
    }
}

#[tokio::test]
async fn what_cannot_be_meant_is_refused_before_anything_is_sent() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({ "max_request_bytes": 100 })).await;
    let huge = "x".repeat(101);
    for (path, data) in [
        ("proxy/demo/GET", json!({ "path": "/../admin" })),
        ("proxy/demo/GET", json!({ "path": "/%2e%2e/admin" })),
        ("proxy/demo/GET", json!({ "path": "https://evil.example/" })),
        ("proxy/demo/GET", json!({ "path": "//evil.example/x" })),
        ("proxy/demo/GET", json!({ "path": "/a?b=c" })),
        ("proxy/demo/GET", json!({ "path": "@evil.example" })),
        ("proxy/demo/GET", json!({ "path": "/x", "headers": { "Authorization": "Bearer mine" } })),
        ("proxy/demo/GET", json!({ "path": "/x", "headers": { "Host": "evil.example" } })),
        ("proxy/demo/GET", json!({ "path": "/x", "headers": { "X-Forwarded-For": "1" } })),
        (
            "proxy/demo/GET",
            json!({ "path": "/x", "headers": { "X-HTTP-Method-Override": "DELETE" } }),
        ),
        ("proxy/demo/GET", json!({ "path": "/x", "query": { "_method": "DELETE" } })),
        ("proxy/demo/GET", json!({ "path": "/x", "query": "a=b" })),
        ("proxy/demo/GET", json!({ "path": "/x", "method": "DELETE" })),
        ("proxy/demo", json!({ "path": "/x", "method": "DELETE", "body": "x" })),
        ("proxy/demo", json!({ "path": "/x", "method": null })),
        ("proxy/demo/GET", json!({ "path": "/x", "body": "x" })),
        ("proxy/demo/get", json!({ "path": "/x" })),
        ("proxy/demo/TRACE", json!({ "path": "/x" })),
        ("proxy/demo/CONNECT", json!({ "path": "/x" })),
        ("proxy/demo/POST", json!({ "path": "/x", "body": "x", "json": "{}" })),
        ("proxy/demo/POST", json!({ "path": "/x", "json": "{" })),
        ("proxy/demo/POST", json!({ "path": "/x", "body_base64": "%" })),
        ("proxy/demo/POST", json!({ "path": "/x", "body": huge })),
        ("proxy/demo/POST", json!({ "path": "/x", "url": "https://evil.example" })),
        ("proxy/demo/POST", json!({ "path": "/x", "entity_id": "somebody else" })),
        ("proxy/Demo/GET", json!({ "path": "/x" })),
    ] {
        let text = refusal(mount.handle(Operation::Update, path, data.clone()).await);
        assert!(text.starts_with("invalid_request: "), "{path} {data}: {text}");
    }
    assert!(upstream.seen().is_empty(), "{:?}", upstream.seen());
}

#[tokio::test]
async fn the_secret_is_taken_out_of_headers_and_bodies_in_its_other_forms() {
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("user:{SECRET}"));
    let percent: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let escaped = SECRET.replace('/', "\\/");
    let body = format!(
        "{{\"a\":\"{encoded}\",\"b\":\"{percent}\",\"c\":\"{escaped}\",\"d\":\"{SECRET}\"}}"
    );
    let answer = body.clone();
    let upstream = Upstream::start(move |_| {
        let mut response = text("application/json", answer.clone());
        response.headers_mut().insert("location", format!("/next?key={SECRET}").parse().unwrap());
        response.headers_mut().insert("set-cookie", format!("s={SECRET}").parse().unwrap());
        response.headers_mut().insert("www-authenticate", "Basic".parse().unwrap());
        response
    })
    .await;
    let mount = mount(&upstream, json!({})).await;
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    let shown = data["body"].as_str().unwrap();
    for form in [encoded.as_str(), percent.as_str(), escaped.as_str(), SECRET] {
        assert!(body.contains(form), "the control: it was sent");
        assert!(!shown.contains(form), "{shown}");
    }
    serde_json::from_str::<Value>(shown).expect("still JSON");
    assert_eq!(data["redacted"], 5);
    let headers = data["headers"].as_object().unwrap();
    assert_eq!(headers["location"], "/next?key=[redacted: credential of \"demo\"]");
    assert!(!headers.contains_key("set-cookie") && !headers.contains_key("www-authenticate"));
}

#[tokio::test]
async fn an_earlier_version_is_taken_out_too_and_the_next_call_uses_the_new_one() {
    let upstream = Upstream::start(|seen: &Seen| {
        text("text/plain", format!("old {SECRET} new {:?}", seen.headers["authorization"]))
    })
    .await;
    let mount = mount(&upstream, json!({})).await;
    call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    mount.write("services/demo", json!({ "token": "the-rotated-secret" })).await.unwrap();
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    assert_eq!(upstream.seen()[1].headers["authorization"], "Bearer the-rotated-secret");
    let body = data["body"].as_str().unwrap();
    assert!(!body.contains(SECRET) && !body.contains("the-rotated-secret"), "{body}");
    assert_eq!(data["redacted"], 2);
}

#[tokio::test]
async fn binary_answers_come_as_base64_unless_they_hold_the_secret() {
    let upstream = Upstream::start(|seen: &Seen| {
        let mut body = vec![0xff, 0xfe, 0x00];
        if seen.target.ends_with("leak") {
            body.extend_from_slice(SECRET.as_bytes());
        }
        text("image/png", body)
    })
    .await;
    let mount = mount(&upstream, json!({})).await;
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/image" })).await;
    assert_eq!(data["body_base64"], "//4A");
    assert!(!data.contains_key("body"));
    let text = refusal(
        mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/leak" })).await,
    );
    assert!(text.starts_with("response_undecodable: "), "{text}");
}

#[tokio::test]
async fn redirects_are_answers() {
    let evil = Upstream::start(echo).await;
    let location = format!("{}/steal", evil.base_url);
    let upstream = Upstream::start(move |_| {
        Response::builder().status(307).header("location", &location).body(Full::default()).unwrap()
    })
    .await;
    let mount = mount(&upstream, json!({})).await;
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    assert_eq!(data["status"], 307);
    assert!(evil.seen().is_empty());
}

#[tokio::test]
async fn an_upstreams_own_refusals_are_data() {
    let upstream =
        Upstream::start(|_: &Seen| Response::builder().status(401).body(Full::default()).unwrap())
            .await;
    let mount = mount(&upstream, json!({})).await;
    assert_eq!(call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await["status"], 401);
}

#[tokio::test]
async fn a_wrapped_answer_is_bounded_before_sending() {
    let upstream = Upstream::start(|_: &Seen| text("text/plain", vec![b'x'; 600 << 10])).await;
    let mut mount = mount(&upstream, json!({})).await;
    assert_eq!(call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await["status"], 200);
    mount.wrap_ttl = Some(Duration::from_secs(60));
    let text =
        refusal(mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/x" })).await);
    assert!(text.starts_with("response_too_large: "), "{text}");
}

#[tokio::test]
async fn pausing_and_switching_off_stop_calls_at_once() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    mount.write("config", json!({ "paused": true, "pause_reason": "an incident" })).await.unwrap();
    let text =
        refusal(mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/x" })).await);
    assert!(text.starts_with("paused: ") && text.contains("an incident"), "{text}");
    assert!(mount.read("services/demo").await.is_some(), "reads go on");
    mount.write("config", json!({ "paused": false })).await.unwrap();
    mount.write("services/demo", json!({ "enabled": "false" })).await.unwrap();
    let text =
        refusal(mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/x" })).await);
    assert!(text.starts_with("service_disabled: "), "{text}");
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_network_closed_again_stops_the_next_call() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    mount.write("config", json!({ "upstream_cidrs": "" })).await.unwrap();
    let text =
        refusal(mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/x" })).await);
    assert!(text.starts_with("address_forbidden: "), "{text}");
    assert!(!text.contains("127.0.0.1"), "no address in the text: {text}");
    assert_eq!(upstream.seen().len(), 1, "also over a kept connection");
}

#[tokio::test]
async fn a_service_made_anew_under_the_same_name_shares_nothing() {
    let first = Upstream::start(echo).await;
    let second = Upstream::start(echo).await;
    let mount = mount(&first, json!({})).await;
    call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    mount.handle(Operation::Delete, "services/demo", json!(null)).await.unwrap();
    mount
        .write(
            "services/demo",
            json!({ "base_url": second.base_url, "ca_cert": second.ca, "auth": "bearer" }),
        )
        .await
        .unwrap();
    let text =
        refusal(mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/x" })).await);
    assert!(text.starts_with("credential_missing: "), "{text}");
    assert!(second.seen().is_empty());
}

#[tokio::test]
async fn places_are_given_back_and_a_full_service_answers_at_once() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({ "max_in_flight": 1 })).await;
    let name = vault_plugin::name::Name::parse("demo").unwrap();
    let snapshot = mount.engine.snapshot(mount.storage.as_ref(), &name).await.unwrap();
    let held = snapshot.places.reserve(0).unwrap();
    let result = mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/x" })).await;
    let Err(Error::Invalid(text)) = result else { panic!("busy is a 400: {result:?}") };
    assert!(text.starts_with("busy: "), "{text}");
    drop(held);
    for _ in 0..3 {
        call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    }
}

#[tokio::test]
async fn health_follows_the_calls() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    let state = async |mount: &Mount| {
        mount.read("catalog/demo").await.unwrap()["health"]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(&mount).await, "unknown");
    call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    assert_eq!(state(&mount).await, "ok");
    drop(upstream);
    mount.write("services/demo", json!({ "description": "new connections" })).await.unwrap();
    let text =
        refusal(mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/x" })).await);
    assert!(
        text.starts_with("upstream_unreachable: ") && text.contains("Nothing was sent"),
        "{text}"
    );
    assert_eq!(state(&mount).await, "failing");
}

#[tokio::test]
async fn the_catalogs_revision_changes_with_the_services() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    let before = mount.read("catalog").await.unwrap()["revision"].clone();
    assert_eq!(
        call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await["catalog_revision"],
        before
    );
    mount.write("services/demo", json!({ "description": "new" })).await.unwrap();
    let after =
        call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await["catalog_revision"].clone();
    assert_ne!(after, before);
    assert_eq!(mount.read("catalog").await.unwrap()["revision"], after);
}

#[tokio::test]
async fn rules_decide_before_anything_is_sent_and_are_named() {
    let upstream = Upstream::start(echo).await;
    let rules =
        json!({ "rules": "deny * /admin/**, allow GET,HEAD /items/**\nallow POST /items?dry=1" });
    let mount = mount(&upstream, rules).await;
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/items/1" })).await;
    assert_eq!(data["rule"], "allow GET,HEAD /items/**");
    call(&mount, "proxy/demo/POST", json!({ "path": "/items", "query": { "dry": "1" } })).await;
    for (path, data) in [
        ("proxy/demo/GET", json!({ "path": "/admin" })),
        ("proxy/demo/GET", json!({ "path": "/%61dmin/x" })),
        ("proxy/demo/GET", json!({ "path": "/itemsadmin" })),
        ("proxy/demo/GET", json!({ "path": "/" })),
        ("proxy/demo/DELETE", json!({ "path": "/items/1" })),
        ("proxy/demo/POST", json!({ "path": "/items" })),
        ("proxy/demo/POST", json!({ "path": "/items", "query": { "dry": ["1", "0"] } })),
    ] {
        let text = refusal(mount.handle(Operation::Update, path, data.clone()).await);
        assert!(text.starts_with("denied_by_rule: "), "{path} {data}: {text}");
        assert!(text.contains("Allowed: GET,HEAD /items/**; POST /items?dry=1."), "{text}");
    }
    assert_eq!(upstream.seen().len(), 2);
    let catalog = mount.read("catalog/demo").await.unwrap();
    assert_eq!(catalog["methods"], json!(["GET", "HEAD", "POST"]));
    let written = mount.write("services/demo", json!({ "rules": "" })).await.unwrap();
    assert!(written.warnings()[0].contains("rules were cleared"), "{written:?}");
    refusal(mount.write("services/demo", json!({ "rules": "allow GET" })).await);
}

#[tokio::test]
async fn no_body_replaces_the_method() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    let form = json!({ "Content-Type": "application/x-www-form-urlencoded" });
    for data in [
        json!({ "form": { "_method": "DELETE" } }),
        json!({ "form": { "_METHOD": "DELETE" }, "headers": { "Content-Type": "text/plain" } }),
        json!({ "body": "a=1&_method=DELETE", "headers": form }),
        json!({ "body_base64": "X21ldGhvZD1ERUxFVEU=", "headers": form }),
        json!({ "json": { "_method": "DELETE" } }),
    ] {
        let text = refusal(mount.handle(Operation::Update, "proxy/demo/POST", data.clone()).await);
        assert!(text.starts_with("invalid_request: "), "{data}: {text}");
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn callers_learn_no_internal_address() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({ "upstream_cidrs": "127.0.0.0/8" })).await;
    mount.write("config", json!({ "upstream_cidrs": "10.0.0.0/8" })).await.unwrap();
    let text =
        refusal(mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/" })).await);
    assert!(text.starts_with("address_forbidden: "), "{text}");
    assert!(!text.contains("127.0.0"), "{text}");
}
