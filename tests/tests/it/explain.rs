//! `explain` says what a call does: both, on the real server, against the upstream's own record.

use e2e::upstream::Upstream;
use e2e::world::{World, definition};
use serde_json::{Value, json};

#[tokio::test]
async fn explains_url_and_verdict_are_those_of_the_call() {
    let world = World::start().await;
    let upstream = Upstream::start().await;
    let secret = world.secret();
    let mut fields = definition(&upstream);
    fields["base_url"] = json!(format!("{}/api/v3", upstream.url()));
    fields["auth"] = json!("header");
    fields["header_name"] = json!("X-Api-Key");
    fields["token"] = json!(secret);
    fields["rules"] = json!(
        "deny * /tasks/secret, allow GET,HEAD /tasks/**, allow POST /a?mode=get_*, allow GET /x/*"
    );
    world.root.write("mcp-proxy/services/demo", fields).await.ok();

    let (mut allowed, mut refused) = (0, 0);
    for (method, path, query, extra) in [
        ("GET", "/tasks/1", json!({}), json!({})),
        ("GET", "/tasks", json!({}), json!({})),
        ("GET", "/tasks/a/b%20c/%41", json!({ "q": "1 &=+#?/\u{e9}" }), json!({})),
        ("GET", "/tasks/1", json!({ "x": ["2", "1", "2"], "a": "" }), json!({})),
        ("HEAD", "/tasks/1", json!({}), json!({ "headers": { "If-Match": "\"1\"" } })),
        ("POST", "/a", json!({ "mode": "get_it" }), json!({ "json": "{\"b\":1}" })),
        ("POST", "/a", json!({ "mode": "set" }), json!({})),
        ("POST", "/a", json!({ "mode": ["get_a", "get_b"] }), json!({})),
        ("GET", "/tasks/secret", json!({}), json!({})),
        ("GET", "/tasks/%73ecret", json!({}), json!({})),
        ("DELETE", "/tasks/1", json!({}), json!({})),
        ("GET", "/x/", json!({}), json!({})),
        ("GET", "/x/y", json!({}), json!({})),
        ("GET", "/../tasks/1", json!({}), json!({})),
        ("GET", "/tasks/a%2fb", json!({}), json!({})),
        ("GET", "/tasks/1", json!({}), json!({ "headers": { "x-api-key": "mine" } })),
        ("GET", "/tasks/1", json!({}), json!({ "headers": { "Host": "evil.test" } })),
        ("POST", "/a", json!({ "mode": "get_it" }), json!({ "body": "a", "json": "{}" })),
        ("FOO", "/tasks/1", json!({}), json!({})),
    ] {
        let mut call = json!({ "path": path, "query": query });
        call.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let mut dry = call.clone();
        dry["method"] = json!(method);
        let what = format!("{method} {call}");

        let before = upstream.seen().len();
        let explained = world.root.write("mcp-proxy/explain/demo", dry).await.ok();
        let explained = explained.data();
        assert_eq!(upstream.seen().len(), before, "{what}: a dry run sends nothing");

        let answer = world.root.write(&format!("mcp-proxy/proxy/demo/{method}"), call).await;
        if explained["verdict"] == "allowed" {
            allowed += 1;
            assert_eq!(answer.status, 200, "{what}: {}", answer.text);
            let seen = upstream.seen().pop().unwrap();
            let url = format!("{}{}", upstream.url(), seen.target);
            assert_eq!(explained["url"], url, "{what}");
            assert_eq!(explained["method"], *seen.method, "{what}");
            assert_eq!(explained["rule"], answer.data()["rule"], "{what}");
            let credential = &explained["credential"];
            assert_eq!(credential["name"], "demo", "{what}");
            assert_eq!(credential["version"], 1, "{what}");
            let header = credential["header_name"].as_str().unwrap();
            assert_eq!(seen.header(header), Some(&*secret), "{what}");
            assert_eq!(explained["address_class"], json!(["loopback"]), "{what}");
        } else {
            refused += 1;
            assert_eq!(explained["verdict"], "refused", "{what}");
            assert_eq!(answer.status, 400, "{what}: {}", answer.text);
            assert_eq!(said(&answer.errors()), said(explained["message"].as_str().unwrap()));
            let code = explained["code"].as_str().unwrap();
            assert!(answer.errors().contains(&format!("{code}: ")), "{what}: {}", answer.text);
            assert_eq!(upstream.seen().len(), before, "{what}");
        }
    }
    assert!(allowed >= 6 && refused >= 9, "both happen: {allowed}, {refused}");
}

#[tokio::test]
async fn explain_and_call_agree_on_what_stands_in_the_way() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let config = |fields: Value| ("mcp-proxy/config", fields);
    let service = |fields: Value| ("mcp-proxy/services/demo", fields);
    let call = json!({ "path": "/a" });
    for ((path, change), (_, back), code) in [
        (
            config(json!({ "denied_destinations": "127.0.0.1" })),
            config(json!({ "denied_destinations": "" })),
            "address_forbidden",
        ),
        (config(json!({ "paused": true })), config(json!({ "paused": "" })), "paused"),
        (
            service(json!({ "enabled": false })),
            service(json!({ "enabled": true })),
            "service_disabled",
        ),
    ] {
        world.root.write(path, change).await.ok();
        let explained = world.root.write("mcp-proxy/explain/demo", call.clone()).await.ok();
        assert_eq!(explained.data()["verdict"], "refused", "{}", explained.text);
        assert_eq!(explained.data()["code"], code, "{}", explained.text);
        world.root.write("mcp-proxy/proxy/demo/GET", call.clone()).await.refused(400, code);
        world.root.write(path, back).await.ok();
        world.root.write("mcp-proxy/proxy/demo/GET", call.clone()).await.ok();
    }
    let explained = world.root.write("mcp-proxy/explain/nobody", call.clone()).await.ok();
    assert_eq!(explained.data()["code"], "unknown_service", "{}", explained.text);
    world.root.write("mcp-proxy/proxy/nobody/GET", call).await.refused(404, "unknown_service");
    assert_eq!(upstream.seen().len(), 3);
}

/// An error text without the id of its own request, nor the server's frame around it.
fn said(text: &str) -> String {
    let pattern = regex::Regex::new(r"\(request_id [^)]*\)").unwrap();
    let text = pattern.replace(text, "");
    let start = text.find("invalid_request: ").or_else(|| text.find("denied_by_rule: "));
    text[start.unwrap_or(0)..].trim().to_owned()
}
