//! The agent's whole way: MCP client, bridge, Vault, plugin, upstream.

use e2e::bridge::{self, Bridge};
use e2e::forms;
use e2e::server::Storage;
use e2e::world::{World, definition};
use serde_json::json;

const READER: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/catalog/demo" { capabilities = ["read"] }
path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }
"#;

#[tokio::test]
async fn an_agent_finds_reads_and_never_sees_the_key() {
    let world = World::start().await;
    let (upstream, token) = world.service("demo").await;
    let fields = json!({ "description": "A demo API" });
    world.root.write("mcp-proxy/services/demo", fields).await.ok();
    let role = world.app_role("agent", READER).await;
    let mut agent = Bridge::start(world.server.address(), &role).await;

    let tools = agent.request("tools/list", json!({})).await;
    let names: Vec<_> =
        tools["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
    assert_eq!(names, ["list_services", "proxy_read", "proxy_request"]);

    let overview = agent.call("list_services", json!({})).await;
    assert!(!overview.is_error, "{}", overview.text);
    assert!(overview.text.contains("demo: A demo API"), "{}", overview.text);

    let read = agent.call("proxy_read", json!({ "service": "demo", "path": "/headers" })).await;
    assert!(!read.is_error, "{}", read.text);
    assert!(read.text.starts_with("200 OK · demo · GET /headers · "), "{}", read.text);
    assert!(read.text.contains("redacted: credential of"), "{}", read.text);
    assert_eq!(upstream.only().header("authorization"), Some(&*format!("Bearer {token}")));

    let all = agent.leave().await;
    assert_eq!(forms::found(all.as_bytes(), &token), [""; 0]);
}

#[tokio::test]
async fn what_the_policy_forbids_is_said_and_not_sent() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let role = world.app_role("agent", READER).await;
    let mut agent = Bridge::start(world.server.address(), &role).await;
    let change = json!({ "service": "demo", "method": "POST", "path": "/a", "json": {} });
    let answer = agent.call("proxy_request", change).await;
    assert!(answer.is_error && answer.text.starts_with("not_permitted: "), "{}", answer.text);
    for (what, arguments) in [
        ("path", json!({ "service": "demo", "path": "/../admin" })),
        ("URL", json!({ "service": "demo", "path": "https://evil.test/" })),
        ("host", json!({ "service": "demo", "path": "//evil.test/" })),
        ("header", json!({ "service": "demo", "path": "/a", "headers": { "Authorization": "x" } })),
        ("service", json!({ "service": "demon", "path": "/a" })),
    ] {
        let answer = agent.call("proxy_read", arguments).await;
        assert!(answer.is_error, "{what}: {}", answer.text);
        assert!(!answer.text.contains("API key"), "{what}: {}", answer.text);
    }
    assert_eq!(upstream.connections(), 0);
    agent.leave().await;
}

#[tokio::test]
async fn a_live_agent_survives_rotation_a_killed_plugin_and_a_seal() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let role = world.app_role("agent", READER).await;
    let mut agent = Bridge::start(world.server.address(), &role).await;
    let read = || json!({ "service": "demo", "path": "/a" });
    let first = agent.call("proxy_read", read()).await;
    assert!(first.text.starts_with("200 OK"), "{}", first.text);

    let next = world.secret();
    world.root.write("mcp-proxy/services/demo", json!({ "token": next })).await.ok();
    let refused = agent.call("proxy_read", read()).await;
    assert!(
        refused.is_error && refused.text.starts_with("credential_refused: "),
        "{}",
        refused.text
    );
    let upstream = upstream.demanding("authorization", &format!("Bearer {next}"));
    assert!(agent.call("proxy_read", read()).await.text.starts_with("200 OK"));

    world.server.kill_plugins().await;
    e2e::wait::until("a call to work again", async || {
        let after = agent.call("proxy_read", read()).await;
        let expected = ["200 OK", "outcome_unknown: "];
        assert!(expected.iter().any(|text| after.text.starts_with(text)), "{}", after.text);
        (!after.is_error).then_some(())
    })
    .await;

    world.server.seal().await;
    let sealed = agent.call("proxy_read", read()).await;
    assert!(sealed.is_error && sealed.text.starts_with("vault_unavailable: "), "{}", sealed.text);
    world.server.unseal().await;
    let after = agent.call("proxy_read", read()).await;
    assert!(after.text.starts_with("200 OK"), "{}", after.text);
    assert_eq!(upstream.seen().len(), 5);
    agent.leave().await;
}

