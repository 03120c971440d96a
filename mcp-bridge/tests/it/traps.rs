//! What has broken MCP servers in the field: odd lines, odd beginnings, silent or hostile networks.
//!
//! Those that belong to one revision are in `eras`, those of beginning and end in `lifecycle`.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::Notify;

use crate::bridge::{Bridge, Machine};
use crate::vault::{Vault, answered};

const MIB: usize = 1024 * 1024;

async fn serve() -> (Vault, Machine, Bridge) {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let bridge = machine.serve(&vault);
    (vault, machine, bridge)
}

/// A call whose line is exactly so many bytes long, without its end.
fn call_of_length(id: &str, length: usize) -> String {
    let line = |body: &str| {
        json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
            "name": "proxy_request", "arguments": {
                "service": "github", "method": "PUT", "path": "/x", "body": body } } })
        .to_string()
    };
    let padding = length - line("").len();
    line(&"x".repeat(padding))
}

#[tokio::test]
async fn a_line_of_sixteen_mebibytes_is_taken_and_one_byte_more_is_refused_by_its_id() {
    let (vault, _machine, mut bridge) = serve().await;
    bridge.initialize("2025-11-25").await;
    bridge.write(&call_of_length("largest", 16 * MIB)).await;
    let (text, error) = bridge.called(&json!("largest")).await;
    assert!(!error, "{text}");
    let arrived = vault.arrivals("mcp-proxy/proxy/github/PUT");
    let pieces = arrived[0].body["body"].as_array().unwrap();
    let sent = pieces.iter().map(|piece| piece.as_str().unwrap().len()).sum::<usize>();
    assert!(sent > 16 * MIB - 300, "{sent}");

    for (id, length) in [("over", 16 * MIB + 1), ("far over", 40 * MIB)] {
        bridge.write(&call_of_length(id, length)).await;
        let refused = bridge.response(&json!(id)).await;
        assert_eq!(refused["error"]["code"], -32600, "{refused}");
        let text = refused["error"]["message"].as_str().unwrap();
        assert!(text.starts_with("The message is longer than 16 MiB"), "{text}");
    }
    assert_eq!(vault.arrivals("mcp-proxy/proxy/github/PUT").len(), 1);
    assert_eq!(bridge.request("ping", json!({})).await["result"], json!({}));
    bridge.finish().await;
}

#[tokio::test]
async fn lines_of_windows_a_byte_order_mark_and_blank_lines_are_taken() {
    let (_vault, _machine, mut bridge) = serve().await;
    let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {},
        "clientInfo": { "name": "t", "version": "1" } } });
    bridge.write_bytes(format!("\u{feff}{hello}\r\n\r\n\n").as_bytes()).await;
    assert_eq!(bridge.response(&json!(1)).await["result"]["protocolVersion"], "2025-06-18");
    // Two lines in one piece, and one line in two.
    let ping = |id: u8| json!({ "jsonrpc": "2.0", "id": id, "method": "ping" }).to_string();
    let third = ping(4);
    let (head, tail) = third.split_at(9);
    bridge.write_bytes(format!("{}\r\n{}\n{head}", ping(2), ping(3)).as_bytes()).await;
    assert_eq!(bridge.next().await["id"], 2);
    assert_eq!(bridge.next().await["id"], 3);
    bridge.write_bytes(format!("{tail}\r\n").as_bytes()).await;
    assert_eq!(bridge.next().await["id"], 4);
    bridge.finish().await;
}

