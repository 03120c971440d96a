//! From path parameters and a request's JSON to typed fields.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use crate::error::Error;
use crate::field::{FieldValue, Fields, parse as parse_field};
use crate::operation::Operation;
use crate::path::Path;

/// Parses what a path declares. In a body, a field that the path doesn't declare is an error: a
/// misspelt guard must not be ignored. In a query it is dropped, since hosts add their own there.
pub(super) fn parse<B: Send + Sync + 'static>(
    path: &Path<B>,
    operation: Operation,
    parameters: &[(&'static str, &str)],
    data: &str,
) -> Result<Fields, Error> {
    let mut fields = Fields::default();
    for (name, value) in parameters {
        fields.insert(name, FieldValue::Str((*value).to_owned()));
    }
    for (name, raw) in object(data)? {
        if let Some((_, parameter)) = parameters.iter().find(|(known, _)| *known == name) {
            let given: Option<String> = serde_json::from_str(raw.get()).ok();
            if operation.has_body() && given.as_deref() != Some(parameter) {
                return Err(Error::invalid(format!(
                    "invalid_request: {name} in the body differs from the path's, which alone counts. \
                     Leave it out of the body"
                )));
            }
            continue;
        }
        let Some(field) = path.fields_of(operation).find(|field| field.name == name) else {
            if operation.has_body() {
                return Err(unknown(path, &name));
            }
            continue;
        };
        if field.read_only {
            continue;
        }
        let value = parse_field(field.kind, &raw, operation == Operation::Patch)
            .map_err(|error| Error::invalid(format!("invalid_request: {}", error.about(&name))))?;
        fields.insert(field.name, value);
    }
    Ok(fields)
}

fn object(data: &str) -> Result<BTreeMap<String, Box<RawValue>>, Error> {
    if data.is_empty() || data == "null" {
        return Ok(BTreeMap::new());
    }
    serde_json::from_str(data)
        .map_err(|_| Error::invalid("invalid_request: the request's data isn't a JSON object"))
}

fn unknown<B: Send + Sync + 'static>(path: &Path<B>, name: &str) -> Error {
    let shown: String = name.chars().filter(|c| !c.is_control()).take(64).collect();
    let nearest = path
        .fields
        .iter()
        .filter(|field| !field.read_only)
        .map(|field| (distance(name, field.name), field.name))
        .min()
        .filter(|(distance, known)| *distance <= known.len() / 2)
        .map(|(_, known)| format!(" Did you mean {known:?}?"))
        .unwrap_or_default();
    Error::invalid(format!(
        "invalid_request: no field is called {shown:?} here.{nearest} Nothing was changed. \
         path-help on this path lists its fields"
    ))
}

/// Edits between two names (Levenshtein), for suggestions.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    // A name over 64 characters is nobody's misspelling.
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let Some(cell) = row.get_mut(j + 1) else { break };
            let above = *cell;
            *cell = if ca == *cb { diagonal } else { 1 + diagonal.min(above).min(left) };
            diagonal = above;
            left = *cell;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::distance;

    #[test]
    fn counts_edits() {
        for (a, b, edits) in [
            ("", "", 0),
            ("a", "", 1),
            ("", "abc", 3),
            ("base_ulr", "base_url", 2),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), edits, "{a} {b}");
        }
    }
}
