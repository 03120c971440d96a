//! Those who call: agents with bridges, API clients, the server's own command line.

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::watch;

use super::agent::Agent;
use super::ledger::{Call, LIMIT, Ledger, Outcome};
use super::random::Random;
use crate::api::{Answer, Api};
use crate::cli;

/// One caller: an identity of its own, a service of each kind, with credentials of their own.
#[derive(Debug)]
pub struct Caller {
    /// Its number.
    pub number: usize,
    /// Its HTTP service.
    pub http: String,
    /// Its MCP service.
    pub mcp: String,
    /// How it calls.
    pub way: Way,
}

/// How somebody calls.
#[derive(Debug)]
pub enum Way {
    /// By tools of a bridge.
    Bridge(Agent),
    /// By Vault's API, without repeating anything.
    Api(Api),
    /// By the server's command line, which repeats what fails twice.
    Cli(Api),
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Bridge(_) => "bridge",
            Way::Api(_) => "API",
            Way::Cli(_) => "command line",
        };
        write!(f, "{way} {}", self.number)
    }
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Read,
    Write,
    Forbidden,
    Tool,
}

const KINDS: [Kind; 8] = [
    Kind::Read,
    Kind::Read,
    Kind::Write,
    Kind::Write,
    Kind::Write,
    Kind::Tool,
    Kind::Tool,
    Kind::Forbidden,
];

impl Caller {
    /// How many calls it has under way at one time at most.
    pub fn lanes(&self) -> usize {
        match self.way {
            Way::Bridge(_) | Way::Api(_) => 2,
            Way::Cli(_) => 1,
        }
    }

    /// Whether it repeats what fails.
    pub fn repeats(&self) -> bool {
        matches!(self.way, Way::Cli(_))
    }

    /// Calls, one after the other, until told to stop.
    pub async fn work(
        self: Arc<Self>,
        lane: usize,
        mut random: Random,
        ledger: Ledger,
        stop: watch::Receiver<bool>,
    ) {
        for number in 0.. {
            if *stop.borrow() {
                return;
            }
            let kind = KINDS[random.below(KINDS.len())];
            let id = format!("c{}-{lane}-{number}", self.number);
            // Some take long enough that a fault finds them under way.
            let ms = [0, 5, 20, 80][random.below(4)];
            let begun = Instant::now();
            let outcome = tokio::time::timeout(LIMIT, self.call(kind, &id, ms)).await;
            let outcome = outcome.unwrap_or(Outcome::Hung);
            let service = if kind == Kind::Tool { &self.mcp } else { &self.http };
            ledger.add(Call {
                id,
                caller: self.number,
                service: service.clone(),
                forbidden: kind == Kind::Forbidden,
                repeats: self.repeats(),
                begun,
                ended: Instant::now(),
                outcome,
            });
            tokio::time::sleep(random.milliseconds(60, 240)).await;
        }
    }

    async fn call(&self, kind: Kind, id: &str, ms: u64) -> Outcome {
        let folder = if kind == Kind::Forbidden { "forbidden" } else { "do" };
        let path = format!("/{folder}/{id}");
        match &self.way {
            Way::Bridge(agent) => {
                let mut fields = json!({ "service": self.http, "path": path, "query": { "ms": ms.to_string() } });
                let answer = match kind {
                    Kind::Read => agent.call("proxy_read", &fields).await,
                    Kind::Write | Kind::Forbidden => {
                        fields["method"] = json!("POST");
                        fields["json"] = json!({ "note": id });
                        agent.call("proxy_request", &fields).await
                    }
                    Kind::Tool => {
                        let tool = format!("{}__note", self.mcp);
                        agent.call(&tool, &json!({ "id": id, "ms": ms })).await
                    }
                };
                let Some(answer) = answer else { return Outcome::Unknown("killed".to_owned()) };
                if !answer.is_error {
                    return said(&answer.text);
                }
                let code = answer.text.split(':').next().unwrap_or_default();
                failed(code, &answer.text)
            }
            Way::Api(api) => {
                let (target, fields) = self.request(kind, id, &path, ms);
                match api.send("POST", &target, Some(&fields)).await {
                    Ok(answer) => of_answer(&answer),
                    Err(error) if error.is_connect() => {
                        Outcome::Refused("no_connection".to_owned())
                    }
                    Err(_) => Outcome::Unknown("connection_lost".to_owned()),
                }
            }
            Way::Cli(api) => {
                let (target, fields) = self.request(kind, id, &path, ms);
                let fields = fields.as_object().expect("fields").iter();
                let fields = fields.map(|(name, value)| match value.as_str() {
                    Some(text) => format!("{name}={text}"),
                    None => format!("{name}={value}"),
                });
                let mut arguments = vec!["write".to_owned(), "-format=json".to_owned(), target];
                arguments.extend(fields);
                let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
                let output = cli::run(api, &arguments).await;
                if output.status.success() {
                    let body: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
                    if body["data"].is_null() {
                        return Outcome::Odd(format!("{output:?}"));
                    }
                    return of_data(&body["data"]);
                }
                // An earlier try may have been executed, whatever the last one says.
                let text = String::from_utf8_lossy(&output.stderr);
                Outcome::Unknown(format!("cli {}", code(&text).unwrap_or("failed")))
            }
        }
    }

