//! Hostile callers: what they try with headers, parameters and bodies to get at the credential's
//! place or past the rules.

use e2e::upstream::Upstream;
use e2e::wait;
use e2e::world::{World, definition};
use serde_json::{Value, json};

#[tokio::test]
async fn the_credentials_own_place_is_out_of_reach_in_every_spelling() {
    let world = World::start().await;
    for (name, kind, parameter, calls) in [
        (
            "query",
            "query_param",
            json!({ "param_name": "api_key" }),
            vec![
                json!({ "path": "/a", "query": { "api_key": "mine" } }),
                json!({ "path": "/a", "query": { "API_KEY": "mine" } }),
                json!({ "path": "/a", "query": { "Api_Key": ["a", "b"] } }),
                json!({ "path": "/a", "query": { "api_key": "" } }),
                json!({ "path": "/a?api_key=mine" }),
                json!({ "path": "/a&api_key=mine#" }),
            ],
        ),
        (
            "header",
            "header",
            json!({ "header_name": "X-Api-Key", "allowed_request_headers": "X-Other" }),
            vec![
                json!({ "path": "/a", "headers": { "x-api-key": "mine" } }),
                json!({ "path": "/a", "headers": { "X-API-KEY": "mine" } }),
                json!({ "path": "/a", "headers": { "X-Api-Key": "a", "x-api-key": "b" } }),
                json!({ "path": "/a", "headers": { "X-Api-Key ": "mine" } }),
                json!({ "path": "/a", "headers": { "X-Other": "a\r\nX-Api-Key: mine" } }),
                json!({ "path": "/a", "headers": { "Connection": "X-Api-Key" } }),
                json!({ "path": "/a", "headers": { "Connection": "close, X-Other" } }),
            ],
        ),
        (
            "cookie",
            "cookie",
            json!({ "cookie_name": "sid" }),
            vec![
                json!({ "path": "/a", "headers": { "Cookie": "sid=mine" } }),
                json!({ "path": "/a", "headers": { "cookie": "other=1" } }),
                json!({ "path": "/a", "headers": { "Cookie2": "sid=mine" } }),
            ],
        ),
    ] {
        let upstream = Upstream::start().await;
        let mut fields = definition(&upstream);
        fields["auth"] = json!(kind);
        fields["token"] = json!(world.secret());
        fields.as_object_mut().unwrap().extend(parameter.as_object().unwrap().clone());
        world.root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
        for call in calls {
            let path = format!("mcp-proxy/proxy/{name}/GET");
            let answer = world.root.write(&path, call.clone()).await;
            assert_eq!(answer.status, 400, "{name} {call}: {}", answer.text);
            assert!(answer.errors().contains("invalid_request: "), "{call}: {}", answer.text);
        }
        assert_eq!(upstream.connections(), 0, "{name}");
        // An encoded question mark is part of its segment, and stays that.
        let call = json!({ "path": "/a%3Fapi_key=mine" });
        world.root.write(&format!("mcp-proxy/proxy/{name}/GET"), call).await.ok();
        let target = upstream.only().target;
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        assert_eq!(path, "/a%3Fapi_key=mine");
        assert_eq!(query.starts_with("api_key=canary%2F"), name == "query", "{target}");
        assert_eq!(query.matches('=').count(), usize::from(name == "query"), "{target}");
    }
}

