//! Several addresses of one Vault: which is asked, and what is never asked twice.

use serde_json::{Value, json};

use crate::bridge::{Bridge, Machine};
use crate::vault::Vault;

const LOGIN: &str = "auth/approle/login";

/// An address of loopback where nobody listens.
fn nowhere() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

fn post() -> Value {
    json!({ "service": "github", "method": "POST", "path": "/a", "json": {} })
}

async fn serve(machine: &Machine, addresses: &[String]) -> Bridge {
    let mut command = machine.command(&addresses.join(","));
    let mut bridge = Bridge::spawn(command.env("MCP_BRIDGE_LOG", "debug"));
    bridge.initialize("2025-11-25").await;
    bridge
}

#[tokio::test]
async fn a_node_that_is_down_is_passed_over() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = serve(&machine, &[nowhere(), vault.address()]).await;
    let (text, error) = bridge.call("proxy_request", post()).await;
    assert!(!error, "{text}");
    assert_eq!(vault.arrivals("mcp-proxy/proxy/github/POST").len(), 1);
    assert_eq!(vault.arrivals(LOGIN).len(), 1);
    bridge.finish().await;
    assert!(vault.script().tokens.is_empty(), "the token was revoked at the node that lives");
}

#[tokio::test]
async fn a_sealed_node_is_left_for_one_that_serves_but_a_call_is_not_sent_again() {
    let (first, second) = (Vault::start().await, Vault::start().await);
    let machine = Machine::new();
    let mut bridge = serve(&machine, &[first.address(), second.address()]).await;
    assert!(!bridge.call("proxy_request", post()).await.1);
    // Both nodes are one cluster: a token of one is good at the other.
    let tokens = first.script().tokens.clone();
    second.script().tokens.extend(tokens);
    first.script().sealed = true;
    // An answer came, so the call is told of and not repeated; the next goes to the other node.
    let text = bridge.refusal("proxy_request", post()).await;
    assert!(text.starts_with("vault_unavailable: Vault is sealed."), "{text}");
    assert!(second.arrivals("mcp-proxy/proxy/github/POST").is_empty());
    let (text, error) = bridge.call("proxy_request", post()).await;
    assert!(!error, "{text}");
    assert_eq!(first.arrivals("mcp-proxy/proxy/github/POST").len(), 2);
    assert_eq!(second.arrivals("mcp-proxy/proxy/github/POST").len(), 1);
    // The other way round, too.
    first.script().sealed = false;
    second.script().sealed = true;
    assert!(bridge.refusal("proxy_request", post()).await.contains("sealed"));
    assert!(!bridge.call("proxy_request", post()).await.1);
    bridge.finish().await;
}

#[tokio::test]
async fn a_login_goes_on_to_the_next_node_when_one_is_sealed() {
    let (first, second) = (Vault::start().await, Vault::start().await);
    first.script().sealed = true;
    let machine = Machine::new();
    let mut bridge = serve(&machine, &[first.address(), nowhere(), second.address()]).await;
    assert!(!bridge.call("proxy_request", post()).await.1);
    assert_eq!(second.arrivals(LOGIN).len(), 1);
    bridge.finish().await;
}

#[tokio::test]
async fn when_no_node_serves_the_most_telling_answer_is_given() {
    let vault = Vault::start().await;
    vault.script().sealed = true;
    let machine = Machine::new();
    let mut bridge = serve(&machine, &[nowhere(), vault.address()]).await;
    let text = bridge.refusal("proxy_request", post()).await;
    assert!(text.starts_with("vault_unavailable: Vault is sealed."), "{text}");
    vault.script().sealed = false;
    // By itself, as soon as it can.
    vault.wait_for(LOGIN, 2).await;
    let mut answer = bridge.call("proxy_request", post()).await;
    let limit = std::time::Instant::now() + crate::bridge::LIMIT;
    while answer.1 && std::time::Instant::now() < limit {
        answer = bridge.call("proxy_request", post()).await;
    }
    assert!(!answer.1, "{}", answer.0);
    bridge.finish().await;
}
