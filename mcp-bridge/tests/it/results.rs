//! What calls send and what they answer.

use serde_json::json;

use crate::bridge::Machine;
use crate::vault::{Vault, answered};

#[tokio::test]
async fn a_lenient_call_reaches_the_engine_put_right() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    bridge
        .call(
            "proxy_request",
            json!({ "service": "github", "method": "post", "path": "repos/a/b/issues?state=open",
                    "query": "{\"page\": 2}", "headers": { "accept": "text/plain" },
                    "json": "{\"n\": 12345678901234567890.10}" }),
        )
        .await;
    let arrived = &vault.arrivals("mcp-proxy/proxy/github/POST")[0];
    assert_eq!(arrived.method, "POST");
    assert_eq!(arrived.headers["x-vault-request"], "true");
    assert_eq!(arrived.token.as_deref(), Some("hvs.canary-token-1"));
    assert_eq!(
        arrived.body,
        json!({ "path": "/repos/a/b/issues", "query": { "page": "2", "state": "open" },
                "headers": { "accept": "text/plain" },
                "json": "{\"n\": 12345678901234567890.10}" })
    );
    bridge.finish().await;
}

#[tokio::test]
async fn a_large_body_goes_in_pieces_that_vault_takes() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let text = "\u{20ac}uro ".repeat(300_000);
    bridge
        .call(
            "proxy_request",
            json!({ "service": "github", "method": "PUT", "path": "/x", "body": text }),
        )
        .await;
    let arrived = &vault.arrivals("mcp-proxy/proxy/github/PUT")[0];
    let pieces = arrived.body["body"].as_array().unwrap();
    assert!(pieces.len() > 1 && pieces.len() <= 900);
    let joined = pieces.iter().map(|piece| piece.as_str().unwrap()).collect::<String>();
    assert!(joined == text, "the pieces join to something else");
    bridge.finish().await;
}

#[tokio::test]
async fn the_agreed_status_lines_come_first() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let call = json!({ "service": "sonarr", "path": "/series?x=1" });
    let (text, error) = bridge.call("proxy_read", call.clone()).await;
    assert!(!error);
    assert_eq!(
        text,
        "200 OK · sonarr · GET /series · application/json · 11 B · 42 ms\n{\"ok\":true}"
    );
    // What the upstream answered is no error, whatever its status.
    vault.answer("sonarr/GET", answered(json!({ "status": 404, "body": "no", "duration_ms": 3 })));
    let (text, error) = bridge.call("proxy_read", call.clone()).await;
    assert!(!error);
    assert_eq!(text, "404 Not Found · sonarr · GET /series · 2 B · 3 ms\nno");
    vault.answer(
        "sonarr/GET",
        answered(json!({ "status": 200, "body": "[{\"id\":1,\"x\":2}]", "redacted": 1 })),
    );
    let mut selecting = call;
    selecting["select"] = json!("[].id");
    let (text, _) = bridge.call("proxy_read", selecting).await;
    assert!(text.contains("\n[1]\n[Where it says \"redacted\", Vault removed"), "{text}");
    bridge.finish().await;
}

#[tokio::test]
async fn calls_run_side_by_side_and_answer_as_they_finish() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let slow = answered(json!({ "status": 200, "body": "slow" }));
    vault.answer("sonarr/GET", slow.set_delay(std::time::Duration::from_secs(2)));
    let slow = bridge.start_call("proxy_read", json!({ "service": "sonarr", "path": "/" })).await;
    vault.wait_for("mcp-proxy/proxy/sonarr/GET", 1).await;
    bridge
        .send(json!({ "jsonrpc": "2.0", "id": "quick-1", "method": "tools/call", "params": {
            "name": "proxy_read", "arguments": { "service": "github", "path": "/" } } }))
        .await;
    assert_eq!(bridge.next().await["id"], "quick-1");
    let (text, _) = bridge.called(&slow).await;
    assert!(text.ends_with("slow"), "{text}");
    bridge.finish().await;
}

#[tokio::test]
async fn a_program_can_ask_for_structured_results() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut command = machine.command(&vault.address());
    let mut bridge = crate::bridge::Bridge::spawn(command.args(["serve", "--structured-results"]));
    bridge.initialize("2025-11-25").await;
    let call = json!({ "name": "proxy_read", "arguments": { "service": "github", "path": "/" } });
    let result = bridge.request("tools/call", call).await["result"].clone();
    assert_eq!(result["structuredContent"]["body"], "{\"ok\":true}");
    bridge.finish().await;
}
