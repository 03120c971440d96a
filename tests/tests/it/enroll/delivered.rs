//! A wrapping token that is delivered at each start: for the bridge alone, and nothing is kept.

use std::fs;

use e2e::machine::{Machine, files};
use serde_json::json;

use super::{agent, text, world};

#[tokio::test]
async fn a_delivered_token_serves_one_start_and_nothing_is_kept() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let provisioned = agent(&world).await;
    let machine = Machine::new();
    let output = machine.enroll(&provisioned, &["--store", "external"]).await;
    assert!(output.status.success(), "{output:?}");
    let said = text(&output.stdout);
    assert!(said.contains("MCP_BRIDGE_WRAPPING_TOKEN_FILE"), "{said}");
    let remote = ["--address", "https://v.example", "--role", "r", "--role-id", "x"];
    let more = ["--store", "external", "--namespace", "team", "--ca-cert", "/ca.pem"];
    let rest = ["--tls-server-name", "w.example", "--auth-mount", "other"];
    let words = [&["enroll"][..], &remote, &more, &rest].concat();
    let said = text(&machine.run(&words, "").await.stdout);
    for setting in [
        "VAULT_NAMESPACE=team\n",
        "VAULT_CACERT=/ca.pem\n",
        "VAULT_TLS_SERVER_NAME=w.example\n",
        "MCP_BRIDGE_AUTH_MOUNT=other\n",
    ] {
        assert!(said.contains(setting), "{setting}: {said}");
    }
    assert!(files(machine.home()).is_empty());

    let (role_id, token) = (machine.home().join("role_id"), machine.home().join("token"));
    fs::write(&role_id, provisioned.text("role_id")).unwrap();
    fs::write(&token, provisioned.token()).unwrap();
    let command = || {
        let mut command = machine.command();
        let role = provisioned.text("role");
        command.env("VAULT_ADDR", world.server.address()).env("MCP_BRIDGE_ROLE", role);
        command.env("MCP_BRIDGE_ROLE_ID_FILE", &role_id);
        command.env("MCP_BRIDGE_WRAPPING_TOKEN_FILE", &token);
        command
    };
    // Who only looks leaves it for the bridge.
    for (arguments, code, expected) in [
        (&["status"][..], 0, "wasn't used"),
        (&["tools"], 2, "serves one start"),
        (&["call", "demo", "GET", "/a", "--dry-run"], 2, "serves one start"),
    ] {
        let output = command().args(arguments).output().await.unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {output:?}");
        let said = text(&output.stdout) + &text(&output.stderr);
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
    let scratch = tempfile::tempdir().unwrap();
    let mut agent = e2e::bridge::Bridge::start_as(command(), scratch).await;
    let read = json!({ "service": "demo", "path": "/a" });
    let answer = agent.call("proxy_read", read.clone()).await;
    assert!(answer.text.starts_with("200 OK"), "{} {}", answer.text, agent.errors());
    // Its token is ended: what it unwrapped serves for another login.
    let tokens = "sys/leases/revoke-prefix/auth/approle/login";
    world.root.write(tokens, json!({})).await.ok();
    let answer = agent.call("proxy_read", read).await;
    assert!(answer.text.starts_with("200 OK"), "{} {}", answer.text, agent.errors());
    let output = command().arg("status").output().await.unwrap();
    assert_eq!(output.status.code(), Some(21), "{output:?}");
    assert!(text(&output.stdout).contains("used already"), "{output:?}");
    agent.leave().await;
    assert_eq!(files(machine.home()).iter().filter(|(path, _)| path.ends_with("token")).count(), 1);
}