#[tokio::test]
async fn the_last_line_counts_without_its_end() {
    let (_vault, _machine, mut bridge) = serve().await;
    bridge.initialize("2025-11-25").await;
    bridge.write_bytes(br#"{"jsonrpc":"2.0","id":"last","method":"ping"}"#).await;
    bridge.close_stdin();
    assert_eq!(bridge.response(&json!("last")).await["result"], json!({}));
    bridge.finish().await;
}

#[tokio::test]
async fn what_is_no_message_is_refused_or_passed_over_and_ends_nothing() {
    let (_vault, _machine, mut bridge) = serve().await;
    bridge.initialize("2025-11-25").await;
    // What isn't JSON, and what asks for nothing, gets no answer: the next one is the ping's.
    for line in [
        "not json",
        "{\"jsonrpc\":\"2.0\",\"id\":1",
        "\u{0}\u{1}",
        r#"{"jsonrpc":"2.0","method":"notifications/nobody/knows"}"#,
        r#"{"jsonrpc":"2.0","method":"$/setTrace","params":{"value":"off"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"gone"}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/cancelled","params":7}"#,
        r#"{"jsonrpc":"2.0","id":77,"result":{}}"#,
    ] {
        bridge.write(line).await;
    }
    let ping = bridge.start_request("ping", json!({})).await;
    assert_eq!(bridge.next().await["id"], ping);
    // What asks in a wrong form is refused, by its id if it has one.
    bridge.write(r#"{"jsonrpc":"1.0","id":5,"method":"ping"}"#).await;
    let refused = bridge.next().await;
    assert_eq!((&refused["id"], &refused["error"]["code"]), (&json!(5), &json!(-32600)));
    for line in ["7", "\"text\"", r#"{"jsonrpc":"2.0"}"#] {
        bridge.write(line).await;
        let refused = bridge.next().await;
        assert_eq!((refused.get("id"), &refused["error"]["code"]), (None, &json!(-32600)));
    }
    let unknown = bridge.request("no/such/method", json!({})).await;
    assert_eq!(unknown["error"]["code"], -32601);
    bridge.finish().await;
}

#[tokio::test]
async fn a_request_before_any_handshake_is_refused_and_the_handshake_still_works() {
    let (_vault, _machine, mut bridge) = serve().await;
    for (method, params) in [
        ("tools/list", json!({})),
        ("tools/call", json!({ "name": "list_services", "arguments": {} })),
        ("server/discover", json!({})),
        // A part of what the newest revision demands is not enough.
        (
            "tools/list",
            json!({ "_meta": { "io.modelcontextprotocol/protocolVersion": "2026-07-28" } }),
        ),
    ] {
        let answer = bridge.request(method, params).await;
        assert_eq!(answer["error"]["code"], -32602, "{method}: {answer}");
    }
    assert_eq!(bridge.request("ping", json!({})).await["result"], json!({}));
    assert_eq!(bridge.initialize("2025-11-25").await["protocolVersion"], "2025-11-25");
    bridge.finish().await;
}

#[tokio::test]
async fn batches_are_answered_where_the_revision_has_them() {
    let (_vault, _machine, mut bridge) = serve().await;
    bridge.initialize("2025-03-26").await;
    let batch = json!([
        { "jsonrpc": "2.0", "method": "notifications/progress",
          "params": { "progressToken": 1, "progress": 1 } },
        { "jsonrpc": "2.0", "id": "a", "method": "ping" },
        { "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
            "name": "proxy_read", "arguments": { "service": "github", "path": "/" } } },
        { "id": 3 },
    ]);
    bridge.send(batch).await;
    let answers = bridge.next().await;
    let answers = answers.as_array().unwrap();
    let ids = answers.iter().map(|answer| answer["id"].clone()).collect::<Vec<_>>();
    assert_eq!(ids, [json!(3), json!("a"), json!(2)]);
    assert_eq!(answers[0]["error"]["code"], -32600);
    let text = answers[2]["result"]["content"][0]["text"].as_str().unwrap();
    assert!(text.starts_with("200 OK"), "{text}");
    // Notifications alone have no answer; an empty batch is none.
    bridge.send(json!([{ "jsonrpc": "2.0", "method": "notifications/initialized" }])).await;
    bridge.send(json!([])).await;
    assert_eq!(bridge.next().await["error"]["code"], -32600);
    bridge.finish().await;
}

#[tokio::test]
async fn a_withdrawn_call_does_not_hold_up_its_batch() {
    let (vault, _machine, mut bridge) = serve().await;
    vault.answer("github/POST", answered(json!({})).set_delay(Duration::from_secs(60)));
    bridge.initialize("2025-03-26").await;
    bridge
        .send(json!([
            { "jsonrpc": "2.0", "id": 1, "method": "ping" },
            { "jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {
                "name": "proxy_request",
                "arguments": { "service": "github", "method": "POST", "path": "/" } } },
        ]))
        .await;
    vault.wait_for("mcp-proxy/proxy/github/POST", 1).await;
    let cancel = json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                         "params": { "requestId": 2 } });
    bridge.send(cancel).await;
    assert_eq!(bridge.next().await, json!([{ "jsonrpc": "2.0", "id": 1, "result": {} }]));
    bridge.finish().await;
}

