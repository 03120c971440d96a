//! The bridge as real MCP clients use it, on the whole stack.
//!
//! `scripts/setup clients` fetches the libraries, `scripts/setup agents` the coding agents. Where
//! they aren't there, these tests say so and are passed over.
#![expect(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests end the test, and say what was passed over"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use e2e::bridge;
use e2e::programs;
use e2e::upstream::Upstream;
use e2e::world::{AppRole, World, definition};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

const READER: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/catalog/+" { capabilities = ["read"] }
path "mcp-proxy/proxy/+/GET" { capabilities = ["update"] }
"#;
/// The longest that a client may take to start, on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(120);

/// A server with the plugin and one service, an agent's credential, and a home for its client.
struct Stage {
    world: World,
    upstream: Upstream,
    role: AppRole,
    home: TempDir,
}

impl Stage {
    async fn set() -> Self {
        let world = World::start().await;
        let (upstream, _) = world.service("demo").await;
        let fields = json!({ "description": "A demo API" });
        world.root.write("mcp-proxy/services/demo", fields).await.ok();
        let role = world.app_role("agent", READER).await;
        let home = tempfile::tempdir().unwrap();
        Self { world, upstream, role, home }
    }

    /// What the bridge needs in its environment.
    fn environment(&self) -> Vec<(&'static str, String)> {
        bridge::environment(self.world.server.address(), &self.role, self.home.path())
    }

    /// A client's program with the bridge's environment and nothing of the developer's.
    fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", clients().join("bin").display());
        command
            .env_clear()
            .envs(self.environment())
            .env("PATH", path)
            .env("CLIENTS", clients().join("sdk"))
            .env("NO_COLOR", "1")
            .current_dir(self.home.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command
    }

    /// The command by which a client is to start the bridge, so that its lines can be looked at.
    fn tapped(&self) -> [String; 3] {
        let tap = programs::root().join("tests/clients/tap");
        [tap, programs::bridge(), self.home.path().into()].map(|path| path.display().to_string())
    }

    /// The messages that a client sent through the tap, and those that it got.
    fn transcript(&self) -> (Vec<Value>, Vec<Value>) {
        let read = |name: &str| {
            let text = fs::read_to_string(self.home.path().join(name)).unwrap_or_default();
            text.lines().map(|line| serde_json::from_str(line).expect(line)).collect::<Vec<Value>>()
        };
        let (sent, got) = (read("in"), read("out"));
        for message in &got {
            assert_eq!(message["jsonrpc"], "2.0", "stdout isn't JSON-RPC alone: {message}");
        }
        (sent, got)
    }
}

fn clients() -> PathBuf {
    programs::root().join(".cache/clients")
}

/// A program that the set-up fetches; none, and a word about it, where it isn't there.
fn fetched(path: &str) -> Option<PathBuf> {
    let path = clients().join(path);
    if path.exists() {
        return Some(path);
    }
    let part = if path.starts_with(clients().join("agents")) { "agents" } else { "clients" };
    println!("SKIPPED: {} is missing; run: scripts/setup {part}", path.display());
    None
}

/// Follows a driver of `tests/clients` through all that it does.
async fn drive(program: Option<PathBuf>, arguments: &[&str], version: Option<&str>) {
    let Some(program) = program else { return };
    let stage = Stage::set().await;
    let script = programs::root().join("tests/clients").join(arguments[0]);
    let mut command = stage.command(&program);
    command.arg(script).args(&arguments[1..]).arg(programs::bridge());
    let mut driver = command.stdin(Stdio::piped()).spawn().unwrap();
    let mut input = driver.stdin.take().unwrap();
    let mut output = BufReader::new(driver.stdout.take().unwrap()).lines();

    let report = line(&mut driver, &mut output).await;
    if let Some(version) = version {
        assert_eq!(report["version"], version, "{report}");
    }
    assert_eq!(report["tools"], json!(["list_services", "proxy_read", "proxy_request"]));
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    // A client that is told its revision asks for nothing but what it needs.
    if !arguments.contains(&"2026-07-28") {
        assert!(text(&report["instructions"]).starts_with("Calls HTTP APIs"), "{report}");
    }
    assert_eq!(report["overview"]["error"], false, "{report}");
    assert!(text(&report["overview"]["text"]).contains("- demo: A demo API."), "{report}");
    assert_eq!(report["read"]["error"], false, "{report}");
    assert!(text(&report["read"]["text"]).starts_with("200 OK · demo · GET /headers"), "{report}");
    assert_eq!(report["refused"]["error"], true, "{report}");
    let refused = text(&report["refused"]["text"]);
    assert!(refused.contains("Did you mean \"demo\"?"), "{report}");
    assert!(text(&report["unknown"]).contains("Unknown tool: nothing"), "{report}");

    // An operator defines another service under the live client.
    let fields = definition(&stage.upstream);
    stage.world.root.write("mcp-proxy/services/second", fields).await.ok();
    input.write_all(b"changed\n").await.unwrap();
    let after = line(&mut driver, &mut output).await;
    assert_eq!(after["services"], json!(["demo", "second"]));
    drop(input);
    let status = tokio::time::timeout(LIMIT, driver.wait()).await.expect("an end in time");
    assert!(status.unwrap().success());
}

