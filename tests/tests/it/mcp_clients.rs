//! Tools of MCP servers as real MCP clients use them through the bridge.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use e2e::mcp_upstream::{clients, fetched};
use e2e::world::AppRole;
use e2e::{bridge, programs};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

use crate::mcp_stage::{AGENT, Stage};

/// The longest that a client may take, on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(120);

struct Desk {
    stage: Stage,
    role: AppRole,
    home: TempDir,
}

impl Desk {
    async fn set() -> Option<Self> {
        let stage = Stage::approved().await?;
        let role = stage.world.app_role("agent", AGENT).await;
        Some(Self { stage, role, home: tempfile::tempdir().unwrap() })
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        bridge::environment(self.stage.world.server.address(), &self.role, self.home.path())
    }

    /// Runs a client's program with the bridge's environment and nothing of the developer's.
    async fn run(&self, program: &Path, arguments: &[&str]) -> Output {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", clients().join("bin").display());
        let output = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(self.environment())
            .env("PATH", path)
            .env("CLIENTS", clients().join("sdk"))
            .env("NO_COLOR", "1")
            .current_dir(self.home.path())
            .kill_on_drop(true)
            .output();
        let output = tokio::time::timeout(LIMIT, output).await.unwrap().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        output
    }

    /// Has a driver of `tests/clients` list the tools, and use the one with every kind of content.
    async fn drive(&self, program: &Path, driver: &[&str], version: Option<&str>) {
        let script = programs::root().join("tests/clients").join(driver[0]);
        let (script, bridge) = (script.display().to_string(), programs::bridge());
        let bridge = bridge.display().to_string();
        let more = [bridge.as_str(), "docs__rich", "{}"];
        let arguments = [&[script.as_str()], &driver[1..], &more].concat();
        let output = self.run(program, &arguments).await;
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        if let Some(version) = version {
            assert_eq!(report["version"], version, "{report}");
        }
        let tools = report["tools"].as_array().unwrap();
        for tool in ["list_services", "docs__add", "old__visit"] {
            assert!(tools.contains(&json!(tool)), "{driver:?} {tool}: {report}");
        }
        let content = report["result"]["content"].as_array().unwrap();
        let kinds: Vec<_> = content.iter().map(|block| &block["type"]).collect();
        assert_eq!(kinds, ["text", "image", "audio", "resource_link", "resource"], "{driver:?}");
        assert_eq!(report["result"]["structuredContent"]["list"], json!([1, "two"]), "{driver:?}");
        assert_eq!(report["result"]["_meta"]["example.com/trace"]["id"], 7, "{driver:?}");
    }
}

#[tokio::test]
async fn every_client_lists_and_calls_a_servers_tools() {
    let (Some(python), Some(first), Some(node)) =
        (fetched("python/bin/python"), fetched("python-1/bin/python"), fetched("bin/node"))
    else {
        return;
    };
    let Some(inspector) = fetched("sdk/node_modules/.bin/mcp-inspector") else { return };
    let Some(desk) = Desk::set().await else { return };
    let (with_handshake, stateless) = (Some("2025-11-25"), Some("2026-07-28"));
    for (program, driver, version) in [
        (&python, &["tools.py", "mcp", "legacy"][..], with_handshake),
        (&python, &["tools.py", "mcp", "auto"], stateless),
        (&python, &["tools.py", "fastmcp", "auto"], stateless),
        (&first, &["tools_v1.py"], with_handshake),
        (&node, &["tools.mjs", "1", "legacy"], None),
        (&node, &["tools.mjs", "2", "legacy"], with_handshake),
        (&node, &["tools.mjs", "2", "auto"], stateless),
    ] {
        desk.drive(program, driver, version).await;
    }
    assert_eq!(desk.stage.docs.count("rich"), 7, "each called once");

    let inspector = inspector.display().to_string();
    for era in ["legacy", "modern"] {
        let run = async |more: &[&str]| {
            let settings: Vec<_> =
                desk.environment().iter().map(|(name, value)| format!("{name}={value}")).collect();
            let settings = settings.iter().flat_map(|setting| ["-e", setting]);
            let bridge = programs::bridge().display().to_string();
            let common = ["--cli", "--protocol-era", era, "--format", "json", "-q"];
            let arguments = [&inspector as &str].into_iter().chain(common);
            let arguments = arguments.chain(more.iter().copied()).chain(settings);
            let arguments: Vec<_> = arguments.chain(["--", &bridge]).collect();
            let output = desk.run(&node, &arguments).await;
            String::from_utf8(output.stdout).unwrap()
        };
        let listed = run(&["--method", "tools/list", "--strict"]).await;
        assert!(listed.contains("docs__add"), "{era}: {listed}");
        assert!(!listed.contains("schemaFindings"), "{era}: {listed}");
        let call = ["--method", "tools/call", "--tool-name", "old__add"];
        let arguments = ["--tool-arg", "a=20", "--tool-arg", "b=22"];
        let sum = run(&[&call[..], &arguments].concat()).await;
        assert!(sum.contains("42"), "{era}: {sum}");
    }
    assert_eq!(desk.stage.old.count("add"), 2);
}
