//! The real bridge as a child process, spoken to in JSON lines.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::programs;
use crate::wait::LIMIT;
use crate::world::AppRole;

/// A bridge that serves MCP on its standard streams; killed when dropped.
#[derive(Debug)]
pub struct Bridge {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    directory: TempDir,
    transcript: String,
    next_id: u64,
}

/// The result of a tool call.
#[derive(Debug)]
pub struct ToolResult {
    /// All text blocks, joined.
    pub text: String,
    /// Whether the tool says that it failed.
    pub is_error: bool,
}

impl Bridge {
    /// Starts the bridge with the credential of `role` and shakes hands as a 2025 client.
    pub async fn start(address: &str, role: &AppRole) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let command = command(address, role, directory.path());
        Self::start_as(command, directory).await
    }

    /// Starts a bridge by a command, with a directory for what it writes, and shakes hands.
    pub async fn start_as(mut command: Command, directory: TempDir) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(fs::File::create(directory.path().join("stderr")).expect("a file"))
            .spawn()
            .expect("the bridge");
        let input = process.stdin.take().expect("its input");
        let output = BufReader::new(process.stdout.take().expect("its output")).lines();
        let mut bridge =
            Self { process, input, output, directory, transcript: String::new(), next_id: 0 };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "e2e", "version": "1" },
        });
        bridge.request("initialize", hello).await;
        bridge.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        bridge
    }

    /// Sends one request and waits for its answer.
    pub async fn request(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.begin(method, parameters).await;
        self.answer(id).await
    }

    /// Sends one request without waiting; gives its id.
    pub async fn begin(&mut self, method: &str, parameters: Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters }))
            .await;
        id
    }

    /// Waits for the result of the request `id`, passing over everything else.
    pub async fn answer(&mut self, id: u64) -> Value {
        let message = self.reply(id).await;
        assert!(message["error"].is_null(), "{message}");
        message["result"].clone()
    }

    /// Sends one request and waits for the error that it gets.
    pub async fn refusal(&mut self, method: &str, parameters: Value) -> Value {
        let id = self.begin(method, parameters).await;
        let message = self.reply(id).await;
        assert!(message["result"].is_null(), "{message}");
        message["error"].clone()
    }

    async fn reply(&mut self, id: u64) -> Value {
        loop {
            let line = tokio::time::timeout(LIMIT, self.output.next_line());
            let line = line.await.expect("a line in time").expect("a line");
            let line = line.unwrap_or_else(|| panic!("the bridge left: {}", self.errors()));
            self.transcript.push_str(&line);
            self.transcript.push('\n');
            let message = message(&line);
            if message["id"] == id {
                return message;
            }
        }
    }

    /// Calls one tool.
    pub async fn call(&mut self, tool: &str, arguments: Value) -> ToolResult {
        let result = self.request("tools/call", json!({ "name": tool, "arguments": arguments }));
        ToolResult::of(&result.await)
    }

    /// Closes the input, as a client that leaves, and waits for a clean end.
    pub async fn leave(self) -> String {
        let Self { mut process, input, mut output, directory, mut transcript, .. } = self;
        drop(input);
        let rest = async {
            while let Some(line) = output.next_line().await.expect("a line") {
                message(&line);
                transcript.push_str(&line);
                transcript.push('\n');
            }
        };
        tokio::time::timeout(LIMIT, rest).await.expect("the end of its output in time");
        let status = tokio::time::timeout(Duration::from_secs(10), process.wait());
        let status = status.await.expect("an end in time").expect("a status");
        assert!(status.success(), "{status}");
        let errors = fs::read_to_string(directory.path().join("stderr")).unwrap_or_default();
        transcript + &errors
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.process.id().expect("a running bridge")
    }

    /// All that it wrote to its standard output so far.
    pub fn transcript(&self) -> &str {
        &self.transcript
    }

    /// All that it wrote to its standard error so far.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.directory.path().join("stderr")).unwrap_or_default()
    }

    /// Its home: what it keeps between runs is in there.
    pub fn home(&self) -> PathBuf {
        self.directory.path().into()
    }

    /// Sends one message as it is.
    pub async fn send(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.input.write_all(line.as_bytes()).await.expect("an open bridge");
    }
}

/// Reads a line of its standard output, which carries MCP messages alone.
fn message(line: &str) -> Value {
    let message: Value = serde_json::from_str(line).expect("stdout carries JSON alone");
    assert_eq!(message["jsonrpc"], "2.0", "stdout carries JSON-RPC alone: {line}");
    message
}

impl ToolResult {
    /// Reads an MCP `CallToolResult`.
    pub fn of(result: &Value) -> Self {
        let blocks = result["content"].as_array().cloned().unwrap_or_default();
        let texts: Vec<_> = blocks.iter().filter_map(|block| block["text"].as_str()).collect();
        Self { text: texts.join("\n"), is_error: result["isError"] == true }
    }
}

/// Runs a sub-command of the bridge to its end.
pub async fn run(address: &str, role: &AppRole, arguments: &[&str]) -> std::process::Output {
    let directory = tempfile::tempdir().expect("a temporary directory");
    command(address, role, directory.path())
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .await
        .expect("the bridge")
}

/// What a bridge needs in its environment, for whoever starts it.
pub fn environment(address: &str, role: &AppRole, home: &Path) -> Vec<(&'static str, String)> {
    let text = |path: PathBuf| path.display().to_string();
    vec![
        ("HOME", text(home.into())),
        ("XDG_CACHE_HOME", text(home.join("cache"))),
        ("XDG_CONFIG_HOME", text(home.join("config"))),
        ("VAULT_ADDR", address.to_owned()),
        ("MCP_BRIDGE_ROLE_ID_FILE", text(role.role_id_file())),
        ("MCP_BRIDGE_SECRET_ID_FILE", text(role.secret_id_file())),
    ]
}

fn command(address: &str, role: &AppRole, home: &Path) -> Command {
    let mut command = Command::new(programs::bridge());
    // Nothing of the developer's own environment may decide a test.
    command.env_clear().envs(environment(address, role, home)).kill_on_drop(true);
    command
}
