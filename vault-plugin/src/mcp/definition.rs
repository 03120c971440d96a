//! One definition that an upstream gave: a tool, prompt, resource or template, to the letter.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::digest::Digest;
use super::hidden::is_hidden;
use super::{mirror, sanitise, schema};

/// What a definition defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Called with arguments; known by `name`.
    Tool,
    /// Filled in; known by `name`.
    Prompt,
    /// Read; known by `uri`.
    Resource,
    /// Filled in and read; known by `uriTemplate`.
    ResourceTemplate,
    /// The server's own instructions: one, without a name.
    Instructions,
}

impl Kind {
    /// The field that tells two of a kind apart.
    pub fn key_field(self) -> &'static str {
        match self {
            Self::Tool | Self::Prompt => "name",
            Self::Resource => "uri",
            Self::ResourceTemplate => "uriTemplate",
            Self::Instructions => "instructions",
        }
    }

    /// In words.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Prompt => "prompt",
            Self::Resource => "resource",
            Self::ResourceTemplate => "resource template",
            Self::Instructions => "instructions",
        }
    }
}

/// The longest URI or template, in characters.
const MAX_URI: usize = 2_048;

/// A definition with its digest.
#[derive(Clone, Debug, PartialEq)]
pub struct Definition {
    /// What it defines.
    pub kind: Kind,
    /// Its name or URI, as the upstream gave it; empty for instructions.
    pub key: String,
    /// Over all of `raw`.
    pub digest: Digest,
    /// As the upstream gave it.
    pub raw: Map<String, Value>,
}

impl Definition {
    /// Takes a definition from a list; `None` for what has no name, or a form that can't be one.
    pub fn new(kind: Kind, raw: Value) -> Option<Self> {
        let Value::Object(raw) = raw else { return None };
        Self::of(kind, raw)
    }

    /// The same for what is known to be an object.
    pub fn of(kind: Kind, raw: Map<String, Value>) -> Option<Self> {
        let raw = Value::Object(raw);
        let digest = Digest::of(&raw)?;
        let Value::Object(raw) = raw else { return None };
        let key = match (kind, raw.get(kind.key_field())) {
            (Kind::Instructions, _) => String::new(),
            (_, Some(Value::String(key))) if !key.is_empty() => key.clone(),
            (_, _) => return None,
        };
        Some(Self { kind, key, digest, raw })
    }

    /// The server's instructions.
    pub fn instructions(text: &str) -> Option<Self> {
        let raw = Value::Object(Map::from_iter([("instructions".to_owned(), text.into())]));
        Self::new(Kind::Instructions, raw)
    }

    /// Why it can't be offered, in words for an operator, whoever approves it.
    pub fn problem(&self) -> Option<String> {
        let longest = match self.kind {
            Kind::Tool | Kind::Prompt => sanitise::NAME,
            Kind::Resource | Kind::ResourceTemplate => MAX_URI,
            Kind::Instructions => return None,
        };
        let field = self.kind.key_field();
        if self.key.chars().count() > longest {
            return Some(format!("its {field} has over {longest} characters"));
        }
        if self.key.chars().any(|c| c.is_control() || is_hidden(c)) {
            return Some(format!("its {field} has hidden characters"));
        }
        match self.kind {
            Kind::Tool => self.tool_problem(),
            Kind::Prompt => self
                .arguments_hide()
                .then(|| "the name of one of its arguments has hidden characters".to_owned()),
            Kind::Resource | Kind::ResourceTemplate | Kind::Instructions => None,
        }
    }

