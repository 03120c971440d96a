//! A scripted Vault: tokens, policy, catalog and engine as the tests want them.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use serde_json::{Value, json};
use wiremock::matchers::any;
use wiremock::{Mock, MockServer, Request, Respond, ResponseTemplate};

/// The AppRole credential that the scripted Vault accepts.
pub(crate) const ROLE_ID: &str = "canary-role-5f0c2f7a";
pub(crate) const SECRET_ID: &str = "canary-secret-91b7d6e3";

/// One request that arrived.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: Value,
}

/// What the Vault does next.
pub(crate) struct Script {
    pub(crate) tokens: HashSet<String>,
    pub(crate) issued: usize,
    pub(crate) lease: u64,
    pub(crate) renewed_lease: Option<u64>,
    pub(crate) renewable: bool,
    pub(crate) refuse_login: bool,
    pub(crate) sealed: bool,
    pub(crate) stall_login: Option<Duration>,
    pub(crate) catalog: Option<Value>,
    pub(crate) details: Value,
    /// The answers of `catalog/<service>` in place of the details, by service.
    pub(crate) offers: HashMap<String, ResponseTemplate>,
    /// `service/METHOD` pairs that the policy permits, and paths of other calls; none means all.
    pub(crate) permitted: Option<HashSet<String>>,
    /// Answers by `service/METHOD`, or by the path of another call; else a small document.
    pub(crate) answers: HashMap<String, ResponseTemplate>,
    pub(crate) arrivals: Vec<Arrival>,
    /// What the engine's dry run says; none means that the token may not ask.
    pub(crate) explained: Option<Value>,
    /// Which engine is mounted at `mcp-proxy/`.
    pub(crate) mounted: &'static str,
    /// What a token's look-up says beside its life.
    pub(crate) token: Value,
}

pub(crate) struct Vault {
    server: MockServer,
    script: Arc<Mutex<Script>>,
}

impl Vault {
    pub(crate) async fn start() -> Self {
        let script = Arc::new(Mutex::new(Script {
            tokens: HashSet::new(),
            issued: 0,
            lease: 900,
            renewed_lease: None,
            renewable: true,
            refuse_login: false,
            sealed: false,
            stall_login: None,
            catalog: Some(catalog("1", &["github", "sonarr"])),
            details: json!({}),
            offers: HashMap::new(),
            permitted: None,
            answers: HashMap::new(),
            arrivals: Vec::new(),
            explained: None,
            mounted: "mcp-proxy",
            token: json!({ "type": "service", "policies": ["default", "agent"] }),
        }));
        let server = MockServer::start().await;
        Mock::given(any()).respond_with(Answering(Arc::clone(&script))).mount(&server).await;
        Self { server, script }
    }

    pub(crate) fn address(&self) -> String {
        self.server.uri()
    }

    pub(crate) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(crate) fn answer(&self, call: &str, answer: ResponseTemplate) {
        self.script().answers.insert(call.to_owned(), answer);
    }

    /// The requests to a path so far.
    pub(crate) fn arrivals(&self, path: &str) -> Vec<Arrival> {
        self.script().arrivals.iter().filter(|a| a.path == path).cloned().collect()
    }

    /// Waits until a path was asked for so many times.
    pub(crate) async fn wait_for(&self, path: &str, count: usize) {
        let reached = async {
            while self.arrivals(path).len() < count {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), reached).await.is_err() {
            let seen = self.script().arrivals.iter().map(|a| a.path.clone()).collect::<Vec<_>>();
            panic!("{path} wasn't asked for {count} times: {seen:?}");
        }
    }

    /// Ends every token, as `vault token revoke` does.
    pub(crate) fn revoke_all(&self) {
        self.script().tokens.clear();
    }
}

pub(crate) fn catalog(revision: &str, names: &[&str]) -> Value {
    let services = names.iter().map(|name| service(name)).collect::<Vec<_>>();
    json!({ "revision": revision, "services": services })
}

pub(crate) fn service(name: &str) -> Value {
    json!({
        "name": name, "description": format!("About {name}"),
        "base_url": format!("https://{name}.example/api"), "methods": null, "rules": [],
        "enabled": true, "health": { "state": "ok" },
    })
}

/// An MCP server in the catalog.
pub(crate) fn server(name: &str, waiting: u64) -> Value {
    let mut service = service(name);
    service["type"] = json!("mcp");
    service["base_url"] = json!(format!("https://{name}.example/mcp"));
    service["waiting"] = json!(waiting);
    service
}

/// What the engine tells of an MCP server: lists of definitions, by the engine's names of them.
pub(crate) fn offer(name: &str, lists: Value) -> ResponseTemplate {
    let mut answer = server(name, 0);
    for (list, definitions) in lists.as_object().unwrap() {
        let entries = definitions.as_array().unwrap().iter().map(|definition| {
            let name = definition["name"].as_str().unwrap_or_default();
            let segment = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
            json!({ "name": name, "segment": segment, "definition": definition.to_string() })
        });
        answer[list] = entries.collect();
    }
    answered(answer)
}

/// The engine's answer to a call.
pub(crate) fn answered(data: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({ "data": data, "request_id": "vault" }))
}

/// An error as the server writes it.
pub(crate) fn refused(status: u16, text: &str) -> ResponseTemplate {
    ResponseTemplate::new(status).set_body_json(json!({ "errors": [text] }))
}

