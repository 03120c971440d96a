//! A plain Vault policy tells reading from changing, calling from defining.

use std::fs;

use e2e::api::Api;
use e2e::cli;
use e2e::world::{World, binding, definition};
use serde_json::{Value, json};

#[tokio::test]
async fn the_method_in_the_path_is_what_a_policy_grants() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let agent =
        world.client(r#"path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }"#).await;
    let call = json!({ "path": "/a" });
    assert_eq!(agent.write("mcp-proxy/proxy/demo/GET", call.clone()).await.status, 200);
    for path in ["demo", "demo/POST", "demo/DELETE", "demo/get", "other/GET"] {
        let answer = agent.write(&format!("mcp-proxy/proxy/{path}"), call.clone()).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text);
    }
    for path in ["services/demo", "credentials/demo", "config", "catalog", "services?list=true"] {
        let answer = agent.read(&format!("mcp-proxy/{path}")).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.text);
    }
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn a_method_in_the_body_must_equal_the_paths() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let rules = r#"path "mcp-proxy/proxy/demo" { capabilities = ["update"] }
                   path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }
                   path "mcp-proxy/proxy/demo/DELETE" { capabilities = ["deny"] }"#;
    let agent = world.client(rules).await;
    for (path, method) in [("demo", "DELETE"), ("demo/GET", "DELETE"), ("demo", "POST")] {
        let call = json!({ "path": "/a", "method": method });
        agent.write(&format!("mcp-proxy/proxy/{path}"), call).await.refused(400, "invalid_request");
    }
    assert_eq!(upstream.connections(), 0);
    let call = json!({ "path": "/a", "method": "GET" });
    agent.write("mcp-proxy/proxy/demo", call).await.ok();
    assert_eq!(upstream.only().method, "GET");
}

#[tokio::test]
async fn create_and_update_are_two_capabilities_and_config_wants_sudo() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let rules = r#"path "mcp-proxy/services/*" { capabilities = ["create"] }
                   path "mcp-proxy/config" { capabilities = ["create", "read", "update"] }"#;
    let creator = world.client(rules).await;
    let new = json!({ "base_url": upstream.url(), "ca_cert": upstream.ca(), "auth": "none" });
    creator.write("mcp-proxy/services/new", new).await.ok();
    for name in ["new", "demo"] {
        let change = json!({ "description": "x" });
        let answer = creator.write(&format!("mcp-proxy/services/{name}"), change).await;
        assert_eq!(answer.status, 403, "{name}: {}", answer.text);
    }
    let config = json!({ "paused": true });
    assert_eq!(creator.write("mcp-proxy/config", config.clone()).await.status, 403);
    let operator =
        world.client(r#"path "mcp-proxy/config" { capabilities = ["update", "sudo"] }"#).await;
    operator.write("mcp-proxy/config", config).await.ok();
}

#[tokio::test]
async fn a_path_that_calls_reads_nothing_and_unknown_paths_are_not_there() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    for (method, path) in [
        ("GET", "proxy/demo"),
        ("GET", "proxy/demo/GET"),
        ("DELETE", "proxy/demo/GET"),
        ("LIST", "proxy/demo"),
        ("DELETE", "info"),
        ("GET", "nothing/here"),
        ("POST", "proxy/demo/GET/more"),
        ("SCAN", "services"),
    ] {
        let body = (method == "POST").then(|| json!({ "path": "/a" }));
        let path = format!("mcp-proxy/{path}");
        let answer = world.root.send(method, &path, body.as_ref()).await.unwrap();
        assert!(matches!(answer.status, 404 | 405), "{method} {path}: {}", answer.text);
    }
    assert_eq!(upstream.connections(), 0);
}

