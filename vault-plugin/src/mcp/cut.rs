//! Shortens a result that is too long, so that it stays a valid one and says what is missing.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::raw::{self, few_fields, items};

/// Which result it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
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
pub fn shortened(result: &str, shape: Shape, most: usize) -> Option<String> {
    let whole = result.len();
    let mut fields = few_fields(result)?;
    let list = fields.remove(shape.list())?.get();
    if fields.remove("structuredContent").is_some() {
        fields.insert("isError".to_owned(), RawValue::TRUE);
    }
    if object(&fields, shape.list(), "").len() > most / 4 {
        fields.remove("_meta");
    }
    let mut first = None;
    items(list, |item| {
        first = Some(item);
        ControlFlow::Break(())
    })?;
    let notice = shape.note(
        first,
        &format!(
            "[Vault cut this: it had {whole} bytes, and {most} are handed on. It was called all the \
             same: don't repeat the call, ask for less or for the rest]"
        ),
    );
    let mut left =
        most.checked_sub(object(&fields, shape.list(), "").len() + notice.len() + SPARE)?;
    let mut kept = String::from("[");
    let mut keep = |item: &str, left: &mut usize| {
        *left = left.saturating_sub(item.len() + 1);
        kept.push_str(item);
        kept.push(',');
    };
    items(list, |item| {
        let size = item.get().len() + 1;
        if size <= left {
            keep(item.get(), &mut left);
            return ControlFlow::Continue(());
        }
        if let Some(cut) = cut_text(item, shape.text(), left) {
            keep(&cut, &mut left);
            return ControlFlow::Break(());
        }
        let note = shape.note(Some(item), &format!("[left out: {size} bytes]"));
        if note.len() >= left {
            return ControlFlow::Break(());
        }
        keep(&note, &mut left);
        ControlFlow::Continue(())
    })?;
    kept.push_str(&notice);
    kept.push(']');
    let shortened = object(&fields, shape.list(), &kept);
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
    fn text(self) -> &'static [&'static str] {
        match self {
            Self::Tool | Self::Resource => &["text"],
            Self::Prompt => &["content", "text"],
        }
    }

    /// An item that holds a text of ours, in the place of another.
    fn note(self, other: Option<&RawValue>, text: &str) -> String {
        let of = |name: &str| raw::text(few_fields(other?.get())?.get(name)?);
        let note = match self {
            Self::Tool => json!({ "type": "text", "text": text }),
            Self::Resource => json!({ "uri": of("uri").unwrap_or_default(), "text": text }),
            Self::Prompt => json!({
                "role": of("role").unwrap_or_else(|| "user".to_owned()),
                "content": { "type": "text", "text": text },
            }),
        };
        note.to_string()
    }
}

/// The item with as much of the text at a place in it as fits into less than so many bytes.
fn cut_text(item: &RawValue, place: &[&str], most: usize) -> Option<String> {
    let Some((name, place)) = place.split_first() else {
        let whole = raw::text(item)?;
        // Two quotes, and a comma.
        let room = most.checked_sub(3)?;
        let mut used = 0;
        let end = whole.char_indices().find_map(|(at, character)| {
            used += escaped(character);
            (used > room).then_some(at)
        });
        let cut = whole.get(..end.unwrap_or(whole.len()))?;
        return if cut.is_empty() { None } else { serde_json::to_string(cut).ok() };
    };
    let mut fields = few_fields(item.get())?;
    let inner = fields.remove(*name)?;
    let cut = cut_text(inner, place, most.checked_sub(object(&fields, name, "").len())?)?;
    Some(object(&fields, name, &cut))
}

/// The JSON of an object with these fields and one more.
fn object(fields: &BTreeMap<String, &RawValue>, name: &str, value: &str) -> String {
    let fields = fields.iter().map(|(name, value)| (name.as_str(), value.get()));
    let mut object = String::from("{");
    for (name, value) in fields.chain([(name, value)]) {
        if object.len() > 1 {
            object.push(',');
        }
        object.push_str(&Value::from(name).to_string());
        object.push(':');
        object.push_str(value);
    }
    object.push('}');
    object
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
