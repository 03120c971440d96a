//! The texts that an agent reads when something fails.

use std::collections::HashSet;

use serde_json::{Value, json};
use wiremock::ResponseTemplate;

use crate::bridge::{Bridge, Machine};
use crate::vault::{Vault, answered, refused};

async fn serve() -> (Vault, Machine, Bridge) {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    bridge.request("tools/list", json!({})).await;
    (vault, machine, bridge)
}

fn read() -> Value {
    json!({ "service": "github", "path": "/user" })
}

fn post() -> Value {
    json!({ "service": "github", "method": "POST", "path": "/x" })
}

#[tokio::test]
async fn an_unknown_service_is_named_with_those_that_can_be_called() {
    let (vault, _machine, mut bridge) = serve().await;
    vault.answer(
        "sonar/GET",
        refused(404, "unknown_service: there is no such service. (request_id r-7)"),
    );
    let text = bridge.refusal("proxy_read", json!({ "service": "sonar", "path": "/" })).await;
    assert_eq!(
        text,
        "unknown_service: you can't call a service named \"sonar\". Did you mean \"sonarr\"? \
         Callable: github, sonarr. If the task needs another one, tell the user; an operator must \
         add or allow it. (request_id r-7)"
    );
    // A name that is none never becomes a part of Vault's path.
    let text = bridge.refusal("proxy_read", json!({ "service": "../sys", "path": "/" })).await;
    assert!(text.starts_with("unknown_service: "), "{text}");
    assert!(vault.script().arrivals.iter().all(|arrival| !arrival.path.contains("..")));
    bridge.finish().await;
}

#[tokio::test]
async fn vaults_own_403_says_what_is_allowed_and_how_to_allow_more() {
    let vault = Vault::start().await;
    vault.script().permitted = Some(HashSet::from(["github/GET".to_owned()]));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let text = bridge.refusal("proxy_request", post()).await;
    assert_eq!(
        text,
        "not_permitted: Vault's policy for this agent doesn't allow POST on \"github\" (allowed: \
         GET). Nothing was sent. Retrying won't help. Tell the user; an operator can allow it: \
         mcp-bridge policy github --methods GET,POST"
    );
    assert_eq!(vault.arrivals("mcp-proxy/proxy/github/POST").len(), 1);
    assert_eq!(vault.arrivals("auth/approle/login").len(), 1);
    // An operator's change works at once, without a new token.
    vault.script().permitted = None;
    assert!(!bridge.call("proxy_request", post()).await.1);
    bridge.finish().await;
}

#[tokio::test]
async fn an_upstreams_401_never_asks_the_user_for_a_key() {
    let (vault, _machine, mut bridge) = serve().await;
    let body = "Bad credentials: send an API key";
    let refused = json!({ "name": "github", "version": 3, "stored": "2026-11-02T10:00:00Z" });
    vault.answer(
        "github/GET",
        answered(json!({ "status": 401, "body": body, "request_id": "r-9",
                         "refused_credential": refused })),
    );
    let text = bridge.refusal("proxy_read", read()).await;
    assert_eq!(
        text,
        "credential_refused: \"github\" answered 401: it refused the credential that Vault holds \
         (version 3, stored 2026-11-02). This isn't your mistake and you can't fix it; don't ask \
         the user for a key. Tell the user that an operator must renew it: vault write \
         mcp-proxy/services/github token=- (request_id r-9)"
    );
    // A service without a credential has none to renew.
    vault.answer("github/GET", answered(json!({ "status": 401, "body": body })));
    let text = bridge.refusal("proxy_read", read()).await;
    assert_eq!(
        text,
        "credential_refused: \"github\" answered 401: it demands a credential, and Vault sends it \
         none. This isn't your mistake and you can't fix it; don't ask the user for a key. Tell \
         the user that an operator must store one: vault write mcp-proxy/services/github \
         auth=bearer token=-"
    );
    // A shared credential is renewed in its own place; which version was refused says whether
    // somebody has renewed it already.
    let refused = json!({ "name": "corp", "version": 3, "stored": "2026-11-02T10:00:00Z" });
    vault.answer("github/GET", answered(json!({ "status": 401, "refused_credential": refused })));
    let text = bridge.refusal("proxy_read", read()).await;
    assert!(text.contains("Vault holds (version 3, stored 2026-11-02). This"), "{text}");
    assert!(text.contains("vault write mcp-proxy/credentials/corp token=-"), "{text}");
    // The hundredth 401 in a row isn't the first.
    let refused = json!({
        "name": "corp", "version": 3, "stored": "2026-11-02T10:00:00Z",
        "failing_since": "2026-11-05T08:00:00Z",
    });
    vault.answer("github/GET", answered(json!({ "status": 401, "refused_credential": refused })));
    let text = bridge.refusal("proxy_read", read()).await;
    let told =
        "(version 3, stored 2026-11-02; credential_failing since 2026-11-05T08:00:00Z). This";
    assert!(text.contains(told), "{text}");
    bridge.finish().await;
}

