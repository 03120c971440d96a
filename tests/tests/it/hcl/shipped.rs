//! A server that runs on a shipped configuration.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use e2e::certificates::Authority;
use e2e::server::signal;
use e2e::upstream::Upstream;
use e2e::world::definition;
use e2e::{programs, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The stanza that the shipped configurations have, with this in the place of the plugin's sum.
const SUM: &str = "PLUGIN_SHA256";

/// A server with a shipped configuration, in a directory of its own; gone when dropped.
pub(super) struct Shipped {
    pub(super) process: Option<Child>,
    directory: TempDir,
    pub(super) address: String,
    pub(super) token: String,
}

impl Shipped {
    /// Prepares the directories, the plugin, the unseal key and the certificate that `file` wants,
    /// and starts a server.
    pub(super) async fn start(file: &str, key: &[u8]) -> Self {
        Self::start_with(file, key, &Authority::new(), &[]).await
    }

    /// The same with a certificate by `authority`, and with replacements that come first.
    pub(super) async fn start_with(
        file: &str,
        key: &[u8],
        authority: &Authority,
        more: &[(&str, String)],
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let folder = directory.path().to_str().unwrap().to_owned();
        for name in ["data", "plugins", "tls", "log"] {
            fs::create_dir(directory.path().join(name)).unwrap();
        }
        fs::write(directory.path().join("unseal.key"), key).unwrap();
        let [port, cluster_port] = free_ports();
        let scheme = if file == "dev.hcl" { "http" } else { "https" };
        let mut text = shipped(file);
        let usual = [
            ("/opt/openbao/", format!("{folder}/")),
            ("/etc/openbao/", format!("{folder}/")),
            // A restored backup demands the audit device that it was made with: relative, so the same.
            ("/var/log/openbao/", "log/".to_owned()),
            ("/run/credentials/openbao.service/", format!("{folder}/")),
            ("file://dev/", format!("file://{folder}/")),
            ("\"dev/audit.log", format!("\"{folder}/log/audit.log")),
            ("\"dev/", format!("\"{folder}/")),
            ("0.0.0.0", "127.0.0.1".to_owned()),
            ("vault.example", "127.0.0.1".to_owned()),
            (":8200", format!(":{port}")),
            (":8201", format!(":{cluster_port}")),
            (SUM, sum_in(&install(&directory.path().join("plugins")))),
        ];
        for (from, to) in more.iter().chain(&usual) {
            text = text.replace(from, to);
        }
        for left in ["/opt/", "/etc/", "/var/", "/run/", "example", "0.0.0.0"] {
            assert!(!text.contains(left), "{file} still names {left}: {text}");
        }
        fs::write(directory.path().join("server.hcl"), text).unwrap();
        let mut server = Self {
            process: None,
            address: format!("{scheme}://127.0.0.1:{port}"),
            directory,
            token: String::new(),
        };
        server.certify(authority);
        server.spawn();
        server.reachable().await;
        server
    }

    /// Gives the server a certificate by `authority`.
    fn certify(&self, authority: &Authority) {
        let pem = authority.server_pem();
        for (file, content) in
            [("server.pem", pem.certificate), ("server.key", pem.key), ("ca.pem", authority.pem())]
        {
            fs::write(self.path("tls").join(file), content).unwrap();
        }
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn spawn(&mut self) {
        let log = self.path("server.log");
        let log = fs::File::options().create(true).append(true).open(log).unwrap();
        let process = Command::new(programs::server())
            .arg("server")
            .arg(format!("-config={}", self.path("server.hcl").display()))
            .current_dir(self.directory.path())
            .env("HOME", self.directory.path())
            .env("TMPDIR", self.directory.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        self.process = Some(process.unwrap());
    }

    /// Ends the server as a shutdown of the machine would, and starts it again; nobody unseals it.
    pub(super) async fn reboot(&mut self) {
        let mut process = self.process.take().unwrap();
        signal(process.id(), Signal::INT);
        wait::until("the server to stop", async || process.try_wait().unwrap()).await;
        self.spawn();
        self.active().await;
    }

    /// Waits until the server answers, initialised or not.
    async fn reachable(&mut self) {
        wait::until("the server to answer", async || {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "it exits: {}", self.read("server.log"));
            // 0 unsealed, 2 sealed, 1 an error.
            matches!(self.run(&["status"], "").await.status.code(), Some(0 | 2)).then_some(())
        })
        .await;
    }

    /// Waits until the server is unsealed and a leader, which its log tells.
    async fn active(&self) {
        wait::until("the server to be active", async || {
            let leader = self.run(&["read", "-format=json", "sys/leader"], "").await;
            let leader: Value = serde_json::from_slice(&leader.stdout).ok()?;
            (leader["data"]["is_self"] == true).then_some(())
        })
        .await;
    }

    /// Initialises the server, as the comments in the configurations say.
    pub(super) async fn initialise(&mut self) {
        let words = ["operator", "init", "-format=json"];
        let shares = ["-recovery-shares=1", "-recovery-threshold=1"];
        let init = self.bao(&[&words[..], &shares].concat()).await;
        let init: Value = serde_json::from_str(&init).unwrap();
        init["root_token"].as_str().unwrap().clone_into(&mut self.token);
        self.active().await;
    }

    /// Runs the server's command line.
    pub(super) async fn run(&self, words: &[&str], input: &str) -> Output {
        use tokio::io::AsyncWriteExt as _;
        let mut command = tokio::process::Command::new(programs::server());
        command.args(words).kill_on_drop(true).env("HOME", "/nonexistent");
        for prefix in ["BAO", "VAULT"] {
            command
                .env(format!("{prefix}_ADDR"), &self.address)
                .env(format!("{prefix}_CACERT"), self.path("tls/ca.pem"))
                .env(format!("{prefix}_TOKEN"), &self.token)
                .env(format!("{prefix}_MAX_RETRIES"), "0");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        // A command that doesn't read its input may be gone already.
        let _ = stdin.write_all(input.as_bytes()).await;
        drop(stdin);
        child.wait_with_output().await.unwrap()
    }

    /// The same, for a command that must do.
    pub(super) async fn bao(&self, words: &[&str]) -> String {
        let output = self.run(words, "").await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}\n{}", self.read("server.log"));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Enables the engine and defines a service that sends `token` to `upstream`.
    pub(super) async fn define(&self, upstream: &Upstream, token: &str) {
        self.bao(&["secrets", "enable", "mcp-proxy"]).await;
        self.bao(&["write", "mcp-proxy/config", "upstream_cidrs=127.0.0.0/8"]).await;
        let mut fields = definition(upstream);
        fields["auth"] = json!("bearer");
        fields["token"] = json!(token);
        let words = ["write", "mcp-proxy/services/demo", "-"];
        let written = self.run(&words, &fields.to_string()).await;
        assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    }

    /// Makes a call; true when the upstream took the credential.
    pub(super) async fn call(&self) -> bool {
        let words = ["write", "-field=status", "mcp-proxy/proxy/demo/GET", "path=/a"];
        self.run(&words, "").await.stdout == b"200"
    }
}

impl Drop for Shipped {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// A file of `hcl/` without its comments.
fn shipped(file: &str) -> String {
    let text = fs::read_to_string(programs::root().join("hcl").join(file)).unwrap();
    let lines = text.lines().map(|line| line.split(" # ").next().unwrap_or_default());
    lines.filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n")
}

/// Installs the plugin as an operator would; what was printed.
fn install(directory: &Path) -> String {
    let script = programs::root().join("scripts/install_plugin");
    let output = Command::new(script).arg(directory).arg(programs::plugin()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    // The stanza is the shipped one: same version, same command.
    let lines = |text: &str| -> Vec<String> {
        let from = text.lines().skip_while(|line| !line.trim().starts_with("plugin \""));
        from.take(5).map(|line| line.trim().to_owned()).collect()
    };
    for file in ["dev.hcl", "single.hcl", "cluster.hcl"] {
        assert_eq!(
            lines(&shipped(file).replace(SUM, &sum_in(&printed))),
            lines(&printed),
            "{file}"
        );
    }
    printed
}

/// The sum in a plugin stanza.
pub(super) fn sum_in(text: &str) -> String {
    let line = text.lines().find(|line| line.trim().starts_with("sha256sum")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

/// Two ports that were free a moment ago, and differ.
fn free_ports() -> [u16; 2] {
    let listeners = [(); 2].map(|()| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}
