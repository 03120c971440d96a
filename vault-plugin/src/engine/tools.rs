//! What MCP servers offer, as this node knows it: read once and kept, withheld by later looks.

mod approve;
mod look;
mod write;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;
use vault_sdk::{Storage, StorageError};

use self::look::{LOOKERS, Look};
use super::Engine;
use crate::error::{Code, Error, Failure};
use crate::mcp::definition::{Definition, Kind};
use crate::mcp::offer::{Fresh, Known, Offer, Pin};
use crate::name::Name;
use crate::proxy::rules::{NameRules, Named};
use crate::proxy::service::ToolTrust;
use crate::storage::{
    self, DefinitionEntry, PinEntry, SERVICES, SeenEntry, ServiceEntry, StoredTools, load_tools,
};

pub use self::approve::{Approval, Selection};
pub use self::look::Stale;

/// What one server offers.
#[derive(Debug)]
pub struct Tools {
    /// Each definition with its state.
    pub offer: Offer,
    /// The look that is stored, if there was one.
    pub seen: Option<SeenEntry>,
}

/// What a list of all services tells about one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Tools that agents see.
    pub tools: usize,
    /// Tools that wait for an operator.
    pub waiting: usize,
}

/// What a node remembers of MCP servers, by the services' random ids.
pub(super) struct ToolsBook {
    state: Mutex<State>,
    lookers: Arc<Semaphore>,
}

#[derive(Default)]
struct State {
    /// Counts changes, so that what was read before one isn't kept after it.
    generation: u64,
    kept: HashMap<String, (Arc<Tools>, u64)>,
    turn: u64,
    bytes: usize,
    /// With the version of the service, whose rules and trust it goes by.
    counts: HashMap<String, (u64, Count)>,
    looks: HashMap<String, Look>,
}

/// What offers of all services may take in memory, in bytes. One that was put away is read again
/// when it is next asked for.
const MOST_BYTES: usize = 64 << 20;

impl Default for ToolsBook {
    fn default() -> Self {
        Self { state: Mutex::default(), lookers: Arc::new(Semaphore::new(LOOKERS)) }
    }
}

impl ToolsBook {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what was kept of a service, since what is stored changed.
    pub(super) fn forget(&self, id: &str) {
        self.state().forget(id);
    }

    /// Drops all that was read. What looks found stays: it withholds.
    pub(super) fn forget_all(&self) {
        let mut state = self.state();
        let looks = std::mem::take(&mut state.looks);
        *state = State { generation: state.generation + 1, looks, ..State::default() };
    }

    /// Drops all that is known of a service that isn't there any more.
    fn remove(&self, id: &str) {
        let mut state = self.state();
        state.forget(id);
        state.looks.remove(id);
    }

    fn kept(&self, id: &str, trust: ToolTrust) -> Option<Arc<Tools>> {
        let mut state = self.state();
        state.turn += 1;
        let turn = state.turn;
        let (tools, used) = state.kept.get_mut(id)?;
        *used = turn;
        (tools.offer.trust == trust).then(|| Arc::clone(tools))
    }

    fn generation_and_fresh(&self, id: &str) -> (u64, Option<Arc<Fresh>>) {
        let state = self.state();
        (state.generation, state.looks.get(id).and_then(|look| look.fresh.clone()))
    }
}

impl State {
    fn forget(&mut self, id: &str) {
        self.generation += 1;
        self.counts.remove(id);
        if let Some((tools, _)) = self.kept.remove(id) {
            self.bytes -= tools.offer.weight;
        }
    }

    fn keep(&mut self, id: &str, tools: &Arc<Tools>) {
        let generation = self.generation;
        self.forget(id);
        self.generation = generation;
        while self.bytes + tools.offer.weight > MOST_BYTES {
            let oldest = self.kept.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(id, _)| id.clone()) else { break };
            if let Some((put_away, _)) = self.kept.remove(&oldest) {
                self.bytes -= put_away.offer.weight;
            }
        }
        self.turn += 1;
        self.bytes += tools.offer.weight;
        self.kept.insert(id.to_owned(), (Arc::clone(tools), self.turn));
    }
}

impl Tools {
    fn of(stored: &StoredTools, trust: ToolTrust, fresh: Option<&Fresh>) -> Self {
        let (seen, pins) = parsed(stored);
        // A look that was stored since, by the node that may write, says more.
        let stored_at = stored.entry.seen.as_ref().map_or(0, |seen| seen.at);
        let known = Known {
            trust,
            seen: &seen,
            pins: &pins,
            segments: &stored.entry.segments,
            fresh: fresh.filter(|fresh| fresh.at > stored_at),
        };
        Self { offer: Offer::of(&known), seen: stored.entry.seen.clone() }
    }

    /// The tools that agents see, by the rules.
    pub fn count(&self, rules: &NameRules) -> Count {
        let tools = self.offer.of_kind(Kind::Tool);
        let seen =
            tools.filter(|item| item.state.is_offered() && rules.allows(Named::Tool, &item.key));
        Count { tools: seen.count(), waiting: self.offer.waiting() }
    }
}

