//! An agent's whole way to MCP servers: client, bridge, Vault, plugin, server and back.

use e2e::forms;
use serde_json::{Value, json};

use crate::mcp_stage::{AGENT, DOCS, OLD, Stage, call, shown, text, tools};

const TOOLS: [&str; 10] = [
    "add",
    "ask_model",
    "ask_user",
    "erase",
    "fail",
    "note",
    "rich",
    "show_headers",
    "slow",
    "visit",
];

#[tokio::test]
async fn an_agent_gets_whole_results_and_never_a_token() {
    let Some(stage) = Stage::set().await else { return };
    let root = &stage.world.root;
    let mut agent = stage.agent("agent", AGENT).await;
    // Looked at, not approved: known by number alone.
    let mut digests = Vec::new();
    for service in [DOCS, OLD] {
        let path = format!("mcp-proxy/tools/{service}");
        let seen = root.write(&format!("{path}/refresh"), json!({})).await.ok();
        assert_eq!(seen.data()["waiting"], TOOLS.len(), "{}", seen.text);
        let diff = root.read(&format!("{path}/diff")).await.ok();
        assert_eq!(diff.data()["digest"], seen.data()["digest"]);
        assert!(diff.data()["text"].as_str().unwrap().contains("new tool show.headers"));
        digests.push(seen.data()["digest"].clone());
    }
    assert_eq!(tools(&mut agent).await, [""; 0]);
    let overview = agent.call("list_services", json!({})).await.text;
    for service in [DOCS, OLD] {
        let waiting = format!("{service}: 10 tools wait for an operator's approval");
        assert!(overview.contains(&waiting), "{overview}");
    }
    let refused = agent.refusal("tools/call", json!({ "name": "docs__add" })).await;
    assert_eq!(refused["message"], "Unknown tool: docs__add");
    assert_eq!(stage.docs.executed(), [""; 0]);

    // What isn't what was read isn't approved.
    let other = json!({ "digest": "0".repeat(64) });
    let refused = root.write("mcp-proxy/tools/docs/approve", other).await;
    assert_eq!(refused.status, 400, "{}", refused.text);
    for (service, digest) in [DOCS, OLD].into_iter().zip(digests) {
        let path = format!("mcp-proxy/tools/{service}/approve");
        root.write(&path, json!({ "digest": digest })).await.ok();
    }
    shown(&mut agent, "old__add").await;
    let all = |service: &str| TOOLS.map(|tool| format!("{service}__{tool}"));
    assert_eq!(tools(&mut agent).await, [all(DOCS), all(OLD)].concat());

    for service in [DOCS, OLD] {
        let name = |tool: &str| format!("{service}__{tool}");
        let sum = call(&mut agent, &name("add"), json!({ "a": 20, "b": 22 })).await;
        assert_eq!(
            (&sum["structuredContent"], text(&sum)),
            (&json!({ "result": 42 }), "42"),
            "{sum}"
        );
        let rich = call(&mut agent, &name("rich"), json!({})).await;
        assert_eq!(rich["content"], everything_in_one(), "{rich}");
        let structured = json!({
            "big": 9_007_199_254_740_993_u64, "float": 1.5, "none": null, "list": [1, "two"],
        });
        assert_eq!(rich["structuredContent"], structured);
        assert_eq!(rich["_meta"]["example.com/trace"], json!({ "id": 7 }));
        let failed = call(&mut agent, &name("fail"), json!({ "reason": "x" })).await;
        assert_eq!(failed["isError"], true, "{failed}");
        assert!(text(&failed).contains("failed: x"), "{failed}");

        // The credential is in what the tool says, and taken out of it; the end looks everywhere.
        let shown = call(&mut agent, &name("show_headers"), json!({})).await;
        assert!(text(&shown).contains("[redacted: credential of"), "{shown}");

        // What only a client with a user or a model could give is refused, and named.
        for (tool, wanted) in [("ask_user", "elicitation"), ("ask_model", "sampling")] {
            let asked = call(&mut agent, &name(tool), json!({})).await;
            assert_eq!(asked["isError"], true, "{service} {tool}: {asked}");
            let told = text(&asked);
            // A server with a session is answered, and makes of it what it will.
            let refusal = if service == DOCS { "input_required_unsupported: " } else { "Vault" };
            assert!(told.contains(refusal), "{told}");
            assert!(told.contains(wanted), "{told}");
        }
        let expected =
            ["add", "rich", "fail", "show.headers", "ask_user", "ask_model"].map(str::to_owned);
        assert_eq!(stage.upstream(service).executed(), expected, "each was executed once");
    }
    // The world's end searches all that the server wrote.
    let said = agent.leave().await;
    for secret in &stage.secrets {
        assert_eq!(forms::found(said.as_bytes(), secret), [""; 0]);
    }
}

fn everything_in_one() -> Value {
    json!([
        { "type": "text", "text": "Grüße, 世界 \u{2028} \\ \"quoted\" \u{0}" },
        { "type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png" },
        { "type": "audio", "data": "UklGRg==", "mimeType": "audio/wav" },
        { "type": "resource_link", "uri": "docs://start", "name": "start" },
        { "type": "resource",
          "resource": { "uri": "docs://note", "mimeType": "text/plain", "text": "Note." } },
    ])
}

