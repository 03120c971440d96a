//! `health`: how the services fare, from memory.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_sdk::{Call, Effect, Operation, Path, Response};

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
                "Tells the health of every service.",
                handler(read),
            ),
    ]
}

async fn read(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let storage = call.storage.as_ref();
    let mut services = Map::new();
    for (key, entry) in engine.catalog(storage).await?.iter() {
        let in_flight = Name::parse(key).map_or(0, |name| engine.in_flight(&name));
        services.insert(key.clone(), shown(&engine.health().of(&entry.id), in_flight));
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
        "failing_since": time(health.credential_failing_since().or(health.failing_since)),
        "in_flight": in_flight,
    })
}
