//! `services/`: definitions, with the short way to store their credential.

mod declared;

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_sdk::{Call, Effect, Field, FieldType, Fields, Operation, Path, Response, Spec};

use self::declared::{counted, detail, settings, written};
use super::{
    UNKNOWN_SERVICE, cas, fields, handler, material, name, page, set, set_count, set_or_default,
    set_seconds,
};
use crate::engine::{Engine, ServiceWrite, author, in_force};
use crate::error::{Error, Failure};
use crate::name::Name;
use crate::proxy::placement::PARAMETERS;
use crate::storage::{self, Definition, SERVICES, ServiceEntry, rfc3339};

const DESCRIPTION: &str = "\
A service says where calls go and how the credential is sent. The short way stores both:
    vault write mcp-proxy/services/github base_url=https://api.github.com auth=bearer token=-
The stored secret is bound to what the definition says in that moment: origin, auth and TLS trust
can't be changed without writing the secret again.

A write changes the fields given and keeps the others; an empty value goes back to the default. What
is read can be written back. No read gives the secret.";

pub(super) fn paths() -> Vec<Path<Engine>> {
    vec![
        Path::new("services", "Lists services, and creates one by its name in the body.")
            .description(DESCRIPTION)
            .fields(settings())
            .fields(written())
            .fields(counted())
            .exists(handler(exists))
            .operation(
                Operation::List,
                Effect::Pure,
                Spec::new("Lists names with non-secret detail.")
                    .query([fields::AFTER, fields::LIMIT])
                    .list(detail()),
                handler(list),
            )
            .write(
                Effect::MayWrite,
                written_as("Creates a service that doesn't exist yet.").example(json!({
                    "name": "github", "base_url": "https://api.github.com", "auth": "bearer",
                    "token": "…",
                })),
                handler(create),
            ),
        Path::new("services/:name", "One service: where calls go, and how the credential is sent.")
            .description(DESCRIPTION)
            .fields(settings())
            .fields(written())
            .fields(counted())
            .exists(handler(exists))
            .operation(
                Operation::Read,
                Effect::Pure,
                Spec::new("Reads the definition, never the secret.")
                    .data("The definition.", settings().into_iter().chain(counted()))
                    .empty("There is no such service."),
                handler(read),
            )
            .write(
                Effect::MayWrite,
                written_as("Writes the fields given.").example(json!({
                    "base_url": "https://api.github.com", "auth": "bearer", "token": "…",
                    "rules": ["allow GET /repos/**"],
                })),
                handler(write),
            )
            .operation(
                Operation::Patch,
                Effect::MayWrite,
                written_as("Writes the fields given, if it exists.")
                    .refuses(404, UNKNOWN_SERVICE)
                    .example(json!({ "timeout": "10s", "custom_metadata": { "team": null } })),
                handler(write),
            )
            .operation(
                Operation::Delete,
                Effect::MayWrite,
                Spec::new("Deletes it with its own credential.")
                    .query([fields::CAS])
                    .empty("It isn't there any more."),
                handler(delete),
            ),
    ]
}

fn written_as(summary: &'static str) -> Spec {
    let versions = [
        Field::new("version", FieldType::Int, "The service's version, for cas."),
        Field::new(
            "credential_version",
            FieldType::Int,
            "The version of its own credential, if this write made one.",
        )
        .optional(),
    ];
    Spec::new(summary).data("Written.", versions)
}

async fn load(call: &Call, name: &Name) -> Result<Option<ServiceEntry>, Error> {
    Ok(storage::load(call.storage.as_ref(), &format!("{SERVICES}{name}")).await?)
}

async fn exists(_engine: Arc<Engine>, call: Call) -> Result<bool, Error> {
    let Ok(name) = name(&call) else { return Ok(false) };
    Ok(load(&call, &name).await?.is_some())
}