#[tokio::test]
async fn batches_are_refused_where_the_revision_has_none() {
    for version in ["2024-11-05", "2025-06-18", "2025-11-25"] {
        let (_vault, _machine, mut bridge) = serve().await;
        bridge.initialize(version).await;
        bridge.send(json!([{ "jsonrpc": "2.0", "id": 1, "method": "ping" }])).await;
        let refused = bridge.next().await;
        assert_eq!((refused.get("id"), &refused["error"]["code"]), (None, &json!(-32600)));
        assert_eq!(bridge.request("ping", json!({})).await["result"], json!({}));
        bridge.finish().await;
    }
}

#[tokio::test]
async fn a_vault_that_says_nothing_holds_up_neither_the_list_nor_a_call_for_long() {
    // It takes connections and never answers.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            held.push(connection);
        }
    });
    let machine = Machine::new();
    let mut bridge = Bridge::spawn(&mut machine.command(&address));
    let start = std::time::Instant::now();
    bridge.initialize("2025-11-25").await;
    let listed = bridge.request("tools/list", json!({})).await;
    assert_eq!(listed["result"]["tools"].as_array().unwrap().len(), 3);
    assert!(start.elapsed() < Duration::from_millis(2_800), "{:?}", start.elapsed());
    let text = bridge.refusal("list_services", json!({})).await;
    assert!(text.starts_with("vault_unavailable: Vault doesn't answer"), "{text}");
    bridge.finish().await;
}

#[tokio::test]
async fn neither_an_answer_nor_the_log_repeats_the_address() {
    let machine = Machine::new();
    // Nothing listens there; whoever prints the URL prints the password.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let address = format!("http://user:canary-password@127.0.0.1:{port}");
    let mut bridge = Bridge::spawn(machine.command(&address).env("MCP_BRIDGE_LOG", "trace"));
    // Whether such an address is refused or used, it is never shown.
    if tokio::time::timeout(Duration::from_secs(1), bridge.try_initialize()).await == Ok(true) {
        bridge.refusal("list_services", json!({})).await;
        bridge.close_stdin();
    }
    bridge.ended().await;
    bridge.assert_no_secrets();
}

#[tokio::test]
async fn a_proxy_in_the_environment_is_not_used_and_no_redirect_is_followed() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut command = machine.command(&vault.address());
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env(name, "http://127.0.0.1:9");
    }
    let mut bridge = Bridge::spawn(&mut command);
    bridge.initialize("2025-11-25").await;
    let read = json!({ "service": "github", "path": "/" });
    assert!(!bridge.call("proxy_read", read.clone()).await.1);
    // Where it leads, the token would go too.
    let elsewhere = format!("{}/v1/elsewhere", vault.address());
    let redirect = wiremock::ResponseTemplate::new(307).insert_header("location", &*elsewhere);
    vault.answer("github/GET", redirect);
    let text = bridge.refusal("proxy_read", read).await;
    assert!(text.starts_with("outcome_unknown: the way to Vault's active node"), "{text}");
    assert!(vault.arrivals("elsewhere").is_empty());
    bridge.finish().await;
}

