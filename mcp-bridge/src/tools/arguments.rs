//! Reads a tool's arguments leniently: what can only mean one thing is put right.

use rmcp::model::JsonObject;
use serde_json::{Map, Value};

use crate::error::{CallError, nearest};

/// The arguments of one call, none of them unknown.
#[derive(Debug)]
pub(super) struct Arguments(JsonObject);

impl Arguments {
    /// Takes arguments if the tool knows all of them.
    ///
    /// # Errors
    ///
    /// [`CallError::Invalid`] with the nearest known name.
    pub(super) fn new(arguments: JsonObject, known: &[&str]) -> Result<Self, CallError> {
        let unknown = arguments.keys().find(|name| !known.contains(&name.as_str()));
        match unknown {
            None => Ok(Self(arguments)),
            Some(name) => {
                let near = nearest(name, known.iter().copied())
                    .map(|near| format!(" Did you mean {near:?}?"))
                    .unwrap_or_default();
                Err(CallError::Invalid(format!(
                    "unknown argument {name:?}.{near} Allowed: {}.",
                    known.join(", ")
                )))
            }
        }
    }

    /// An argument's value; `null` counts as absent.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// A text, without spaces at its ends; empty counts as absent.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, CallError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        match scalar(value) {
            Some(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            None => Err(invalid(name, "must be a string", &format!("{name}=\"…\""))),
        }
    }

    /// A number within a range; others are moved into it.
    pub(super) fn number(
        &self,
        name: &str,
        range: std::ops::RangeInclusive<usize>,
    ) -> Result<Option<usize>, CallError> {
        let Some(value) = self.get(name) else { return Ok(None) };
        let number = match value {
            Value::Number(number) => number.as_f64(),
            Value::String(text) => text.trim().parse::<f64>().ok(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let Some(number) = number.filter(|number| number.is_finite()) else {
            let example = format!("{name}={}", range.start());
            return Err(invalid(name, "must be a whole number", &example));
        };
        // A cast saturates: what is too large or negative ends at a bound.
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and the bounds follow"
        )]
        let number = number as usize;
        Ok(Some(number.clamp(*range.start(), *range.end())))
    }

    /// An object whose values are texts or lists of texts, also if it came as JSON text.
    pub(super) fn fields(&self, name: &str) -> Result<Map<String, Value>, CallError> {
        let Some(value) = self.get(name) else { return Ok(Map::new()) };
        let parsed;
        let object = match value {
            Value::Object(object) => object,
            Value::String(text) if text.trim().is_empty() => return Ok(Map::new()),
            Value::String(text) => match serde_json::from_str::<Value>(text) {
                Ok(Value::Object(object)) => {
                    parsed = object;
                    &parsed
                }
                Ok(_) | Err(_) => return Err(not_an_object(name)),
            },
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
                return Err(not_an_object(name));
            }
        };
        let mut fields = Map::new();
        for (key, value) in object {
            match value {
                Value::Null => {}
                Value::Array(list) => {
                    let list = list.iter().map(scalar).collect::<Option<Vec<_>>>();
                    fields.insert(key.clone(), Value::from(list.ok_or_else(|| nested(name, key))?));
                }
                Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_) => {
                    let text = scalar(value).ok_or_else(|| nested(name, key))?;
                    fields.insert(key.clone(), Value::from(text));
                }
            }
        }
        Ok(fields)
    }
}

/// A value as text, if it is a text, a number or a truth.
pub(super) fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The error of one field: its name, what is wrong, a value that would do.
pub(super) fn invalid(name: &str, problem: &str, example: &str) -> CallError {
    CallError::Invalid(format!("{name} {problem}. Use {example}."))
}

fn not_an_object(name: &str) -> CallError {
    invalid(name, "must be an object", &format!("{name}={{\"name\": \"value\"}}"))
}

fn nested(name: &str, key: &str) -> CallError {
    invalid(
        name,
        &format!("must hold strings or lists of strings; {key:?} is neither"),
        &format!("{name}={{{key:?}: \"value\"}}"),
    )
}
