//! The snapshots kept between calls; the searches of their redactors within a bound of memory.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use super::Snapshot;
use crate::mcp::session::close_all;
use crate::name::Name;

/// What the compiled searches of all snapshots of a mount may take, in bytes: 3,000 services whose
/// tokens have 40 bytes. One that was put away is compiled again by the next call, in one or two
/// milliseconds, and nothing is read for it.
const MOST_BYTES: usize = 256 << 20;

/// What is kept, as far as its memory and its end go.
pub(super) trait Keep {
    /// What its searches take while they are compiled, in bytes; always the same.
    fn bytes(&self) -> usize;
    /// Frees that, until the next search.
    fn put_away(&self);
    /// Ends what it holds open elsewhere, because it was taken out.
    fn close(this: &Arc<Self>);
}

impl Keep for Snapshot {
    fn bytes(&self) -> usize {
        self.redactor.bytes()
    }

    fn put_away(&self) {
        self.redactor.put_away();
    }

    fn close(this: &Arc<Self>) {
        close_all(this);
    }
}

/// Snapshots by name.
pub(super) struct Kept<S = Snapshot> {
    snapshots: HashMap<Name, Entry<S>>,
    /// Whose searches are compiled. The first is the next to be put away, unless it was used since it
    /// was last looked at: that finds those unused for long nearly as well as an order by time, and
    /// costs a call nothing.
    warm: VecDeque<Name>,
    bytes: usize,
    most: usize,
}

struct Entry<S> {
    snapshot: Arc<S>,
    is_warm: bool,
    was_used: bool,
}

impl<S> Default for Kept<S> {
    fn default() -> Self {
        Self {
            snapshots: HashMap::default(),
            warm: VecDeque::default(),
            bytes: 0,
            most: MOST_BYTES,
        }
    }
}

impl<S: Keep> Kept<S> {
    pub(super) fn get(&mut self, name: &Name) -> Option<Arc<S>> {
        let entry = self.snapshots.get_mut(name)?;
        entry.was_used = true;
        let snapshot = Arc::clone(&entry.snapshot);
        if !entry.is_warm {
            // Its call is about to compile them.
            entry.is_warm = true;
            self.warm(name.clone(), snapshot.bytes());
        }
        Some(snapshot)
    }

    pub(super) fn insert(&mut self, name: Name, snapshot: Arc<S>) {
        if self.snapshots.contains_key(&name) {
            self.retain(|other, _| *other != name);
        }
        let bytes = snapshot.bytes();
        let entry = Entry { snapshot, is_warm: true, was_used: true };
        self.snapshots.insert(name.clone(), entry);
        self.warm(name, bytes);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Name, &S) -> bool) {
        let bytes = &mut self.bytes;
        let before = self.snapshots.len();
        self.snapshots.retain(|name, entry| {
            let is_kept = keep(name, &entry.snapshot);
            if !is_kept {
                S::close(&entry.snapshot);
            }
            if !is_kept && entry.is_warm {
                *bytes -= entry.snapshot.bytes();
            }
            is_kept
        });
        if self.snapshots.len() < before {
            self.warm.retain(|name| self.snapshots.contains_key(name));
        }
    }

    /// Says nothing to MCP servers: the settings may forbid that now.
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
        while self.bytes > self.most && left > 0 {
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
                entry.snapshot.put_away();
                self.bytes -= entry.snapshot.bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Counts how often it was put away.
    struct Sample(AtomicUsize);

    impl Keep for Sample {
        fn bytes(&self) -> usize {
            10
        }

        fn put_away(&self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn close(_: &Arc<Self>) {}
    }

    fn name(number: usize) -> Name {
        Name::parse(&format!("s{number}")).unwrap()
    }

    /// As many as given, in room for three.
    fn kept(count: usize) -> Kept<Sample> {
        let mut kept = Kept { most: 30, ..Kept::default() };
        for number in 0..count {
            kept.insert(name(number), Arc::new(Sample(AtomicUsize::new(0))));
        }
        kept
    }

    fn put_away(kept: &Kept<Sample>) -> Vec<usize> {
        let times = |number| kept.snapshots[&name(number)].snapshot.0.load(Ordering::Relaxed);
        (0..kept.snapshots.len()).map(times).collect()
    }

    #[test]
    fn puts_away_what_was_not_used_for_long_and_forgets_nothing() {
        let mut kept = kept(3);
        assert_eq!(put_away(&kept), [0, 0, 0]);
        kept.insert(name(3), Arc::new(Sample(AtomicUsize::new(0))));
        assert_eq!(put_away(&kept), [1, 0, 0, 0], "all were used: the oldest goes");
        kept.get(&name(1));
        // It comes back in the place of the next that wasn't used.
        kept.get(&name(0));
        assert_eq!(put_away(&kept), [1, 0, 1, 0]);
        assert_eq!(kept.bytes, 30);
    }

    #[test]
    fn whatever_the_order_of_calls_all_are_kept_within_the_bound() {
        let mut kept = kept(7);
        for turn in 0..100 {
            assert!(kept.get(&name(turn * 5 % 7)).is_some());
            assert!(kept.bytes <= 30 && kept.warm.len() == kept.bytes / 10);
        }
        kept.retain(|other, _| *other != name(3));
        assert!(kept.get(&name(3)).is_none());
        assert_eq!(kept.warm.len(), kept.bytes / 10);
        kept.insert(name(4), Arc::new(Sample(AtomicUsize::new(0))));
        assert_eq!(kept.warm.len(), kept.bytes / 10);
    }

    #[test]
    fn what_a_call_uses_stays_compiled() {
        let mut kept = kept(3);
        let calls: Vec<_> = (0..3).map(|number| kept.get(&name(number)).unwrap()).collect();
        kept.insert(name(3), Arc::new(Sample(AtomicUsize::new(0))));
        assert_eq!(put_away(&kept)[..3], [0, 0, 0]);
        drop(calls);
        kept.insert(name(4), Arc::new(Sample(AtomicUsize::new(0))));
        assert!(kept.bytes <= 30, "{}", kept.bytes);
    }
}
