//! `doctor` and `status`: each link, whose fault it is, what mends it, and the exit status.

use serde_json::{Value, json};

use crate::bridge::Machine;
use crate::commands::run;
use crate::vault::{Vault, service};

async fn doctor(machine: &Machine, vault: &Vault) -> (i32, Value) {
    let (status, text, stderr) =
        run(machine.command(&vault.address()).args(["doctor", "--json"])).await;
    assert!(!format!("{text}{stderr}").contains("canary"), "a secret: {text}\n{stderr}");
    (status, serde_json::from_str(&text).unwrap())
}

/// The findings of one link, as `verdict: text`.
fn link(report: &Value, link: &str) -> Vec<String> {
    let checks = report["checks"].as_array().unwrap().iter();
    checks
        .filter(|check| check["link"] == link)
        .map(|check| {
            let text = |field: &str| check[field].as_str().unwrap_or_default().to_owned();
            if check["verdict"] == "fail" || check["verdict"] == "warn" {
                assert!(check["fault"].is_string() && check["mend"].is_string(), "{check}");
            }
            format!("{}: {} [{}]", text("verdict"), text("text"), text("mend"))
        })
        .collect()
}

#[tokio::test]
async fn a_sound_machine_is_told_so_link_by_link() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let (status, text, _) = run(machine.command(&vault.address()).arg("doctor")).await;
    assert_eq!(status, 0, "{text}");
    let links = text
        .lines()
        .filter(|line| !line.starts_with(' '))
        .filter_map(|line| line.split_whitespace().nth(1))
        .fold(Vec::new(), |mut links, link| {
            if links.last() != Some(&link) {
                links.push(link);
            }
            links
        });
    assert_eq!(
        links,
        [
            "configuration",
            "credential",
            "network",
            "TLS",
            "Vault",
            "login",
            "mount",
            "policy",
            "services",
            "client"
        ]
    );
    assert!(text.contains("may call github (GET, HEAD"), "{text}");
    assert!(text.contains("services       sonarr: works"), "{text}");
    assert!(vault.script().tokens.is_empty(), "the token was revoked");
}

#[tokio::test]
async fn each_broken_link_is_named_and_what_comes_after_is_not_tried() {
    let vault = Vault::start().await;
    let machine = Machine::new();

    vault.script().sealed = true;
    let (status, report) = doctor(&machine, &vault).await;
    assert_eq!(status, 20);
    assert!(link(&report, "Vault")[0].contains("sealed [vault operator unseal"), "{report}");
    assert_eq!(link(&report, "login"), ["skipped: not tried []"]);
    vault.script().sealed = false;

    vault.script().refuse_login = true;
    let (status, report) = doctor(&machine, &vault).await;
    assert_eq!(status, 21);
    assert!(link(&report, "login")[0].starts_with("fail: Vault refused the credential"));
    assert_eq!(link(&report, "services"), ["skipped: not tried []"]);
    vault.script().refuse_login = false;

    vault.script().mounted = "kv";
    let (status, report) = doctor(&machine, &vault).await;
    assert_eq!(status, 1);
    assert!(link(&report, "mount")[0].contains("another engine: kv"), "{report}");
    vault.script().mounted = "mcp-proxy";

    let mut failing = service("sonarr");
    failing["health"] =
        json!({ "state": "failing", "code": "credential_refused", "since": "02:14Z" });
    vault.script().catalog = Some(json!({ "revision": "2", "services": [service("a"), failing] }));
    let (status, report) = doctor(&machine, &vault).await;
    assert_eq!(status, 1);
    assert_eq!(
        link(&report, "services"),
        [
            "ok: a: works []",
            "fail: sonarr: fails since 02:14Z: credential_refused \
             [vault write mcp-proxy/services/sonarr token=-]"
        ]
    );

    vault.script().permitted = Some(std::collections::HashSet::new());
    let (_, report) = doctor(&machine, &vault).await;
    assert!(link(&report, "policy")[0].starts_with("warn: allows no call; 2 services"), "{report}");

    std::fs::write(machine.path("secret_id"), "").unwrap();
    let (status, report) = doctor(&machine, &vault).await;
    assert_eq!(status, 21);
    assert!(link(&report, "credential").iter().any(|l| l.contains("the file is empty")));
    assert!(link(&report, "Vault")[0].starts_with("ok: "), "Vault is still looked at: {report}");

    let nowhere = run(machine.command("http://127.0.0.1:1").args(["doctor", "--json"])).await;
    let report = serde_json::from_str(&nowhere.1).unwrap();
    assert_eq!(nowhere.0, 20);
    assert!(link(&report, "network")[0].contains("connection refused"), "{report}");
    assert_eq!(report["ok"], false);

    let nothing = run(machine.bare().args(["doctor", "--json"])).await;
    let report = serde_json::from_str(&nothing.1).unwrap();
    assert_eq!(nothing.0, 2);
    assert!(link(&report, "configuration").iter().all(|l| l.starts_with("fail: ")), "{report}");
}

