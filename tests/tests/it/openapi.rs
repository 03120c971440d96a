//! What is declared is what is shown: help and the OpenAPI document, on a real server.

use std::path::PathBuf;
use std::process::Command;

use e2e::api::Api;
use e2e::world::{World, definition};
use e2e::{cli, programs};
use serde_json::{Map, Value, json};

/// Every path, with a name in the place of each parameter.
const PATHS: [&str; 27] = [
    "info",
    "config",
    "services",
    "services/github",
    "credentials",
    "credentials/github",
    "credentials/github/versions",
    "credentials/github/rollback",
    "credentials/github/destroy",
    "proxy/github",
    "proxy/github/GET",
    "explain/github",
    "check/github",
    "health",
    "catalog",
    "catalog/github",
    "call/linear/create_issue",
    "resources/linear",
    "prompts/linear/greet",
    "tools",
    "tools/linear",
    "tools/linear/refresh",
    "tools/linear/diff",
    "tools/linear/approve",
    "tools/linear/revoke",
    "tools/linear/tool/create_issue",
    "",
];

#[tokio::test]
async fn help_at_every_level_is_the_golden_one() {
    let world = World::start().await;
    let mut text = String::new();
    for path in PATHS {
        let line = format!("vault path-help mcp-proxy/{path}");
        let output = cli::run_line(&world.root, &line, "").await;
        assert!(output.status.success(), "{line}: {output:?}");
        text.push_str(&format!("$ {line}\n{}\n", String::from_utf8_lossy(&output.stdout)));
    }
    golden("path-help.txt", &text);
}

#[tokio::test]
async fn the_openapi_document_is_the_golden_one_and_a_valid_one() {
    let world = World::start().await;
    let document = document(&world.root).await;
    // Another host keeps other parts of a plugin's document.
    if document["info"]["title"] == "OpenBao API" {
        golden("openapi.json", &format!("{document:#}\n"));
    }
    validated(&document).unwrap();

    // A document that isn't one is found out.
    let mut broken = document;
    broken["paths"]["/mcp-proxy/info"]["get"]["parameters"] = json!([{ "name": "x" }]);
    validated(&broken).unwrap_err();
}

#[tokio::test]
async fn every_operation_is_described_with_what_it_takes_and_answers() {
    let world = World::start().await;
    let document = document(&world.root).await;
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), PATHS.len() - 1, "{:?}", paths.keys());
    for (path, item) in paths {
        for method in ["get", "post", "patch", "delete"] {
            let operation = &item[method];
            if operation.is_null() {
                continue;
            }
            let at = format!("{method} {path}");
            assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{at}");
            assert!(operation["operationId"].as_str().unwrap().starts_with("mcp-proxy-"), "{at}");
            let responses = operation["responses"].as_object().unwrap();
            let answers = responses.keys().filter(|status| status.starts_with('2')).count();
            assert_eq!(answers, 1, "{at}: {responses:?}");
            if let Some(data) = responses.get("200") {
                let schema = &data["content"]["application/json"]["schema"];
                assert!(!schema["properties"].as_object().unwrap().is_empty(), "{at}");
            }
            for content in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                let schema = &content.1["schema"];
                let properties = schema["properties"].as_object().unwrap();
                for (name, property) in properties {
                    let text = property["description"].as_str().unwrap_or_default();
                    assert!(!text.is_empty(), "{at}: {name}");
                }
                let wanted = path != "/mcp-proxy/check/{service}";
                assert_eq!(schema["example"].is_object(), wanted, "{at}");
                // An example is a body that would be taken.
                for name in schema["example"].as_object().into_iter().flat_map(Map::keys) {
                    assert!(properties.contains_key(name), "{at}: {name}");
                }
            }
        }
    }
}

#[tokio::test]
async fn help_and_the_document_say_nothing_of_what_is_stored() {
    let world = World::start().await;
    // Whoever has a token may ask for help, whatever its policy.
    let anybody = world.client(r#"path "nothing" { capabilities = ["read"] }"#).await;
    let shown = async || {
        let mut shown = vec![document(&world.root).await.to_string()];
        for path in PATHS {
            let help = anybody.read(&format!("mcp-proxy/{path}?help=1")).await.ok();
            shown.push(help.body["help"].as_str().expect("a text").to_owned());
        }
        shown
    };
    let before = shown().await;
    let (upstream, _) = world.service("github").await;
    world.root.write("mcp-proxy/services/other", definition(&upstream)).await.ok();
    world.root.write("mcp-proxy/config", json!({ "paused": true })).await.ok();
    assert_eq!(shown().await, before);
}

/// Our part of the server's document, as a document.
async fn document(api: &Api) -> Value {
    let answer = api.read("sys/internal/specs/openapi").await.ok();
    let paths = answer.body["paths"].as_object().unwrap().clone();
    let ours = paths.into_iter().filter(|(path, _)| path.starts_with("/mcp-proxy/"));
    let ours: Map<String, Value> = ours.collect();
    json!({
        "openapi": answer.body["openapi"],
        "info": { "title": answer.body["info"]["title"], "version": "-" },
        "paths": ours,
    })
}

fn validated(document: &Value) -> Result<(), String> {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    let python = programs::root().join(".cache/venv/bin/python");
    let validator = ["-m", "openapi_spec_validator", "--schema", "3.0"];
    assert!(python.exists(), "{} is missing; run: scripts/setup openapi", python.display());
    let output = Command::new(python).args(validator).arg(&file).output().unwrap();
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8(bytes).unwrap());
    assert!(!said[1].contains("No module"), "{}; run: scripts/setup openapi", said[1]);
    if output.status.success() { Ok(()) } else { Err(said.concat()) }
}

/// Compares a text with the file of that name; `UPDATE_GOLDEN=1` writes the file instead.
fn golden(name: &str, text: &str) {
    let file: PathBuf = programs::root().join("tests/golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(&file, text).unwrap();
    }
    let kept = std::fs::read_to_string(&file).unwrap_or_default();
    let differing = kept.lines().zip(text.lines()).position(|(kept, now)| kept != now);
    let at = differing.unwrap_or_else(|| kept.lines().count().min(text.lines().count()));
    let line = |text: &str| text.lines().nth(at).unwrap_or("(the end)").to_owned();
    assert!(
        kept == text,
        "tests/golden/{name}, line {}:\nkept: {}\nnow:  {}\nIf that is meant: UPDATE_GOLDEN=1 cargo \
         test -p e2e --test it openapi",
        at + 1,
        line(&kept),
        line(text)
    );
}
