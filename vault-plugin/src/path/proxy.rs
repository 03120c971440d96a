//! `proxy/<service>/<METHOD>`: one upstream request.

use std::sync::Arc;

use vault_sdk::{Call, Effect, Field, FieldType, Given, Operation, Path, Response};

use super::handler;
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
            .operation(Operation::Update, Effect::CallsOut, SUMMARY, handler(proxy)),
        Path::new("proxy/:service", "Performs one upstream GET request.")
            .description(DESCRIPTION)
            .fields(fields())
            .operation(Operation::Update, Effect::CallsOut, SUMMARY, handler(get)),
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
