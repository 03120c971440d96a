//! The snapshots kept between calls; the searches of their redactors within a bound of memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Snapshot;
use crate::name::Name;

/// What the compiled searches of all snapshots of a mount may take, in bytes: 3,000 services whose
/// tokens have 40 bytes. One that was put away is compiled again by the next call, in one or two
/// milliseconds, and nothing is read for it.
const MOST_BYTES: usize = 256 << 20;

/// Snapshots by name.
#[derive(Default)]
pub(super) struct Kept {
    snapshots: HashMap<Name, Entry>,
    /// Whose searches are compiled. The first is the next to be put away, unless it was used since it
    /// was last looked at: that finds those unused for long nearly as well as an order by time, and
    /// costs a call nothing.
    warm: VecDeque<Name>,
    bytes: usize,
}

struct Entry {
    snapshot: Arc<Snapshot>,
    is_warm: bool,
    was_used: bool,
}

impl Kept {
    pub(super) fn get(&mut self, name: &Name) -> Option<Arc<Snapshot>> {
        let entry = self.snapshots.get_mut(name)?;
        entry.was_used = true;
        let snapshot = Arc::clone(&entry.snapshot);
        if !entry.is_warm {
            // Its call is about to compile them.
            entry.is_warm = true;
            self.warm(name.clone(), snapshot.redactor.bytes());
        }
        Some(snapshot)
    }

    pub(super) fn insert(&mut self, name: Name, snapshot: Arc<Snapshot>) {
        if self.snapshots.contains_key(&name) {
            self.retain(|other, _| *other != name);
        }
        let bytes = snapshot.redactor.bytes();
        let entry = Entry { snapshot, is_warm: true, was_used: true };
        self.snapshots.insert(name.clone(), entry);
        self.warm(name, bytes);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Name, &Snapshot) -> bool) {
        let bytes = &mut self.bytes;
        let before = self.snapshots.len();
        self.snapshots.retain(|name, entry| {
            let is_kept = keep(name, &entry.snapshot);
            if !is_kept && entry.is_warm {
                *bytes -= entry.snapshot.redactor.bytes();
            }
            is_kept
        });
        if self.snapshots.len() < before {
            self.warm.retain(|name| self.snapshots.contains_key(name));
        }
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn warm(&mut self, name: Name, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.warm.push_back(name);
        self.bytes += bytes;
        // Twice round: the first finds all of them used, if they were.
        let mut left = self.warm.len() * 2;
        while self.bytes > MOST_BYTES && left > 0 {
            left -= 1;
            let Some(name) = self.warm.pop_front() else { break };
            let Some(entry) = self.snapshots.get_mut(&name) else { continue };
            // A call that has it would compile them again, unseen.
            let is_in_use = Arc::strong_count(&entry.snapshot) > 1;
            if entry.was_used || is_in_use {
                entry.was_used = false;
                self.warm.push_back(name);
            } else {
                entry.is_warm = false;
                entry.snapshot.redactor.put_away();
                self.bytes -= entry.snapshot.redactor.bytes();
            }
        }
    }
}