#[tokio::test]
async fn an_operator_cannot_let_dangerous_headers_through_by_name_or_by_star() {
    let world = World::start().await;
    let (upstream, token) = world.service("demo").await;
    for name in [
        "Authorization",
        "cookie",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "Connection",
        "TE",
        "Upgrade",
        "Proxy-Authorization",
        "X-Vault-Token",
        "Forwarded",
        "X-Forwarded-For",
        "X-HTTP-Method-Override",
        "X-HTTP-Path-Override",
        "X-Original-URL",
        "X-Original-Path",
        "X-Envoy-Original-Path",
        "Content-Encoding",
        "Range",
        "Via",
        "*",
        "X-*",
    ] {
        let fields = json!({ "allowed_request_headers": [name] });
        let written = world.root.write("mcp-proxy/services/demo", fields).await;
        // Either the definition is refused, or the list doesn't help the caller.
        if written.status == 400 {
            continue;
        }
        written.ok();
        let tried: &[&str] = if name.contains('*') {
            &["Authorization", "Content-Encoding", "Range", "Via", "X-Envoy-Original-Path"]
        } else {
            &[name]
        };
        for tried in tried {
            let call = json!({ "path": "/a", "headers": { *tried: "mine" } });
            let answer = world.root.write("mcp-proxy/proxy/demo/GET", call).await;
            assert_eq!(answer.status, 400, "{name} {tried}: {}", answer.text);
        }
    }
    assert_eq!(upstream.connections(), 0);

    let fields = json!({ "allowed_request_headers": "X-Tenant" });
    world.root.write("mcp-proxy/services/demo", fields).await.ok();
    let call = json!({ "path": "/a", "headers": { "x-tenant": "7" } });
    world.root.write("mcp-proxy/proxy/demo/GET", call).await.ok();
    let seen = upstream.only();
    assert_eq!(seen.header("x-tenant"), Some("7"));
    assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {token}")));
}

#[tokio::test]
async fn switches_let_encoded_slashes_and_parameters_stay_in_their_segment() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let base = json!({
        "base_url": format!("{}/api/v4", upstream.url()),
        "rules": "allow GET /projects/*/issues",
        "allow_encoded_slash": true,
        "allow_path_params": true,
    });
    world.root.write("mcp-proxy/services/demo", base).await.ok();
    for (path, target) in [
        ("/projects/group%2Fname/issues", "/api/v4/projects/group%2Fname/issues"),
        ("/projects/group%2fname/issues", "/api/v4/projects/group%2Fname/issues"),
        ("/projects/a;v=1/issues", "/api/v4/projects/a;v=1/issues"),
    ] {
        world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": path })).await.ok();
        assert_eq!(upstream.seen().pop().unwrap().target, target, "{path}");
    }
    let before = upstream.seen().len();
    for path in [
        "/projects/%2e%2e%2fadmin/issues",
        "/projects/..%2fadmin/issues",
        "/projects/a%2f..%2f..%2fadmin/issues",
        "/projects/a%2F/issues",
        "/projects/a%2F%2Fb/issues",
        "/projects/a%252fb/issues",
        "/projects/a%5cb/issues",
        "/projects/..;/issues",
        "/projects/..;x=1/issues",
        "/projects/a;/../b/issues",
        "/projects/a/b/issues",
    ] {
        let answer = world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": path })).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.text);
    }
    assert_eq!(upstream.seen().len(), before);
}

#[tokio::test]
async fn placeholders_in_the_callers_data_stay_what_they_are() {
    let world = World::start().await;
    let (upstream, token) = world.service("demo").await;
    let text = "{{token}} ${token} $TOKEN %s {0} <%= token %> {{credential.token}} \\u0000";
    let call = json!({
        "path": "/%7B%7Btoken%7D%7D/$%7Btoken%7D",
        "query": { "{{token}}": "${token}" },
        "headers": { "Accept": "{{token}}" },
        "body": text,
    });
    world.root.write("mcp-proxy/proxy/demo/POST", call).await.ok();
    let seen = upstream.only();
    assert_eq!(seen.target, "/%7B%7Btoken%7D%7D/$%7Btoken%7D?%7B%7Btoken%7D%7D=%24%7Btoken%7D");
    assert_eq!(seen.header("accept"), Some("{{token}}"));
    assert_eq!(seen.body, text.as_bytes());
    let mut bare = seen.clone();
    bare.headers.retain(|(name, _)| name != "authorization");
    assert!(!String::from_utf8_lossy(&bare.bytes()).contains(&token), "filled in nowhere");
}

/// Allowed by JSON's grammar (RFC 8259, section 8.2).
const HALF: &str = r#""\ud800""#;

