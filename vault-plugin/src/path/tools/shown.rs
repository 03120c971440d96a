//! How a server's offer is read by operators.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::time;
use crate::engine::{Count, Stale, Tools, parsed, rules, trust};
use crate::mcp::definition::{Definition, Kind};
use crate::mcp::flags::{self, Flag, tool_names};
use crate::mcp::hidden::on_one_line;
use crate::mcp::offer::{Item, State};
use crate::name::Name;
use crate::proxy::rules::{NameRules, Named};
use crate::proxy::service::ToolTrust;
use crate::storage::{ServiceEntry, StoredTools};

/// How many names a warning lists.
pub(super) const FEW: usize = 10;

const STATES: [State; 7] = [
    State::Approved,
    State::Allowed,
    State::Changed,
    State::New,
    State::Collision,
    State::Refused,
    State::Gone,
];

pub(super) fn overview(
    name: &Name,
    entry: &ServiceEntry,
    tools: &Tools,
    stale: Option<Stale>,
) -> Map<String, Value> {
    let offered =
        |kind| tools.offer.of_kind(kind).filter(|item: &&Item| item.state.is_offered()).count();
    let seen = tools.seen.as_ref();
    let trust = match trust(entry) {
        ToolTrust::Pin => "pin",
        ToolTrust::Allow => "allow",
    };
    Map::from_iter([
        ("service".to_owned(), Value::from(name.as_str())),
        ("trust".to_owned(), trust.into()),
        ("digest".to_owned(), seen.map(|seen| seen.digest.as_str()).into()),
        ("seen_at".to_owned(), seen.map(|seen| time(seen.at)).into()),
        ("protocol".to_owned(), seen.map(|seen| seen.protocol.clone()).into()),
        (
            "server".to_owned(),
            seen.map(|seen| json!({ "name": seen.server_name, "version": seen.server_version }))
                .into(),
        ),
        ("left_out".to_owned(), seen.map(|seen| seen.left_out.clone()).unwrap_or_default().into()),
        ("stale".to_owned(), stale.is_some().into()),
        ("stale_since".to_owned(), stale.map(|stale| time(stale.since)).into()),
        ("stale_code".to_owned(), stale.map(|stale| stale.code.as_str()).into()),
        ("tools".to_owned(), counts(tools)),
        ("waiting".to_owned(), tools.offer.waiting().into()),
        ("prompts".to_owned(), offered(Kind::Prompt).into()),
        ("resources".to_owned(), offered(Kind::Resource).into()),
        ("resource_templates".to_owned(), offered(Kind::ResourceTemplate).into()),
    ])
}

pub(super) fn counts(tools: &Tools) -> Value {
    let mut counts: BTreeMap<&str, usize> =
        STATES.iter().map(|state| (state.as_str(), 0)).collect();
    for item in tools.offer.of_kind(Kind::Tool) {
        *counts.entry(item.state.as_str()).or_default() += 1;
    }
    json!(counts)
}

pub(super) fn collisions(tools: &Tools) -> impl Iterator<Item = &str> {
    let tools = tools.offer.of_kind(Kind::Tool);
    tools.filter(|item| item.state == State::Collision).map(|item| item.key.as_str())
}

/// What a list of all services tells of one. What can't be read counts for nothing, and says so.
pub(in crate::path) fn counted(count: Option<Count>) -> Map<String, Value> {
    let is_unreadable = count.is_none();
    let Count { tools, waiting } = count.unwrap_or_default();
    let mut counted = Map::from_iter([
        ("tools".to_owned(), tools.into()),
        ("waiting".to_owned(), waiting.into()),
    ]);
    if is_unreadable {
        counted.insert("unreadable".to_owned(), true.into());
    }
    counted
}

/// The first names of many, for a warning.
pub(super) fn few<'n>(names: impl ExactSizeIterator<Item = &'n str>) -> String {
    let more = if names.len() > FEW { ", …" } else { "" };
    let few: Vec<&str> = names.take(FEW).collect();
    format!("{}{more}", few.join(", "))
}

pub(super) fn states(
    shown: &mut Map<String, Value>,
    entry: &ServiceEntry,
    tools: &Tools,
    stored: &StoredTools,
) {
    let (seen, _) = parsed(stored);
    let names = tool_names(&seen);
    let mut flagged: BTreeMap<(Kind, &str), Vec<Flag>> = BTreeMap::new();
    for definition in &seen {
        let flags = flags::flags(definition, &names);
        flagged.entry((definition.kind, &definition.key)).or_default().extend(flags);
    }
    let rules = rules(entry);
    let states = tools.offer.items.iter().map(|item| {
        let flags = flagged.get(&(item.kind, item.key.as_str()));
        let flags = flags.into_iter().flatten().map(|flag| {
            let Flag { code, at, text } = flag;
            let flag = if text.is_empty() {
                format!("{code} at {at}")
            } else {
                format!("{code} at {at}: {text}")
            };
            on_one_line(&flag)
        });
        let mut state = state(item, &rules);
        state.insert("kind".to_owned(), item.kind.word().into());
        state.insert("flags".to_owned(), flags.collect());
        Value::Object(state)
    });
    shown.insert("states".into(), states.collect());
}

/// One definition without its flags.
pub(super) fn state(item: &Item, rules: &NameRules) -> Map<String, Value> {
    let approved = item.approved.as_ref();
    Map::from_iter([
        ("name".to_owned(), Value::from(item.key.clone())),
        ("state".to_owned(), item.state.as_str().into()),
        ("segment".to_owned(), item.segment.clone().into()),
        ("digest".to_owned(), item.digest.as_str().into()),
        ("approved_digest".to_owned(), approved.map(|approved| approved.digest.as_str()).into()),
        ("approved_at".to_owned(), approved.map(|approved| time(approved.at)).into()),
        ("approved_by".to_owned(), approved.map(|approved| approved.by.clone()).into()),
        ("problem".to_owned(), item.problem.clone().into()),
        ("denied_by_rule".to_owned(), denied(item, rules).into()),
    ])
}

/// Whether the service's rules leave a definition out.
pub(in crate::path) fn denied(item: &Item, rules: &NameRules) -> bool {
    let named = match item.kind {
        Kind::Tool => Named::Tool,
        Kind::Prompt => Named::Prompt,
        // What a template gives is judged again when it is read.
        Kind::Resource | Kind::ResourceTemplate => Named::Resource,
        Kind::Instructions => return false,
    };
    !rules.allows(named, &item.key)
}

/// `names` are those of all tools that were seen.
pub(super) fn flags(definition: Option<&Definition>, names: &BTreeSet<&str>) -> Value {
    let flags = definition.map(|definition| flags::flags(definition, names)).unwrap_or_default();
    let flags =
        flags.iter().map(|flag| json!({ "code": flag.code, "at": flag.at, "text": flag.text }));
    flags.collect()
}
