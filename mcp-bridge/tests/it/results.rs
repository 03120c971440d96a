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

#[tokio::test]
async fn a_long_answer_is_cut_with_advice_that_a_second_call_can_follow() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let item = json!({ "id": 7, "title": "t".repeat(60), "overview": "o".repeat(400) });
    let body = serde_json::to_string(&vec![item; 200]).unwrap();
    vault.answer(
        "sonarr/GET",
        answered(json!({
            "status": 200, "duration_ms": 5, "body": body,
            "headers": { "content-type": "application/json", "etag": "\"e1\"",
                         "link": "</series?page=2>; rel=\"next\"", "x-total-count": "812",
                         "x-ratelimit-remaining": "9", "x-ratelimit-reset": "60",
                         "set-cookie": "session=canary", "server": "nginx" },
        })),
    );
    let mut call = json!({ "service": "sonarr", "path": "/series", "max_chars": 1000 });
    let (text, _) = bridge.call("proxy_read", call.clone()).await;
    let (head, rest) = text.split_once("\n[{").unwrap();
    assert_eq!(
        head,
        "200 OK · sonarr · GET /series · application/json · 98.8 kB · 5 ms\n\
         link: </series?page=2>; rel=\"next\"\netag: \"e1\"\nx-total-count: 812\n\
         x-ratelimit-remaining: 9\nx-ratelimit-reset: 60"
    );
    assert!(
        rest.ends_with(
            "\n[cut after 1,000 of 98,801 characters. Narrow it with select (top-level: array of \
             200 objects with keys id, overview, title) or query parameters.]"
        ),
        "{rest}"
    );
    // What the notice names is what the next call needs.
    call["select"] = json!("[:2].{id: id, title: title}");
    let (text, _) = bridge.call("proxy_read", call).await;
    let selected = text.lines().last().unwrap();
    let title = "t".repeat(60);
    let expected = json!([{ "id": 7, "title": title }, { "id": 7, "title": title }]);
    assert_eq!(serde_json::from_str::<serde_json::Value>(selected).unwrap(), expected);
    bridge.finish().await;
}

#[tokio::test]
async fn a_picture_comes_as_a_picture() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    vault.answer(
        "sonarr/GET",
        answered(json!({ "status": 200, "duration_ms": 5, "body_base64": "iVBORw0KGgo=",
                         "headers": { "content-type": "image/png" } })),
    );
    let call = json!({ "name": "proxy_read",
                       "arguments": { "service": "sonarr", "path": "/poster.png" } });
    let result = bridge.request("tools/call", call).await["result"].clone();
    assert_eq!(
        result["content"],
        json!([
            { "type": "text", "text": "200 OK · sonarr · GET /poster.png · image/png · 8 B · 5 ms" },
            { "type": "image", "data": "iVBORw0KGgo=", "mimeType": "image/png" },
        ])
    );
    bridge.finish().await;
}
