//! The specification's own scenarios for clients, with bridge, Vault and plugin as the client.
//!
//! Those for servers speak Streamable HTTP alone, and call tools by fixed names; the bridge serves
//! stdio, and puts the service's name before a tool's. So none of them can be run.
#![expect(clippy::print_stdout, reason = "how many checks hold is for people")]

use std::path::Path;

use e2e::mcp_upstream::{clients, fetched};
use e2e::{bridge, programs};
use futures_util::StreamExt as _;
use serde_json::Value;
use tokio::process::Command;

use crate::mcp_stage::{AGENT, world};

/// What is run, and with which revision.
const RUN: [(&str, &str); 10] = [
    ("initialize", "2025-11-25"),
    ("tools_call", "2025-06-18"),
    ("tools_call", "2025-11-25"),
    ("tools_call", "2026-07-28"),
    ("request-metadata", "2026-07-28"),
    ("http-standard-headers", "2026-07-28"),
    ("http-custom-headers", "2026-07-28"),
    ("http-invalid-tool-headers", "2026-07-28"),
    ("json-schema-ref-no-deref", "2026-07-28"),
    ("json-schema-2020-12-preservation", "2026-07-28"),
];

/// What is left out, by the beginning of its name, and why.
const LEFT_OUT: [(&str, &str); 5] = [
    ("auth/", "credentials are what an operator stores; the engine asks no authorization server"),
    ("elicitation-", "what a server asks its client for is refused: Vault has no user"),
    ("sep-2322-", "the same in the stateless revision's way"),
    (
        "sse-retry",
        "an answer whose stream breaks off isn't asked for again: the outcome is unknown",
    ),
    ("sep-2640-", "an extension (skills) that the engine doesn't declare"),
];

/// Checks that fail on purpose: strict clients refuse a tool, or all of them, for what these want
/// kept at the top of a schema, so the bridge writes it in other words.
const FAIL: [&str; 3] = [
    "json-schema-2020-12-client-$schema-preserved",
    "sep-2106-client-composition-keywords-preserved",
    "sep-2106-client-conditional-keywords-preserved",
];

#[tokio::test]
async fn the_specifications_scenarios_for_clients_hold() {
    let (Some(node), Some(python)) = (fetched("bin/node"), fetched("python/bin/python")) else {
        return;
    };
    let index = "upstreams/node_modules/@modelcontextprotocol/conformance/dist/index.js";
    let Some(index) = fetched(index) else { return };
    // Whatever the suite has for clients is run, or left out for a reason.
    let list = Command::new(&node).arg(&index).arg("list").output().await.unwrap();
    let list = String::from_utf8(list.stdout).unwrap();
    let (_, list) = list.split_once("Client scenarios").unwrap();
    let (list, _) = list.split_once("Authorization server scenarios").unwrap();
    let names = list.lines().filter_map(|line| line.trim().strip_prefix("- "));
    let names: Vec<_> = names.map(|line| line.split(' ').next().unwrap()).collect();
    assert!(names.len() > RUN.len(), "{list}");
    for name in names {
        let runs = RUN.iter().any(|(run, _)| *run == name);
        let left_out = LEFT_OUT.iter().any(|(start, _)| name.starts_with(start));
        assert!(runs != left_out, "{name}: run it, or say why not");
    }

    let world = world().await;
    let role = world.app_role("agent", AGENT).await;
    let home = tempfile::tempdir().unwrap();
    let run = async |(scenario, revision): (&str, &str)| {
        let folder = home.path().join(format!("{scenario}-{revision}"));
        let mut command = Command::new(&node);
        let driver = programs::root().join("tests/clients/conformance.py");
        command
            .arg(&index)
            .args(["client", "--scenario", scenario, "--spec-version", revision])
            .arg("--command")
            .arg(format!("{} {}", python.display(), driver.display()))
            .arg("--output-dir")
            .arg(&folder)
            .env_clear()
            .envs(bridge::environment(world.server.address(), &role, &folder))
            .env("PATH", format!("{}:/usr/bin:/bin", clients().join("bin").display()))
            .env("VAULT_TOKEN", world.root.token())
            .env("BRIDGE", programs::bridge())
            .env("NO_PROXY", "127.0.0.1,localhost")
            .kill_on_drop(true);
        let output = command.output().await.unwrap();
        failures(&folder, &format!("{scenario} {revision}"), &output)
    };
    // Two at a time: each has a few processes.
    let runs = futures_util::stream::iter(RUN).map(run).buffer_unordered(2);
    let failures: Vec<_> = runs.concat().await;
    assert!(failures.is_empty(), "{failures:#?}");
}

/// The checks that failed, or that should have and didn't.
fn failures(folder: &Path, what: &str, output: &std::process::Output) -> Vec<String> {
    let mut found = None;
    let mut said = String::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.ends_with("checks.json") {
                found = Some(std::fs::read_to_string(path).unwrap());
            } else if path.ends_with("stderr.txt") {
                said = std::fs::read_to_string(path).unwrap();
            }
        }
    }
    let Some(found) = found else {
        return vec![format!("{what}: nothing was checked: {output:?}")];
    };
    let checks: Vec<Value> = serde_json::from_str(&found).unwrap();
    let of = |status: &str| checks.iter().filter(|check| check["status"] == status).count();
    println!(
        "{what}: {} hold, {} warn, {} are skipped",
        of("SUCCESS"),
        of("WARNING"),
        of("SKIPPED")
    );
    let mut failures = Vec::new();
    if of("SUCCESS") == 0 {
        failures.push(format!("{what}: nothing holds: {said}"));
    }
    for check in &checks {
        let id = check["id"].as_str().unwrap_or_default();
        let fails = ["FAILURE", "WARNING"].iter().any(|status| check["status"] == *status);
        if fails != FAIL.contains(&id) {
            failures.push(format!("{what}: {check} {said}"));
        }
    }
    failures
}
