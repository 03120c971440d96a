//! Shapes an upstream's result for the client's revision, as text: what needn't change isn't even
//! parsed.

use std::ops::ControlFlow;

use rmcp::model::ProtocolVersion;
use serde_json::value::RawValue;

use super::raw::{Array, Object, items, members, string};
use super::resources::prefix;
use crate::catalog::ServiceName;

/// A result of `tools/call` for a revision, with a note at the end if there is one to give.
///
/// `None` if it isn't a result.
pub(crate) fn tool_result(
    text: &str,
    revision: &ProtocolVersion,
    note: Option<&str>,
) -> Option<String> {
    let (mut result, [kind, content, structured]) =
        taken(text, ["resultType", "content", "structuredContent"])?;
    put_type(&mut result, kind, revision);
    // 2025-06-18 brought it, and up to 2026-07-28 it had to be an object.
    let objects = *revision < ProtocolVersion::V_2026_07_28;
    let known = *revision >= ProtocolVersion::V_2025_06_18
        && !(objects && structured.is_some_and(|value| !value.get().starts_with('{')));
    if let Some(structured) = structured.filter(|_| known) {
        result.put("structuredContent", structured.get());
    }
    let empty = content.is_none_or(|content| is_empty_list(content.get()));
    // What the client isn't shown in one form it must be shown in the other.
    let moved = structured.filter(|_| empty);
    let outdated = *revision < ProtocolVersion::V_2025_06_18;
    if empty || note.is_some() || outdated {
        let mut blocks = Array::new();
        items(content.map_or("[]", RawValue::get), |block| {
            match downgraded(block, revision) {
                Some(words) => blocks.put(&self::block(&words)),
                None => blocks.put(block.get()),
            }
            ControlFlow::Continue(())
        })?;
        for text in moved.map(RawValue::get).into_iter().chain(note) {
            blocks.put(&block(text));
        }
        result.put("content", &blocks.end());
    } else if let Some(content) = content {
        result.put("content", content.get());
    }
    Some(result.end())
}

/// A result of `resources/read` for a revision. What it gives goes by the same name as the request.
pub(crate) fn resource_result(
    text: &str,
    revision: &ProtocolVersion,
    service: Option<&ServiceName>,
) -> Option<String> {
    let (mut result, [kind, contents, ttl, _]) =
        taken(text, ["resultType", "contents", "ttlMs", "cacheScope"])?;
    put_type(&mut result, kind, revision);
    if *revision >= ProtocolVersion::V_2026_07_28 {
        // Both are required since 2026-07-28. A credential's view is nobody else's.
        result.put("ttlMs", ttl.map_or("0", RawValue::get));
        result.put("cacheScope", "\"private\"");
    }
    if let Some(service) = service {
        let mut renamed = Array::new();
        let mut all = Some(());
        items(contents.map_or("[]", RawValue::get), |content| {
            all = put_renamed(&mut renamed, content, service);
            if all.is_none() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })?;
        all?;
        result.put("contents", &renamed.end());
    } else if let Some(contents) = contents {
        result.put("contents", contents.get());
    }
    Some(result.end())
}

/// Adds a content that goes by the name of a service; `None` for what is none.
fn put_renamed(all: &mut Array, content: &RawValue, service: &ServiceName) -> Option<()> {
    let (mut content, [uri]) = taken(content.get(), ["uri"])?;
    let uri = uri.map_or(Some(String::new()), words)?;
    content.put("uri", &string(&format!("{}{uri}", prefix(service))));
    all.put(&content.end());
    Some(())
}

/// A result of another method for a revision.
pub(crate) fn result(text: &str, revision: &ProtocolVersion) -> Option<String> {
    let (mut result, [kind]) = taken(text, ["resultType"])?;
    put_type(&mut result, kind, revision);
    Some(result.end())
}

/// Begins an object anew, without the members of these names, which are handed out: of one that is
/// there twice, the last.
fn taken<'t, const N: usize>(
    text: &'t str,
    names: [&str; N],
) -> Option<(Object, [Option<&'t RawValue>; N])> {
    let mut rest = Object::new();
    let mut found = [None; N];
    members(text, |name, value| {
        match names.iter().zip(&mut found).find(|(wanted, _)| **wanted == name) {
            Some((_, place)) => *place = Some(value),
            None => rest.put(&name, value.get()),
        }
    })?;
    Some((rest, found))
}

/// Its type is required of a result since 2026-07-28 and unknown before; an upstream of an older
/// revision gives none.
fn put_type(result: &mut Object, kind: Option<&RawValue>, revision: &ProtocolVersion) {
    if *revision >= ProtocolVersion::V_2026_07_28 {
        result.put("resultType", kind.map_or("\"complete\"", RawValue::get));
    }
}

fn is_empty_list(json: &str) -> bool {
    json.strip_prefix('[').is_some_and(|rest| rest.trim_start().starts_with(']'))
}

/// A block of text.
fn block(text: &str) -> String {
    format!("{{\"type\":\"text\",\"text\":{}}}", string(text))
}

/// What a block of a type that the revision doesn't know says in words: clients refuse the whole
/// result for it. `None` for one that is known.
fn downgraded(block: &RawValue, revision: &ProtocolVersion) -> Option<String> {
    if *revision >= ProtocolVersion::V_2025_06_18 {
        return None;
    }
    let names = ["type", "uri", "title", "name", "description", "mimeType"];
    let (_, found) = taken(block.get(), names)?;
    let [kind, uri, title, name, description, mime] =
        found.map(|value| value.and_then(words).unwrap_or_default());
    match &*kind {
        "resource_link" => {
            let about = [title, name, description];
            let about = about.into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>();
            Some(format!("Resource {uri}: {}", about.join(" · ")))
        }
        "audio" if *revision < ProtocolVersion::V_2025_03_26 => {
            Some(format!("(audio, {mime}: this client's revision of MCP can't take it)"))
        }
        _ => None,
    }
}

/// The text of a JSON string.
fn words(json: &RawValue) -> Option<String> {
    serde_json::from_str(json.get()).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

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
        assert!(noted.ends_with(r#"{"type":"text","text":"[cut]"}]}"#), "{noted}");
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
