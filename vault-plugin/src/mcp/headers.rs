//! The headers of a message: what it is, in which revision, and the arguments that a tool wants
//! mirrored (MCP 2026-07-28, Streamable HTTP; SEP-2243).

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::value::RawValue;

use super::message::Revision;
use super::mirror::Mirror;
use super::raw;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// A handshake's session, up to revision 2025-11-25.
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// The headers of every message.
pub(super) fn standard(revision: Option<Revision>, method: &str, name: Option<&str>) -> HeaderMap {
    let mut headers = HeaderMap::from_iter([
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream")),
    ]);
    let Some(revision) = revision else { return headers };
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(revision.as_str()));
    if revision.is_stateless() {
        let named = [(METHOD, Some(method)), (NAME, name)];
        for (header, value) in named {
            if let Some(value) = value.and_then(encoded) {
                headers.insert(header, value);
            }
        }
    }
    headers
}

/// The headers that mirror a call's arguments; what is absent, `null` or of another type than the
/// schema says is left out, and the server's to judge.
pub(super) fn mirrored(mirror: &Mirror, arguments: &RawValue) -> HeaderMap {
    let mut headers = HeaderMap::new();
    repeat(mirror, arguments, &mut headers);
    headers
}

/// Follows the annotated arguments alone: the others may be of any size and form.
fn repeat(mirror: &Mirror, value: &RawValue, headers: &mut HeaderMap) {
    if let Some(header) = &mirror.header {
        let text = match value.get() {
            text if text.starts_with('"') => raw::text(value),
            text if text.starts_with(['{', '[', 'n']) => None,
            text => Some(text.to_owned()),
        };
        headers.extend(text.and_then(|text| Some((header.clone(), encoded(&text)?))));
    }
    // Of a name that is there twice, the last one.
    let mut below = BTreeMap::new();
    raw::fields(value.get(), |name, value| {
        if let Some(mirror) = mirror.property(&name) {
            below.insert(name, (mirror, value));
        }
        ControlFlow::Continue(())
    });
    for (mirror, value) in below.into_values() {
        repeat(mirror, value, headers);
    }
}

/// A value as it stands in a header: plain where that is unambiguous, else in base64 between marks.
fn encoded(text: &str) -> Option<HeaderValue> {
    let is_plain = text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
        && text.trim_matches([' ', '\t']) == text
        && !(text.starts_with("=?base64?") && text.ends_with("?="));
    if is_plain {
        HeaderValue::from_str(text).ok()
    } else {
        HeaderValue::try_from(format!("=?base64?{}?=", STANDARD.encode(text))).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::mcp::mirror::annotations;

    fn annotated(kind: &str, header: &str) -> Value {
        json!({ "type": kind, "x-mcp-header": header })
    }

    #[test]
    fn annotated_arguments_are_mirrored_and_encoded() {
        let schema = json!({ "type": "object", "properties": {
            "region": annotated("string", "Region"),
            "x-mcp-header": { "type": "string" },
            "note": { "type": "string", "default": { "x-mcp-header": "data" } },
            "more": { "type": "object", "properties": {
                "limit": annotated("integer", "Limit"), "dry": annotated("boolean", "Dry"),
                "none": annotated("string", "None"), "gone": annotated("string", "Gone"),
            } },
        } });
        let annotations = annotations(&schema).unwrap();
        let read =
            |text: &str| mirrored(&annotations, &RawValue::from_string(text.to_owned()).unwrap());
        let of = |arguments: Value| read(&arguments.to_string());
        let headers = of(json!({ "region": "us-west1", "note": "x",
            "more": { "limit": 42, "dry": false, "none": null } }));
        assert_eq!(headers.len(), 3);
        assert_eq!(headers["mcp-param-region"], "us-west1");
        assert_eq!(headers["mcp-param-limit"], "42");
        assert_eq!(headers["mcp-param-dry"], "false");
        for (text, value) in [
            ("a b", "a b"),
            ("", ""),
            (" a", "=?base64?IGE=?="),
            ("é", "=?base64?w6k=?="),
            ("a\r\nb", "=?base64?YQ0KYg==?="),
            ("=?base64?x?=", "=?base64?PT9iYXNlNjQ/eD89?="),
        ] {
            assert_eq!(of(json!({ "region": text }))["mcp-param-region"], value);
        }
        assert!(of(json!({ "region": ["a"], "more": "text" })).is_empty());
        let twice =
            read(r#"{"region":"a","more":{"limit":1},"\u0072egion":null,"more":{"dry":true}}"#);
        assert_eq!((twice.len(), &twice["mcp-param-dry"]), (1, &HeaderValue::from_static("true")));
    }
}
