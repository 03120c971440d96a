//! Models what MCP servers behind the engine offer, in the form in which agents get it.

mod call;
mod name;
mod offer;
mod raw;
mod resources;
mod result;
mod schema;
mod search;

use std::sync::Arc;

use rmcp::model::JsonObject;
use serde::{Deserialize, Serialize};

pub(crate) use call::{Call, Given, Outcome, RpcError, send};
pub(crate) use name::is_segment;
pub(crate) use offer::{Listed, offer};
pub(crate) use resources::{Resources, Unresolved, prefix};
pub(crate) use result::{resource_result, result, tool_result};
pub(crate) use search::rank;

/// What one MCP server offers to this agent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Offer {
    /// Its tools, by name.
    pub(crate) tools: Vec<Arc<Entry>>,
    /// Its prompts, by name.
    pub(crate) prompts: Vec<Arc<Entry>>,
    /// Its resources, in its own order.
    pub(crate) resources: Vec<Arc<Entry>>,
    /// Its templates of resources, in its own order.
    pub(crate) templates: Vec<Arc<Entry>>,
    /// Whether the engine's last look at the server failed: this is what was there before.
    pub(crate) stale: bool,
}

impl Offer {
    /// Whether there is nothing that an agent could use.
    pub(crate) fn is_empty(&self) -> bool {
        self.tools.is_empty()
            && self.prompts.is_empty()
            && self.resources.is_empty()
            && self.templates.is_empty()
    }
}

/// One thing that is offered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What agents call it: a name of the bridge's making, or a URI of the server's.
    pub(crate) name: String,
    /// What it goes by in Vault's paths; empty for resources.
    #[serde(default)]
    pub(crate) segment: String,
    /// Its definition as agents get it.
    pub(crate) definition: JsonObject,
    /// How large that is as JSON, in bytes.
    #[serde(default)]
    pub(crate) bytes: usize,
}

impl Entry {
    /// A text of the definition; empty where there is none.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.definition.get(field).and_then(serde_json::Value::as_str).unwrap_or_default()
    }

    /// Its title: the definition's own, or that of its annotations.
    pub(crate) fn title(&self) -> &str {
        match self.text("title") {
            "" => {
                let annotations = self.definition.get("annotations");
                let title = annotations.and_then(|annotations| annotations.get("title"));
                title.and_then(serde_json::Value::as_str).unwrap_or_default()
            }
            title => title,
        }
    }

    /// The first sentence of its description, on one line, or its title.
    pub(crate) fn summary(&self) -> String {
        let text = self.text("description").split_whitespace().collect::<Vec<_>>().join(" ");
        let text = if text.is_empty() { self.title().to_owned() } else { text };
        let sentence = text.split_inclusive(". ").next().unwrap_or_default().trim();
        match sentence.char_indices().nth(SUMMARY) {
            Some((at, _)) => format!("{}…", sentence.get(..at).unwrap_or_default()),
            None => sentence.trim_end_matches('.').to_owned(),
        }
    }
}

/// The longest summary, in characters.
const SUMMARY: usize = 140;

/// Whether a text matches a pattern in which `*` stands for any characters.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut rest = rest;
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = rest.get(at + part.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters_and_nothing_else_is_special() {
        for (pattern, text, expected) in [
            ("linear__create_*", "linear__create_issue", true),
            ("linear__*_issue", "linear__create_issue", true),
            ("linear__*_issue", "linear__create_issues", false),
            ("*", "", true),
            ("a", "a", true),
            ("a", "ab", false),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXcYb", false),
            ("a.c", "abc", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
