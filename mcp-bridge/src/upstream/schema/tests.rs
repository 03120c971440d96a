use serde_json::{Value, json};

use super::root::MAX_PARTS;
use super::*;

fn check(schema: Value, expected: Value, notes: &[&str]) {
    let (portable, said) = input(Some(&schema));
    assert_eq!(Value::Object(portable), expected, "{schema}");
    assert_eq!(said, notes, "{schema}");
}

#[test]
fn what_every_client_takes_stays_as_it_is() {
    let schema = json!({
        "type": "object", "additionalProperties": false, "required": ["team"],
        "properties": {
            "team": { "type": "string", "description": "The team.", "x-mcp-header": "Team" },
            "state": { "anyOf": [{ "type": "string" }, { "type": "null" }], "default": null },
            "labels": { "type": "array", "items": { "$ref": "#/$defs/label" } },
        },
        "$defs": { "label": { "type": "string", "enum": ["a", "b"] } },
    });
    check(schema.clone(), schema, &[]);
    check(json!(null), json!({ "type": "object", "properties": {} }), &[]);
    check(json!({ "type": "object" }), json!({ "type": "object", "properties": {} }), &[]);
}

#[test]
fn a_list_of_types_becomes_alternatives_that_mean_the_same() {
    check(
        json!({ "type": "object", "properties": {
            "a": { "type": ["string", "null"], "minLength": 2, "description": "A." },
            "b": { "type": "array", "items": { "type": ["object", "null"],
                   "properties": { "x": { "type": ["integer"] } }, "required": ["x"] } },
            "c": { "type": ["number", "string", "number"], "minimum": 1, "enum": [1, "x"] },
        } }),
        json!({ "type": "object", "properties": {
            "a": { "anyOf": [{ "type": "string", "minLength": 2 }, { "type": "null" }],
                   "description": "A." },
            "b": { "type": "array", "items": { "anyOf": [
                { "type": "object", "properties": { "x": { "type": "integer" } },
                  "required": ["x"] }, { "type": "null" }] } },
            "c": { "anyOf": [{ "type": "number" }, { "type": "string" }], "minimum": 1,
                   "enum": [1, "x"] },
        } }),
        &[],
    );
}

#[test]
fn alternatives_at_the_root_become_properties_and_a_note() {
    check(
        json!({ "type": "object", "properties": { "note": { "type": "string" } },
                "oneOf": [
                    { "properties": { "id": { "type": "string" } }, "required": ["id"] },
                    { "properties": { "id": { "type": "integer" }, "name": { "type": "string" },
                                      "team": { "type": "string" } },
                      "required": ["id", "name"] },
                ] }),
        json!({ "type": "object", "required": ["id"], "properties": {
            "note": { "type": "string" }, "name": { "type": "string" },
            "team": { "type": "string" },
            "id": { "anyOf": [{ "type": "string" }, { "type": "integer" }] } } }),
        &["Give exactly one of these sets of arguments: id; or id, name, [team]."],
    );
    // What only names properties of the root.
    check(
        json!({ "type": "object", "properties": { "a": {}, "b": {} },
                "anyOf": [{ "required": ["a"] }, { "required": ["b"] }] }),
        json!({ "type": "object", "properties": { "a": {}, "b": {} } }),
        &["Give at least one of these sets of arguments: a; or b."],
    );
}

#[test]
fn parts_that_must_all_hold_are_joined() {
    check(
        json!({ "allOf": [
                    { "$ref": "#/$defs/page" },
                    { "type": "object", "properties": { "q": { "type": "string" } },
                      "required": ["q"] },
                ],
                "$defs": { "page": { "type": "object",
                                     "properties": { "limit": { "type": "integer" } } } } }),
        json!({ "type": "object", "required": ["q"],
                "properties": { "limit": { "type": "integer" }, "q": { "type": "string" } },
                "$defs": { "page": { "type": "object",
                                     "properties": { "limit": { "type": "integer" } } } } }),
        &[],
    );
}

#[test]
fn a_condition_at_the_root_is_told_in_words() {
    check(
        json!({ "type": "object", "properties": { "a": {} },
                "if": { "required": ["a"] }, "then": { "required": ["b"] } }),
        json!({ "type": "object", "properties": { "a": {} } }),
        &[
            "The arguments must also satisfy {\"if\":{\"required\":[\"a\"]},\"then\":{\"required\":[\"b\"]}}.",
        ],
    );
    let (schema, notes) = input(Some(&json!({ "not": { "enum": ["x".repeat(2_000)] } })));
    assert_eq!(Value::Object(schema), json!({ "type": "object", "properties": {} }));
    assert!(notes[0].chars().count() < 600, "{notes:?}");
}

