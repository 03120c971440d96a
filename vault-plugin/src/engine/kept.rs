//! The snapshots kept between calls, within a bound of memory.

use std::collections::HashMap;
use std::sync::Arc;

use super::Snapshot;
use crate::mcp::session::close_all;
use crate::name::Name;

/// What the redactors of all snapshots of a mount may take, in bytes. A snapshot that was put away
/// is read and compiled again by the next call, in some ten milliseconds.
const MOST_BYTES: usize = 256 << 20;

/// By name, each with the turn in which it was last used.
#[derive(Default)]
pub(super) struct Kept {
    snapshots: HashMap<Name, (Arc<Snapshot>, u64)>,
    turn: u64,
    bytes: usize,
}

impl Kept {
    pub(super) fn get(&mut self, name: &Name) -> Option<Arc<Snapshot>> {
        self.turn += 1;
        let (snapshot, used) = self.snapshots.get_mut(name)?;
        *used = self.turn;
        Some(Arc::clone(snapshot))
    }

    pub(super) fn insert(&mut self, name: Name, snapshot: Arc<Snapshot>) {
        self.remove(&name);
        while self.bytes + snapshot.weight > MOST_BYTES {
            let oldest = self.snapshots.iter().min_by_key(|(_, (_, used))| *used);
            let Some(oldest) = oldest.map(|(name, _)| name.clone()) else { break };
            self.remove(&oldest);
        }
        self.turn += 1;
        self.bytes += snapshot.weight;
        self.snapshots.insert(name, (snapshot, self.turn));
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Name, &Snapshot) -> bool) {
        let bytes = &mut self.bytes;
        self.snapshots.retain(|name, (snapshot, _)| {
            let kept = keep(name, snapshot);
            if !kept {
                close_all(snapshot);
                *bytes -= snapshot.weight;
            }
            kept
        });
    }

    /// Says nothing to MCP servers: the settings may forbid that now.
    pub(super) fn clear(&mut self) {
        self.snapshots.clear();
        self.bytes = 0;
    }

    fn remove(&mut self, name: &Name) {
        if let Some((snapshot, _)) = self.snapshots.remove(name) {
            close_all(&snapshot);
            self.bytes -= snapshot.weight;
        }
    }
}
