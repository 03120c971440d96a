//! Reads what the engine tells of an MCP server, and puts each definition into an agent's form.

use std::collections::HashSet;
use std::sync::Arc;

use rmcp::model::JsonObject;
use serde::Deserialize;
use serde_json::Value;

use super::name::{is_segment, name, segment};
use super::{Entry, Offer, schema};
use crate::catalog::ServiceName;

/// What stands in the engine's `catalog/<service>` beside the service itself. Each entry is read on
/// its own: one that can't be read costs no other.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Listed {
    tools: Vec<Value>,
    prompts: Vec<Value>,
    resources: Vec<Value>,
    resource_templates: Vec<Value>,
    stale: bool,
}

/// An entry of any of the lists.
#[derive(Deserialize)]
struct Raw {
    #[serde(default)]
    name: String,
    #[serde(default)]
    segment: String,
    definition: Value,
}

impl Raw {
    fn read(value: &Value) -> Option<(Self, JsonObject)> {
        let raw = Self::deserialize(value).ok()?;
        let definition = match &raw.definition {
            Value::String(text) => serde_json::from_str(text).ok()?,
            Value::Object(definition) => definition.clone(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => return None,
        };
        Some((raw, definition))
    }
}

/// What a service offers, in the form in which agents get it.
pub(crate) fn offer(service: &ServiceName, listed: &Listed) -> Offer {
    Offer {
        tools: named(service, &listed.tools, tool),
        prompts: named(service, &listed.prompts, Some),
        resources: located(&listed.resources, "uri"),
        templates: located(&listed.resource_templates, "uriTemplate"),
        stale: listed.stale,
    }
}

/// Entries that go by a name of the bridge's making, by that name. Where two would go by one, which
/// a server could bring about by its names, neither does.
fn named(
    service: &ServiceName,
    listed: &[Value],
    form: impl Fn(JsonObject) -> Option<JsonObject>,
) -> Vec<Arc<Entry>> {
    let entry = |value: &Value| {
        let (raw, definition) = Raw::read(value)?;
        let segment = if raw.segment.is_empty() { segment(&raw.name) } else { raw.segment };
        if !is_segment(&segment) {
            return None;
        }
        let mut definition = form(definition)?;
        let name = name(service, &segment);
        definition.insert("name".to_owned(), Value::from(name.as_str()));
        Some(Entry { bytes: size(&definition), name, segment, definition })
    };
    let mut entries = listed.iter().filter_map(entry).collect::<Vec<_>>();
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let (mut seen, mut twice) = (HashSet::new(), HashSet::new());
    for entry in &entries {
        if !seen.insert(entry.name.clone()) {
            twice.insert(entry.name.clone());
        }
    }
    entries.retain(|entry| !twice.contains(&entry.name));
    entries.into_iter().map(Arc::new).collect()
}

/// Entries that go by a URI of the server's.
fn located(listed: &[Value], field: &str) -> Vec<Arc<Entry>> {
    let entry = |value: &Value| {
        let (_, definition) = Raw::read(value)?;
        let name = definition.get(field)?.as_str()?.to_owned();
        let bytes = size(&definition);
        Some(Arc::new(Entry { name, segment: String::new(), definition, bytes }))
    };
    listed.iter().filter_map(entry).collect()
}

/// A tool's definition: its schemas as every client takes them, all else as it is. None where the
/// tool can't be called without a task, which nobody here speaks of.
fn tool(mut definition: JsonObject) -> Option<JsonObject> {
    let execution = definition.remove("execution");
    let task = execution.as_ref().and_then(|execution| execution.get("taskSupport"));
    if task.and_then(Value::as_str) == Some("required") {
        return None;
    }
    let (input, notes) = schema::input(definition.get("inputSchema"));
    definition.insert("inputSchema".to_owned(), Value::Object(input));
    if let Some(output) = definition.remove("outputSchema")
        && let Some(output) = schema::output(&output)
    {
        definition.insert("outputSchema".to_owned(), Value::Object(output));
    }
    if !notes.is_empty() {
        let text = definition.get("description").and_then(Value::as_str).unwrap_or_default();
        let text = format!("{text}\n\n{}", notes.join("\n"));
        definition.insert("description".to_owned(), Value::from(text.trim_start()));
    }
    Some(definition)
}

fn size(definition: &JsonObject) -> usize {
    serde_json::to_string(definition).map_or(0, |text| text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn offered(listed: Value) -> Offer {
        let listed = serde_json::from_value(listed).unwrap();
        offer(&ServiceName::parse("linear").unwrap(), &listed)
    }

    #[test]
    fn a_definition_keeps_everything_but_its_name() {
        let definition = json!({
            "name": "create.issue", "title": "Create", "icons": [{ "src": "https://x/i.png" }],
            "annotations": { "readOnlyHint": false }, "_meta": { "a/b": 1 }, "new": [1, 2],
            "inputSchema": { "type": "object", "properties": {} },
            "execution": { "taskSupport": "optional" },
        });
        let offer = offered(json!({ "tools": [
            { "name": "create.issue", "segment": "create_issue",
              "definition": definition.to_string() },
        ] }));
        let mut expected = definition;
        expected["name"] = json!("linear__create_issue");
        expected.as_object_mut().unwrap().remove("execution");
        assert_eq!(json!(offer.tools[0].definition), expected);
        assert_eq!(offer.tools[0].segment, "create_issue");
    }

    #[test]
    fn what_cant_be_offered_costs_nothing_else() {
        let tool = |segment: &str| json!({ "name": segment, "segment": segment, "definition": "{\"name\":\"x\"}" });
        let offer = offered(json!({ "tools": [
            tool("b"), 7, { "name": "c" }, { "name": "d", "segment": "d", "definition": "{" },
            tool("../../sys"), tool("twice"), tool("twice"), tool("a"),
            { "name": "t", "segment": "t",
              "definition": { "execution": { "taskSupport": "required" } } },
        ], "prompts": [{ "name": "say hi", "definition": { "name": "say hi" } }] }));
        let names = offer.tools.iter().map(|tool| tool.name.as_str()).collect::<Vec<_>>();
        assert_eq!(names, ["linear__a", "linear__b"]);
        assert_eq!(offer.prompts[0].name, "linear__say_hi");
    }
}
