//! The headers of a message: what it is, in which revision, and the arguments that a tool wants
//! mirrored (MCP 2026-07-28, Streamable HTTP; SEP-2243).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde_json::Value;

use super::message::Revision;
use super::mirror::Mirrored;

const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// A handshake's session, up to revision 2025-11-25.
pub(super) const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");

/// What stands before the name in an annotation.
const PARAMETER: &str = "mcp-param-";

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
pub(super) fn mirrored(annotations: &[Mirrored], arguments: &Value) -> HeaderMap {
    let mirror = |annotation: &Mirrored| {
        let header = HeaderName::try_from(format!("{PARAMETER}{}", annotation.header)).ok()?;
        let mut path = annotation.path.iter();
        let text = match path.try_fold(arguments, |value, name| value.get(name))? {
            Value::String(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => return None,
        };
        Some((header, encoded(&text)?))
    };
    annotations.iter().filter_map(mirror).collect()
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
    use serde_json::json;

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
        assert_eq!(annotations.len(), 5);
        let of = |arguments: Value| -> HeaderMap { mirrored(&annotations, &arguments) };
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
    }
}
