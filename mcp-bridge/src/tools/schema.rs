//! Writes the tools' definitions and the server's instructions: the words a model chooses by.

use rmcp::model::{JsonObject, MetaObject, Tool, ToolAnnotations};
use serde_json::{Value, json};

use super::ToolName;
use super::result::{DEFAULT_MAX_CHARS, MAX_CHARS};
use crate::catalog::{Catalog, Kind, Method, Service};

/// The most names that a schema lists; beyond, the name is free text.
const MAX_ENUM: usize = 100;
/// The longest instructions, in bytes: clients put them into every first prompt.
const MAX_INSTRUCTIONS: usize = 1_950;

/// Of how many services the instructions say that tools wait.
const MAX_WAITING: usize = 5;

/// Defines a tool for the services that are known.
pub(super) fn tool(name: ToolName, catalog: Option<&Catalog>) -> Tool {
    let (title, description, schema, annotations) = match name {
        ToolName::ListServices => (
            "List the services you can call",
            "Lists the HTTP APIs that proxy_read and proxy_request can call: name, purpose, base \
             URL, allowed methods and paths, and whether each works now. Pass a service name for \
             its usage notes, example calls, rules and limits. Shows no credentials.",
            list_schema(),
            ToolAnnotations::new().read_only(true).idempotent(true).open_world(false),
        ),
        ToolName::ProxyRead => (
            "Read from a service (GET)",
            "Sends a GET request to a service's HTTP API and returns the status and the body. It \
             changes nothing. Vault adds the authentication: never send or ask for API keys or \
             tokens. If you don't know the paths, call list_services with the service's name \
             first.",
            read_schema(catalog),
            ToolAnnotations::new().read_only(true).open_world(true),
        ),
        ToolName::ProxyRequest => (
            "Call a service (may change things)",
            "Sends one HTTP request with any method to a service's HTTP API and returns the \
             status and the body. Vault adds the authentication: never send or ask for API keys \
             or tokens. It is sent once: if the outcome is reported as unknown, check with \
             proxy_read before you repeat it.",
            request_schema(catalog),
            ToolAnnotations::new().read_only(false).destructive(true).open_world(true),
        ),
    };
    // Without it Claude Code shows the model the tool's name alone.
    let mut meta = MetaObject::new();
    meta.insert("anthropic/alwaysLoad".to_owned(), Value::Bool(true));
    Tool::new(name.as_str(), description, schema)
        .with_title(title)
        .with_annotations(annotations)
        .with_meta(meta)
}

/// Writes the server's instructions: what it is for, and every callable service's name.
pub(crate) fn instructions(catalog: Option<&Catalog>) -> String {
    const HEAD: &str = "Calls HTTP APIs for you through HashiCorp Vault, which adds the \
                        credential: you never need, see or send an API key.";
    let waiting = catalog.map(waiting).unwrap_or_default();
    let services = catalog.map(|catalog| catalog.callable().collect::<Vec<_>>());
    let Some(services) = services.filter(|services| !services.is_empty()) else {
        return format!("{HEAD} Call list_services to see which APIs are available.{waiting}");
    };
    let mut text = format!("{HEAD} Use it whenever a task concerns one of these services: ");
    let room = MAX_INSTRUCTIONS - 60 - waiting.len();
    for (index, service) in services.iter().enumerate() {
        let separator = if index > 0 { ", " } else { "" };
        let purpose = purpose(service);
        let name = service.name.as_str();
        // Names matter more than purposes: short of room, the purposes go first.
        if text.len() + separator.len() + name.len() + purpose.len() <= room * 3 / 4 {
            text.push_str(&format!("{separator}{name}{purpose}"));
        } else if text.len() + separator.len() + name.len() <= room {
            text.push_str(&format!("{separator}{name}"));
        } else {
            text.push_str(&format!(" and {} more (see list_services)", services.len() - index));
            break;
        }
    }
    text.push('.');
    text + &waiting
}

/// What a service is for, and how its tools are named if it is an MCP server.
fn purpose(service: &Service) -> String {
    let purpose = super::list::one_line(&service.description);
    let tools = service.offer.as_ref().is_some_and(|offer| !offer.tools.is_empty());
    match (purpose.is_empty(), tools) {
        (true, false) => String::new(),
        (false, false) => format!(" ({purpose})"),
        (true, true) => format!(" (tools {}__…)", service.name),
        (false, true) => format!(" ({purpose}; tools {}__…)", service.name),
    }
}

/// Which MCP servers have tools that an operator hasn't approved, as sentences.
fn waiting(catalog: &Catalog) -> String {
    let waiting = catalog.visible().filter(|service| service.enabled && service.waiting > 0);
    let mut text = String::new();
    for service in waiting.take(MAX_WAITING) {
        text.push_str(&format!(" {}: {}.", service.name, super::list::waiting(service.waiting)));
    }
    text
}

fn list_schema() -> JsonObject {
    object(
        &json!({
            "service": {
                "type": "string",
                "description": "Details of this one service. Leave out for the overview.",
            },
        }),
        &[],
    )
}

fn read_schema(catalog: Option<&Catalog>) -> JsonObject {
    let reads = |service: &Service| {
        service.permitted.iter().any(|method| matches!(method, Method::Get | Method::Head))
    };
    let mut properties = common(catalog, reads);
    extend(&mut properties, shaping());
    object(&properties, &["service", "path"])
}

