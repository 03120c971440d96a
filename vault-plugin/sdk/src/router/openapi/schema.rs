//! Schemas of fields: what a request may hold, and what an answer holds.

use serde_json::{Map, Value, json};

use crate::field::{Field, FieldType};
use crate::router::help;

/// The object of a request's fields; `None` when there are none.
pub(super) fn request<'f>(
    fields: impl Iterator<Item = &'f Field>,
    example: Option<&Value>,
) -> Option<Value> {
    let properties: Map<String, Value> =
        fields.map(|field| (field.name.to_owned(), described(field))).collect();
    if properties.is_empty() {
        return None;
    }
    let mut schema = Map::from_iter([
        ("type".to_owned(), "object".into()),
        ("properties".to_owned(), properties.into()),
    ]);
    if let Some(example) = example {
        schema.insert("example".into(), example.clone());
    }
    Some(schema.into())
}

/// A field of a request, in the form that an API client sends best.
pub(super) fn described(field: &Field) -> Value {
    let mut schema = kind(field.kind);
    schema.insert("description".into(), help::described(field).into());
    schema.into()
}

/// The object of an answer's fields.
pub(super) fn object(fields: &[Field]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), answered(field))).collect();
    let required: Vec<&str> =
        fields.iter().filter(|field| !field.optional).map(|field| field.name).collect();
    let mut schema = Map::from_iter([
        ("type".to_owned(), "object".into()),
        ("properties".to_owned(), properties.into()),
    ]);
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    schema.into()
}

fn answered(field: &Field) -> Value {
    let mut schema = match (field.kind, field.nested.is_empty()) {
        // Durations are answered in seconds.
        (FieldType::Duration, _) => Map::from_iter([
            ("type".to_owned(), "integer".into()),
            ("format".to_owned(), "seconds".into()),
        ]),
        (FieldType::Json, false) => match object(&field.nested) {
            Value::Object(schema) => schema,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => Map::new(),
        },
        (FieldType::List, false) => Map::from_iter([
            ("type".to_owned(), "array".into()),
            ("items".to_owned(), object(&field.nested)),
        ]),
        (FieldType::Pairs, false) => {
            let mut schema = kind(FieldType::Pairs);
            schema.insert("additionalProperties".into(), object(&field.nested));
            schema
        }
        (kind, _) => self::kind(kind),
    };
    schema.insert("description".into(), described_answer(field).into());
    if field.optional {
        schema.insert("nullable".into(), true.into());
    }
    schema.into()
}

/// Hosts drop `additionalProperties`, so the objects of a map are told in words as well.
fn described_answer(field: &Field) -> String {
    if field.kind != FieldType::Pairs || field.nested.is_empty() {
        return field.help.to_owned();
    }
    let parts: Vec<String> = field
        .nested
        .iter()
        .map(|part| {
            let optional = if part.optional { ", may be null" } else { "" };
            format!("{} ({}{optional})", part.name, part.kind.as_str())
        })
        .collect();
    format!("{} Each: {}.", field.help, parts.join(", "))
}

fn kind(kind: FieldType) -> Map<String, Value> {
    let schema = match kind {
        FieldType::Str | FieldType::Text => json!({ "type": "string" }),
        FieldType::Secret => json!({
            "type": "string", "format": "password", "x-vault-displayAttrs": { "sensitive": true },
        }),
        FieldType::Int => json!({ "type": "integer" }),
        FieldType::Ints => json!({ "type": "array", "items": { "type": "integer" } }),
        FieldType::Bool => json!({ "type": "boolean" }),
        FieldType::Duration => json!({ "type": "string", "format": "duration" }),
        FieldType::List | FieldType::Items => {
            json!({ "type": "array", "items": { "type": "string" } })
        }
        FieldType::Pairs => json!({
            "type": "object", "format": "map", "additionalProperties": { "type": "string" },
        }),
        FieldType::Json => json!({ "type": "object", "format": "map" }),
    };
    match schema {
        Value::Object(schema) => schema,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}
