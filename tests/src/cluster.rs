//! Several real servers on integrated storage that make one cluster, gone when dropped.

use std::fs;
use std::path::Path;
use std::process::Child;
use std::sync::Mutex;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::server::{children, free_port, sha256, signal, spawn};
use crate::upstream::Upstream;
use crate::world::definition;
use crate::{forms, programs, wait};

/// A cluster with the plugin at `mcp-proxy/`, whose mount may reach loopback.
///
/// When it is dropped by a test that holds, the nodes' logs are searched for every secret that
/// [`Cluster::secret`] gave out.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    root_token: String,
    unseal_key: Value,
    secrets: Mutex<Vec<String>>,
}

/// One server of the cluster, in a directory of its own.
#[derive(Debug)]
struct Node {
    process: Child,
    directory: TempDir,
    address: String,
}

impl Cluster {
    /// Starts so many nodes, joins and unseals them, and enables the plugin. All of them must live
    /// for a majority of two; a cluster of three survives the loss of one.
    ///
    /// # Panics
    /// When a node doesn't come up.
    pub async fn start(size: usize) -> Self {
        let cluster = Self::start_bare(size).await;
        cluster.enable_plugin().await;
        cluster
    }

    /// The same where no standby serves a request itself.
    pub async fn start_without_standby_reads(size: usize) -> Self {
        let cluster = Self::start_with(size, "disable_standby_reads = true\n").await;
        cluster.enable_plugin().await;
        cluster
    }

    /// The same with configurations that `edit` makes of the usual ones, given a node's number and
    /// its directory.
    pub async fn start_edited(size: usize, edit: impl Fn(usize, &Path, String) -> String) -> Self {
        let cluster = Self::start_as(size, edit).await;
        cluster.enable_plugin().await;
        cluster
    }

    /// The same without the plugin, on any node.
    pub async fn start_bare(size: usize) -> Self {
        Self::start_with(size, "").await
    }

    /// The same with a line more in every node's configuration.
    async fn start_with(size: usize, setting: &str) -> Self {
        Self::start_as(size, |_, _, text| text + setting).await
    }

    async fn start_as(size: usize, edit: impl Fn(usize, &Path, String) -> String) -> Self {
        let mut nodes = Vec::new();
        for id in 0..size {
            nodes.push(Node::start(id, &edit).await);
        }
        let first = Api::new(&nodes[0].address, "");
        let shares = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let keys = first.write("sys/init", shares).await.ok().body;
        let unseal_key = json!({ "key": keys["keys"][0] });
        let root_token = keys["root_token"].as_str().expect("a token").to_owned();
        let cluster = Self { nodes, root_token, unseal_key, secrets: Mutex::default() };
        for (id, node) in cluster.nodes.iter().enumerate() {
            let api = Api::new(&node.address, "");
            if id > 0 {
                let leader = json!({ "leader_api_addr": cluster.nodes[0].address });
                api.write("sys/storage/raft/join", leader).await.ok();
            }
            api.write("sys/unseal", cluster.unseal_key.clone()).await.ok();
            if id == 0 {
                let active = cluster.api(cluster.active().await);
                // By default a node waits for ten seconds until it may vote.
                let pilot = json!({ "server_stabilization_time": "1ms" });
                active.write("sys/storage/raft/autopilot/configuration", pilot).await.ok();
            }
        }
        cluster.settled().await;
        cluster
    }

    /// Copies a program into a node's plugin directory as `file`; its SHA-256 in hexadecimal.
    pub fn install(&self, id: usize, program: &Path, file: &str) -> String {
        let target = self.nodes[id].directory.path().join("plugins").join(file);
        fs::copy(program, &target).expect("a copy of the plugin");
        sha256(&target)
    }

    /// A node's process.
    pub fn pid(&self, id: usize) -> u32 {
        self.nodes[id].process.id()
    }

    /// The directory that holds everything of a node.
    pub fn directory(&self, id: usize) -> &Path {
        self.nodes[id].directory.path()
    }

    /// Whether a node's process is gone, by itself or killed.
    pub fn has_ended(&mut self, id: usize) -> bool {
        self.nodes[id].process.try_wait().expect("a status").is_some()
    }