fn request_schema(catalog: Option<&Catalog>) -> JsonObject {
    let mut properties = common(catalog, |_| true);
    extend(
        &mut properties,
        json!({
            "method": {
                "type": "string",
                "enum": ["POST", "PUT", "PATCH", "DELETE", "GET", "HEAD", "OPTIONS"],
                "description": "HTTP method. For GET prefer proxy_read.",
            },
            "json": {
                "anyOf": [
                    { "type": "object", "additionalProperties": true },
                    { "type": "array", "items": { "type": "object" } },
                ],
                "description": "JSON request body. Sets content-type: application/json.",
            },
            "form": {
                "type": "object",
                "additionalProperties": { "type": "string" },
                "description": "Form fields, sent as application/x-www-form-urlencoded.",
            },
            "body": {
                "type": "string",
                "description": "Any other text body. Set content-type in headers. Use only one \
                                of json, form, body.",
            },
        }),
    );
    extend(&mut properties, shaping());
    object(&properties, &["service", "method", "path"])
}

fn common(catalog: Option<&Catalog>, wanted: impl Fn(&Service) -> bool) -> Value {
    let mut service = json!({
        "type": "string",
        "description": "Service name, as in list_services.",
    });
    let names = catalog
        .map(|catalog| {
            let http = catalog.callable().filter(|service| service.kind == Kind::Http);
            http.filter(|service| wanted(service)).collect::<Vec<_>>()
        })
        .unwrap_or_default();
    if !names.is_empty() && names.len() <= MAX_ENUM {
        let names = names.iter().map(|service| service.name.as_str()).collect::<Vec<_>>();
        extend(&mut service, json!({ "enum": names }));
    }
    json!({
        "service": service,
        "path": {
            "type": "string",
            "description": "Path below the service's base URL, starting with '/'. No host, no \
                            query string. Example: if the base URL is https://host/api/v3, \
                            '/series' calls https://host/api/v3/series.",
        },
        "query": {
            "type": "object",
            "additionalProperties": true,
            "description": "Query parameters, not yet encoded. A list value repeats the \
                            parameter.",
        },
        "headers": {
            "type": "object",
            "additionalProperties": { "type": "string" },
            "description": "Extra request headers, e.g. accept. Never credentials.",
        },
    })
}

fn shaping() -> Value {
    json!({
        "select": {
            "type": "string",
            "description": "JMESPath applied to a JSON response so that only what you need is \
                            returned. Example: [].{id: id, title: title}",
        },
        "max_chars": {
            "type": "integer",
            "minimum": MAX_CHARS.start(),
            "maximum": MAX_CHARS.end(),
            "description": format!(
                "Cut the response body after this many characters (default {DEFAULT_MAX_CHARS}). \
                 The last line says how to get the rest."
            ),
        },
    })
}

fn extend(target: &mut Value, more: Value) {
    if let (Value::Object(target), Value::Object(more)) = (target, more) {
        target.extend(more);
    }
}

fn object(properties: &Value, required: &[&str]) -> JsonObject {
    let mut schema = JsonObject::new();
    schema.insert("type".to_owned(), Value::from("object"));
    schema.insert("properties".to_owned(), properties.clone());
    if !required.is_empty() {
        schema.insert("required".to_owned(), Value::from(required));
    }
    schema.insert("additionalProperties".to_owned(), Value::Bool(false));
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog(count: usize) -> Catalog {
        let service = |index: usize| {
            json!({ "name": format!("service-{index}"), "description": "Does a thing",
                    "permitted": ["GET"] })
        };
        let services = (0..count).map(service).collect::<Vec<_>>();
        serde_json::from_value(json!({ "revision": "1", "services": services })).unwrap()
    }

    #[test]
    fn instructions_stay_short_and_name_as_many_services_as_fit() {
        let text = instructions(Some(&catalog(2)));
        assert!(text.ends_with("service-0 (Does a thing), service-1 (Does a thing)."), "{text}");
        let text = instructions(Some(&catalog(500)));
        assert!(text.len() <= 2_000, "{}", text.len());
        assert!(text.contains("more (see list_services)."), "{text}");
        assert!(instructions(None).contains("list_services"));
    }

    #[test]
    fn an_mcp_server_is_named_with_its_tools_and_what_waits_and_takes_no_paths() {
        let catalog = serde_json::from_value::<Catalog>(json!({ "services": [
            { "name": "github", "permitted": ["GET"] },
            { "name": "linear", "type": "mcp", "description": "Issues.", "waiting": 1,
              "offer": { "tools": [{ "name": "linear__x", "definition": {} }] } },
            { "name": "notion", "type": "mcp", "waiting": 23, "offer": {} },
        ] }))
        .unwrap();
        let text = instructions(Some(&catalog));
        assert!(
            text.ends_with(
                "services: github, linear (Issues; tools linear__…). linear: 1 tool waits for an \
                 operator's approval. notion: 23 tools wait for an operator's approval."
            ),
            "{text}"
        );
        let tool = tool(ToolName::ProxyRequest, Some(&catalog));
        assert_eq!(tool.input_schema["properties"]["service"]["enum"], json!(["github"]));
    }

    #[test]
    fn names_are_listed_up_to_a_hundred() {
        let names = |count| {
            let tool = tool(ToolName::ProxyRead, Some(&catalog(count)));
            tool.input_schema["properties"]["service"].get("enum").cloned()
        };
        assert_eq!(names(2), Some(json!(["service-0", "service-1"])));
        assert!(names(100).is_some());
        assert_eq!(names(101), None);
        assert_eq!(names(0), None);
    }
}
