//! `info`: what this engine is, for tools and bug reports.

use serde_json::json;
use vault_sdk::{Effect, Field, FieldType, Operation, Path, Response, Spec};

use crate::bounds;
use crate::engine::Engine;
use crate::error::Code;
use crate::proxy::canonical::MAX_TARGET_BYTES;
use crate::proxy::headers::MAX_HEADERS;
use crate::proxy::limits::BODY_BUDGET;
use crate::proxy::redact::MAX_SECRET_BYTES;
use crate::proxy::rules::MAX_RULES;
use crate::storage::CredentialEntry;

/// Counts up when a client must know of a change.
const API_VERSION: u32 = 1;

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![Path::new("info", "Name, version, error codes and limits of this engine.").operation(
        Operation::Read,
        Effect::Pure,
        Spec::new("Tells name, version, api_version, the codes that error texts begin with, and limits.")
            .data("What this engine is.", fields()),
        |_, _| async { info() },
    )]
}

fn fields() -> [Field; 6] {
    let int = |name, help| Field::new(name, FieldType::Int, help);
    let limits = [
        int("timeout", "Seconds of a call, where the service doesn't say."),
        int("max_timeout", "The most seconds that a service may say."),
        int("max_request_bytes", "The largest request body, where the service doesn't say."),
        int("max_request_bytes_ceiling", "The most that a service may say."),
        int("max_response_bytes", "The largest answer, where the service doesn't say."),
        int("max_response_bytes_ceiling", "The most that a service may say."),
        int("max_in_flight_per_service", "Calls at one time, where the service doesn't say."),
        int("max_in_flight_per_mount", "Calls at one time on a mount."),
        int("body_bytes_per_process", "All bodies in memory at one time."),
        int("max_wrapped_response_bytes", "The largest answer that is wrapped."),
        int("max_secret_bytes", "The longest secret."),
        int("credential_versions", "Versions kept of a credential."),
        int("max_rules", "Rules of a service."),
        int("max_request_headers", "Headers of a request."),
        int("max_target_bytes", "The longest path with its query."),
    ];
    [
        Field::new("name", FieldType::Str, "The engine's name."),
        Field::new("version", FieldType::Str, "The engine's version."),
        Field::new("build", FieldType::Str, "release or debug."),
        int("api_version", "Counts up when a client must know of a change."),
        Field::new("error_codes", FieldType::List, "Every code that an error text begins with."),
        Field::new("limits", FieldType::Json, "The limits in force.").of(limits),
    ]
}

fn info() -> Result<Response, vault_sdk::Error> {
    Response::data(json!({
        "name": "mcp-proxy",
        "version": env!("CARGO_PKG_VERSION"),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "api_version": API_VERSION,
        "error_codes": Code::ALL.map(Code::as_str),
        "limits": {
            "timeout": bounds::TIMEOUT,
            "max_timeout": bounds::MAX_TIMEOUT,
            "max_request_bytes": bounds::REQUEST,
            "max_request_bytes_ceiling": bounds::MAX_REQUEST,
            "max_response_bytes": bounds::RESPONSE,
            "max_response_bytes_ceiling": bounds::MAX_RESPONSE,
            "max_in_flight_per_service": bounds::IN_FLIGHT,
            "max_in_flight_per_mount": bounds::MAX_IN_FLIGHT,
            "body_bytes_per_process": BODY_BUDGET,
            "max_wrapped_response_bytes": bounds::WRAPPED,
            "max_secret_bytes": MAX_SECRET_BYTES,
            "credential_versions": CredentialEntry::MAX_VERSIONS,
            "max_rules": MAX_RULES,
            "max_request_headers": MAX_HEADERS,
            "max_target_bytes": MAX_TARGET_BYTES,
        },
    }))
}
