//! Lists the tools and prompts of MCP servers, one by one or behind a search, and finds what is meant.

use std::fmt::Write as _;
use std::sync::Arc;

use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::arguments::Arguments;
use crate::catalog::{Catalog, Service, ServiceName};
use crate::config::ToolLimits;
use crate::error::{CallError, nearest};
use crate::upstream::{Entry, Offer, matches, rank};

/// The name of the tool that finds tools.
pub(super) const FIND: &str = "find_tools";
/// The name of the tool that calls what was found.
pub(super) const CALL: &str = "call_tool";

/// How many definitions an answer of `find_tools` holds unless it is asked for more, and at most.
const FOUND: usize = 5;
const MOST_FOUND: usize = 20;
/// How large an answer's definitions may be together, in bytes; the best one is always whole.
const FOUND_BYTES: usize = 24 << 10;
/// How many names an answer may hold beside them.
const MOST_NAMES: usize = 100;
/// The longest that the services' names may be in a description, in bytes.
const SERVICES: usize = 1_000;

/// The tools of all MCP servers that this agent may call, in the order of their names.
pub(super) fn tools(catalog: Option<&Catalog>) -> Vec<(&ServiceName, &Arc<Entry>)> {
    all(catalog, |offer| &offer.tools)
}

/// Their prompts, in the order of their names.
pub(super) fn prompts(catalog: Option<&Catalog>) -> Vec<(&ServiceName, &Arc<Entry>)> {
    all(catalog, |offer| &offer.prompts)
}

fn all(
    catalog: Option<&Catalog>,
    of: impl Fn(&Offer) -> &[Arc<Entry>],
) -> Vec<(&ServiceName, &Arc<Entry>)> {
    let offers = catalog.into_iter().flat_map(Catalog::offers);
    let of = |(name, offer)| {
        let entries: &[Arc<Entry>] = of(offer);
        entries.iter().map(move |entry| (name, entry))
    };
    let mut all = offers.flat_map(of).collect::<Vec<_>>();
    all.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    all
}

/// The definitions to list beside the bridge's own: every tool, or a search and the favourites.
pub(super) fn definitions(catalog: Option<&Catalog>, limits: &ToolLimits) -> Vec<Value> {
    let tools = tools(catalog);
    let whole = |entry: &Arc<Entry>| Value::Object(entry.definition.clone());
    if fits(&tools, limits) {
        return tools.into_iter().map(|(_, entry)| whole(entry)).collect();
    }
    let favourite =
        |entry: &Arc<Entry>| limits.favourites.iter().any(|name| matches(name, &entry.name));
    let shown = tools.iter().filter(|(_, entry)| favourite(entry)).map(|(_, entry)| whole(entry));
    let own = [find_tool(catalog), call_tool()];
    let own = own.into_iter().filter_map(|tool| serde_json::to_value(tool).ok());
    own.chain(shown).collect()
}

/// Whether all tools are listed.
pub(super) fn is_whole(catalog: &Catalog, limits: &ToolLimits) -> bool {
    fits(&tools(Some(catalog)), limits)
}

fn fits(tools: &[(&ServiceName, &Arc<Entry>)], limits: &ToolLimits) -> bool {
    tools.len() <= limits.tools
        && tools.iter().map(|(_, entry)| entry.bytes).sum::<usize>() <= limits.bytes
}

