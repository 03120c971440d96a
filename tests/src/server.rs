//! A real OpenBao or Vault server in its own directory, gone when dropped.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tempfile::TempDir;

use crate::api::Api;
use crate::{programs, wait};

/// Where the server keeps its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In the process: quick to start, gone with it.
    Memory,
    /// Integrated storage, in files: survives a restart and can be searched.
    Raft,
}

/// A running server: initialised, unsealed, with a file audit device and a log at trace level.
#[derive(Debug)]
pub struct Server {
    process: Child,
    environment: Vec<(String, String)>,
    directory: TempDir,
    address: String,
    unseal_key: String,
    root_token: String,
}

impl Server {
    /// Starts, initialises and unseals a server.
    ///
    /// # Panics
    /// When there is no server program, or it doesn't come up.
    pub async fn start(storage: Storage) -> Self {
        Self::start_logging(storage, "trace").await
    }

    /// The same with another log level.
    pub async fn start_logging(storage: Storage, level: &str) -> Self {
        Self::start_with(storage, level, &[]).await
    }

    /// The same with variables in the server's environment, which the plugin inherits.
    pub async fn start_with(storage: Storage, level: &str, environment: &[(&str, &str)]) -> Self {
        Self::start_edited(storage, level, environment, |text| text).await
    }

    /// The same with a configuration that `edit` makes of the usual one.
    pub async fn start_edited(
        storage: Storage,
        level: &str,
        environment: &[(&str, &str)],
        edit: impl Fn(String) -> String,
    ) -> Self {
        let environment: Vec<_> = environment
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let directory = tempfile::tempdir().expect("a temporary directory");
        fs::create_dir(directory.path().join("data")).expect("a data directory");
        // The plugin directory must hold nothing that the server may not read, and no symlink.
        fs::create_dir(directory.path().join("plugins")).expect("a plugin directory");
        // A port that is free now may be taken when the server wants it: then it exits at once.
        for _ in 0..3 {
            let address = configure(directory.path(), storage, level, &edit);
            let mut process = spawn(directory.path(), &environment);
            if reachable(&address, &mut process).await {
                let mut server = Self {
                    process,
                    environment,
                    directory,
                    address,
                    unseal_key: String::new(),
                    root_token: String::new(),
                };
                server.initialise().await;
                return server;
            }
        }
        panic!("the server exits at once: {}", read(&directory.path().join("server.log")));
    }

    /// A client with the root token.
    pub fn api(&self) -> Api {
        Api::new(&self.address, &self.root_token)
    }

    /// `http://127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The directory that holds everything of this server.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Copies the plugin into the plugin directory, registers it and enables it at `mcp-proxy/`.
    pub async fn enable_plugin(&self) {
        let sum = self.install_plugin();
        let api = self.api();
        let entry = json!({ "sha256": sum, "command": "vault-plugin-mcp-proxy" });
        api.write("sys/plugins/catalog/secret/mcp-proxy", entry).await.ok();
        api.write("sys/mounts/mcp-proxy", json!({ "type": "mcp-proxy" })).await.ok();
    }

    /// Copies the plugin into the plugin directory; its SHA-256 in hexadecimal.
    pub fn install_plugin(&self) -> String {
        self.install(&programs::plugin(), "vault-plugin-mcp-proxy")
    }

    /// Copies a program into the plugin directory as `file`; its SHA-256 in hexadecimal.
    pub fn install(&self, program: &Path, file: &str) -> String {
        let target = self.plugin_directory().join(file);
        // A file that runs can't be written to, but another one may take its name.
        let _ = fs::remove_file(&target);
        fs::copy(program, &target).expect("a copy of the plugin");
        sha256(&target)
    }

    /// Replaces the running plugin by another program, as `file` in the plugin directory.
    pub async fn replace_plugin(&self, program: &Path, file: &str) {
        let sum = self.install(program, file);
        let api = self.api();
        let entry = json!({ "sha256": sum, "command": file });
        api.write("sys/plugins/catalog/secret/mcp-proxy", entry).await.ok();
        api.write("sys/plugins/reload/backend", json!({ "plugin": "mcp-proxy" })).await.ok();
        api.read("mcp-proxy/info").await.ok();
    }

    /// Where the server looks for plugins.
    pub fn plugin_directory(&self) -> PathBuf {
        self.directory.path().join("plugins")
    }

    /// What the server and its plugins have logged so far.
    pub fn log(&self) -> String {
        read(&self.directory.path().join("server.log"))
    }

    /// Seals: every mount's plugin is stopped.
    pub async fn seal(&self) {
        self.api().write("sys/seal", json!({})).await.ok();
    }

    /// Unseals, and waits until the server is active.
    pub async fn unseal(&self) {
        let api = Api::new(&self.address, "");
        api.write("sys/unseal", json!({ "key": self.unseal_key })).await.ok();
        wait::until("the server to be active", async || {
            (api.read("sys/health").await.status == 200).then_some(())
        })
        .await;
    }

    /// Stops the server as an operator would, starts it again and unseals it.
    pub async fn restart(&mut self) {
        signal(self.process.id(), Signal::TERM);
        wait::until("the server to stop", async || self.process.try_wait().expect("a status"))
            .await;
        self.process = spawn(self.directory.path(), &self.environment);
        assert!(reachable(&self.address, &mut self.process).await, "the server came up again");
        self.unseal().await;
    }

    /// The server's process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// The processes of the plugin.
    pub fn plugins(&self) -> Vec<u32> {
        children(self.process.id())
    }

