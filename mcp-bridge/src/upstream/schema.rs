//! Makes a tool's schemas acceptable to the strictest clients without changing what they mean.
//!
//! A call goes to the upstream with the agent's own arguments, and the upstream checks them against
//! its own schema: here a schema only has to lead a model to the right arguments. What a client
//! would refuse is written in another form with the same meaning; where there is none it is relaxed,
//! and a note in words says what was there.

mod root;

use serde_json::{Map, Value, json};

use self::root::{MAX_COPIED, flatten, resolve_root};

type Schema = Map<String, Value>;

/// An input schema for a list of tools, and notes for the description on what it can't say.
///
/// Its root is one object with properties: alternatives there make clients drop the tool
/// (anthropics/claude-code#95504) or the model's API refuse every request.
pub(super) fn input(schema: Option<&Value>) -> (Schema, Vec<String>) {
    let mut notes = Vec::new();
    let mut room = MAX_COPIED;
    let mut root = match schema {
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) | None => Schema::new(),
    };
    resolve_root(&mut root, &mut room, &mut notes);
    // The meaning that MCP gives to a schema without it (2025-11-25, basic, "JSON Schema Usage").
    if root.get("$schema").and_then(Value::as_str).is_some_and(|uri| uri.contains("2020-12")) {
        root.remove("$schema");
    }
    root.remove("$id");
    flatten(&mut root, &mut room, &mut notes);
    root.insert("type".to_owned(), Value::from("object"));
    if !root.get("properties").is_some_and(Value::is_object) {
        root.insert("properties".to_owned(), json!({}));
    }
    let mut root = Value::Object(root);
    portable(&mut root);
    let root = if let Value::Object(root) = root { root } else { Schema::new() };
    (root, bounded(notes))
}

/// An output schema for a list of tools; none where a client might refuse the whole list for it: the
/// root must be one object (opentokenz/mcpx#28), and nothing may point to the network.
pub(super) fn output(schema: &Value) -> Option<Schema> {
    let Value::Object(schema) = schema else { return None };
    let mut schema = schema.clone();
    let sound = schema.get("type").and_then(Value::as_str) == Some("object")
        && local(&Value::Object(schema.clone()));
    if schema.get("$schema").and_then(Value::as_str).is_some_and(|uri| uri.contains("2020-12")) {
        schema.remove("$schema");
    }
    schema.remove("$id");
    sound.then_some(schema)
}

