//! `explain/<service>`: what a call would do, without doing it.

use serde_json::json;
use vault_sdk::{Effect, Field, FieldType, Operation, Path, Spec};

use super::{fields, handler, proxy};
use crate::engine::Engine;
use crate::proxy::explain::explain;

const DESCRIPTION: &str = "\
Takes what proxy/<service> takes, with the method in the body, and goes through the same steps up to
sending: the canonical URL, the rule, the credential with its version and place, the class of the
upstream's address, and the verdict. Of a service with type=mcp it takes the tool. Nothing is sent to
the upstream.";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("explain/:service", "Dry run of one call.")
            .description(DESCRIPTION)
            .fields(proxy::fields())
            .fields([Field::new(
                "tool",
                FieldType::Str,
                "With type=mcp: a tool's path segment, in the place of all else.",
            )])
            .operation(
                Operation::Update,
                Effect::Pure,
                Spec::new("Tells what a call would send, or what would refuse it.")
                    .data("What would be sent, as far as it comes.", explained())
                    .example(json!({ "method": "GET", "path": "/repos/rust-lang/rust/issues" })),
                handler(explain),
            ),
    ]
}

fn explained() -> Vec<Field> {
    let mut credential = vec![
        Field::new("name", FieldType::Str, "Its name."),
        Field::new("version", FieldType::Int, "The version that would be sent."),
        Field::new("auth", FieldType::Str, "How it would be sent."),
    ];
    credential.extend(fields::auth_parameters());
    vec![
        Field::new("verdict", FieldType::Str, "allowed or refused."),
        Field::new("code", FieldType::Str, "The error's code.").optional(),
        Field::new("message", FieldType::Str, "What refuses it, and what to do.").optional(),
        Field::new("tool", FieldType::Str, "The tool's name at the server.").optional(),
        Field::new("method", FieldType::Str, "The method.").optional(),
        Field::new("path", FieldType::Str, "The canonical path, which rules are about.").optional(),
        Field::new("url", FieldType::Str, "The whole URL.").optional(),
        Field::new("rule", FieldType::Str, "The rule that matched; empty without rules.")
            .optional(),
        Field::new("credential", FieldType::Json, "The credential.").of(credential).optional(),
        Field::new("address_class", FieldType::List, "What kinds of address it has.").optional(),
        Field::new("request_id", FieldType::Str, "The request's id, as in the audit log."),
    ]
}
