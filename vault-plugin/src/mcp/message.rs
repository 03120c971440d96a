//! JSON-RPC as MCP uses it: what is sent, and what comes back, taken apart without being changed.

use std::borrow::Cow;
use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::raw;

#[cfg(test)]
mod tests;

/// A revision of MCP that is spoken over Streamable HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Revision {
    /// The first one over Streamable HTTP.
    R20250326,
    R20250618,
    /// The last one with a handshake.
    R20251125,
    /// Without handshake and sessions.
    R20260728,
}

impl Revision {
    const ALL: [Self; 4] = [Self::R20260728, Self::R20251125, Self::R20250618, Self::R20250326];
    /// What is asked for first.
    pub(super) const STATELESS: Self = Self::R20260728;
    /// What a handshake asks for.
    pub(super) const WITH_HANDSHAKE: Self = Self::R20251125;

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::R20250326 => "2025-03-26",
            Self::R20250618 => "2025-06-18",
            Self::R20251125 => "2025-11-25",
            Self::R20260728 => "2026-07-28",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|revision| revision.as_str() == text)
    }

    pub(super) fn is_stateless(self) -> bool {
        self == Self::R20260728
    }
}

/// One request, less what its revision adds.
#[derive(Debug)]
pub(super) struct Request {
    /// Its JSON-RPC id; no two of a process have the same.
    pub(super) id: u64,
    /// What is asked.
    pub(super) method: &'static str,
    /// What it is asked of, for the header: a name or a URI.
    pub(super) name: Option<String>,
    /// How much may come back, in bytes, where less is wanted than the service may answer.
    pub(super) most: Option<usize>,
    params: Vec<(&'static str, Box<RawValue>)>,
}

impl Request {
    pub(super) fn new(method: &'static str) -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let id = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { id, method, name: None, most: None, params: Vec::new() }
    }

    /// Says what it is asked of.
    pub(super) fn of(mut self, parameter: &'static str, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self.with(parameter, name)
    }

    /// Bounds what may come back, in bytes.
    pub(super) fn at_most(self, bytes: usize) -> Self {
        Self { most: Some(bytes), ..self }
    }

    /// Adds a parameter.
    pub(super) fn with(mut self, parameter: &'static str, value: impl Serialize) -> Self {
        // What is given here always has a form in JSON.
        if let Ok(value) = to_raw_value(&value) {
            self.params.push((parameter, value));
        }
        self
    }

    /// Adds a parameter that is JSON already, to the letter.
    pub(super) fn with_raw(mut self, parameter: &'static str, value: Box<RawValue>) -> Self {
        self.params.push((parameter, value));
        self
    }

    /// The message in a revision; without one, as before any is agreed on.
    pub(super) fn body(&self, revision: Option<Revision>) -> Bytes {
        let meta = revision.filter(|revision| revision.is_stateless()).map(|revision| {
            json!({
                "io.modelcontextprotocol/protocolVersion": revision.as_str(),
                "io.modelcontextprotocol/clientCapabilities": {},
                "io.modelcontextprotocol/clientInfo": client_info(),
            })
        });
        let params = Params { params: &self.params, meta };
        let message = Outgoing { jsonrpc: "2.0", id: Some(self.id), method: self.method, params };
        serde_json::to_vec(&message).unwrap_or_default().into()
    }
}

/// What we say that we are: no secret, and nothing of the caller.
pub(super) fn client_info() -> Value {
    json!({ "name": "vault-mcp-proxy", "version": env!("CARGO_PKG_VERSION") })
}

/// A message that wants no answer.
pub(super) fn notification(method: &'static str, params: Value) -> Bytes {
    json!({ "jsonrpc": "2.0", "method": method, "params": params }).to_string().into()
}

/// Our answer to a request of the server's: a ping is answered, all else refused (JSON-RPC 2.0,
/// section 5.1: method not found).
pub fn answer_to(request: &FromServer) -> Option<Bytes> {
    let id = request.id.as_deref()?;
    let message = if request.asks == Asks::Ping {
        format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},\"result\":{{}}}}")
    } else {
        // A server may put these words into its result, where the agent reads them.
        format!(
            "{{\"jsonrpc\":\"2.0\",\"id\":{id},\"error\":{{\"code\":-32601,\"message\":\"{} isn't \
             available: calls come through Vault, which has no user, model or folders to ask\"}}}}",
            request.asks.as_str()
        )
    };
    Some(message.into())
}

