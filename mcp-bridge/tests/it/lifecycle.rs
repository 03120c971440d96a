//! Beginning and end of the process, and what it keeps of itself.

use std::time::Duration;

use serde_json::json;

use crate::bridge::{Bridge, Machine};
use crate::vault::{Vault, answered};

async fn with_a_call_in_flight() -> (Vault, Machine, Bridge, serde_json::Value) {
    let vault = Vault::start().await;
    vault.answer("github/POST", answered(json!({})).set_delay(Duration::from_secs(60)));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let call = json!({ "service": "github", "method": "POST", "path": "/x" });
    let id = bridge.start_call("proxy_request", call).await;
    vault.wait_for("mcp-proxy/proxy/github/POST", 1).await;
    (vault, machine, bridge, id)
}

#[tokio::test]
async fn the_end_of_stdin_ends_the_process_soon_even_with_a_call_in_flight() {
    let (vault, _machine, mut bridge, id) = with_a_call_in_flight().await;
    bridge.close_stdin();
    let (text, error) = bridge.called(&id).await;
    assert!(error && text.starts_with("outcome_unknown: "), "{text}");
    let (status, took) = bridge.ended().await;
    assert_eq!(status, 0);
    assert!(took < Duration::from_secs(2), "{took:?}");
    assert!(vault.script().tokens.is_empty(), "the token was revoked");
    bridge.assert_no_secrets();
}

#[tokio::test]
async fn signals_end_the_process_at_once() {
    for signal in ["TERM", "INT"] {
        let (vault, _machine, mut bridge, _) = with_a_call_in_flight().await;
        bridge.signal(signal);
        let (status, took) = bridge.ended().await;
        assert_eq!(status, 0, "{signal}");
        assert!(took < Duration::from_secs(2), "{signal}: {took:?}");
        assert!(vault.script().tokens.is_empty(), "the token was revoked");
    }
}

#[tokio::test]
async fn a_signal_before_the_first_request_ends_it_too() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    vault.wait_for("mcp-proxy/catalog", 1).await;
    bridge.signal("TERM");
    let (status, took) = bridge.ended().await;
    assert_eq!(status, 0);
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[tokio::test]
async fn nothing_sent_before_the_end_of_stdin_is_a_clean_end() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.close_stdin();
    assert_eq!(bridge.ended().await.0, 0);
}

#[tokio::test]
async fn a_call_that_was_answered_before_the_end_of_stdin_is_not_lost() {
    let vault = Vault::start().await;
    let quick = answered(json!({ "status": 200, "body": "in time" }));
    vault.answer("github/GET", quick.set_delay(Duration::from_millis(100)));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    bridge.request("tools/list", json!({})).await;
    let call = json!({ "service": "github", "path": "/" });
    let id = bridge.start_call("proxy_read", call).await;
    bridge.close_stdin();
    let (text, error) = bridge.called(&id).await;
    assert!(!error && text.ends_with("in time"), "{text}");
    bridge.finish().await;
}

#[tokio::test]
async fn a_withdrawn_call_gets_no_answer_and_leaves_the_rest_alone() {
    let (_vault, _machine, mut bridge, id) = with_a_call_in_flight().await;
    bridge
        .send(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                      "params": { "requestId": id } }))
        .await;
    let pong = bridge.start_request("ping", json!({})).await;
    let answer = bridge.next().await;
    assert_eq!(answer["id"], pong, "the withdrawn call was answered: {answer}");
    bridge.finish().await;
}

#[tokio::test]
async fn a_client_that_asks_for_progress_hears_that_a_call_still_runs() {
    let vault = Vault::start().await;
    let slow = answered(json!({ "status": 200, "body": "late" }));
    vault.answer("github/GET", slow.set_delay(Duration::from_millis(5_600)));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let id = bridge
        .start_request(
            "tools/call",
            json!({ "name": "proxy_read", "_meta": { "progressToken": "p-1" },
                    "arguments": { "service": "github", "path": "/" } }),
        )
        .await;
    // One that didn't ask, at the same time.
    let call = json!({ "service": "github", "path": "/" });
    let quiet = bridge.start_call("proxy_read", call).await;
    let progress = bridge.next().await;
    assert_eq!(progress["method"], "notifications/progress", "{progress}");
    assert_eq!(progress["params"]["progressToken"], "p-1");
    assert!(progress["params"]["progress"].as_f64().unwrap() > 0.0);
    assert!(bridge.called(&id).await.0.ends_with("late"));
    // After the answer nothing more may be said of the call, and of the other nothing at all.
    assert_eq!(bridge.next().await["id"], quiet);
    bridge.finish().await;
}

#[tokio::test]
async fn it_is_quiet_and_keeps_its_memory_to_itself() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = Bridge::spawn(&mut machine.command(&vault.address()));
    bridge.initialize("2025-11-25").await;
    bridge.call("proxy_read", json!({ "service": "github", "path": "/" })).await;
    assert_eq!(bridge.log(), "");
    let proc =
        |file: &str| std::fs::read_to_string(format!("/proc/{}/{file}", bridge.pid())).unwrap();
    let core = proc("limits").lines().find(|line| line.starts_with("Max core")).unwrap().to_owned();
    assert!(core.contains(" 0 "), "{core}");
    for file in ["environ", "cmdline"] {
        assert!(!proc(file).contains("canary"), "/proc/…/{file} holds a secret");
    }
    bridge.finish().await;
}

#[tokio::test]
async fn sockets_serve_as_standard_streams_and_a_signal_ends_a_waiting_read() {
    use std::io::{BufRead as _, BufReader, Write as _};
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    // Node.js gives its children socket pairs instead of pipes.
    let vault = Vault::start().await;
    let machine = Machine::new();
    let (mut ours, theirs) = UnixStream::pair().unwrap();
    ours.set_read_timeout(Some(crate::bridge::LIMIT)).unwrap();
    let stdout = theirs.try_clone().unwrap();
    let mut child = machine
        .command(&vault.address())
        .stdin(std::process::Stdio::from(OwnedFd::from(theirs)))
        .stdout(std::process::Stdio::from(OwnedFd::from(stdout)))
        .spawn()
        .unwrap();
    ours.write_all(
        b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\",\"params\":{\"protocolVersion\":\
          \"2025-11-25\",\"capabilities\":{},\"clientInfo\":{\"name\":\"t\",\"version\":\"1\"}}}\n",
    )
    .unwrap();
    let mut reader = BufReader::new(ours.try_clone().unwrap());
    let answer = tokio::task::spawn_blocking(move || {
        let mut line = String::new();
        reader.read_line(&mut line).map(|_| line)
    });
    assert!(answer.await.unwrap().unwrap().contains("\"protocolVersion\":\"2025-11-25\""));
    let pid = child.id().unwrap().to_string();
    std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    let status = tokio::time::timeout(Duration::from_secs(3), child.wait()).await;
    assert_eq!(status.unwrap().unwrap().code(), Some(0));
}
