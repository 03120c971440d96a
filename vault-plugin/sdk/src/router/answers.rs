//! Compares a handler's answers with those that its operation declares, in debug builds.

use serde_json::{Map, Value};

use crate::error::Error;
use crate::field::{Field, FieldType};
use crate::operation::{Effect, Operation};
use crate::path::Endpoint;
use crate::response::Response;

/// Gives the result back if it is one of those declared.
///
/// # Errors
/// [`Error::Internal`] naming the first field or status that isn't; the result's own error.
pub(super) fn declared<B>(
    operation: Operation,
    endpoint: &Endpoint<B>,
    result: Result<Response, Error>,
) -> Result<Response, Error> {
    let spec = &endpoint.spec;
    if spec.data.is_none() && spec.empty.is_none() {
        return result;
    }
    let problem = match &result {
        Ok(response) => match (&response.data, &spec.data) {
            (Some(data), Some(declared)) => object(&declared.fields, data, "").err(),
            (Some(_), None) => Some("data".to_owned()),
            (None, _) if spec.empty.is_some() => None,
            (None, _) => Some(format!("an empty answer ({})", operation.empty_status())),
        },
        Err(Error::Coded { status, .. }) => {
            let usual = *status == 400 || (*status == 424 && endpoint.effect == Effect::CallsOut);
            let known = usual || spec.refusals.iter().any(|(known, _)| known == status);
            (!known).then(|| format!("the status {status}"))
        }
        Err(
            Error::Invalid(_)
            | Error::UnsupportedOperation
            | Error::UnsupportedPath
            | Error::ReadOnly
            | Error::Storage(_)
            | Error::Internal(_),
        ) => None,
    };
    match problem {
        None => result,
        Some(problem) => Err(Error::Internal(format!("undeclared in an answer: {problem}"))),
    }
}

fn object(fields: &[Field], data: &Map<String, Value>, at: &str) -> Result<(), String> {
    for (name, value) in data {
        let at = format!("{at}/{name}");
        let field = fields.iter().find(|field| field.name == name).ok_or_else(|| at.clone())?;
        if !(field.optional && value.is_null()) {
            self::value(field, value, &at)?;
        }
    }
    match fields.iter().find(|field| !field.optional && !data.contains_key(field.name)) {
        Some(missing) => Err(format!("{at}/{} is missing", missing.name)),
        None => Ok(()),
    }
}

fn value(field: &Field, value: &Value, at: &str) -> Result<(), String> {
    let nested = |value: &Value, at: &str| match value {
        Value::Object(data) => object(&field.nested, data, at),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(format!("{at} is no object"))
        }
    };
    let fits = match (field.kind, value) {
        (FieldType::Str | FieldType::Text, Value::String(_))
        | (FieldType::Bool, Value::Bool(_)) => true,
        (FieldType::Int | FieldType::Duration, Value::Number(number)) => !number.is_f64(),
        (FieldType::Ints, Value::Array(items)) => {
            items.iter().all(|item| item.is_i64() || item.is_u64())
        }
        (FieldType::List, Value::Array(items)) if !field.nested.is_empty() => {
            return items.iter().try_for_each(|item| nested(item, at));
        }
        (FieldType::List | FieldType::Items, Value::Array(items)) => {
            items.iter().all(Value::is_string)
        }
        (FieldType::Pairs, Value::Object(items)) if !field.nested.is_empty() => {
            return items.iter().try_for_each(|(name, item)| nested(item, &format!("{at}/{name}")));
        }
        (FieldType::Pairs, Value::Object(items)) => items.values().all(Value::is_string),
        (FieldType::Json, Value::Object(_)) if !field.nested.is_empty() => {
            return nested(value, at);
        }
        (FieldType::Json, Value::Object(_)) => true,
        // A secret is never an answer.
        (_, _) => false,
    };
    if fits { Ok(()) } else { Err(format!("{at} is no {}", field.kind.as_str())) }
}
