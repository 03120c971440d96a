//! `proxy/<service>/<METHOD>`: one upstream request.

use vault_sdk::{Effect, Field, FieldType, Operation, Path};

use super::reply;
use crate::engine::Engine;
use crate::proxy::proxy;

const DESCRIPTION: &str = "\
Performs one request below the service's base_url, with its credential injected, and answers with
the upstream's status, headers and body. The upstream's status is data: an upstream's 401 is not
this server's. The request is sent once; redirects aren't followed.

The method stands in the path, so that a policy can tell reading from changing:
    path \"mcp-proxy/proxy/github/GET\" { capabilities = [\"update\"] }";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        proxy_path("proxy/:service/:method", "Performs one upstream request."),
        proxy_path("proxy/:service", "Performs one upstream GET request."),
    ]
}

fn proxy_path(pattern: &'static str, synopsis: &'static str) -> Path<Engine> {
    Path::new(pattern, synopsis).description(DESCRIPTION).fields(fields()).operation(
        Operation::Update,
        Effect::CallsOut,
        "Sends the request and answers with what the upstream answered.",
        |engine, call| async move {
            let id = call.id.clone();
            reply(&id, proxy(&engine, call).await)
        },
    )
}

fn fields() -> [Field; 9] {
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
