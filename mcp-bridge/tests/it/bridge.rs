//! The program under test, with its pipes, its files and its end.

use std::path::Path;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use crate::vault::{ROLE_ID, SECRET_ID, Vault};

/// The longest that any single step of a test may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A machine: a home, and a credential in files.
pub(crate) struct Machine {
    dir: TempDir,
}

impl Machine {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, content) in [("role_id", ROLE_ID), ("secret_id", SECRET_ID)] {
            let path = dir.path().join(name);
            std::fs::write(&path, format!("{content}\n")).unwrap();
            set_private(&path);
        }
        Self { dir }
    }

    pub(crate) fn path(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join(name)
    }

    /// The program with nothing but this machine's settings in its environment.
    pub(crate) fn command(&self, address: &str) -> Command {
        let mut command = self.bare();
        command
            .env("VAULT_ADDR", address)
            .env("MCP_BRIDGE_ROLE_ID_FILE", self.path("role_id"))
            .env("MCP_BRIDGE_SECRET_ID_FILE", self.path("secret_id"));
        command
    }

    /// The program with no settings at all.
    pub(crate) fn bare(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-bridge"));
        command.env_clear().env("HOME", self.dir.path()).kill_on_drop(true);
        command
    }

    /// Starts serving, with all of the log, so that a leak would show.
    pub(crate) fn serve(&self, vault: &Vault) -> Bridge {
        Bridge::spawn(self.command(&vault.address()).env("MCP_BRIDGE_LOG", "trace"))
    }
}