    /// The plugin's processes on a node.
    pub fn plugins(&self, id: usize) -> Vec<u32> {
        children(self.nodes[id].process.id())
    }

    /// What a node and its plugins have logged so far.
    pub fn log(&self, id: usize) -> String {
        self.nodes[id].log()
    }

    /// A client of one node, counted from 0, with the root token.
    pub fn api(&self, id: usize) -> Api {
        Api::new(&self.nodes[id].address, &self.root_token)
    }

    /// Waits until one of the nodes that live is active; its number.
    pub async fn active(&self) -> usize {
        wait::until("an active node", async || {
            for id in 0..self.nodes.len() {
                // A standby answers 429 or 473, a node that was killed not at all.
                let health = self.api(id).send("GET", "sys/health", None).await;
                if health.is_ok_and(|health| health.status == 200) {
                    return Some(id);
                }
            }
            None
        })
        .await
    }

    /// The numbers of the active node and of a standby.
    pub async fn pair(&self) -> (usize, usize) {
        let active = self.active().await;
        (active, (active + 1) % self.nodes.len())
    }

    /// A fresh secret, which must turn up nowhere but at an upstream.
    pub fn secret(&self) -> String {
        let secret = forms::canary();
        self.secrets.lock().unwrap().push(secret.clone());
        secret
    }

    /// An upstream that demands a fresh bearer token, and the service `name` that sends it, written
    /// through the active node and known to all.
    pub async fn service(&self, name: &str) -> (Upstream, String) {
        let token = self.secret();
        let upstream = Upstream::start().await;
        let upstream = upstream.demanding("authorization", &format!("Bearer {token}"));
        let mut fields = definition(&upstream);
        fields["auth"] = json!("bearer");
        fields["token"] = json!(token);
        let path = format!("mcp-proxy/services/{name}");
        self.api(self.active().await).write(&path, fields).await.ok();
        self.everywhere(&path, "base_url", &upstream.url()).await;
        (upstream, token)
    }

    /// Waits until every node that lives reads `value` in a field of what is at `path`.
    pub async fn everywhere(&self, path: &str, field: &str, value: &str) {
        for id in 0..self.nodes.len() {
            wait::until("the same value on every node", async || {
                let Ok(read) = self.api(id).send("GET", path, None).await else { return Some(()) };
                (read.data()[field] == value).then_some(())
            })
            .await;
        }
    }

    /// The node on which the plugin made the call with this answer.
    ///
    /// # Panics
    /// When none did, or more than one.
    pub async fn executed(&self, answer: &Value) -> usize {
        let request_id = answer["request_id"].as_str().expect("a request_id");
        // The line is written before the answer, and copied by the server a moment later.
        let nodes = wait::until("the call's line in a log", async || {
            let has = |node: &Node| node.log().lines().any(|line| is_call(line, request_id));
            let nodes: Vec<_> = (0..self.nodes.len()).filter(|&id| has(&self.nodes[id])).collect();
            (!nodes.is_empty()).then_some(nodes)
        })
        .await;
        assert_eq!(nodes.len(), 1, "made on the nodes {nodes:?}");
        nodes[0]
    }

    /// Kills a node as a crash would; its plugin ends by itself.
    pub async fn kill(&mut self, id: usize) {
        if self.has_ended(id) {
            // Its number may be another's by now.
            return;
        }
        let process = &mut self.nodes[id].process;
        signal(process.id(), Signal::KILL);
        wait::until("the node to be gone", async || process.try_wait().expect("a status")).await;
    }

    /// Stops a node, if it still runs, starts it again and unseals it.
    pub async fn restart(&mut self, id: usize) {
        self.kill(id).await;
        let node = &mut self.nodes[id];
        node.process = spawn(node.directory.path(), &[]);
        let api = Api::new(&node.address, "");
        wait::until("the node to answer", async || {
            api.send("GET", "sys/seal-status", None).await.is_ok().then_some(())
        })
        .await;
        api.write("sys/unseal", self.unseal_key.clone()).await.ok();
    }