async fn list(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let keys = page(call.storage.list(SERVICES).await?, &mut call.fields);
    let mut detail = Map::new();
    for key in &keys {
        let Ok(name) = Name::parse(key) else { continue };
        if let Some(entry) = load(&call, &name).await? {
            let definition = &entry.definition;
            detail.insert(
                key.clone(),
                json!({
                    "type": definition.service_type.as_deref().unwrap_or("http"),
                    "base_url": definition.base_url,
                    "auth": definition.auth.as_deref().unwrap_or("none"),
                    "description": definition.description.clone().unwrap_or_default(),
                    "enabled": definition.enabled.unwrap_or(true),
                    "health": engine.health(call.storage.as_ref(), key, &entry).await?.state(),
                }),
            );
        }
    }
    Ok(Response::list(keys, detail))
}

async fn read(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let name = name(&call)?;
    let Some(mut entry) = load(&call, &name).await? else { return Ok(Response::empty()) };
    let mount = engine.mount(call.storage.as_ref()).await?;
    entry.definition = in_force(&entry.definition, &mount.ceilings);
    Response::data(shown(&name, &entry)).map_err(|error| Error::Internal(error.to_string()))
}

/// A definition with its defaults, as it is read: what stands here can be written back.
fn shown(name: &Name, entry: &ServiceEntry) -> Value {
    let definition = &entry.definition;
    let own = entry.own.as_ref().map(|_| name.to_string());
    let mut shown = json!({
        "name": name.as_str(),
        "type": definition.service_type,
        "base_url": definition.base_url,
        "auth": definition.auth,
        "credential": definition.credential.clone().or(own).unwrap_or_default(),
        "description": definition.description.clone().unwrap_or_default(),
        "usage": definition.usage.clone().unwrap_or_default(),
        "rules": definition.rules,
        "safe_methods": definition.safe_methods,
        "headers": definition.headers,
        "allowed_request_headers": definition.allowed_request_headers,
        "allowed_response_headers": definition.allowed_response_headers,
        "allow_encoded_slash": definition.allow_encoded_slash,
        "allow_path_params": definition.allow_path_params,
        "timeout": definition.timeout,
        "max_request_bytes": definition.max_request_bytes,
        "max_response_bytes": definition.max_response_bytes,
        "max_in_flight": definition.max_in_flight,
        "ca_cert": definition.ca_cert.clone().unwrap_or_default(),
        "tls_server_name": definition.tls_server_name.clone().unwrap_or_default(),
        "tls_pin_sha256": definition.tls_pin_sha256.clone().unwrap_or_default(),
        "address": definition.address.clone().unwrap_or_default(),
        "upstream_cidrs": definition.upstream_cidrs,
        "danger_allow_plaintext": definition.danger_allow_plaintext,
        "danger_insecure_tls": definition.danger_insecure_tls,
        "probe_method": definition.probe_method,
        "probe_path": definition.probe_path.clone().unwrap_or_default(),
        "probe_status": definition.probe_status,
        "send_request_id": definition.send_request_id,
        "custom_metadata": definition.custom_metadata,
        "enabled": definition.enabled,
        "version": entry.version,
        "created_time": rfc3339(entry.created),
        "updated_time": rfc3339(entry.updated),
    });
    if let Some(shown) = shown.as_object_mut() {
        for (name, value) in &definition.auth_params {
            shown.insert(name.clone(), value.clone().into());
        }
        if let Some(trust) = &definition.trust {
            shown.insert("trust".into(), trust.clone().into());
        }
        if let Some(own) = &entry.own {
            shown.insert("credential_version".into(), own.version.into());
        }
    }
    shown
}

async fn create(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    put(&engine, call, true).await
}

async fn write(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    put(&engine, call, false).await
}

async fn put(engine: &Engine, mut call: Call, create_only: bool) -> Result<Response, Error> {
    let name = name(&call)?;
    let fields = &mut call.fields;
    let cas = cas(fields)?;
    let (material, mut warnings) = material(fields)?;
    let write = ServiceWrite {
        name,
        cas,
        create_only: create_only || call.operation == Operation::Create,
        update_only: call.operation == Operation::Patch,
        material,
        author: author(&call.caller),
    };
    let written = engine
        .write_service(call.storage.as_ref(), write, |definition| merge(definition, fields))
        .await?;
    warnings.extend(written.warnings);
    let mut data = json!({ "version": written.version });
    if let (Some(version), Some(data)) = (written.credential_version, data.as_object_mut()) {
        data.insert("credential_version".into(), version.into());
    }
    Response::data(data)
        .map(|response| response.warn_all(warnings))
        .map_err(|error| Error::Internal(error.to_string()))
}