#[derive(Serialize)]
struct Outgoing<'p> {
    jsonrpc: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<u64>,
    method: &'static str,
    params: Params<'p>,
}

struct Params<'p> {
    params: &'p [(&'static str, Box<RawValue>)],
    meta: Option<Value>,
}

impl Serialize for Params<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.params {
            map.serialize_entry(name, value)?;
        }
        if let Some(meta) = &self.meta {
            map.serialize_entry("_meta", meta)?;
        }
        map.end()
    }
}

/// What a server may want of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asks {
    /// A sign of life.
    Ping,
    /// The client's model.
    Sampling,
    /// The client's user.
    Elicitation,
    /// The client's folders.
    Roots,
    /// Anything else.
    Other,
}

impl Asks {
    pub(super) fn of(method: &str) -> Self {
        match method {
            "ping" => Self::Ping,
            "sampling/createMessage" => Self::Sampling,
            "elicitation/create" => Self::Elicitation,
            "roots/list" => Self::Roots,
            _ => Self::Other,
        }
    }

    /// In words; nothing that the server wrote stands in them.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ping => "a sign of life",
            Self::Sampling => "sampling (an answer of its model)",
            Self::Elicitation => "elicitation (input of its user)",
            Self::Roots => "roots (its folders)",
            Self::Other => "something that it doesn't know",
        }
    }
}

/// A request of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FromServer {
    /// JSON, to the letter; `None` where it can't be answered.
    id: Option<String>,
    pub(super) asks: Asks,
}

/// What one text of the server holds.
#[derive(Debug, PartialEq, Eq)]
pub enum Message {
    /// The answer to our request: the JSON of its result.
    Result(String),
    /// The answer to our request: the JSON of its error.
    Error(String),
    /// The same of a server that doesn't say to which request.
    Unread(String),
    /// A request of the server's.
    Request(FromServer),
    /// What doesn't concern us: notifications, answers to other requests.
    Other,
}

/// The text isn't JSON-RPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it isn't JSON-RPC")]
pub struct NotJsonRpc;

/// How long an id of the server's may be that is given back to it, in bytes.
const MAX_ID_BYTES: usize = 256;
/// Messages in one batch.
const MAX_BATCH: usize = 1000;

#[derive(Deserialize)]
struct Envelope<'m> {
    #[serde(borrow, default)]
    id: Option<&'m RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'m, str>>,
    #[serde(borrow, default)]
    result: Option<&'m RawValue>,
    #[serde(borrow, default)]
    error: Option<&'m RawValue>,
}

/// Takes a text of the server apart: one message, or the batch of them that revision 2025-03-26 knows.
///
/// # Errors
/// [`NotJsonRpc`].
pub fn parse(text: &[u8], id: u64) -> Result<Vec<Message>, NotJsonRpc> {
    let text = str::from_utf8(text).map_err(|_| NotJsonRpc)?;
    let one = |text| {
        let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| NotJsonRpc)?;
        message(&envelope, id)
    };
    if !text.trim_ascii_start().starts_with('[') {
        return Ok(vec![one(text)?]);
    }
    let mut parsed = Vec::new();
    raw::items(text, |message| {
        parsed.push(if parsed.len() < MAX_BATCH { one(message.get()) } else { Err(NotJsonRpc) });
        match parsed.last() {
            Some(Ok(_)) => ControlFlow::Continue(()),
            Some(Err(_)) | None => ControlFlow::Break(()),
        }
    })
    .ok_or(NotJsonRpc)?;
    parsed.into_iter().collect()
}

