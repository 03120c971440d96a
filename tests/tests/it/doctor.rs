//! `doctor`, `status` and `call --dry-run` on the real server, whose faults they must tell apart.

use std::fs;
use std::process::Stdio;

use e2e::bridge;
use e2e::programs;
use e2e::world::{AppRole, World};
use serde_json::{Value, json};

const READER: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }
path "mcp-proxy/proxy/gone/GET" { capabilities = ["update"] }
path "mcp-proxy/explain/demo" { capabilities = ["update"] }
"#;

/// What `doctor` finds: its exit status, and each link's findings as `verdict: text`.
async fn doctor(address: &str, role: &AppRole) -> (i32, Value) {
    let output = bridge::run(address, role, &["doctor", "--json"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    (output.status.code().unwrap(), report)
}

fn link(report: &Value, link: &str) -> String {
    let checks = report["checks"].as_array().unwrap().iter().filter(|c| c["link"] == link);
    let lines = checks.map(|c| format!("{}: {}", c["verdict"].as_str().unwrap(), c["text"]));
    lines.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn the_real_servers_faults_are_told_apart() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    let role = world.app_role("agent", READER).await;
    let address = world.server.address();

    let (status, report) = doctor(address, &role).await;
    assert_eq!(status, 0, "{report:#}");
    assert!(
        link(&report, "Vault").starts_with("ok: ") && !link(&report, "Vault").contains("between")
    );
    assert!(link(&report, "login").contains("a service token"), "{report:#}");
    assert!(!link(&report, "login").contains("warn"), "{report:#}");
    assert!(link(&report, "mount").contains("the engine is at mcp-proxy/"), "{report:#}");
    assert!(link(&report, "policy").contains("may call demo (GET)"), "{report:#}");
    assert!(link(&report, "services").starts_with("ok: "), "{report:#}");

    // A service fails: the engine's own record of it.
    let gone = json!({ "base_url": "https://127.0.0.1:1", "auth": "none" });
    world.root.write("mcp-proxy/services/gone", gone).await.ok();
    let output = bridge::run(address, &role, &["call", "gone", "GET", "/a"]).await;
    assert_eq!(output.status.code(), Some(22), "{output:?}");
    let (status, report) = doctor(address, &role).await;
    assert_eq!(status, 1, "{report:#}");
    let services = link(&report, "services");
    assert!(services.contains("fail: \"gone: fails since"), "{services}");
    assert!(services.contains("upstream_unreachable"), "{services}");
    world.root.delete("mcp-proxy/services/gone").await;

    // The role makes batch tokens without the policy "default".
    let batch = json!({ "token_type": "batch", "token_no_default_policy": true });
    world.root.write("auth/approle/role/agent", batch).await.ok();
    let (_, report) = doctor(address, &role).await;
    let login = link(&report, "login");
    assert!(login.contains("a batch token") || login.contains("may not look itself up"), "{login}");
    let usual = json!({ "token_type": "service", "token_no_default_policy": false });
    world.root.write("auth/approle/role/agent", usual).await.ok();

    // Nothing where the engine should be.
    let output = bridge::run(address, &role, &["doctor", "--json", "--mount", "elsewhere"]).await;
    assert_eq!(output.status.code(), Some(0), "can't be told from a policy: {output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(link(&report, "mount").contains("can't be told"), "{report:#}");
    let output = bridge::run(address, &role, &["doctor", "--json", "--mount", "cubbyhole"]).await;
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{report:#}");
    assert!(link(&report, "mount").contains("another engine: cubbyhole"), "{report:#}");

    // The credential is taken back.
    world.root.delete("auth/approle/role/agent").await;
    let (status, report) = doctor(address, &role).await;
    assert_eq!(status, 21, "{report:#}");
    assert!(link(&report, "login").contains("refused the credential"), "{report:#}");

    world.server.seal().await;
    let (status, report) = doctor(address, &role).await;
    assert_eq!(status, 20, "{report:#}");
    assert!(link(&report, "Vault").contains("sealed"), "{report:#}");
    world.server.unseal().await;
}

#[tokio::test]
async fn a_dry_run_tells_policy_and_rules_and_sends_nothing() {
    let world = World::start().await;
    let (upstream, token) = world.service("demo").await;
    let rules = json!({ "rules": "allow GET /a, deny * /b" });
    world.root.write("mcp-proxy/services/demo", rules).await.ok();
    let role = world.app_role("agent", READER).await;
    let dry = async |method: &str, path: &str| {
        let arguments = ["call", "demo", method, path, "--dry-run"];
        let output = bridge::run(world.server.address(), &role, &arguments).await;
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(!text.contains(&token), "{text}");
        (output.status.code().unwrap(), text)
    };
    let (status, text) = dry("GET", "/a").await;
    assert_eq!(status, 0, "{text}");
    for expected in
        ["allowed: update", "rule          allow GET /a", "version 1, as bearer", "loopback"]
    {
        assert!(text.contains(expected), "{expected}: {text}");
    }
    let (status, text) = dry("GET", "/b").await;
    assert_eq!(status, 3, "{text}");
    assert!(text.contains("refused denied_by_rule"), "{text}");
    let (status, text) = dry("POST", "/a").await;
    assert_eq!(status, 3, "{text}");
    assert!(text.contains("Vault policy  denied: deny on mcp-proxy/proxy/demo/POST"), "{text}");
    assert_eq!(upstream.connections(), 0, "nothing was sent");
}

#[tokio::test]
async fn vault_agent_and_proxy_in_between_are_warned_of() {
    let world = World::start().await;
    let role = world.app_role("agent", READER).await;
    for (kind, name) in [("agent", "Vault Agent"), ("proxy", "Vault Proxy")] {
        let directory = tempfile::tempdir().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("127.0.0.1:{}", listener.local_addr().unwrap().port());
        drop(listener);
        let file = directory.path().join("between.hcl");
        let text = format!(
            "vault {{ address = \"{}\" }}\napi_proxy {{}}\n\
             listener \"tcp\" {{ address = \"{address}\"\n tls_disable = true }}\n\
             cache {{}}\n",
            world.server.address()
        );
        fs::write(&file, text).unwrap();
        let mut process = tokio::process::Command::new(programs::server())
            .args([kind, "-config"])
            .arg(&file)
            .env("HOME", directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        e2e::wait::until("the one in between to listen", async || {
            assert!(process.try_wait().unwrap().is_none(), "{kind} left");
            tokio::net::TcpStream::connect(&address).await.ok()
        })
        .await;
        let (status, report) = doctor(&format!("http://{address}"), &role).await;
        assert_eq!(status, 0, "{report:#}");
        assert!(
            link(&report, "Vault").contains(&format!("{name} stands in between")),
            "{report:#}"
        );
    }
}