    /// Kills every process of the plugin, as the kernel would when out of memory, and waits until
    /// the server has logged it. It may answer 500 by itself for an instant after.
    pub async fn kill_plugins(&self) {
        let noticed = || self.log().matches(PLUGIN_EXITED).count();
        let before = noticed();
        let plugins = self.plugins();
        assert!(!plugins.is_empty(), "no plugin runs");
        for &pid in &plugins {
            signal(pid, Signal::KILL);
        }
        wait::until("the server to notice", async || {
            (noticed() >= before + plugins.len()).then_some(())
        })
        .await;
    }

    /// What has been written that an operator, a backup or a log collector would see, by name.
    pub fn traces(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let mut traces = Vec::new();
        let mut folders = vec![self.directory.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.ends_with("plugins") {
                    // The plugin itself, as it was built.
                } else if path.is_dir() {
                    folders.push(path);
                } else if let Ok(bytes) = fs::read(&path) {
                    traces.push((path, bytes));
                }
            }
        }
        traces
    }

    async fn initialise(&mut self) {
        let api = Api::new(&self.address, "");
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let keys = api.write("sys/init", shares).await.ok().body;
        keys["keys"][0].as_str().expect("a key").clone_into(&mut self.unseal_key);
        keys["root_token"].as_str().expect("a token").clone_into(&mut self.root_token);
        self.unseal().await;
        if is_vault() {
            // Vault declares audit devices by API, OpenBao in its configuration.
            let file_path = self.directory.path().join("audit.log");
            let device = json!({ "type": "file", "options": { "file_path": file_path } });
            self.api().write("sys/audit/file", device).await.ok();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its plugins notice that their host is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The processes that a server has started: plugins alone.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    // /proc/<pid>/stat: pid, (name), state, parent.
    let parent = parent.to_string();
    let processes = fs::read_dir("/proc").expect("/proc");
    let pids = processes.flatten().filter_map(|entry| {
        let stat = fs::read_to_string(entry.path().join("stat")).ok()?;
        let (head, tail) = stat.rsplit_once(") ")?;
        let mut fields = tail.split(' ');
        let (state, ppid) = (fields.next()?, fields.next()?);
        (ppid == parent && state != "Z").then(|| head.split(' ').next()?.parse().ok())?
    });
    pids.collect()
}

/// A file's SHA-256 in hexadecimal.
pub fn sha256(file: &Path) -> String {
    let sum = Command::new("sha256sum").arg(file).output().expect("sha256sum");
    let sum = String::from_utf8(sum.stdout).expect("a sum");
    sum.split_whitespace().next().expect("a sum").to_owned()
}

/// Sends `signal` to one process.
pub fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid.try_into().expect("a process id")).expect("a process id");
    // It may be gone already: that is what a signal is for.
    let _ = kill_process(pid, signal);
}

/// A port of loopback that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    listener.local_addr().expect("an address").port()
}

/// What the server logs about a plugin that has ended by itself (go-plugin, client.go).
const PLUGIN_EXITED: &str = "plugin process exited";

fn configure(
    directory: &Path,
    storage: Storage,
    level: &str,
    edit: impl Fn(String) -> String,
) -> String {
    let folder = directory.display();
    let (port, cluster_port) = (free_port(), free_port());
    let mut text = match storage {
        Storage::Memory => "storage \"inmem\" {}\n".to_owned(),
        // One node elects itself after the election time-out: ask for the shortest.
        Storage::Raft => format!(
            "storage \"raft\" {{\n  path = \"{folder}/data\"\n  node_id = \"one\"\n  \
             performance_multiplier = 1\n}}\n"
        ),
    };
    let _ = write!(
        text,
        "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  \
         cluster_address = \"127.0.0.1:{cluster_port}\"\n  tls_disable = true\n}}\n\
         api_addr = \"http://127.0.0.1:{port}\"\n\
         cluster_addr = \"https://127.0.0.1:{cluster_port}\"\n\
         plugin_directory = \"{folder}/plugins\"\n\
         raw_storage_endpoint = true\n\
         log_level = \"{level}\"\n"
    );
    if is_vault() {
        text.push_str("disable_mlock = true\n");
    } else {
        let _ = write!(
            text,
            "audit \"file\" \"main\" {{\n  options {{\n    \
             file_path = \"{folder}/audit.log\"\n  }}\n}}\n"
        );
    }
    fs::write(directory.join("server.hcl"), edit(text)).expect("a configuration");
    format!("http://127.0.0.1:{port}")
}

/// Starts the server program on the configuration in its directory.
pub(crate) fn spawn(directory: &Path, environment: &[(String, String)]) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(directory.join("server.log"))
        .expect("a log");
    let mut program = programs::server();
    if program.components().count() > 1 {
        program = std::path::absolute(program).expect("a path");
    }
    Command::new(program)
        // Where relative paths of its configuration begin.
        .current_dir(directory)
        .arg("server")
        .arg(format!("-config={}", directory.join("server.hcl").display()))
        .env("HOME", directory)
        .env("TMPDIR", directory)
        // What this machine trusts is no business of a test's.
        .env_remove("SSL_CERT_FILE")
        .env_remove("SSL_CERT_DIR")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log again"))
        .stderr(log)
        .spawn()
        .expect("the server program")
}

/// Waits until the server answers; false when it exits instead.
async fn reachable(address: &str, process: &mut Child) -> bool {
    let api = Api::new(address, "");
    wait::until("the server to answer", async || {
        if process.try_wait().expect("a status").is_some() {
            return Some(false);
        }
        api.send("GET", "sys/seal-status", None).await.is_ok().then_some(true)
    })
    .await
}

fn is_vault() -> bool {
    programs::server().file_name().is_some_and(|name| name == "vault")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_default()
}