#[tokio::test]
async fn several_calls_run_at_once_and_come_back_as_they_end() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let role = world.app_role("agent", READER).await;
    let mut agent = Bridge::start(world.server.address(), &role).await;
    let call = |path: &str| json!({ "name": "proxy_read", "arguments": { "service": "demo", "path": path } });
    let slow = agent.begin("tools/call", call("/hold")).await;
    upstream.saw(1).await;
    let quick = agent.begin("tools/call", call("/a")).await;
    let answer = agent.answer(quick).await;
    assert!(bridge::ToolResult::of(&answer).text.starts_with("200 OK"), "{answer}");
    upstream.release();
    let answer = agent.answer(slow).await;
    assert!(bridge::ToolResult::of(&answer).text.starts_with("200 OK"), "{answer}");
    agent.leave().await;
}

#[tokio::test]
async fn a_body_of_thousands_of_strings_passes_the_servers_limit() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let rules =
        format!("{READER}path \"mcp-proxy/proxy/demo/+\" {{ capabilities = [\"update\"] }}");
    let role = world.app_role("agent", &rules).await;
    let mut agent = Bridge::start(world.server.address(), &role).await;
    let body = json!({ "items": (0..3000).map(|n| format!("item {n}")).collect::<Vec<_>>() });
    let call = json!({ "service": "demo", "method": "POST", "path": "/a", "json": body });
    let answer = agent.call("proxy_request", call).await;
    assert!(answer.text.starts_with("200 OK · demo · POST /a"), "{}", answer.text);
    let arrived: serde_json::Value = serde_json::from_slice(&upstream.only().body).unwrap();
    assert_eq!(arrived, body);
    agent.leave().await;
}

#[tokio::test]
async fn the_command_line_calls_with_exit_codes() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    let role = world.app_role("agent", READER).await;
    for (method, path, code) in
        [("GET", "/a", 0), ("GET", "/status/404", 22), ("POST", "/a", 3), ("GET", "/../a", 3)]
    {
        let arguments = ["call", "demo", method, path];
        let output = bridge::run(world.server.address(), &role, &arguments).await;
        assert_eq!(output.status.code(), Some(code), "{method} {path}: {output:?}");
    }
    let output = bridge::run("http://127.0.0.1:9", &role, &["call", "demo", "GET", "/a"]).await;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
}

#[tokio::test]
async fn a_live_agent_outlasts_a_restart_of_the_server() {
    let mut world = World::start_on(Storage::Raft).await;
    let cidrs = json!({ "upstream_cidrs": "127.0.0.0/8" });
    world.root.write("mcp-proxy/config", cidrs).await.ok();
    let (_upstream, _) = world.service("demo").await;
    let role = world.app_role("agent", READER).await;
    let mut agent = Bridge::start(world.server.address(), &role).await;
    let read = || json!({ "service": "demo", "path": "/a" });
    assert!(agent.call("proxy_read", read()).await.text.starts_with("200 OK"));

    let done = std::sync::atomic::AtomicBool::new(false);
    let restart = async {
        world.server.restart().await;
        done.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let meanwhile = async {
        let mut refusals = Vec::new();
        while !done.load(std::sync::atomic::Ordering::SeqCst) {
            let answer = agent.call("proxy_read", read()).await;
            if answer.is_error {
                refusals.push(answer.text);
            }
            tokio::task::yield_now().await;
        }
        refusals
    };
    let ((), refusals) = tokio::join!(restart, meanwhile);
    assert!(!refusals.is_empty(), "the server was never away");
    for text in refusals {
        let told = ["vault_unavailable: ", "outcome_unknown: "];
        assert!(told.iter().any(|code| text.starts_with(code)), "{text}");
        assert!(text.contains("Not your mistake") || text.contains("you may repeat"), "{text}");
    }
    e2e::wait::until("a call to work again", async || {
        let answer = agent.call("proxy_read", read()).await;
        (!answer.is_error).then_some(())
    })
    .await;
    agent.leave().await;
}

#[tokio::test]
async fn a_live_agent_follows_what_operators_change() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let all = READER.replace("demo", "+");
    let role = world.app_role("agent", &all).await;
    let mut agent = Bridge::start(world.server.address(), &role).await;
    let read = || json!({ "service": "demo", "path": "/a" });
    agent.request("tools/list", json!({})).await;
    assert!(!agent.call("proxy_read", read()).await.is_error);

    // Its token is revoked: it logs in anew, and the call goes through.
    let tokens = "sys/leases/revoke-prefix/auth/approle/login";
    world.root.write(tokens, json!({})).await.ok();
    let answer = agent.call("proxy_read", read()).await;
    assert!(answer.text.starts_with("200 OK"), "{}", answer.text);

    // Its policy is narrowed, then widened: both count at once, for the same token.
    let policy = |rules: &str| json!({ "policy": rules });
    let narrow = all.replace("mcp-proxy/proxy/+/GET", "mcp-proxy/proxy/other/GET");
    world.root.write("sys/policies/acl/agent", policy(&narrow)).await.ok();
    let answer = agent.call("proxy_read", read()).await;
    assert!(answer.is_error && answer.text.starts_with("not_permitted: "), "{}", answer.text);
    world.root.write("sys/policies/acl/agent", policy(&all)).await.ok();
    let answer = agent.call("proxy_read", read()).await;
    assert!(answer.text.starts_with("200 OK"), "{}", answer.text);

    // Another service is defined: the next answer brings the news to the client.
    let told = |agent: &Bridge| agent.transcript().matches("tools/list_changed").count();
    let before = told(&agent);
    let fields = definition(&upstream);
    world.root.write("mcp-proxy/services/second", fields).await.ok();
    assert!(!agent.call("proxy_read", read()).await.is_error);
    e2e::wait::until("the client to be told", async || {
        agent.request("ping", json!({})).await;
        (told(&agent) > before).then_some(())
    })
    .await;
    let listed = agent.request("tools/list", json!({})).await;
    let names = &listed["tools"][1]["inputSchema"]["properties"]["service"]["enum"];
    assert_eq!(names, &json!(["demo", "second"]));
    // And removed: it is named no more, and a call of it says so.
    world.root.delete("mcp-proxy/services/second").await.ok();
    let answer = agent.call("proxy_read", json!({ "service": "second", "path": "/a" })).await;
    assert!(answer.is_error && answer.text.starts_with("unknown_service: "), "{}", answer.text);
    agent.leave().await;
}