fn message(envelope: &Envelope<'_>, id: u64) -> Result<Message, NotJsonRpc> {
    let is_ours = envelope.id.is_some_and(|given| given.get() == id.to_string());
    Ok(match (&envelope.method, envelope.result, envelope.error) {
        (Some(method), None, None) => match envelope.id {
            None => Message::Other,
            Some(given) => Message::Request(FromServer {
                id: (given.get().len() <= MAX_ID_BYTES && is_id(given))
                    .then(|| given.get().to_owned()),
                asks: Asks::of(method),
            }),
        },
        (None, Some(result), None) if is_ours => Message::Result(result.get().to_owned()),
        // Gateways and authorization servers have an `error` in their own JSON too.
        (None, None, Some(error)) if code_of(error.get()).is_none() => return Err(NotJsonRpc),
        (None, None, Some(error)) if is_ours => Message::Error(error.get().to_owned()),
        // A server that couldn't read the request doesn't know its id (JSON-RPC 2.0, section 5).
        (None, None, Some(error)) if envelope.id.is_none() => {
            Message::Unread(error.get().to_owned())
        }
        (None, Some(_), None) | (None, None, Some(_)) => Message::Other,
        (_, _, _) => return Err(NotJsonRpc),
    })
}

/// Whether a text of the server has our request's id, in whatever else: as a number or as text, with
/// anything beside it, and even where what follows is broken.
pub(super) fn names(text: &[u8], id: u64) -> bool {
    let (text, id) = (String::from_utf8_lossy(text), id.to_string());
    let mut is_named = false;
    let mut look = |message: &str| {
        raw::fields(message, |field, value| {
            let is_id = || value.get() == id || raw::text(value).is_some_and(|text| text == id);
            is_named |= field == "id" && is_id();
            ControlFlow::Continue(())
        })
    };
    look(&text);
    raw::items(&text, |message| {
        look(message.get());
        ControlFlow::Continue(())
    });
    is_named
}

/// The code of an error; `None` for what is no error of JSON-RPC (2.0, section 5.1: an object with an
/// integer there).
pub(super) fn code_of(error: &str) -> Option<i64> {
    raw::few_fields(error)?.get("code")?.get().parse().ok()
}

fn is_id(id: &RawValue) -> bool {
    id.get().starts_with(|first: char| first == '"' || first == '-' || first.is_ascii_digit())
}

/// What a result says of itself, whatever else it is.
#[derive(Debug, PartialEq, Eq)]
pub enum ResultKind {
    /// All there is.
    Complete,
    /// The server wants something first.
    InputRequired(Vec<Asks>),
    /// Anything else: an extension that wasn't asked for, or no object at all.
    Unknown,
}

impl ResultKind {
    /// Looks at the JSON of a result.
    pub fn of(result: &str) -> Self {
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Peek<'r> {
            #[serde(borrow, default)]
            result_type: Option<Cow<'r, str>>,
            #[serde(borrow, default)]
            input_requests: Option<&'r RawValue>,
        }
        #[derive(Default, Deserialize)]
        #[serde(default)]
        struct Wanted<'r> {
            #[serde(borrow)]
            method: Cow<'r, str>,
        }
        if !result.trim_ascii_start().starts_with('{') {
            return Self::Unknown;
        }
        let Ok(peek) = serde_json::from_str::<Peek<'_>>(result) else { return Self::Unknown };
        match peek.result_type.as_deref() {
            None | Some("complete") => Self::Complete,
            Some("input_required") => {
                let mut asks = Vec::new();
                let requests = peek.input_requests.map_or("{}", RawValue::get);
                let read = raw::fields(requests, |_, request| {
                    let request: Wanted<'_> =
                        serde_json::from_str(request.get()).unwrap_or_default();
                    let asked = Asks::of(&request.method);
                    if !asks.contains(&asked) {
                        asks.push(asked);
                    }
                    ControlFlow::Continue(())
                });
                read.map_or(Self::Unknown, |()| Self::InputRequired(asks))
            }
            Some(_) => Self::Unknown,
        }
    }
}
