//! `x-mcp-header`: which arguments a tool wants repeated in headers of its call.
//!
//! Revision 2026-07-28 of MCP, Streamable HTTP, custom headers from tool parameters: a client drops
//! a tool whose annotations are invalid. Valid is an annotation on a `string`, `integer` or `boolean`
//! that is reached through `properties` alone, with a name that is a token (RFC 9110, section 5.6.2)
//! and that no other annotation of the tool has, whatever its case.

use serde_json::Value;

/// The keyword.
pub const ANNOTATION: &str = "x-mcp-header";

/// One argument that is repeated in a header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirrored {
    /// The properties that lead to it.
    pub path: Vec<String>,
    /// The header's name after `Mcp-Param-`.
    pub header: String,
}

/// The annotations of an input schema.
///
/// # Errors
/// What is wrong with the first invalid one, in words for an operator.
pub fn annotations(schema: &Value) -> Result<Vec<Mirrored>, String> {
    let mut found = Vec::new();
    look(schema, &mut Vec::new(), true, &mut found)?;
    Ok(found)
}

fn look(
    schema: &Value,
    path: &mut Vec<String>,
    reachable: bool,
    found: &mut Vec<Mirrored>,
) -> Result<(), String> {
    match schema {
        Value::Object(keywords) => {
            if let Some(name) = keywords.get(ANNOTATION) {
                found.push(annotation(name, keywords.get("type"), path, reachable, found)?);
            }
            for (key, value) in keywords {
                match (key.as_str(), value) {
                    ("properties", Value::Object(properties)) => {
                        for (name, property) in properties {
                            path.push(name.clone());
                            look(property, path, reachable, found)?;
                            path.pop();
                        }
                    }
                    // Values, which may look like schemas.
                    ("const" | "default" | "enum" | "examples", _) | (ANNOTATION, _) => {}
                    (_, value) => look(value, path, false, found)?,
                }
            }
            Ok(())
        }
        Value::Array(schemas) => {
            schemas.iter().try_for_each(|schema| look(schema, path, false, found))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

fn annotation(
    name: &Value,
    kind: Option<&Value>,
    path: &[String],
    reachable: bool,
    found: &[Mirrored],
) -> Result<Mirrored, String> {
    let wrong = |problem: &str| Err(format!("{ANNOTATION} at \"{}\" {problem}", path.join(".")));
    let Some(header) = name.as_str().filter(|name| is_token(name)) else {
        return wrong("isn't the name of a header");
    };
    if !reachable || path.is_empty() {
        return wrong("isn't on an argument that properties alone lead to");
    }
    if !matches!(kind.and_then(Value::as_str), Some("string" | "integer" | "boolean")) {
        return wrong("isn't on a string, an integer or a boolean");
    }
    if found.iter().any(|other| other.header.eq_ignore_ascii_case(header)) {
        return wrong("has the name of another one");
    }
    Ok(Mirrored { path: path.to_vec(), header: header.to_owned() })
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
        let found: Vec<_> = found.iter().map(|m| (m.path.join("."), m.header.as_str())).collect();
        assert_eq!(found, [("options.limit".into(), "Limit"), ("region".into(), "Region")]);
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
