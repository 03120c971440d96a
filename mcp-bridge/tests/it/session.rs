//! The token's life: login, renewal, replacement, end.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bridge::{Bridge, Machine};
use crate::vault::{SECRET_ID, Vault};

const LOGIN: &str = "auth/approle/login";

fn read() -> Value {
    json!({ "service": "github", "path": "/user" })
}

#[tokio::test]
async fn many_calls_at_once_make_one_login_and_the_end_revokes_the_token() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let mut ids = Vec::new();
    for _ in 0..20 {
        ids.push(bridge.start_call("proxy_read", read()).await);
    }
    for id in &ids {
        assert!(!bridge.called(id).await.1);
    }
    assert_eq!(vault.arrivals(LOGIN).len(), 1);
    assert!(vault.arrivals(LOGIN)[0].token.is_none());
    bridge.finish().await;
    assert_eq!(vault.arrivals("auth/token/revoke-self").len(), 1);
    assert!(vault.script().tokens.is_empty());
}

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let vault = Vault::start().await;
    vault.script().lease = 2;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    vault.wait_for("auth/token/renew-self", 2).await;
    assert_eq!(vault.arrivals("auth/token/renew-self")[0].body, json!({ "increment": 2 }));
    assert_eq!(vault.arrivals(LOGIN).len(), 1);
    assert!(!bridge.call("proxy_read", read()).await.1);
    bridge.finish().await;
}

#[tokio::test]
async fn a_renewal_that_gives_less_than_asked_leads_to_a_new_login() {
    let vault = Vault::start().await;
    {
        let mut script = vault.script();
        script.lease = 3;
        script.renewed_lease = Some(1);
    }
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    vault.wait_for("auth/token/renew-self", 1).await;
    vault.wait_for(LOGIN, 2).await;
    assert!(!bridge.call("proxy_read", read()).await.1);
    bridge.finish().await;
}

#[tokio::test]
async fn a_batch_token_is_replaced_and_not_renewed() {
    let vault = Vault::start().await;
    {
        let mut script = vault.script();
        script.lease = 2;
        script.renewable = false;
    }
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    vault.wait_for(LOGIN, 2).await;
    assert!(!bridge.call("proxy_read", read()).await.1);
    assert!(vault.arrivals("auth/token/renew-self").is_empty());
    bridge.finish().await;
}

#[tokio::test]
async fn a_token_that_vault_ended_is_replaced_once_and_the_call_goes_through() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    assert!(!bridge.call("proxy_read", read()).await.1);
    vault.revoke_all();
    let ids = [
        bridge.start_call("proxy_read", read()).await,
        bridge.start_call("proxy_read", read()).await,
    ];
    for id in &ids {
        let (text, error) = bridge.called(id).await;
        assert!(!error, "{text}");
    }
    assert_eq!(vault.arrivals(LOGIN).len(), 2);
    // Again within a minute: logging in isn't the cure.
    vault.revoke_all();
    let text = bridge.refusal("proxy_read", read()).await;
    assert_eq!(
        text,
        "login_refused: Vault no longer accepts this machine's credential (expired or revoked). \
         No call can work until it is renewed. Tell the user to run: mcp-bridge doctor"
    );
    assert_eq!(vault.arrivals(LOGIN).len(), 2);
    bridge.finish().await;
}

#[tokio::test]
async fn a_403_of_the_policy_is_no_reason_to_log_in_again() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    assert!(!bridge.call("proxy_read", read()).await.1);
    vault.script().permitted = Some(std::collections::HashSet::new());
    for _ in 0..3 {
        let text = bridge.refusal("proxy_read", read()).await;
        assert!(text.starts_with("not_permitted: "), "{text}");
    }
    assert!(!vault.arrivals("auth/token/lookup-self").is_empty(), "the token was asked about");
    assert_eq!(vault.arrivals(LOGIN).len(), 1);
    bridge.finish().await;
}

#[tokio::test]
async fn a_refused_credential_is_not_tried_again_until_it_changes() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    std::fs::write(machine.path("secret_id"), "canary-outdated").unwrap();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    for _ in 0..3 {
        let text = bridge.refusal("proxy_read", read()).await;
        assert!(text.starts_with("login_refused: Vault no longer accepts"), "{text}");
    }
    assert_eq!(vault.arrivals(LOGIN).len(), 1);
    std::fs::write(machine.path("secret_id"), SECRET_ID).unwrap();
    let (text, error) = bridge.call("proxy_read", read()).await;
    assert!(!error, "{text}");
    bridge.finish().await;
}

/// As by a standby that has yet to hear of a credential that was made just now.
#[tokio::test]
async fn a_first_refusal_is_soon_doubted_once() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    vault.script().refuse_login = true;
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let text = bridge.refusal("proxy_read", read()).await;
    assert!(text.starts_with("login_refused: Vault no longer accepts"), "{text}");
    vault.script().refuse_login = false;
    let limit = Instant::now() + Duration::from_secs(30);
    while bridge.call("proxy_read", read()).await.1 {
        assert!(Instant::now() < limit, "it asks again");
    }
    assert_eq!(vault.arrivals(LOGIN).len(), 2);
    bridge.finish().await;
}

#[tokio::test]
async fn a_missing_credential_is_told_and_its_coming_noticed() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    std::fs::remove_file(machine.path("secret_id")).unwrap();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let text = bridge.refusal("proxy_read", read()).await;
    assert!(text.starts_with("login_refused: this machine's credential for Vault can't be read."));
    assert!(bridge.log().contains("secret_id"), "the log names the file");
    std::fs::write(machine.path("secret_id"), SECRET_ID).unwrap();
    assert!(!bridge.call("proxy_read", read()).await.1);
    bridge.finish().await;
}

#[tokio::test]
async fn a_token_file_serves_and_is_never_revoked() {
    let vault = Vault::start().await;
    vault.script().tokens.insert("hvs.canary-from-file".to_owned());
    let machine = Machine::new();
    std::fs::write(machine.path("token"), "hvs.canary-from-file\n").unwrap();
    let mut command = machine.bare();
    command
        .env("VAULT_ADDR", vault.address())
        .env("VAULT_NAMESPACE", "team/a/")
        .env("MCP_BRIDGE_LOG", "trace")
        .env("MCP_BRIDGE_TOKEN_FILE", machine.path("token"));
    let mut bridge = Bridge::spawn(&mut command);
    bridge.initialize("2025-11-25").await;
    assert!(!bridge.call("proxy_read", read()).await.1);
    bridge.finish().await;
    assert!(vault.arrivals("auth/token/revoke-self").is_empty());
    assert!(vault.arrivals(LOGIN).is_empty());
    assert!(
        vault.script().arrivals.iter().all(|a| a.headers["x-vault-namespace"] == "team/a"),
        "every request names the namespace"
    );
}

#[tokio::test]
async fn an_operators_token_in_the_environment_is_not_served() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut command = machine.bare();
    command.env("VAULT_ADDR", vault.address()).env("VAULT_TOKEN", "hvs.canary-operator");
    let mut bridge = Bridge::spawn(&mut command);
    assert_eq!(bridge.ended().await.0, 2);
    bridge.assert_no_secrets();
}
