//! The commands of operators: output, exit status, faults.

use std::process::Output;

use serde_json::json;
use tokio::process::Command;

use crate::bridge::{LIMIT, Machine};
use crate::vault::{Vault, answered, refused};

pub(crate) async fn run(command: &mut Command) -> (i32, String, String) {
    let output = tokio::time::timeout(LIMIT, command.output()).await.unwrap().unwrap();
    let Output { status, stdout, stderr } = output;
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

async fn call(machine: &Machine, vault: &Vault, arguments: &[&str]) -> (i32, String, String) {
    run(machine.command(&vault.address()).arg("call").args(arguments)).await
}

#[tokio::test]
async fn call_prints_the_body_and_says_by_its_status_how_it_went() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let (status, stdout, stderr) = call(&machine, &vault, &["github", "get", "/user?x=1"]).await;
    assert_eq!((status, stdout.as_str()), (0, "{\"ok\":true}"));
    assert_eq!(stderr, "200 OK · github · GET /user · application/json · 11 B · 42 ms\n");
    assert!(vault.script().tokens.is_empty(), "the token was revoked");

    vault.answer("github/GET", answered(json!({ "status": 500, "body": "oh" })));
    assert_eq!(call(&machine, &vault, &["github", "GET", "/"]).await.0, 22);
    vault.answer("github/GET", answered(json!({ "status": 401 })));
    assert_eq!(call(&machine, &vault, &["github", "GET", "/"]).await.0, 22);
    vault.answer("github/GET", refused(424, "upstream_unreachable: refused."));
    assert_eq!(call(&machine, &vault, &["github", "GET", "/"]).await.0, 22);
    vault.answer("github/GET", refused(400, "denied_by_rule: no."));
    let (status, stdout, stderr) = call(&machine, &vault, &["github", "GET", "/"]).await;
    assert_eq!((status, stdout.as_str()), (3, ""));
    assert!(stderr.starts_with("mcp-bridge: denied_by_rule: no."), "{stderr}");
    vault.script().permitted = Some(std::collections::HashSet::new());
    assert_eq!(call(&machine, &vault, &["github", "GET", "/"]).await.0, 3);
    assert_eq!(call(&machine, &vault, &["github", "GET", "http://x/"]).await.0, 3);
    vault.script().sealed = true;
    assert_eq!(call(&machine, &vault, &["github", "GET", "/"]).await.0, 4);
    assert_eq!(call(&machine, &vault, &["github"]).await.0, 2);
    let nowhere = run(machine.command("http://127.0.0.1:1").args(["call", "a", "GET", "/"])).await;
    assert_eq!(nowhere.0, 4);
}

#[tokio::test]
async fn call_sends_what_its_flags_say() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let data = machine.path("data");
    std::fs::write(&data, [0xff, 0x00, 0x01]).unwrap();
    let file = format!("@{}", data.display());
    let sent = |method: &str| {
        vault.arrivals(&format!("mcp-proxy/proxy/github/{method}")).pop().unwrap().body
    };
    let with = ["github", "PUT", "/x", "--query", "a=b=c", "--query", "a=d", "--header"];
    call(&machine, &vault, &[&with[..], &["accept: text/plain", "--data", &file]].concat()).await;
    assert_eq!(
        sent("PUT"),
        json!({ "path": "/x", "query": { "a": ["b=c", "d"] },
                "headers": { "accept": "text/plain" }, "body_base64": "/wAB" })
    );
    call(&machine, &vault, &["github", "POST", "/x", "--json", "{\"a\":1.10}"]).await;
    assert_eq!(sent("POST")["json"], "{\"a\":1.10}");
    call(&machine, &vault, &["github", "POST", "/x", "--form", "a=b"]).await;
    assert_eq!(sent("POST")["form"], json!({ "a": "b" }));
    let (_, json, _) = call(&machine, &vault, &["github", "GET", "/", "--output", "json"]).await;
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["status"], 200);
    let (_, text, _) = call(&machine, &vault, &["github", "GET", "/", "--output", "agent"]).await;
    assert!(text.starts_with("200 OK · github"), "{text}");
    for secret in ["Authorization=x", "authorization: x"] {
        assert_eq!(call(&machine, &vault, &["github", "GET", "/", "--header", secret]).await.0, 3);
    }
}

#[tokio::test]
async fn call_takes_an_operators_token_where_nothing_else_is_configured() {
    let vault = Vault::start().await;
    vault.script().tokens.insert("hvs.canary-operator".to_owned());
    let machine = Machine::new();
    let mut command = machine.bare();
    command.env("VAULT_ADDR", vault.address()).env("VAULT_TOKEN", "hvs.canary-operator");
    let (status, stdout, stderr) = run(command.args(["call", "github", "GET", "/"])).await;
    assert_eq!((status, stdout.as_str()), (0, "{\"ok\":true}"), "{stderr}");
    assert!(vault.script().tokens.contains("hvs.canary-operator"), "it is not ours to revoke");
}

