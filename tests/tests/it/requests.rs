//! What a caller may ask for: paths, headers, methods, bodies, and what it may get back.

use e2e::forms;
use e2e::server::Storage;
use e2e::world::World;
use serde_json::{Value, json};

#[tokio::test]
async fn a_path_that_could_mean_two_things_is_refused_before_any_connection() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let base = json!({ "base_url": format!("{}/api/v3", upstream.url()) });
    world.root.write("mcp-proxy/services/demo", base).await.ok();
    let long = format!("/{}", "a".repeat(2_000_000));
    for path in [
        "/../admin",
        "/x/../../admin",
        "/./admin",
        "/%2e%2e/%2e%2e/admin",
        "/.%2e/.%2E/admin",
        "/..\\..\\admin",
        "/..%5c..%5cadmin",
        "/%252e%252e/admin",
        "//evil.com/x",
        "/\\evil.com",
        "http://evil.com/",
        "https://evil.com",
        "@evil.com",
        ":80@evil.com",
        "a?apikey=evil&x=1",
        "a#frag",
        "/a#frag",
        "/a?x=1",
        "/a%00b",
        "/a%0d%0aX:1",
        "/a\r\nX: 1",
        "/a b",
        &long,
        "/admin//x",
        "/a%2fb",
        "/a%5cb",
        "/a;b=1",
        "/a%",
        "/a%2",
        "/a%zz",
        "/\u{e9}",
        "admin",
        "..",
        "/..",
        "/a/..;/b",
        "\u{0}",
        "/%c0%ae%c0%ae/",
        "/\u{ff0e}\u{ff0e}/",
    ] {
        let answer = world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": path })).await;
        let shown = &path[..path.len().min(40)];
        assert_eq!(answer.status, 400, "{shown}: {}", answer.text);
        assert!(answer.errors().contains("invalid_request: "), "{shown}: {}", answer.text);
    }
    assert_eq!(upstream.connections(), 0);

    // The control: an honest path arrives below the base path, byte for byte.
    let call = json!({ "path": "/a%20b/%41", "query": { "x": "1 &=", "y": ["2", "3"] } });
    world.root.write("mcp-proxy/proxy/demo/GET", call).await.ok();
    assert_eq!(upstream.only().target, "/api/v3/a%20b/A?x=1%20%26%3D&y=2&y=3");
}

#[tokio::test]
async fn headers_pass_by_an_allow_list() {
    let world = World::start().await;
    let (upstream, token) = world.service("demo").await;
    for name in [
        "Authorization",
        "authorization",
        "AUTHORIZATION",
        "Cookie",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "TE",
        "Expect",
        "Connection",
        "Upgrade",
        "Keep-Alive",
        "Trailer",
        "Proxy-Authorization",
        "X-Vault-Token",
        "Forwarded",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Unheard-Of",
        "Na:me",
        "Na\r\nme",
        "",
        " ",
    ] {
        let call = json!({ "path": "/a", "headers": { name: "x" } });
        let answer = world.root.write("mcp-proxy/proxy/demo/GET", call).await;
        assert_eq!(answer.status, 400, "{name:?}: {}", answer.text);
    }
    for value in ["a\r\nAuthorization: Bearer x", "a\nb", "a\u{0}b"] {
        let call = json!({ "path": "/a", "headers": { "Accept": value } });
        let answer = world.root.write("mcp-proxy/proxy/demo/GET", call).await;
        assert_eq!(answer.status, 400, "{value:?}: {}", answer.text);
    }
    assert_eq!(upstream.connections(), 0);

    let call = json!({ "path": "/a", "headers": { "Accept": "text/plain", "if-match": "\"1\"" } });
    world.root.write("mcp-proxy/proxy/demo/GET", call).await.ok();
    let seen = upstream.only();
    assert_eq!(seen.header("accept"), Some("text/plain"));
    assert_eq!(seen.header("if-match"), Some("\"1\""));
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {token}")));
    assert!(seen.header("x-request-id").is_some(), "{seen:?}");
}

