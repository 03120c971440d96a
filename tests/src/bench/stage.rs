//! What is measured: a server with the plugin, an upstream behind it, and who may call what.

use std::fmt::Write as _;
use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::load::Load;
use crate::api::Api;
use crate::certificates::{Authority, Pem};
use crate::forms;
use crate::nginx::{Nginx, Site};
use crate::programs;
use crate::server::{Server, Storage, free_port};

/// A file of 100 kB, and one of 8 MiB, the largest answer by default.
pub const LARGE: usize = 100_000;
/// See [`LARGE`].
pub const LARGEST: usize = 8 << 20;

/// How the engine that does nothing is called in the server's plugin directory.
const FLOOR: &str = "engine-that-does-nothing";

/// Every kind of credential: there is a service of each name.
pub const KINDS: [&str; 6] = ["none", "bearer", "header", "query_param", "basic", "cookie"];

/// An upstream that demands a credential, and a server that holds it.
#[derive(Debug)]
pub struct Stage {
    /// In memory, with a log at `warn`.
    pub server: Server,
    /// A client with the root token.
    pub root: Api,
    upstream: Nginx,
    injector: Nginx,
    authority: Authority,
    secret: String,
    token: String,
    secure: String,
}

impl Stage {
    /// Starts it, with a file audit device or without.
    pub async fn start(audit: bool) -> Self {
        let authority = Authority::new();
        let pem = authority.server_pem();
        // A cookie takes letters and digits as they are.
        let secret: String = forms::canary().chars().filter(char::is_ascii_alphanumeric).collect();
        let upstream = upstream(&pem, &secret).await;
        let injector = injector(upstream.port(0), &secret).await;
        let (server, secure) = server(&pem, audit).await;
        server.enable_plugin().await;
        let root = server.api();
        let token = String::new();
        let mut stage = Self { server, root, upstream, injector, authority, secret, token, secure };
        stage.provision().await;
        stage
    }

    async fn provision(&mut self) {
        let open = json!({ "upstream_cidrs": "127.0.0.0/8" });
        self.root.write("mcp-proxy/config", open).await.ok();
        let mut rules = String::new();
        for kind in KINDS {
            let fields = self.definition(kind);
            self.root.write(&format!("mcp-proxy/services/{kind}"), fields).await.ok();
            rules.push_str(&format!(
                "path \"mcp-proxy/proxy/{kind}/GET\" {{ capabilities = [\"update\"] }}\n"
            ));
        }
        let sum = self.server.install(&programs::floor(), FLOOR);
        let entry = json!({ "sha256": sum, "command": FLOOR });
        self.root.write("sys/plugins/catalog/secret/floor", entry).await.ok();
        self.root.write("sys/mounts/floor", json!({ "type": "floor" })).await.ok();
        rules.push_str("path \"floor/bearer/GET\" { capabilities = [\"update\"] }\n");
        self.root.write("sys/mounts/kv", json!({ "type": "kv" })).await.ok();
        self.root.write("kv/a", json!({ "value": "1" })).await.ok();
        rules.push_str("path \"kv/a\" { capabilities = [\"read\"] }\n");
        rules.push_str("path \"mcp-proxy/info\" { capabilities = [\"read\"] }\n");
        self.root.write("sys/policies/acl/bench", json!({ "policy": rules })).await.ok();
        let request = json!({ "policies": ["bench"], "no_default_policy": true });
        let token = self.root.write("auth/token/create", request).await.ok();
        token.body["auth"]["client_token"].as_str().expect("a token").clone_into(&mut self.token);
    }

    /// The fields of a service at the upstream whose credential is of a kind.
    pub fn definition(&self, kind: &str) -> Value {
        let mut fields = json!({
            "base_url": format!("{}/{kind}", self.upstream()),
            "ca_cert": self.authority.pem(),
            "auth": kind,
        });
        let mut set = |name: &str, value: &str| fields[name] = json!(value);
        match kind {
            "none" => {}
            "basic" => {
                set("username", "bench");
                set("password", &self.secret);
            }
            "cookie" => {
                set("cookie_name", "session");
                set("token", &self.secret);
            }
            "header" => {
                set("header_name", "X-Api-Key");
                set("token", &self.secret);
            }
            "query_param" => {
                set("param_name", "key");
                set("token", &self.secret);
            }
            _ => set("token", &self.secret),
        }
        fields
    }

    fn upstream(&self) -> String {
        format!("https://127.0.0.1:{}", self.upstream.port(0))
    }

    /// A path of the upstream, without anybody between, with the credential.
    pub fn directly(&self, path: &str) -> Load {
        let load = Load::get(&format!("{}/bearer{path}", self.upstream()));
        let bearer = format!("Bearer {}", self.secret);
        load.trusting(&self.authority.pem()).header("authorization", &bearer)
    }

    /// The same through an nginx that sets the header by itself.
    pub fn injected(&self, path: &str) -> Load {
        Load::get(&format!("http://127.0.0.1:{}/bearer{path}", self.injector.port(0)))
    }

    /// A read of the server's own, on the plaintext listener.
    pub fn read(&self, path: &str) -> Load {
        Load::get(&format!("{}/v1/{path}", self.server.address())).token(&self.token)
    }

    /// A proxied GET of a path by the service of a kind.
    pub fn proxied(&self, kind: &str, path: &str) -> Load {
        let url = format!("{}/v1/mcp-proxy/proxy/{kind}/GET", self.server.address());
        Load::post(&url, &json!({ "path": path })).token(&self.token)
    }