async fn line(driver: &mut Child, output: &mut Lines<BufReader<ChildStdout>>) -> Value {
    let line = tokio::time::timeout(LIMIT, output.next_line()).await.expect("a line in time");
    if let Some(line) = line.unwrap() {
        return serde_json::from_str(&line).expect(&line);
    }
    let mut errors = String::new();
    if let Some(stderr) = &mut driver.stderr {
        let _ = tokio::io::AsyncReadExt::read_to_string(stderr, &mut errors).await;
    }
    panic!("the client gave up: {errors}");
}

#[tokio::test]
async fn the_python_client_works_in_every_era() {
    for (mode, version) in
        [("legacy", "2025-11-25"), ("auto", "2026-07-28"), ("2026-07-28", "2026-07-28")]
    {
        let python = fetched("python/bin/python");
        drive(python, &["client.py", "mcp", mode], Some(version)).await;
    }
}

#[tokio::test]
async fn the_first_python_client_works() {
    let python = fetched("python-1/bin/python");
    drive(python, &["client_v1.py"], Some("2025-11-25")).await;
}

#[tokio::test]
async fn fastmcps_client_works_in_both_eras() {
    for (mode, version) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        let python = fetched("python/bin/python");
        drive(python, &["client.py", "fastmcp", mode], Some(version)).await;
    }
}

#[tokio::test]
async fn the_typescript_sdks_work_in_both_eras() {
    drive(fetched("bin/node"), &["client.mjs", "1", "legacy"], None).await;
    for (mode, version) in [("legacy", "2025-11-25"), ("auto", "2026-07-28")] {
        drive(fetched("bin/node"), &["client.mjs", "2", mode], Some(version)).await;
    }
}

#[tokio::test]
async fn the_inspector_finds_nothing_to_complain_of_in_any_era() {
    let Some(node) = fetched("bin/node") else { return };
    let Some(inspector) = fetched("sdk/node_modules/.bin/mcp-inspector") else { return };
    let stage = Stage::set().await;
    for era in ["legacy", "auto", "modern"] {
        let common = ["--cli", "--protocol-era", era, "--format", "json", "-q"];
        let run = async |more: &[&str]| {
            let mut command = stage.command(&node);
            command.arg(&inspector).args(common).args(more);
            for (name, value) in stage.environment() {
                command.arg("-e").arg(format!("{name}={value}"));
            }
            command.arg("--").arg(programs::bridge());
            let output = tokio::time::timeout(LIMIT, command.output()).await.expect("in time");
            let output = output.unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            assert!(output.status.success(), "{era}: {output:?}");
            text
        };
        // The linter's errors end it with another status, its warnings stand beside the tools.
        let listed = run(&["--method", "tools/list", "--strict"]).await;
        assert!(
            listed.contains("proxy_request") && !listed.contains("schemaFindings"),
            "{era}: {listed}"
        );
        let call = ["--method", "tools/call", "--tool-name", "proxy_read"];
        let arguments = ["--tool-arg", "service=demo", "--tool-arg", "path=/a"];
        let read = run(&[&call[..], &arguments[..]].concat()).await;
        assert!(read.contains("200 OK · demo · GET /a"), "{era}: {read}");
    }
}

/// A coding agent in a home of its own, with the bridge's settings in its configuration alone.
fn agent(stage: &Stage, program: &Path) -> Command {
    let mut command = stage.command(program);
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin", clients().join("bin").display());
    command.env_clear().env("HOME", stage.home.path()).env("PATH", path).env("NO_COLOR", "1");
    // What they would report to their makers; there is no way out in the tests' network anyway.
    command.env("DISABLE_TELEMETRY", "1").env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1");
    command
}

/// Runs a coding agent's own list of its MCP servers. Without an account no model can be asked, so
/// that is as far as it goes.
async fn list(stage: &Stage, program: &Path, arguments: &[&str]) -> String {
    let mut command = agent(stage, program);
    let output = tokio::time::timeout(LIMIT, command.args(arguments).output());
    let output = output.await.expect("a list in time").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    text(&output.stdout) + &text(&output.stderr)
}

fn write(home: &Path, file: &str, content: &str) {
    let path = home.join(file);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
}

/// The bridge's environment as a JSON object.
fn variables(stage: &Stage) -> Value {
    stage.environment().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect()
}