#[tokio::test]
async fn rules_match_the_canonical_path_and_whole_segments() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let rules = "deny * /tasks/secret, allow GET,HEAD /tasks/*, allow POST /a?mode=get_*";
    world.root.write("mcp-proxy/services/demo", json!({ "rules": rules })).await.ok();
    for (method, path, query, allowed) in [
        ("GET", "/tasks/1", json!({}), true),
        ("HEAD", "/tasks/1", json!({}), true),
        ("POST", "/a", json!({ "mode": "get_x" }), true),
        ("GET", "/tasks", json!({}), false),
        ("GET", "/tasks/1/2", json!({}), false),
        ("GET", "/tasksadmin", json!({}), false),
        ("GET", "/tasks/secret", json!({}), false),
        ("GET", "/tasks/%73ecret", json!({}), false),
        ("GET", "/TASKS/1", json!({}), false),
        ("POST", "/tasks/1", json!({}), false),
        ("POST", "/a", json!({}), false),
        ("POST", "/a", json!({ "mode": ["get_x", "set"] }), false),
        ("GET", "/other", json!({}), false),
    ] {
        let before = upstream.seen().len();
        let call = json!({ "path": path, "query": query });
        let target = format!("mcp-proxy/proxy/demo/{method}");
        let answer = world.root.write(&target, call).await;
        if allowed {
            assert_eq!(answer.ok().data()["status"], 200, "{method} {path}");
        } else {
            answer.refused(400, "denied_by_rule");
        }
        assert_eq!(upstream.seen().len(), before + usize::from(allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn methods_are_few_and_exact() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    for method in
        ["TRACE", "CONNECT", "get", "Get", "GET%20", "GET%0d%0aX", "FOO", &"A".repeat(1000)]
    {
        let path = format!("mcp-proxy/proxy/demo/{method}");
        let answer = world.root.write(&path, json!({ "path": "/a" })).await;
        assert!(matches!(answer.status, 400 | 404 | 405), "{method}: {}", answer.text);
    }
    assert_eq!(upstream.connections(), 0);
    for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
        let path = format!("mcp-proxy/proxy/demo/{method}");
        let answer = world.root.write(&path, json!({ "path": "/a" })).await.ok();
        assert_eq!(answer.data()["status"], 200, "{method}: {}", answer.text);
        assert_eq!(upstream.seen().last().unwrap().method, method);
    }
}

#[tokio::test]
async fn a_body_has_one_form_and_arrives_as_it_is() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let path = "mcp-proxy/proxy/demo/POST";
    for (fields, kind, body) in [
        (json!({ "json": "{\"a\": 1.0}" }), "application/json", "{\"a\": 1.0}"),
        (json!({ "json": ["{\"a\":", "1}"] }), "application/json", "{\"a\":1}"),
        (json!({ "form": { "a": "1 2&" } }), "application/x-www-form-urlencoded", "a=1%202%26"),
        (json!({ "body": "{{token}} ${x}" }), "", "{{token}} ${x}"),
        (json!({ "body_base64": "AP8=" }), "", "\0\u{ff}"),
    ] {
        let mut call = fields.clone();
        call["path"] = json!("/a");
        world.root.write(path, call).await.ok();
        let seen = upstream.seen().pop().unwrap();
        let content_type = seen.header("content-type").unwrap_or_default();
        assert!(content_type.starts_with(kind), "{fields}: {content_type}");
        let expected: Vec<u8> =
            if fields.get("body_base64").is_some() { vec![0, 255] } else { body.bytes().collect() };
        let arrived = String::from_utf8_lossy(&seen.body).replace('+', "%20").into_bytes();
        assert!(seen.body == expected || arrived == expected, "{fields}: {:?}", seen.body);
    }
    let sent = upstream.seen().len();
    for fields in [
        json!({ "body": "a", "json": "{}" }),
        json!({ "json": "{not json" }),
        json!({ "body_base64": "***" }),
        json!({ "body": "x".repeat((1 << 20) + 1) }),
        json!({ "bodyy": "x" }),
    ] {
        let mut call = fields;
        call["path"] = json!("/a");
        world.root.write(path, call).await.refused(400, "invalid_request");
    }
    assert_eq!(upstream.seen().len(), sent);
}