#[tokio::test]
async fn what_holds_but_not_as_it_should_is_warned_of() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    vault.script().token = json!({ "type": "batch", "policies": ["agent"], "num_uses": 3 });
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o644);
    std::fs::set_permissions(machine.path("secret_id"), mode).unwrap();
    let (status, report) = doctor(&machine, &vault).await;
    assert_eq!(status, 0, "warnings are no failure: {report}");
    let login = link(&report, "login").join("\n");
    for expected in ["a batch token", "after 3 more requests", "lacks the policy \"default\""] {
        assert!(login.contains(expected), "{expected}: {login}");
    }
    let credential = link(&report, "credential").join("\n");
    assert!(credential.contains("chmod 600"), "{credential}");
    let root = link(&report, "configuration").join("\n").contains("runs as root");
    assert_eq!(root, rustix::process::geteuid().is_root());
    vault.script().token = json!({ "type": "service", "policies": ["root"] });
    let (_, report) = doctor(&machine, &vault).await;
    assert!(link(&report, "login").join("\n").contains("the policy \"root\""), "{report}");
}

#[tokio::test]
async fn a_foreign_address_in_the_environment_is_named_and_not_followed() {
    let (home, foreign) = (Vault::start().await, Vault::start().await);
    let machine = Machine::new();
    std::fs::write(
        machine.path("config.toml"),
        format!(
            "address = {:?}\nrole_id_file = \"role_id\"\nsecret_id_file = \"secret_id\"\n",
            home.address()
        ),
    )
    .unwrap();
    let mut command = machine.bare();
    command
        .env("MCP_BRIDGE_CONFIG", machine.path("config.toml"))
        .env("VAULT_ADDR", foreign.address());
    let (status, _, stderr) = run(command.args(["call", "github", "GET", "/"])).await;
    assert_eq!(status, 0, "{stderr}");
    assert!(stderr.contains(&foreign.address()) && stderr.contains("ignored: VAULT_ADDR"));
    assert!(foreign.script().arrivals.is_empty(), "nothing went to the foreign server");
    assert_eq!(home.arrivals("auth/approle/login").len(), 1);
}

#[tokio::test]
async fn a_bridge_behind_vault_agent_is_warned_of_repeated_calls() {
    // Only what stands in between knows the path.
    let agent = wiremock::MockServer::start().await;
    let answer = |path: &'static str, answer: wiremock::ResponseTemplate| {
        wiremock::Mock::given(wiremock::matchers::path(path)).respond_with(answer)
    };
    let health = json!({ "initialized": true, "sealed": false, "standby": false, "version": "1" });
    answer("/v1/sys/health", wiremock::ResponseTemplate::new(200).set_body_json(health))
        .mount(&agent)
        .await;
    answer("/agent/v1/metrics", wiremock::ResponseTemplate::new(200)).mount(&agent).await;
    let machine = Machine::new();
    let (_, text, _) = run(machine.command(&agent.uri()).args(["doctor", "--json"])).await;
    let report = serde_json::from_str(&text).unwrap();
    let vault = link(&report, "Vault").join("\n");
    assert!(vault.contains("Vault Agent stands in between") && vault.contains("num_retries = -1"));
    assert!(!vault.contains("Vault Proxy"), "{vault}");
}

#[tokio::test]
async fn status_offline_asks_nobody() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut command = machine.command(&vault.address());
    let (status, text, _) = run(command.args(["status", "--offline"])).await;
    assert_eq!(status, 0);
    assert!(text.contains("NOT PROTECTED") && text.contains("engine at mcp-proxy/"), "{text}");
    assert!(vault.script().arrivals.is_empty());
    let (status, text, _) = run(machine.command(&vault.address()).arg("status")).await;
    assert_eq!(status, 0);
    assert!(text.contains("a service token, lives 900 s, renewable"), "{text}");
    assert!(!text.contains("client "), "{text}");
}