/// What is stored, as definitions with their digests.
pub(crate) fn parsed(stored: &StoredTools) -> (Vec<Definition>, Vec<Pin>) {
    let definition = |entry: &DefinitionEntry| Definition::stored(entry.kind, &entry.raw);
    let pin = |pin: &PinEntry| {
        Some(Pin { at: pin.at, by: pin.by.clone(), definition: definition(&pin.definition)? })
    };
    (
        stored.seen.iter().filter_map(definition).collect(),
        stored.pins.iter().filter_map(pin).collect(),
    )
}

/// As it is stored.
fn definition_entry(definition: &Definition) -> DefinitionEntry {
    DefinitionEntry { kind: definition.kind, raw: Arc::clone(&definition.text) }
}

/// Does what may take a good part of a second, such as reading a list of 4 MiB, off the event loop.
///
/// # Errors
/// [`Error::Internal`] when it panics.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Internal("work on a server's tools failed".into()))
}

impl Engine {
    /// What a service's server offers.
    ///
    /// # Errors
    /// Storage's own.
    pub async fn tools(
        &self,
        storage: &dyn Storage,
        id: &str,
        trust: ToolTrust,
    ) -> Result<Arc<Tools>, Error> {
        if let Some(tools) = self.tools.kept(id, trust) {
            return Ok(tools);
        }
        let (generation, fresh) = self.tools.generation_and_fresh(id);
        let stored = load_tools(storage, id).await?;
        let tools = aside(move || Tools::of(&stored, trust, fresh.as_deref())).await?;
        let tools = Arc::new(tools);
        let mut state = self.tools.state();
        if state.generation == generation {
            state.keep(id, &tools);
        }
        Ok(tools)
    }

    /// How many tools an MCP server has for agents, and how many wait; `None` when what is stored of
    /// them can't be read, which isn't the other services' trouble.
    ///
    /// # Errors
    /// Storage's own.
    pub async fn count_tools(
        &self,
        storage: &dyn Storage,
        entry: &ServiceEntry,
    ) -> Result<Option<Count>, Error> {
        let generation = {
            let state = self.tools.state();
            if let Some((version, count)) = state.counts.get(&entry.id)
                && *version == entry.version
            {
                return Ok(Some(*count));
            }
            state.generation
        };
        let tools = match self.tools(storage, &entry.id, trust(entry)).await {
            Ok(tools) => tools,
            Err(
                error @ (Error::Storage(StorageError::Undecodable { .. }) | Error::Internal(_)),
            ) => {
                tracing::warn!(service = entry.id, %error, "its tools can't be read");
                return Ok(None);
            }
            Err(error @ (Error::Failure(_) | Error::Storage(_))) => return Err(error),
        };
        let count = tools.count(&rules(entry));
        let mut state = self.tools.state();
        if state.generation == generation {
            state.counts.insert(entry.id.clone(), (entry.version, count));
        }
        Ok(Some(count))
    }

    /// The entry of an MCP server.
    ///
    /// # Errors
    /// `unknown_service`; `invalid_request` for a service that speaks HTTP; storage's own.
    pub async fn mcp_service(
        &self,
        storage: &dyn Storage,
        name: &Name,
    ) -> Result<ServiceEntry, Error> {
        let entry: Option<ServiceEntry> =
            storage::load(storage, &format!("{SERVICES}{name}")).await?;
        let Some(entry) = entry else {
            return Err(Failure::new(
                Code::UnknownService,
                format!("there is no service named \"{name}\""),
            )
            .into());
        };
        if !is_mcp(&entry) {
            return Err(Failure::invalid(format!(
                "\"{name}\" speaks HTTP and has no tools: its calls are made at proxy/{name}"
            ))
            .into());
        }
        Ok(entry)
    }

    /// What is stored of a server's definitions, to the letter.
    ///
    /// # Errors
    /// Storage's own.
    pub async fn stored_tools(
        &self,
        storage: &dyn Storage,
        id: &str,
    ) -> Result<StoredTools, Error> {
        Ok(load_tools(storage, id).await?)
    }
}

/// Whether a service is an MCP server.
pub fn is_mcp(entry: &ServiceEntry) -> bool {
    entry.definition.service_type.as_deref() == Some("mcp")
}

/// Whether an MCP server's tools wait for approval. Stored definitions parse: they were checked when
/// written; of what doesn't, nothing is offered.
pub fn trust(entry: &ServiceEntry) -> ToolTrust {
    match entry.definition.trust.as_deref() {
        Some("allow") => ToolTrust::Allow,
        Some(_) | None => ToolTrust::Pin,
    }
}

/// An MCP server's rules.
pub fn rules(entry: &ServiceEntry) -> NameRules {
    NameRules::parse(&entry.definition.rules).unwrap_or_default()
}