#[tokio::test]
async fn an_echo_of_the_credential_is_redacted_in_every_form() {
    let world = World::start().await;
    let (upstream, token) = world.service("demo").await;
    let call = |path: String| {
        let api = world.root.clone();
        async move { api.write("mcp-proxy/proxy/demo/GET", json!({ "path": path })).await.ok() }
    };
    let answer = call("/headers".into()).await;
    let body = answer.data()["body"].as_str().unwrap();
    let echoed: Value = serde_json::from_str(body).expect("still JSON");
    assert_eq!(
        echoed["headers"]["authorization"], "Bearer [redacted: credential of \"demo\"]",
        "{body}"
    );
    assert_ne!(answer.data()["redacted"], 0);
    let forms = [
        "plain",
        "base64",
        "base64-1",
        "base64-2",
        "base64url",
        "percent",
        "percent-upper",
        "html",
        "hex",
        "json",
        "header",
    ];
    for form in forms {
        let answer = call(format!("/echo/{form}")).await;
        let text = answer.data().to_string();
        assert_eq!(forms::found(text.as_bytes(), &token), [""; 0], "{form}: {text}");
        assert!(text.contains("redacted: credential of"), "{form}: {text}");
        let headers = answer.data()["headers"].as_object().unwrap();
        assert!(!headers.contains_key("set-cookie"), "{text}");
    }
    assert_eq!(upstream.seen().len(), 1 + forms.len());
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_no_answer() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    let limit = json!({ "max_response_bytes": 1000 });
    world.root.write("mcp-proxy/services/demo", limit).await.ok();
    let call = |size: usize| json!({ "path": format!("/size/{size}") });
    world.root.write("mcp-proxy/proxy/demo/GET", call(1000)).await.ok();
    let answer = world.root.write("mcp-proxy/proxy/demo/GET", call(1001)).await;
    answer.refused(424, "response_too_large");
}

#[tokio::test]
async fn a_wrapped_answer_that_storage_would_refuse_is_told_so_after_one_call() {
    let world = World::start_on(Storage::Raft).await;
    let config = json!({ "upstream_cidrs": "127.0.0.0/8" });
    world.root.write("mcp-proxy/config", config).await.ok();
    let (upstream, _) = world.service("demo").await;
    // 7 bytes each, as they are stored: 84,000 and those of the header fit into an entry just so.
    for (angles, status) in [(1_000, 200), (84_000, 200), (85_000, 424), (120 << 10, 424)] {
        let before = upstream.seen().len();
        let answer = reqwest::Client::new()
            .post(format!("{}/v1/mcp-proxy/proxy/demo/POST", world.root.address()))
            .header("X-Vault-Token", world.root.token())
            .header("X-Vault-Wrap-TTL", "60s")
            .json(&json!({ "path": format!("/angles/{angles}") }))
            .send()
            .await
            .unwrap();
        assert_eq!(answer.status().as_u16(), status);
        let body: Value = answer.json().await.unwrap();
        if status == 200 {
            assert!(body["wrap_info"]["token"].is_string(), "{body}");
        } else {
            let text = body["errors"][0].as_str().unwrap();
            assert!(text.contains("response_too_large: "), "{text}");
            assert!(text.contains("The request was sent"), "{text}");
        }
        assert_eq!(upstream.seen().len(), before + 1);
    }
}

#[tokio::test]
async fn beyond_its_room_a_service_says_busy_at_once() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    world.root.write("mcp-proxy/services/demo", json!({ "max_in_flight": 2 })).await.ok();
    let call = |path: &str| {
        let (api, body) = (world.root.clone(), json!({ "path": path }));
        async move { api.write("mcp-proxy/proxy/demo/GET", body).await }
    };
    let held = [tokio::spawn(call("/hold")), tokio::spawn(call("/hold"))];
    upstream.saw(2).await;
    call("/a").await.refused(400, "busy");
    upstream.release();
    for answer in held {
        answer.await.unwrap().ok();
    }
    call("/a").await.ok();
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test]
async fn an_unreachable_upstream_and_one_that_says_no_are_told_apart() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let refusing = upstream.demanding("authorization", "Bearer another");
    let answer = world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/a" })).await.ok();
    assert_eq!(answer.data()["status"], 401, "data, not Vault's own 401: {}", answer.text);
    let port = refusing.port();
    drop(refusing);
    let answer = world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/a" })).await;
    assert_eq!(answer.status, 424, "{}", answer.text);
    assert!(!answer.text.contains(&port.to_string()), "no address: {}", answer.text);
}
