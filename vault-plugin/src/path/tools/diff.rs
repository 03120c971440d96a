//! What an approval would change, side by side; and one tool in full.

use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use vault_sdk::{Call, Response};

use super::{data, known, shown, time};
use crate::engine::{Engine, parsed, rules};
use crate::error::Error;
use crate::mcp::definition::{Definition, Kind};
use crate::mcp::hidden::revealed;
use crate::mcp::offer::{Known, Offer, Pin, State};
use crate::proxy::service::ToolTrust;

pub(super) async fn read(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let (name, entry, _) = known(&engine, &call).await?;
    let stored = engine.stored_tools(call.storage.as_ref(), &entry.id).await?;
    let (seen, pins) = parsed(&stored);
    // By what is stored alone, and whether or not the service wants approvals.
    let offer = Offer::of(&Known {
        trust: ToolTrust::Pin,
        seen: &seen,
        pins: &pins,
        segments: &stored.entry.segments,
        fresh: None,
    });
    let mut changes = Vec::new();
    let mut text = String::new();
    for item in &offer.items {
        let change = match item.state {
            State::New | State::Changed | State::Gone => item.state.as_str(),
            // Nothing to approve, but to be known.
            State::Refused => item.state.as_str(),
            State::Approved | State::Allowed | State::Collision => continue,
        };
        let old = pins.iter().map(|pin| &pin.definition).find(|old| is(old, item.kind, &item.key));
        let new = seen.iter().find(|new| is(new, item.kind, &item.key));
        let renamed = new.filter(|_| old.is_none()).and_then(|new| renamed(new, &pins, &seen));
        let flags = shown::flags(new, &seen);
        let (old_text, new_text) = (old.map(readable), new.map(readable));
        let change = json!({
            "kind": item.kind.word(),
            "name": item.key,
            "change": change,
            "renamed_from": renamed,
            "segment": item.segment,
            "digest": item.digest.as_str(),
            "approved_digest": item.approved.as_ref().map(|approved| approved.digest.as_str()),
            "fields": differing(old, new),
            "flags": flags,
            "problem": item.problem,
            "old": old_text,
            "new": new_text,
        });
        describe(&mut text, &change);
        changes.push(change);
    }
    let seen = stored.entry.seen.as_ref();
    if changes.is_empty() {
        text.push_str(if seen.is_some() { "No change.\n" } else { "Nothing was seen yet.\n" });
    } else if let Some(seen) = seen {
        let _ = writeln!(
            text,
            "To approve all of this: vault write {}tools/{name}/approve digest={}",
            call.mount_point,
            seen.digest.as_str()
        );
    }
    data(json!({
        "service": name.as_str(),
        "digest": seen.map(|seen| seen.digest.as_str()),
        "seen_at": seen.map(|seen| time(seen.at)),
        "changes": changes,
        "text": text,
    }))
}

pub(super) async fn tool(engine: Arc<Engine>, call: Call) -> Result<Response, Error> {
    let (name, entry, tools) = known(&engine, &call).await?;
    let item = tools.find(&name, call.fields.text("name"))?;
    let stored = engine.stored_tools(call.storage.as_ref(), &entry.id).await?;
    let (seen, pins) = parsed(&stored);
    let new = seen.iter().find(|new| is(new, Kind::Tool, &item.key));
    let old = pins.iter().map(|pin| &pin.definition).find(|old| is(old, Kind::Tool, &item.key));
    let raw = |definition: &Definition| definition.text.get().to_owned();
    let mut shown = shown::state(item, &rules(&entry));
    shown.extend(Map::from_iter([
        ("flags".to_owned(), shown::flags(new, &seen)),
        ("definition".to_owned(), new.map(raw).into()),
        ("approved_definition".to_owned(), old.map(raw).into()),
        ("shown".to_owned(), new.map(|new| new.shown().to_string()).into()),
    ]));
    data(Value::Object(shown))
}

fn is(definition: &Definition, kind: Kind, key: &str) -> bool {
    definition.kind == kind && definition.key == key
}