    /// A call as the engine takes it.
    fn request(&self, kind: Kind, id: &str, path: &str, ms: u64) -> (String, Value) {
        let query = json!({ "ms": ms.to_string() });
        match kind {
            Kind::Tool => {
                let arguments = json!({ "id": id, "ms": ms });
                (format!("mcp-proxy/call/{}/note", self.mcp), json!({ "arguments": arguments }))
            }
            Kind::Read => {
                let fields = json!({ "path": path, "query": query });
                (format!("mcp-proxy/proxy/{}/GET", self.http), fields)
            }
            Kind::Write | Kind::Forbidden => {
                let fields = json!({ "path": path, "query": query, "body": id });
                (format!("mcp-proxy/proxy/{}/POST", self.http), fields)
            }
        }
    }
}

/// Makes a call by the API as somebody who may do everything; how it ended.
pub(super) async fn ask(api: &Api, service: &str, id: &str) -> Outcome {
    let path = format!("mcp-proxy/proxy/{service}/POST");
    let fields = json!({ "path": format!("/do/{id}") });
    match api.send("POST", &path, Some(&fields)).await {
        Ok(answer) => of_answer(&answer),
        Err(_) => Outcome::Unknown("connection_lost".to_owned()),
    }
}

/// The same with a tool.
pub(super) async fn ask_tool(api: &Api, service: &str, id: &str) -> Outcome {
    let path = format!("mcp-proxy/call/{service}/note");
    let fields = json!({ "arguments": { "id": id } });
    match api.send("POST", &path, Some(&fields)).await {
        Ok(answer) => of_answer(&answer),
        Err(_) => Outcome::Unknown("connection_lost".to_owned()),
    }
}

fn of_answer(answer: &Answer) -> Outcome {
    if answer.status == 200 {
        return of_data(answer.data());
    }
    match code(&answer.text) {
        Some(code) => failed(code, &answer.text),
        // The server's own words: it may have lost the call on the way. A standby redirects also
        // when the active node was lost under a call that it had passed on.
        None if answer.status >= 500 || answer.status == 307 => {
            Outcome::Unknown(format!("http_{}", answer.status))
        }
        None => Outcome::Refused(format!("http_{}", answer.status)),
    }
}

fn of_data(data: &Value) -> Outcome {
    if let Some(result) = data["result"].as_str() {
        let result: Value = serde_json::from_str(result).unwrap_or_default();
        return said(result["content"][0]["text"].as_str().unwrap_or_default());
    }
    said(data["body"].as_str().unwrap_or_default())
}

/// Reads what the upstream said.
fn said(text: &str) -> Outcome {
    let read = || {
        let start = text.find("{\"id\"")?;
        let end = start + text[start..].find('}')?;
        let said: Value = serde_json::from_str(&text[start..=end]).ok()?;
        Some((said["id"].as_str()?.to_owned(), said["tag"].as_str()?.to_owned()))
    };
    match read() {
        Some((id, tag)) => Outcome::Done { id, tag },
        None => Outcome::Odd(text.to_owned()),
    }
}

/// The engine's code in an error, wherever the server or its command line wrapped it.
fn code(text: &str) -> Option<&str> {
    let is_code = |word: &&str| {
        let known = word.contains('_') || ["busy", "paused"].contains(word);
        known && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    let parts = text.split([' ', '"', '\n', '\t', '*']);
    parts.filter_map(|part| part.strip_suffix(':')).find(is_code)
}

fn failed(code: &str, text: &str) -> Outcome {
    let unknown = [
        "outcome_unknown",
        "response_too_large",
        "response_undecodable",
        "upstream_protocol",
        "input_required_unsupported",
    ];
    match code {
        // Nobody here sends anything that isn't valid.
        "invalid_request" | "protocol_error" => Outcome::Odd(text.to_owned()),
        _ if unknown.contains(&code) => Outcome::Unknown(code.to_owned()),
        _ => Outcome::Refused(code.to_owned()),
    }
}