#[tokio::test]
async fn the_engines_refusals_reach_the_agent_with_advice() {
    let (vault, _machine, mut bridge) = serve().await;
    let wrapped = "1 error occurred:\n\t* denied_by_rule: \"github\" doesn't allow GET /user. \
                   Allowed: GET /repos/**. Nothing was sent. (request_id r-2)\n\n";
    for (status, text, expected) in [
        (
            400,
            wrapped,
            "denied_by_rule: \"github\" doesn't allow GET /user. Allowed: GET /repos/**. Nothing \
             was sent. (request_id r-2)",
        ),
        (
            424,
            "outcome_unknown: no answer within 30 s. (request_id r-3)",
            "outcome_unknown: no answer within 30 s. Don't repeat it. First use proxy_read to see \
             whether it happened, then decide. (request_id r-3)",
        ),
        (
            424,
            "upstream_unreachable: connection refused.",
            "upstream_unreachable: connection refused. Nothing was sent. Not your mistake. Try \
             once more in a minute; then tell the user that the service seems to be down.",
        ),
        (
            424,
            "response_too_large: the answer is larger than 8 MiB. Ask for less. (request_id r)",
            "response_too_large: the answer is larger than 8 MiB. Ask for less. (request_id r)",
        ),
        (
            400,
            "paused: an operator paused all calls. Tell the user.",
            "paused: an operator paused all calls. Tell the user.",
        ),
    ] {
        vault.answer("github/GET", refused(status, text));
        assert_eq!(bridge.refusal("proxy_read", read()).await, expected);
    }
    bridge.finish().await;
}

#[tokio::test]
async fn arguments_are_answered_with_a_correction() {
    let (vault, _machine, mut bridge) = serve().await;
    let url = json!({ "service": "github", "path": "https://github.example/api/user?x=1" });
    assert_eq!(
        bridge.refusal("proxy_read", url).await,
        "invalid_request: path must be below the base URL and start with '/'; you gave a full \
         URL. Use path=\"/user\". Nothing was sent."
    );
    let mut call = read();
    call["headers"] = json!({ "Authorization": "Bearer mine" });
    let text = bridge.refusal("proxy_read", call).await;
    assert!(text.contains("never send credentials") && !text.contains("mine"), "{text}");
    let mut call = read();
    call["serivce"] = json!("x");
    let text = bridge.refusal("proxy_read", call).await;
    assert!(text.contains("unknown argument \"serivce\". Did you mean \"service\"?"), "{text}");
    assert_eq!(vault.arrivals("mcp-proxy/proxy/github/GET").len(), 0);
    // What the engine promises to refuse, it gets to see.
    let escape = json!({ "service": "github", "path": "/../admin" });
    bridge.call("proxy_read", escape).await;
    assert_eq!(vault.arrivals("mcp-proxy/proxy/github/GET")[0].body["path"], "/../admin");
    bridge.finish().await;
}

#[tokio::test]
async fn a_failing_server_leaves_the_outcome_open_and_nothing_is_repeated() {
    let (vault, _machine, mut bridge) = serve().await;
    // 424 without a code that the bridge knows: a newer engine's, after something was sent.
    // A standby redirects when its way to the active node broke, also in mid-call.
    for status in [424, 500, 502, 503, 307] {
        vault.answer("github/POST", ResponseTemplate::new(status));
        let text = bridge.refusal("proxy_request", post()).await;
        assert!(
            text.starts_with("outcome_unknown: ") && text.contains("Don't repeat it."),
            "{text}"
        );
    }
    let lost = refused(500, "local node not active but active cluster node not found");
    vault.answer("github/POST", lost);
    let text = bridge.refusal("proxy_request", post()).await;
    assert!(text.starts_with("outcome_unknown: the way to Vault's active node broke"), "{text}");
    assert_eq!(vault.arrivals("mcp-proxy/proxy/github/POST").len(), 6);
    bridge.finish().await;
}