fn set_private(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// A serving bridge. Whatever the test looks at, every line on stdout must be JSON-RPC.
pub(crate) struct Bridge {
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: mpsc::UnboundedReceiver<String>,
    stderr: Arc<Mutex<String>>,
    /// The lines on stdout that an MCP client can't read.
    impure: Arc<Mutex<Vec<String>>>,
    /// Whether the reader is to leave stdout alone.
    hanging: Arc<AtomicBool>,
    output: String,
    waiting: Vec<Value>,
    next_id: u64,
}

impl Bridge {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = Arc::new(Mutex::new(String::new()));
        let log = Arc::clone(&stderr);
        let mut pipe = child.stderr.take().unwrap();
        tokio::spawn(async move {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = pipe.read(&mut buffer).await {
                log.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..count]));
            }
        });
        let impure = Arc::new(Mutex::new(Vec::new()));
        let (line, stdout) = mpsc::unbounded_channel();
        let hanging = Arc::new(AtomicBool::new(false));
        let output = (child.stdout.take().unwrap(), Arc::clone(&hanging));
        tokio::spawn(read(output, line, Arc::clone(&impure)));
        Self {
            stdin: child.stdin.take(),
            stdout,
            child,
            stderr,
            impure,
            hanging,
            output: String::new(),
            waiting: Vec::new(),
            next_id: 100,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Writes one line as it is.
    pub(crate) async fn write(&mut self, line: &str) {
        self.write_bytes(format!("{line}\n").as_bytes()).await;
    }

    /// Writes bytes as they are.
    pub(crate) async fn write_bytes(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(bytes).await.unwrap();
        stdin.flush().await.unwrap();
    }

    pub(crate) async fn send(&mut self, message: Value) {
        self.write(&message.to_string()).await;
    }

    /// Reads the next message.
    pub(crate) async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(LIMIT, self.stdout.recv()).await;
        let line = line.unwrap_or_else(|_| panic!("no line came; log:\n{}", self.log()));
        let line = line.unwrap_or_else(|| panic!("stdout ended; log:\n{}", self.log()));
        self.output.push_str(&line);
        self.output.push('\n');
        serde_json::from_str(&line).unwrap()
    }

    /// The last line that was read, as it came.
    pub(crate) fn last_line(&self) -> &str {
        self.output.lines().last().unwrap_or_default()
    }

    /// Reads on until the response of an id comes; keeps what comes before.
    pub(crate) async fn response(&mut self, id: &Value) -> Value {
        if let Some(at) = self.waiting.iter().position(|message| message["id"] == *id) {
            return self.waiting.remove(at);
        }
        loop {
            let message = self.next().await;
            if message["id"] == *id {
                return message;
            }
            self.waiting.push(message);
        }
    }

    /// Reads on until a notification comes.
    pub(crate) async fn notification(&mut self, method: &str) -> Value {
        if let Some(at) = self.waiting.iter().position(|message| message["method"] == method) {
            return self.waiting.remove(at);
        }
        loop {
            let message = self.next().await;
            if message["method"] == method {
                return message;
            }
            self.waiting.push(message);
        }
    }

    /// How many notifications came that nobody has looked at.
    pub(crate) fn kept(&self, method: &str) -> usize {
        self.waiting.iter().filter(|message| message["method"] == method).count()
    }

    /// Sends a request with a new id, without waiting.
    pub(crate) async fn start_request(&mut self, method: &str, params: Value) -> Value {
        self.next_id += 1;
        let id = json!(self.next_id);
        self.send(json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params })).await;
        id
    }

    pub(crate) async fn request(&mut self, method: &str, params: Value) -> Value {
        let id = self.start_request(method, params).await;
        self.response(&id).await
    }

    /// Shakes hands as clients of the older revisions do.
    pub(crate) async fn initialize(&mut self, version: &str) -> Value {
        let answer = self
            .request(
                "initialize",
                json!({ "protocolVersion": version, "capabilities": {},
                        "clientInfo": { "name": "test", "version": "1" } }),
            )
            .await;
        self.send(json!({ "jsonrpc": "2.0", "method": "notifications/initialized" })).await;
        answer["result"].clone()
    }

    /// Calls a tool; gives the only text and whether it is an error.
    pub(crate) async fn call(&mut self, tool: &str, arguments: Value) -> (String, bool) {
        let id = self.start_call(tool, arguments).await;
        self.called(&id).await
    }

    pub(crate) async fn start_call(&mut self, tool: &str, arguments: Value) -> Value {
        self.start_request("tools/call", json!({ "name": tool, "arguments": arguments })).await
    }

    pub(crate) async fn called(&mut self, id: &Value) -> (String, bool) {
        let answer = self.response(id).await;
        let result = &answer["result"];
        let content = result["content"].as_array().unwrap_or_else(|| panic!("{answer}"));
        assert_eq!(content.len(), 1, "{answer}");
        assert!(result.get("structuredContent").is_none(), "{answer}");
        (content[0]["text"].as_str().unwrap().to_owned(), result["isError"] == true)
    }

    /// The text of a call that must be an error.
    pub(crate) async fn refusal(&mut self, tool: &str, arguments: Value) -> String {
        let (text, error) = self.call(tool, arguments).await;
        assert!(error, "{text}");
        text
    }

    pub(crate) fn log(&self) -> String {
        self.stderr.lock().unwrap().clone()
    }

    /// Shakes hands if the program lives; tells whether it did.
    pub(crate) async fn try_initialize(&mut self) -> bool {
        let hello = json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
            "protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": { "name": "test", "version": "1" } } });
        let stdin = self.stdin.as_mut().unwrap();
        let _ = stdin.write_all(format!("{hello}\n").as_bytes()).await;
        self.stdout.recv().await.is_some()
    }

    /// Leaves stdout full, as a client does that hangs.
    pub(crate) fn stop_reading(&mut self) {
        self.hanging.store(true, Ordering::SeqCst);
    }

    pub(crate) fn close_stdin(&mut self) {
        self.stdin = None;
    }

    pub(crate) fn signal(&self, name: &str) {
        let status = std::process::Command::new("kill")
            .args([&format!("-{name}"), &self.pid().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// Waits for the end; gives the exit status and how long it took.
    pub(crate) async fn ended(&mut self) -> (i32, Duration) {
        let start = Instant::now();
        let status = tokio::time::timeout(LIMIT, self.child.wait()).await;
        let status = status.unwrap_or_else(|_| panic!("still running; log:\n{}", self.log()));
        (status.unwrap().code().unwrap_or(-1), start.elapsed())
    }

    /// Ends the session as a client does, and checks what every session must keep to: a clean
    /// exit, JSON-RPC alone on stdout, no secret on either stream.
    pub(crate) async fn finish(mut self) {
        self.close_stdin();
        while let Some(line) = tokio::time::timeout(LIMIT, self.stdout.recv()).await.unwrap() {
            self.output.push_str(&line);
        }
        let (status, _) = self.ended().await;
        assert_eq!(status, 0, "{}", self.log());
        self.assert_no_secrets();
    }

    pub(crate) fn assert_no_secrets(&self) {
        let log = self.log();
        for (stream, text) in [("stdout", &self.output), ("stderr", &log)] {
            for secret in [ROLE_ID, SECRET_ID, "canary"] {
                assert!(!text.contains(secret), "{stream} holds {secret}:\n{text}");
            }
        }
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let impure = self.impure.lock().unwrap();
            assert!(impure.is_empty(), "stdout isn't JSON-RPC alone: {impure:#?}");
        }
    }
}

/// Reads lines, and keeps those that no MCP client can read.
async fn read(
    (stdout, hanging): (ChildStdout, Arc<AtomicBool>),
    line: mpsc::UnboundedSender<String>,
    impure: Arc<Mutex<Vec<String>>>,
) {
    let mut lines = BufReader::new(stdout).lines();
    while let Ok(Some(text)) = lines.next_line().await {
        if !is_json_rpc(&text) {
            impure.lock().unwrap().push(text.clone());
        }
        let _ = line.send(text);
        if hanging.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
    }
}

/// Whether a line is a JSON-RPC message, or a batch of them (JSON-RPC 2.0, sections 4 to 6).
fn is_json_rpc(line: &str) -> bool {
    let message = |message: &Value| {
        let has = |field: &str| message.get(field).is_some();
        let answer = has("id") && (has("result") != has("error"));
        // Where the id can't be read, MCP leaves it out.
        let lost = !has("id") && has("error");
        message["jsonrpc"] == "2.0" && (has("method") || answer || lost)
    };
    match serde_json::from_str::<Value>(line) {
        Ok(Value::Array(messages)) => !messages.is_empty() && messages.iter().all(message),
        Ok(value) => message(&value),
        Err(_) => false,
    }
}
