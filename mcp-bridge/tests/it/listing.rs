//! What an agent is shown: definitions, schemas, services.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::bridge::Machine;
use crate::vault::{Vault, catalog, service};

#[tokio::test]
async fn the_tools_have_the_agreed_texts_and_schemas_that_every_client_takes() {
    let vault = Vault::start().await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let tools = bridge.request("tools/list", json!({})).await["result"]["tools"].clone();
    let tools = tools.as_array().unwrap();
    let names = tools.iter().map(|tool| tool["name"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(names, ["list_services", "proxy_read", "proxy_request"]);
    let titles = tools.iter().map(|tool| tool["title"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(
        titles,
        [
            "List the services you can call",
            "Read from a service (GET)",
            "Call a service (may change things)"
        ]
    );
    assert_eq!(
        tools[2]["description"],
        "Sends one HTTP request with any method to a service's HTTP API and returns the status \
         and the body. Vault adds the authentication: never send or ask for API keys or tokens. \
         It is sent once: if the outcome is reported as unknown, check with proxy_read before you \
         repeat it."
    );
    assert_eq!(tools[1]["annotations"]["readOnlyHint"], true);
    assert_eq!(tools[2]["annotations"]["readOnlyHint"], false);
    assert_eq!(tools[2]["annotations"]["destructiveHint"], true);
    assert_eq!(tools[0]["annotations"]["openWorldHint"], false);
    for tool in tools {
        assert_eq!(tool["_meta"]["anthropic/alwaysLoad"], true);
        lint(&tool["inputSchema"], &format!("{}", tool["name"]), true);
    }
    let properties = &tools[2]["inputSchema"]["properties"];
    assert_eq!(properties["service"]["enum"], json!(["github", "sonarr"]));
    assert_eq!(tools[2]["inputSchema"]["required"], json!(["service", "method", "path"]));
    assert!(properties["method"].get("default").is_none());
    bridge.finish().await;
}

/// What makes clients drop a tool, or a whole list: alternatives at the top, lists of types,
/// a missing type.
fn lint(schema: &Value, place: &str, top: bool) {
    if top {
        assert_eq!(schema["type"], "object", "{place}");
        assert_eq!(schema["additionalProperties"], false, "{place}");
        for forbidden in ["anyOf", "oneOf", "allOf", "if", "not", "$ref"] {
            assert!(schema.get(forbidden).is_none(), "{place} has {forbidden} at the top");
        }
    }
    if let Some(alternatives) = schema.get("anyOf").and_then(Value::as_array) {
        for alternative in alternatives {
            lint(alternative, place, false);
        }
        return;
    }
    assert!(schema["type"].is_string(), "{place}: one type each: {schema}");
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            assert!(property["description"].is_string(), "{place}.{name} has no description");
            lint(property, &format!("{place}.{name}"), false);
        }
    }
}

#[tokio::test]
async fn only_what_the_policy_permits_is_listed() {
    let vault = Vault::start().await;
    let names = (0..120).map(|index| format!("s{index}")).collect::<Vec<_>>();
    let mut all = names.iter().map(String::as_str).collect::<Vec<_>>();
    all.push("github");
    {
        let mut script = vault.script();
        script.catalog = Some(catalog("1", &all));
        script.permitted = Some(HashSet::from(["github/GET".into(), "s7/POST".into()]));
    }
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let tools = bridge.request("tools/list", json!({})).await["result"]["tools"].clone();
    let names = |tool: usize| tools[tool]["inputSchema"]["properties"]["service"]["enum"].clone();
    assert_eq!(names(1), json!(["github"]));
    assert_eq!(names(2), json!(["github", "s7"]));
    // 121 services by 7 methods in questions of at most 400 paths.
    assert_eq!(vault.arrivals("sys/capabilities-self").len(), 3);
    let (text, _) = bridge.call("list_services", json!({})).await;
    assert_eq!(
        text,
        "2 services. Paths are appended to the base URL.\n\
         - github: About github. Allowed: GET /**. Base: https://github.example/api\n\
         - s7: About s7. Allowed: POST /**. Base: https://s7.example/api"
    );
    // What is permitted stays known for the token's life; of what isn't, one question asks again.
    assert_eq!(vault.arrivals("sys/capabilities-self").len(), 4);
    bridge.call("proxy_read", json!({ "service": "github", "path": "/" })).await;
    assert_eq!(vault.arrivals("sys/capabilities-self").len(), 4);
    bridge.finish().await;
}

#[tokio::test]
async fn what_an_operator_allows_later_is_found_by_asking_and_by_calling() {
    let vault = Vault::start().await;
    vault.script().permitted = Some(HashSet::from(["nothing/GET".into()]));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    bridge.request("tools/list", json!({})).await;
    let (text, _) = bridge.call("list_services", json!({})).await;
    assert!(text.starts_with("No service is available to this agent yet."), "{text}");
    // The user was told, and the operator did it: the next question finds it, for the same token.
    vault.script().permitted = Some(HashSet::from(["github/GET".into()]));
    let (text, _) = bridge.call("list_services", json!({})).await;
    assert!(text.contains("- github: About github. Allowed: GET /**."), "{text}");
    bridge.notification("notifications/tools/list_changed").await;
    // So does a call that works all at once.
    vault.script().permitted = Some(HashSet::from(["github/GET".into(), "sonarr/GET".into()]));
    bridge.request("tools/list", json!({})).await;
    assert!(!bridge.call("proxy_read", json!({ "service": "sonarr", "path": "/" })).await.1);
    bridge.notification("notifications/tools/list_changed").await;
    let tools = bridge.request("tools/list", json!({})).await["result"]["tools"].clone();
    let names = &tools[1]["inputSchema"]["properties"]["service"]["enum"];
    assert_eq!(names, &json!(["github", "sonarr"]));
    assert_eq!(vault.arrivals("auth/approle/login").len(), 1);
    bridge.finish().await;
}

#[tokio::test]
async fn one_service_is_told_in_full() {
    let vault = Vault::start().await;
    {
        let mut script = vault.script();
        let mut details = service("github");
        details["usage"] = json!("GET /user tells who you are.");
        details["safe_methods"] = json!(["GET", "HEAD", "OPTIONS"]);
        details["limits"] = json!({ "timeout_seconds": 30, "max_response_bytes": 8_388_608 });
        details["rules"] = json!(["allow GET /**", "deny * /admin/**"]);
        script.details = details;
    }
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let (text, error) = bridge.call("list_services", json!({ "service": "github" })).await;
    assert!(!error);
    assert_eq!(
        text,
        "github: About github. Allowed: GET /**. Denied: * /admin/**.\n\
         Base URL: https://github.example/api (paths are appended to it)\n\
         Limits: 30 s for a call, 8.4 MB to receive\n\
         Usage:\nGET /user tells who you are."
    );
    let text = bridge.refusal("list_services", json!({ "service": "githup" })).await;
    assert!(text.contains("Did you mean \"github\"?"), "{text}");
    bridge.finish().await;
}

#[tokio::test]
async fn without_a_catalog_the_configured_names_serve() {
    let vault = Vault::start().await;
    vault.script().catalog = None;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let (text, error) = bridge.call("list_services", json!({})).await;
    assert!(!error && text.starts_with("No service is available to this agent yet."), "{text}");
    bridge.finish().await;

    std::fs::write(machine.path("config.toml"), "services = [\"sonarr\"]").unwrap();
    let mut command = machine.command(&vault.address());
    let mut bridge =
        crate::bridge::Bridge::spawn(command.env("MCP_BRIDGE_CONFIG", machine.path("config.toml")));
    bridge.initialize("2025-11-25").await;
    let (text, _) = bridge.call("list_services", json!({})).await;
    assert!(text.contains("- sonarr: Allowed: any method /**."), "{text}");
    bridge.finish().await;
}

/// Fifteen services as people have them.
const HOME: [(&str, &str); 15] = [
    ("github", "GitHub: issues, pull requests, code"),
    ("gitlab", "GitLab: projects, issues, pipelines"),
    ("grafana", "Grafana: dashboards, alerts, queries"),
    ("home_assistant", "Smart home"),
    ("jellyfin", "Films, music and series at home"),
    ("jira", "Jira: tickets of the team"),
    ("linear", "Linear: issues and projects"),
    ("nextcloud", "Files, calendars and contacts"),
    ("notion", "Notion: pages and databases"),
    ("paperless", "Scanned documents"),
    ("prometheus", "Metrics of all hosts"),
    ("radarr", "Film library and downloads"),
    ("sentry", "Sentry: errors of our programs"),
    ("sonarr", "TV series library and downloads"),
    ("tautulli", "Plex statistics"),
];

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the numbers are what one wants to see")]
async fn fifteen_services_cost_a_model_under_twelve_hundred_tokens() {
    let vault = Vault::start().await;
    let services = HOME.map(|(name, description)| {
        let mut service = service(name);
        service["description"] = json!(description);
        service
    });
    vault.script().catalog = Some(json!({ "revision": "1", "services": services }));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let tools = bridge.request("tools/list", json!({})).await["result"]["tools"].clone();
    bridge.finish().await;
    // The services are known now, so the instructions of the next start name them.
    let mut bridge = machine.serve(&vault);
    let hello = bridge.initialize("2025-11-25").await;
    let instructions = hello["instructions"].as_str().unwrap();
    assert!(instructions.contains("tautulli (Plex statistics)."), "{instructions}");

    // The vocabulary of the GPT-4o family; others differ by a few in a hundred. Clients give the
    // model a tool's name, description and schema, as compact JSON.
    let vocabulary = tiktoken_rs::o200k_base_singleton();
    let cost = |text: &str| vocabulary.encode_ordinary(text).len();
    let mut sum = cost(instructions);
    println!("instructions: {sum} tokens");
    for tool in tools.as_array().unwrap() {
        let shown = json!({ "name": tool["name"], "description": tool["description"],
                            "input_schema": tool["inputSchema"] });
        let tokens = cost(&shown.to_string());
        println!("{}: {tokens} tokens", tool["name"]);
        sum += tokens;
    }
    let (overview, _) = bridge.call("list_services", json!({})).await;
    println!("all that every prompt carries: {sum} tokens");
    println!("the overview, when asked for: {} tokens", cost(&overview));
    assert!(sum < 1_200, "{sum}");
    bridge.finish().await;
}
