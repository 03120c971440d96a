//! What a server offers as of now: each definition with its state, decided from what was last seen
//! and what is approved, and from nothing else.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::definition::{Definition, Kind};
use super::digest::Digest;
use super::mirror::{self, Mirror};
use super::sanitise;
use super::segment::segment;
use crate::proxy::service::ToolTrust;

/// Whether a definition is offered, and if not, why.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// Approved, and as approved.
    Approved,
    /// Not asked about: the service has `trust=allow`.
    Allowed,
    /// Approved or allowed, but two go by one path segment, or its name gives none.
    Collision,
    /// Approved, but not as it is now.
    Changed,
    /// Never approved.
    New,
    /// It can't be offered, whoever approves it.
    Refused,
    /// Approved, but the server doesn't list it any more.
    Gone,
}

impl State {
    /// As it is read.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::Allowed => "allowed",
            Self::Collision => "withheld-collision",
            Self::Changed => "changed",
            Self::New => "new",
            Self::Refused => "refused",
            Self::Gone => "gone",
        }
    }

    /// Whether agents see it and may call it.
    pub fn is_offered(self) -> bool {
        match self {
            Self::Approved | Self::Allowed => true,
            Self::Collision | Self::Changed | Self::New | Self::Refused | Self::Gone => false,
        }
    }

    /// Whether an operator is waited for.
    pub fn waits(self) -> bool {
        match self {
            Self::Collision | Self::Changed | Self::New => true,
            Self::Approved | Self::Allowed | Self::Refused | Self::Gone => false,
        }
    }
}

/// An approval.
#[derive(Clone, Debug)]
pub struct Pin {
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who approved it.
    pub by: String,
    /// What was approved.
    pub definition: Definition,
}

/// One definition as of now.
#[derive(Clone, Debug)]
pub struct Item {
    /// What it defines.
    pub kind: Kind,
    /// Its name or URI, as the server gave it.
    pub key: String,
    /// As last seen; of what is gone, as approved.
    pub digest: Digest,
    /// As approved.
    pub approved: Option<Approved>,
    /// Whether it is offered.
    pub state: State,
    /// What it goes by in paths, or would.
    pub segment: Option<String>,
    /// Why it is refused or collides, in words for an operator.
    pub problem: Option<String>,
    /// JSON as agents may see it, of what is offered.
    pub shown: Option<Arc<str>>,
    /// What a call repeats in headers, of a tool that wants it and is offered.
    pub mirror: Option<Arc<Mirror>>,
}

/// An approval without the definition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Approved {
    /// What was approved.
    pub digest: Digest,
    /// When, in seconds since 1970.
    pub at: u64,
    /// Who approved it.
    pub by: String,
}

/// What a look found that isn't stored: kinds, names and digests alone.
#[derive(Clone, Debug)]
pub struct Fresh {
    /// When, in seconds since 1970.
    pub at: u64,
    /// In the server's order.
    pub listed: Vec<(Kind, String, Digest)>,
}

/// All that a server offers.
#[derive(Debug)]
pub struct Offer {
    /// By kind and name.
    pub items: Vec<Item>,
    by_segment: HashMap<(Kind, String), usize>,
    /// By what it was decided.
    pub trust: ToolTrust,
    /// About what it takes in memory, in bytes.
    pub weight: usize,
}

/// What an offer is decided from.
#[derive(Debug)]
pub struct Known<'k> {
    /// Whether approval is needed.
    pub trust: ToolTrust,
    /// As last stored.
    pub seen: &'k [Definition],
    /// What is approved.
    pub pins: &'k [Pin],
    /// Segments that an operator named, by the tool's name.
    pub segments: &'k BTreeMap<String, String>,
    /// A later look, if it couldn't be stored.
    pub fresh: Option<&'k Fresh>,
}

impl Offer {
    /// Decides.
    pub fn of(known: &Known<'_>) -> Self {
        let mut items = items(known);
        for kind in [Kind::Tool, Kind::Prompt] {
            assign_segments(kind, known, &mut items);
        }
        let definitions: HashMap<(Kind, &str, &Digest), &Definition> = all(known).collect();
        let mut by_segment: HashMap<(Kind, String), usize> = HashMap::new();
        let mut weight = 0;
        for item in &mut items {
            if item.state.is_offered()
                && let Some(definition) = definitions.get(&(item.kind, &item.key, &item.digest))
            {
                let tree = definition.tree();
                item.shown = Some(sanitise::shown(item.kind, &tree).to_string().into());
                item.mirror = tree.get("inputSchema").and_then(mirror).map(Arc::new);
            }
            weight += ITEM_BYTES + item.shown.as_ref().map_or(0, |shown| shown.len());
            weight += item.mirror.as_ref().map_or(0, |mirror| mirror.weight());
        }
        for (index, item) in items.iter().enumerate() {
            let Some(segment) = item.segment.clone() else { continue };
            let first = by_segment.entry((item.kind, segment)).or_insert(index);
            if items.get(*first).is_some_and(|other| item.state < other.state) {
                *first = index;
            }
        }
        Self { items, by_segment, trust: known.trust, weight }
    }

    /// What goes by a segment; of several, the one that is offered, or is nearest to it.
    pub fn by_segment(&self, kind: Kind, segment: &str) -> Option<&Item> {
        self.by_segment.get(&(kind, segment.to_owned())).and_then(|index| self.items.get(*index))
    }

