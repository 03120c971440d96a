//! `x-mcp-header`: which arguments a tool wants repeated in headers of its call.
//!
//! Revision 2026-07-28 of MCP, Streamable HTTP, custom headers from tool parameters: a client drops
//! a tool whose annotations are invalid. Valid is an annotation on a `string`, `integer` or `boolean`
//! that is reached through `properties` alone, with a name that is a token (RFC 9110, section 5.6.2)
//! and that no other annotation of the tool has, whatever its case.

use std::collections::HashSet;

use http::HeaderName;
use serde_json::Value;

/// The keyword.
pub const ANNOTATION: &str = "x-mcp-header";

/// What stands before an annotation's name in a header's.
const PARAMETER: &str = "mcp-param-";

/// The arguments of a tool that are repeated in headers: its input schema, less all that says nothing of
/// them. It takes a few times the memory of the schema's text, where a tree of that takes a hundred times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mirror {
    /// The header in which this value is repeated.
    pub(super) header: Option<HeaderName>,
    /// The properties that are repeated, or have some that are; by name, in order.
    properties: Box<[(String, Self)]>,
}

impl Mirror {
    /// Whether nothing is repeated.
    pub fn is_empty(&self) -> bool {
        self.header.is_none() && self.properties.is_empty()
    }

    /// What is repeated of a property, if anything is.
    pub(super) fn property(&self, name: &str) -> Option<&Self> {
        let found = self.properties.binary_search_by(|(known, _)| known.as_str().cmp(name));
        self.properties.get(found.ok()?).map(|(_, mirror)| mirror)
    }

    /// About what it takes in memory, in bytes.
    pub(super) fn weight(&self) -> usize {
        let header = self.header.as_ref().map_or(0, |header| header.as_str().len());
        let below = self.properties.iter().map(|(name, mirror)| name.len() + mirror.weight());
        size_of::<(String, Self)>() + header + below.sum::<usize>()
    }
}

/// The annotations of an input schema.
///
/// # Errors
/// What is wrong with the first invalid one, in words for an operator.
pub fn annotations(schema: &Value) -> Result<Mirror, String> {
    look(schema, &mut Vec::new(), true, &mut HashSet::new())
}

fn look(
    schema: &Value,
    path: &mut Vec<String>,
    reachable: bool,
    found: &mut HashSet<HeaderName>,
) -> Result<Mirror, String> {
    let mut mirror = Mirror::default();
    match schema {
        Value::Object(keywords) => {
            if let Some(name) = keywords.get(ANNOTATION) {
                let header = annotation(name, keywords.get("type"), path, reachable)?;
                if !found.insert(header.clone()) {
                    return Err(wrong(path, "has the name of another one"));
                }
                mirror.header = Some(header);
            }
            for (key, value) in keywords {
                match (key.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        let mut repeated = Vec::new();
                        for (name, property) in properties {
                            path.push(name.clone());
                            let below = look(property, path, reachable, found)?;
                            path.pop();
                            if !below.is_empty() {
                                repeated.push((name.clone(), below));
                            }
                        }
                        repeated.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
                        mirror.properties = repeated.into();
                    }
                    // Values, which may look like schemas.
                    ("const" | "default" | "enum" | "examples", _) | (ANNOTATION, _) => {}
                    (_, value) => {
                        look(value, path, false, found)?;
                    }
                }
            }
        }
        Value::Array(schemas) => {
            for schema in schemas {
                look(schema, path, false, found)?;
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
    Ok(mirror)
}

fn annotation(
    name: &Value,
    kind: Option<&Value>,
    path: &[String],
    reachable: bool,
) -> Result<HeaderName, String> {
    let header = name.as_str().filter(|name| is_token(name));
    let header = header.and_then(|name| HeaderName::try_from(format!("{PARAMETER}{name}")).ok());
    let Some(header) = header else {
        return Err(wrong(path, "isn't the name of a header"));
    };
    if !reachable || path.is_empty() {
        return Err(wrong(path, "isn't on an argument that properties alone lead to"));
    }
    if !matches!(kind.and_then(Value::as_str), Some("string" | "integer" | "boolean")) {
        return Err(wrong(path, "isn't on a string, an integer or a boolean"));
    }
    Ok(header)
}

fn wrong(path: &[String], problem: &str) -> String {
    format!("{ANNOTATION} at \"{}\" {problem}", path.join("."))
}

fn is_token(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|c| c.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&c))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_reached_through_properties_are_found() {
        let schema = json!({ "type": "object", "properties": {
            "region": { "type": "string", "x-mcp-header": "Region" },
            "options": { "type": "object", "properties": {
                "limit": { "type": "integer", "x-mcp-header": "Limit" },
            } },
            "default": { "type": "string", "default": { "x-mcp-header": 1 } },
        } });
        let found = annotations(&schema).unwrap();
        let header = |mirror: &Mirror| mirror.header.as_ref().map(|name| name.as_str().to_owned());
        assert_eq!(found.property("region").and_then(header).unwrap(), "mcp-param-region");
        let options = found.property("options").unwrap();
        assert_eq!(options.property("limit").and_then(header).unwrap(), "mcp-param-limit");
        assert_eq!((header(options), found.property("default")), (None, None));
    }

    #[test]
    fn what_is_kept_is_no_longer_than_the_schema() {
        // As many annotations as fit, at the end of one long way.
        let names: Vec<String> = (0..1000).map(|n| format!("p{n}")).collect();
        let property = |name: &String| {
            (name.clone(), json!({ "type": "string", "x-mcp-header": name.clone() }))
        };
        let leaves: serde_json::Map<String, Value> = names.iter().map(property).collect();
        let mut schema = json!({ "properties": leaves, "examples": vec![json!({ "": 1 }); 2000] });
        for _ in 0..28 {
            schema = json!({ "properties": { "x".repeat(100): schema } });
        }
        let found = annotations(&schema).unwrap();
        assert!(found.weight() < 3 * schema.to_string().len(), "{}", found.weight());
    }

    #[test]
    fn invalid_annotations_are_named() {
        let annotated = |name: Value| json!({ "type": "string", "x-mcp-header": name });
        let of = |properties: Value| json!({ "type": "object", "properties": properties });
        for (schema, problem) in [
            (of(json!({ "a": annotated(json!("")) })), "isn't the name of a header"),
            (of(json!({ "a": annotated(json!("a b")) })), "isn't the name of a header"),
            (of(json!({ "a": annotated(json!("a\r\nb")) })), "isn't the name of a header"),
            (of(json!({ "a": annotated(json!(7)) })), "isn't the name of a header"),
            (of(json!({ "a": { "type": "number", "x-mcp-header": "A" } })), "isn't on a string"),
            (of(json!({ "a": { "type": ["string"], "x-mcp-header": "A" } })), "isn't on a string"),
            (of(json!({ "a": annotated(json!("X")), "b": annotated(json!("x")) })), "another one"),
            (of(json!({ "a": { "type": "array", "items": annotated(json!("X")) } })), "alone"),
            (json!({ "type": "string", "x-mcp-header": "Root" }), "alone"),
            (json!({ "anyOf": [of(json!({ "a": annotated(json!("X")) }))] }), "alone"),
            (of(json!({ "a": { "$defs": { "d": annotated(json!("X")) } } })), "alone"),
        ] {
            let error = annotations(&schema).unwrap_err();
            assert!(error.contains(problem), "{schema}: {error}");
        }
    }
}