#[tokio::test]
async fn monstrous_input_is_refused_and_the_plugin_goes_on() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let plugins = world.server.plugins();
    let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
    let deep = |depth: usize| (1..depth).fold(json!([]), |inner, _| json!([inner]));
    let keys: serde_json::Map<String, Value> =
        (0..1_000_000).map(|number| (format!("k{number}"), json!(1))).collect();
    let strings: Vec<String> = (0..100_000).map(|number| number.to_string()).collect();
    for (what, fields) in [
        ("deep, as text", json!({ "json": nested(100_000) })),
        ("deep, as JSON", json!({ "json": deep(100) })),
        ("deeper, as JSON", json!({ "json": deep(1000) })),
        ("deep query", json!({ "query": { "a": { "b": { "c": 1 } } } })),
        ("a million keys in the query", json!({ "query": keys })),
        ("a hundred thousand values", json!({ "query": { "a": strings } })),
        ("keys that are no strings", json!({ "query": [1, 2] })),
        ("headers that are no pairs", json!({ "headers": [["a"]] })),
        ("broken UTF-8 in the path", json!({ "path": "/%ff%fe" })),
        ("half a surrogate pair, as text", json!({ "json": HALF })),
    ] {
        let before = upstream.seen().len();
        let mut call = json!({ "path": "/a" });
        call.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let answer = world.root.write("mcp-proxy/proxy/demo/POST", call).await;
        let sent = upstream.seen().len() - before;
        // What is valid JSON may pass as it is; what is refused is refused unsent.
        match answer.status {
            200 => {
                assert!(sent == 1 && what.contains("as "), "{what}: {}", answer.text);
                let body = upstream.seen().pop().unwrap().body;
                let whole = [nested(100_000), nested(100), nested(1000), HALF.to_owned()];
                assert!(whole.iter().any(|text| text.as_bytes() == body), "{what}");
            }
            400 | 413 => assert_eq!(sent, 0, "{what}"),
            status => panic!("{what}: {status}: {}", answer.text),
        }
    }
    // Raw bytes that are no UTF-8 inside the request to the server itself.
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/mcp-proxy/proxy/demo/POST", world.server.address());
    let body = b"{\"path\":\"/a\",\"body\":\"\xff\xfe\"}".to_vec();
    let raw = http.post(url).header("X-Vault-Token", world.root.token()).body(body);
    let status = raw.send().await.unwrap().status().as_u16();
    assert!(matches!(status, 200 | 400), "{status}");
    if let Some(seen) = upstream.seen().last().filter(|_| status == 200) {
        assert!(std::str::from_utf8(&seen.body).is_ok(), "the server mends it: {:?}", seen.body);
    }
    let call = json!({ "path": "/a" });
    world.root.write("mcp-proxy/proxy/demo/GET", call).await.ok();
    assert_eq!(world.server.plugins(), plugins, "the same process all along");
}

#[tokio::test]
async fn a_method_is_never_empty_and_never_hidden() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    for (path, call) in [
        ("demo/%20", json!({ "path": "/a" })),
        ("demo/POST", json!({ "path": "/a", "method": "" })),
        ("demo/POST", json!({ "path": "/a", "method": "DELETE" })),
        ("demo", json!({ "path": "/a", "method": "POST" })),
        ("demo/POST", json!({ "path": "/a", "headers": { "X-HTTP-Method": "DELETE" } })),
        ("demo/POST", json!({ "path": "/a", "query": { "_method": "DELETE" } })),
        ("demo/POST", json!({ "path": "/a", "form": { "_method": "DELETE" } })),
        ("demo/POST", typed("application/x-www-form-urlencoded", "_method=DELETE")),
        ("demo/POST", typed("", "_method=DELETE")),
        ("demo/POST", typed("multipart/form-data; boundary=x", &part("name=\"\\_method\""))),
        ("demo/POST", typed("multipart/form-data; boundary=x", &part("name = \"_method\""))),
        ("demo/POST", typed("application/json", "{\"_method\":\"DELETE\",}")),
        ("demo/POST", typed("application/json", "\u{feff}{\"_method\":\"DELETE\"}")),
    ] {
        let path = format!("mcp-proxy/proxy/{path}");
        let answer = world.root.write(&path, call.clone()).await;
        assert!(matches!(answer.status, 400 | 404 | 405), "{path} {call}: {}", answer.text);
    }
    assert_eq!(upstream.connections(), 0);
    // What the service says of itself decides what the body is.
    let own = json!({ "headers": { "Content-Type": "application/x-www-form-urlencoded" } });
    world.root.write("mcp-proxy/services/demo", own).await.ok();
    let call = json!({ "path": "/a", "body": "_method=DELETE" });
    let answer = world.root.write("mcp-proxy/proxy/demo/POST", call).await;
    answer.refused(400, "invalid_request");
    assert_eq!(upstream.connections(), 0);
    let call = json!({ "path": "/a", "body": "method=DELETE" });
    world.root.write("mcp-proxy/proxy/demo/POST", call).await.ok();
    let kind = "application/x-www-form-urlencoded";
    assert_eq!(upstream.only().header("content-type"), Some(kind));
}