#[tokio::test]
async fn resources_prompts_rules_and_policies_hold_through_the_bridge() {
    let Some(stage) = Stage::approved().await else { return };
    let root = &stage.world.root;
    let mut agent = stage.agent("agent", AGENT).await;
    shown(&mut agent, "old__add").await;

    // Two servers have the same URIs: each goes by a name of its own.
    let listed = agent.request("resources/list", json!({})).await;
    let uris: Vec<_> = listed["resources"].as_array().unwrap().iter().map(|r| &r["uri"]).collect();
    assert_eq!(uris, ["docs+docs://start", "old+docs://start"]);
    let templates = agent.request("resources/templates/list", json!({})).await;
    let first = &templates["resourceTemplates"][0]["uriTemplate"];
    assert_eq!(first, "docs+docs://pages/{number}", "{templates}");
    for (uri, expected) in [("docs+docs://start", "Read me."), ("old+docs://pages/7", "Page 7.")] {
        let read = agent.request("resources/read", json!({ "uri": uri })).await;
        assert_eq!(read["contents"][0]["text"], expected, "{read}");
        assert_eq!(read["contents"][0]["uri"], uri, "{read}");
    }
    let prompts = agent.request("prompts/list", json!({})).await;
    assert_eq!(prompts["prompts"][1]["name"], "old__greet", "{prompts}");
    for prompt in ["docs__greet", "old__greet"] {
        let wanted = json!({ "name": prompt, "arguments": { "name": "Ada" } });
        let greeting = agent.request("prompts/get", wanted).await;
        assert_eq!(greeting["messages"][0]["content"]["text"], "Hello, Ada!");
    }

    // A rule takes a tool away from everybody, whatever policies say.
    let rules = json!({ "rules": "deny tool erase, allow tool *, allow resource **" });
    root.write("mcp-proxy/services/docs", rules).await.ok();
    let denied = root.write("mcp-proxy/call/docs/erase", json!({})).await;
    denied.refused(400, "denied_by_rule");
    // A policy for one tool shows and calls that one.
    let one = r#"
        path "mcp-proxy/catalog" { capabilities = ["read"] }
        path "mcp-proxy/catalog/+" { capabilities = ["read"] }
        path "mcp-proxy/call/docs/add" { capabilities = ["update"] }
    "#;
    let mut narrow = stage.agent("narrow", one).await;
    shown(&mut narrow, "docs__add").await;
    assert_eq!(tools(&mut narrow).await, ["docs__add"]);
    assert_eq!(text(&call(&mut narrow, "docs__add", json!({ "a": 1, "b": 2 })).await), "3");
    for tool in ["docs__note", "old__add", "docs__erase"] {
        let arguments = json!({ "text": "x", "a": 1, "b": 2 });
        let wanted = json!({ "name": tool, "arguments": arguments });
        let refused = narrow.refusal("tools/call", wanted).await;
        assert_eq!(refused["message"], format!("Unknown tool: {tool}"));
    }
    let direct = stage.world.client(one).await;
    for path in ["call/docs/note", "call/old/add", "resources/docs", "prompts/docs/greet"] {
        let arguments = json!({ "arguments": { "text": "x" }, "uri": "docs://start" });
        assert_eq!(direct.write(&format!("mcp-proxy/{path}"), arguments).await.status, 403);
    }
    assert!(direct.read("mcp-proxy/tools/docs").await.status == 403);
    // The denied tool is gone for who may call all, too.
    e2e::wait::until("the tool to be gone", async || {
        agent.call("docs__add", json!({ "a": 1, "b": 1 })).await;
        (!tools(&mut agent).await.contains(&"docs__erase".to_owned())).then_some(())
    })
    .await;
    assert_eq!(stage.docs.count("erase") + stage.docs.count("note x"), 0);
    assert_eq!(stage.old.executed(), [""; 0]);
    narrow.leave().await;
    agent.leave().await;
}

#[tokio::test]
async fn a_long_call_is_reported_on_and_ends_at_the_server_when_it_is_cancelled() {
    let Some(stage) = Stage::approved().await else { return };
    let mut agent = stage.agent("agent", AGENT).await;
    shown(&mut agent, "old__slow").await;
    let mut calls = Vec::new();
    for service in [DOCS, OLD] {
        let longest = json!({ "timeout": 60 });
        stage.world.root.write(&format!("mcp-proxy/services/{service}"), longest).await.ok();
        let slow = json!({
            "name": format!("{service}__slow"), "arguments": { "seconds": 55 },
            "_meta": { "progressToken": format!("token of {service}") },
        });
        calls.push(agent.begin("tools/call", slow).await);
        stage.upstream(service).has_executed("slow").await;
    }
    // The server's own reports end at Vault, which has one answer: the bridge makes some.
    for service in [DOCS, OLD] {
        let token = format!("\"progressToken\":\"token of {service}\"");
        e2e::wait::until("a sign of life", async || {
            agent.request("ping", json!({})).await;
            agent.transcript().contains(&token).then_some(())
        })
        .await;
    }
    for id in calls {
        let cancelled = json!({
            "jsonrpc": "2.0", "method": "notifications/cancelled", "params": { "requestId": id },
        });
        agent.send(&cancelled).await;
    }
    for service in [DOCS, OLD] {
        stage.upstream(service).has_executed("slow cancelled").await;
        let next = call(&mut agent, &format!("{service}__add"), json!({ "a": 1, "b": 1 })).await;
        assert_eq!(text(&next), "2", "{next}");
    }
    agent.leave().await;
}