/// Changes the fields given and keeps the others.
fn merge(definition: &mut Definition, fields: &mut Fields) -> Result<(), Failure> {
    set(&mut definition.service_type, fields.str("type"));
    set(&mut definition.trust, fields.str("trust"));
    set_or_default(&mut definition.base_url, fields.str("base_url"));
    set(&mut definition.auth, fields.str("auth"));
    auth_parameters(definition, fields);
    set(&mut definition.credential, fields.str("credential"));
    set(&mut definition.description, fields.str("description"));
    set(&mut definition.usage, fields.str("usage"));
    set_or_default(&mut definition.rules, fields.list("rules"));
    set(&mut definition.safe_methods, fields.list("safe_methods"));
    set_or_default(&mut definition.allowed_request_headers, fields.list("allowed_request_headers"));
    if let Some(given) = fields.pairs_over("headers", definition.headers.clone()) {
        definition.headers = given.value().unwrap_or_default().into_iter().collect();
    }
    set_or_default(
        &mut definition.allowed_response_headers,
        fields.list("allowed_response_headers"),
    );
    set_or_default(&mut definition.allow_encoded_slash, fields.bool("allow_encoded_slash"));
    set_or_default(&mut definition.allow_path_params, fields.bool("allow_path_params"));
    set_seconds(&mut definition.timeout, "timeout", fields.duration("timeout"))?;
    for (target, field) in [
        (&mut definition.max_request_bytes, "max_request_bytes"),
        (&mut definition.max_response_bytes, "max_response_bytes"),
        (&mut definition.max_in_flight, "max_in_flight"),
    ] {
        set_count(target, field, fields.int(field))?;
    }
    set(&mut definition.ca_cert, fields.str("ca_cert"));
    set(&mut definition.tls_server_name, fields.str("tls_server_name"));
    set(&mut definition.tls_pin_sha256, fields.str("tls_pin_sha256"));
    set(&mut definition.address, fields.str("address"));
    set_or_default(&mut definition.upstream_cidrs, fields.list("upstream_cidrs"));
    set_or_default(&mut definition.danger_allow_plaintext, fields.bool("danger_allow_plaintext"));
    set_or_default(&mut definition.danger_insecure_tls, fields.bool("danger_insecure_tls"));
    set(&mut definition.probe_method, fields.str("probe_method"));
    set(&mut definition.probe_path, fields.str("probe_path"));
    if let Some(given) = fields.ints("probe_status") {
        let statuses = given.value().unwrap_or_default();
        definition.probe_status =
            statuses.into_iter().map(u16::try_from).collect::<Result<_, _>>().map_err(|_| {
                Failure::invalid("probe_status wants statuses, such as probe_status=200,204")
            })?;
    }
    set(&mut definition.send_request_id, fields.bool("send_request_id"));
    let metadata = definition.custom_metadata.clone();
    if let Some(given) = fields.pairs_over("custom_metadata", metadata) {
        definition.custom_metadata = given.value().unwrap_or_default().into_iter().collect();
    }
    set(&mut definition.enabled, fields.bool("enabled"));
    Ok(())
}

/// Changes the parameters of the auth kind that were given.
pub(super) fn auth_parameters(definition: &mut Definition, fields: &mut Fields) {
    for parameter in PARAMETERS {
        match fields.str(parameter).map(vault_sdk::Given::value) {
            None => {}
            Some(None) => {
                definition.auth_params.remove(parameter);
            }
            Some(Some(value)) => {
                definition.auth_params.insert(parameter.to_owned(), value);
            }
        }
    }
}

async fn delete(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let cas = cas(&mut call.fields)?;
    engine.delete_service(call.storage.as_ref(), &name(&call)?, cas).await?;
    Ok(Response::empty())
}
