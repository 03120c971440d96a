//! `catalog`: what a bridge needs to offer services to an agent. Never credentials.

mod offered;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_sdk::{Call, Effect, Field, FieldType, Operation, Path, Response, Spec, Storage};

use super::{UNKNOWN_SERVICE, handler, tools};
use crate::engine::{Engine, Health, in_force, is_mcp};
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::proxy::rules::Rules;
use crate::storage::{self, SERVICES, ServiceEntry, rfc3339};

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("catalog", "All services, as agents may know them.").operation(
            Operation::Read,
            Effect::Pure,
            Spec::new(
                "Tells the revision, and per service its name, description, base URL and health.",
            )
            .data(
                "The catalog.",
                [
                    REVISION,
                    Field::new("services", FieldType::List, "The services.")
                        .of(service().into_iter().chain(offered::counted())),
                ],
            ),
            handler(all),
        ),
        Path::new("catalog/:service", "One service, with usage notes and limits.")
            .fields([Field::new("service", FieldType::Str, "The service's name.")])
            .operation(
                Operation::Read,
                Effect::Pure,
                Spec::new("Tells what an agent needs to call the service.")
                    .data(
                        "The service.",
                        service().into_iter().chain(more()).chain(offered::declared()),
                    )
                    .refuses(404, UNKNOWN_SERVICE),
                handler(one),
            ),
    ]
}

const REVISION: Field =
    Field::new("revision", FieldType::Str, "Differs when the catalog has changed.");

fn service() -> Vec<Field> {
    let health = [
        Field::new("state", FieldType::Str, "ok, failing or unknown."),
        Field::new("since", FieldType::Str, "Since when it fails.").optional(),
        Field::new("code", FieldType::Str, "The code of the failure.").optional(),
    ];
    vec![
        Field::new("name", FieldType::Str, "The service's name."),
        Field::new("type", FieldType::Str, "http, or mcp for an MCP server."),
        Field::new("description", FieldType::Str, "One line about it."),
        Field::new("base_url", FieldType::Str, "Where its calls go."),
        Field::new("methods", FieldType::List, "The methods that its rules may allow; null: all.")
            .optional(),
        Field::new("rules", FieldType::Items, "What may be asked for."),
        Field::new("enabled", FieldType::Bool, "Whether it may be called."),
        Field::new("health", FieldType::Json, "How it fares.").of(health),
    ]
}

fn more() -> [Field; 4] {
    let limits = [
        Field::new("timeout_seconds", FieldType::Int, "For the whole call."),
        Field::new("max_request_bytes", FieldType::Int, "The largest request body."),
        Field::new("max_response_bytes", FieldType::Int, "The largest answer."),
    ];
    [
        REVISION,
        Field::new("usage", FieldType::Str, "Notes and example paths."),
        Field::new("safe_methods", FieldType::List, "The methods that change nothing."),
        Field::new("limits", FieldType::Json, "The limits in force.").of(limits),
    ]
}

async fn all(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let storage = call.storage.as_ref();
    let revision = engine.revision(storage).await?;
    let catalog = engine.catalog(storage).await?;
    let mut services = Vec::with_capacity(catalog.len());
    for (name, entry) in catalog.iter() {
        let health = engine.health(storage, name, entry).await?;
        let mut shown = overview(health, name, entry);
        if is_mcp(entry) {
            shown.extend(tools::counted(engine.count_tools(storage, entry).await?));
        }
        services.push(Value::Object(shown));
    }
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
    let mut shown =
        overview(engine.health(storage, name.as_str(), &entry).await?, name.as_str(), &entry);
    let mount = engine.mount(storage).await?;
    let definition = in_force(&entry.definition, &mount.ceilings);
    shown.insert("revision".into(), engine.revision(storage).await?.as_ref().into());
    shown.insert("usage".into(), definition.usage.unwrap_or_default().into());
    shown.insert("safe_methods".into(), definition.safe_methods.into());
    shown.insert(
        "limits".into(),
        json!({
            "timeout_seconds": definition.timeout,
            "max_request_bytes": definition.max_request_bytes,
            "max_response_bytes": definition.max_response_bytes,
        }),
    );
    if is_mcp(&entry) {
        engine.look_if_due(&call.storage, &name, &entry.id);
        shown.extend(offered::shown(&engine, storage, &entry).await?);
    }
    data(Value::Object(shown))
}

async fn load(storage: &dyn Storage, name: &str) -> Result<Option<ServiceEntry>, Error> {
    Ok(storage::load(storage, &format!("{SERVICES}{name}")).await?)
}

fn data(value: Value) -> Result<Response, Error> {
    Response::data(value).map_err(|error| Error::Internal(error.to_string()))
}

fn overview(health: Health, name: &str, entry: &ServiceEntry) -> Map<String, Value> {
    let definition = &entry.definition;
    let mut state = Map::from_iter([("state".to_owned(), Value::from(health.state()))]);
    if let Some(since) = health.credential_failing_since {
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
        ("type".to_owned(), if is_mcp(entry) { "mcp" } else { "http" }.into()),
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
