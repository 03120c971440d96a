//! `resources/<service>`: one resource of an MCP server.

use serde_json::json;
use vault_sdk::{Effect, Field, FieldType, Operation, Path};

use super::call::{REVISION, SERVICE, of_service};
use super::handler;
use crate::engine::Engine;
use crate::mcp::call::read_resource;

const DESCRIPTION: &str = "\
Reads one resource of a service with type=mcp, by its URI, with the service's credential injected, and
answers with the result as the server gave it. The resource, or a template that gives its URI, must have
been approved, unless the service has trust=allow.";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("resources/:service", "Reads one resource of an MCP server.")
            .description(DESCRIPTION)
            .fields([
                SERVICE,
                Field::new("uri", FieldType::Str, "The resource's URI, or one made of a template."),
                REVISION,
            ])
            .operation(
                Operation::Update,
                Effect::CallsOut,
                of_service("Reads the resource.").example(json!({ "uri": "docs://start" })),
                handler(read_resource),
            ),
    ]
}
