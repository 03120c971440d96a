//! Shortens a result that is too long, so that it stays a valid one and says what is missing.

use serde_json::{Map, Value, json};

/// Which result it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Of a tool: blocks of content.
    Tool,
    /// Of a resource: its contents.
    Resource,
    /// Of a prompt: messages.
    Prompt,
}

/// Kept free for commas, brackets and the last item's own parts, in bytes.
const SPARE: usize = 512;

/// Shortens the JSON of a result to at most `most` bytes: items are kept from the first on, the text
/// that is too long is cut, what can't be cut is left out and named, and a last item says so. `None`
/// when nothing of use would be left, or it isn't what its shape says.
///
/// Structured content goes first, being the same in another form. A tool that promises it may answer
/// without it only by an error, so the result then is one: its text says what happened.
pub(super) fn shortened(result: &str, shape: Shape, most: usize) -> Option<String> {
    let mut result: Map<String, Value> = serde_json::from_str(result).ok()?;
    let whole = bytes(&Value::Object(result.clone()));
    let Some(Value::Array(items)) = result.remove(shape.list()) else { return None };
    if result.remove("structuredContent").is_some() {
        result.insert("isError".to_owned(), true.into());
    }
    if bytes(&Value::Object(result.clone())) > most / 4 {
        result.remove("_meta");
    }
    let notice = shape.note(
        items.first(),
        &format!(
            "[Vault cut this: it had {whole} bytes, and {most} are handed on. It was called all the \
             same: don't repeat the call, ask for less or for the rest]"
        ),
    );
    let mut left =
        most.checked_sub(bytes(&Value::Object(result.clone())) + bytes(&notice) + SPARE)?;
    let mut kept = Vec::new();
    for item in items {
        let size = bytes(&item) + 1;
        if size <= left {
            left -= size;
            kept.push(item);
        } else if let Some(item) = shape.cut_text(&item, left) {
            kept.push(item);
            break;
        } else {
            let note = shape.note(Some(&item), &format!("[left out: {size} bytes]"));
            let size = bytes(&note) + 1;
            if size > left {
                break;
            }
            left -= size;
            kept.push(note);
        }
    }
    kept.push(notice);
    result.insert(shape.list().to_owned(), Value::Array(kept));
    let shortened = Value::Object(result).to_string();
    (shortened.len() <= most).then_some(shortened)
}

impl Shape {
    fn list(self) -> &'static str {
        match self {
            Self::Tool => "content",
            Self::Resource => "contents",
            Self::Prompt => "messages",
        }
    }

    /// Where an item's text is.
    fn text(self) -> &'static str {
        match self {
            Self::Tool | Self::Resource => "/text",
            Self::Prompt => "/content/text",
        }
    }

    /// An item that holds a text of ours, in the place of another.
    fn note(self, other: Option<&Value>, text: &str) -> Value {
        let of = |name: &str| other.and_then(|item| item.get(name)).and_then(Value::as_str);
        match self {
            Self::Tool => json!({ "type": "text", "text": text }),
            Self::Resource => json!({ "uri": of("uri").unwrap_or_default(), "text": text }),
            Self::Prompt => json!({
                "role": of("role").unwrap_or("user"), "content": { "type": "text", "text": text },
            }),
        }
    }

    /// The item with as much of its text as fits into so many bytes.
    fn cut_text(self, item: &Value, most: usize) -> Option<Value> {
        let mut item = item.clone();
        let text = item.pointer_mut(self.text())?;
        let Value::String(whole) = std::mem::take(text) else { return None };
        *text = Value::String(String::new());
        let room = most.checked_sub(bytes(&item) + 1)?;
        let mut used = 0;
        let end = whole.char_indices().find_map(|(at, character)| {
            used += escaped(character);
            (used > room).then_some(at)
        });
        let cut = whole.get(..end.unwrap_or(whole.len()))?;
        if cut.is_empty() {
            return None;
        }
        *item.pointer_mut(self.text())? = Value::String(cut.to_owned());
        Some(item)
    }
}

fn bytes(value: &Value) -> usize {
    value.to_string().len()
}

/// The bytes of a character in a JSON string, at most.
fn escaped(character: char) -> usize {
    match character {
        '"' | '\\' => 2,
        '\0'..='\u{1f}' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 4096;

    fn cut(result: &Value, shape: Shape) -> Value {
        let cut = shortened(&result.to_string(), shape, MOST).unwrap();
        assert!(cut.len() <= MOST, "{}", cut.len());
        serde_json::from_str(&cut).unwrap()
    }

    #[test]
    fn text_is_cut_within_a_character_never_and_the_rest_is_named() {
        for character in ["x", "é", "\"", "\u{1}", "😀", "\\"] {
            let result = json!({
                "content": [
                    { "type": "text", "text": "first" },
                    { "type": "image", "data": "A".repeat(MOST), "mimeType": "image/png" },
                    { "type": "text", "text": character.repeat(MOST), "_meta": { "a": 1 } },
                    { "type": "text", "text": "last" },
                ],
                "resultType": "complete", "x-own": true,
            });
            let cut = cut(&result, Shape::Tool);
            let content = cut["content"].as_array().unwrap();
            assert_eq!(content.len(), 4, "{content:?}");
            assert_eq!(content[0]["text"], "first");
            assert_eq!(content[1]["type"], "text");
            let kept = content[2]["text"].as_str().unwrap();
            assert!(kept.len() > 200 && kept.chars().all(|c| c.to_string() == character));
            assert!(content[3]["text"].as_str().unwrap().starts_with("[Vault cut this"));
            assert_eq!((&cut["x-own"], &cut["resultType"]), (&json!(true), &json!("complete")));
            assert!(cut.get("isError").is_none());
        }
    }

    #[test]
    fn without_its_structured_content_a_result_is_an_error() {
        let result = json!({ "content": [], "structuredContent": { "a": "x".repeat(MOST) } });
        let cut = cut(&result, Shape::Tool);
        assert_eq!((&cut["isError"], cut.get("structuredContent")), (&json!(true), None));
    }

    #[test]
    fn contents_and_messages_keep_their_form() {
        let result = json!({ "contents": [
            { "uri": "a://b", "blob": "A".repeat(MOST) }, { "uri": "a://c", "text": "x".repeat(MOST) },
        ] });
        let contents = &cut(&result, Shape::Resource)["contents"];
        assert_eq!(contents[0]["uri"], "a://b");
        assert!(contents[0]["text"].is_string() && contents[0].get("blob").is_none());
        assert_eq!(contents[1]["uri"], "a://c");
        let text = json!({ "type": "text", "text": "x".repeat(MOST) });
        let result = json!({ "messages": [{ "role": "assistant", "content": text }] });
        let messages = &cut(&result, Shape::Prompt)["messages"];
        assert_eq!(
            (&messages[0]["role"], &messages[1]["role"]),
            (&json!("assistant"), &json!("assistant"))
        );
    }

    #[test]
    fn what_has_another_form_is_not_cut() {
        for result in ["[]", "{}", r#"{"content":{}}"#, "{"] {
            assert_eq!(shortened(result, Shape::Tool, MOST), None, "{result}");
        }
        assert_eq!(shortened(r#"{"content":[]}"#, Shape::Tool, 100), None);
    }
}