#[tokio::test]
async fn policy_prints_what_an_agent_needs_and_no_more() {
    let machine = Machine::new();
    let policy = async |arguments: &[&str]| run(machine.bare().arg("policy").args(arguments)).await;
    let (status, text, _) = policy(&["github", "s3", "--methods", "get,POST"]).await;
    assert_eq!(status, 0);
    let paths = text.lines().filter(|line| line.starts_with("path")).collect::<Vec<_>>();
    assert_eq!(
        paths,
        [
            "path \"mcp-proxy/catalog\" { capabilities = [\"read\"] }",
            "path \"mcp-proxy/catalog/github\" { capabilities = [\"read\"] }",
            "path \"mcp-proxy/catalog/s3\" { capabilities = [\"read\"] }",
            "path \"mcp-proxy/proxy/github/GET\" { capabilities = [\"update\"] }",
            "path \"mcp-proxy/proxy/github/POST\" { capabilities = [\"update\"] }",
            "path \"mcp-proxy/proxy/s3/GET\" { capabilities = [\"update\"] }",
            "path \"mcp-proxy/proxy/s3/POST\" { capabilities = [\"update\"] }",
        ]
    );
    let (_, text, _) = policy(&["github", "--mount", "team/apis", "--methods", "any"]).await;
    assert!(text.contains("path \"team/apis/proxy/github/+\" {"), "{text}");
    assert!(!text.contains("*\""), "{text}");
    let (_, text, _) = policy(&["github"]).await;
    assert!(text.contains("github/GET\"") && !text.contains("POST"), "{text}");
    let (_, text, _) = policy(&["linear", "--tools", "get_issue,search"]).await;
    let paths = text.lines().filter(|line| line.starts_with("path")).collect::<Vec<_>>();
    assert_eq!(
        paths,
        [
            "path \"mcp-proxy/catalog\" { capabilities = [\"read\"] }",
            "path \"mcp-proxy/catalog/linear\" { capabilities = [\"read\"] }",
            "path \"mcp-proxy/call/linear/get_issue\" { capabilities = [\"update\"] }",
            "path \"mcp-proxy/call/linear/search\" { capabilities = [\"update\"] }",
        ]
    );
    let (_, text, _) = policy(&["linear", "--tools", "any"]).await;
    for path in ["call/linear/+", "prompts/linear/+", "resources/linear"] {
        assert!(text.contains(&format!("path \"mcp-proxy/{path}\" {{")), "{path}: {text}");
    }
    for wrong in [
        &["git*"][..],
        &["../sys"],
        &["github", "--methods", "FLY"],
        &[],
        &["linear", "--tools", "get_*"],
        &["linear", "--tools", "a", "--methods", "GET"],
    ] {
        assert_eq!(policy(wrong).await.0, 2, "{wrong:?}");
    }
}

#[tokio::test]
async fn tools_show_what_an_agent_would_have() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let (status, text, _) = run(machine.command(&vault.address()).arg("tools")).await;
    assert_eq!(status, 0);
    assert!(text.contains("proxy_request: Call a service") && text.contains("- sonarr: About"));
}

#[tokio::test]
async fn a_dry_run_shows_policy_and_engine_and_sends_nothing() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let explained = json!({
        "method": "GET", "path": "/user", "url": "https://github.example/api/user",
        "rule": "allow GET /**", "verdict": "allowed", "address_class": ["public"],
        "credential": { "name": "github", "version": 3, "auth": "header", "header_name": "X-Key" },
    });
    vault.script().explained = Some(explained);
    let dry = ["github", "get", "/user?x=1", "--dry-run"];
    let (status, text, stderr) = call(&machine, &vault, &dry).await;
    assert_eq!(status, 0, "{stderr}");
    assert_eq!(
        text,
        "call          GET /user on github\n\
         Vault policy  allowed: update on mcp-proxy/proxy/github/GET\n\
         URL           https://github.example/api/user\n\
         rule          allow GET /**\n\
         credential    github, version 3, as header (X-Key)\n\
         address       public\n\
         engine        allowed\n\
         outcome       would be sent; nothing was\n"
    );
    let asked = vault.arrivals("mcp-proxy/explain/github").pop().unwrap().body;
    assert_eq!(asked, json!({ "method": "GET", "path": "/user", "query": { "x": "1" } }));
    assert!(vault.arrivals("mcp-proxy/proxy/github/GET").is_empty(), "nothing was called");
    assert!(vault.script().tokens.is_empty(), "the token was revoked");

    // Vault's policy refuses, whatever the engine would say.
    vault.script().permitted = Some(std::collections::HashSet::new());
    let (status, text, _) =
        call(&machine, &vault, &[&dry[..], &["--output", "json"]].concat()).await;
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (status, &json["permitted"], &json["would_be_sent"]),
        (3, &json!(false), &json!(false))
    );
    vault.script().permitted = None;

    // The engine refuses.
    let refused =
        json!({ "verdict": "refused", "code": "denied_by_rule", "message": "denied_by_rule: no." });
    vault.script().explained = Some(refused);
    let (status, text, _) = call(&machine, &vault, &dry).await;
    assert_eq!(status, 3);
    assert!(text.contains("engine        refused denied_by_rule: no.\n"), "{text}");

    // An agent's token may usually not ask the engine: that is said, and the policy still shown.
    vault.script().explained = None;
    let (status, text, _) = call(&machine, &vault, &dry).await;
    assert_eq!(status, 0);
    assert!(text.contains("engine        not told: this token may not ask"), "{text}");
    assert_eq!(call(&machine, &vault, &["github", "GET", "http://x/", "--dry-run"]).await.0, 3);
}