#[test]
fn a_hostile_root_grows_neither_the_schema_nor_the_notes() {
    let size = |schema: Schema| Value::Object(schema).to_string().len();
    let text = |letter: &str| json!({ "description": letter.repeat(10_000) });
    let defs = json!({ "a": { "properties": { "p": text("a") } },
                       "b": { "properties": { "p": text("b") } } });
    let reference = |i: usize| json!({ "$ref": format!("#/$defs/{}", ["a", "b"][i % 2]) });
    let some = |count: usize| (0..count).map(reference).collect::<Vec<_>>();
    for keyword in ["allOf", "anyOf", "oneOf"] {
        // As many as are joined: what was joined once is there once.
        let (schema, _) = input(Some(&json!({ keyword: some(MAX_PARTS), "$defs": defs })));
        let joined = schema["properties"]["p"].as_object().unwrap().values().next().unwrap();
        assert_eq!(*joined, json!([text("a"), text("b")]), "{keyword}");
        assert!(size(schema) < 41_000);
        // More than that are named, and nothing of them is joined.
        let (schema, notes) = input(Some(&json!({ keyword: some(MAX_PARTS + 1), "$defs": defs })));
        assert_eq!(schema["properties"], json!({}), "{keyword}");
        assert_eq!(notes.len(), 1);
        let start = format!("The arguments must satisfy {keyword} of [{{\"$ref\"");
        assert!(notes[0].starts_with(&start) && notes[0].len() < 600, "{notes:?}");
    }
    // Rules that stay words do so within one bound, and the rest is told of.
    let rule = json!({ "not": { "description": "x".repeat(1_000) } });
    let (_, notes) = input(Some(&json!({ "allOf": vec![rule; MAX_PARTS] })));
    assert_eq!(notes.last().unwrap(), "More rules hold than are told here.");
    assert!((4..6).contains(&notes.len()), "{notes:?}");
    // Long lists of names cost neither time nor words.
    let names = (0..3_000).map(|i| format!("n{i}")).collect::<Vec<_>>();
    let all = json!({ "required": names, "properties": { "p": {} } });
    let (schema, notes) = input(Some(&json!({
        "allOf": vec![json!({ "$ref": "#/$defs/all" }); MAX_PARTS],
        "anyOf": vec![json!({ "$ref": "#/$defs/all" }); MAX_PARTS],
        "$defs": { "all": all },
    })));
    assert_eq!(schema["required"], all["required"]);
    assert!(notes.concat().chars().count() < 600, "{notes:?}");
}

#[test]
fn definitions_that_lie_within_one_another_are_not_each_copied_whole() {
    let size = |schema: &Schema| Value::Object(schema.clone()).to_string().len();
    let leaf = json!({ "enum": vec![json!({ "": 1 }); 5_000] });
    let within = |levels: usize| "/properties/p".repeat(levels);
    let reference = |levels| json!({ "$ref": format!("#/$defs/a{}", within(levels)) });
    let nested = (0..28).fold(leaf.clone(), |inner, _| json!({ "properties": { "p": inner } }));
    let own = json!({ "q": { "type": "string" } });
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let schema = json!({
            "type": "object", "properties": own, "$defs": { "a": nested },
            keyword: (0..27).map(reference).collect::<Vec<_>>(),
        });
        let before = schema.to_string().len();
        let (schema, notes) = input(Some(&schema));
        assert!(size(&schema) < before, "{keyword}: {} of {before}", size(&schema));
        assert_eq!(schema["properties"], own, "{keyword}");
        assert_eq!(notes.len(), 1, "{notes:?}");
        // One of them fits.
        let one = json!({ keyword: [reference(1)], "$defs": { "a": nested } });
        let (schema, notes) = input(Some(&one));
        assert!(schema["properties"]["p"].is_object() && notes.is_empty(), "{notes:?}");
    }
    // A root that refers to what refers to a part of itself.
    let deep = (0..8).rev().fold(leaf, |inner, level| {
        let next = (0..=level).map(|level| format!("/k{level}")).collect::<String>();
        json!({ "$ref": format!("#/$defs/a{next}"), format!("k{level}"): inner })
    });
    let schema = json!({ "$ref": "#/$defs/a", "$defs": { "a": deep } });
    let before = schema.to_string().len();
    let (schema, notes) = input(Some(&schema));
    assert!(size(&schema) < before + MAX_COPIED, "{} of {before}", size(&schema));
    assert_eq!(notes.len(), 1, "{notes:?}");
}

#[test]
fn a_root_that_refers_is_what_it_refers_to_and_circles_end() {
    check(
        json!({ "$ref": "#/$defs/in", "$schema": "https://json-schema.org/draft/2020-12/schema",
                "$id": "https://example.com/in",
                "$defs": { "in": { "type": "object", "properties": { "a": true } } } }),
        json!({ "type": "object", "properties": { "a": {} },
                "$defs": { "in": { "type": "object", "properties": { "a": {} } } } }),
        &[],
    );
    let (schema, _) = input(Some(&json!({ "$ref": "#/$defs/a",
                                          "$defs": { "a": { "$ref": "#/$defs/a" } } })));
    assert_eq!(schema.get("$ref"), None);
    assert_eq!(schema["type"], "object");
}

#[test]
fn what_lies_on_the_network_is_named_and_not_loaded() {
    check(
        json!({ "type": "object", "properties": {
            "a": { "$ref": "https://example.com/a.json", "description": "An a." } } }),
        json!({ "type": "object", "properties": { "a": {
            "description": "An a. (its schema is https://example.com/a.json, which isn't loaded)",
        } } }),
        &[],
    );
    // A property may be called so.
    let named = json!({ "type": "object", "properties": { "$ref": { "type": "string" } } });
    check(named.clone(), named, &[]);
}

#[test]
fn an_output_schema_that_could_cost_the_whole_list_is_left_out() {
    assert_eq!(output(&json!({ "anyOf": [{ "type": "object" }] })), None);
    assert_eq!(output(&json!({ "type": ["object", "null"] })), None);
    assert_eq!(output(&json!(true)), None);
    assert_eq!(
        output(&json!({ "type": "object", "properties": { "a": { "$ref": "https://x/y" } } })),
        None
    );
    let sound = json!({ "type": "object", "properties": { "a": { "$ref": "#/$defs/a" } } });
    assert_eq!(output(&sound).map(Value::Object), Some(sound));
}