    /// A call that the plugin refuses without looking further: the price of a write to a plugin.
    pub fn refused(&self) -> Load {
        self.proxied("bearer", "no slash").expecting(400)
    }

    /// A write to an engine that does nothing, and answers as much as a proxied call.
    pub fn floor(&self) -> Load {
        let url = format!("{}/v1/floor/bearer/GET", self.server.address());
        Load::post(&url, &json!({ "path": "/a" })).token(&self.token)
    }

    /// The same request on the TLS listener.
    pub fn over_tls(&self, load: Load) -> Load {
        load.to(&self.secure).trusting(&self.authority.pem())
    }

    /// The plugin's process.
    pub fn plugin(&self) -> u32 {
        self.process(|command| !command.contains(FLOOR))
    }

    /// The process of the engine that does nothing.
    pub fn floor_process(&self) -> u32 {
        self.process(|command| command.contains(FLOOR))
    }

    fn process(&self, is: impl Fn(&str) -> bool) -> u32 {
        let command = |pid: &u32| fs::read_to_string(format!("/proc/{pid}/cmdline"));
        let plugins = self.server.plugins();
        let found = plugins.iter().find(|pid| command(pid).is_ok_and(|command| is(&command)));
        *found.expect("a plugin that runs")
    }
}

/// Small, as many an API's answers are.
const ANSWER: &str = r#"{"id":1,"name":"an item","state":"open","labels":["a","b"]}"#;

/// Where in a request each kind's credential stands, as nginx names it, and what stands there.
fn demanded(kind: &str, secret: &str) -> Option<(&'static str, String)> {
    match kind {
        "bearer" => Some(("$http_authorization", format!("Bearer {secret}"))),
        "header" => Some(("$http_x_api_key", secret.to_owned())),
        "query_param" => Some(("$arg_key", secret.to_owned())),
        "basic" => {
            let value = STANDARD.encode(format!("bench:{secret}"));
            Some(("$http_authorization", format!("Basic {value}")))
        }
        "cookie" => Some(("$cookie_session", secret.to_owned())),
        _ => None,
    }
}

/// Starts an nginx that answers 401 to a request without its kind's credential.
async fn upstream(pem: &Pem, secret: &str) -> Nginx {
    let mut site = String::from(COMMON);
    for kind in KINDS {
        let check = demanded(kind, secret).map_or_else(String::new, |(variable, wanted)| {
            format!("if ({variable} != \"{wanted}\") {{ return 401; }}")
        });
        let _ = write!(
            site,
            "location = /{kind}/a {{ {check} return 200 '{ANSWER}'; }}\n\
             location /{kind}/ {{ {check} alias $files/; }}\n"
        );
    }
    let (large, largest) = (items(LARGE), items(LARGEST));
    let files = [("large", large.as_bytes()), ("largest", largest.as_bytes())];
    Nginx::start("", &files, &[Site { listen: "", pem: Some(pem), directives: &site }]).await
}

/// Starts an nginx that puts the credential into every request, and keeps its connections as the
/// plugin does.
async fn injector(upstream: u16, secret: &str) -> Nginx {
    let pool = format!(
        "upstream api {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000; }}\n\
         proxy_buffers 16 64k;\nproxy_max_temp_file_size 0;\n"
    );
    let site = format!(
        "{COMMON}location / {{ proxy_pass https://api; proxy_http_version 1.1; \
         proxy_set_header Connection \"\"; \
         proxy_set_header Authorization \"Bearer {secret}\"; }}\n"
    );
    Nginx::start(&pool, &[], &[Site { listen: "", pem: None, directives: &site }]).await
}

/// Connections last as long as a pass.
const COMMON: &str = "access_log off; keepalive_requests 1000000;\n";

/// A list in JSON of so many bytes.
fn items(bytes: usize) -> String {
    let mut text = String::from("[");
    let mut number = 0;
    while text.len() + 200 < bytes {
        number += 1;
        let _ = write!(
            text,
            r#"{{"id":{number},"title":"Item number {number}","state":"open","body":"Some text\n"}},"#
        );
    }
    let rest = bytes - text.len() - 4;
    let _ = writeln!(text, "\"{}\"]", "x".repeat(rest));
    assert_eq!(text.len(), bytes, "the size that was asked for");
    text
}

/// Starts a server that listens in plaintext and with TLS: the latter's address, too.
async fn server(pem: &Pem, audit: bool) -> (Server, String) {
    let port = free_port();
    let files = tempfile::tempdir().expect("a temporary directory").keep();
    let file = |name: &str, text: &str| {
        let path = files.join(name);
        fs::write(&path, text).expect("a file");
        path.display().to_string()
    };
    let (certificate, key) = (file("crt", &pem.certificate), file("key", &pem.key));
    let listener = format!(
        "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  \
         tls_cert_file = \"{certificate}\"\n  tls_key_file = \"{key}\"\n}}\n"
    );
    let edit = |text: String| {
        let kept = if audit { text.as_str() } else { text.split("audit \"").next().unwrap_or("") };
        format!("{listener}{kept}")
    };
    let server = Server::start_edited(Storage::Memory, "warn", &[], edit).await;
    let _ = fs::remove_dir_all(files);
    (server, format!("127.0.0.1:{port}"))
}
