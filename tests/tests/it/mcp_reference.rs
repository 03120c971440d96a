//! The reference server ("everything"), with sessions and streams: what it gives arrives unchanged.

use e2e::mcp_upstream::everything;
use serde_json::{Value, json};

use crate::mcp_stage::{AGENT, approve, call, define, shown, tools, world};

#[tokio::test]
async fn what_the_reference_server_gives_arrives_as_it_gives_it() {
    let Some(server) = everything().await else { return };
    let world = world().await;
    define(&world.root, "everything", &server.url(), json!({ "auth": "none" })).await;
    let checked = world.root.write("mcp-proxy/check/everything", json!({})).await.ok();
    assert_eq!(checked.data()["protocol"], "2025-11-25", "{}", checked.text);
    approve(&world.root, "everything").await;
    let role = world.app_role("agent", AGENT).await;
    let mut agent = e2e::bridge::Bridge::start(world.server.address(), &role).await;
    shown(&mut agent, "everything__echo").await;
    let mut direct = Direct::open(&server.url()).await;

    // The same tools; their titles and annotations with them.
    let theirs = direct.ask("tools/list", json!({})).await;
    // But for what can only be a task: the engine doesn't declare that extension.
    let is_task = |tool: &&Value| tool["execution"]["taskSupport"] == "required";
    let theirs = theirs["tools"].as_array().unwrap().iter();
    let theirs: Vec<_> = theirs.filter(|tool| !is_task(tool)).collect();
    assert_eq!(tools(&mut agent).await.len(), theirs.len());
    let ours = agent.request("tools/list", json!({})).await;
    for theirs in theirs {
        let name = format!("everything__{}", theirs["name"].as_str().unwrap());
        let ours = ours["tools"].as_array().unwrap().iter();
        let ours = ours.clone().find(|tool| tool["name"] == name.as_str()).expect(&name);
        for field in ["title", "description", "annotations"] {
            assert_eq!(ours[field], theirs[field], "{name} {field}");
        }
        assert_eq!(ours["inputSchema"]["properties"], theirs["inputSchema"]["properties"]);
    }
    for (tool, arguments) in [
        ("echo", json!({ "message": "Grüße" })),
        ("get-sum", json!({ "a": 1.5, "b": 2 })),
        ("get-tiny-image", json!({})),
        ("get-resource-links", json!({ "count": 4 })),
        ("get-structured-content", json!({ "location": "Chicago" })),
        ("get-annotated-message", json!({ "messageType": "error", "includeImage": true })),
        // A stream of progress before the result.
        ("trigger-long-running-operation", json!({ "duration": 1, "steps": 4 })),
        // What the server finds wrong.
        ("get-sum", json!({ "a": "one" })),
        ("get-structured-content", json!({ "location": "Nowhere" })),
    ] {
        let asked = json!({ "name": tool, "arguments": arguments });
        let expected = direct.ask("tools/call", asked).await;
        let result = call(&mut agent, &format!("everything__{tool}"), arguments).await;
        assert_eq!(result, expected, "{tool}");
    }
    let uri = json!({ "uri": "demo://resource/static/document/features.md" });
    let expected = direct.ask("resources/read", uri.clone()).await;
    assert_eq!(agent.request("resources/read", uri).await, expected);
    let prompt = |name: &str| json!({ "name": name, "arguments": { "city": "Ulm" } });
    let expected = direct.ask("prompts/get", prompt("args-prompt")).await;
    assert_eq!(agent.request("prompts/get", prompt("everything__args-prompt")).await, expected);
    agent.leave().await;
}

/// A client of its own, as plain as it goes.
struct Direct {
    http: reqwest::Client,
    url: String,
    session: String,
}

impl Direct {
    async fn open(url: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut direct = Self { http, url: url.to_owned(), session: String::new() };
        let hello = json!({
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "direct", "version": "1" },
        });
        let answer = direct.send(Some(1), "initialize", hello).await;
        direct.session = answer.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        direct.send(None, "notifications/initialized", json!({})).await;
        direct
    }

    async fn send(&self, id: Option<u32>, method: &str, params: Value) -> reqwest::Response {
        let mut message = json!({ "jsonrpc": "2.0", "method": method, "params": params });
        if let Some(id) = id {
            message["id"] = json!(id);
        }
        let mut request = self.http.post(&self.url).json(&message);
        request = request.header("accept", "application/json, text/event-stream");
        if !self.session.is_empty() {
            request = request.header("mcp-session-id", &self.session);
        }
        request.send().await.unwrap()
    }

    async fn ask(&mut self, method: &str, params: Value) -> Value {
        let text = self.send(Some(2), method, params).await.text().await.unwrap();
        let events = text.split('\n').filter_map(|line| line.strip_prefix("data: "));
        let mut messages = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
        messages.find(|message| message["id"] == 2).unwrap()["result"].clone()
    }
}
