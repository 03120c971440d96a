//! `health`: how the services fare, from memory.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_sdk::{Call, Effect, Field, FieldType, Operation, Path, Response, Spec};

use super::handler;
use crate::engine::{Engine, Health};
use crate::error::Error;
use crate::name::Name;
use crate::storage::rfc3339;

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("health", "How the services fare, from this node's memory since its start.")
            .description(
                "Per service: state (ok, failing, credential_failing, or unknown before the first \
                 call), the last success, the last failure with its code, the last refusal of the \
                 credential, since when it fails, and the calls in flight.",
            )
            .operation(
                Operation::Read,
                Effect::Pure,
                Spec::new("Tells the health of every service.").data("Their health.", fields()),
                handler(read),
            ),
    ]
}

fn fields() -> [Field; 2] {
    let text = |name, help| Field::new(name, FieldType::Str, help).optional();
    let service = [
        Field::new("state", FieldType::Str, "ok, failing, credential_failing or unknown."),
        text("last_success", "When a call was last answered."),
        text("last_failure", "When a call last failed."),
        text("last_failure_code", "The code of that failure."),
        text("last_credential_refusal", "When the upstream last refused the credential."),
        text("failing_since", "Since when it fails."),
        Field::new("in_flight", FieldType::Int, "Calls under way."),
    ];
    [
        Field::new("paused", FieldType::Bool, "Whether the mount refuses every call."),
        Field::new("services", FieldType::Pairs, "The services, by name.").of(service),
    ]
}

async fn read(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let storage = call.storage.as_ref();
    let mut services = Map::new();
    for (key, entry) in engine.catalog(storage).await?.iter() {
        let in_flight = Name::parse(key).map_or(0, |name| engine.in_flight(&name));
        let health = engine.health(storage, key, entry).await?;
        services.insert(key.clone(), shown(&health, in_flight));
    }
    let mount = engine.mount(storage).await?;
    Response::data(json!({ "paused": mount.entry.paused, "services": services }))
        .map_err(|error| Error::Internal(error.to_string()))
}

fn shown(health: &Health, in_flight: usize) -> Value {
    let time = |seconds: Option<u64>| seconds.map(rfc3339);
    json!({
        "state": health.state(),
        "last_success": time(health.last_success),
        "last_failure": time(health.last_failure),
        "last_failure_code": health.failure.map(crate::error::Code::as_str),
        "last_credential_refusal": time(health.last_refusal),
        "failing_since": time(health.credential_failing_since.or(health.failing_since)),
        "in_flight": in_flight,
    })
}
