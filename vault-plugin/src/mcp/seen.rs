//! What one look at a server found, each definition with its digest.

use serde_json::Value;
use serde_json::value::RawValue;

use super::client::Listing;
use super::definition::{Definition, Kind};
use super::digest::Digest;
use super::sanitise;

/// One look.
#[derive(Clone, Debug)]
pub struct Seen {
    /// The revision of MCP that was spoken.
    pub protocol: String,
    /// What the server calls itself, as it may be shown.
    pub server_name: String,
    /// And its version.
    pub server_version: String,
    /// In the server's order.
    pub definitions: Vec<Definition>,
    /// What wasn't taken, in words.
    pub left_out: Vec<String>,
}

impl Seen {
    /// Takes what was listed.
    pub fn of(listing: &Listing) -> Self {
        let mut seen = Self {
            protocol: sanitise::name(&listing.protocol),
            server_name: sanitise::name(&listing.server.name),
            server_version: sanitise::name(&listing.server.version),
            definitions: Vec::new(),
            left_out: listing.left_out.clone(),
        };
        seen.take(Kind::Tool, &listing.tools);
        seen.take(Kind::Prompt, &listing.prompts);
        seen.take(Kind::Resource, &listing.resources);
        seen.take(Kind::ResourceTemplate, &listing.templates);
        let instructions = listing.server.instructions.as_deref().filter(|text| !text.is_empty());
        seen.definitions.extend(instructions.and_then(Definition::instructions));
        seen
    }

    fn take(&mut self, kind: Kind, listed: &[Box<RawValue>]) {
        let parse = |raw: &RawValue| serde_json::from_str::<Value>(raw.get()).ok();
        let taken = listed.iter().filter_map(|raw| Definition::new(kind, parse(raw)?));
        let before = self.definitions.len();
        self.definitions.extend(taken);
        let lost = listed.len() - (self.definitions.len() - before);
        if lost > 0 {
            let (word, field) = (kind.word(), kind.key_field());
            self.left_out.push(format!("{lost} without {field}, or that are no {word} at all"));
        }
    }

    /// One digest over everything seen, whatever its order.
    pub fn digest(&self) -> Option<Digest> {
        digest_of_all(&self.definitions)
    }
}

/// One digest over definitions, whatever their order.
pub fn digest_of_all(definitions: &[Definition]) -> Option<Digest> {
    let mut all: Vec<[&str; 3]> = definitions
        .iter()
        .map(|definition| {
            [definition.kind.word(), definition.key.as_str(), definition.digest.as_str()]
        })
        .collect();
    all.sort_unstable();
    Digest::of(&serde_json::to_value(all).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn order_makes_no_difference_and_what_has_no_name_is_told() {
        let (a, b) = (r#"{"name":"a"}"#, r#"{"name":"b"}"#);
        let listing = |tools: &[&str]| Listing {
            tools: tools.iter().map(|text| raw(text)).collect(),
            ..Listing::default()
        };
        let seen = Seen::of(&listing(&[a, b, "7", "{}"]));
        assert_eq!(seen.definitions.len(), 2);
        assert_eq!(seen.left_out, ["2 without name, or that are no tool at all"]);
        assert_eq!(seen.digest(), Seen::of(&listing(&[b, a])).digest());
        assert_ne!(seen.digest(), Seen::of(&listing(&[a])).digest());
        let mut prompt = listing(&[a]);
        prompt.prompts.push(raw(b));
        assert_ne!(seen.digest(), Seen::of(&prompt).digest());
    }

    #[test]
    fn a_definition_that_is_nested_too_deep_is_left_out() {
        let deep = format!("{{\"name\":\"a\",\"x\":{}1{}}}", "[".repeat(500), "]".repeat(500));
        let listing = Listing { tools: vec![raw(&deep)], ..Listing::default() };
        assert!(Seen::of(&listing).definitions.is_empty());
    }
}
