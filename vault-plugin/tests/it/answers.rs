//! What an upstream can do with its answer to what it was sent: sizes, names, and time.

use std::time::{Duration, Instant};

use base64::Engine as _;
use http::Response;
use http_body_util::Full;
use serde_json::{Value, json};
use vault_sdk::{Error, Operation, Storage as _};

use crate::mount::{Mount, refusal};
use crate::proxy::{call, mount};
use crate::upstream::{Seen, Upstream, echo, text};

const MIB: usize = 1 << 20;
/// Of integrated storage (`max_entry_size`), in bytes.
const STORAGE_ENTRY: usize = MIB;
const MARK: &str = "[redacted: credential of \"demo\"]";

/// As the host stores a wrapped answer: JSON in a string of JSON, both as Go writes it.
fn stored(data: &Value) -> usize {
    let go = |value: &Value| {
        let text = serde_json::to_string(value).unwrap();
        let text = text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026");
        text.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
    };
    go(&json!({ "response": go(&json!({ "data": data })) })).len()
}

#[tokio::test]
async fn a_wrapped_answer_fits_into_a_storage_entry_or_is_refused_after_sending() {
    let upstream = Upstream::start(|seen: &Seen| {
        let body = match seen.target.split('/').next_back().unwrap() {
            "both" | "body" => "<".repeat(120 << 10),
            "quotes" => "\"".repeat(120 << 10),
            "separators" => "\u{2028}".repeat(40 << 10),
            "secret" => "ab12 ".repeat(24 << 10),
            _ => "ok".to_owned(),
        };
        let link = if seen.target.ends_with("both") || seen.target.ends_with("head") {
            "<".repeat(60_000)
        } else {
            String::new()
        };
        Response::builder()
            .header("content-type", "text/plain")
            .header("link", link)
            .body(Full::new(body.into()))
            .unwrap()
    })
    .await;
    let mut mount = mount(&upstream, json!({ "token": "ab12" })).await;
    for (path, fits) in [
        ("/", true),
        ("/body", true),
        ("/quotes", true),
        ("/separators", true),
        ("/head", true),
        ("/both", false),
    ] {
        mount.wrap_ttl = Some(Duration::from_secs(60));
        let sent = upstream.seen().len();
        let wrapped =
            mount.handle(Operation::Update, "proxy/demo/POST", json!({ "path": path })).await;
        assert_eq!(upstream.seen().len(), sent + 1, "{path}");
        if fits {
            let data = Value::Object(wrapped.unwrap().as_data().unwrap().clone());
            assert!(stored(&data) < STORAGE_ENTRY, "{path}: {}", stored(&data));
            assert_eq!(data["redacted"], 0, "{path}");
        } else {
            let Err(Error::Coded { status: 424, message }) = wrapped else {
                panic!("{path}: {wrapped:?}")
            };
            assert!(message.starts_with("response_too_large: "), "{message}");
            assert!(message.contains("The request was sent"), "{message}");
            assert!(message.contains("(request_id r-1)"), "{message}");
        }
        // Nothing but the wrapping stands in its way.
        mount.wrap_ttl = None;
        assert_eq!(call(&mount, "proxy/demo/POST", json!({ "path": path })).await["status"], 200);
    }
    // Marks don't make it larger than it may be, either.
    mount.wrap_ttl = Some(Duration::from_secs(60));
    let data = Value::Object(call(&mount, "proxy/demo/POST", json!({ "path": "/secret" })).await);
    assert!(stored(&data) < STORAGE_ENTRY, "{}", stored(&data));
    assert!(!data.to_string().contains("ab12"));
}

#[tokio::test]
async fn redaction_makes_no_answer_larger_than_the_call_allows() {
    const LIMIT: usize = 64 << 10;
    let upstream = Upstream::start(|seen: &Seen| {
        let (_, rest) = seen.target.rsplit_once('/').unwrap();
        let (kind, count) = rest.split_once('-').unwrap();
        let count = count.parse().unwrap();
        match kind {
            "json" => text("application/json", json!({ "x": "ab12 ".repeat(count) }).to_string()),
            "lines" => text("application/x-ndjson", "{\"x\":\"ab12\"}\n".repeat(count)),
            _ => text("text/plain", "ab12 ".repeat(count)),
        }
    })
    .await;
    let mount = mount(&upstream, json!({ "token": "ab12", "max_response_bytes": LIMIT })).await;
    for kind in ["text", "json", "lines"] {
        // As many as the limit holds when they are marked, and more.
        for (count, whole) in [(1, false), (1_000, false), (4_500, true)] {
            let path = format!("/{kind}-{count}");
            let data = call(&mount, "proxy/demo/GET", json!({ "path": path })).await;
            let body = data["body"].as_str().unwrap();
            assert!(body.len() <= LIMIT, "{path}: {}", body.len());
            assert!(!body.contains("ab12"), "{path}");
            assert_eq!(data["redacted"], count, "{path}");
            let bare = match kind {
                "json" | "lines" if whole => serde_json::from_str::<String>(body).unwrap(),
                _ => body.to_owned(),
            };
            assert_eq!(bare == MARK, whole, "{path}: {}", &body[..body.len().min(200)]);
        }
    }
}

