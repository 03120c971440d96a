//! From JSON text to a typed value, leniently in form and strictly in meaning.

use std::collections::BTreeMap;
use std::time::Duration;

use secrecy::SecretString;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{FieldType, FieldValue};

/// Why a value doesn't fit its field. Never quotes the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// The value has another shape; says which is wanted.
    #[error("{0}")]
    Wanted(&'static str),
    /// A secret came as something else than a string.
    #[error(
        "a secret must be a JSON string; this value now stands in clear in the audit log: change it"
    )]
    SecretInClear,
    /// `A=b,C=d`: one pair or two, nobody can tell.
    #[error("has a comma before another name=value, so it may be one value or two")]
    AmbiguousPairs,
}

impl FieldError {
    /// What is wrong with a field's value, with the spelling that is taken.
    pub(crate) fn about(&self, field: &str) -> String {
        match self {
            Self::Wanted(_) | Self::SecretInClear => format!("{field} {self}"),
            Self::AmbiguousPairs => format!(
                "{field} {self}. Repeat the field for each name: {field}=A=b {field}=C=d. Or give \
                 JSON: '{{\"A\":\"b\",\"C\":\"d\"}}', or '{{\"A\":\"b,C=d\"}}' for a value with a \
                 comma"
            ),
        }
    }
}

use FieldError::Wanted;

/// Parses the JSON text of one field; in a patch, pairs are changes of those there are.
pub(crate) fn parse(
    kind: FieldType,
    raw: &RawValue,
    patch: bool,
) -> Result<FieldValue, FieldError> {
    let raw = raw.get();
    let value: Value =
        serde_json::from_str(raw).map_err(|_| Wanted("not valid JSON, or nested too deep"))?;
    match (&value, kind) {
        (Value::Null, _) => return Ok(FieldValue::Null),
        // An empty body is a body.
        (Value::String(text), _) if text.is_empty() && kind != FieldType::Text => {
            return Ok(FieldValue::Null);
        }
        _ => {}
    }
    Ok(match kind {
        FieldType::Str => FieldValue::Str(scalar(raw).ok_or(Wanted("wants text"))?),
        FieldType::Secret => match value {
            Value::String(text) => FieldValue::Secret(SecretString::from(text)),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::Array(_)
            | Value::Object(_) => {
                return Err(FieldError::SecretInClear);
            }
        },
        FieldType::Int => FieldValue::Int(int(&value).ok_or(Wanted("wants a whole number"))?),
        FieldType::Bool => FieldValue::Bool(boolean(&value).ok_or(Wanted("wants true or false"))?),
        FieldType::Duration => FieldValue::Duration(
            duration(&value)
                .ok_or(Wanted("wants a duration, such as 30, \"30s\", \"1m30s\" or \"1h\""))?,
        ),
        FieldType::List => FieldValue::List(list(raw, &[","])?),
        FieldType::Items => FieldValue::List(list(raw, &[", ", "\n"])?),
        FieldType::Ints => FieldValue::Ints(ints(raw)?),
        FieldType::Pairs => {
            let changes = pairs(raw, patch)?;
            if patch {
                FieldValue::PairChanges(changes)
            } else {
                let kept = |(name, value): (_, Option<_>)| value.map(|value| (name, value));
                FieldValue::Pairs(changes.into_iter().filter_map(kept).collect())
            }
        }
        FieldType::Text => FieldValue::Str(pieces(value)?),
        FieldType::Json => match value {
            Value::Object(_) => FieldValue::Str(raw.to_owned()),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Array(_) => FieldValue::Str(pieces(value)?),
        },
    })
}