/// Agents don't use a search that doesn't say what there is to find (stacklok/toolhive#4357).
fn find_tool(catalog: Option<&Catalog>) -> Tool {
    let mut services = String::new();
    let mut names = Vec::new();
    let mut left = 0;
    for service in catalog.into_iter().flat_map(Catalog::callable) {
        let count = service.offer.as_ref().map_or(0, |offer| offer.tools.len());
        if count == 0 {
            continue;
        }
        names.push(service.name.as_str());
        let entry = described(service, count);
        if services.len() + entry.len() > SERVICES {
            left += 1;
            continue;
        }
        let separator = if services.is_empty() { "" } else { ", " };
        let _ = write!(services, "{separator}{entry}");
    }
    if left > 0 {
        let _ = write!(services, " and {left} more (see list_services)");
    }
    let description = format!(
        "Finds tools of these services and tells how to call them: {services}. Search it whenever a \
         task concerns one of them; then call what it finds with {CALL}. Without a query it names \
         the tools that there are."
    );
    let mut service = json!({
        "type": "string", "description": "Only tools of this service.",
    });
    if names.len() <= 100
        && let Value::Object(service) = &mut service
    {
        service.insert("enum".to_owned(), Value::from(names));
    }
    let schema = json!({
        "type": "object",
        "properties": {
            "query": {
                "type": "string",
                "description": "What the tool should do, in a few words. Example: create an issue",
            },
            "service": service,
            "limit": {
                "type": "integer", "minimum": 1, "maximum": MOST_FOUND,
                "description": format!("How many definitions to return (default {FOUND})."),
            },
        },
        "additionalProperties": false,
    });
    let annotations = ToolAnnotations::new().read_only(true).idempotent(true).open_world(false);
    own(FIND, "Find tools of services", description, schema, annotations)
}

fn described(service: &Service, count: usize) -> String {
    let tools = count_of(count as u64, "tool");
    match super::list::one_line(&service.description) {
        purpose if purpose.is_empty() => format!("{} ({tools})", service.name),
        purpose => format!("{} ({purpose}; {tools})", service.name),
    }
}

