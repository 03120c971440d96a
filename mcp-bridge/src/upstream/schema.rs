//! Makes a tool's schemas acceptable to the strictest clients without changing what they mean.
//!
//! A call goes to the upstream with the agent's own arguments, and the upstream checks them against
//! its own schema: here a schema only has to lead a model to the right arguments. What a client
//! would refuse is written in another form with the same meaning; where there is none it is relaxed,
//! and a note in words says what was there.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

type Schema = Map<String, Value>;

/// An input schema for a list of tools, and notes for the description on what it can't say.
///
/// Its root is one object with properties: alternatives there make clients drop the tool
/// (anthropics/claude-code#95504) or the model's API refuse every request.
pub(super) fn input(schema: Option<&Value>) -> (Schema, Vec<String>) {
    let mut notes = Vec::new();
    let mut root = match schema {
        Some(Value::Object(schema)) => schema.clone(),
        Some(_) | None => Schema::new(),
    };
    resolve_root(&mut root);
    // The meaning that MCP gives to a schema without it (2025-11-25, basic, "JSON Schema Usage").
    if root.get("$schema").and_then(Value::as_str).is_some_and(|uri| uri.contains("2020-12")) {
        root.remove("$schema");
    }
    root.remove("$id");
    flatten(&mut root, &mut notes);
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

/// Puts the definition that a root refers to in the root's place.
fn resolve_root(root: &mut Schema) {
    for _ in 0..MAX_HOPS {
        let target = match root.get("$ref").and_then(Value::as_str) {
            Some(reference) => resolve(root, reference).cloned(),
            None => return,
        };
        root.remove("$ref");
        if let Some(Value::Object(target)) = target {
            for (key, value) in target {
                root.entry(key).or_insert(value);
            }
        }
    }
    root.remove("$ref");
}

/// What a reference within a schema points to: a JSON pointer (RFC 6901, section 6).
fn resolve<'s>(root: &'s Schema, reference: &str) -> Option<&'s Value> {
    let pointer = reference.strip_prefix("#/")?;
    let mut tokens = pointer.split('/').map(|token| token.replace("~1", "/").replace("~0", "~"));
    let first = root.get(&tokens.next()?)?;
    tokens.try_fold(first, |value, token| value.get(token))
}

/// Takes alternatives and conditions away from a root.
fn flatten(root: &mut Schema, notes: &mut Vec<String>) {
    match root.remove("allOf") {
        Some(Value::Array(parts)) if parts.len() <= MAX_PARTS => {
            for part in parts {
                match resolved(root, &part) {
                    Some(part) if is_plain(&part) => merge(root, &part, true),
                    Some(_) | None => {
                        notes.push(format!("All calls must also satisfy {}.", cut(&part)));
                    }
                }
            }
        }
        Some(parts @ Value::Array(_)) => notes.push(unjoined("allOf", &parts)),
        Some(_) | None => {}
    }
    for keyword in ["anyOf", "oneOf"] {
        let Some(Value::Array(alternatives)) = root.remove(keyword) else { continue };
        let few = alternatives.iter().take(MAX_PARTS + 1);
        let resolved = few.map(|alternative| resolved(root, alternative));
        let resolved = resolved.collect::<Option<Vec<_>>>().unwrap_or_default();
        let joined = 1..=MAX_PARTS;
        if !joined.contains(&resolved.len()) || !resolved.iter().all(is_plain) {
            notes.push(unjoined(keyword, &Value::Array(alternatives)));
            continue;
        }
        let sets = resolved.iter().map(names).collect::<Vec<_>>();
        for alternative in &resolved {
            merge(root, alternative, false);
        }
        require(root, common(&resolved));
        let which = if keyword == "oneOf" { "exactly one" } else { "at least one" };
        let sets = sets.into_iter().filter(|set| !set.is_empty()).collect::<Vec<_>>();
        if sets.len() > 1 {
            let sets = shortened(sets.join("; or "));
            notes.push(format!("Give {which} of these sets of arguments: {sets}."));
        }
    }
    if let Some(condition) = root.remove("if") {
        let mut rule = json!({ "if": condition });
        for keyword in ["then", "else"] {
            if let (Some(branch), Value::Object(rule)) = (root.remove(keyword), &mut rule) {
                rule.insert(keyword.to_owned(), branch);
            }
        }
        notes.push(format!("The arguments must also satisfy {}.", cut(&rule)));
    }
    for keyword in ["not", "enum", "const", "dependentSchemas", "dependencies"] {
        if let Some(rule) = root.remove(keyword) {
            let rule = json!({ keyword: rule });
            notes.push(format!("The arguments must also satisfy {}.", cut(&rule)));
        }
    }
}

