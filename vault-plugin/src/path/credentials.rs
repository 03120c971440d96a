//! `credentials/`: shared credentials, for those who enter secrets without defining services.

use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_sdk::{Call, Effect, Field, FieldType, Fields, Operation, Path, Response, Spec};

use super::{cas, fields, handler, material, name, page, set, set_or_default};
use crate::engine::{CredentialWrite, Engine, author};
use crate::error::{Error, Failure};
use crate::proxy::placement::PARAMETERS;
use crate::storage::{CREDENTIALS, CredentialEntry, Definition, Owner, VersionEntry, rfc3339};

const DESCRIPTION: &str = "\
A shared credential serves every service that matches its binding in each part: origin, auth with its
parameters, and TLS trust. The binding is written with the secret and never changes; a new secret
keeps it, unless the write says origin and auth again. A service's own credential appears here too,
and is written at services/<name>.";

pub(super) fn paths() -> Vec<Path<Engine>> {
    let mut paths = vec![
        Path::new("credentials", "Lists credentials.").operation(
            Operation::List,
            Effect::Pure,
            Spec::new("Lists names with non-secret detail.")
                .query([fields::AFTER, fields::LIMIT])
                .list([CURRENT, FAILING_SINCE]),
            handler(list),
        ),
        Path::new("credentials/:name", "A shared credential: written, never read back.")
            .description(DESCRIPTION)
            .fields([fields::NAME, fields::TOKEN, fields::USERNAME, fields::PASSWORD])
            .fields([fields::CA_CERT, fields::CAS, fields::OPTIONS])
            .fields(bound())
            .fields(kept())
            .exists(handler(exists))
            .operation(
                Operation::Read,
                Effect::Pure,
                Spec::new("Reads versions and binding, never the secret.")
                    .data(
                        "What there is, but for the secret.",
                        kept().into_iter().chain(bound().map(Field::optional)),
                    )
                    .empty("There is no such credential."),
                handler(read),
            )
            .write(
                Effect::MayWrite,
                Spec::new("Stores a secret as a new version, with its binding.")
                    .data("Written.", [VERSION])
                    .example(json!({
                        "origin": "https://api.github.com", "auth": "bearer", "token": "…",
                    })),
                handler(write),
            )
            .operation(
                Operation::Delete,
                Effect::MayWrite,
                Spec::new("Deletes all versions. Refused while a service names it.")
                    .query([fields::CAS])
                    .empty("It isn't there any more."),
                handler(delete),
            ),
    ];
    paths.extend(version_paths());
    paths
}

const VERSION: Field = Field::new("version", FieldType::Int, "The version there is now, for cas.");

/// What a version is bound to, as it is written and read.
fn bound() -> [Field; 12] {
    [
        Field::new(
            "origin",
            FieldType::Str,
            "Where the secret may go: scheme, host and port, such as https://api.github.com.",
        ),
        fields::AUTH,
        fields::HEADER_NAME,
        fields::PREFIX,
        fields::PARAM_NAME,
        fields::COOKIE_NAME,
        Field::new(
            "ca_sha256",
            FieldType::Str,
            "SHA-256 of the certificates of ca_cert, 64 hex digits: instead of them, as it is read.",
        ),
        fields::TLS_SERVER_NAME,
        fields::TLS_PIN,
        fields::ADDRESS,
        Field::new(
            "danger_allow_plaintext",
            FieldType::Bool,
            "Allow an http:// origin. Needs allow_danger in config.",
        )
        .default("false"),
        fields::INSECURE_TLS,
    ]
}

/// What is known of a credential, beside its binding.
fn kept() -> [Field; 7] {
    [
        Field::new("owner", FieldType::Str, "operator, or service for a service's own.")
            .read_only(),
        Field::new("created_time", FieldType::Str, "When it was made.").read_only(),
        CURRENT,
        Field::new("last_used_time", FieldType::Str, "When a call last sent it.")
            .optional()
            .read_only(),
        Field::new("last_refused_time", FieldType::Str, "When an upstream last refused it.")
            .optional()
            .read_only(),
        FAILING_SINCE,
        shown_version(),
    ]
}

const CURRENT: Field =
    Field::new("current_version", FieldType::Int, "The version in use.").read_only();

const FAILING_SINCE: Field = Field::new(
    "failing_since",
    FieldType::Str,
    "Since when upstreams have refused the current version, three times or more over a minute.",
)
.optional()
.read_only();

