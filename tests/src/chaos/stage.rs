//! What faults are thrown at: a cluster of three on relays and small disks, upstreams, callers.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::json;

use super::agent::Agent;
use super::caller::{Caller, Way};
use super::disk::Disk;
use super::random::Random;
use super::relay::Network;
use super::upstream::{Upstream, tag};
use super::writer::{RULES, Writer};
use crate::api::Api;
use crate::cluster::Cluster;
use crate::forms;

/// Nodes of the cluster.
pub(super) const NODES: usize = 3;
/// Agents with bridges; more than nodes, so that two share one.
const BRIDGES: usize = 4;
/// Clients of the API.
const CLIENTS: usize = 3;

/// Everything that runs. The disks go first: they are unmounted before their folders are removed.
#[derive(Debug)]
pub struct Stage {
    /// Of each node: for its data, and for its audit log. None where this user may not mount.
    pub disks: Vec<(Disk, Disk)>,
    /// The ways between the nodes.
    pub network: Network,
    /// The nodes.
    pub cluster: Cluster,
    /// The upstream of the HTTP services, and that of the MCP services.
    pub upstreams: [Upstream; 2],
    /// All callers.
    pub callers: Vec<Arc<Caller>>,
    /// Who changes definitions and credentials.
    pub writer: Arc<tokio::sync::Mutex<Writer>>,
    /// Tokens and secret_ids of the callers.
    pub secrets: Vec<String>,
    /// The plugin's file names so far, one for each upgrade.
    pub upgrades: usize,
}

impl Stage {
    /// Starts everything; `program upstream PORT BOOK` is an upstream.
    ///
    /// # Panics
    /// When something doesn't start.
    pub async fn start(program: &Path, random: &Random) -> Self {
        let network = Network::default();
        let disks = Mutex::new(Vec::new());
        let cluster = Cluster::start_edited(NODES, |id, directory, text| {
            fs::create_dir_all(directory.join("audit")).expect("a directory");
            let data = Disk::mount(&directory.join("data"));
            let audit = Disk::mount(&directory.join("audit"));
            disks.lock().unwrap().extend(data.zip(audit));
            edited(&network, id, directory, &text)
        })
        .await;
        let disks = disks.into_inner().unwrap();
        let (http, mcp) = tokio::join!(Upstream::start(program), Upstream::start(program));
        let root = cluster.api(cluster.active().await);
        let danger = json!({ "allow_danger": "danger_allow_plaintext" });
        root.write("mcp-proxy/config", danger).await.ok();
        root.write("sys/auth/approle", json!({ "type": "approle" })).await.ok();

        let count = BRIDGES + CLIENTS + 1;
        let names = |kind: &str| (0..count).map(|n| format!("{kind}-{n}")).collect::<Vec<_>>();
        let (https, mcps) = (names("http"), names("mcp"));
        let apis = (0..NODES).map(|id| cluster.api(id)).collect();
        let (all, them) = (https.clone(), mcps.clone());
        let mut writer = Writer::new(apis, all, them, http.url(), random.branch(1000));
        let (mut callers, mut secrets) = (Vec::new(), Vec::new());
        for (number, (http_name, mcp_name)) in https.into_iter().zip(mcps).enumerate() {
            define(&root, &mut writer, &http_name, &http.url(), false).await;
            let url = format!("{}/{}", mcp.url(), ["mcp", "old"][number % 2]);
            define(&root, &mut writer, &mcp_name, &url, true).await;
            let policy = policy(&http_name, &mcp_name);
            let name = format!("caller-{number}");
            let path = format!("sys/policies/acl/{name}");
            root.write(&path, json!({ "policy": policy })).await.ok();
            let node = cluster.api(number % NODES);
            let way = if number < BRIDGES {
                let (role_id, secret_id) = app_role(&root, &name).await;
                secrets.push(secret_id.clone());
                // What was written last is there: so is the secret_id, or the login would be refused.
                let ready = format!("sys/policies/acl/ready-{number}");
                root.write(
                    &ready,
                    json!({ "policy": "path \"none\" { capabilities = [\"deny\"] }" }),
                )
                .await
                .ok();
                crate::wait::until("the secret_id on the bridge's node", async || {
                    (node.read(&ready).await.status == 200).then_some(())
                })
                .await;
                Way::Bridge(Agent::start(node.address(), &role_id, &secret_id))
            } else {
                let request = json!({ "policies": [name], "no_default_policy": true });
                let token = root.write("auth/token/create", request).await.ok();
                let token = token.body["auth"]["client_token"].as_str().expect("a token");
                secrets.push(token.to_owned());
                let api = node.with_token(token);
                if number < BRIDGES + CLIENTS { Way::Api(api) } else { Way::Cli(api) }
            };
            callers.push(Arc::new(Caller { number, http: http_name, mcp: mcp_name, way }));
        }
        let writer = Arc::new(tokio::sync::Mutex::new(writer));
        let upstreams = [http, mcp];
        Self { disks, network, cluster, upstreams, callers, writer, secrets, upgrades: 0 }
    }

