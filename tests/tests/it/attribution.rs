//! Every call can be told apart afterwards: who, which service, by which rule, how it ended, under one
//! id in the plugin's log, Vault's audit log and the upstream's own.

use e2e::wait;
use e2e::world::{World, definition};
use e2e::{forms, upstream::Upstream};
use serde_json::{Value, json};

#[tokio::test]
async fn one_line_per_call_and_one_id_everywhere() {
    let world = World::start().await;
    let api = &world.root;
    api.write("mcp-proxy/config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.ok();
    let upstream = Upstream::start().await;
    let mut fields = definition(&upstream);
    let token = world.secret();
    fields["auth"] = json!("bearer");
    fields["token"] = json!(token);
    fields["rules"] = json!("deny * /admin/**, allow GET,HEAD /**");
    api.write("mcp-proxy/services/demo", fields).await.ok();

    let private = forms::canary();
    let path = format!("/{private}");
    let call = json!({ "path": path, "query": { "q": private }, "headers": { "Accept": private } });
    let answer = api.write("mcp-proxy/proxy/demo/GET", call).await.ok();
    let id = answer.data()["request_id"].as_str().unwrap().to_owned();
    let denied = api.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/admin/x" })).await;
    let denied = denied.refused(400, "denied_by_rule");
    let refused_id = denied.errors().split("request_id ").nth(1).unwrap()[..36].to_owned();

    let lines = wait::until("both decisions in the log", async || {
        let log = trace(&world, "server.log");
        let lines: Vec<String> =
            log.lines().filter(|line| line.contains("proxy decision")).map(str::to_owned).collect();
        (lines.len() == 2).then_some(lines)
    })
    .await;
    for field in
        ["service=demo", "method=GET", "verdict=allowed", "status=200", "credential=\"demo v1\""]
    {
        assert!(lines[0].contains(field), "{field}: {}", lines[0]);
    }
    assert!(lines[0].contains(&format!("request_id={id}")), "{}", lines[0]);
    assert!(lines[0].contains("rule=\"allow GET,HEAD /**\""), "{}", lines[0]);
    for field in ["verdict=refused", "reason=denied_by_rule", "status=0"] {
        assert!(lines[1].contains(field), "{field}: {}", lines[1]);
    }
    assert!(lines[1].contains(&format!("request_id={refused_id}")), "{}", lines[1]);
    assert!(!lines.concat().contains(&private), "no path, no query, no header: {lines:?}");

    // The same id in the audit log and in the upstream's request.
    let audit = trace(&world, "audit.log");
    let entries: Vec<Value> =
        audit.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let path = "mcp-proxy/proxy/demo/GET";
    let entry = entries.iter().find(|entry| entry["request"]["id"] == id.as_str());
    assert_eq!(entry.unwrap()["request"]["path"], path);
    let arrived = String::from_utf8_lossy(&upstream.only().bytes()).to_ascii_lowercase();
    assert!(arrived.contains(&format!("x-request-id: {id}")), "{arrived}");
}

fn trace(world: &World, name: &str) -> String {
    let traces = world.server.traces();
    let found = traces.iter().find(|(path, _)| path.ends_with(name));
    String::from_utf8_lossy(&found.unwrap().1).into_owned()
}