/// A schema as an object, its reference followed.
fn resolved(root: &Schema, schema: &Value) -> Option<Schema> {
    let Value::Object(schema) = schema else { return None };
    match schema.get("$ref").and_then(Value::as_str) {
        None => Some(schema.clone()),
        Some(reference) => resolve(root, reference)?.as_object().cloned(),
    }
}

/// Whether a part of a root says nothing but which properties there are.
fn is_plain(part: &Schema) -> bool {
    part.iter().all(|(key, value)| match &**key {
        "properties" => value.is_object(),
        "required" => value.is_array(),
        "type" => value == "object",
        "title" | "description" | "additionalProperties" | "$comment" => true,
        _ => false,
    })
}

/// Adds a part's properties to a root. One that both define differently may be either, or must be
/// both.
fn merge(root: &mut Schema, part: &Schema, all: bool) {
    let both = if all { "allOf" } else { "anyOf" };
    if let Some(Value::Object(more)) = part.get("properties") {
        let properties = root.entry("properties").or_insert_with(|| json!({}));
        if !properties.is_object() {
            *properties = json!({});
        }
        for (name, schema) in more {
            let Value::Object(properties) = &mut *properties else { continue };
            match properties.get_mut(name) {
                None => {
                    properties.insert(name.clone(), schema.clone());
                }
                Some(present) if present == schema => {}
                Some(Value::Object(present))
                    if present.len() == 1 && present.get(both).is_some_and(Value::is_array) =>
                {
                    if let Some(Value::Array(schemas)) = present.get_mut(both)
                        && !schemas.contains(schema)
                    {
                        schemas.push(schema.clone());
                    }
                }
                Some(present) => *present = json!({ both: [present.take(), schema] }),
            }
        }
    }
    if all {
        require(root, required(part));
        if let Some(additional) = part.get("additionalProperties") {
            root.entry("additionalProperties").or_insert_with(|| additional.clone());
        }
    }
}

fn required(schema: &Schema) -> Vec<String> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The names that every alternative requires.
fn common(alternatives: &[Schema]) -> Vec<String> {
    let mut all = alternatives.iter().map(required);
    let first = all.next().unwrap_or_default();
    all.fold(first, |mut common, next| {
        let next = next.into_iter().collect::<HashSet<_>>();
        common.retain(|name| next.contains(name));
        common
    })
}

fn require(root: &mut Schema, more: Vec<String>) {
    let mut names = required(root);
    names.extend(more);
    let mut seen = HashSet::new();
    names.retain(|name| seen.insert(name.clone()));
    if !names.is_empty() {
        root.insert("required".to_owned(), Value::from(names));
    }
}

/// The arguments that an alternative wants, in words; those that it doesn't require stand in
/// brackets.
fn names(alternative: &Schema) -> String {
    let mut names = required(alternative);
    let required = names.iter().cloned().collect::<HashSet<_>>();
    let properties = alternative.get("properties").and_then(Value::as_object);
    let optional = properties.into_iter().flat_map(Map::keys).filter(|n| !required.contains(*n));
    names.extend(optional.map(|name| format!("[{name}]")));
    names.join(", ")
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
    let mut types = types.clone();
    types.dedup();
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

/// A note on parts that weren't joined.
fn unjoined(keyword: &str, parts: &Value) -> String {
    format!("The arguments must satisfy {keyword} of {}.", cut(parts))
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
/// How many references in a row are followed.
const MAX_HOPS: usize = 8;
/// How many alternatives or parts of a root are joined: each may refer to a large definition.
const MAX_PARTS: usize = 32;
/// The longest rule that a note quotes, in characters.
const MAX_RULE: usize = 500;
/// The longest that the notes of a tool are together, in characters.
const MAX_NOTES: usize = 2_400;

#[cfg(test)]
mod tests;
