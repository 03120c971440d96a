//! Shapes an upstream's result for the client's revision; what needn't change isn't even parsed.

use std::collections::BTreeMap;

use rmcp::model::ProtocolVersion;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};

use super::resources::prefix;
use crate::catalog::ServiceName;

/// A result's members, each as it was written.
type Members = BTreeMap<String, Box<RawValue>>;

/// A result of `tools/call` for a revision, with a note at the end if there is one to give.
///
/// `None` if it isn't a result.
pub(crate) fn tool_result(
    text: &str,
    revision: &ProtocolVersion,
    note: Option<&str>,
) -> Option<String> {
    let mut members = members(text, revision)?;
    let mut structured = members.get("structuredContent").map(|value| value.get().to_owned());
    // 2025-06-18 brought it, and up to 2026-07-28 it had to be an object.
    let objects = *revision < ProtocolVersion::V_2026_07_28;
    let known = *revision >= ProtocolVersion::V_2025_06_18
        && !(objects && structured.as_ref().is_some_and(|text| !text.starts_with('{')));
    if !known {
        members.remove("structuredContent");
    }
    let empty = members.get("content").is_none_or(|content| is_empty_list(content.get()));
    // What the client isn't shown in one form it must be shown in the other.
    let moved = structured.take().filter(|_| empty);
    let outdated = *revision < ProtocolVersion::V_2025_06_18;
    if empty || note.is_some() || outdated {
        let content = members.get("content").map_or("[]", |content| content.get());
        let content = serde_json::from_str::<Vec<Box<RawValue>>>(content).ok()?;
        let content = content.into_iter().map(|block| downgraded(block, revision));
        let more = moved.as_deref().into_iter().chain(note).map(block);
        let content = content.chain(more).collect::<Option<Vec<_>>>()?;
        members.insert("content".to_owned(), to_raw_value(&content).ok()?);
    }
    serde_json::to_string(&members).ok()
}

/// A result of `resources/read` for a revision. What it gives goes by the same name as the request.
pub(crate) fn resource_result(
    text: &str,
    revision: &ProtocolVersion,
    service: Option<&ServiceName>,
) -> Option<String> {
    let mut members = members(text, revision)?;
    if *revision < ProtocolVersion::V_2026_07_28 {
        members.remove("ttlMs");
        members.remove("cacheScope");
    } else {
        // Both are required since 2026-07-28. A credential's view is nobody else's.
        members.entry("ttlMs".to_owned()).or_insert(to_raw_value(&0).ok()?);
        members.insert("cacheScope".to_owned(), to_raw_value("private").ok()?);
    }
    if let Some(service) = service {
        let contents = members.get("contents").map_or("[]", |contents| contents.get());
        let mut contents = serde_json::from_str::<Vec<Members>>(contents).ok()?;
        for content in &mut contents {
            let uri = content.get("uri").map_or("\"\"", |uri| uri.get());
            let uri = serde_json::from_str::<String>(uri).ok()?;
            let uri = to_raw_value(&format!("{}{uri}", prefix(service))).ok()?;
            content.insert("uri".to_owned(), uri);
        }
        members.insert("contents".to_owned(), to_raw_value(&contents).ok()?);
    }
    serde_json::to_string(&members).ok()
}

/// A result of another method for a revision.
pub(crate) fn result(text: &str, revision: &ProtocolVersion) -> Option<String> {
    serde_json::to_string(&members(text, revision)?).ok()
}

/// Takes a result apart. Its type is required since 2026-07-28 and unknown before; an upstream of an
/// older revision gives none.
fn members(text: &str, revision: &ProtocolVersion) -> Option<Members> {
    let mut members = serde_json::from_str::<Members>(text).ok()?;
    if *revision >= ProtocolVersion::V_2026_07_28 {
        members.entry("resultType".to_owned()).or_insert(to_raw_value("complete").ok()?);
    } else {
        members.remove("resultType");
    }
    Some(members)
}

fn is_empty_list(text: &str) -> bool {
    serde_json::from_str::<Vec<&RawValue>>(text).is_ok_and(|list| list.is_empty())
}

fn block(text: &str) -> Option<Box<RawValue>> {
    to_raw_value(&json!({ "type": "text", "text": text })).ok()
}

