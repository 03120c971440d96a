//! Stores what a look at a server found, and what operators decide about it.

use std::sync::atomic::Ordering;

use vault_sdk::{Storage, StorageError};

use super::{Engine, Tools, aside, definition_entry, trust};
use crate::error::{Error, Failure};
use crate::mcp::offer::Fresh;
use crate::mcp::seen::Seen;
use crate::name::Name;
use crate::proxy::service::ToolTrust;
use crate::storage::{
    self, LoadError, SERVICES, SeenEntry, ServiceEntry, StoredTools, TOOL_PARTS, TOOLS, ToolsEntry,
    delete_parts, delete_tools, load_pins, load_tools, store_parts,
};

/// Which parts of an entry are written anew.
#[derive(Clone, Copy)]
pub(super) struct Anew {
    pub(super) seen: bool,
    pub(super) pins: bool,
}

impl Engine {
    /// Stores what was seen, if it differs from what is stored; tells whether it does. What is
    /// approved stays as it is.
    ///
    /// What can't be stored, on a node that may not write, is remembered by this node, and withholds
    /// here what has changed.
    ///
    /// # Errors
    /// Storage's own.
    pub async fn store_seen(
        &self,
        storage: &dyn Storage,
        name: &Name,
        id: &str,
        seen: &Seen,
    ) -> Result<bool, Error> {
        let stored = self.put_seen(storage, name, id, seen).await;
        let fresh = match &stored {
            Ok(_) => None,
            Err(_) => Some(Fresh {
                at: (self.clock)(),
                listed: seen
                    .definitions
                    .iter()
                    .map(|seen| (seen.kind, seen.key.clone(), seen.digest.clone()))
                    .collect(),
            }),
        };
        self.tools.set_fresh(id, fresh);
        match stored {
            Err(Error::Storage(StorageError::ReadOnly)) => Ok(true),
            stored => stored,
        }
    }

    async fn put_seen(
        &self,
        storage: &dyn Storage,
        name: &Name,
        id: &str,
        seen: &Seen,
    ) -> Result<bool, Error> {
        let digest =
            seen.digest().ok_or_else(|| Error::Internal("a list without a digest".into()))?;
        let _one = self.writes.lock().await;
        let service: Option<ServiceEntry> =
            storage::load(storage, &format!("{SERVICES}{name}")).await?;
        // Deleted while the server was looked at.
        let Some(service) = service.filter(|service| service.id == id) else { return Ok(false) };
        let (before, is_lost) = match load_tools(storage, id).await {
            // What was seen before can't be read, and what is seen now takes its place.
            Err(LoadError::Storage(StorageError::Undecodable { .. })) => {
                (load_pins(storage, id).await?, true)
            }
            before => (before?, false),
        };
        let entry = SeenEntry {
            at: (self.clock)(),
            digest,
            protocol: seen.protocol.clone(),
            server_name: seen.server_name.clone(),
            server_version: seen.server_version.clone(),
            left_out: seen.left_out.clone(),
            parts: Vec::new(),
        };
        if !is_lost && before.entry.seen.as_ref().is_some_and(|before| same(before, &entry)) {
            return Ok(false);
        }
        let mut after = before.clone();
        after.entry.seen = Some(entry);
        after.seen = seen.definitions.iter().map(definition_entry).collect();
        let anew = Anew { seen: true, pins: false };
        self.commit_tools(storage, id, trust(&service), before, after, anew).await?;
        Ok(true)
    }

    /// Parts, then the entry that names them: the commit. What follows clears up.
    pub(super) async fn commit_tools(
        &self,
        storage: &dyn Storage,
        id: &str,
        trust: ToolTrust,
        before: StoredTools,
        mut after: StoredTools,
        anew: Anew,
    ) -> Result<Tools, Error> {
        let key = format!("{TOOLS}{id}");
        let committed: Result<Tools, Error> = async {
            let mut outdated = Vec::new();
            if anew.seen {
                let parts = store_parts(storage, after.seen.clone(), json_size).await?;
                if let Some(seen) = &mut after.entry.seen {
                    seen.parts = parts;
                }
                outdated.extend(before.entry.seen.iter().flat_map(|seen| &seen.parts).cloned());
            }
            if anew.pins {
                after.entry.pins = store_parts(storage, after.pins.clone(), json_size).await?;
                outdated.extend(before.entry.pins.iter().cloned());
            }
            let stored = storage::store(storage, &key, &after.entry).await;
            self.forget(&key);
            stored?;
            // Before the rest is cleared up: a sweep doesn't know whether agents see a difference.
            let (tools, is_seen) = aside(move || {
                let tools = Tools::of(&after, trust, None);
                let is_seen = !Tools::of(&before, trust, None).offer.looks_like(&tools.offer);
                (tools, is_seen)
            })
            .await?;
            if is_seen {
                self.renew_revision(storage).await?;
            }
            delete_parts(storage, &outdated).await?;
            Ok(tools)
        }
        .await;
        // Also after a put that failed, and happened all the same.
        self.forget(&key);
        if committed.is_err() {
            self.needs_sweep.store(true, Ordering::Release);
        }
        committed
    }