/// What a definition was called before, if it is another only by its name: a hint, and nothing goes
/// by it.
fn renamed<'p>(new: &Definition, pins: &'p [Pin], seen: &[Definition]) -> Option<&'p str> {
    let field = new.kind.key_field();
    let nameless = |definition: &Definition| {
        let mut tree = definition.tree();
        tree.remove(field);
        tree
    };
    let gone = pins.iter().map(|pin| &pin.definition).filter(|old| {
        old.kind == new.kind && !seen.iter().any(|seen| is(seen, old.kind, &old.key))
    });
    let mut same = gone.filter(|old| nameless(old) == nameless(new));
    same.next().map(|old| old.key.as_str())
}

fn differing(old: Option<&Definition>, new: Option<&Definition>) -> Vec<String> {
    let (Some(old), Some(new)) = (old, new) else { return Vec::new() };
    let (old, new) = (old.tree(), new.tree());
    let keys = old.keys().chain(new.keys().filter(|key| !old.contains_key(*key)));
    keys.filter(|key| old.get(*key) != new.get(*key)).map(|key| revealed(key)).collect()
}

fn readable(definition: &Definition) -> String {
    revealed(&serde_json::to_string_pretty(&definition.tree()).unwrap_or_default())
}

/// One change as people read it: lines that go, lines that come.
fn describe(text: &mut String, change: &Value) {
    let word = |key: &str| change.get(key).and_then(Value::as_str);
    let name = revealed(word("name").unwrap_or_default());
    let _ = writeln!(
        text,
        "{} {} {name}",
        word("change").unwrap_or_default(),
        word("kind").unwrap_or_default()
    );
    if let Some(before) = word("renamed_from") {
        let _ = writeln!(text, "  the same as {}, which is gone", revealed(before));
    }
    if let Some(problem) = word("problem") {
        let _ = writeln!(text, "  problem: {}", revealed(problem));
    }
    for flag in change.get("flags").and_then(Value::as_array).into_iter().flatten() {
        let part = |key: &str| flag.get(key).and_then(Value::as_str).unwrap_or_default();
        let _ = writeln!(text, "  flag: {} at {}: {}", part("code"), part("at"), part("text"));
    }
    let (old, new) = (word("old").unwrap_or_default(), word("new").unwrap_or_default());
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    // What is alike before and after stays unsaid, but for one line on either side.
    let before = old.iter().zip(&new).take_while(|(old, new)| old == new).count();
    let rest = old.len().min(new.len()) - before;
    let after = old.iter().rev().zip(new.iter().rev()).take(rest);
    let after = after.take_while(|(old, new)| old == new).count();
    let mut lines = |mark: &str, lines: &[&str]| {
        for line in lines {
            let _ = writeln!(text, "  {mark} {line}");
        }
    };
    let part = |lines: &[&'_ str], from: usize, to: usize| -> Vec<String> {
        lines.get(from..to).unwrap_or_default().iter().map(|line| (*line).to_owned()).collect()
    };
    let around = before.checked_sub(1).map_or_else(Vec::new, |at| part(&old, at, before));
    let gone = part(&old, before, old.len() - after);
    let come = part(&new, before, new.len() - after);
    let tail = part(&old, old.len() - after, (old.len() - after + 1).min(old.len()));
    for (mark, some) in [(" ", around), ("-", gone), ("+", come), (" ", tail)] {
        lines(mark, &some.iter().map(String::as_str).collect::<Vec<_>>());
    }
    text.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_told_by_the_lines_that_differ() {
        let change = json!({
            "change": "changed", "kind": "tool", "name": "a\u{200b}",
            "flags": [{ "code": "hides_from_user", "at": "description", "text": "do not tell" }],
            "old": "{\n  \"a\": 1,\n  \"b\": 2,\n  \"c\": 3\n}",
            "new": "{\n  \"a\": 1,\n  \"b\": 9,\n  \"bb\": 8,\n  \"c\": 3\n}",
        });
        let mut text = String::new();
        describe(&mut text, &change);
        assert_eq!(
            text,
            "changed tool a\\u{200b}\n  flag: hides_from_user at description: do not tell\n\
             \x20     \"a\": 1,\n  -   \"b\": 2,\n  +   \"b\": 9,\n  +   \"bb\": 8,\n      \"c\": 3\n\n"
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
        assert_eq!(text, "new tool a\n  + {\n  + }\n\ngone tool b\n  - {}\n\n");
    }
}
