//! A definition as agents may see it: without hidden characters, every text within its bound.
//!
//! What is approved is the definition as the upstream gave it; this is done each time it is shown.
//! Names and values that are sent to the upstream are never changed: a definition that hides
//! something there is refused as a whole ([`Definition::problem`](super::definition::Definition)).

use serde_json::{Map, Value};

use super::definition::Kind;
use super::hidden::{is_hidden, stripped};
use super::schema::{self, Role};

/// Of a name, in characters.
pub const NAME: usize = 128;
/// Of a title, in characters.
pub const TITLE: usize = 256;
/// Of a description and every other text of a schema, in characters.
pub const TEXT: usize = 4_096;
/// Of an input or output schema, in bytes of JSON.
pub const SCHEMA: usize = 64 << 10;
/// Of any other field, such as icons or `_meta`, in bytes of JSON.
pub const FIELD: usize = 16 << 10;

/// The definition as it may be shown. Fields over their bound that can't be cut are left out, and
/// so are fields whose key hides something, which stripped could pass for another, and `execution`,
/// which offers tasks.
pub fn shown(kind: Kind, definition: &Map<String, Value>) -> Value {
    let mut shown = Map::new();
    for (key, value) in definition.iter().filter(|(key, _)| !key.chars().any(is_hidden)) {
        let (value, bound) = match (key.as_str(), value) {
            ("outputSchema", value) if kind == Kind::Tool && schema::hides(value) => continue,
            ("inputSchema" | "outputSchema", value) if kind == Kind::Tool => {
                (schema::walk(value, &mut sanitised), SCHEMA)
            }
            ("execution", _) if kind == Kind::Tool => continue,
            ("name", Value::String(text)) => (cut(text, NAME).into(), usize::MAX),
            ("title", Value::String(text)) => (cut(text, TITLE).into(), usize::MAX),
            ("description" | "instructions", Value::String(text)) => {
                (cut(text, TEXT).into(), usize::MAX)
            }
            // Sent back to the letter; refused as a whole if it hides something.
            (key, value) if key == kind.key_field() => (value.clone(), FIELD),
            (_, value) => (plain(value), FIELD),
        };
        if size(&value) <= bound {
            shown.insert(key.clone(), value);
        }
    }
    Value::Object(shown)
}

/// A short text, such as a server's name.
pub fn name(text: &str) -> String {
    cut(text, NAME)
}

/// How many bytes a value takes as JSON.
pub fn size(value: &Value) -> usize {
    struct Counted(usize);
    impl std::io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    // Neither a value nor a counter fails.
    let _ = serde_json::to_writer(&mut counted, value);
    counted.0
}

fn sanitised(role: Role, text: &str) -> Option<String> {
    match role {
        Role::Title => Some(cut(text, TITLE)),
        Role::Text => Some(cut(text, TEXT)),
        Role::Exact => None,
    }
}

fn plain(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(stripped(text)),
        Value::Array(values) => Value::Array(values.iter().map(plain).collect()),
        Value::Object(values) => {
            let readable = values.iter().filter(|(key, _)| !key.chars().any(is_hidden));
            Value::Object(readable.map(|(key, value)| (key.clone(), plain(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn cut(text: &str, most: usize) -> String {
    let bare = stripped(text);
    if bare.chars().count() <= most {
        return bare;
    }
    let mut cut: String = bare.chars().take(most.saturating_sub(1)).collect();
    cut.push('…');
    cut
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn shown_tool(definition: &Value) -> Value {
        shown(Kind::Tool, definition.as_object().unwrap())
    }

    #[test]
    fn hidden_characters_are_nowhere_and_long_texts_are_cut() {
        let hidden = "a\u{200b}b\u{e0041}\u{202e}c\u{1b}[31m";
        let shown = shown_tool(&json!({
            "name": "x".repeat(200),
            "title": hidden.repeat(100),
            "description": format!("{hidden}{}", "d".repeat(5_000)),
            "annotations": { "title": hidden, "readOnlyHint": true },
            "inputSchema": {
                "type": "object",
                "properties": { "q": { "type": "string", "description": hidden } },
            },
            "description\u{200b}": "stands in for the other",
            "_meta": { "vendor/key": [hidden], "vendor/key\u{200d}": 1 },
            "uri": hidden,
        }));
        let text = shown.to_string();
        assert!(!text.chars().any(super::super::hidden::is_hidden), "{text}");
        assert!(!text.contains("\\u001b"), "{text}");
        let length = |key: &str| shown[key].as_str().unwrap().chars().count();
        assert_eq!((length("name"), length("title"), length("description")), (NAME, TITLE, TEXT));
        assert!(shown["description"].as_str().unwrap().ends_with('…'));
        assert_eq!(shown["inputSchema"]["properties"]["q"]["description"], "abc[31m");
        assert_eq!(shown["annotations"]["readOnlyHint"], true);
        assert_eq!(shown["_meta"]["vendor/key"][0], "abc[31m");
    }

    #[test]
    fn what_cannot_be_cut_is_left_out_and_unknown_fields_stay() {
        let shown = shown_tool(&json!({
            "name": "n",
            "icons": [{ "src": format!("data:image/png;base64,{}", "A".repeat(20_000)) }],
            "outputSchema": { "enum": ["x".repeat(70_000)] },
            "execution": { "taskSupport": "optional" },
            "future": { "kept": 1 },
        }));
        assert_eq!(shown, json!({ "name": "n", "future": { "kept": 1 } }));
    }

    #[test]
    fn a_well_behaved_definition_is_shown_as_it_is() {
        let definition = json!({
            "name": "create_issue",
            "title": "Create an issue",
            "description": "Creates an issue.\n\n- `title`: 1–100 characters 🙂",
            "inputSchema": { "type": "object", "properties": { "title": { "type": "string" } } },
            "outputSchema": { "type": "object" },
            "annotations": { "destructiveHint": false },
            "icons": [{ "src": "https://example.com/i.png", "mimeType": "image/png" }],
        });
        assert_eq!(shown_tool(&definition), definition);
    }
}
