//! `proxy/<service>/<METHOD>`: one upstream request.

use std::sync::Arc;

use serde_json::{Value, json};
use vault_sdk::{Call, Effect, Field, FieldType, Given, Operation, Path, Response, Spec};

use super::{UNKNOWN_SERVICE, handler};
use crate::engine::Engine;
use crate::error::{Error, Failure};
use crate::proxy::proxy;

const DESCRIPTION: &str = "\
Performs one request below the service's base_url, with its credential injected, and answers with
the upstream's status, headers and body. The upstream's status is data: an upstream's 401 is not
this server's. The request is sent once; redirects aren't followed.

The method stands in the path, so that a policy can tell reading from changing:
    path \"mcp-proxy/proxy/github/GET\" { capabilities = [\"update\"] }";

const SUMMARY: &str = "Sends the request and answers with what the upstream answered.";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("proxy/:service/:method", "Performs one upstream request.")
            .description(DESCRIPTION)
            .fields(fields())
            .operation(
                Operation::Update,
                Effect::CallsOut,
                spec(json!({ "path": "/repos/rust-lang/rust/issues", "json": { "title": "x" } })),
                handler(proxy),
            ),
        Path::new("proxy/:service", "Performs one upstream GET request.")
            .description(DESCRIPTION)
            .fields(fields())
            .operation(
                Operation::Update,
                Effect::CallsOut,
                spec(json!({ "path": "/user/repos", "query": { "per_page": 5 } })),
                handler(get),
            ),
    ]
}

fn spec(example: Value) -> Spec {
    Spec::new(SUMMARY)
        .data("What the upstream answered.", answer())
        .refuses(404, UNKNOWN_SERVICE)
        .refuses(424, "The upstream failed; the code says whether anything was sent.")
        .example(example)
}

fn answer() -> [Field; 11] {
    let refused = [
        Field::new("name", FieldType::Str, "Its name."),
        Field::new("version", FieldType::Int, "The version that was sent."),
        Field::new("stored", FieldType::Str, "When that version was stored."),
        Field::new(
            "failing_since",
            FieldType::Str,
            "Since when it has been refused, if that is no accident (credential_failing).",
        )
        .optional(),
    ];
    [
        Field::new("status", FieldType::Int, "The upstream's HTTP status."),
        Field::new("headers", FieldType::Pairs, "The upstream's headers that callers get."),
        Field::new("body", FieldType::Text, "The body, if it is text.").optional(),
        Field::new("body_base64", FieldType::Text, "The body, if it isn't.").optional(),
        Field::new("truncated", FieldType::Bool, "Whether the body was cut."),
        Field::new("redacted", FieldType::Int, "How often the credential was taken out."),
        Field::new("duration_ms", FieldType::Int, "How long the call took."),
        Field::new("request_id", FieldType::Str, "The request's id, as in the audit log."),
        Field::new("rule", FieldType::Str, "The rule that allowed it; empty without rules."),
        Field::new("catalog_revision", FieldType::Str, "Differs when the catalog has changed."),
        Field::new("refused_credential", FieldType::Json, "The credential, with a 401 alone.")
            .of(refused)
            .optional(),
    ]
}

/// Without a method in the path, a policy sees a reading path: no other method may hide in the body.
async fn get(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    match call.fields.str("method") {
        None => proxy(engine, call).await,
        Some(Given::Set(method)) if method == "GET" => proxy(engine, call).await,
        Some(Given::Set(_) | Given::Reset) => Err(Failure::invalid(
            "proxy/<service> sends GET alone; another method stands in the path, such as \
             proxy/<service>/POST. Nothing was sent",
        )
        .into()),
    }
}

pub(super) fn fields() -> [Field; 9] {
    [
        Field::new("service", FieldType::Str, "The service's name."),
        Field::new(
            "method",
            FieldType::Str,
            "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS. Stands in the path; without it, GET.",
        ),
        Field::new(
            "path",
            FieldType::Str,
            "Below base_url, beginning with '/'. No host, no query.",
        )
        .default("base_url itself"),
        Field::new(
            "query",
            FieldType::Json,
            "An object of parameters, not yet encoded; a list value repeats the parameter.",
        ),
        Field::new("headers", FieldType::Pairs, "Request headers. Never credentials."),
        Field::new("json", FieldType::Json, "A JSON body: an object, its text, or pieces of it."),
        Field::new("form", FieldType::Pairs, "Form fields."),
        Field::new("body", FieldType::Text, "A text body, or pieces of it."),
        Field::new("body_base64", FieldType::Text, "A binary body, or pieces of it."),
    ]
}