    /// The audit logs of all nodes.
    pub fn audits(&self) -> Vec<PathBuf> {
        (0..NODES).map(|id| self.cluster.directory(id).join("audit/audit.log")).collect()
    }

    /// All that anybody wrote where an operator, an agent or a log collector would see it.
    pub fn traces(&self) -> Vec<PathBuf> {
        let logs = (0..NODES).map(|id| self.cluster.directory(id).join("server.log"));
        let bridges = self.callers.iter().filter_map(|caller| match &caller.way {
            Way::Bridge(agent) => Some(agent.traces()),
            Way::Api(_) | Way::Cli(_) => None,
        });
        self.audits().into_iter().chain(logs).chain(bridges.flatten()).collect()
    }
}

/// A node's configuration with an audit log, and with its cluster port behind a relay.
fn edited(network: &Network, id: usize, directory: &Path, text: &str) -> String {
    let after = "cluster_address = \"127.0.0.1:";
    let start = text.find(after).expect("a cluster port") + after.len();
    let port = text[start..].split('"').next().expect("a port").to_owned();
    let relay = network.before(id, directory, port.parse().expect("a port"));
    text.replace(&format!("https://127.0.0.1:{port}"), &format!("https://127.0.0.1:{relay}"))
        .replace("\"trace\"", "\"debug\"")
        // The same words on every node, or a standby serves nothing by itself.
        + "audit \"file\" \"main\" {\n  options {\n    file_path = \"audit/audit.log\"\n  }\n}\n"
}

async fn define(root: &Api, writer: &mut Writer, name: &str, url: &str, is_mcp: bool) {
    let token = forms::canary();
    let mut fields = json!({
        "base_url": url, "danger_allow_plaintext": true, "auth": "bearer", "token": token,
        "description": "v0",
    });
    if is_mcp {
        fields["type"] = json!("mcp");
    } else {
        fields["rules"] = json!(RULES[0]);
    }
    let path = format!("services/{name}");
    root.write(&format!("mcp-proxy/{path}"), fields).await.ok();
    writer.note(&path, "token", tag(&format!("Bearer {token}")));
    if is_mcp {
        root.write(&format!("mcp-proxy/tools/{name}/approve"), json!({})).await.ok();
    } else {
        writer.note(&path, "description", "v0".to_owned());
        writer.note(&path, "rules", RULES[0].to_owned());
    }
}

/// A caller's own services, and nobody else's.
fn policy(http: &str, mcp: &str) -> String {
    format!(
        r#"
path "mcp-proxy/catalog" {{ capabilities = ["read"] }}
path "mcp-proxy/catalog/{http}" {{ capabilities = ["read"] }}
path "mcp-proxy/catalog/{mcp}" {{ capabilities = ["read"] }}
path "mcp-proxy/proxy/{http}/+" {{ capabilities = ["update"] }}
path "mcp-proxy/call/{mcp}/+" {{ capabilities = ["update"] }}
"#
    )
}

async fn app_role(root: &Api, name: &str) -> (String, String) {
    let role = format!("auth/approle/role/{name}");
    let fields = json!({ "token_policies": [name], "token_ttl": "10m" });
    root.write(&role, fields).await.ok();
    let role_id = root.read(&format!("{role}/role-id")).await.ok();
    let secret_id = root.write(&format!("{role}/secret-id"), json!({})).await.ok();
    let text = |value: &serde_json::Value| value.as_str().expect("an id").to_owned();
    (text(&role_id.data()["role_id"]), text(&secret_id.data()["secret_id"]))
}
