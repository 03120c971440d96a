//! `catalog`: what a bridge needs to offer services to an agent. Never credentials.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_sdk::{Call, Effect, Field, FieldType, Operation, Path, Response, Storage};

use super::handler;
use crate::bounds;
use crate::engine::Engine;
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::proxy::rules::Rules;
use crate::storage::{self, Definition, SERVICES, ServiceEntry, rfc3339};

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("catalog", "All services, as agents may know them.").operation(
            Operation::Read,
            Effect::Pure,
            "Tells the revision, and per service its name, description, base URL and health.",
            handler(all),
        ),
        Path::new("catalog/:service", "One service, with usage notes and limits.")
            .fields([Field::new("service", FieldType::Str, "The service's name.")])
            .operation(
                Operation::Read,
                Effect::Pure,
                "Tells what an agent needs to call the service.",
                handler(one),
            ),
    ]
}

async fn all(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let storage = call.storage.as_ref();
    let revision = engine.revision(storage).await?;
    let catalog = engine.catalog(storage).await?;
    let services: Vec<Value> =
        catalog.iter().map(|(name, entry)| Value::Object(overview(&engine, name, entry))).collect();
    data(json!({ "revision": revision.as_ref(), "services": services }))
}

async fn one(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let storage = call.storage.as_ref();
    let name = Name::parse(call.fields.text("service"))
        .map_err(|error| Failure::invalid(error.to_string()))?;
    let Some(entry) = load(storage, name.as_str()).await? else {
        return Err(Failure::new(
            Code::UnknownService,
            format!("there is no service named \"{name}\""),
        )
        .into());
    };
    let mut shown = overview(&engine, name.as_str(), &entry);
    let definition = &entry.definition;
    shown.insert("revision".into(), engine.revision(storage).await?.as_ref().into());
    shown.insert("usage".into(), definition.usage.clone().unwrap_or_default().into());
    shown.insert("safe_methods".into(), safe_methods(definition).into());
    shown.insert(
        "limits".into(),
        json!({
            "timeout_seconds": definition.timeout.unwrap_or(bounds::TIMEOUT),
            "max_request_bytes": definition.max_request_bytes.unwrap_or(bounds::REQUEST),
            "max_response_bytes": definition.max_response_bytes.unwrap_or(bounds::RESPONSE),
        }),
    );
    data(Value::Object(shown))
}

async fn load(storage: &dyn Storage, name: &str) -> Result<Option<ServiceEntry>, Error> {
    Ok(storage::load(storage, &format!("{SERVICES}{name}")).await?)
}

fn data(value: Value) -> Result<Response, Error> {
    Response::data(value).map_err(|error| Error::Internal(error.to_string()))
}

fn overview(engine: &Engine, name: &str, entry: &ServiceEntry) -> Map<String, Value> {
    let definition = &entry.definition;
    let health = engine.health().of(&entry.id);
    let mut state = Map::from_iter([("state".to_owned(), Value::from(health.state()))]);
    if let Some(since) = health.credential_failing_since() {
        // A bridge knows one word for what doesn't work, and the code for why.
        state.insert("state".into(), "failing".into());
        state.insert("since".into(), rfc3339(since).into());
        state.insert("code".into(), Code::CredentialRefused.as_str().into());
    } else if let (Some(since), Some(code)) = (health.failing_since, health.failure) {
        state.insert("since".into(), rfc3339(since).into());
        state.insert("code".into(), code.as_str().into());
    }
    Map::from_iter([
        ("name".to_owned(), Value::from(name)),
        ("description".to_owned(), definition.description.clone().unwrap_or_default().into()),
        ("base_url".to_owned(), definition.base_url.clone().into()),
        // Stored rules parse: they were checked when written.
        (
            "methods".to_owned(),
            json!(Rules::parse(&definition.rules).unwrap_or_default().methods()),
        ),
        ("rules".to_owned(), json!(definition.rules)),
        ("enabled".to_owned(), definition.enabled.unwrap_or(true).into()),
        ("health".to_owned(), Value::Object(state)),
    ])
}

/// The methods that change nothing, as the operator declared them.
pub(super) fn safe_methods(definition: &Definition) -> Vec<String> {
    definition
        .safe_methods
        .clone()
        .unwrap_or_else(|| ["GET", "HEAD", "OPTIONS"].map(str::to_owned).to_vec())
}