fn shown_version() -> Field {
    Field::new("versions", FieldType::Pairs, "The versions, by number.").read_only().of([
        Field::new("created_time", FieldType::Str, "When it was written."),
        Field::new("created_by", FieldType::Str, "Who wrote it."),
        Field::new("source", FieldType::Str, "How it came about."),
        Field::new("destroyed", FieldType::Bool, "Whether its secret is gone."),
    ])
}

/// Versions, beside the credential itself.
fn version_paths() -> [Path<Engine>; 3] {
    [
        Path::new(
            "credentials/:name/versions",
            "The versions of a credential, never their secrets.",
        )
        .fields([fields::NAME])
        .operation(
            Operation::Read,
            Effect::Pure,
            Spec::new("Lists versions with who wrote them, when and how.")
                .data("The versions.", [CURRENT, shown_version()])
                .empty("There is no such credential."),
            handler(versions),
        ),
        Path::new("credentials/:name/rollback", "Goes back to an earlier version.")
            .description(
                "Makes a new version with the earlier one's secret and binding. A service's own \
                 credential goes back only as long as the service still matches that binding.",
            )
            .fields([
                fields::NAME,
                Field::new("version", FieldType::Int, "The version to go back to."),
                fields::CAS,
                fields::OPTIONS,
            ])
            .operation(
                Operation::Update,
                Effect::MayWrite,
                Spec::new("Makes a new version of an old one.")
                    .data("Made.", [Field::new("version", FieldType::Int, "The new version.")])
                    .example(json!({ "version": 3 })),
                handler(rollback),
            ),
        Path::new("credentials/:name/destroy", "Destroys old versions for good.")
            .fields([
                fields::NAME,
                Field::new("versions", FieldType::Ints, "The versions to destroy, such as 1,2."),
                fields::CAS,
                fields::OPTIONS,
            ])
            .operation(
                Operation::Update,
                Effect::MayWrite,
                Spec::new("Deletes the secrets of old versions. The version in use is refused.")
                    .empty("Destroyed.")
                    .example(json!({ "versions": [1, 2] })),
                handler(destroy),
            ),
    ]
}

async fn list(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let mut keys = Vec::new();
    let mut shown = Map::new();
    for key in call.storage.list(CREDENTIALS).await? {
        if let Ok(name) = crate::name::Name::parse(&key)
            && let Some(view) = engine.credential(call.storage.as_ref(), &name).await?
        {
            let detail = json!({
                "current_version": view.entry.current,
                "failing_since": view.failing_since.map(rfc3339),
            });
            shown.insert(key.clone(), detail);
            keys.push(key);
        }
    }
    let keys = page(keys, &mut call.fields);
    let detail = keys.iter().filter_map(|key| shown.remove_entry(key)).collect();
    Ok(Response::list(keys, detail))
}

async fn exists(engine: Arc<Engine>, call: Call) -> Result<bool, Error> {
    let Ok(name) = name(&call) else { return Ok(false) };
    Ok(engine.credential(call.storage.as_ref(), &name).await?.is_some())
}

async fn read(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let Some(view) = engine.credential(call.storage.as_ref(), &name(&call)?).await? else {
        return Ok(Response::empty());
    };
    let versions = shown_versions(&view.entry);
    let usage = engine.usage(call.storage.as_ref(), &view.entry.id).await?;
    let mut data = json!({
        "owner": match view.entry.owner {
            Owner::Service => "service",
            Owner::Operator => "operator",
        },
        "created_time": rfc3339(view.entry.created),
        "current_version": view.entry.current,
        "last_used_time": usage.last_used.map(rfc3339),
        "last_refused_time": usage.last_refused.map(rfc3339),
        "failing_since": view.failing_since.map(rfc3339),
        "versions": versions,
    });
    if let (Some(binding), Some(data)) = (view.binding, data.as_object_mut()) {
        data.insert("origin".into(), binding.origin.into());
        data.insert("auth".into(), binding.auth.into());
        data.extend(binding.auth_params.into_iter().map(|(name, value)| (name, value.into())));
        data.insert("ca_sha256".into(), binding.ca_sha256.into());
        data.insert("tls_server_name".into(), binding.tls_server_name.into());
        data.insert("tls_pin_sha256".into(), binding.tls_pin_sha256.into());
        data.insert("danger_insecure_tls".into(), binding.insecure_tls.into());
        data.insert("danger_allow_plaintext".into(), binding.allow_plaintext.into());
        data.insert("address".into(), binding.address.into());
    }
    Response::data(data).map_err(|error| Error::Internal(error.to_string()))
}