#[tokio::test]
async fn what_vault_says_before_the_engine_is_asked_was_not_sent() {
    let (vault, _machine, mut bridge) = serve().await;
    for (answer, expected) in [
        (refused(429, "rate limit quota exceeded").insert_header("retry-after", "7"), "busy: "),
        (ResponseTemplate::new(473), "vault_unavailable: Vault's node is a standby"),
        (refused(404, "no handler for route"), "vault_unavailable: the mcp-proxy engine isn't"),
    ] {
        vault.answer("github/POST", answer);
        let text = bridge.refusal("proxy_request", post()).await;
        assert!(text.starts_with(expected) && text.contains("Nothing was sent."), "{text}");
    }
    vault.script().sealed = true;
    let text = bridge.refusal("proxy_request", post()).await;
    assert_eq!(
        text,
        "vault_unavailable: Vault is sealed. Nothing was sent. Not your mistake. The bridge keeps \
         trying; try again in 30 s, then tell the user to run: mcp-bridge doctor"
    );
    vault.script().sealed = false;
    bridge.finish().await;
}

#[tokio::test]
async fn a_vault_that_is_down_is_told_and_found_again() {
    let machine = Machine::new();
    // A port that is free, as it was just given back.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let mut bridge = Bridge::spawn(&mut machine.command(&address));
    bridge.initialize("2025-11-25").await;
    let text = bridge.refusal("proxy_request", post()).await;
    assert!(
        text.starts_with("vault_unavailable: Vault doesn't answer (connection refused). Nothing"),
        "{text}"
    );
    let text = bridge.refusal("list_services", json!({})).await;
    assert!(text.starts_with("vault_unavailable: "), "{text}");
    bridge.finish().await;
}

#[tokio::test]
async fn a_connection_that_breaks_in_the_middle_leaves_the_outcome_open() {
    let (vault, machine, bridge) = serve().await;
    bridge.finish().await;
    let breaking = Breaking::in_front_of(&vault, "POST /v1/mcp-proxy/proxy/").await;
    let mut bridge = Bridge::spawn(&mut machine.command(&breaking.address));
    bridge.initialize("2025-11-25").await;
    let text = bridge.refusal("proxy_request", post()).await;
    assert!(
        text.starts_with("outcome_unknown: the connection to Vault broke after the request to"),
        "{text}"
    );
    assert_eq!(breaking.broken(), 1, "it was sent more than once");
    bridge.finish().await;
}

/// Passes connections on to a Vault, but closes them once a request begins with a certain line.
struct Breaking {
    address: String,
    count: std::sync::Arc<std::sync::atomic::AtomicUsize>,
}

impl Breaking {
    async fn in_front_of(vault: &Vault, line: &'static str) -> Self {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let target = vault.address().trim_start_matches("http://").to_owned();
        let count = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let counter = std::sync::Arc::clone(&count);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let (target, counter) = (target.clone(), std::sync::Arc::clone(&counter));
                tokio::spawn(async move {
                    let mut server = tokio::net::TcpStream::connect(target).await.unwrap();
                    let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
                    loop {
                        tokio::select! {
                            read = client.read(&mut up) => match read {
                                Ok(n @ 1..) => {
                                    if String::from_utf8_lossy(&up[..n]).starts_with(line) {
                                        counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                                        return;
                                    }
                                    server.write_all(&up[..n]).await.unwrap();
                                }
                                _ => return,
                            },
                            read = server.read(&mut down) => match read {
                                Ok(n @ 1..) => client.write_all(&down[..n]).await.unwrap(),
                                _ => return,
                            },
                        }
                    }
                });
            }
        });
        Self { address, count }
    }

    fn broken(&self) -> usize {
        self.count.load(std::sync::atomic::Ordering::SeqCst)
    }
}