    fn tool_problem(&self) -> Option<String> {
        let Some(input @ Value::Object(keywords)) = self.raw.get("inputSchema") else {
            return Some("its inputSchema isn't an object".to_owned());
        };
        if keywords.get("type").is_some_and(|kind| kind != "object") {
            return Some("its inputSchema isn't of type object".to_owned());
        }
        if sanitise::size(input) > sanitise::SCHEMA {
            return Some(format!("its inputSchema has over {} bytes", sanitise::SCHEMA));
        }
        if schema::hides(input) {
            return Some(
                "a name or value in its inputSchema, which would be sent to the letter, has hidden \
                 characters"
                    .to_owned(),
            );
        }
        let support = self.raw.get("execution").and_then(|execution| execution.get("taskSupport"));
        if support.and_then(Value::as_str) == Some("required") {
            return Some("it runs only as a task, which isn't supported".to_owned());
        }
        mirror::annotations(input).err()
    }

    fn arguments_hide(&self) -> bool {
        let arguments = self.raw.get("arguments").and_then(Value::as_array);
        let names = arguments.into_iter().flatten().filter_map(|argument| argument.get("name"));
        names.filter_map(Value::as_str).any(|name| name.chars().any(is_hidden))
    }

    /// As agents may see it.
    pub fn shown(&self) -> Value {
        sanitise::shown(self.kind, &self.raw)
    }

    /// The input schema of a tool.
    pub fn input_schema(&self) -> Option<&Value> {
        self.raw.get("inputSchema")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn tool(raw: Value) -> Definition {
        Definition::new(Kind::Tool, raw).unwrap()
    }

    #[test]
    fn what_has_no_name_is_no_definition() {
        for raw in [json!({}), json!({ "name": "" }), json!({ "name": 7 }), json!("x"), json!(null)]
        {
            assert_eq!(Definition::new(Kind::Tool, raw), None);
        }
        assert_eq!(Definition::new(Kind::Resource, json!({ "name": "n" })), None);
        let template = json!({ "name": "n", "uriTemplate": "file:///{p}" });
        assert_eq!(Definition::new(Kind::ResourceTemplate, template).unwrap().key, "file:///{p}");
    }

    #[test]
    fn tools_that_cannot_be_offered_say_why() {
        let empty = json!({ "type": "object" });
        for (raw, problem) in [
            (json!({ "name": "x".repeat(129), "inputSchema": empty }), "over 128"),
            (json!({ "name": "a\u{200b}", "inputSchema": empty }), "hidden"),
            (json!({ "name": "a\n", "inputSchema": empty }), "hidden"),
            (json!({ "name": "a" }), "isn't an object"),
            (json!({ "name": "a", "inputSchema": [] }), "isn't an object"),
            (json!({ "name": "a", "inputSchema": { "type": "string" } }), "of type object"),
            (
                json!({ "name": "a", "inputSchema": { "x": "y".repeat(70_000) } }),
                "over 65536 bytes",
            ),
            (
                json!({ "name": "a", "inputSchema": { "properties": { "q\u{e0041}": {} } } }),
                "to the letter",
            ),
            (
                json!({ "name": "a", "inputSchema": { "properties": { "q": { "enum": ["\u{202e}"] } } } }),
                "to the letter",
            ),
            (
                json!({ "name": "a", "inputSchema": empty, "execution": { "taskSupport": "required" } }),
                "task",
            ),
            (
                json!({ "name": "a", "inputSchema": { "properties": { "q": { "x-mcp-header": "" } } } }),
                "x-mcp-header",
            ),
        ] {
            let found = tool(raw).problem();
            assert!(found.as_ref().is_some_and(|found| found.contains(problem)), "{found:?}");
        }
    }

    #[test]
    fn ordinary_tools_have_no_problem() {
        for raw in [
            json!({ "name": "a", "inputSchema": {} }),
            json!({ "name": "a", "inputSchema": { "properties": { "e": { "enum": ["👩\u{200d}💻", "a\nb"] } } } }),
            json!({ "name": "a", "inputSchema": {}, "execution": { "taskSupport": "optional" } }),
            json!({ "name": "a", "inputSchema": {}, "description": "hidden\u{200b}, and stripped when shown" }),
        ] {
            assert_eq!(tool(raw).problem(), None);
        }
    }
}