#[tokio::test]
async fn a_body_full_of_secrets_holds_no_more_places_than_there_is_room_for() {
    // More places than are kept: found, not counted to the end, and none handed out.
    let upstream = Upstream::start(|_: &Seen| text("text/plain", "ab12 ".repeat(MIB))).await;
    let mount = mount(&upstream, json!({ "token": "ab12", "max_response_bytes": 32 * MIB })).await;
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/" })).await;
    let body = data["body"].as_str().unwrap();
    assert!(body == MARK, "{}", &body[..body.len().min(200)]);
    assert!(data["redacted"].as_u64().unwrap() > 10_000, "{}", data["redacted"]);
}

#[tokio::test]
async fn headers_full_of_secrets_do_not_grow() {
    let upstream = Upstream::start(|_: &Seen| {
        Response::builder()
            .header("link", "ab12 ".repeat(10_000))
            .header("etag", "\"ab12\"")
            .body(Full::default())
            .unwrap()
    })
    .await;
    let mount = mount(&upstream, json!({ "token": "ab12" })).await;
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/" })).await;
    let link = data["headers"]["link"].as_str().unwrap();
    assert!(link == MARK, "{}", &link[..link.len().min(200)]);
    assert_eq!(data["headers"]["etag"], format!("\"{MARK}\""));
    assert_eq!(data["redacted"], 10_001);
}

#[tokio::test]
async fn a_header_named_by_the_secret_is_dropped_and_counted() {
    const TOKEN: &str = "Abcdef0123456789ABCD";
    let upstream = Upstream::start(|seen: &Seen| {
        let token = seen.headers["authorization"].to_str().unwrap().rsplit_once(' ').unwrap().1;
        let hex: String = token.bytes().map(|byte| format!("{byte:02x}")).collect();
        let base64 = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(token);
        Response::builder()
            .header(format!("x-ratelimit-{token}"), "1")
            .header(format!("ratelimit-{hex}"), "2")
            .header(format!("x-ratelimit-{}", token.to_ascii_uppercase()), "3")
            .header("x-ratelimit-limit", "4")
            // In lower case, as names are, it says nothing any more; the value does.
            .header("ratelimit", base64)
            .body(Full::default())
            .unwrap()
    })
    .await;
    let mount = mount(&upstream, json!({ "token": TOKEN })).await;
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/" })).await;
    let names: Vec<_> = data["headers"].as_object().unwrap().keys().cloned().collect();
    assert!(names.iter().all(|name| !name.contains("0123456789")), "{names:?}");
    assert!(names.iter().all(|name| !name.contains("30313233")), "{names:?}");
    assert_eq!(data["headers"]["x-ratelimit-limit"], "4", "the others pass: {names:?}");
    assert_eq!(data["headers"]["ratelimit"], MARK);
    // The spellings in either case are one field with two values.
    assert_eq!(data["redacted"], 3, "{data:?}");
}