    /// Names the path segment of a tool, or takes the name back. `tool` is the tool's name, its
    /// digest, or a segment that one tool alone has.
    ///
    /// # Errors
    /// `invalid_request` when there is no such tool, and for a segment that isn't one or is
    /// another's; storage's own.
    pub async fn name_segment(
        &self,
        storage: &dyn Storage,
        name: &Name,
        tool: &str,
        segment: Option<String>,
    ) -> Result<Tools, Error> {
        let _one = self.writes.lock().await;
        let service = self.mcp_service(storage, name).await?;
        let before = load_tools(storage, &service.id).await?;
        let trust = trust(&service);
        let (before, tools) = aside(move || {
            let tools = Tools::of(&before, trust, None);
            (before, tools)
        })
        .await?;
        let tool = tools.find(name, tool)?.key.clone();
        let mut after = before.clone();
        match segment {
            None => {
                after.entry.segments.remove(&tool);
            }
            Some(segment) => {
                check_segment(&before.entry, &tools, &tool, &segment)?;
                after.entry.segments.insert(tool, segment);
            }
        }
        let anew = Anew { seen: false, pins: false };
        self.commit_tools(storage, &service.id, trust, before, after, anew).await
    }

    /// Deletes all that is known of a service's server.
    ///
    /// # Errors
    /// Storage's own; what is left is swept.
    pub(in crate::engine) async fn forget_tools(
        &self,
        storage: &dyn Storage,
        id: &str,
    ) -> Result<(), Error> {
        self.tools.remove(id);
        let deleted = delete_tools(storage, id).await;
        self.tools.remove(id);
        Ok(deleted?)
    }

    /// Deletes what no service of these ids refers to; tells how many entries.
    ///
    /// # Errors
    /// Storage's own.
    pub(in crate::engine) async fn sweep_tools(
        &self,
        storage: &dyn Storage,
        services: &std::collections::BTreeSet<String>,
    ) -> Result<usize, Error> {
        let mut swept = 0;
        let mut referenced = std::collections::BTreeSet::new();
        for id in storage.list(TOOLS).await? {
            if services.contains(&id) {
                let entry: Option<ToolsEntry> =
                    storage::load(storage, &format!("{TOOLS}{id}")).await?;
                let entry = entry.unwrap_or_default();
                referenced.extend(entry.seen.into_iter().flat_map(|seen| seen.parts));
                referenced.extend(entry.pins);
            } else {
                self.forget_tools(storage, &id).await?;
                swept += 1;
            }
        }
        for part in storage.list(TOOL_PARTS).await? {
            if !referenced.contains(&part) {
                storage.delete(&format!("{TOOL_PARTS}{part}")).await?;
                swept += 1;
            }
        }
        Ok(swept)
    }
}

/// Whether a look found what was found before, whenever that was.
fn same(before: &SeenEntry, after: &SeenEntry) -> bool {
    (&before.digest, &before.left_out) == (&after.digest, &after.left_out)
        && (&before.protocol, &before.server_name, &before.server_version)
            == (&after.protocol, &after.server_name, &after.server_version)
}

fn json_size<T: serde::Serialize>(item: &T) -> usize {
    serde_json::to_vec(item).map_or(0, |bytes| bytes.len())
}

fn check_segment(
    entry: &ToolsEntry,
    tools: &Tools,
    tool: &str,
    segment: &str,
) -> Result<(), Failure> {
    use crate::mcp::definition::Kind;
    use crate::mcp::segment::{MAX_SEGMENT, is_segment};
    if !is_segment(segment) {
        return Err(Failure::invalid(format!(
            "segment is made of letters, digits, '_' and '-', at most {MAX_SEGMENT} of them. Nothing \
             was changed"
        )));
    }
    let named = entry.segments.iter().find(|(other, named)| *named == segment && *other != tool);
    let offered = tools.offer.by_segment(Kind::Tool, segment);
    let offered = offered.filter(|other| other.state.is_offered() && other.key != tool);
    match named.map(|(other, _)| other).or(offered.map(|other| &other.key)) {
        None => Ok(()),
        Some(other) => Err(Failure::invalid(format!(
            "{other:?} goes by {segment} already, and calls and policies go by that. Nothing was \
             changed. Choose another, or give {other:?} another first"
        ))),
    }
}
