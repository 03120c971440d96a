//! The engine's paths, one file each.

mod call;
mod catalog;
mod check;
mod config;
mod credentials;
mod explain;
mod health;
mod info;
mod prompts;
mod proxy;
mod resources;
mod services;
mod tools;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::{Map, Value};
use vault_sdk::{Call, Error as SdkError, Fields, Given, Path};

use crate::engine::Engine;
use crate::error::{Error, Failure};
use crate::name::Name;
use crate::proxy::material::Material;
use crate::proxy::placement::{SECRET_FIELDS, USERNAME};
use crate::proxy::redact::MAX_SECRET_BYTES;

/// Every path.
pub(crate) fn all() -> Vec<Path<Engine>> {
    [
        info::paths(),
        config::paths(),
        services::paths(),
        credentials::paths(),
        proxy::paths(),
        call::paths(),
        resources::paths(),
        prompts::paths(),
        explain::paths(),
        check::paths(),
        health::paths(),
        catalog::paths(),
        tools::paths(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

type Handled<T> = Pin<Box<dyn Future<Output = Result<T, SdkError>> + Send>>;

/// Makes a handler as the SDK wants it of one that fails with our errors: the text of an error is
/// finished here, with the mount's real path and the request's id.
fn handler<F, Fut, T>(handle: F) -> impl Fn(Arc<Engine>, Call) -> Handled<T> + Clone
where
    F: Fn(Arc<Engine>, Call) -> Fut + Clone + Send + 'static,
    Fut: Future<Output = Result<T, Error>> + Send + 'static,
    T: 'static,
{
    move |engine, call| {
        let (mount_point, id) = (call.mount_point.clone(), call.id.clone());
        let handle = handle.clone();
        // Called within, or the future would hold its own twice.
        Box::pin(async move {
            handle(engine, call).await.map_err(|error| error.into_sdk(&mount_point, &id))
        })
    }
}

fn name(call: &Call) -> Result<Name, Failure> {
    Name::parse(call.fields.text("name")).map_err(|error| Failure::invalid(error.to_string()))
}

/// KV's check-and-set, in both of its spellings: `cas=3`, or `options={"cas":3}`.
fn cas(fields: &mut Fields) -> Result<Option<u64>, Failure> {
    let options = fields.str("options").and_then(Given::value);
    let nested = options.map(|text| in_options(&text)).transpose()?.flatten();
    let given = fields.int("cas").and_then(Given::value);
    if let (Some(given), Some(nested)) = (given, nested)
        && given != nested
    {
        return Err(Failure::invalid("cas and options name two versions. Give one of them"));
    }
    match given.or(nested) {
        None => Ok(None),
        Some(cas) => u64::try_from(cas)
            .map(Some)
            .map_err(|_| Failure::invalid("cas is a version, or 0 for \"must not exist\"")),
    }
}

fn in_options(text: &str) -> Result<Option<i64>, Failure> {
    let wanted = || Failure::invalid("options holds cas and nothing else: options='{\"cas\":3}'");
    let options: Map<String, Value> = serde_json::from_str(text).map_err(|_| wanted())?;
    let mut cas = None;
    for (name, value) in options {
        let number = match &value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.parse().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        cas = Some(number.filter(|_| name == "cas").ok_or_else(wanted)?);
    }
    Ok(cas)
}

/// The secret values as given, each less one line break at its end, which `token=@file` brings
/// along; with what the operator should know about them.
fn material(fields: &mut Fields) -> Result<(Material, Vec<String>), Failure> {
    let mut material = Material::default();
    let mut warnings = Vec::new();
    for field in SECRET_FIELDS {
        match fields.secret(field) {
            None => {}
            Some(Given::Reset) => {
                return Err(Failure::invalid(format!(
                    "{field} is empty. A secret is replaced by writing another, and deleted with its \
                     service or credential. Nothing was changed"
                )));
            }
            Some(Given::Set(secret)) => {
                material.insert(field, trimmed(field, &secret, &mut warnings)?)
            }
        }
    }
    Ok((material, warnings))
}

fn trimmed(
    field: &str,
    secret: &SecretString,
    warnings: &mut Vec<String>,
) -> Result<SecretString, Failure> {
    use secrecy::ExposeSecret as _;
    #[expect(clippy::disallowed_methods, reason = "no exit: from one wiped string into another")]
    let text = secret.expose_secret();
    let bare = text.strip_suffix('\n').map_or(text, |bare| bare.strip_suffix('\r').unwrap_or(bare));
    if bare.len() != text.len() {
        warnings.push(format!("{field} ended in a line break, which was dropped"));
    }
    if bare.len() > MAX_SECRET_BYTES {
        return Err(Failure::invalid(format!(
            "{field} has {} bytes, at most {MAX_SECRET_BYTES} can be searched for in answers. \
             Nothing was changed",
            bare.len()
        )));
    }
    if field != USERNAME && bare.chars().count() < SHORT_SECRET {
        warnings.push(format!(
            "{field} is shorter than {SHORT_SECRET} characters: it is redacted from answers only \
             where it stands as a whole word, and it may be guessed"
        ));
    }
    Ok(SecretString::from(bare.to_owned()))
}

const SHORT_SECRET: usize = 8;

const UNKNOWN_SERVICE: &str = "There is no such service.";

/// Applies a field, if it was given, to what it sets: empty or `null` goes back to the default.
fn set<T>(target: &mut Option<T>, given: Option<Given<T>>) {
    if let Some(given) = given {
        *target = given.value();
    }
}

/// The same for a field whose default is its type's.
fn set_or_default<T: Default>(target: &mut T, given: Option<Given<T>>) {
    if let Some(given) = given {
        *target = given.value().unwrap_or_default();
    }
}

/// The same for a number that can't be negative.
fn set_count(
    target: &mut Option<u64>,
    field: &str,
    given: Option<Given<i64>>,
) -> Result<(), Failure> {
    let given = given
        .map(|given| {
            given.try_map(|value| {
                u64::try_from(value)
                    .map_err(|_| Failure::invalid(format!("{field} can't be negative")))
            })
        })
        .transpose()?;
    set(target, given);
    Ok(())
}

/// The same for a duration in whole seconds.
fn set_seconds(
    target: &mut Option<u64>,
    field: &str,
    given: Option<Given<Duration>>,
) -> Result<(), Failure> {
    let given = given
        .map(|given| {
            given.try_map(|duration| match duration.subsec_nanos() {
                0 => Ok(duration.as_secs()),
                _ => Err(Failure::invalid(format!("{field} wants whole seconds"))),
            })
        })
        .transpose()?;
    set(target, given);
    Ok(())
}

/// Pages of a list, as OpenBao's `after` and `limit` ask for them.
fn page(keys: Vec<String>, fields: &mut Fields) -> Vec<String> {
    let after = fields.str("after").and_then(Given::value).unwrap_or_default();
    let limit = fields
        .int("limit")
        .and_then(Given::value)
        .and_then(|limit| usize::try_from(limit).ok())
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    keys.into_iter().filter(|key| *key > after).take(limit).collect()
}

mod fields {
    //! Fields that several paths have.

    use vault_sdk::{Field, FieldType};

    pub(super) const NAME: Field = Field::new(
        "name",
        FieldType::Str,
        "Lower-case letters and digits, '-' or '_' between, at most 32 characters.",
    );
    pub(super) const CAS: Field = Field::new(
        "cas",
        FieldType::Int,
        "Only if this is the current version; 0: only if it doesn't exist.",
    );
    pub(super) const OPTIONS: Field =
        Field::new("options", FieldType::Json, "The same in KV's spelling: {\"cas\":3}.");
    pub(super) const AFTER: Field =
        Field::new("after", FieldType::Str, "List only names after this one.");
    pub(super) const LIMIT: Field =
        Field::new("limit", FieldType::Int, "List at most so many names.").default("all");
    pub(super) const AUTH: Field = Field::new(
        "auth",
        FieldType::Str,
        "How the credential is sent: none, bearer, header, query_param, basic, or cookie.",
    )
    .default("none");
    pub(super) const HEADER_NAME: Field = Field::new(
        "header_name",
        FieldType::Str,
        "With auth=header: the header that carries the secret, such as X-Api-Key.",
    )
    .optional();
    pub(super) const PREFIX: Field = Field::new(
        "prefix",
        FieldType::Str,
        "With auth=header: stands before the secret, to the letter, such as \"Token \".",
    )
    .optional();
    pub(super) const PARAM_NAME: Field = Field::new(
        "param_name",
        FieldType::Str,
        "With auth=query_param: the query parameter that carries the secret, such as api_key.",
    )
    .optional();
    pub(super) const COOKIE_NAME: Field = Field::new(
        "cookie_name",
        FieldType::Str,
        "With auth=cookie: the cookie that carries the secret.",
    )
    .optional();
    /// The parameters of the auth kinds.
    pub(super) fn auth_parameters() -> [Field; 4] {
        [HEADER_NAME, PREFIX, PARAM_NAME, COOKIE_NAME]
    }

    pub(super) const USERNAME: Field = Field::new(
        "username",
        FieldType::Secret,
        "With auth=basic: the user name. Never read back.",
    );
    pub(super) const PASSWORD: Field = Field::new(
        "password",
        FieldType::Secret,
        "With auth=basic: the password. password=- reads it from standard input. Never read back.",
    );
    pub(super) const TOKEN: Field = Field::new(
        "token",
        FieldType::Secret,
        "The secret. token=- reads it from standard input, token=@file from a file. Never read back.",
    );
    pub(super) const CA_CERT: Field = Field::new(
        "ca_cert",
        FieldType::Str,
        "PEM certificates; then these alone are trusted. ca_cert=@ca.pem reads a file.",
    )
    .default("the system's authorities");
    pub(super) const TLS_SERVER_NAME: Field = Field::new(
        "tls_server_name",
        FieldType::Str,
        "The name that the upstream's certificate must have.",
    )
    .default("the host of base_url");
    pub(super) const TLS_PIN: Field = Field::new(
        "tls_pin_sha256",
        FieldType::Str,
        "SHA-256 of the one certificate that is accepted, 64 hex digits.",
    );
    pub(super) const ADDRESS: Field = Field::new(
        "address",
        FieldType::Str,
        "Connect to this address instead of resolving the host's name.",
    );
    pub(super) const INSECURE_TLS: Field = Field::new(
        "danger_insecure_tls",
        FieldType::Bool,
        "Don't check the upstream's certificate. Needs allow_danger in config.",
    )
    .default("false");
}

#[cfg(test)]
mod tests {
    use vault_sdk::Router;

    use super::*;

    #[test]
    fn every_operation_declares_its_answers() {
        assert_eq!(Router::<Engine>::default().undeclared(), Vec::<String>::new());
    }

    #[test]
    fn check_and_set_in_both_spellings() {
        for (text, cas) in [
            (r#"{"cas":3}"#, Some(Some(3))),
            (r#"{"cas":"0"}"#, Some(Some(0))),
            ("{}", Some(None)),
            (r#"{"cas":1.5}"#, None),
            (r#"{"csa":1}"#, None),
            ("[3]", None),
        ] {
            assert_eq!(in_options(text).ok(), cas, "{text}");
        }
    }
}
