//! `check/<service>`: does it work, and if not, what doesn't.

use vault_sdk::{Effect, Field, FieldType, Operation, Path};

use super::handler;
use crate::engine::Engine;
use crate::proxy::check::check;

const DESCRIPTION: &str = "\
Sends the service's probe (probe_method, probe_path) under its rules and tells how far it came: rules,
stored credential, DNS, address, TCP, TLS, the credential's acceptance, the upstream's answer. Without
probe_path it connects, up to the end of TLS, and says what wasn't tested. No body is given back. A
certificate that isn't trusted is shown by its fingerprint, with the command that pins it. A result is
shared for 10 seconds.";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("check/:service", "Tests one service, stage by stage.")
            .description(DESCRIPTION)
            .fields([Field::new("service", FieldType::Str, "The service's name.")])
            .operation(
                Operation::Update,
                Effect::CallsOut,
                "Probes the service and tells what works.",
                handler(check),
            ),
    ]
}
