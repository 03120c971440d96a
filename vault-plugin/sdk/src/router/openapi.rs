//! The OpenAPI document of an engine, from the declared paths alone.
//!
//! The host asks for it with the mount's help, reads it into structures of its own, puts its mount's
//! path before each of ours, and serves the whole at `sys/internal/specs/openapi` (OpenBao
//! `sdk/framework/openapi.go`). What its structures don't know is lost there, `$ref` among it: so
//! every schema stands where it is used.

mod schema;

use serde_json::{Map, Value, json};

use super::help;
use crate::operation::Operation;
use crate::path::{Endpoint, Path, Segment};
use schema::{described, object, request};

/// The document for all paths; `prefix` begins each operation's id.
pub(super) fn document<B: Send + Sync + 'static>(
    paths: &[Path<B>],
    sudo: &[String],
    prefix: &str,
) -> Value {
    let items: Map<String, Value> = paths
        .iter()
        .map(|path| (template(path), Value::Object(item(path, sudo, prefix))))
        .collect();
    json!({
        "openapi": "3.0.2",
        "info": { "title": prefix, "version": "" },
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

fn item<B: Send + Sync + 'static>(
    path: &Path<B>,
    sudo: &[String],
    prefix: &str,
) -> Map<String, Value> {
    let mut item = Map::from_iter([("description".to_owned(), path.synopsis.into())]);
    let parameters: Vec<Value> = path.parameters().map(|name| parameter(path, name)).collect();
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
            // A path that can be read and listed is shown as it is read.
            Operation::List if path.operations.contains_key(&Operation::Read) => continue,
            Operation::Read | Operation::List => "get",
            Operation::Patch => "patch",
            Operation::Delete => "delete",
        };
        let shown = self::operation(path, *operation, endpoint, prefix);
        item.insert(method.to_owned(), Value::Object(shown));
    }
    item
}

fn operation<B: Send + Sync + 'static>(
    path: &Path<B>,
    operation: Operation,
    endpoint: &Endpoint<B>,
    prefix: &str,
) -> Map<String, Value> {
    let spec = &endpoint.spec;
    let mut shown = Map::from_iter([
        ("operationId".to_owned(), operation_id(path, operation, prefix).into()),
        ("summary".to_owned(), spec.summary.into()),
        ("tags".to_owned(), json!(["secrets"])),
    ]);
    if !path.description.is_empty() {
        shown.insert("description".into(), path.description.into());
    }
    let mut parameters: Vec<Value> = spec
        .query
        .iter()
        .map(|field| {
            json!({
                "name": field.name, "in": "query", "description": help::described(field),
                "schema": described(field),
            })
        })
        .collect();
    let mut responses = Map::new();
    match operation {
        Operation::Create | Operation::Update | Operation::Patch => {
            if let Some(body) = body(path, operation, endpoint) {
                shown.insert("requestBody".into(), body);
            }
        }
        Operation::List => parameters.push(list_parameter(true)),
        Operation::Read if path.operations.contains_key(&Operation::List) => {
            parameters.push(list_parameter(false));
        }
        Operation::Read | Operation::Delete => {}
    }
    if !parameters.is_empty() {
        shown.insert("parameters".into(), parameters.into());
    }
    for (status, description) in help::answers(operation, spec) {
        responses.insert(status.to_string(), answer(status, description, endpoint));
    }
    if spec.data.is_none() && spec.empty.is_none() {
        responses.insert("200".into(), json!({ "description": "OK" }));
    }
    if !path.fields.is_empty() || !spec.query.is_empty() {
        responses.insert("400".into(), refusal("Refused; errors says why, and what to do."));
    }
    shown.insert("responses".into(), responses.into());
    shown
}

/// What stands in `data` of a host's answer, as the hosts' own documents have it; errors as they are.
fn answer<B>(status: u16, description: &str, endpoint: &Endpoint<B>) -> Value {
    match (status, &endpoint.spec.data) {
        (200, Some(data)) => json!({
            "description": description,
            "content": { "application/json": { "schema": object(&data.fields) } },
        }),
        (204, _) => json!({ "description": description }),
        (_, _) => refusal(description),
    }
}

fn refusal(description: &str) -> Value {
    let texts = json!({ "type": "array", "items": { "type": "string" } });
    let schema = json!({ "type": "object", "properties": { "errors": texts } });
    json!({ "description": description, "content": { "application/json": { "schema": schema } } })
}

fn operation_id<B>(path: &Path<B>, operation: Operation, prefix: &str) -> String {
    let words = path.pattern.replace('/', "-").replace(':', "");
    let verb = match operation {
        Operation::Create | Operation::Update => "write",
        Operation::Read => "read",
        Operation::List => "list",
        Operation::Patch => "patch",
        Operation::Delete => "delete",
    };
    if prefix.is_empty() { format!("{verb}-{words}") } else { format!("{prefix}-{verb}-{words}") }
}

fn parameter<B: Send + Sync + 'static>(path: &Path<B>, name: &str) -> Value {
    let field = path.fields.iter().find(|field| field.name == name);
    json!({
        "name": name, "in": "path", "required": true,
        "description": field.map(help::described).unwrap_or_default(),
        "schema": { "type": "string" },
    })
}

fn list_parameter(required: bool) -> Value {
    let description = if required { "Must be set to `true`" } else { "Return a list if `true`" };
    let mut parameter = json!({
        "name": "list", "in": "query", "description": description,
        "schema": { "type": "string", "enum": ["true"] },
    });
    if let (true, Some(parameter)) = (required, parameter.as_object_mut()) {
        parameter.insert("required".into(), true.into());
    }
    parameter
}

fn body<B: Send + Sync + 'static>(
    path: &Path<B>,
    operation: Operation,
    endpoint: &Endpoint<B>,
) -> Option<Value> {
    let fields = path.fields.iter().filter(|field| {
        !field.read_only && !path.parameters().any(|parameter| parameter == field.name)
    });
    let schema = request(fields, endpoint.spec.example.as_ref())?;
    let kind = match operation {
        // The only type of body that hosts take for a PATCH.
        Operation::Patch => "application/merge-patch+json",
        Operation::Create
        | Operation::Read
        | Operation::Update
        | Operation::Delete
        | Operation::List => "application/json",
    };
    Some(json!({ "required": true, "content": { kind: { "schema": schema } } }))
}
