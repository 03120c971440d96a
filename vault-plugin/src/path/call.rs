//! `call/<service>/<tool>`: one tool of an MCP server.

use serde_json::json;
use vault_sdk::{Effect, Field, FieldType, Operation, Path, Spec};

use super::{UNKNOWN_SERVICE, handler};
use crate::engine::Engine;
use crate::mcp::call::call_tool;

const DESCRIPTION: &str = "\
Calls one tool of a service with type=mcp, with its credential injected, and answers with the tool's
result as the server gave it. The tool must have been approved, unless the service has trust=allow. The
call is sent once. What the server asks its client for (sampling, elicitation, roots) is refused.

The tool stands in the path, so that a policy can tell tools apart:
    path \"mcp-proxy/call/linear/get_issue\" { capabilities = [\"update\"] }";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("call/:service/:tool", "Calls one tool of an MCP server.")
            .description(DESCRIPTION)
            .fields([
                SERVICE,
                Field::new(
                    "tool",
                    FieldType::Str,
                    "The tool's path segment, as the catalog says it.",
                ),
                Field::new(
                    "arguments",
                    FieldType::Json,
                    "The tool's arguments: an object, its text, or pieces of it.",
                ),
                REVISION,
            ])
            .operation(
                Operation::Update,
                Effect::CallsOut,
                spec("Calls the tool and answers with its result.", TOOL)
                    .refuses(404, "There is no such service, or it has no such tool.")
                    .example(json!({ "arguments": { "id": "LIN-7" } })),
                handler(call_tool),
            ),
    ]
}

const TOOL: &[Field] = &[Field::new("tool", FieldType::Str, "The tool's name at the server.")];

pub(super) const SERVICE: Field = Field::new("service", FieldType::Str, "The service's name.");

pub(super) const REVISION: Field = Field::new(
    "revision",
    FieldType::Str,
    "The revision of MCP that the agent's client speaks; for texts alone.",
)
.optional();

/// The answer that calls of tools, resources and prompts share.
pub(super) fn spec(summary: &'static str, more: &[Field]) -> Spec {
    let fields = [
        Field::new("result", FieldType::Text, "The result's JSON, if the server gave one.").optional(),
        Field::new(
            "rpc_error",
            FieldType::Json,
            "The server's error with code, message and data; an HTTP status as code, if it refused so.",
        )
        .optional(),
        Field::new("truncated", FieldType::Bool, "Whether the result was cut."),
        Field::new("redacted", FieldType::Int, "How often the credential, or the name of the session, was taken out."),
        Field::new("duration_ms", FieldType::Int, "How long the call took."),
        Field::new("request_id", FieldType::Str, "The request's id, as in the audit log."),
        Field::new("rule", FieldType::Str, "The rule that allowed it; empty without rules."),
        Field::new("catalog_revision", FieldType::Str, "Differs when the catalog has changed."),
        Field::new("protocol", FieldType::Str, "The revision of MCP that the server speaks."),
        refused_credential(),
    ];
    Spec::new(summary)
        .data("What the server answered.", fields.into_iter().chain(more.iter().cloned()))
        .refuses(424, "The server failed; the code says whether anything was sent.")
}

/// The credential that an upstream refused, in the answer of whatever calls it.
pub(super) fn refused_credential() -> Field {
    let since = Field::new(
        "failing_since",
        FieldType::Str,
        "Since when it has been refused, if that is no accident (credential_failing).",
    );
    Field::new("refused_credential", FieldType::Json, "The credential, with HTTP 401 alone.")
        .of([
            Field::new("name", FieldType::Str, "Its name."),
            Field::new("version", FieldType::Int, "The version that was sent."),
            Field::new("stored", FieldType::Str, "When that version was stored."),
            since.optional(),
        ])
        .optional()
}

/// For the paths that need no more.
pub(super) fn of_service(summary: &'static str) -> Spec {
    spec(summary, &[]).refuses(404, UNKNOWN_SERVICE)
}