    /// The definitions of a kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Item> {
        self.items.iter().filter(move |item| item.kind == kind)
    }

    /// How many tools wait for an operator.
    pub fn waiting(&self) -> usize {
        self.of_kind(Kind::Tool).filter(|item| item.state.waits()).count()
    }

    /// Whether agents would notice the difference.
    pub fn looks_like(&self, other: &Self) -> bool {
        fn offered(offer: &Offer) -> impl Iterator<Item = (Kind, &str, &Digest, Option<&String>)> {
            offer
                .items
                .iter()
                .filter(|item| item.state.is_offered())
                .map(|item| (item.kind, item.key.as_str(), &item.digest, item.segment.as_ref()))
        }
        self.waiting() == other.waiting() && offered(self).eq(offered(other))
    }
}

/// What an item takes beside its texts, about.
const ITEM_BYTES: usize = 512;

/// A tool whose annotations can't be followed isn't offered.
fn mirror(schema: &Value) -> Option<Mirror> {
    mirror::annotations(schema).ok().filter(|mirror| !mirror.is_empty())
}

fn all<'k>(
    known: &Known<'k>,
) -> impl Iterator<Item = ((Kind, &'k str, &'k Digest), &'k Definition)> {
    let pinned = known.pins.iter().map(|pin| &pin.definition);
    known.seen.iter().chain(pinned).map(|definition| {
        ((definition.kind, definition.key.as_str(), &definition.digest), definition)
    })
}

fn items(known: &Known<'_>) -> Vec<Item> {
    let definitions: HashMap<(Kind, &str, &Digest), &Definition> = all(known).collect();
    let pins: HashMap<(Kind, &str), &Pin> = known
        .pins
        .iter()
        .map(|pin| ((pin.definition.kind, pin.definition.key.as_str()), pin))
        .collect();
    let listed: Vec<(Kind, &str, &Digest)> = match known.fresh {
        Some(fresh) => {
            fresh.listed.iter().map(|(kind, key, digest)| (*kind, key.as_str(), digest)).collect()
        }
        None => known
            .seen
            .iter()
            .map(|definition| (definition.kind, definition.key.as_str(), &definition.digest))
            .collect(),
    };
    let mut items: BTreeMap<(Kind, &str), Item> = BTreeMap::new();
    for (kind, key, digest) in listed {
        if let Some(twice) = items.get_mut(&(kind, key)) {
            twice.state = State::Refused;
            twice.problem = Some(format!("the server lists two {}s of this name", kind.word()));
            continue;
        }
        let definition = definitions.get(&(kind, key, digest));
        let problem = definition.and_then(|definition| definition.problem());
        let approved = pins.get(&(kind, key)).map(|pin| approved(pin));
        let state = match (&problem, known.trust, &approved) {
            (Some(_), _, _) => State::Refused,
            // Seen on this node, and not yet by the one that stores it.
            (None, ToolTrust::Allow, _) if definition.is_none() => State::New,
            (None, ToolTrust::Allow, _) => State::Allowed,
            (None, ToolTrust::Pin, None) => State::New,
            (None, ToolTrust::Pin, Some(approved)) if approved.digest == *digest => State::Approved,
            (None, ToolTrust::Pin, Some(_)) => State::Changed,
        };
        items.insert((kind, key), item(kind, key, digest, approved, state, problem));
    }
    for ((kind, key), pin) in pins {
        items.entry((kind, key)).or_insert_with(|| {
            let digest = &pin.definition.digest;
            item(kind, key, digest, Some(approved(pin)), State::Gone, None)
        });
    }
    items.into_values().collect()
}

fn approved(pin: &Pin) -> Approved {
    Approved { digest: pin.definition.digest.clone(), at: pin.at, by: pin.by.clone() }
}

fn item(
    kind: Kind,
    key: &str,
    digest: &Digest,
    approved: Option<Approved>,
    state: State,
    problem: Option<String>,
) -> Item {
    Item {
        kind,
        key: key.to_owned(),
        digest: digest.clone(),
        approved,
        state,
        segment: None,
        problem,
        shown: None,
        mirror: None,
    }
}

/// What is approved holds its segment for as long as it is approved, whether it is offered or not:
/// nothing else slips into the place that a policy gives it. What is only listed holds none.
fn assign_segments(kind: Kind, known: &Known<'_>, items: &mut [Item]) {
    let named = |key: &str| known.segments.get(key).filter(|_| kind == Kind::Tool).cloned();
    let holds = |item: &Item| match known.trust {
        ToolTrust::Pin => item.approved.is_some(),
        ToolTrust::Allow => item.state == State::Allowed,
    };
    let mut holders: HashMap<String, Vec<(String, bool)>> = HashMap::new();
    for item in items.iter_mut().filter(|item| item.kind == kind) {
        let name = named(&item.key);
        let is_named = name.is_some();
        item.segment = name.or_else(|| segment(&item.key));
        if let Some(segment) = item.segment.clone().filter(|_| holds(item)) {
            holders.entry(segment).or_default().push((item.key.clone(), is_named));
        }
    }
    for item in items.iter_mut().filter(|item| item.kind == kind) {
        let Some(segment) = &item.segment else {
            if item.state.is_offered() {
                item.state = State::Collision;
            }
            if item.state != State::Refused {
                item.problem = Some("its name gives no path segment".to_owned());
            }
            continue;
        };
        let own = (item.key.clone(), named(&item.key).is_some());
        let others: Vec<&(String, bool)> =
            holders.get(segment).into_iter().flatten().filter(|other| **other != own).collect();
        // One that an operator named stands against those that only have such a name.
        let contested =
            if own.1 { others.iter().any(|(_, named)| *named) } else { !others.is_empty() };
        if contested && item.state != State::Refused {
            let other = others.first().map(|(key, _)| key.as_str()).unwrap_or_default();
            item.problem = Some(format!("{other:?} goes by the same path segment, {segment}"));
            if item.state.is_offered() {
                item.state = State::Collision;
            }
        }
    }
}

#[cfg(test)]
mod tests;
