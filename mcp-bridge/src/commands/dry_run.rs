//! Shows what a call would do: Vault's policy and the engine's dry run, in one table.

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::catalog::{Store, unsent};
use crate::error::{CallError, CommandError, Exit};
use crate::process;
use crate::proxy::{self, ProxyRequest};
use crate::vault::{self, Request};

/// What is known of a call that isn't made.
struct Outlook {
    /// Vault's path of the call.
    path: String,
    /// What this token may do there; none if Vault doesn't tell.
    held: Option<Vec<String>>,
    /// What the engine says; none if this token may not ask.
    explained: Option<Map<String, Value>>,
}

/// Asks Vault and the engine, and prints what they say. Nothing is sent to the service.
///
/// # Errors
///
/// [`CommandError`] if Vault can't be asked.
pub(super) async fn run(
    store: &Store,
    request: &ProxyRequest,
    as_json: bool,
) -> Result<Exit, CommandError> {
    let outlook = ask(store, request).await?;
    let text = if as_json { outlook.json() } else { outlook.table(request) };
    process::output(text.as_bytes())?;
    Ok(if outlook.refused() { Exit::Refused } else { Exit::Success })
}

async fn ask(store: &Store, call: &ProxyRequest) -> Result<Outlook, CallError> {
    let session = store.session();
    let path = format!("{}/proxy/{}/{}", store.mount(), call.service, call.method);
    let question = json!({ "paths": [path] }).to_string();
    let request = Request::post("sys/capabilities-self", question).asking_on();
    let reply = session.request(&request).await.map_err(|error| unsent(&error))?;
    let held = (reply.status == 200).then(|| vault::data::<Map<String, Value>>(&reply.body));
    let held = held.flatten().and_then(|data| {
        let held = data.get(&path)?.as_array()?.iter();
        Some(held.filter_map(|held| held.as_str().map(str::to_owned)).collect())
    });

    let mut fields = proxy::fields(call);
    fields.insert("method".to_owned(), Value::from(call.method.as_str()));
    let request = Request::post(
        format!("{}/explain/{}", store.mount(), call.service),
        Value::Object(fields).to_string(),
    );
    let reply = session.request(&request).await.map_err(|error| unsent(&error))?;
    let explained = match reply.status {
        200 => vault::data(&reply.body),
        403 => None,
        400..=499 => {
            let (error, text) = vault::refusal(&reply.body);
            let code = error.map_or("invalid_request", |error| error.code.as_str());
            let refused = json!({ "verdict": "refused", "code": code, "message": text });
            refused.as_object().cloned()
        }
        _ => return Err(CallError::Unavailable(vault::unavailable(&reply))),
    };
    Ok(Outlook { path, held, explained })
}

impl Outlook {
    fn permitted(&self) -> Option<bool> {
        let held = self.held.as_ref()?;
        Some(held.iter().any(|held| held == "update" || held == "root"))
    }

    fn text(&self, field: &str) -> Option<&str> {
        self.explained.as_ref()?.get(field)?.as_str().filter(|text| !text.is_empty())
    }

    fn refused(&self) -> bool {
        self.permitted() == Some(false) || self.text("verdict") == Some("refused")
    }

    fn json(&self) -> String {
        let json = json!({
            "would_be_sent": !self.refused(), "vault_path": self.path, "capabilities": self.held,
            "permitted": self.permitted(), "explain": self.explained,
        });
        format!("{json}\n")
    }

    fn table(&self, call: &ProxyRequest) -> String {
        let mut table = String::new();
        let mut row = |name: &str, text: &str| {
            let _ = writeln!(table, "{name:<13} {}", text.trim_end());
        };
        row("call", &format!("{} {} on {}", call.method, call.path, call.service));
        let held = self.held.as_ref().map(|held| held.join(", ")).unwrap_or_default();
        row(
            "Vault policy",
            &match self.permitted() {
                Some(true) => format!("allowed: {held} on {}", self.path),
                Some(false) => format!("denied: {held} on {}", self.path),
                None => "not told: this token may not ask sys/capabilities-self".to_owned(),
            },
        );
        match &self.explained {
            None => row("engine", "not told: this token may not ask the engine's explain/ path"),
            Some(explained) => {
                for (name, field) in [("URL", "url"), ("rule", "rule")] {
                    if let Some(text) = self.text(field) {
                        row(name, text);
                    }
                }
                if let Some(credential) = explained.get("credential") {
                    let field = |name: &str| credential.get(name).map(plain).unwrap_or_default();
                    let place = ["header_name", "param_name"].map(field).concat();
                    let place = if place.is_empty() { place } else { format!(" ({place})") };
                    let (name, version) = (field("name"), field("version"));
                    row(
                        "credential",
                        &format!("{name}, version {version}, as {}{place}", field("auth")),
                    );
                }
                if let Some(classes) = explained.get("address_class").and_then(Value::as_array) {
                    row("address", &classes.iter().map(plain).collect::<Vec<_>>().join(", "));
                }
                let verdict = self.text("verdict").unwrap_or("unknown");
                row("engine", &format!("{verdict} {}", self.text("message").unwrap_or_default()));
            }
        }
        row(
            "outcome",
            if self.refused() {
                "would be refused; nothing was sent"
            } else {
                "would be sent; nothing was"
            },
        );
        table
    }
}

/// A value as a person reads it.
fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