#[tokio::test]
async fn a_secret_is_as_long_as_what_is_sent_of_it_can_be_searched_for() {
    let upstream = Upstream::start(echo).await;
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let all: String = (0..1_300).map(|n| format!("{n:03x}")).collect();
    let service = |user: usize, password: usize| {
        json!({
            "base_url": upstream.base_url, "ca_cert": upstream.ca, "auth": "basic",
            "username": "u".repeat(user), "password": all[..password],
        })
    };
    // `user:password` in base64 has 4 characters for 3 bytes: 3,072 bytes become 4,096.
    for (user, password) in [(4, 3_600), (4, 3_069), (1_000, 2_100)] {
        let result = mount.write("services/demo", service(user, password)).await;
        let Err(Error::Invalid(text)) = result else { panic!("{user}+{password}: {result:?}") };
        assert!(text.starts_with("invalid_request: "), "{text}");
        assert!(text.contains("4096") && text.contains("3071"), "the bound: {text}");
        assert!(text.contains("Nothing was changed"), "{text}");
        assert!(!text.contains("0000010020"), "{text}");
    }
    assert!(mount.read("services/demo").await.is_none());
    mount.write("services/demo", service(5, 3_066)).await.unwrap();
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/" })).await;
    assert_eq!(data["status"], 200);
    assert_ne!(data["redacted"], 0);
    // `user:` has 6 bytes: the password's own base64 stands in the header.
    for piece in [&all[..30], &all[1_500..1_530], &all[3_036..3_066]] {
        let piece = base64::engine::general_purpose::STANDARD.encode(piece);
        let sent = upstream.seen()[0].headers["authorization"].to_str().unwrap().to_owned();
        assert!(sent.contains(&piece), "{piece}");
        assert!(!data["body"].as_str().unwrap().contains(&piece), "{data:?}");
    }
    // The same where a shared one is written.
    let shared = json!({
        "origin": upstream.base_url, "ca_cert": upstream.ca, "auth": "basic",
        "username": "u", "password": "x".repeat(4_000),
    });
    let text = refusal(mount.write("credentials/shared", shared).await);
    assert!(text.starts_with("invalid_request: ") && text.contains("3071"), "{text}");
}

#[tokio::test]
async fn a_stored_secret_that_cannot_be_searched_for_is_refused_before_sending() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    // As if a version with other bounds had stored it.
    let storage = mount.storage.as_ref();
    let key = storage.keys().into_iter().find(|key| key.starts_with("material/")).unwrap();
    let mut entry: Value =
        serde_json::from_slice(&storage.get(&key).await.unwrap().unwrap()).unwrap();
    entry["secret"]["token"] = json!("x".repeat(5_000));
    storage.put(&key, entry.to_string().into_bytes()).await.unwrap();
    let mount = Mount::on(std::sync::Arc::clone(&mount.storage));
    for path in ["proxy/demo/GET", "check/demo"] {
        let asked = if path == "check/demo" { json!({}) } else { json!({ "path": "/" }) };
        let result = mount.handle(Operation::Update, path, asked).await;
        let Err(Error::Invalid(text)) = result else { panic!("{path}: {result:?}") };
        assert!(text.starts_with("credential_missing: "), "{text}");
        assert!(text.contains("4096 bytes") && text.contains("Nothing was sent"), "{text}");
    }
    let explained = call(&mount, "explain/demo", json!({ "path": "/" })).await;
    assert_eq!(
        (&explained["verdict"], &explained["code"]),
        (&json!("refused"), &json!("credential_missing"))
    );
    assert!(upstream.seen().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_search_keeps_to_the_calls_time_and_leaves_the_others_theirs() {
    const CALLS: usize = 12;
    let upstream = Upstream::start(|seen: &Seen| {
        // All of them within one service's share of the memory for bodies.
        let size = if seen.target.ends_with("large") { 5 * MIB } else { 2 };
        text("text/plain", vec![b'x'; size])
    })
    .await;
    // 128 patterns over so much, twelve times, take many times the call's two seconds.
    let token: String = (0..1_024).map(|n| format!("{n:04x}")).collect();
    let more = json!({ "token": token, "timeout": "2s", "max_response_bytes": 32 * MIB });
    let mount = std::sync::Arc::new(mount(&upstream, more).await);
    // The patterns are built, which may take longer than the call may.
    let _ = mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/small" })).await;
    let started = Instant::now();
    let large: Vec<_> = (0..CALLS)
        .map(|_| {
            let mount = std::sync::Arc::clone(&mount);
            tokio::spawn(async move {
                let asked = json!({ "path": "/large" });
                let result = mount.handle(Operation::Update, "proxy/demo/GET", asked).await;
                (result, started.elapsed())
            })
        })
        .collect();
    let mut late = 0;
    for call in large {
        let (result, took) = call.await.unwrap();
        assert!(took < Duration::from_secs(5), "{took:?}");
        match result {
            Ok(response) => assert_eq!(response.as_data().unwrap()["redacted"], 0),
            Err(Error::Coded { status: 424, message }) => {
                assert!(message.starts_with("outcome_unknown: "), "{message}");
                assert!(message.contains("was sent"), "{message}");
                assert!(message.contains("Don't repeat it"), "{message}");
                late += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(late > 0, "the searches took less than their time: the case shows nothing");
    // None goes on after its time: the next call has its turn at once.
    let again = Instant::now();
    assert_eq!(call(&mount, "proxy/demo/GET", json!({ "path": "/small" })).await["status"], 200);
    assert!(again.elapsed() < Duration::from_secs(2), "{:?}", again.elapsed());
}
