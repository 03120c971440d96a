//! What agents may know of an MCP server: what is approved and allowed by rules, and how much waits.

use serde_json::{Map, Value, json};
use vault_sdk::{Field, FieldType, Storage};

use crate::engine::{Engine, rules, trust};
use crate::error::Error;
use crate::mcp::definition::Kind;
use crate::mcp::offer::Item;
use crate::path::tools::{denied, unreadable};
use crate::proxy::rules::NameRules;
use crate::storage::{ServiceEntry, rfc3339};

pub(super) fn counted() -> [Field; 3] {
    [
        Field::new("tools", FieldType::Int, "Of an MCP server: the tools that may be called.")
            .optional(),
        Field::new(
            "waiting",
            FieldType::Int,
            "Of an MCP server: the tools that wait for an operator's approval.",
        )
        .optional(),
        unreadable(),
    ]
}

pub(super) fn declared() -> [Field; 8] {
    // What it calls itself it may change at any time, approved by nobody: operators see that.
    let server =
        [Field::new("instructions", FieldType::Text, "What it tells models, as approved.")];
    let list = |name, help, key, named, help_of_key| {
        let mut fields = vec![
            Field::new(key, FieldType::Str, help_of_key),
            Field::new("definition", FieldType::Text, "JSON as approved, less hidden characters."),
        ];
        if named {
            fields.push(Field::new("segment", FieldType::Str, "What it goes by in paths."));
        }
        Field::new(name, FieldType::List, help).of(fields).optional()
    };
    let [_, waiting, _] = counted();
    [
        list("tools", "Of an MCP server: tools that may be called.", "name", true, "Its name."),
        waiting,
        list("prompts", "Of an MCP server: its prompts.", "name", true, "Its name."),
        list("resources", "Of an MCP server: its resources.", "uri", false, "Its URI."),
        list(
            "resource_templates",
            "Of an MCP server: templates of resources.",
            "uri_template",
            false,
            "Its template.",
        ),
        Field::new("stale", FieldType::Bool, "Of an MCP server: whether it can't be listed now.")
            .optional(),
        Field::new("stale_since", FieldType::Str, "Since when.").optional(),
        Field::new("server", FieldType::Json, "Of an MCP server: what it says of itself.")
            .of(server)
            .optional(),
    ]
}

/// # Errors
/// Storage's own.
pub(super) async fn shown(
    engine: &Engine,
    storage: &dyn Storage,
    entry: &ServiceEntry,
) -> Result<Map<String, Value>, Error> {
    let tools = engine.tools(storage, &entry.id, trust(entry)).await?;
    let rules = rules(entry);
    let list = |kind, key: &str| -> Value {
        let items = tools.offer.of_kind(kind);
        items.filter_map(|item| one(item, key, &rules)).map(Value::Object).collect()
    };
    let stale = engine.stale(&entry.id);
    let instructions = tools.offer.of_kind(Kind::Instructions).find_map(|item| {
        let shown: Value = serde_json::from_str(item.shown.as_deref()?).ok()?;
        shown.get("instructions").cloned()
    });
    let server = instructions.map(|instructions| json!({ "instructions": instructions }));
    Ok(Map::from_iter([
        ("tools".to_owned(), list(Kind::Tool, "name")),
        ("waiting".to_owned(), tools.offer.waiting().into()),
        ("prompts".to_owned(), list(Kind::Prompt, "name")),
        ("resources".to_owned(), list(Kind::Resource, "uri")),
        ("resource_templates".to_owned(), list(Kind::ResourceTemplate, "uri_template")),
        ("stale".to_owned(), stale.is_some().into()),
        ("stale_since".to_owned(), stale.map(|stale| rfc3339(stale.since)).into()),
        ("server".to_owned(), server.into()),
    ]))
}

/// What is offered and not denied.
fn one(item: &Item, key: &str, rules: &NameRules) -> Option<Map<String, Value>> {
    let shown = item.shown.as_deref().filter(|_| !denied(item, rules))?;
    let mut one = Map::from_iter([
        (key.to_owned(), Value::from(item.key.clone())),
        ("definition".to_owned(), shown.into()),
    ]);
    if let Kind::Tool | Kind::Prompt = item.kind {
        one.insert("segment".to_owned(), item.segment.clone()?.into());
    }
    Some(one)
}
