//! What most tests need together: a server with the plugin, an upstream, tokens and roles.

use std::fs;
use std::path::PathBuf;
use std::sync::Mutex;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::api::Api;
use crate::forms;
use crate::server::{Server, Storage};
use crate::upstream::Upstream;

/// A server with the plugin at `mcp-proxy/`.
///
/// When it is dropped by a test that holds, everything the server has written is searched for
/// every secret that [`World::secret`] gave out.
#[derive(Debug)]
pub struct World {
    /// The server.
    pub server: Server,
    /// A client with the root token.
    pub root: Api,
    secrets: Mutex<Vec<String>>,
}

/// An AppRole's credential, in the two files that a bridge reads.
#[derive(Debug)]
pub struct AppRole {
    directory: TempDir,
}

impl World {
    /// A fresh server in memory whose mount may reach loopback.
    pub async fn start() -> Self {
        Self::start_on(Storage::Memory).await.reaching_loopback().await
    }

    /// The same without a log at trace level, for measurements.
    pub async fn start_quiet() -> Self {
        let server = Server::start_logging(Storage::Memory, "warn").await;
        Self::with(server).await.reaching_loopback().await
    }

    /// A fresh server with the engine's own defaults.
    pub async fn start_on(storage: Storage) -> Self {
        Self::with(Server::start(storage).await).await
    }

    async fn with(server: Server) -> Self {
        server.enable_plugin().await;
        let root = server.api();
        Self { server, root, secrets: Mutex::default() }
    }

    async fn reaching_loopback(self) -> Self {
        let config = json!({ "upstream_cidrs": "127.0.0.0/8" });
        self.root.write("mcp-proxy/config", config).await.ok();
        self
    }

    /// A fresh secret, which must turn up nowhere but at an upstream.
    pub fn secret(&self) -> String {
        let secret = forms::canary();
        self.secrets.lock().unwrap().push(secret.clone());
        secret
    }

    /// An upstream that demands a fresh bearer token, and the service `name` that sends it.
    pub async fn service(&self, name: &str) -> (Upstream, String) {
        let token = self.secret();
        let upstream = Upstream::start().await;
        let upstream = upstream.demanding("authorization", &format!("Bearer {token}"));
        let mut fields = definition(&upstream);
        fields["auth"] = json!("bearer");
        fields["token"] = json!(token);
        self.root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
        (upstream, token)
    }

    /// A client whose token has exactly the policy `rules`.
    pub async fn client(&self, rules: &str) -> Api {
        let name = format!("policy-{}", rules_id());
        let policy = json!({ "policy": rules });
        self.root.write(&format!("sys/policies/acl/{name}"), policy).await.ok();
        let request = json!({ "policies": [name], "no_default_policy": true });
        let token = self.root.write("auth/token/create", request).await.ok();
        self.root.with_token(token.body["auth"]["client_token"].as_str().expect("a token"))
    }

    /// An AppRole with the policy `rules` beside the default one, with its credential in files.
    pub async fn app_role(&self, name: &str, rules: &str) -> AppRole {
        // Enabled by whoever comes first.
        let _ = self.root.write("sys/auth/approle", json!({ "type": "approle" })).await;
        let policy = json!({ "policy": rules });
        self.root.write(&format!("sys/policies/acl/{name}"), policy).await.ok();
        let role = format!("auth/approle/role/{name}");
        let fields = json!({ "token_policies": [name], "token_ttl": "10m" });
        self.root.write(&role, fields).await.ok();
        let role_id = self.root.read(&format!("{role}/role-id")).await.ok();
        let secret_id = self.root.write(&format!("{role}/secret-id"), json!({})).await.ok();
        let directory = tempfile::tempdir().expect("a temporary directory");
        let role = AppRole { directory };
        let text = |value: &Value| value.as_str().expect("an id").to_owned();
        fs::write(role.role_id_file(), text(&role_id.data()["role_id"])).expect("a file");
        let secret_id = text(&secret_id.data()["secret_id"]);
        self.secrets.lock().unwrap().push(secret_id.clone());
        fs::write(role.secret_id_file(), secret_id).expect("a file");
        role
    }

    /// Where, among what the server wrote, a secret stands, and in which form.
    pub fn leaks(&self) -> Vec<String> {
        let traces = self.server.traces();
        let secrets = self.secrets.lock().unwrap();
        let mut leaks = Vec::new();
        for (path, bytes) in &traces {
            for secret in secrets.iter() {
                for form in forms::found(bytes, secret) {
                    leaks.push(format!("{}: {form}", path.display()));
                }
            }
        }
        leaks
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let leaks = self.leaks();
            assert!(leaks.is_empty(), "a secret has leaked: {leaks:#?}");
        }
    }
}

impl AppRole {
    /// The file with the role_id.
    pub fn role_id_file(&self) -> PathBuf {
        self.directory.path().join("role_id")
    }

    /// The file with the secret_id.
    pub fn secret_id_file(&self) -> PathBuf {
        self.directory.path().join("secret_id")
    }
}

/// The fields of a service without a credential at `upstream`.
pub fn definition(upstream: &Upstream) -> Value {
    json!({ "base_url": upstream.url(), "ca_cert": upstream.ca(), "auth": "none" })
}

/// The binding of a shared credential for [`definition`], but for the kind and the secret.
pub fn binding(upstream: &Upstream) -> Value {
    json!({ "origin": upstream.url(), "ca_cert": upstream.ca() })
}

fn rules_id() -> usize {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
