//! `prompts/<service>/<prompt>`: one prompt of an MCP server.

use serde_json::json;
use vault_sdk::{Effect, Field, FieldType, Operation, Path};

use super::call::{REVISION, SERVICE, of_service};
use super::handler;
use crate::engine::Engine;
use crate::mcp::call::get_prompt;

const DESCRIPTION: &str = "\
Gets one prompt of a service with type=mcp, with the service's credential injected, and answers with the
result as the server gave it.";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("prompts/:service/:prompt", "Gets one prompt of an MCP server.")
            .description(DESCRIPTION)
            .fields([
                SERVICE,
                Field::new(
                    "prompt",
                    FieldType::Str,
                    "The prompt's path segment, as the catalog says it.",
                ),
                Field::new("arguments", FieldType::Json, "The prompt's arguments: texts by name."),
                REVISION,
            ])
            .operation(
                Operation::Update,
                Effect::CallsOut,
                of_service("Gets the prompt.").example(json!({ "arguments": { "topic": "x" } })),
                handler(get_prompt),
            ),
    ]
}
