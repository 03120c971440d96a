//! What one look at a server found, each definition with its digest.

use serde_json::Value;
use serde_json::value::RawValue;

use super::client::Listing;
use super::definition::{Definition, Kind};
use super::digest::Digest;
use super::listing::{MOST_BYTES, MOST_DEFINITION_BYTES, leave_out};
use super::raw::{Build, few_fields, text};
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
        let mut room = MOST_BYTES;
        seen.take(Kind::Tool, &listing.tools, &mut room);
        seen.take(Kind::Prompt, &listing.prompts, &mut room);
        seen.take(Kind::Resource, &listing.resources, &mut room);
        seen.take(Kind::ResourceTemplate, &listing.templates, &mut room);
        let instructions = listing.server.instructions.as_deref().filter(|text| !text.is_empty());
        seen.definitions.extend(instructions.and_then(Definition::instructions));
        seen
    }

    /// Takes definitions of a kind, as far as there is room: the same text may be longer as it is
    /// stored, with its numbers written out.
    fn take(&mut self, kind: Kind, listed: &[Box<RawValue>], room: &mut usize) {
        let (word, field) = (kind.word(), kind.key_field());
        let mut lost = 0;
        for raw in listed {
            let built = Build::of(raw.get());
            let bounds =
                [(built.levels, MOST_LEVELS, "levels"), (built.values, MOST_VALUES, "values")];
            if let Some((_, most, what)) = bounds.iter().find(|(number, most, _)| number > most) {
                let why = format!("{} has over {most} {what}", called(kind, raw));
                leave_out(&mut self.left_out, why);
                continue;
            }
            let tree: Option<Value> = serde_json::from_str(raw.get()).ok();
            let Some(definition) = tree.and_then(|tree| Definition::new(kind, &tree)) else {
                lost += 1;
                continue;
            };
            let bytes = definition.text.get().len();
            if bytes > MOST_DEFINITION_BYTES {
                let why = format!("{} has over {MOST_DEFINITION_BYTES} bytes", called(kind, raw));
                leave_out(&mut self.left_out, why);
            } else if let Some(rest) = room.checked_sub(bytes) {
                *room = rest;
                self.definitions.push(definition);
            } else {
                let why = format!("the lists have more than {MOST_BYTES} bytes, at the {word}s");
                leave_out(&mut self.left_out, why);
                break;
            }
        }
        if lost > 0 {
            let why = format!("{lost} without {field}, or that are no {word} at all");
            leave_out(&mut self.left_out, why);
        }
    }

    /// One digest over everything seen, whatever its order.
    pub fn digest(&self) -> Option<Digest> {
        digest_of_all(&self.definitions)
    }
}

/// How deep a definition may be nested: what is read together with others lies deeper, and readers
/// of JSON stop at 100 or so.
const MOST_LEVELS: usize = 64;
/// How many values one definition may have: a bound of what it takes in memory while it is read.
const MOST_VALUES: usize = 20_000;

/// A definition that isn't taken, for an operator.
fn called(kind: Kind, raw: &RawValue) -> String {
    let key = few_fields(raw.get()).and_then(|fields| text(fields.get(kind.key_field())?));
    format!("{} {:?}", kind.word(), sanitise::name(&key.unwrap_or_default()))
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
    fn a_definition_that_would_fill_the_memory_or_the_storage_is_left_out() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let listed = |parts: &[String]| {
            let tools =
                parts.iter().map(|part| raw(&format!(r#"{{"name":"a\u200b\n","x":{part}}}"#)));
            Seen::of(&Listing { tools: tools.collect(), ..Listing::default() })
        };
        let deep = (MOST_LEVELS, "levels");
        for (part, (most, what)) in [
            (nested(MOST_LEVELS), deep),
            (nested(500), deep),
            (nested(100_000), deep),
            (format!("[{}1]", r#"{"":1},"#.repeat(MOST_VALUES)), (MOST_VALUES, "values")),
            // Written out, these are longer.
            (format!("[{}1]", "1e15,".repeat(19_000)), (MOST_DEFINITION_BYTES, "bytes")),
        ] {
            let seen = listed(&[part]);
            assert!(seen.definitions.is_empty());
            assert_eq!(seen.left_out, [format!("tool \"a\\n\" has over {most} {what}")]);
        }
        assert_eq!(listed(&[nested(MOST_LEVELS - 1)]).definitions.len(), 1);
        let many = listed(&vec![format!("[{}1]", "1e15,".repeat(10_000)); 50]);
        let bytes = many.definitions.iter().map(|one| one.text.get().len()).sum::<usize>();
        assert!((MOST_BYTES / 2..=MOST_BYTES).contains(&bytes), "{bytes}");
        assert_eq!(
            many.left_out,
            [format!("the lists have more than {MOST_BYTES} bytes, at the tools")]
        );
    }
}