/// Whether no reference leaves the schema.
fn local(schema: &Value) -> bool {
    match schema {
        Value::Object(keywords) => keywords.iter().all(|(key, value)| {
            let reference = matches!(&**key, "$ref" | "$dynamicRef") && value.is_string();
            if reference {
                value.as_str().is_some_and(|target| target.starts_with('#'))
            } else {
                local(value)
            }
        }),
        Value::Array(values) => values.iter().all(local),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Rewrites what strict clients refuse below a root.
fn portable(schema: &mut Value) {
    let Value::Object(keywords) = schema else {
        if *schema == Value::Bool(true) {
            *schema = json!({});
        } else if *schema == Value::Bool(false) {
            *schema = json!({ "not": {} });
        }
        return;
    };
    for keyword in ["$ref", "$dynamicRef"] {
        let target = keywords.get(keyword).and_then(Value::as_str);
        let Some(target) = target.filter(|target| !target.starts_with('#')) else { continue };
        // Nobody may fetch it (2026-07-28, "JSON Schema Usage"), and some clients would.
        let note = format!("(its schema is {target}, which isn't loaded)");
        keywords.remove(keyword);
        describe(keywords, &note);
    }
    for (key, value) in keywords.iter_mut() {
        match (&**key, value) {
            (
                "properties" | "patternProperties" | "$defs" | "definitions" | "dependentSchemas",
                Value::Object(named),
            ) => named.values_mut().for_each(portable),
            ("anyOf" | "oneOf" | "allOf" | "prefixItems" | "items", Value::Array(schemas)) => {
                schemas.iter_mut().for_each(portable);
            }
            (
                "items" | "not" | "if" | "then" | "else" | "contains" | "propertyNames",
                schema @ (Value::Object(_) | Value::Bool(_)),
            )
            | (
                "additionalProperties" | "unevaluatedProperties" | "unevaluatedItems",
                schema @ Value::Object(_),
            ) => portable(schema),
            _ => {}
        }
    }
    unite(keywords);
}

/// Writes a list of types as alternatives of one type each: as a list it makes all of a model
/// family's requests fail (github/copilot-cli#4623).
fn unite(keywords: &mut Schema) {
    let Some(Value::Array(types)) = keywords.get("type") else { return };
    let types = types.iter().fold(Vec::new(), |mut types, kind| {
        if types.len() < MAX_TYPES && !types.contains(kind) {
            types.push(kind.clone());
        }
        types
    });
    if let [only] = &types[..] {
        let only = only.clone();
        keywords.insert("type".to_owned(), only);
        return;
    }
    keywords.remove("type");
    if types.is_empty() {
        return;
    }
    let mut of_type = |kind: &Value| {
        let mut branch = Schema::new();
        branch.insert("type".to_owned(), kind.clone());
        let belonging: &[&str] = match kind.as_str() {
            Some("object") => &OBJECT,
            Some("array") => &ARRAY,
            Some("string") => &STRING,
            // What one takes the other takes too, so the schema keeps it.
            Some(_) | None => &[],
        };
        for key in belonging {
            if let Some(value) = keywords.remove(*key) {
                branch.insert((*key).to_owned(), value);
            }
        }
        Value::Object(branch)
    };
    let branches = Value::Array(types.iter().map(&mut of_type).collect());
    if keywords.contains_key("anyOf") {
        let all = keywords.entry("allOf").or_insert_with(|| json!([]));
        if let Value::Array(all) = all {
            all.push(json!({ "anyOf": branches }));
        }
    } else {
        keywords.insert("anyOf".to_owned(), branches);
    }
}

fn describe(schema: &mut Schema, note: &str) {
    let text = match schema.get("description").and_then(Value::as_str) {
        Some(text) if !text.is_empty() => format!("{text} {note}"),
        Some(_) | None => note.to_owned(),
    };
    schema.insert("description".to_owned(), Value::from(text));
}

/// A rule as JSON, cut to what a description can bear.
fn cut(rule: &Value) -> String {
    shortened(rule.to_string())
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(MAX_RULE) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text,
    }
}

/// As many notes as a description can bear.
fn bounded(mut notes: Vec<String>) -> Vec<String> {
    let mut left = MAX_NOTES;
    let fit = |note: &String| {
        let rest = left.checked_sub(note.chars().count());
        left = rest.unwrap_or_default();
        rest.is_some()
    };
    let fitting = notes.iter().map(fit).take_while(|fits| *fits).count();
    if fitting < notes.len() {
        notes.truncate(fitting);
        notes.push("More rules hold than are told here.".to_owned());
    }
    notes
}

/// Keywords that say something of objects, arrays and strings alone (JSON Schema 2020-12,
/// validation, section 6, and core, section 10.3).
const OBJECT: [&str; 9] = [
    "properties",
    "required",
    "additionalProperties",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "dependentRequired",
    "unevaluatedProperties",
];
const ARRAY: [&str; 9] = [
    "items",
    "prefixItems",
    "contains",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minContains",
    "maxContains",
    "unevaluatedItems",
];
const STRING: [&str; 4] = ["minLength", "maxLength", "pattern", "format"];
/// JSON Schema has no more types (2020-12, core, section 4.2.1, and validation, section 6.1.1).
const MAX_TYPES: usize = 7;
/// The longest rule that a note quotes, in characters.
const MAX_RULE: usize = 500;
/// The longest that the notes of a tool are together, in characters.
const MAX_NOTES: usize = 2_400;

#[cfg(test)]
mod tests;
