//! One walk through a JSON Schema that tells texts for readers from names and values that are sent.

use serde_json::{Map, Value};

use super::hidden::{is_hidden, is_orthographic};

/// What a string in a schema is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A short text for readers.
    Title,
    /// A text for readers.
    Text,
    /// A name or value that counts to the letter: a keyword, a property, an enumerated value, a
    /// pattern.
    Exact,
}

/// Copies a schema; `change` gives another text for a string, or `None` to keep it. What it gives
/// for [`Role::Exact`] is left aside.
pub fn walk(schema: &Value, change: &mut dyn FnMut(Role, &str) -> Option<String>) -> Value {
    match schema {
        Value::Object(keywords) => Value::Object(
            keywords
                .iter()
                .map(|(key, value)| (key.clone(), keyword(key, value, change)))
                .collect(),
        ),
        Value::Array(schemas) => {
            Value::Array(schemas.iter().map(|schema| walk(schema, change)).collect())
        }
        Value::String(text) => changed(Role::Text, text, change),
        Value::Null | Value::Bool(_) | Value::Number(_) => schema.clone(),
    }
}

/// Whether a schema hides characters where nothing may be stripped.
pub fn hides(schema: &Value) -> bool {
    let mut hides = false;
    walk(schema, &mut |role, text| {
        hides |= role == Role::Exact && text.chars().any(|c| is_hidden(c) && !is_orthographic(c));
        None
    });
    hides
}

/// JSON Schema 2020-12, core and validation; `definitions` and `dependencies` of earlier drafts.
fn keyword(
    key: &str,
    value: &Value,
    change: &mut dyn FnMut(Role, &str) -> Option<String>,
) -> Value {
    match (key, value) {
        ("title", Value::String(text)) => changed(Role::Title, text, change),
        (
            "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
            Value::Object(named),
        ) => {
            let mut copy = Map::new();
            for (name, schema) in named {
                change(Role::Exact, name);
                copy.insert(name.clone(), walk(schema, change));
            }
            Value::Object(copy)
        }
        (
            "enum" | "const" | "default" | "examples" | "required" | "dependentRequired"
            | "dependencies" | "pattern" | "format" | "type" | "$ref" | "$dynamicRef" | "$id"
            | "$schema" | "$anchor" | "$dynamicAnchor" | "$vocabulary" | "contentEncoding"
            | "contentMediaType" | "x-mcp-header",
            value,
        ) => {
            exact(value, change);
            value.clone()
        }
        (key, value) => {
            change(Role::Exact, key);
            walk(value, change)
        }
    }
}

fn exact(value: &Value, change: &mut dyn FnMut(Role, &str) -> Option<String>) {
    match value {
        Value::String(text) => {
            change(Role::Exact, text);
        }
        Value::Array(values) => values.iter().for_each(|value| exact(value, change)),
        Value::Object(values) => {
            for (key, value) in values {
                change(Role::Exact, key);
                exact(value, change);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn changed(role: Role, text: &str, change: &mut dyn FnMut(Role, &str) -> Option<String>) -> Value {
    change(role, text).map_or_else(|| Value::String(text.to_owned()), Value::String)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_property_called_title_is_no_text() {
        let schema = json!({
            "type": "object",
            "title": "t1",
            "description": "d1",
            "properties": {
                "title": { "type": "string", "description": "d2", "enum": ["e1"] },
                "description": { "anyOf": [{ "title": "t2", "const": { "k1": "c1" } }] },
            },
            "$defs": { "x": { "pattern": "p1", "x-note": "d3" } },
            "required": ["title"],
        });
        let mut seen = Vec::new();
        let copy = walk(&schema, &mut |role, text| {
            seen.push((role, text.to_owned()));
            None
        });
        assert_eq!(copy, schema);
        let of = |role| -> Vec<&str> {
            let mut texts: Vec<_> =
                seen.iter().filter(|(r, _)| *r == role).map(|(_, t)| t.as_str()).collect();
            texts.sort_unstable();
            texts
        };
        assert_eq!(of(Role::Title), ["t1", "t2"]);
        assert_eq!(of(Role::Text), ["d1", "d2", "d3"]);
        assert_eq!(
            of(Role::Exact),
            [
                "anyOf",
                "c1",
                "description",
                "description",
                "description",
                "e1",
                "k1",
                "object",
                "p1",
                "string",
                "title",
                "title",
                "x",
                "x-note"
            ]
        );
    }
}