#[tokio::test]
async fn numbers_reach_the_engine_as_they_were_given() {
    let (vault, _machine, mut bridge) = serve().await;
    bridge.initialize("2025-11-25").await;
    // Written by hand, so that no library of the test's decides.
    bridge
        .write(
            r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"proxy_request","arguments":{"service":"github","method":"POST","path":"/","max_chars":2000.0,"query":{"price":0.1,"big":18446744073709551615},"json":{"price":0.1,"id":18446744073709551615,"low":-9223372036854775808,"whole":1.0}}}}"#,
        )
        .await;
    assert!(!bridge.called(&json!(1)).await.1);
    let body = &vault.arrivals("mcp-proxy/proxy/github/POST")[0].body;
    assert_eq!(body["query"], json!({ "price": "0.1", "big": "18446744073709551615" }));
    let sent = body["json"].as_str().unwrap();
    for number in ["0.1", "18446744073709551615", "-9223372036854775808", "1.0"] {
        assert!(sent.contains(number), "{number} isn't in {sent}");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_withdrawn_call_takes_its_request_to_vault_back() {
    let (vault, machine, bridge) = serve().await;
    bridge.finish().await;
    vault.answer("github/POST", answered(json!({})).set_delay(Duration::from_secs(60)));
    let tap = Tap::in_front_of(&vault).await;
    let mut bridge = Bridge::spawn(&mut machine.command(&tap.address));
    bridge.initialize("2025-11-25").await;
    let call = json!({ "service": "github", "method": "POST", "path": "/x" });
    let id = bridge.start_call("proxy_request", call).await;
    vault.wait_for("mcp-proxy/proxy/github/POST", 1).await;
    bridge
        .send(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                      "params": { "requestId": id } }))
        .await;
    tokio::time::timeout(Duration::from_secs(5), tap.dropped.notified())
        .await
        .unwrap_or_else(|_| panic!("the request to Vault goes on; log:\n{}", bridge.log()));
    assert!(!bridge.call("proxy_read", json!({ "service": "github", "path": "/" })).await.1);
    bridge.finish().await;
}

/// Passes connections on to a Vault, and tells when one that carries a POST to the engine is
/// closed by the bridge before the answer.
struct Tap {
    address: String,
    dropped: Arc<Notify>,
}

impl Tap {
    async fn in_front_of(vault: &Vault) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let target = vault.address().trim_start_matches("http://").to_owned();
        let dropped = Arc::new(Notify::new());
        let tell = Arc::clone(&dropped);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (target, tell) = (target.clone(), Arc::clone(&tell));
                tokio::spawn(async move {
                    let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
                    let mut posted = false;
                    loop {
                        tokio::select! {
                            read = client.read(&mut up) => match read {
                                Ok(n @ 1..) => {
                                    let text = String::from_utf8_lossy(&up[..n]).into_owned();
                                    posted |= text.starts_with("POST /v1/mcp-proxy/proxy/github/POST");
                                    server.write_all(&up[..n]).await.unwrap();
                                }
                                _ => {
                                    if posted {
                                        tell.notify_one();
                                    }
                                    return;
                                }
                            },
                            read = server.read(&mut down) => match read {
                                Ok(n @ 1..) => {
                                    posted = false;
                                    client.write_all(&down[..n]).await.unwrap();
                                }
                                _ => return,
                            },
                        }
                    }
                });
            }
        });
        Self { address, dropped }
    }
}

#[tokio::test]
async fn a_client_that_reads_no_more_does_not_keep_the_process() {
    let (vault, _machine, mut bridge) = serve().await;
    let large = "x".repeat(190_000);
    vault.answer("github/GET", answered(json!({ "status": 200, "body": large })));
    bridge.stop_reading();
    bridge
        .send(json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "t", "version": "1" } } }))
        .await;
    for id in 2..6 {
        bridge
            .send(json!({ "jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {
                "name": "proxy_read", "arguments": {
                    "service": "github", "path": "/", "max_chars": 200_000 } } }))
            .await;
    }
    vault.wait_for("mcp-proxy/proxy/github/GET", 4).await;
    bridge.close_stdin();
    let (_, took) = bridge.ended().await;
    assert!(took < Duration::from_secs(6), "{took:?}");
}
