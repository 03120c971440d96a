//! A bridge as a child process that may be killed at any moment: several calls at once, none of
//! which panics when it is gone.

use std::collections::HashMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};

use crate::bridge::ToolResult;
use crate::programs;
use crate::server::signal;

/// An agent's place on its machine: the bridge there is started again after it was killed.
#[derive(Debug)]
pub struct Agent {
    home: TempDir,
    address: String,
    running: Mutex<Arc<Running>>,
}

/// One process.
#[derive(Debug)]
struct Running {
    process: Mutex<Child>,
    pid: u32,
    input: mpsc::UnboundedSender<String>,
    waiting: Waiting,
    next: AtomicU64,
}

/// Who waits for which answer; nobody any more once the process is gone.
type Waiting = Arc<Mutex<Option<HashMap<u64, oneshot::Sender<Value>>>>>;

impl Agent {
    /// Starts a bridge to the node at `address` with an AppRole's credential.
    pub fn start(address: &str, role_id: &str, secret_id: &str) -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        fs::write(home.path().join("role_id"), role_id).expect("a file");
        fs::write(home.path().join("secret_id"), secret_id).expect("a file");
        let running = Mutex::new(Arc::new(Running::start(address, home.path())));
        Self { home, address: address.to_owned(), running }
    }

    /// Calls a tool; none when the bridge ends before it answers.
    pub async fn call(&self, tool: &str, arguments: &Value) -> Option<ToolResult> {
        let running = Arc::clone(&self.running.lock().unwrap());
        let parameters = json!({ "name": tool, "arguments": arguments });
        let message = running.request("tools/call", &parameters).await?;
        if message["result"].is_null() {
            let text = format!("protocol_error: {}", message["error"]);
            return Some(ToolResult { text, is_error: true });
        }
        Some(ToolResult::of(&message["result"]))
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.running.lock().unwrap().pid
    }

    /// Kills the bridge with its calls under way.
    ///
    /// # Panics
    /// When it doesn't end.
    pub async fn kill(&self) {
        let running = Arc::clone(&self.running.lock().unwrap());
        signal(running.pid, Signal::KILL);
        crate::wait::until("the bridge to be gone", async || {
            running.process.lock().unwrap().try_wait().expect("a status")
        })
        .await;
    }

    /// Starts another one after [`Agent::kill`].
    pub fn start_again(&self) {
        let running = Running::start(&self.address, self.home.path());
        *self.running.lock().unwrap() = Arc::new(running);
    }

    /// What all its processes wrote: standard output and standard error.
    pub fn traces(&self) -> Vec<PathBuf> {
        ["stdout", "stderr"].map(|name| self.home.path().join(name)).into()
    }
}

impl Running {
    fn start(address: &str, home: &Path) -> Self {
        let text = |name: &str| home.join(name).display().to_string();
        let open = |name: &str| {
            File::options().create(true).append(true).open(home.join(name)).expect("a file")
        };
        let mut process = Command::new(programs::bridge())
            .env_clear()
            .env("HOME", home)
            .env("XDG_CACHE_HOME", text("cache"))
            .env("XDG_CONFIG_HOME", text("config"))
            .env("VAULT_ADDR", address)
            .env("MCP_BRIDGE_ROLE_ID_FILE", text("role_id"))
            .env("MCP_BRIDGE_SECRET_ID_FILE", text("secret_id"))
            .env("MCP_BRIDGE_LOG", "debug")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(open("stderr"))
            .kill_on_drop(true)
            .spawn()
            .expect("the bridge");
        let mut stdin = process.stdin.take().expect("its input");
        let mut lines = BufReader::new(process.stdout.take().expect("its output")).lines();
        let (input, mut wanted) = mpsc::unbounded_channel::<String>();
        tokio::spawn(async move {
            while let Some(line) = wanted.recv().await {
                if stdin.write_all(line.as_bytes()).await.is_err() {
                    break;
                }
            }
        });
        let waiting: Waiting = Arc::new(Mutex::new(Some(HashMap::new())));
        let answers = Arc::clone(&waiting);
        let mut copy = open("stdout");
        tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let _ = std::io::Write::write_all(&mut copy, format!("{line}\n").as_bytes());
                let message: Value = serde_json::from_str(&line).unwrap_or_default();
                let Some(id) = message["id"].as_u64() else { continue };
                let waiting = answers.lock().unwrap().as_mut().and_then(|all| all.remove(&id));
                if let Some(waiting) = waiting {
                    let _ = waiting.send(message);
                }
            }
            // Dropped, so that those who wait learn it.
            *answers.lock().unwrap() = None;
        });
        let pid = process.id().expect("a process id");
        let process = Mutex::new(process);
        let running = Self { process, pid, input, waiting, next: AtomicU64::new(0) };
        let hello = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": { "name": "chaos", "version": "1" },
        });
        running.send(&json!({
            "jsonrpc": "2.0", "id": "hello", "method": "initialize", "params": hello,
        }));
        running.send(&json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }));
        running
    }

    async fn request(&self, method: &str, parameters: &Value) -> Option<Value> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, answer) = oneshot::channel();
        self.waiting.lock().unwrap().as_mut()?.insert(id, sender);
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters }));
        answer.await.ok()
    }

    fn send(&self, message: &Value) {
        let _ = self.input.send(format!("{message}\n"));
    }
}
