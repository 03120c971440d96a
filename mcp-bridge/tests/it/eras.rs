//! Every revision of MCP, as the clients in the field begin it.

use serde_json::{Value, json};

use crate::bridge::{Bridge, Machine};
use crate::vault::Vault;

const MODERN: &str = "2026-07-28";

/// The `_meta` that every request of the newest revision carries.
fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    })
}

async fn serve() -> (Vault, Machine, Bridge) {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let bridge = machine.serve(&vault);
    (vault, machine, bridge)
}

#[tokio::test]
async fn each_revision_with_a_handshake_is_spoken_as_asked() {
    for version in ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"] {
        let (_vault, _machine, mut bridge) = serve().await;
        let answer = bridge.initialize(version).await;
        assert_eq!(answer["protocolVersion"], version);
        assert_eq!(answer["serverInfo"]["name"], "mcp-bridge");
        assert_eq!(answer["capabilities"], json!({ "tools": { "listChanged": true } }));
        let listed = bridge.request("tools/list", json!({})).await;
        assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 3);
        assert_eq!(listed["result"].as_object().unwrap().len(), 1, "{listed}");
        let (text, error) =
            bridge.call("proxy_read", json!({ "service": "github", "path": "/user" })).await;
        assert!(!error && text.ends_with("{\"ok\":true}"), "{text}");
        assert_eq!(bridge.request("ping", json!({})).await["result"], json!({}));
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_handshake_that_names_a_later_revision_gets_the_last_with_a_handshake() {
    let (_vault, _machine, mut bridge) = serve().await;
    assert_eq!(bridge.initialize(MODERN).await["protocolVersion"], "2025-11-25");
    bridge.finish().await;
}

#[tokio::test]
async fn the_stateless_revision_works_as_claude_code_begins_it() {
    let (vault, _machine, mut bridge) = serve().await;
    let probe = json!("server-discover-probe-1");
    bridge
        .send(json!({ "jsonrpc": "2.0", "id": probe, "method": "server/discover",
                      "params": { "_meta": meta() } }))
        .await;
    let found = bridge.response(&probe).await["result"].clone();
    assert_eq!(found["resultType"], "complete");
    assert!(found["supportedVersions"].as_array().unwrap().contains(&json!(MODERN)), "{found}");
    assert!(found["ttlMs"].is_u64() && found["cacheScope"] == "private", "{found}");
    assert_eq!(found["_meta"]["io.modelcontextprotocol/serverInfo"]["name"], "mcp-bridge");

    let listen = json!("listen:0");
    bridge
        .send(json!({ "jsonrpc": "2.0", "id": listen, "method": "subscriptions/listen",
                      "params": { "_meta": meta(), "notifications": { "toolsListChanged": true } } }))
        .await;
    let acknowledged = bridge.notification("notifications/subscriptions/acknowledged").await;
    assert_eq!(acknowledged["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], listen);

    let listed = bridge.request("tools/list", json!({ "_meta": meta() })).await["result"].clone();
    assert_eq!(listed["resultType"], "complete");
    assert!(listed["ttlMs"].is_u64() && listed["cacheScope"] == "private", "{listed}");
    let called = bridge
        .request(
            "tools/call",
            json!({ "_meta": meta(), "name": "proxy_read",
                    "arguments": { "service": "github", "path": "/user" } }),
        )
        .await["result"]
        .clone();
    assert_eq!(called["resultType"], "complete", "{called}");
    assert_eq!(called["isError"], false);
    let failed = bridge
        .request(
            "tools/call",
            json!({ "_meta": meta(), "name": "proxy_read", "arguments": { "service": "github" } }),
        )
        .await["result"]
        .clone();
    assert_eq!((&failed["resultType"], &failed["isError"]), (&json!("complete"), &json!(true)));

    // An answer with a newer revision makes the bridge look, and the subscriber hear of it.
    vault.script().catalog = Some(crate::vault::catalog("2", &["github", "sonarr", "linear"]));
    vault.answer(
        "github/GET",
        crate::vault::answered(json!({ "status": 200, "catalog_revision": "2" })),
    );
    bridge
        .request(
            "tools/call",
            json!({ "_meta": meta(), "name": "proxy_read",
                    "arguments": { "service": "github", "path": "/" } }),
        )
        .await;
    let changed = bridge.notification("notifications/tools/list_changed").await;
    assert_eq!(changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], listen);

    // The end of the server answers the subscription.
    bridge.close_stdin();
    let ended = bridge.response(&listen).await;
    assert_eq!(ended["result"]["resultType"], "complete", "{ended}");
    bridge.finish().await;
}

#[tokio::test]
async fn a_client_of_the_handshake_hears_of_changes_too() {
    let (vault, _machine, mut bridge) = serve().await;
    bridge.initialize("2025-06-18").await;
    bridge.request("tools/list", json!({})).await;
    vault.script().catalog = Some(crate::vault::catalog("2", &["github"]));
    vault.answer(
        "github/GET",
        crate::vault::answered(json!({ "status": 200, "catalog_revision": "2" })),
    );
    bridge.call("proxy_read", json!({ "service": "github", "path": "/" })).await;
    bridge.notification("notifications/tools/list_changed").await;
    let tools = bridge.request("tools/list", json!({})).await["result"]["tools"].clone();
    assert_eq!(tools[1]["inputSchema"]["properties"]["service"]["enum"], json!(["github"]));
    bridge.finish().await;
}

#[tokio::test]
async fn a_notification_before_anything_else_ends_nothing() {
    let (_vault, _machine, mut bridge) = serve().await;
    let cancelled = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                            "params": { "requestId": "gone" } });
    bridge.send(cancelled.clone()).await;
    bridge.write("not json at all").await;
    // A probe that is withdrawn before the handshake.
    bridge
        .send(json!({ "jsonrpc": "2.0", "id": "probe", "method": "server/discover",
                      "params": { "_meta": meta() } }))
        .await;
    bridge.send(cancelled).await;
    bridge.send(json!({ "jsonrpc": "2.0", "id": 9, "result": {} })).await;
    assert_eq!(bridge.initialize("2025-11-25").await["protocolVersion"], "2025-11-25");
    bridge.finish().await;
}

