//! Makes one object with properties of a schema's root: what it refers to, its parts and alternatives
//! are joined as far as there is room, and told in words beyond that.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value, json};

use super::{Schema, cut, shortened};

/// Puts the definition that a root refers to in the root's place.
pub(super) fn resolve_root(root: &mut Schema, room: &mut usize, notes: &mut Vec<String>) {
    for _ in 0..MAX_HOPS {
        let Some(reference) = root.get("$ref").and_then(Value::as_str) else { return };
        let Some(target) = resolve(root, reference).and_then(Value::as_object) else { break };
        let Some(target) = copied(target, room) else {
            notes.push(format!("The arguments must satisfy {}.", shortened(reference.to_owned())));
            break;
        };
        root.remove("$ref");
        for (key, value) in target {
            root.entry(key).or_insert(value);
        }
    }
    root.remove("$ref");
}

/// A copy of a part of a schema, as long as there is room for it: many that refer to one large
/// definition would fill the memory.
fn copied(part: &Schema, room: &mut usize) -> Option<Schema> {
    *room = room.checked_sub(part.values().map(size).sum())?;
    Some(part.clone())
}

/// How many bytes a value takes as JSON.
fn size(value: &Value) -> usize {
    struct Counted(usize);
    impl std::io::Write for Counted {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut counted = Counted(0);
    // Neither a value nor a counter fails.
    let _ = serde_json::to_writer(&mut counted, value);
    counted.0
}

/// What a reference within a schema points to: a JSON pointer (RFC 6901, section 6).
fn resolve<'s>(root: &'s Schema, reference: &str) -> Option<&'s Value> {
    let pointer = reference.strip_prefix("#/")?;
    let mut tokens = pointer.split('/').map(|token| token.replace("~1", "/").replace("~0", "~"));
    let first = root.get(&tokens.next()?)?;
    tokens.try_fold(first, |value, token| value.get(token))
}

/// Takes alternatives and conditions away from a root.
pub(super) fn flatten(root: &mut Schema, room: &mut usize, notes: &mut Vec<String>) {
    match root.remove("allOf") {
        Some(Value::Array(parts)) if parts.len() <= MAX_PARTS => {
            let plain = |part| resolved(root, part).filter(|part| is_plain(part)).ok_or(part);
            let (plain, other) = parts.iter().map(plain).partition::<Vec<_>, _>(Result::is_ok);
            let plain = plain.into_iter().flatten().collect::<Vec<_>>();
            let other = other.into_iter().filter_map(Result::err).collect::<Vec<_>>();
            match joined(root, &plain, "allOf", room) {
                Some(properties) => {
                    let names = plain.iter().flat_map(|part| required(part)).collect();
                    let additional =
                        plain.iter().find_map(|part| part.get("additionalProperties")).cloned();
                    define(root, properties);
                    require(root, names);
                    if let Some(additional) = additional {
                        root.entry("additionalProperties").or_insert(additional);
                    }
                    for part in other {
                        notes.push(format!("All calls must also satisfy {}.", cut(part)));
                    }
                }
                None => notes.push(unjoined("allOf", &Value::Array(parts))),
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
        let joinable = (1..=MAX_PARTS).contains(&resolved.len())
            && resolved.iter().all(|alternative| is_plain(alternative));
        let Some(properties) = joinable.then(|| joined(root, &resolved, "anyOf", room)).flatten()
        else {
            notes.push(unjoined(keyword, &Value::Array(alternatives)));
            continue;
        };
        let sets = resolved.iter().map(|alternative| names(alternative)).collect::<Vec<_>>();
        let common = common(&resolved);
        define(root, properties);
        require(root, common);
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
fn resolved<'s>(root: &'s Schema, schema: &'s Value) -> Option<&'s Schema> {
    let schema = schema.as_object()?;
    match schema.get("$ref").and_then(Value::as_str) {
        None => Some(schema),
        Some(reference) => resolve(root, reference)?.as_object(),
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

/// The properties of parts that a root doesn't have, or has otherwise: one that several define
/// differently may be either (`anyOf`), or must be both (`allOf`). Nothing is copied before it is known
/// to fit; `None` if it doesn't.
fn joined(root: &Schema, parts: &[&Schema], both: &str, room: &mut usize) -> Option<Schema> {
    let own = root.get("properties").and_then(Value::as_object);
    let mut left = *room;
    let mut defined: BTreeMap<&str, (Vec<&Value>, bool)> = BTreeMap::new();
    let properties = parts.iter().filter_map(|part| part.get("properties")?.as_object()).flatten();
    for (name, schema) in properties {
        let (schemas, is_new) = defined.entry(name).or_insert_with(|| {
            let own = own.and_then(|own| own.get(name));
            (own.map(|own| several(own, both)).unwrap_or_default(), false)
        });
        for schema in several(schema, both) {
            if !schemas.contains(&schema) {
                left = left.checked_sub(name.len() + size(schema))?;
                schemas.push(schema);
                *is_new = true;
            }
        }
    }
    *room = left;
    let new = defined.into_iter().filter(|(_, (_, is_new))| *is_new);
    let schema = |schemas: Vec<&Value>| match &schemas[..] {
        [only] => (*only).clone(),
        several => json!({ both: several }),
    };
    Some(new.map(|(name, (schemas, _))| (name.to_owned(), schema(schemas))).collect())
}

/// The schemas that one consists of, if it says nothing beside them.
fn several<'s>(schema: &'s Value, both: &str) -> Vec<&'s Value> {
    let only = schema.as_object().filter(|keywords| keywords.len() == 1);
    match only.and_then(|keywords| keywords.get(both)?.as_array()) {
        Some(schemas) if !schemas.is_empty() => schemas.iter().collect(),
        Some(_) | None => vec![schema],
    }
}

/// Gives a root more properties, or others.
fn define(root: &mut Schema, more: Schema) {
    let properties = root.entry("properties").or_insert_with(|| json!({}));
    if !properties.is_object() {
        *properties = json!({});
    }
    if let Value::Object(properties) = properties {
        properties.extend(more);
    }
}

fn required(schema: &Schema) -> Vec<String> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The names that every alternative requires.
fn common(alternatives: &[&Schema]) -> Vec<String> {
    let mut all = alternatives.iter().map(|alternative| required(alternative));
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

/// A note on parts that weren't joined.
fn unjoined(keyword: &str, parts: &Value) -> String {
    format!("The arguments must satisfy {keyword} of {}.", cut(parts))
}

/// How many references in a row are followed.
const MAX_HOPS: usize = 8;
/// How many alternatives or parts of a root are joined: each may refer to a large definition.
pub(super) const MAX_PARTS: usize = 32;
/// How much of a schema's definitions is put in other places of it, in bytes of JSON: as much as the
/// engine lets a schema have.
pub(super) const MAX_COPIED: usize = 64 << 10;