#[tokio::test]
async fn a_parameter_that_a_rule_judges_is_in_the_query_alone() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let rules =
        json!({ "rules": "deny POST /b?cmd=delete, allow POST /a?cmd=get_*, allow POST /b" });
    world.root.write("mcp-proxy/services/demo", rules).await.ok();
    let form = "application/x-www-form-urlencoded";
    let cases = |name: &str| {
        vec![
            json!({ "form": { name: "delete" } }),
            json!({ "json": { name: "delete" } }),
            json!({ "json": format!("{{\"x\":1,\"{name}\":\"delete\"}}") }),
            typed(form, &format!("x=1&{name}=delete")),
            typed("multipart/form-data; boundary=x", &part(&format!("name=\"{name}\""))),
        ]
    };
    for (path, query) in [("/a", json!({ "cmd": "get_x" })), ("/b", json!({}))] {
        for name in ["cmd", "CMD", "cmd[]", "%63md"] {
            for mut call in cases(name) {
                call["path"] = json!(path);
                call["query"] = query.clone();
                let answer = world.root.write("mcp-proxy/proxy/demo/POST", call).await;
                let text = answer.refused(400, "denied_by_rule").errors();
                assert!(text.contains("Leave cmd out of the body"), "{path} {name}: {text}");
            }
        }
    }
    assert_eq!(upstream.connections(), 0);
    for mut call in cases("command") {
        call["path"] = json!("/a");
        call["query"] = json!({ "cmd": "get_x" });
        world.root.write("mcp-proxy/proxy/demo/POST", call).await.ok();
    }
    assert_eq!(upstream.seen().len(), 5);
}

#[tokio::test]
async fn a_request_that_cannot_be_read_is_logged_under_its_service() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let call = json!({ "path": "/a", "body": "a", "json": "{}" });
    let answer = world.root.write("mcp-proxy/proxy/demo/POST", call).await;
    answer.refused(400, "invalid_request");
    let line = wait::until("the decision in the log", async || {
        let traces = world.server.traces();
        let (_, log) = traces.iter().find(|(path, _)| path.ends_with("server.log"))?;
        let log = String::from_utf8_lossy(log);
        log.lines().find(|line| line.contains("proxy decision")).map(str::to_owned)
    })
    .await;
    for field in ["service=demo", "method=POST", "verdict=refused", "reason=invalid_request"] {
        assert!(line.contains(field), "{field}: {line}");
    }
    assert_eq!(upstream.connections(), 0);
}

/// A call with a body of the kind that its own header names.
fn typed(kind: &str, body: &str) -> Value {
    json!({ "path": "/a", "body": body, "headers": { "Content-Type": kind } })
}

/// A multipart body of one part, with the boundary `x`.
fn part(parameter: &str) -> String {
    format!("--x\r\nContent-Disposition: form-data; {parameter}\r\n\r\nDELETE\r\n--x--\r\n")
}