#[tokio::test]
async fn what_is_not_declared_is_not_answered() {
    let (_vault, _machine, mut bridge) = serve().await;
    bridge.initialize("2025-11-25").await;
    for method in ["prompts/list", "resources/list", "resources/templates/list"] {
        assert_eq!(bridge.request(method, json!({})).await["error"]["code"], -32601, "{method}");
    }
    let complete = json!({ "ref": { "type": "ref/prompt", "name": "x" },
                           "argument": { "name": "a", "value": "b" } });
    assert_eq!(bridge.request("completion/complete", complete).await["error"]["code"], -32601);
    let unknown = bridge.request("tools/call", json!({ "name": "nothing" })).await;
    assert_eq!(unknown["error"]["code"], -32602);
    bridge.finish().await;
}

#[tokio::test]
async fn the_first_answer_waits_for_nothing() {
    let vault = Vault::start().await;
    vault.script().stall_login = Some(std::time::Duration::from_secs(3));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    let start = std::time::Instant::now();
    bridge.initialize("2025-11-25").await;
    assert!(start.elapsed() < std::time::Duration::from_secs(1), "{:?}", start.elapsed());
    // Without a catalog the tools come in their general form, after a short wait.
    let listed = bridge.request("tools/list", json!({})).await;
    assert!(start.elapsed() < std::time::Duration::from_millis(2_800), "{:?}", start.elapsed());
    let service = &listed["result"]["tools"][1]["inputSchema"]["properties"]["service"];
    assert!(service.get("enum").is_none(), "{service}");
    // Then the login is through, and the client hears of the names.
    bridge.notification("notifications/tools/list_changed").await;
    bridge.finish().await;

    // The next start knows them at once.
    let mut bridge = machine.serve(&vault);
    let answer = bridge.initialize("2025-11-25").await;
    let instructions = answer["instructions"].as_str().unwrap();
    assert!(instructions.contains("github (About github), sonarr"), "{instructions}");
    bridge.finish().await;
}

