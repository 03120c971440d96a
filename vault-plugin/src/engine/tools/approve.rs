//! Approves what was seen of a server, and takes approvals back.

use std::collections::{BTreeMap, BTreeSet};

use vault_sdk::Storage;

use super::write::Anew;
use super::{Engine, Tools, aside, definition_entry, parsed, trust};
use crate::error::{Code, Error, Failure};
use crate::mcp::definition::{Definition, Kind};
use crate::mcp::flags::{self, tool_names};
use crate::mcp::offer::{Item, Pin, State};
use crate::mcp::segment::segment;
use crate::name::Name;
use crate::proxy::service::ToolTrust;
use crate::storage::{PinEntry, StoredTools, load_tools};

/// Which definitions a write is about; none named is all.
#[derive(Clone, Debug, Default)]
pub struct Selection(BTreeMap<Kind, Vec<String>>);

impl Selection {
    /// Adds names of a kind.
    pub fn add(&mut self, kind: Kind, names: Vec<String>) {
        self.0.entry(kind).or_default().extend(names);
    }

    /// Whether it is about everything.
    pub fn is_all(&self) -> bool {
        self.0.is_empty()
    }

    fn has(&self, kind: Kind, key: &str) -> bool {
        self.is_all() || self.0.get(&kind).is_some_and(|names| names.iter().any(|name| name == key))
    }

    /// The first name that isn't among those there are.
    fn missing<'s>(&'s self, there: &BTreeSet<(Kind, &str)>) -> Option<(Kind, &'s str)> {
        let named = self.0.iter().flat_map(|(kind, names)| names.iter().map(|name| (*kind, name)));
        named.map(|(kind, name)| (kind, name.as_str())).find(|named| !there.contains(named))
    }
}

/// What an approval came to.
#[derive(Debug)]
pub struct Approval {
    /// How many approvals were made or renewed.
    pub approved: usize,
    /// What couldn't be approved, with the reason.
    pub refused: Vec<(String, String)>,
    /// What was approved and looks suspicious.
    pub flagged: Vec<String>,
    /// What waits on after it.
    pub tools: Tools,
}

impl Engine {
    /// Approves what was last stored as seen, as far as it was selected. Approving everything drops
    /// approvals of what the server doesn't list any more.
    ///
    /// # Errors
    /// `check_and_set_failed` when what was seen has another digest than the one given;
    /// `invalid_request` when nothing was seen, or not what was named, or when what was named can't
    /// be offered; storage's own. Nothing is changed then.
    pub async fn approve(
        &self,
        storage: &dyn Storage,
        name: &Name,
        selection: &Selection,
        digest: Option<&str>,
        author: &str,
    ) -> Result<Approval, Error> {
        let _one = self.writes.lock().await;
        let service = self.mcp_service(storage, name).await?;
        let before = load_tools(storage, &service.id).await?;
        let Some(entry) = &before.entry.seen else {
            return Err(Failure::invalid(format!(
                "nothing was seen of \"{name}\" yet. Nothing was approved. Look at it first: vault \
                 write -f <mount>/tools/{name}/refresh"
            ))
            .into());
        };
        if digest.is_some_and(|digest| digest != entry.digest.as_str()) {
            return Err(Failure::new(
                Code::CheckAndSetFailed,
                format!(
                    "what was last seen of \"{name}\" has another digest than the one given: it \
                     changed since it was read. Nothing was approved. Read it again: vault read \
                     <mount>/tools/{name}/diff"
                ),
            )
            .into());
        }
        let decision = Decision {
            name: name.clone(),
            trust: trust(&service),
            selection: selection.clone(),
            at: (self.clock)(),
            by: author.to_owned(),
        };
        let (before, decided) = aside(move || {
            let decided = decision.make(&before);
            (before, decided)
        })
        .await?;
        let Decided { after, approved, refused, flagged } = decided?;
        let anew = Anew { seen: false, pins: true };
        let tools =
            self.commit_tools(storage, &service.id, trust(&service), before, after, anew).await?;
        Ok(Approval { approved, refused, flagged, tools })
    }

    /// Takes approvals back; tells how many.
    ///
    /// # Errors
    /// `invalid_request` when something that was named isn't approved; storage's own. Nothing is
    /// changed then.
    pub async fn revoke(
        &self,
        storage: &dyn Storage,
        name: &Name,
        selection: &Selection,
    ) -> Result<(usize, Tools), Error> {
        let _one = self.writes.lock().await;
        let service = self.mcp_service(storage, name).await?;
        let before = load_tools(storage, &service.id).await?;
        let (of, selection) = (name.clone(), selection.clone());
        let (before, after) = aside(move || {
            let after = without(&of, &selection, &before);
            (before, after)
        })
        .await?;
        let after = after?;
        let revoked = before.pins.len() - after.pins.len();
        let anew = Anew { seen: false, pins: true };
        let tools =
            self.commit_tools(storage, &service.id, trust(&service), before, after, anew).await?;
        Ok((revoked, tools))
    }
}

/// Who approves what, and when.
struct Decision {
    name: Name,
    trust: ToolTrust,
    selection: Selection,
    at: u64,
    by: String,
}

/// What that comes to.
struct Decided {
    after: StoredTools,
    approved: usize,
    refused: Vec<(String, String)>,
    flagged: Vec<String>,
}

