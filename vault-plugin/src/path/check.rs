//! `check/<service>`: does it work, and if not, what doesn't.

use vault_sdk::{Effect, Field, FieldType, Operation, Path, Spec};

use super::{UNKNOWN_SERVICE, handler};
use crate::engine::Engine;
use crate::proxy::check::check;

const DESCRIPTION: &str = "\
Sends the service's probe (probe_method, probe_path) under its rules and tells how far it came:
definition (whether config still allows it), rules, stored credential, DNS, address, TCP, TLS, the
credential's acceptance, the upstream's answer. Without probe_path it connects, up to the end of TLS,
and says what wasn't tested. An MCP server (type=mcp) is greeted instead. No body is given back. A certificate that isn't trusted is shown by its
fingerprint, with the command that pins it. A result is shared for 10 seconds.";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("check/:service", "Tests one service, stage by stage.")
            .description(DESCRIPTION)
            .fields([Field::new("service", FieldType::Str, "The service's name.")])
            .operation(
                Operation::Update,
                Effect::CallsOut,
                Spec::new("Probes the service and tells what works.")
                    .data("How far it came.", report())
                    .refuses(404, UNKNOWN_SERVICE),
                handler(check),
            ),
    ]
}

fn report() -> [Field; 10] {
    [
        Field::new("verdict", FieldType::Str, "ok or failed."),
        Field::new("passed", FieldType::List, "The stages that were passed."),
        Field::new("not_tested", FieldType::List, "The stages that weren't reached."),
        Field::new("stage", FieldType::Str, "Where it failed.").optional(),
        Field::new("code", FieldType::Str, "The error's code.").optional(),
        Field::new("message", FieldType::Str, "What happened, and what to do.").optional(),
        Field::new("status", FieldType::Int, "What the upstream answered to the probe.").optional(),
        Field::new("protocol", FieldType::Str, "The revision of MCP that the server speaks.")
            .optional(),
        Field::new(
            "certificate_sha256",
            FieldType::Str,
            "The certificate presented, where it isn't trusted.",
        )
        .optional(),
        Field::new("duration_ms", FieldType::Int, "How long it took, if it set out at all.")
            .optional(),
    ]
}