#[tokio::test]
async fn every_refusal_reads_as_agreed() {
    let world = World::start().await;
    let (demanding, _) = world.service("demo").await;
    let upstream = e2e::upstream::Upstream::start().await;
    let write = async |name: &str, more: serde_json::Value| {
        let mut fields = definition(&upstream);
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        world.root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
    };
    write("ruled", json!({ "rules": "allow GET /a/**, allow POST /b" })).await;
    write("slow", json!({ "timeout": 1 })).await;
    write("small", json!({ "max_response_bytes": 1024 })).await;
    let gone = e2e::upstream::Upstream::start().await;
    write("down", json!({ "base_url": gone.url(), "ca_cert": gone.ca() })).await;
    drop(gone);
    write("off", json!({ "enabled": false })).await;
    let open = json!({ "base_url": demanding.url(), "ca_cert": demanding.ca() });
    write("open", open).await;
    let role =
        world.app_role("agent", &READER.replace("demo/GET", "+/+").replace("demo", "+")).await;
    let mut agent = Bridge::start(world.server.address(), &role).await;
    agent.request("tools/list", json!({})).await;
    let _demanding = demanding.demanding("authorization", "Bearer another");
    let day = "(version 1, stored 20";
    for (service, method, path, expected) in [
        (
            "ruled",
            "DELETE",
            "/a/b",
            vec![
                "denied_by_rule: \"ruled\" doesn't allow DELETE /a/b. Allowed: GET /a/**; POST /b. \
                 Nothing was sent. Use an allowed call, or tell the user that an operator would \
                 have to change the rules.",
            ],
        ),
        (
            "slow",
            "POST",
            "/stall",
            vec!["outcome_unknown: ", "Don't repeat it", "Use proxy_read for that, then decide."],
        ),
        ("small", "GET", "/size/5000", vec!["response_too_large: ", "The request was sent. Ask"]),
        (
            "down",
            "GET",
            "/a",
            vec![
                "upstream_unreachable: Vault can't reach \"down\": it refused the connection. \
                 Nothing was sent.",
                "Try once more in a minute; then tell the user that it seems to be down.",
            ],
        ),
        (
            "off",
            "GET",
            "/a",
            vec!["service_disabled: ", "Nothing was sent. Retrying won't help", "tell the user"],
        ),
        (
            "demo",
            "GET",
            "/a",
            vec![
                "credential_refused: \"demo\" answered 401: it refused the credential that Vault \
                 holds",
                day,
                "don't ask the user for a key. Tell the user that an operator must renew it: \
                 vault write mcp-proxy/services/demo token=-",
            ],
        ),
        (
            "open",
            "GET",
            "/a",
            vec!["credential_refused: ", "Vault sends it none.", "don't ask the user for a key."],
        ),
    ] {
        let call = json!({ "service": service, "method": method, "path": path });
        let answer = agent.call("proxy_request", call).await;
        assert!(answer.is_error, "{service}: {}", answer.text);
        let mut rest = &*answer.text;
        for part in expected {
            let at = rest.find(part).unwrap_or_else(|| panic!("no {part:?} in: {}", answer.text));
            rest = &rest[at + part.len()..];
        }
        assert!(!answer.text.contains("API key"), "{}", answer.text);
        assert!(answer.text.contains("(request_id "), "{}", answer.text);
    }
    agent.leave().await;
}