impl Decision {
    fn make(&self, before: &StoredTools) -> Result<Decided, Failure> {
        let selection = &self.selection;
        let (seen, pins) = parsed(before);
        let there = seen.iter().map(|seen| (seen.kind, seen.key.as_str())).collect();
        if let Some(missing) = selection.missing(&there) {
            return Err(not_there(&self.name, missing));
        }
        let twice = twice(&seen);
        let mut approved: BTreeMap<(Kind, &str), &Definition> = BTreeMap::new();
        let mut refused = Vec::new();
        for definition in seen.iter().filter(|seen| selection.has(seen.kind, &seen.key)) {
            let of = (definition.kind, definition.key.as_str());
            let problem = definition.problem().or_else(|| {
                twice.contains(&of).then(|| "the server lists two of this name".to_owned())
            });
            match problem {
                None => {
                    approved.insert(of, definition);
                }
                Some(problem) if selection.is_all() => {
                    refused.push((definition.key.clone(), problem));
                }
                Some(problem) => {
                    return Err(Failure::invalid(format!(
                        "{:?} can't be approved: {problem}. Nothing was approved",
                        definition.key
                    )));
                }
            }
        }
        let mut after = before.clone();
        after.pins = Vec::new();
        for pin in &pins {
            let of = (pin.definition.kind, pin.definition.key.as_str());
            match approved.get(&of) {
                // Approved before, and as it is: by whom and when stays.
                Some(now) if now.digest == pin.definition.digest => {
                    approved.remove(&of);
                    after.pins.push(pin_entry(pin));
                }
                Some(_) => {}
                None if selection.is_all() => {}
                None => after.pins.push(pin_entry(pin)),
            }
        }
        keep_segments(&Tools::of(before, self.trust, None), &approved, &mut after);
        let names = tool_names(&seen);
        let flagged = approved.values().filter(|now| !flags::flags(now, &names).is_empty());
        let flagged = flagged.map(|now| now.key.clone()).collect();
        let count = approved.len();
        after.pins.extend(approved.into_values().map(|definition| PinEntry {
            at: self.at,
            by: self.by.clone(),
            definition: definition_entry(definition),
        }));
        drop_segments(&mut after);
        Ok(Decided { after, approved: count, refused, flagged })
    }
}

/// What stays when approvals are taken back.
fn without(
    name: &Name,
    selection: &Selection,
    before: &StoredTools,
) -> Result<StoredTools, Failure> {
    let (_, pins) = parsed(before);
    let there = pins.iter().map(|pin| (pin.definition.kind, pin.definition.key.as_str())).collect();
    if let Some((kind, missing)) = selection.missing(&there) {
        return Err(Failure::invalid(format!(
            "no {} {missing:?} of \"{name}\" is approved. Nothing was changed. The list: vault read \
             <mount>/tools/{name}",
            kind.word()
        )));
    }
    let mut after = before.clone();
    let stay = pins.iter().filter(|pin| !selection.has(pin.definition.kind, &pin.definition.key));
    after.pins = stay.map(pin_entry).collect();
    drop_segments(&mut after);
    Ok(after)
}

fn pin_entry(pin: &Pin) -> PinEntry {
    PinEntry { at: pin.at, by: pin.by.clone(), definition: definition_entry(&pin.definition) }
}

impl Tools {
    /// A tool by its name, by its digest, or by a segment that it alone has.
    ///
    /// # Errors
    /// `unknown_tool`.
    pub fn find(&self, service: &Name, tool: &str) -> Result<&Item, Failure> {
        let tools = || self.offer.of_kind(Kind::Tool);
        let by_name = tools().find(|item| item.key == tool);
        let by_digest = || tools().find(|item| item.digest.as_str() == tool);
        let by_segment = || {
            let mut of = tools().filter(|item| item.segment.as_deref() == Some(tool));
            of.next().filter(|_| of.next().is_none())
        };
        by_name.or_else(by_digest).or_else(by_segment).ok_or_else(|| {
            Failure::new(
                Code::UnknownTool,
                format!(
                    "\"{service}\" has no tool of that name, digest or segment. The list: vault read \
                     <mount>/tools/{service}"
                ),
            )
        })
    }
}

fn not_there(name: &Name, (kind, missing): (Kind, &str)) -> Failure {
    Failure::invalid(format!(
        "no {} {missing:?} was seen of \"{name}\". Nothing was approved. What was seen: vault read \
         <mount>/tools/{name}. To look again: vault write -f <mount>/tools/{name}/refresh",
        kind.word()
    ))
}

fn twice(seen: &[Definition]) -> BTreeSet<(Kind, &str)> {
    let mut once = BTreeSet::new();
    let keys = seen.iter().map(|seen| (seen.kind, seen.key.as_str()));
    keys.filter(|key| !once.insert(*key)).collect()
}

/// A tool that agents call keeps its segment when another one is approved whose name gives the same.
fn keep_segments(
    before: &Tools,
    approved: &BTreeMap<(Kind, &str), &Definition>,
    after: &mut StoredTools,
) {
    let offered = |item: &&Item| item.state == State::Approved;
    for item in before.offer.of_kind(Kind::Tool).filter(offered) {
        let Some(held) = &item.segment else { continue };
        let contested = approved.keys().any(|(kind, key)| {
            *kind == Kind::Tool && *key != item.key && segment(key).as_ref() == Some(held)
        });
        if contested {
            after.entry.segments.insert(item.key.clone(), held.clone());
        }
    }
}

/// Names of tools that are neither approved nor listed.
fn drop_segments(after: &mut StoredTools) {
    let (seen, pins) = parsed(after);
    let definitions = seen.iter().chain(pins.iter().map(|pin| &pin.definition));
    let tools: BTreeSet<&str> = definitions
        .filter(|definition| definition.kind == Kind::Tool)
        .map(|definition| definition.key.as_str())
        .collect();
    after.entry.segments.retain(|name, _| tools.contains(name.as_str()));
}
