//! Tools, resources and prompts of a real MCP server, called through a real Vault, in both eras.

use e2e::api::{Answer, Api};
use e2e::mcp_upstream::{Revisions, Running, fastmcp};
use e2e::world::World;
use serde_json::{Value, json};

const AGENT: &str = r#"
path "mcp-proxy/call/+/+" { capabilities = ["update"] }
path "mcp-proxy/call/+/fail" { capabilities = ["deny"] }
path "mcp-proxy/resources/+" { capabilities = ["update"] }
path "mcp-proxy/prompts/+/+" { capabilities = ["update"] }
"#;

/// A server with FastMCP as the service `docs`, its tools approved.
async fn stage(revisions: Revisions) -> Option<(World, Running, Api)> {
    let world = World::start().await;
    let token = world.secret();
    let upstream = fastmcp(revisions, "Authorization", &format!("Bearer {token}")).await?;
    let config = json!({ "allow_danger": ["danger_allow_plaintext"] });
    world.root.write("mcp-proxy/config", config).await.ok();
    let service = json!({
        "type": "mcp", "base_url": upstream.url(), "danger_allow_plaintext": true,
        "auth": "bearer", "token": token,
    });
    world.root.write("mcp-proxy/services/docs", service).await.ok();
    world.root.write("mcp-proxy/tools/docs/approve", json!({})).await.ok();
    let agent = world.client(AGENT).await;
    Some((world, upstream, agent))
}

async fn call(agent: &Api, tool: &str, arguments: Value) -> Answer {
    let body = json!({ "arguments": arguments });
    agent.write(&format!("mcp-proxy/call/docs/{tool}"), body).await
}

fn result(answer: Answer) -> Value {
    let answer = answer.ok();
    serde_json::from_str(answer.data()["result"].as_str().unwrap()).unwrap()
}

async fn everything(agent: &Api, world: &World, protocol: &str) {
    let checked = world.root.write("mcp-proxy/check/docs", json!({})).await.ok();
    assert_eq!(checked.data()["protocol"], protocol, "{:?}", checked.data());

    let answer = call(agent, "add", json!({ "a": 20, "b": 22 })).await.ok();
    let data = answer.data();
    assert_eq!((&data["protocol"], &data["tool"]), (&json!(protocol), &json!("add")));
    let sum: Value = serde_json::from_str(data["result"].as_str().unwrap()).unwrap();
    assert_eq!(sum["structuredContent"]["result"], 42);
    assert_eq!(sum["content"][0]["text"], "42");

    // The token is in what the tool says, and nowhere in what the agent gets or the server writes: the
    // world's end looks for it.
    let shown = call(agent, "show_headers", json!({})).await.ok();
    assert_eq!(shown.data()["tool"], "show.headers");
    assert!(shown.data()["redacted"].as_u64() >= Some(1), "{:?}", shown.data());
    assert!(shown.data()["result"].as_str().unwrap().contains("[redacted"));

    assert_eq!(call(agent, "fail", json!({ "reason": "x" })).await.status, 403);
    let failed = result(call(&world.root, "fail", json!({ "reason": "x" })).await);
    assert_eq!(failed["isError"], true);
    // An answer that comes after reports, as a stream.
    let slow = result(call(agent, "slow", json!({ "seconds": 0.3 })).await);
    assert_eq!(slow["content"][0]["text"], "late");

    let uri = json!({ "uri": "docs://pages/7" });
    let read = result(agent.write("mcp-proxy/resources/docs", uri).await);
    assert_eq!(read["contents"][0]["text"], "Page 7.");
    let greeting = json!({ "arguments": { "name": "Ada" } });
    let greeted = result(agent.write("mcp-proxy/prompts/docs/greet", greeting).await);
    assert_eq!(greeted["messages"][0]["content"]["text"], "Hello, Ada!");
    call(agent, "nothing", json!({})).await.refused(404, "unknown_tool");
}

#[tokio::test]
async fn a_server_of_today_gives_its_tools_resources_and_prompts() {
    let Some((world, upstream, agent)) = stage(Revisions::All).await else { return };
    everything(&agent, &world, "2026-07-28").await;
    let asked = call(&agent, "ask_user", json!({})).await;
    let text = asked.refused(424, "input_required_unsupported").errors();
    assert!(text.contains("elicitation"), "{text}");
    assert_eq!((upstream.count("add"), upstream.count("ask_user")), (1, 1));
}

#[tokio::test]
async fn a_server_with_sessions_gives_its_tools_resources_and_prompts() {
    let Some((world, upstream, agent)) = stage(Revisions::WithHandshake).await else { return };
    everything(&agent, &world, "2025-11-25").await;
    // The server learns when it asks that nobody is there, and its tool says so.
    let asked = result(call(&agent, "ask_user", json!({})).await);
    assert_eq!(asked["isError"], true);
    assert_eq!((upstream.count("add"), upstream.count("ask_user")), (1, 1));
}

#[tokio::test]
async fn sessions_are_the_callers_own_and_a_restart_of_the_server_costs_no_call() {
    let Some((world, mut upstream, ada)) = stage(Revisions::WithHandshake).await else { return };
    let bob = world.client(AGENT).await;
    for (agent, visits) in [(&ada, 1), (&ada, 2), (&bob, 1), (&ada, 3), (&bob, 2)] {
        let visit = result(call(agent, "visit", json!({})).await);
        assert_eq!(visit["structuredContent"]["result"], visits);
    }
    // The server knows no session of before: the call goes out again in a new one, and runs once.
    upstream.kill().await;
    upstream.start_again().await;
    for visits in [1, 2] {
        let visit = result(call(&ada, "visit", json!({})).await);
        assert_eq!(visit["structuredContent"]["result"], visits);
    }
    assert_eq!(upstream.count("visit"), 7);
}
