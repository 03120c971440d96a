//! What is stored of a server side by side: what was last seen, and what is approved. As data, and as
//! people read it.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::readable::Readable;
use super::{shown, time};
use crate::engine::parsed;
use crate::mcp::definition::{Definition, Kind};
use crate::mcp::digest::Digest;
use crate::mcp::flags::tool_names;
use crate::mcp::hidden::{on_one_line, revealed};
use crate::mcp::offer::{Item, Known, Offer, Pin, State};
use crate::name::Name;
use crate::proxy::service::ToolTrust;
use crate::storage::StoredTools;

/// How many fields that differ are named.
const FIELDS: usize = 50;

/// What an approval would change, with the command that makes it.
pub(super) fn changes(name: &Name, mount_point: &str, stored: &StoredTools) -> Map<String, Value> {
    let (seen, pins) = parsed(stored);
    // By what is stored alone, and whether or not the service wants approvals.
    let offer = Offer::of(&Known {
        trust: ToolTrust::Pin,
        seen: &seen,
        pins: &pins,
        segments: &stored.entry.segments,
        fresh: None,
    });
    let mut compared = Compared::of(&seen, &pins);
    let mut changes = Vec::new();
    let mut text = String::new();
    for item in &offer.items {
        match item.state {
            // Of what is refused there is nothing to approve, but something to know.
            State::New | State::Changed | State::Gone | State::Refused => {}
            State::Approved | State::Allowed | State::Collision => continue,
        }
        let (change, is_whole) = compared.change(item);
        describe(&mut text, &change);
        if !is_whole {
            let digest = item.digest.as_str();
            let _ =
                writeln!(text, "  whole in: vault read {mount_point}tools/{name}/tool/{digest}");
        }
        text.push('\n');
        changes.push(change);
    }
    let seen = stored.entry.seen.as_ref();
    if changes.is_empty() {
        text.push_str(if seen.is_some() { "No change.\n" } else { "Nothing was seen yet.\n" });
    } else if let Some(seen) = seen {
        let _ = writeln!(
            text,
            "To approve all of this: vault write {mount_point}tools/{name}/approve digest={}",
            seen.digest.as_str()
        );
    }
    Map::from_iter([
        ("service".to_owned(), name.as_str().into()),
        ("digest".to_owned(), seen.map(|seen| seen.digest.as_str()).into()),
        ("seen_at".to_owned(), seen.map(|seen| time(seen.at)).into()),
        ("changes".to_owned(), changes.into()),
        ("text".to_owned(), text.into()),
    ])
}

type Of<'d> = (Kind, &'d str);

struct Compared<'d> {
    old: HashMap<Of<'d>, &'d Definition>,
    new: HashMap<Of<'d>, &'d Definition>,
    names: BTreeSet<&'d str>,
    /// The names of what is gone, by what it was less its name.
    gone: HashMap<(Kind, Digest), &'d str>,
    readable: Readable,
}

impl<'d> Compared<'d> {
    fn of(seen: &'d [Definition], pins: &'d [Pin]) -> Self {
        fn by_name<'d>(
            definitions: impl Iterator<Item = &'d Definition>,
        ) -> HashMap<Of<'d>, &'d Definition> {
            let mut by_name = HashMap::new();
            for definition in definitions {
                by_name.entry((definition.kind, definition.key.as_str())).or_insert(definition);
            }
            by_name
        }
        let old = by_name(pins.iter().map(|pin| &pin.definition));
        let new = by_name(seen.iter());
        let gone = old.iter().filter(|(of, _)| !new.contains_key(*of));
        let gone = gone.filter_map(|((kind, key), old)| Some(((*kind, nameless(old)?), *key)));
        let gone = gone.collect();
        Self { old, new, names: tool_names(seen), gone, readable: Readable::new() }
    }

    /// A change, and whether it is told whole.
    fn change(&mut self, item: &Item) -> (Value, bool) {
        let of = (item.kind, item.key.as_str());
        let (old, new) = (self.old.get(&of).copied(), self.new.get(&of).copied());
        let mut is_whole = true;
        let mut readable = |definition| {
            let text = self.readable.of(definition);
            is_whole &= !self.readable.is_cut;
            text
        };
        let (old_text, new_text) = (old.map(&mut readable), new.map(&mut readable));
        let change = json!({
            "kind": item.kind.word(),
            "name": item.key,
            "change": item.state.as_str(),
            "renamed_from": new.filter(|_| old.is_none()).and_then(|new| self.renamed(new)),
            "segment": item.segment,
            "digest": item.digest.as_str(),
            "approved_digest": item.approved.as_ref().map(|approved| approved.digest.as_str()),
            "fields": differing(old, new),
            "flags": shown::flags(new, &self.names),
            "problem": item.problem,
            "old": old_text,
            "new": new_text,
        });
        (change, is_whole)
    }

    /// What a definition was called before, if it is another only by its name: a hint, and nothing
    /// goes by it.
    fn renamed(&self, new: &Definition) -> Option<&'d str> {
        if self.gone.is_empty() {
            return None;
        }
        self.gone.get(&(new.kind, nameless(new)?)).copied()
    }
}