#[tokio::test]
async fn a_revision_that_nobody_knows_is_answered_with_one_that_is_spoken() {
    for version in ["2099-12-31", "2023-01-01", "1.0", ""] {
        let (_vault, _machine, mut bridge) = serve().await;
        assert_eq!(bridge.initialize(version).await["protocolVersion"], "2025-11-25", "{version}");
        assert_eq!(bridge.request("ping", json!({})).await["result"], json!({}));
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_stateless_request_of_an_unknown_revision_is_told_which_are_spoken() {
    let (_vault, _machine, mut bridge) = serve().await;
    let mut meta = meta();
    meta["io.modelcontextprotocol/protocolVersion"] = json!("2099-12-31");
    for method in ["server/discover", "tools/list"] {
        let answer = bridge.request(method, json!({ "_meta": meta })).await;
        assert_eq!(answer["error"]["code"], -32022, "{method}: {answer}");
        let supported = answer["error"]["data"]["supported"].as_array().unwrap();
        assert!(supported.contains(&json!(MODERN)), "{answer}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn one_process_serves_both_eras() {
    // As a client whose probe took it too long: it shakes hands, and gets both answers.
    let (_vault, _machine, mut bridge) = serve().await;
    let probe = bridge.start_request("server/discover", json!({ "_meta": meta() })).await;
    assert_eq!(bridge.initialize("2025-11-25").await["protocolVersion"], "2025-11-25");
    assert_eq!(bridge.response(&probe).await["result"]["resultType"], "complete");
    let (text, error) =
        bridge.call("proxy_read", json!({ "service": "github", "path": "/" })).await;
    assert!(!error, "{text}");
    // Whoever says so with a request gets that one answered by the newest rules.
    let listed = bridge.request("tools/list", json!({ "_meta": meta() })).await["result"].clone();
    assert_eq!(listed["resultType"], "complete", "{listed}");
    assert!(listed["ttlMs"].is_u64(), "{listed}");
    let listed = bridge.request("tools/list", json!({})).await["result"].clone();
    assert!(listed.get("resultType").is_none() && listed.get("ttlMs").is_none(), "{listed}");
    bridge.finish().await;
}

#[tokio::test]
async fn what_the_newest_revision_removed_is_not_answered_there() {
    let (_vault, _machine, mut bridge) = serve().await;
    bridge.request("tools/list", json!({ "_meta": meta() })).await;
    for method in ["logging/setLevel", "resources/subscribe", "prompts/list", "tasks/list"] {
        let answer = bridge
            .request(
                method,
                json!({ "_meta": meta(), "level": "info",
                                                    "uri": "a:b" }),
            )
            .await;
        assert_eq!(answer["error"]["code"], -32601, "{method}: {answer}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_subscription_hears_only_what_it_asked_for_and_ends_when_it_is_withdrawn() {
    let (vault, _machine, mut bridge) = serve().await;
    let listen = |id: &str, filter: Value| {
        json!({ "jsonrpc": "2.0", "id": id, "method": "subscriptions/listen",
                "params": { "_meta": meta(), "notifications": filter } })
    };
    let list = json!({ "_meta": meta() });
    bridge.request("tools/list", list.clone()).await;
    bridge.send(listen("none", json!({ "promptsListChanged": true }))).await;
    bridge.notification("notifications/subscriptions/acknowledged").await;
    bridge.send(listen("gone", json!({ "toolsListChanged": true }))).await;
    bridge.notification("notifications/subscriptions/acknowledged").await;
    bridge.send(listen("kept", json!({ "toolsListChanged": true }))).await;
    bridge.notification("notifications/subscriptions/acknowledged").await;
    bridge
        .send(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                      "params": { "_meta": meta(), "requestId": "gone" } }))
        .await;
    vault.script().catalog = Some(crate::vault::catalog("2", &["github"]));
    vault.answer(
        "github/GET",
        crate::vault::answered(json!({ "status": 200, "catalog_revision": "2" })),
    );
    let call = json!({ "_meta": meta(), "name": "proxy_read",
                       "arguments": { "service": "github", "path": "/" } });
    bridge.request("tools/call", call).await;
    let changed = bridge.notification("notifications/tools/list_changed").await;
    let heard = &changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"];
    assert_eq!(heard, "kept");
    let listed = bridge.request("tools/list", list).await;
    let names = &listed["result"]["tools"][1]["inputSchema"]["properties"]["service"]["enum"];
    assert_eq!(names, &json!(["github"]));
    assert_eq!(bridge.kept("notifications/tools/list_changed"), 0, "told once");
    bridge.finish().await;
}

#[tokio::test]
async fn a_stateless_call_that_asks_for_progress_hears_that_it_still_runs() {
    let (vault, _machine, mut bridge) = serve().await;
    let slow = crate::vault::answered(json!({ "status": 200, "body": "late" }));
    vault.answer("github/GET", slow.set_delay(std::time::Duration::from_millis(5_600)));
    let mut meta = meta();
    let call = |meta: &Value| {
        json!({ "_meta": meta, "name": "proxy_read",
                "arguments": { "service": "github", "path": "/" } })
    };
    let quiet = bridge.start_request("tools/call", call(&meta)).await;
    meta["progressToken"] = json!(7);
    let id = bridge.start_request("tools/call", call(&meta)).await;
    let progress = bridge.next().await;
    assert_eq!(progress["method"], "notifications/progress", "{progress}");
    assert_eq!(progress["params"]["progressToken"], 7);
    for id in [id, quiet] {
        assert_eq!(bridge.response(&id).await["result"]["resultType"], "complete");
    }
    assert_eq!(bridge.kept("notifications/progress"), 0);
    bridge.finish().await;
}