fn shown_versions(entry: &CredentialEntry) -> Map<String, Value> {
    let shown = |version: &VersionEntry| {
        json!({
            "created_time": rfc3339(version.created),
            "created_by": version.created_by,
            "source": version.source,
            "destroyed": version.destroyed,
        })
    };
    entry.versions.iter().map(|version| (version.version.to_string(), shown(version))).collect()
}

async fn versions(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let Some(view) = engine.credential(call.storage.as_ref(), &name(&call)?).await? else {
        return Ok(Response::empty());
    };
    Response::data(json!({
        "current_version": view.entry.current,
        "versions": shown_versions(&view.entry),
    }))
    .map_err(|error| Error::Internal(error.to_string()))
}

async fn rollback(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let name = name(&call)?;
    let version = call.fields.int("version").and_then(vault_sdk::Given::value);
    let version = version.and_then(|version| u64::try_from(version).ok()).ok_or_else(|| {
        Failure::invalid("version is missing: the one to go back to, such as version=3")
    })?;
    let cas = cas(&mut call.fields)?;
    let author = author(&call.caller);
    let made = engine.rollback(call.storage.as_ref(), &name, version, cas, author).await?;
    Response::data(json!({ "version": made })).map_err(|error| Error::Internal(error.to_string()))
}

async fn destroy(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let name = name(&call)?;
    let cas = cas(&mut call.fields)?;
    let given = call.fields.ints("versions").and_then(vault_sdk::Given::value).unwrap_or_default();
    let versions: Result<Vec<u64>, _> = given.into_iter().map(u64::try_from).collect();
    match versions {
        Ok(versions) if !versions.is_empty() => {
            engine.destroy(call.storage.as_ref(), &name, &versions, cas).await?;
            Ok(Response::empty())
        }
        Ok(_) | Err(_) => {
            Err(Failure::invalid("versions wants numbers, such as versions=1,2").into())
        }
    }
}

async fn write(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let name = name(&call)?;
    let fields = &mut call.fields;
    let cas = cas(fields)?;
    let (material, warnings) = material(fields)?;
    let mut ca_sha256 = None;
    set(&mut ca_sha256, fields.str("ca_sha256"));
    let binding = binding(fields, ca_sha256.is_some())?;
    let author = author(&call.caller);
    let write = CredentialWrite { name, cas, binding, ca_sha256, material, author };
    let written = engine.write_credential(call.storage.as_ref(), write).await?;
    Response::data(json!({ "version": written.version }))
        .map(|response| response.warn_all(warnings))
        .map_err(|error| Error::Internal(error.to_string()))
}

/// The binding's fields, as those of a definition that would match it; `None` when none was given.
fn binding(fields: &mut Fields, by_digest: bool) -> Result<Option<Definition>, Failure> {
    let parts = [
        "origin",
        "auth",
        "ca_cert",
        "tls_server_name",
        "tls_pin_sha256",
        "address",
        "danger_allow_plaintext",
        "danger_insecure_tls",
    ];
    if !by_digest && !parts.iter().chain(&PARAMETERS).any(|part| fields.has(part)) {
        return Ok(None);
    }
    let mut origin = None;
    set(&mut origin, fields.str("origin"));
    let mut definition = Definition::default();
    set(&mut definition.auth, fields.str("auth"));
    let (Some(origin), Some(_)) = (origin, &definition.auth) else {
        return Err(Failure::invalid(
            "a binding is written as a whole: give origin and auth, with their parameters. Nothing \
             was changed",
        ));
    };
    definition.base_url = origin;
    super::services::auth_parameters(&mut definition, fields);
    set(&mut definition.ca_cert, fields.str("ca_cert"));
    set(&mut definition.tls_server_name, fields.str("tls_server_name"));
    set(&mut definition.tls_pin_sha256, fields.str("tls_pin_sha256"));
    set(&mut definition.address, fields.str("address"));
    set_or_default(&mut definition.danger_allow_plaintext, fields.bool("danger_allow_plaintext"));
    set_or_default(&mut definition.danger_insecure_tls, fields.bool("danger_insecure_tls"));
    Ok(Some(definition))
}

async fn delete(engine: Arc<Engine>, mut call: Call) -> Result<Response, Error> {
    let cas = cas(&mut call.fields)?;
    engine.delete_credential(call.storage.as_ref(), &name(&call)?, cas).await?;
    Ok(Response::empty())
}
