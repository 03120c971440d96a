//! One definition that an upstream gave: a tool, prompt, resource or template, to the letter.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Map, Value, json};

use super::digest::Digest;
use super::hidden::is_hidden;
use super::{mirror, sanitise, schema};
use crate::proxy::rules::uri::misleads;

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
pub(super) const MAX_URI: usize = 2_048;

/// A definition with its digest. It is kept as text, since trees of many would fill the memory.
#[derive(Clone, Debug)]
pub struct Definition {
    /// What it defines.
    pub kind: Kind,
    /// Its name or URI, as the upstream gave it; empty for instructions.
    pub key: String,
    /// Over all of `text`.
    pub digest: Digest,
    /// The JSON of an object as the upstream gave it, less white space.
    pub text: Arc<RawValue>,
}

impl Definition {
    /// Takes a definition from a list; `None` for what has no name, or a form that can't be one.
    pub fn new(kind: Kind, tree: &Value) -> Option<Self> {
        Self::of(kind, tree, || Some(to_raw_value(tree).ok()?.into()))
    }

    /// The same from the text of one.
    pub fn stored(kind: Kind, text: &Arc<RawValue>) -> Option<Self> {
        let tree = serde_json::from_str(text.get()).ok()?;
        Self::of(kind, &tree, || Some(Arc::clone(text)))
    }

    fn of(kind: Kind, tree: &Value, text: impl FnOnce() -> Option<Arc<RawValue>>) -> Option<Self> {
        let key = match (kind, tree.as_object()?.get(kind.key_field())) {
            (Kind::Instructions, _) => String::new(),
            (_, Some(Value::String(key))) if !key.is_empty() => key.clone(),
            (_, _) => return None,
        };
        Some(Self { kind, key, digest: Digest::of(tree)?, text: text()? })
    }

    /// The server's instructions.
    pub fn instructions(text: &str) -> Option<Self> {
        Self::new(Kind::Instructions, &json!({ "instructions": text }))
    }

    /// Its fields, read from the text each time.
    pub fn tree(&self) -> Map<String, Value> {
        // It was read before, or it wouldn't be a definition.
        serde_json::from_str(self.text.get()).unwrap_or_default()
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
            Kind::Tool => tool_problem(&self.tree()),
            Kind::Prompt => arguments_hide(&self.tree())
                .then(|| "the name of one of its arguments has hidden characters".to_owned()),
            Kind::Resource | Kind::ResourceTemplate => {
                misleads(&self.key).map(|problem| format!("its {field} {problem}"))
            }
            Kind::Instructions => None,
        }
    }

    /// As agents may see it.
    pub fn shown(&self) -> Value {
        sanitise::shown(self.kind, &self.tree())
    }
}

fn tool_problem(tool: &Map<String, Value>) -> Option<String> {
    let Some(input @ Value::Object(keywords)) = tool.get("inputSchema") else {
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
    let support = tool.get("execution").and_then(|execution| execution.get("taskSupport"));
    if support.and_then(Value::as_str) == Some("required") {
        return Some("it runs only as a task, which isn't supported".to_owned());
    }
    mirror::annotations(input).err()
}

fn arguments_hide(prompt: &Map<String, Value>) -> bool {
    let arguments = prompt.get("arguments").and_then(Value::as_array);
    let names = arguments.into_iter().flatten().filter_map(|argument| argument.get("name"));
    names.filter_map(Value::as_str).any(|name| name.chars().any(is_hidden))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(raw: Value) -> Definition {
        Definition::new(Kind::Tool, &raw).unwrap()
    }

    #[test]
    fn what_has_no_name_is_no_definition() {
        for raw in [json!({}), json!({ "name": "" }), json!({ "name": 7 }), json!("x"), json!(null)]
        {
            assert!(Definition::new(Kind::Tool, &raw).is_none(), "{raw}");
        }
        assert!(Definition::new(Kind::Resource, &json!({ "name": "n" })).is_none());
        let template = json!({ "name": "n", "uriTemplate": "file:///{p}" });
        assert_eq!(Definition::new(Kind::ResourceTemplate, &template).unwrap().key, "file:///{p}");
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
            (json!({ "name": "a", "inputSchema": { "x\u{e0041}": 1 } }), "to the letter"),
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
    fn resources_that_would_be_read_otherwise_say_why() {
        let step = json!({ "name": "r", "uri": "docs://a/../b" });
        let found = Definition::new(Kind::Resource, &step).unwrap().problem();
        assert_eq!(found.as_deref(), Some("its uri has a '.' or '..' segment"));
        let plain = json!({ "name": "t", "uriTemplate": "docs://{name}{.kind}{/path*}{?q}" });
        assert_eq!(Definition::new(Kind::ResourceTemplate, &plain).unwrap().problem(), None);
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