/// Who of agent, auditor, operator and secret writer may do what, with the shipped policies.
///
/// One row is one request, sent by each of them in turn; what is allowed must succeed as well, so the
/// rows build on each other.
#[tokio::test]
async fn the_shipped_policies_allow_and_refuse_what_they_say() {
    const NAMES: [&str; 4] = ["agent", "auditor", "operator", "secret-writer"];
    let world = World::start().await;
    let (upstream, _) = world.service("github").await;
    let (prod, _) = world.service("github-prod").await;
    for name in ["spare", "patched"] {
        world.root.write(&format!("mcp-proxy/services/{name}"), definition(&upstream)).await.ok();
    }
    let mut shared = binding(&upstream);
    shared["auth"] = json!("bearer");
    for _ in 0..2 {
        shared["token"] = json!(world.secret());
        world.root.write("mcp-proxy/credentials/shared", shared.clone()).await.ok();
    }
    let mut named = definition(&upstream);
    named["name"] = json!("named");
    let with_token = |fields: &Value| {
        let mut fields = fields.clone();
        fields["auth"] = json!("bearer");
        fields["token"] = json!(world.secret());
        fields
    };
    let call = json!({ "path": "/a" });
    let text = json!({ "description": "Code" });
    let nothing = json!({});
    let rows: Vec<(&str, &str, Value, [u8; 4])> = vec![
        ("POST", "proxy/github/GET", call.clone(), [1, 0, 0, 0]),
        ("POST", "proxy/github/POST", call.clone(), [0, 0, 0, 0]),
        ("POST", "proxy/github/DELETE", call.clone(), [0, 0, 0, 0]),
        ("POST", "proxy/github", call.clone(), [0, 0, 0, 0]),
        ("POST", "proxy/github-prod/GET", call.clone(), [0, 0, 0, 0]),
        ("GET", "catalog", nothing.clone(), [1, 1, 1, 0]),
        ("GET", "catalog/github", nothing.clone(), [1, 1, 1, 0]),
        ("GET", "catalog/spare", nothing.clone(), [0, 1, 1, 0]),
        ("GET", "info", nothing.clone(), [0, 1, 1, 0]),
        ("GET", "health", nothing.clone(), [0, 1, 1, 0]),
        ("GET", "config", nothing.clone(), [0, 1, 1, 0]),
        ("POST", "config", json!({ "max_in_flight": 500 }), [0, 0, 1, 0]),
        ("LIST", "services", nothing.clone(), [0, 1, 1, 0]),
        ("GET", "services/github", nothing.clone(), [0, 1, 1, 0]),
        ("POST", "services/github", text.clone(), [0, 0, 1, 0]),
        ("POST", "services/fresh", definition(&upstream), [0, 0, 1, 0]),
        ("POST", "services", named.clone(), [0, 0, 1, 0]),
        // A secret of the service's own is for who enters secrets; the name alone is enough.
        ("POST", "services", with_token(&named), [0, 0, 0, 0]),
        ("POST", "services/github", with_token(&nothing), [0, 0, 0, 0]),
        ("POST", "services/another", with_token(&definition(&upstream)), [0, 0, 0, 0]),
        ("POST", "services/github", json!({ "username": "x" }), [0, 0, 0, 0]),
        ("POST", "services/github", json!({ "password": world.secret() }), [0, 0, 0, 0]),
        ("PATCH", "services/patched", text, [0, 0, 1, 0]),
        ("PATCH", "services/patched", with_token(&nothing), [0, 0, 0, 0]),
        ("DELETE", "services/spare", nothing.clone(), [0, 0, 1, 0]),
        ("POST", "check/github", nothing.clone(), [0, 0, 1, 0]),
        ("POST", "explain/github", call, [0, 1, 1, 0]),
        ("LIST", "credentials", nothing.clone(), [0, 1, 1, 1]),
        ("GET", "credentials/github", nothing.clone(), [0, 1, 1, 1]),
        ("GET", "credentials/shared/versions", nothing.clone(), [0, 1, 1, 1]),
        ("POST", "credentials/shared", json!({ "token": world.secret() }), [0, 0, 0, 1]),
        ("POST", "credentials/fresh", with_token(&binding(&upstream)), [0, 0, 0, 1]),
        ("POST", "credentials/shared/rollback", json!({ "version": 2 }), [0, 0, 0, 1]),
        ("POST", "credentials/shared/destroy", json!({ "versions": "1" }), [0, 0, 0, 1]),
        ("DELETE", "credentials/fresh", nothing.clone(), [0, 0, 0, 1]),
        ("GET", "/sys/mounts/mcp-proxy/tune", nothing.clone(), [0, 1, 0, 0]),
        ("POST", "/sys/mounts/mcp-proxy/tune", json!({ "description": "x" }), [0, 0, 0, 0]),
        ("GET", "/sys/storage/raft/snapshot", nothing, [0, 0, 0, 0]),
    ];
    let mut clients = Vec::new();
    for name in NAMES {
        clients.push(world.client(&shipped(name)).await);
    }
    let mut wrong = Vec::new();
    for (method, path, body, allowed) in rows {
        let full = match path.strip_prefix('/') {
            Some(elsewhere) => elsewhere.to_owned(),
            None => format!("mcp-proxy/{path}"),
        };
        for (index, client) in clients.iter().enumerate() {
            let (status, text) = send(client, method, &full, &body).await;
            let expected = if allowed[index] == 1 { 200..300 } else { 403..404 };
            if !expected.contains(&status) {
                wrong.push(format!("{} {method} {path} {body}: {status} {text}", NAMES[index]));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    // The agent's call; the check connects and sends nothing without a probe.
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(prod.connections(), 0);
}

/// Every field that holds a secret, as the mount's own OpenAPI document marks them, is one that the
/// operator may not write.
#[tokio::test]
async fn the_operators_policy_knows_every_secret_field() {
    let world = World::start().await;
    let document = world.root.read("sys/internal/specs/openapi").await.ok().body;
    let mut secret = Vec::new();
    for part in [&document["paths"], &document["components"]["schemas"]] {
        for (name, value) in part.as_object().unwrap() {
            if name.starts_with("/mcp-proxy/services") || name.starts_with("McpProxy") {
                sensitive(value, &mut secret);
            }
        }
    }
    secret.sort_unstable();
    secret.dedup();
    assert!(secret.contains(&"token"), "the document marks secrets: {secret:?}");
    let policy = shipped("operator");
    let denied: Vec<&str> =
        policy.lines().filter(|line| line.contains("denied_parameters")).collect();
    assert_eq!(denied.len(), 2);
    for line in denied {
        for field in &secret {
            assert!(line.contains(&format!("\"{field}\" = []")), "{field} isn't in: {line}");
        }
    }
}

#[tokio::test]
async fn a_rate_limit_on_the_mount_refuses_before_anything_is_sent() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let quota = json!({ "path": "mcp-proxy/", "rate": 2, "interval": "1h" });
    world.root.write("sys/quotas/rate-limit/mcp-proxy", quota).await.ok();
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let call = json!({ "path": "/a" });
        statuses.push(world.root.write("mcp-proxy/proxy/demo/GET", call).await.status);
    }
    assert_eq!(statuses, [200, 200, 429, 429]);
    assert_eq!(upstream.seen().len(), 2);
    world.root.read("sys/mounts").await.ok();
}

/// The enable command of the README, run as it stands there: what it shows in clear, and what not.
#[tokio::test]
async fn the_audit_log_shows_what_the_readme_opens_and_no_secret() {
    let world = World::start().await;
    let readme = fs::read_to_string(e2e::programs::root().join("README.md")).unwrap();
    let command = readme
        .split_once("vault secrets enable \\\n")
        .and_then(|(_, rest)| rest.split_once("\n\n"))
        .map(|(words, _)| format!("vault secrets enable {}", words.replace("\\\n", " ")))
        .unwrap();
    let command = command.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(command.matches("-audit-non-hmac-").count() > 5, "{command}");
    world.root.delete("sys/mounts/mcp-proxy").await.ok();
    let enabled = cli::run_line(&world.root, &command, "").await;
    assert!(enabled.status.success(), "{}", String::from_utf8_lossy(&enabled.stderr));
    let config = json!({ "upstream_cidrs": "127.0.0.0/8", "paused": "false" });
    world.root.write("mcp-proxy/config", config).await.ok();
    let (_upstream, _) = world.service("demo").await;
    let rules = json!({ "rules": "allow GET /a, deny * /b", "enabled": "true" });
    world.root.write("mcp-proxy/services/demo", rules).await.ok();
    let refused = world.root.write("mcp-proxy/explain/demo", json!({ "path": "/b" })).await.ok();
    assert_eq!(refused.data()["verdict"], "refused", "{}", refused.text);
    world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/a" })).await.ok();
    world.root.write("mcp-proxy/check/demo", json!({})).await.ok();

    // Secrets in every place where somebody may put one, most of them refused. The world searches
    // the log for them when it ends.
    for field in ["token", "password", "username", "base_url", "prefix", "credential", "no_such"] {
        let fields = json!({ field: world.secret() });
        world.root.write("mcp-proxy/services/demo", fields.clone()).await;
        world.root.write("mcp-proxy/credentials/demo", fields).await;
    }
    for field in ["path", "query", "body", "json"] {
        let fields = json!({ field: world.secret() });
        world.root.write("mcp-proxy/proxy/demo/GET", fields.clone()).await;
        world.root.write("mcp-proxy/explain/demo", fields).await;
    }
    let headers = json!({ "headers": { "X-Api-Key": world.secret() } });
    world.root.write("mcp-proxy/services/demo", headers.clone()).await;
    world.root.write("mcp-proxy/proxy/demo/GET", headers).await;

    let log = fs::read_to_string(world.server.directory().join("audit.log")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let shown = |side: &str, path: &str, field: &str| -> Vec<Value> {
        let of_path = lines.iter().filter(|line| line["request"]["path"] == path);
        of_path.map(|line| line[side]["data"][field].clone()).filter(|v| !v.is_null()).collect()
    };
    let service = "mcp-proxy/services/demo";
    assert!(shown("request", service, "auth").contains(&json!("bearer")));
    assert!(shown("request", service, "rules").contains(&json!("allow GET /a, deny * /b")));
    assert!(shown("request", service, "enabled").contains(&json!("true")));
    assert!(shown("request", "mcp-proxy/config", "upstream_cidrs").contains(&json!("127.0.0.0/8")));
    for field in ["token", "base_url"] {
        let values = shown("request", service, field);
        assert!(!values.is_empty());
        for value in values {
            assert!(value.as_str().unwrap().starts_with("hmac-sha256:"), "{field}: {value}");
        }
    }
    let call = "mcp-proxy/proxy/demo/GET";
    assert!(shown("response", call, "status").contains(&json!(200)));
    assert!(shown("response", call, "rule").contains(&json!("allow GET /a")), "{log}");
    let explain = "mcp-proxy/explain/demo";
    assert!(shown("response", explain, "verdict").contains(&json!("refused")), "{log}");
    assert!(shown("response", explain, "code").contains(&json!("denied_by_rule")), "{log}");
    let verdicts = shown("response", "mcp-proxy/check/demo", "verdict");
    assert!(verdicts.iter().any(|verdict| !verdict.to_string().contains("hmac")), "{verdicts:?}");
}

/// The names of all properties below that are marked as secrets.
fn sensitive<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
    let pairs = value.as_object().into_iter().flatten();
    for (name, property) in pairs {
        if property["x-vault-displayAttrs"]["sensitive"] == true {
            names.push(name);
        }
        sensitive(property, names);
    }
}

fn shipped(name: &str) -> String {
    let path = e2e::programs::root().join("hcl").join(format!("{name}.hcl"));
    fs::read_to_string(path).unwrap()
}

/// Status and text of one request. A patch goes through the command line, which knows its type.
async fn send(client: &Api, method: &str, path: &str, body: &Value) -> (u16, String) {
    if method == "PATCH" {
        let mut words = vec!["patch".to_owned(), path.to_owned()];
        for (name, value) in body.as_object().unwrap() {
            words.push(format!("{name}={}", value.as_str().unwrap()));
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let output = cli::run(client, &words).await;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        let code = errors.split_once("Code: ").map_or("0", |(_, rest)| &rest[..3]);
        let status = if output.status.success() { 200 } else { code.parse().unwrap() };
        return (status, errors);
    }
    let body = (method == "POST").then_some(body);
    let answer = client.send(method, path, body).await.unwrap();
    (answer.status, answer.text)
}