fn nameless(definition: &Definition) -> Option<Digest> {
    let mut tree = definition.tree();
    tree.remove(definition.kind.key_field());
    Digest::of(&Value::Object(tree))
}

fn differing(old: Option<&Definition>, new: Option<&Definition>) -> Vec<String> {
    let (Some(old), Some(new)) = (old, new) else { return Vec::new() };
    let (old, new) = (old.tree(), new.tree());
    let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
    let keys = keys.filter(|key| old.get(*key) != new.get(*key)).take(FIELDS);
    keys.map(|key| revealed(&key.chars().take(FIELDS).collect::<String>())).collect()
}

/// One change as people read it: lines that go, lines that come. Outside of these, all that the server
/// wrote stands on lines of ours, and makes none.
fn describe(text: &mut String, change: &Value) {
    let word = |key: &str| change.get(key).and_then(Value::as_str);
    let name = on_one_line(word("name").unwrap_or_default());
    let _ = writeln!(
        text,
        "{} {} {name}",
        word("change").unwrap_or_default(),
        word("kind").unwrap_or_default()
    );
    if let Some(before) = word("renamed_from") {
        let _ = writeln!(text, "  the same as {}, which is gone", on_one_line(before));
    }
    if let Some(problem) = word("problem") {
        let _ = writeln!(text, "  problem: {}", on_one_line(problem));
    }
    for flag in change.get("flags").and_then(Value::as_array).into_iter().flatten() {
        let part =
            |key: &str| on_one_line(flag.get(key).and_then(Value::as_str).unwrap_or_default());
        let _ = writeln!(text, "  flag: {} at {}: {}", part("code"), part("at"), part("text"));
    }
    let fields = change.get("fields").and_then(Value::as_array).into_iter().flatten();
    let fields: Vec<String> = fields.filter_map(Value::as_str).map(on_one_line).collect();
    if !fields.is_empty() {
        let _ = writeln!(text, "  differs in: {}", fields.join(", "));
    }
    let (old, new) = (word("old").unwrap_or_default(), word("new").unwrap_or_default());
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // What is alike before and after stays unsaid, but for one line on either side.
    let before = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - before;
    let after = old.iter().rev().zip(new.iter().rev()).take(rest);
    let after = after.take_while(|(old, new)| old == new).count();
    let (old_end, new_end) = (old.len() - after, new.len() - after);
    for (mark, lines) in [
        (" ", before.checked_sub(1).and_then(|at| old.get(at..before))),
        ("-", old.get(before..old_end)),
        ("+", new.get(before..new_end)),
        (" ", old.get(old_end..(old_end + 1).min(old.len()))),
    ] {
        for line in lines.into_iter().flatten() {
            let _ = writeln!(text, "  {mark} {line}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_by_the_lines_that_differ() {
        let change = json!({
            "change": "changed", "kind": "tool", "name": "a\u{200b}",
            "flags": [{ "code": "hides_from_user", "at": "description", "text": "do not tell" }],
            "fields": ["b", "b\nb"],
            "old": "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}",
            "new": "{\n  \"a\": 1,\n  \"b\": 9,\n  \"bb\": 8,\n  \"c\": 3\n}",
        });
        let mut text = String::new();
        describe(&mut text, &change);
        assert_eq!(
            text,
            "changed tool a\\u{200b}\n  flag: hides_from_user at description: do not tell\n\
             \x20 differs in: b, b\\nb\n\
             \x20     \"a\": 1,\n  -   \"b\": 2,\n  +   \"b\": 9,\n  +   \"bb\": 8,\n      \"c\": 3\n"
        );
    }

    #[test]
    fn what_is_new_or_gone_is_told_in_full() {
        let mut text = String::new();
        describe(
            &mut text,
            &json!({ "change": "new", "kind": "tool", "name": "a", "new": "{\n}" }),
        );
        describe(&mut text, &json!({ "change": "gone", "kind": "tool", "name": "b", "old": "{}" }));
        assert_eq!(text, "new tool a\n  + {\n  + }\ngone tool b\n  - {}\n");
    }

    #[test]
    fn what_a_server_writes_makes_no_line() {
        let line = "\nTo approve all of this: rm\r\u{2028}";
        let change = json!({
            "change": "new", "kind": "tool", "name": line, "renamed_from": line, "problem": line,
            "flags": [{ "code": "a", "at": line, "text": line }, { "code": "b", "at": line, "text": "" }],
        });
        let mut text = String::new();
        describe(&mut text, &change);
        assert_eq!(text.split(['\n', '\r', '\u{2028}']).count(), 6, "{text}");
        assert!(!text.lines().any(|line| line.starts_with("To approve")), "{text}");
    }
}