struct Answering(Arc<Mutex<Script>>);

impl Respond for Answering {
    fn respond(&self, request: &Request) -> ResponseTemplate {
        let mut script = self.0.lock().unwrap();
        let path = request.url.path().trim_start_matches("/v1/").to_owned();
        let headers = request
            .headers
            .iter()
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
            .collect::<HashMap<_, _>>();
        let token = headers.get("x-vault-token").cloned();
        let body = serde_json::from_slice(&request.body).unwrap_or(Value::Null);
        script.arrivals.push(Arrival {
            method: request.method.to_string(),
            path: path.clone(),
            token: token.clone(),
            headers,
            body: body.clone(),
        });
        script.answer(&path, token, &body)
    }
}

impl Script {
    fn answer(&mut self, path: &str, token: Option<String>, body: &Value) -> ResponseTemplate {
        if path == "sys/health" {
            let status = if self.sealed { 503 } else { 200 };
            return ResponseTemplate::new(status).set_body_json(json!({
                "initialized": true, "sealed": self.sealed, "standby": false, "version": "2.7.2",
            }));
        }
        if self.sealed {
            return refused(503, "Vault is sealed");
        }
        if path == "auth/approle/login" {
            return self.login(body);
        }
        let Some(token) = token.filter(|token| self.tokens.contains(token)) else {
            return refused(403, "permission denied");
        };
        match path {
            "auth/token/lookup-self" => {
                let mut token = self.token.clone();
                token["ttl"] = json!(self.lease);
                token["renewable"] = json!(self.renewable);
                answered(token)
            }
            "auth/token/renew-self" => self.issue(&token, self.renewed_lease.unwrap_or(self.lease)),
            "auth/token/revoke-self" => {
                self.tokens.remove(&token);
                ResponseTemplate::new(204)
            }
            "sys/capabilities-self" => self.capabilities(body),
            "mcp-proxy/catalog" => match &self.catalog {
                Some(catalog) => answered(catalog.clone()),
                None => refused(403, "1 error occurred:\n\t* permission denied\n\n"),
            },
            _ => self.engine(path),
        }
    }

    fn login(&mut self, body: &Value) -> ResponseTemplate {
        if self.refuse_login || body["role_id"] != ROLE_ID || body["secret_id"] != SECRET_ID {
            return refused(400, "invalid role or secret ID");
        }
        self.issued += 1;
        let token = format!("hvs.canary-token-{}", self.issued);
        self.tokens.insert(token.clone());
        let answer = self.issue(&token, self.lease);
        match self.stall_login {
            Some(delay) => answer.set_delay(delay),
            None => answer,
        }
    }

    fn issue(&self, token: &str, lease: u64) -> ResponseTemplate {
        ResponseTemplate::new(200).set_body_json(json!({
            "auth": { "client_token": token, "lease_duration": lease, "renewable": self.renewable },
        }))
    }

    fn capabilities(&self, body: &Value) -> ResponseTemplate {
        let paths = body["paths"].as_array().unwrap();
        assert!(paths.len() <= 400, "{} paths in one question", paths.len());
        let held = paths
            .iter()
            .map(|path| {
                let path = path.as_str().unwrap();
                let call = path.trim_start_matches("mcp-proxy/").trim_start_matches("proxy/");
                let capability = if self.permits(call) { "update" } else { "deny" };
                (path.to_owned(), json!([capability]))
            })
            .collect::<serde_json::Map<_, _>>();
        answered(Value::Object(held))
    }

    fn permits(&self, call: &str) -> bool {
        self.permitted.as_ref().is_none_or(|permitted| permitted.contains(call))
    }

    fn engine(&self, path: &str) -> ResponseTemplate {
        if let Some(call) = path.strip_prefix("mcp-proxy/proxy/") {
            if !self.permits(call) {
                return refused(403, "1 error occurred:\n\t* permission denied\n\n");
            }
            return self.answers.get(call).cloned().unwrap_or_else(|| {
                answered(json!({
                    "status": 200, "headers": { "content-type": "application/json" },
                    "body": "{\"ok\":true}", "truncated": false, "redacted": 0,
                    "duration_ms": 42, "request_id": "r-1", "catalog_revision": "1",
                }))
            });
        }
        let call = path.trim_start_matches("mcp-proxy/");
        if ["call/", "prompts/", "resources/"].iter().any(|kind| call.starts_with(kind)) {
            if !self.permits(call) {
                return refused(403, "1 error occurred:\n\t* permission denied\n\n");
            }
            let result = r#"{"content":[{"type":"text","text":"done"}]}"#;
            let answer = || answered(json!({ "result": result, "catalog_revision": "1" }));
            return self.answers.get(call).cloned().unwrap_or_else(answer);
        }
        if path.starts_with("mcp-proxy/explain/") {
            return match &self.explained {
                Some(explained) => answered(explained.clone()),
                None => refused(403, "1 error occurred:\n\t* permission denied\n\n"),
            };
        }
        if path == "sys/internal/ui/mounts/mcp-proxy" {
            return answered(json!({ "type": self.mounted }));
        }
        if let Some(service) = path.strip_prefix("mcp-proxy/catalog/") {
            if let Some(offer) = self.offers.get(service) {
                return offer.clone();
            }
            return answered(self.details.clone());
        }
        refused(404, "no handler for route")
    }
}