/// A block of a type that the revision doesn't know becomes a text: clients refuse the whole result
/// for it.
fn downgraded(block: Box<RawValue>, revision: &ProtocolVersion) -> Option<Box<RawValue>> {
    if *revision >= ProtocolVersion::V_2025_06_18 {
        return Some(block);
    }
    let value = serde_json::from_str::<Value>(block.get()).ok()?;
    let text = |field: &str| value.get(field).and_then(Value::as_str).unwrap_or_default();
    let words = match text("type") {
        "resource_link" => {
            let about = [text("title"), text("name"), text("description")];
            let about = about.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
            format!("Resource {}: {}", text("uri"), about.join(" · "))
        }
        "audio" if *revision < ProtocolVersion::V_2025_03_26 => {
            format!("(audio, {}: this client's revision of MCP can't take it)", text("mimeType"))
        }
        _ => return Some(block),
    };
    self::block(&words)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: ProtocolVersion = ProtocolVersion::V_2026_07_28;
    const LAST: ProtocolVersion = ProtocolVersion::V_2025_11_25;
    const FIRST: ProtocolVersion = ProtocolVersion::V_2024_11_05;

    fn shaped(text: &str, revision: &ProtocolVersion) -> Value {
        serde_json::from_str(&tool_result(text, revision, None).unwrap()).unwrap()
    }

    #[test]
    fn what_an_upstream_wrote_stays_to_the_letter() {
        let text = r#"{"content":[{"type":"new","n":1.10,"b":12345678901234567890123}],"x":{"b":1e400,"a":[]},"structuredContent":{"z":1,"a":2.0},"isError":false,"_meta":{"k":null}}"#;
        let shaped = tool_result(text, &LAST, None).unwrap();
        for part in [
            r#""content":[{"type":"new","n":1.10,"b":12345678901234567890123}]"#,
            r#""x":{"b":1e400,"a":[]}"#,
            r#""structuredContent":{"z":1,"a":2.0}"#,
            r#""_meta":{"k":null}"#,
        ] {
            assert!(shaped.contains(part), "{part} in {shaped}");
        }
        assert!(!shaped.contains("resultType"));
        let modern = tool_result(text, &MODERN, None).unwrap();
        assert!(modern.contains(r#""resultType":"complete""#), "{modern}");
        assert_eq!(tool_result("[]", &LAST, None), None);
        assert_eq!(tool_result("{", &LAST, None), None);
    }

    #[test]
    fn what_a_revision_doesnt_know_is_told_in_words() {
        let text = json!({
            "resultType": "complete", "structuredContent": { "a": 1 },
            "content": [
                { "type": "text", "text": "hi" },
                { "type": "audio", "data": "AA==", "mimeType": "audio/wav" },
                { "type": "resource_link", "uri": "a://1", "name": "one", "title": "One" },
            ],
        })
        .to_string();
        assert_eq!(
            shaped(&text, &FIRST),
            json!({ "content": [
                { "type": "text", "text": "hi" },
                { "type": "text",
                  "text": "(audio, audio/wav: this client's revision of MCP can't take it)" },
                { "type": "text", "text": "Resource a://1: One · one" },
            ] })
        );
        let second = shaped(&text, &ProtocolVersion::V_2025_03_26);
        assert_eq!(second["content"][1]["type"], "audio");
        assert_eq!(second["content"][2]["type"], "text");
        assert_eq!(shaped(&text, &ProtocolVersion::V_2025_06_18)["content"][2]["uri"], "a://1");
    }

    #[test]
    fn structured_content_reaches_who_cant_take_it_as_text() {
        let text = r#"{"content":[],"structuredContent":[1, 2.0]}"#;
        let expected = json!([{ "type": "text", "text": "[1, 2.0]" }]);
        assert_eq!(shaped(text, &FIRST), json!({ "content": expected }));
        assert_eq!(shaped(text, &LAST), json!({ "content": expected }), "no object");
        assert_eq!(shaped(text, &MODERN)["structuredContent"], json!([1, 2.0]));
        let bare = shaped(r#"{"structuredContent":{"a":1}}"#, &LAST);
        assert_eq!(bare["content"], json!([{ "type": "text", "text": "{\"a\":1}" }]));
        assert_eq!(bare["structuredContent"], json!({ "a": 1 }));
    }

    #[test]
    fn a_note_is_the_last_word() {
        let text = r#"{"content":[{"type":"text","text":"a"}]}"#;
        let noted = tool_result(text, &LAST, Some("[cut]")).unwrap();
        assert!(noted.ends_with(r#"{"text":"[cut]","type":"text"}]}"#), "{noted}");
    }

    #[test]
    fn what_is_read_goes_by_the_name_it_was_asked_by() {
        let text = r#"{"contents":[{"uri":"a://1","text":"x"}],"ttlMs":5,"cacheScope":"public"}"#;
        let service = ServiceName::parse("a_b").unwrap();
        let read = resource_result(text, &MODERN, Some(&service)).unwrap();
        let read = serde_json::from_str::<Value>(&read).unwrap();
        assert_eq!(
            read,
            json!({ "contents": [{ "uri": "a.b+a://1", "text": "x" }], "ttlMs": 5,
                    "cacheScope": "private", "resultType": "complete" })
        );
        let old = resource_result(text, &LAST, None).unwrap();
        assert_eq!(old, r#"{"contents":[{"uri":"a://1","text":"x"}]}"#);
    }
}