/// The text of a string, a number or a boolean. A number's is the one that was given: `1.10` and
/// twenty digits are no other text.
fn scalar(raw: &str) -> Option<String> {
    match serde_json::from_str(raw).ok()? {
        Value::String(text) => Some(text),
        Value::Bool(_) | Value::Number(_) => Some(raw.trim().to_owned()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn int(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The spellings of Go's `strconv.ParseBool`, which hosts use.
fn boolean(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => match number.as_i64() {
            Some(1) => Some(true),
            Some(0) => Some(false),
            _ => None,
        },
        Value::String(text) => match text.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
            _ => None,
        },
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn duration(value: &Value) -> Option<Duration> {
    match value {
        Value::Number(number) => number.as_u64().map(Duration::from_secs),
        Value::String(text) => duration_text(text.trim()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

fn duration_text(text: &str) -> Option<Duration> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    if text.is_empty() {
        return None;
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let unit_start = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(unit_start);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let milliseconds = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(scaled(number, milliseconds)?)?;
        rest = next;
    }
    Some(total)
}

/// So many units of some milliseconds each; `1.5` of them too, to the millisecond.
fn scaled(number: &str, milliseconds: u64) -> Option<Duration> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = whole.parse::<u64>().ok()?.checked_mul(milliseconds)?;
    let tenths = u32::try_from(fraction.len()).ok()?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(milliseconds)?;
    let part = part / 10_u64.checked_pow(tenths)?;
    Some(Duration::from_millis(whole.checked_add(part)?))
}

fn list(raw: &str, separators: &[&str]) -> Result<Vec<String>, FieldError> {
    const WANTED: FieldError = Wanted("wants a list of texts, or one text with commas between");
    match serde_json::from_str(raw).map_err(|_| WANTED)? {
        Value::Array(_) => items(raw, WANTED),
        Value::String(text) if text.trim_start().starts_with('[') => items(&text, WANTED),
        Value::String(text) => {
            let mut items = vec![text.as_str()];
            for separator in separators {
                items = items.into_iter().flat_map(|item| item.split(separator)).collect();
            }
            let items = items.into_iter().map(str::trim).filter(|item| !item.is_empty());
            Ok(items.map(str::to_owned).collect())
        }
        Value::Number(_) | Value::Bool(_) => scalar(raw).map(|item| vec![item]).ok_or(WANTED),
        Value::Null | Value::Object(_) => Err(WANTED),
    }
}

fn items(array: &str, wanted: FieldError) -> Result<Vec<String>, FieldError> {
    let items: Vec<&RawValue> = serde_json::from_str(array).map_err(|_| wanted.clone())?;
    items.into_iter().map(|item| scalar(item.get()).ok_or(wanted.clone())).collect()
}

fn ints(raw: &str) -> Result<Vec<i64>, FieldError> {
    const WANTED: FieldError = Wanted("wants a list of whole numbers, such as 1,2");
    let items = list(raw, &[","]).map_err(|_| WANTED)?;
    items.iter().map(|item| item.parse().map_err(|_| WANTED)).collect()
}

/// Texts by name; a name without one is to be removed, which only a patch may ask for.
fn pairs(raw: &str, patch: bool) -> Result<Vec<(String, Option<String>)>, FieldError> {
    const WANTED: FieldError =
        Wanted("wants texts by name: an object, its JSON text, or name=value");
    let object = |raw: &str| {
        let object: BTreeMap<String, &RawValue> = serde_json::from_str(raw).map_err(|_| WANTED)?;
        let pair = |(name, value): (_, &RawValue)| match value.get() {
            "null" => patch.then_some((name, None)).ok_or(WANTED),
            value => scalar(value).map(|value| (name, Some(value))).ok_or(WANTED),
        };
        object.into_iter().map(pair).collect()
    };
    match serde_json::from_str(raw).map_err(|_| WANTED)? {
        Value::Object(_) => object(raw),
        Value::String(text) if text.trim_start().starts_with('{') => object(&text),
        Value::String(text) => Ok(vec![pair(&text).ok_or(WANTED)??]),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => pair(&text).ok_or(WANTED)?,
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => Err(WANTED),
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Err(WANTED),
    }
}

/// `name=value`; `None` where there is no `=`.
fn pair(item: &str) -> Option<Result<(String, Option<String>), FieldError>> {
    let (name, value) = item.split_once('=')?;
    // The value may hold commas, as a header's does, but not what looks like the next pair.
    let next = |rest: &str| rest.split_once('=').is_some_and(|(name, _)| is_name(name.trim()));
    if value.split(',').skip(1).any(next) {
        return Some(Err(FieldError::AmbiguousPairs));
    }
    Some(Ok((name.to_owned(), Some(value.to_owned()))))
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn pieces(value: Value) -> Result<String, FieldError> {
    const WANTED: FieldError = Wanted("wants a string, or a list of strings that are joined");
    match value {
        Value::String(text) => Ok(text),
        Value::Array(items) => items
            .into_iter()
            .map(|item| match item {
                Value::String(text) => Ok(text),
                Value::Null
                | Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_) => Err(WANTED),
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(WANTED),
    }
}

#[cfg(test)]
mod tests;