/// A count with its noun.
pub(super) fn count_of(count: u64, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

fn call_tool() -> Tool {
    let description = format!(
        "Calls a tool that {FIND} found, by its name and with arguments as its inputSchema says. \
         Vault adds the authentication: never send or ask for API keys or tokens. It is sent once."
    );
    let schema = json!({
        "type": "object",
        "properties": {
            "name": { "type": "string", "description": format!("The tool's name, from {FIND}.") },
            "arguments": {
                "type": "object", "additionalProperties": true,
                "description": "The tool's arguments, as its inputSchema says.",
            },
        },
        "required": ["name"],
        "additionalProperties": false,
    });
    let annotations = ToolAnnotations::new().read_only(false).destructive(true).open_world(true);
    own(CALL, "Call a tool that was found (may change things)", description, schema, annotations)
}

fn own(
    name: &'static str,
    title: &str,
    description: String,
    schema: Value,
    annotations: ToolAnnotations,
) -> Tool {
    let mut meta = MetaObject::new();
    meta.insert("anthropic/alwaysLoad".to_owned(), Value::Bool(true));
    let schema = schema.as_object().cloned().unwrap_or_default();
    Tool::new(name, description, schema)
        .with_title(title)
        .with_annotations(annotations)
        .with_meta(meta)
}

/// Answers `find_tools`.
///
/// # Errors
///
/// [`CallError::Invalid`].
pub(super) fn find(catalog: Option<&Catalog>, arguments: JsonObject) -> Result<String, CallError> {
    let arguments = Arguments::new(arguments, &["query", "service", "limit"])?;
    let limit = arguments.number("limit", 1..=MOST_FOUND)?.unwrap_or(FOUND);
    let mut tools = tools(catalog);
    if let Some(service) = arguments.text("service")? {
        let known = tools.iter().any(|(name, _)| name.as_str() == service);
        if !known {
            let names = tools.iter().map(|(name, _)| name.as_str());
            let near = nearest(&service, names).map(|near| format!(" Did you mean {near:?}?"));
            return Err(CallError::Invalid(format!(
                "no service named {service:?} has tools.{} Leave service out to search all.",
                near.unwrap_or_default()
            )));
        }
        tools.retain(|(name, _)| name.as_str() == service);
    }
    let entries = tools.iter().map(|(_, entry)| &***entry).collect::<Vec<_>>();
    let total = count_of(entries.len() as u64, "tool");
    let Some(query) = arguments.text("query")? else {
        return Ok(format!(
            "{total}. Search with a query for how to call them.{}",
            summaries(&entries)
        ));
    };
    let ranked = rank(&entries, &query);
    if ranked.is_empty() {
        return Ok(format!("None of {total} fits {query:?}. There are:{}", summaries(&entries)));
    }
    let mut text = format!(
        "{} of {total} fit, the best first. Call one with {CALL}: name and arguments.",
        ranked.len()
    );
    let mut room = FOUND_BYTES;
    let mut shown = 0;
    for entry in ranked.iter().take(limit) {
        let definition = json!({
            "name": entry.name,
            "description": entry.text("description"),
            "inputSchema": entry.definition.get("inputSchema"),
        });
        let line = definition.to_string();
        if shown > 0 && line.len() > room {
            break;
        }
        room = room.saturating_sub(line.len());
        shown += 1;
        let _ = write!(text, "\n{line}");
    }
    let others = ranked.get(shown..limit.max(2 * FOUND).min(ranked.len())).unwrap_or_default();
    if !others.is_empty() {
        let _ = write!(text, "\nAlso:{}", summaries(others));
    }
    Ok(text)
}

/// One line for each, without its schema.
pub(super) fn summaries(entries: &[&Entry]) -> String {
    let mut text = String::new();
    for entry in entries.iter().take(MOST_NAMES) {
        let _ = write!(text, "\n- {}", entry.name);
        let summary = entry.summary();
        if !summary.is_empty() {
            let _ = write!(text, ": {summary}");
        }
    }
    if entries.len() > MOST_NAMES {
        let _ = write!(text, "\n… and {} more", entries.len() - MOST_NAMES);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(count: usize) -> Catalog {
        let tool = |index: usize| {
            json!({ "name": format!("linear__tool_{index}"), "segment": format!("tool_{index}"),
                    "bytes": 100, "definition": { "name": format!("linear__tool_{index}"),
                    "description": "Does a thing. And more.", "inputSchema": { "type": "object" } } })
        };
        serde_json::from_value(json!({ "services": [{
            "name": "linear", "type": "mcp", "description": "Issues of the team.",
            "offer": { "tools": (0..count).map(tool).collect::<Vec<_>>() },
        }] }))
        .unwrap()
    }

    fn names(count: usize, limits: &ToolLimits) -> Vec<String> {
        let definitions = definitions(Some(&catalog(count)), limits);
        definitions.iter().map(|d| d["name"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn beyond_either_limit_a_search_and_the_favourites_are_listed() {
        let limits = ToolLimits::default();
        assert_eq!(names(40, &limits).len(), 40);
        assert_eq!(names(41, &limits), [FIND, CALL]);
        let tight = ToolLimits { bytes: 299, ..ToolLimits::default() };
        assert_eq!(names(3, &tight), [FIND, CALL]);
        let favourites = vec!["linear__*_7".to_owned(), "github__x".to_owned()];
        let limits = ToolLimits { favourites, ..limits };
        assert_eq!(names(41, &limits), [FIND, CALL, "linear__tool_7"]);
        let find = &definitions(Some(&catalog(41)), &limits)[0];
        let description = find["description"].as_str().unwrap();
        assert!(description.contains("linear (Issues of the team; 41 tools)"), "{description}");
        assert_eq!(find["inputSchema"]["properties"]["service"]["enum"], json!(["linear"]));
        assert_eq!(find["annotations"]["readOnlyHint"], true);
    }

    #[test]
    fn what_is_found_can_be_called() {
        let catalog = catalog(50);
        let find =
            |arguments: Value| find(Some(&catalog), serde_json::from_value(arguments).unwrap());
        let text = find(json!({ "query": "tool 7", "limit": "2" })).unwrap();
        let mut lines = text.lines();
        assert_eq!(
            lines.next(),
            Some(
                "50 of 50 tools fit, the best first. Call one with call_tool: name and arguments."
            )
        );
        assert_eq!(
            lines.next(),
            Some(
                r#"{"description":"Does a thing. And more.","inputSchema":{"type":"object"},"name":"linear__tool_7"}"#
            )
        );
        let rest = lines.skip(1).collect::<Vec<_>>();
        assert_eq!(rest[0], "Also:");
        assert_eq!(rest[1], "- linear__tool_1: Does a thing");
        let text = find(json!({ "service": "linear" })).unwrap();
        assert!(text.starts_with("50 tools. Search") && text.lines().count() == 51, "{text}");
        let text = find(json!({ "query": "weather" })).unwrap();
        assert!(text.starts_with("None of 50 tools fits \"weather\". There are:\n- "), "{text}");
        let error = find(json!({ "service": "linaer" })).unwrap_err().message();
        assert!(error.contains("Did you mean \"linear\"?"), "{error}");
    }
}
