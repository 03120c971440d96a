//! The OpenAPI document of an engine, from the declared paths alone.
//!
//! The host asks for it with the mount's help, puts its mount's path before each of ours, and serves
//! the whole at `sys/internal/specs/openapi` (OpenBao `sdk/framework/openapi.go`).

use serde_json::{Map, Value, json};

use crate::field::{Field, FieldType};
use crate::operation::Operation;
use crate::path::{Path, Segment};

/// The document for all paths.
pub(super) fn document<B: Send + Sync + 'static>(paths: &[Path<B>], sudo: &[String]) -> Value {
    let items: Map<String, Value> =
        paths.iter().map(|path| (template(path), Value::Object(item(path, sudo)))).collect();
    json!({
        "openapi": "3.0.2",
        "info": { "title": "", "description": "", "version": "", "license": { "name": "", "url": "" } },
        "paths": items,
        "components": { "schemas": {} },
    })
}

fn template<B>(path: &Path<B>) -> String {
    path.segments.iter().fold(String::new(), |text, segment| match segment {
        Segment::Literal(literal) => format!("{text}/{literal}"),
        Segment::Parameter(name) => format!("{text}/{{{name}}}"),
    })
}

fn item<B: Send + Sync + 'static>(path: &Path<B>, sudo: &[String]) -> Map<String, Value> {
    let parameters: Vec<Value> = path
        .segments
        .iter()
        .filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter(name) => Some(*name),
        })
        .map(|name| parameter(path, name))
        .collect();
    let mut item = Map::from_iter([("description".to_owned(), path.synopsis.into())]);
    if !parameters.is_empty() {
        item.insert("parameters".into(), parameters.into());
    }
    if path.operations.contains_key(&Operation::Create) {
        item.insert("x-vault-createSupported".into(), true.into());
    }
    if sudo.iter().any(|sudo| sudo == path.pattern) {
        item.insert("x-vault-sudo".into(), true.into());
    }
    for (operation, endpoint) in &path.operations {
        let method = match operation {
            Operation::Create | Operation::Update => "post",
            Operation::Read | Operation::List => "get",
            Operation::Patch => "patch",
            Operation::Delete => "delete",
        };
        let mut shown = json!({
            "operationId": operation_id(path, *operation),
            "summary": endpoint.summary,
            "description": path.description,
            "tags": ["secrets"],
            "responses": { "200": { "description": "OK" } },
        });
        if let Some(shown) = shown.as_object_mut() {
            match operation {
                Operation::Create | Operation::Update | Operation::Patch => {
                    shown.insert("requestBody".into(), body(path));
                }
                Operation::List => {
                    shown.insert("parameters".into(), json!([list_parameter()]));
                }
                Operation::Delete => {
                    shown.insert(
                        "responses".into(),
                        json!({ "204": { "description": "empty body" } }),
                    );
                }
                Operation::Read => {}
            }
        }
        item.insert(method.to_owned(), shown);
    }
    item
}

fn operation_id<B>(path: &Path<B>, operation: Operation) -> String {
    let words = path.pattern.replace('/', "-").replace(':', "");
    let verb = match operation {
        Operation::Create | Operation::Update => "write",
        Operation::Read => "read",
        Operation::List => "list",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
    };
    format!("{verb}-{words}")
}

fn parameter<B: Send + Sync + 'static>(path: &Path<B>, name: &str) -> Value {
    let description = path.field(name).map_or("", |field| field.help);
    json!({
        "name": name, "in": "path", "required": true, "description": description,
        "schema": { "type": "string" },
    })
}

fn list_parameter() -> Value {
    json!({
        "name": "list", "in": "query", "required": true, "description": "Must be set to `true`",
        "schema": { "type": "string", "enum": ["true"] },
    })
}

fn body<B: Send + Sync + 'static>(path: &Path<B>) -> Value {
    let is_parameter = |field: &Field| {
        path.segments.iter().any(|segment| match segment {
            Segment::Literal(_) => false,
            Segment::Parameter(name) => *name == field.name,
        })
    };
    let properties: Map<String, Value> = path
        .fields
        .iter()
        .filter(|field| !is_parameter(field))
        .map(|field| (field.name.to_owned(), schema(field)))
        .collect();
    json!({
        "content": { "application/json": { "schema": { "type": "object", "properties": properties } } },
    })
}

fn schema(field: &Field) -> Value {
    let (kind, more) = match field.kind {
        FieldType::Str | FieldType::Text => ("string", json!({})),
        FieldType::Secret => ("string", json!({ "x-vault-displayAttrs": { "sensitive": true } })),
        FieldType::Int => ("integer", json!({})),
        FieldType::Bool => ("boolean", json!({})),
        FieldType::Duration => ("string", json!({ "format": "duration" })),
        FieldType::List | FieldType::Items => ("array", json!({ "items": { "type": "string" } })),
        FieldType::Pairs | FieldType::Json => ("object", json!({ "format": "map" })),
    };
    let description = match field.default {
        None => field.help.to_owned(),
        Some(default) => format!("{} Default: {default}.", field.help),
    };
    let mut schema = json!({ "type": kind, "description": description });
    if let (Some(schema), Value::Object(more)) = (schema.as_object_mut(), more) {
        schema.extend(more);
    }
    schema
}