#[tokio::test]
async fn claude_code_connects_from_its_own_configuration() {
    let Some(claude) = fetched("agents/node_modules/@anthropic-ai/claude-code-linux-x64/claude")
    else {
        return;
    };
    let stage = Stage::set().await;
    let [command, bridge, home] = stage.tapped();
    let server = json!({ "type": "stdio", "command": command, "args": [bridge, home],
                         "env": variables(&stage) });
    let settings = json!({ "mcpServers": { "apis": server } });
    write(stage.home.path(), ".claude.json", &settings.to_string());
    let listed = list(&stage, &claude, &["mcp", "list"]).await;
    assert!(listed.contains("apis: ") && listed.contains("Connected"), "{listed}");
    let (sent, got) = stage.transcript();
    println!("Claude Code begins with {}", sent[0]["method"]);
    assert!(got.iter().any(|message| message.get("result").is_some()), "{got:?}");
}

#[tokio::test]
async fn opencode_connects_from_its_own_configuration() {
    let Some(opencode) = fetched("agents/node_modules/opencode-linux-x64-baseline/bin/opencode")
    else {
        return;
    };
    let stage = Stage::set().await;
    let server = json!({ "type": "local", "command": stage.tapped(), "enabled": true,
                         "environment": variables(&stage) });
    let settings = json!({ "mcp": { "apis": server } });
    write(stage.home.path(), ".config/opencode/opencode.json", &settings.to_string());
    let listed = list(&stage, &opencode, &["mcp", "list"]).await;
    assert!(listed.contains("apis") && listed.contains("connected"), "{listed}");
    let (sent, got) = stage.transcript();
    println!("opencode begins with {}", sent[0]["method"]);
    assert!(got.iter().any(|message| message["result"]["tools"].is_array()), "{got:?}");
}

#[tokio::test]
async fn gemini_cli_connects_from_its_own_configuration() {
    let Some(node) = fetched("bin/node") else { return };
    let Some(gemini) = fetched("agents/node_modules/.bin/gemini") else { return };
    let stage = Stage::set().await;
    let [command, bridge, home] = stage.tapped();
    let server = json!({ "command": command, "args": [bridge, home], "env": variables(&stage) });
    let settings = json!({ "mcpServers": { "apis": server },
                           "security": { "folderTrust": { "enabled": false } } });
    write(stage.home.path(), ".gemini/settings.json", &settings.to_string());
    let gemini = gemini.display().to_string();
    let listed = list(&stage, &node, &[&gemini, "mcp", "list"]).await;
    assert!(listed.contains("apis: ") && listed.contains("Connected"), "{listed}");
    let (sent, got) = stage.transcript();
    println!("Gemini CLI begins with {}", sent[0]["method"]);
    assert!(got.iter().any(|message| message.get("result").is_some()), "{got:?}");
}

#[tokio::test]
async fn codex_connects_from_its_own_configuration() {
    let vendor = "agents/node_modules/codex-linux-x64/vendor/x86_64-unknown-linux-musl";
    let Some(codex) = fetched(&format!("{vendor}/bin/codex")) else { return };
    let stage = Stage::set().await;
    let [command, bridge, home] = stage.tapped();
    let variables = stage
        .environment()
        .iter()
        .map(|(name, value)| format!("{name} = {}\n", json!(value)))
        .collect::<String>();
    // A model that nobody serves: a conversation starts the servers before it asks the model.
    let model = "model = \"none\"\nmodel_provider = \"none\"\n[model_providers.none]\n\
                 name = \"none\"\nbase_url = \"http://127.0.0.1:9/v1\"\nwire_api = \"responses\"\n\
                 request_max_retries = 0\nstream_max_retries = 0\n";
    let settings = format!(
        "{model}[mcp_servers.apis]\ncommand = {}\nargs = {}\n\n[mcp_servers.apis.env]\n{variables}",
        json!(command),
        json!([bridge, home])
    );
    write(stage.home.path(), ".codex/config.toml", &settings);
    let listed = list(&stage, &codex, &["mcp", "list"]).await;
    assert!(listed.contains("apis") && listed.contains("enabled"), "{listed}");
    // It goes on to ask the model for as long as it is left alone.
    let mut conversation = agent(&stage, &codex);
    conversation.args(["exec", "--skip-git-repo-check", "hello"]);
    let _conversation = conversation.spawn().unwrap();
    e2e::wait::until("Codex to list the tools", async || {
        let got = fs::read_to_string(stage.home.path().join("out")).unwrap_or_default();
        got.contains("\"proxy_request\"").then_some(())
    })
    .await;
    let (sent, _) = stage.transcript();
    println!("Codex begins with {}", sent[0]["method"]);
}
