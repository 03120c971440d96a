//! The shipped server configurations, started as they are but for paths, ports and the plugin's sum.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use e2e::certificates::Authority;
use e2e::server::signal;
use e2e::upstream::Upstream;
use e2e::world::definition;
use e2e::{forms, programs, wait};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

/// The stanza that the shipped configurations have, with this in the place of the plugin's sum.
const SUM: &str = "PLUGIN_SHA256";

/// A server with a shipped configuration, in a directory of its own; gone when dropped.
struct Shipped {
    process: Option<Child>,
    directory: TempDir,
    address: String,
    token: String,
}

impl Shipped {
    /// Prepares the directories, the plugin, the unseal key and the certificate that `file` wants,
    /// and starts a server.
    async fn start(file: &str, key: &[u8]) -> Self {
        Self::start_with(file, key, &Authority::new(), &[]).await
    }

    /// The same with a certificate by `authority`, and with replacements that come first.
    async fn start_with(
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
        let (port, cluster_port) = (free_port(), free_port());
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

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn read(&self, name: &str) -> String {
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
    async fn reboot(&mut self) {
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
    async fn initialise(&mut self) {
        let words = ["operator", "init", "-format=json"];
        let shares = ["-recovery-shares=1", "-recovery-threshold=1"];
        let init = self.bao(&[&words[..], &shares].concat()).await;
        let init: Value = serde_json::from_str(&init).unwrap();
        init["root_token"].as_str().unwrap().clone_into(&mut self.token);
        self.active().await;
    }

    /// Runs the server's command line.
    async fn run(&self, words: &[&str], input: &str) -> Output {
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
    async fn bao(&self, words: &[&str]) -> String {
        let output = self.run(words, "").await;
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {errors}\n{}", self.read("server.log"));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Enables the engine and defines a service that sends `token` to `upstream`.
    async fn define(&self, upstream: &Upstream, token: &str) {
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
    async fn call(&self) -> bool {
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

async fn upstream() -> (Upstream, String) {
    let token = forms::canary();
    let upstream = Upstream::start().await;
    let upstream = upstream.demanding("authorization", &format!("Bearer {token}"));
    (upstream, token)
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
fn sum_in(text: &str) -> String {
    let line = text.lines().find(|line| line.trim().starts_with("sha256sum")).unwrap();
    line.split('"').nth(1).unwrap().to_owned()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

#[tokio::test]
async fn the_dev_server_starts_with_the_plugin_and_unseals_itself() {
    let (upstream, token) = upstream().await;
    let mut server = Shipped::start("dev.hcl", &[7; 32]).await;
    server.initialise().await;
    server.define(&upstream, &token).await;
    assert!(server.call().await);
    server.reboot().await;
    assert!(server.call().await, "{}", server.read("server.log"));
    assert_eq!(upstream.seen().len(), 2);
    let audit = server.read("log/audit.log");
    assert!(audit.contains("mcp-proxy/proxy/demo/GET"), "{audit}");
    assert!(forms::found(audit.as_bytes(), &token).is_empty());
}

#[tokio::test]
async fn one_node_survives_a_reboot_and_its_backup_opens_elsewhere() {
    let (upstream, token) = upstream().await;
    let key = *b"a key of thirty-two bytes, fixed";
    let mut server = Shipped::start("single.hcl", &key).await;
    assert!(server.address.starts_with("https://"));
    server.initialise().await;
    server.define(&upstream, &token).await;
    assert!(server.call().await);
    server.reboot().await;
    assert!(server.call().await, "{}", server.read("server.log"));
    assert!(server.read("log/audit.log").contains("mcp-proxy/proxy/demo/GET"));

    // A backup, by who may do nothing else.
    let policy = programs::root().join("hcl/backup.hcl");
    server.bao(&["policy", "write", "backup", policy.to_str().unwrap()]).await;
    let words = ["token", "create", "-field=token", "-policy=backup", "-no-default-policy"];
    let restricted = server.bao(&words).await;
    let root = std::mem::replace(&mut server.token, restricted);
    let snapshot = server.path("backup.snap");
    let snapshot = snapshot.to_str().unwrap();
    server.bao(&["operator", "raft", "snapshot", "save", snapshot]).await;
    assert!(!server.call().await, "a backup's token makes no call");
    let bytes = fs::read(snapshot).unwrap();
    assert!(bytes.len() > 10_000);
    assert!(forms::found(&bytes, &token).is_empty());

    // Another machine with the same key: everything is there, with the tokens of then.
    let mut other = Shipped::start("single.hcl", &key).await;
    other.initialise().await;
    other.bao(&["operator", "raft", "snapshot", "restore", "-force", snapshot]).await;
    other.token.clone_from(&root);
    wait::until("a call on the restored server", async || other.call().await.then_some(())).await;
    drop(other);

    // With another key it is worth nothing.
    let mut thief = Shipped::start("single.hcl", &[9; 32]).await;
    thief.initialise().await;
    let restore = ["operator", "raft", "snapshot", "restore", "-force", snapshot];
    let _ = thief.run(&restore, "").await;
    wait::until("the server to find that the key doesn't fit", async || {
        thief.read("server.log").contains("failed to decrypt keys from storage").then_some(())
    })
    .await;
    thief.token = root;
    assert!(!thief.call().await);
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test]
async fn three_nodes_join_and_unseal_by_themselves() {
    let (upstream, token) = upstream().await;
    let authority = Authority::new();
    let mut nodes: Vec<Shipped> = Vec::new();
    for id in 1..=3 {
        // The others look for the first; a node that looks for itself finds out by its name.
        let first = nodes.first().map_or("https://127.0.0.1:8200", |node| &node.address);
        let stanzas = ["node1", "node2", "node3"].map(|name| {
            (format!("leader_api_addr     = \"https://{name}.example:8200\""), first.to_owned())
        });
        let mut more: Vec<(&str, String)> = Vec::new();
        for (from, to) in &stanzas {
            more.push((from, format!("leader_api_addr = \"{to}\"")));
        }
        more.push(("\"node1\"", format!("\"node{id}\"")));
        more.push(("node1.example", "127.0.0.1".to_owned()));
        // Everything but the first starts when there is something to join.
        let mut node = Shipped::start_with("cluster.hcl", &[5; 32], &authority, &more).await;
        if id == 1 {
            node.initialise().await;
        } else {
            nodes[0].token.clone_into(&mut node.token);
        }
        nodes.push(node);
    }
    wait::until("three voters", async || {
        let peers = nodes[0].bao(&["operator", "raft", "list-peers", "-format=json"]).await;
        let peers: Value = serde_json::from_str(&peers).ok()?;
        let peers = peers["data"]["config"]["servers"].as_array()?.clone();
        (peers.iter().filter(|peer| peer["voter"] == true).count() == 3).then_some(())
    })
    .await;
    nodes[0].define(&upstream, &token).await;
    for node in &nodes {
        wait::until("a call through every node", async || node.call().await.then_some(())).await;
    }
}

#[tokio::test]
async fn a_stanza_takes_effect_on_sighup_and_a_wrong_sum_leaves_the_mount_out() {
    let mut server = Shipped::start("dev.hcl", &[7; 32]).await;
    server.initialise().await;
    server.bao(&["secrets", "enable", "mcp-proxy"]).await;
    let file = server.path("server.hcl");
    let right = fs::read_to_string(&file).unwrap();
    let sum = sum_in(&right);
    fs::write(&file, right.replace(&sum, &"0".repeat(64))).unwrap();
    server.reboot().await;
    let read = server.run(&["read", "mcp-proxy/info"], "").await;
    assert!(!read.status.success(), "{}", String::from_utf8_lossy(&read.stdout));
    assert!(server.read("server.log").contains("checksums did not match"));

    fs::write(&file, right).unwrap();
    signal(server.process.as_ref().unwrap().id(), Signal::HUP);
    wait::until("the right sum in the catalog", async || {
        let info = server.bao(&["plugin", "info", "-version=v0.1.0", "secret", "mcp-proxy"]).await;
        info.contains(&sum).then_some(())
    })
    .await;
    server.bao(&["plugin", "reload", "-plugin=mcp-proxy"]).await;
    let read = server.bao(&["read", "-field=version", "mcp-proxy/info"]).await;
    assert_eq!(read, env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_unit_is_one_that_systemd_takes() {
    let unit = fs::read_to_string(programs::root().join("hcl/openbao.service")).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("openbao.service");
    // The program is looked for, too.
    fs::write(&file, unit.replace("/usr/bin/bao", "/bin/true")).unwrap();
    let verified = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&file).output();
    let Ok(verified) = verified else {
        #[expect(clippy::print_stderr, reason = "a test that doesn't run has to say so")]
        {
            eprintln!("SKIPPED: no systemd-analyze here, so openbao.service wasn't verified");
        }
        return;
    };
    let said = String::from_utf8_lossy(&verified.stderr);
    assert!(verified.status.success() && said.is_empty(), "{said}");
}
