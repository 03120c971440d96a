//! Writes of definitions and credentials, and the memory of which were acknowledged.

use std::collections::BTreeMap;
use std::time::Instant;

use serde_json::{Value, json};

use super::ledger::LIMIT;
use super::random::Random;
use super::upstream::tag;
use crate::api::Api;
use crate::forms;

/// What to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new token of a service's own credential.
    Token,
    /// Other rules of a service, which forbid the same.
    Rules,
    /// A service's description, a new service, or the end of one.
    Service,
}

/// One value that a write tried to bring about.
#[derive(Clone, Debug)]
pub struct Written {
    /// The value, or a credential's tag.
    pub value: String,
    /// When the server said that it is stored, if it did.
    pub acknowledged: Option<Instant>,
}

/// Writes through any node, one write after the other.
#[derive(Debug)]
pub struct Writer {
    nodes: Vec<Api>,
    http: Vec<String>,
    mcp: Vec<String>,
    url: String,
    random: Random,
    /// By path and field, in the order of writing, without those that were refused.
    book: BTreeMap<(String, &'static str), Vec<Written>>,
    count: usize,
    /// How many writes were acknowledged, refused, or left open.
    pub counts: [usize; 3],
}

/// Rules that allow all that is called, and never what is forbidden.
pub(super) const RULES: [&str; 2] =
    ["deny * /forbidden/**, allow * /do/**", "deny * /forbidden/**, allow GET,POST /**"];

impl Writer {
    /// One that changes these services, through the nodes' clients; new services are at `url`.
    pub fn new(
        nodes: Vec<Api>,
        http: Vec<String>,
        mcp: Vec<String>,
        url: String,
        random: Random,
    ) -> Self {
        Self { nodes, http, mcp, url, random, book: BTreeMap::new(), count: 0, counts: [0; 3] }
    }

    /// Takes note of a value that is stored already.
    pub fn note(&mut self, path: &str, field: &'static str, value: String) {
        let written = Written { value, acknowledged: Some(Instant::now()) };
        self.book.entry((path.to_owned(), field)).or_default().push(written);
    }

    /// Makes any write.
    pub async fn any(&mut self) {
        let changes = [Change::Token, Change::Rules, Change::Service];
        let change = changes[self.random.below(3)];
        self.write(change).await;
    }

    /// Makes one write.
    pub async fn write(&mut self, change: Change) {
        self.count += 1;
        let number = self.count;
        match change {
            Change::Token => {
                let both = [&self.http, &self.mcp][self.random.below(2)];
                let path = format!("services/{}", both[self.random.below(both.len())]);
                let token = forms::canary();
                let value = tag(&format!("Bearer {token}"));
                self.send("POST", &path, "token", value, json!({ "token": token })).await;
            }
            Change::Rules => {
                let path = format!("services/{}", self.http[self.random.below(self.http.len())]);
                let rules = RULES[self.random.below(2)];
                self.send("POST", &path, "rules", rules.to_owned(), json!({ "rules": rules }))
                    .await;
            }
            Change::Service if self.random.one_in(2) => {
                let path = format!("services/{}", self.http[self.random.below(self.http.len())]);
                let value = format!("v{number}");
                let fields = json!({ "description": value });
                self.send("POST", &path, "description", value, fields).await;
            }
            Change::Service => {
                let path = format!("services/extra-{}", self.random.below(8));
                if self.random.one_in(3) {
                    let gone = "gone".to_owned();
                    self.send("DELETE", &path, "usage", gone, Value::Null).await;
                } else {
                    let value = format!("v{number}");
                    let fields = json!({
                        "base_url": self.url, "danger_allow_plaintext": true, "auth": "bearer",
                        "token": forms::canary(), "usage": value,
                    });
                    self.send("POST", &path, "usage", value, fields).await;
                }
            }
        }
    }

    async fn send(
        &mut self,
        method: &str,
        path: &str,
        field: &'static str,
        value: String,
        fields: Value,
    ) {
        let api = self.nodes[self.random.below(self.nodes.len())].clone();
        let target = format!("mcp-proxy/{path}");
        let body = (!fields.is_null()).then_some(&fields);
        let answer = tokio::time::timeout(LIMIT, api.send(method, &target, body)).await;
        let (count, acknowledged) = match answer {
            Ok(Ok(answer)) if (200..300).contains(&answer.status) => (0, Some(Instant::now())),
            // A standby that lost the leader under a request answers 307: it may have been stored.
            Ok(Ok(answer)) if (400..500).contains(&answer.status) => (1, None),
            Ok(Err(error)) if error.is_connect() => (1, None),
            Ok(_) | Err(_) => (2, None),
        };
        self.counts[count] += 1;
        if count != 1 {
            let written = Written { value, acknowledged };
            self.book.entry((path.to_owned(), field)).or_default().push(written);
        }
    }

    /// All values that were written to a field, in order.
    pub fn history(&self, path: &str, field: &'static str) -> &[Written] {
        self.book.get(&(path.to_owned(), field)).map_or(&[], Vec::as_slice)
    }

    /// Every path and field that was written to.
    pub fn fields(&self) -> Vec<(String, &'static str)> {
        self.book.keys().cloned().collect()
    }
}

/// The values that may be there now: the last one that was acknowledged, and what was left open since.
pub(super) fn current(history: &[Written]) -> Vec<&str> {
    let last = history.iter().rposition(|written| written.acknowledged.is_some()).unwrap_or(0);
    history[last.min(history.len())..].iter().map(|written| written.value.as_str()).collect()
}
