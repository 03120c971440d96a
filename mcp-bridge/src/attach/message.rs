//! Reads of a JSON-RPC message what a relay has to know.

use std::borrow::Cow;

use rmcp::model::RequestId;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::error::Check;

/// The head of a message; its content stays as it is.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    #[serde(default)]
    pub(super) id: Option<RequestId>,
    #[serde(borrow, default)]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
}

/// A request of the client.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    pub(super) id: RequestId,
    pub(super) kind: Kind,
    /// Whether it is of a revision without a handshake, whose results say that they are complete.
    pub(super) modern: bool,
}

/// What a request asks for, as far as it matters when its holder vanishes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A tool's call, which may change things.
    Call {
        /// The service, if it can be told.
        service: Option<String>,
        /// How an agent finds out whether it happened.
        check: Check,
    },
    /// The handshake of the older revisions.
    Initialize,
    /// A subscription, which lasts.
    Listen,
    /// The list of tools.
    ListTools,
    /// Anything else; it changes nothing.
    Other,
}

/// What is looked at in a request's parameters.
#[derive(Default, Deserialize)]
struct Parameters<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    arguments: Option<Arguments<'a>>,
    #[serde(rename = "_meta", default)]
    meta: Option<serde_json::Map<String, Value>>,
    #[serde(rename = "requestId", default)]
    request_id: Option<RequestId>,
}

#[derive(Default, Deserialize)]
struct Arguments<'a> {
    #[serde(borrow, default)]
    service: Option<Cow<'a, str>>,
}

/// The key of a request's revision in `_meta` (MCP 2026-07-28, basic/index).
const REVISION: &str = "io.modelcontextprotocol/protocolVersion";
/// The key of a subscription in a notification's `_meta` (basic/utilities/subscriptions).
pub(super) const SUBSCRIPTION: &str = "io.modelcontextprotocol/subscriptionId";

impl<'a> Message<'a> {
    /// Reads one message; none if it isn't one.
    pub(super) fn read(text: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    /// Reads the members of a batch; none if the line isn't one.
    pub(super) fn batch(text: &'a [u8]) -> Option<Vec<&'a RawValue>> {
        if text.trim_ascii_start().first() != Some(&b'[') {
            return None;
        }
        serde_json::from_slice(text).ok()
    }

    /// Whether it is the answer to a request.
    pub(super) fn answers(&self, id: &RequestId) -> bool {
        self.method.is_none() && self.id.as_ref() == Some(id)
    }

    /// Whether it carries a result.
    pub(super) fn has_result(&self) -> bool {
        self.result.is_some()
    }

    /// The request that it is; none if it is an answer or a notification.
    pub(super) fn ask(&self) -> Option<Ask> {
        let (id, method) = (self.id.clone()?, self.method.as_deref()?);
        let parameters = self.parameters();
        let modern = parameters.meta.as_ref().is_some_and(|meta| meta.contains_key(REVISION));
        let kind = match method {
            "tools/call" => {
                let tool = parameters.name.unwrap_or_default();
                let said = parameters.arguments.and_then(|arguments| arguments.service);
                // A service's own tools are named after it.
                let named = || tool.split_once("__").map(|(service, _)| service.to_owned());
                let service = said.map(Cow::into_owned).or_else(named);
                let check = match &*tool {
                    "list_services" | "proxy_read" | "find_tools" => Check::Repeat,
                    // What can't be read may have been anything.
                    name if name == "call_tool" || name.contains("__") => Check::Tool,
                    _ => Check::Read,
                };
                Kind::Call { service, check }
            }
            "initialize" => Kind::Initialize,
            "subscriptions/listen" => Kind::Listen,
            "tools/list" => Kind::ListTools,
            _ => Kind::Other,
        };
        Some(Ask { id, kind, modern })
    }

    /// The request that a `notifications/cancelled` withdraws.
    pub(super) fn withdraws(&self) -> Option<RequestId> {
        (self.method.as_deref() == Some("notifications/cancelled"))
            .then(|| self.parameters().request_id)
            .flatten()
    }

    /// The subscription that a `notifications/subscriptions/acknowledged` begins.
    pub(super) fn acknowledges(&self) -> Option<RequestId> {
        if self.method.as_deref() != Some("notifications/subscriptions/acknowledged") {
            return None;
        }
        let id = self.parameters().meta?.remove(SUBSCRIPTION)?;
        serde_json::from_value(id).ok()
    }

    fn parameters(&self) -> Parameters<'a> {
        let read = |text: &'a RawValue| serde_json::from_str(text.get()).ok();
        self.params.and_then(read).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(text: &str) -> Option<Kind> {
        Message::read(text.as_bytes()).and_then(|message| message.ask()).map(|ask| ask.kind)
    }

    #[test]
    fn requests_are_told_apart_from_what_asks_for_nothing() {
        let call = |tool: &str, arguments: &str| {
            kind(&format!(
                r#"{{"id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}"#
            ))
            .unwrap()
        };
        let calls = |service: Option<&str>, check| Kind::Call {
            service: service.map(str::to_owned),
            check,
        };
        let read = calls(Some("a"), Check::Repeat);
        assert_eq!(call("proxy_read", r#"{"service":"a","path":"/"}"#), read);
        assert_eq!(call("proxy_request", r#"{"service":"a"}"#), calls(Some("a"), Check::Read));
        let own = calls(Some("linear"), Check::Tool);
        assert_eq!(call("linear__create", r#"{"title":"t"}"#), own);
        // What can't be read may have changed something.
        assert_eq!(call("proxy_request", "7"), calls(None, Check::Read));
        assert_eq!(kind(r#"{"id":"a","method":"tools/list"}"#), Some(Kind::ListTools));
        for nothing in [r#"{"method":"a"}"#, r#"{"id":1,"result":{}}"#, "{", "[]"] {
            assert_eq!(kind(nothing), None, "{nothing}");
        }
    }
}