#[tokio::test]
async fn completions_and_manual_pages_know_every_command() {
    let machine = Machine::new();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let (status, text, _) = run(machine.bare().args(["completions", shell])).await;
        assert_eq!(status, 0);
        for word in ["client-config", "doctor", "dry-run"] {
            assert!(text.contains(word), "{shell}: {word}");
        }
    }
    let (status, text, _) = run(machine.bare().arg("man")).await;
    assert_eq!(status, 0);
    assert!(text.contains(".TH mcp-bridge 1") && text.contains("VAULT_ADDR"), "{text}");
    let dir = machine.path("man");
    assert_eq!(run(machine.bare().args(["man", "--dir"]).arg(&dir)).await.0, 0);
    for page in ["mcp-bridge.1", "mcp-bridge-call.1", "mcp-bridge-client-config.1"] {
        assert!(dir.join(page).exists(), "{page} is missing");
    }
}

#[tokio::test]
async fn a_log_file_gets_the_log_and_stderr_stays_quiet() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let log = machine.path("log");
    let mut command = machine.command(&vault.address());
    command.env("MCP_BRIDGE_LOG_FILE", &log).env("MCP_BRIDGE_LOG", "trace");
    let (status, _, stderr) = run(command.args(["call", "github", "GET", "/"])).await;
    assert_eq!(status, 0);
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(text.contains("logged in by AppRole") && !text.contains('\u{1b}'), "{text}");
    assert!(!text.contains("canary"), "{text}");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let mut command = machine.command(&vault.address());
    command.env("MCP_BRIDGE_LOG_FILE", machine.path("no/such/directory"));
    assert_eq!(run(command.args(["call", "github", "GET", "/"])).await.0, 2);
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_told_all_at_once() {
    let machine = Machine::new();
    let (status, stdout, stderr) = run(&mut machine.bare()).await;
    assert_eq!((status, stdout.as_str()), (2, ""));
    assert!(
        stderr.contains("VAULT_ADDR") && stderr.contains("MCP_BRIDGE_ROLE_ID_FILE"),
        "{stderr}"
    );
    assert!(stderr.lines().all(|line| line.starts_with("mcp-bridge: ")), "{stderr}");
    let mut command = machine.command("http://127.0.0.1:1");
    let (status, _, stderr) = run(command.env("MCP_BRIDGE_LOG", "=nonsense=")).await;
    assert_eq!(status, 2);
    assert!(stderr.contains("MCP_BRIDGE_LOG") && !stderr.contains("nonsense"), "{stderr}");
}

#[tokio::test]
async fn help_and_version_go_to_stdout() {
    let machine = Machine::new();
    let (status, stdout, stderr) = run(machine.bare().arg("--version")).await;
    assert_eq!((status, stderr.as_str()), (0, ""));
    assert!(stdout.starts_with(concat!("mcp-bridge ", env!("CARGO_PKG_VERSION"), "\nfeatures: ")));
    let (_, short, _) = run(machine.bare().arg("-V")).await;
    assert_eq!(short, concat!("mcp-bridge ", env!("CARGO_PKG_VERSION"), "\n"));
    let (status, stdout, _) = run(machine.bare().arg("--help")).await;
    assert_eq!(status, 0);
    for text in ["serve", "call", "policy", "doctor", "VAULT_ADDR", "Examples:"] {
        assert!(stdout.contains(text), "{text} is missing in:\n{stdout}");
    }
}