    /// Waits until every node votes and knows where to forward to.
    async fn settled(&self) {
        wait::until("all nodes to vote", async || {
            let path = "sys/storage/raft/configuration";
            let raft = self.api(0).send("GET", path, None).await.ok()?;
            let servers = raft.data()["config"]["servers"].as_array()?.clone();
            let voters = servers.iter().filter(|server| server["voter"] == true).count();
            (voters == self.nodes.len()).then_some(())
        })
        .await;
        for id in 0..self.nodes.len() {
            wait::until("the node to know the active one", async || {
                let leader = self.api(id).read("sys/leader").await;
                (leader.body["leader_address"] == self.nodes[0].address).then_some(())
            })
            .await;
        }
    }

    async fn enable_plugin(&self) {
        let plugin = programs::plugin();
        let mut sums = (0..self.nodes.len()).map(|id| self.install(id, &plugin, PLUGIN));
        let sum = sums.next().expect("a node");
        assert!(sums.all(|other| other == sum), "the same binary everywhere");
        let active = self.api(self.active().await);
        let entry = json!({ "sha256": sum, "command": PLUGIN });
        active.write("sys/plugins/catalog/secret/mcp-proxy", entry).await.ok();
        active.write("sys/mounts/mcp-proxy", json!({ "type": "mcp-proxy" })).await.ok();
        let config = json!({ "upstream_cidrs": "127.0.0.0/8" });
        active.write("mcp-proxy/config", config).await.ok();
        for id in 0..self.nodes.len() {
            wait::until("the mount on every node", async || {
                let config = self.api(id).read("mcp-proxy/config").await;
                (config.status == 200 && config.text.contains("127.0.0.0/8")).then_some(())
            })
            .await;
        }
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let secrets = self.secrets.lock().unwrap();
            for (id, node) in self.nodes.iter().enumerate() {
                for secret in secrets.iter() {
                    let found = forms::found(node.log().as_bytes(), secret);
                    assert!(found.is_empty(), "a secret in the log of node {id}: {found:?}");
                }
            }
        }
    }
}

impl Node {
    async fn start(id: usize, edit: &impl Fn(usize, &Path, String) -> String) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for folder in ["data", "plugins"] {
            fs::create_dir(directory.path().join(folder)).expect("a directory");
        }
        // A port that is free now may be taken when the server wants it: then it exits at once.
        for _ in 0..3 {
            let address = configure(directory.path(), id, edit);
            let mut process = spawn(directory.path(), &[]);
            let api = Api::new(&address, "");
            let up = wait::until("the node to answer", async || {
                if process.try_wait().expect("a status").is_some() {
                    return Some(false);
                }
                api.send("GET", "sys/seal-status", None).await.is_ok().then_some(true)
            })
            .await;
            if up {
                return Self { process, directory, address };
            }
        }
        let log = fs::read_to_string(directory.path().join("server.log")).unwrap_or_default();
        panic!("the node exits at once: {log}");
    }

    /// What the server and its plugin have logged.
    fn log(&self) -> String {
        fs::read_to_string(self.directory.path().join("server.log")).unwrap_or_default()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // Its plugins notice that their host is gone.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const PLUGIN: &str = "vault-plugin-mcp-proxy";

/// Whether a line of a server's log is the plugin's decision on the call `request_id`.
fn is_call(line: &str, request_id: &str) -> bool {
    line.contains(PLUGIN) && line.contains(request_id)
}

fn configure(directory: &Path, id: usize, edit: impl Fn(usize, &Path, String) -> String) -> String {
    let folder = directory.display();
    let (port, cluster_port) = (free_port(), free_port());
    // The shortest election time-out, and joined nodes vote soon.
    let text = format!(
        "storage \"raft\" {{\n  path = \"{folder}/data\"\n  node_id = \"node-{id}\"\n  \
         performance_multiplier = 1\n  \
         autopilot_reconcile_interval = \"1s\"\n  autopilot_update_interval = \"1s\"\n}}\n\
         listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  \
         cluster_address = \"127.0.0.1:{cluster_port}\"\n  tls_disable = true\n}}\n\
         api_addr = \"http://127.0.0.1:{port}\"\n\
         cluster_addr = \"https://127.0.0.1:{cluster_port}\"\n\
         plugin_directory = \"{folder}/plugins\"\n\
         log_level = \"trace\"\n"
    );
    fs::write(directory.join("server.hcl"), edit(id, directory, text)).expect("a configuration");
    format!("http://127.0.0.1:{port}")
}
