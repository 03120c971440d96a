//! The leak scan: a tour of everything, then a search of everything for every secret.

use std::fs;

use e2e::bridge::Bridge;
use e2e::forms;
use e2e::server::Storage;
use e2e::upstream::Upstream;
use e2e::world::{World, binding, definition};
use serde_json::json;

#[tokio::test]
async fn a_credential_stands_nowhere_but_in_what_the_upstream_received() {
    let world = World::start_on(Storage::Raft).await;
    let api = &world.root;
    let mut texts = Vec::new();
    api.write("mcp-proxy/config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.ok();
    let (upstream, first) = world.service("demo").await;
    let shared = world.secret();
    let keyed = Upstream::start().await;
    let placement = json!({ "auth": "header", "header_name": "X-Api-Key" });
    let (mut credential, mut service) = (binding(&keyed), definition(&keyed));
    for fields in [&mut credential, &mut service] {
        fields.as_object_mut().unwrap().extend(placement.as_object().unwrap().clone());
    }
    credential["token"] = json!(shared);
    api.write("mcp-proxy/credentials/shared", credential).await.ok();
    service["credential"] = json!("shared");
    api.write("mcp-proxy/services/keyed", service).await.ok();

    // Refused writes carry secrets, too.
    let refused = world.secret();
    for fields in [
        json!({ "token": refused, "no_such_field": 1 }),
        json!({ "token": format!("Bearer {refused}") }),
        json!({ "token": [refused] }),
        json!({ "token": refused, "base_url": "https://localhost." }),
        json!({ "token": refused, "cas": 99 }),
    ] {
        texts.push(api.write("mcp-proxy/services/demo", fields).await.text);
    }

    let role_rules = r#"path "mcp-proxy/*" { capabilities = ["read", "update", "list"] }"#;
    let role = world.app_role("agent", role_rules).await;
    let mut agent = Bridge::start(world.server.address(), &role).await;
    for path in ["/headers", "/echo/base64", "/echo/header", "/status/500", "/../x", "/reset"] {
        for service in ["demo", "keyed"] {
            let call = json!({ "path": path, "headers": { "Accept": "*/*" } });
            texts.push(api.write(&format!("mcp-proxy/proxy/{service}/POST"), call).await.text);
            let call = json!({ "service": service, "path": path });
            texts.push(agent.call("proxy_read", call).await.text);
        }
    }
    let second = world.secret();
    api.write("mcp-proxy/services/demo", json!({ "token": second })).await.ok();
    let upstream = upstream.demanding("authorization", &format!("Bearer {second}"));
    texts.push(
        agent.call("proxy_read", json!({ "service": "demo", "path": "/headers" })).await.text,
    );

    let explained = json!({ "path": "/headers", "method": "POST" });
    texts.push(api.write("mcp-proxy/explain/demo", explained).await.ok().text);
    let back = json!({ "version": 1 });
    texts.push(api.write("mcp-proxy/credentials/demo/rollback", back).await.ok().text);
    let old = json!({ "versions": "1" });
    texts.push(api.write("mcp-proxy/credentials/demo/destroy", old).await.ok().text);

    for path in ["info", "config", "services/demo", "credentials/demo", "catalog", "catalog/demo"]
        .into_iter()
        .chain(["health", "credentials/demo/versions"])
    {
        texts.push(api.read(&format!("mcp-proxy/{path}")).await.ok().text);
        texts.push(api.read(&format!("mcp-proxy/{path}?help=1")).await.ok().text);
    }
    for path in ["services", "credentials"] {
        texts.push(api.list(&format!("mcp-proxy/{path}")).await.ok().text);
    }
    texts.push(api.read("sys/internal/specs/openapi").await.ok().text);
    texts.push(api.read("sys/metrics?format=prometheus").await.text);

    // While both run: their arguments and environment. Then a crash, and what it writes.
    for pid in [agent.pid()].into_iter().chain(world.server.plugins()) {
        for file in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    world.server.kill_plugins().await;
    let home = agent.home();
    let mut kept = Vec::new();
    collect(&home, &mut kept);
    texts.append(&mut kept);
    texts.push(agent.leave().await);

    let everything = texts.join("\n");
    for secret in [&first, &second, &shared, &refused] {
        assert_eq!(forms::found(everything.as_bytes(), secret), [""; 0]);
    }
    // Dropping the world searches storage, logs and audit log. The control: where each secret
    // belongs, the same search finds it.
    let arrived: Vec<u8> =
        upstream.seen().iter().chain(&keyed.seen()).flat_map(e2e::upstream::Seen::bytes).collect();
    for secret in [&first, &second, &shared] {
        assert_eq!(forms::found(&arrived, secret), ["as it is"]);
    }
    let traces = world.server.traces();
    for (name, least) in [("audit.log", 10_000), ("server.log", 10_000), ("vault.db", 100_000)] {
        let (_, bytes) = traces.iter().find(|(path, _)| path.ends_with(name)).unwrap();
        assert!(bytes.len() > least, "{name} has something to search");
    }
}

fn collect(folder: &std::path::Path, texts: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.path().is_dir() {
            collect(&entry.path(), texts);
        } else if let Ok(bytes) = fs::read(entry.path()) {
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
}
