//! Runs one automaton over a text in bounded time and memory, or gives up.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use regex_automata::hybrid::dfa::{self, Cache, DFA};
use regex_automata::{Anchored, Input, MatchKind};

use super::automaton::Automaton;

/// Bounds the states that one search builds, in each direction, in bytes.
const STATES_BYTES: usize = 4 << 20;
/// Bounds the states that are kept for the next search, in bytes: ordinary texts of all kinds need
/// 5,000 to 20,000.
const KEPT_BYTES: usize = 32 << 10;
/// A text that, once the states have been dropped this often, still asks for a new one more than
/// once in so many bytes, is made to cost time.
const MIN_CLEARS: usize = 2;
const MIN_BYTES_PER_STATE: usize = 128;
/// So is one in which unwanted places are read again and again: beyond so many times its length, and
/// some more for a short one, the search gives up.
const MOST_REREADS: usize = 4;
const MIN_REREAD_BYTES: usize = 64 << 10;

/// The automaton doesn't compile within its bounds.
pub(super) struct NotCompiled;

/// The text costs more than a search may: whether the secret is there isn't known.
pub(super) struct GaveUp;

/// Finds what an automaton accepts; compiled when it is first needed.
pub(super) struct Search {
    automaton: Box<dyn Fn() -> Automaton + Send + Sync>,
    compiled: Mutex<Option<Arc<Compiled>>>,
    bytes: usize,
}

/// What finds the ends of places, and what is kept of it from one search to the next.
struct Compiled {
    forwards: DFA,
    /// The states of the last search, unless they are too many.
    states: Mutex<Option<Cache>>,
    /// Compiled when a place was found first: most upstreams never send the secret back. It isn't
    /// reckoned, and takes as much again.
    backwards: Mutex<Option<Backwards>>,
    /// The bytes of a cache without states.
    empty_bytes: usize,
}

impl Search {
    /// Builds it from what gives the automaton, and compiles it.
    pub(super) fn new(
        automaton: impl Fn() -> Automaton + Send + Sync + 'static,
    ) -> Result<Self, NotCompiled> {
        let compiled = Compiled::new(&automaton())?;
        Ok(Self {
            bytes: compiled.forwards.memory_usage() + compiled.empty_bytes + KEPT_BYTES,
            automaton: Box::new(automaton),
            compiled: Mutex::new(Some(Arc::new(compiled))),
        })
    }

    /// The bytes that it takes at most between two searches, unless it was put away.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frees what is compiled: the next search compiles it again.
    pub(super) fn put_away(&self) {
        *self.compiled.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn is_compiled(&self) -> bool {
        self.compiled.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    fn compiled(&self) -> Result<Arc<Compiled>, NotCompiled> {
        // Held while it is compiled: whoever else wants it had to do the same.
        let mut compiled = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(compiled) = &*compiled {
            return Ok(Arc::clone(compiled));
        }
        let new = Arc::new(Compiled::new(&(self.automaton)())?);
        *compiled = Some(Arc::clone(&new));
        Ok(new)
    }

    /// Finds all places that `is_wanted` wants, ascending and apart, but at most one more than
    /// `most`.
    pub(super) fn places(
        &self,
        text: &[u8],
        most: usize,
        is_wanted: impl Fn(&Range<usize>) -> bool,
    ) -> Result<Vec<Range<usize>>, GaveUp> {
        let compiled = self.compiled().map_err(|NotCompiled| GaveUp)?;
        let kept = compiled.states.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut states = kept.unwrap_or_else(|| compiled.forwards.create_cache());
        let mut backwards =
            compiled.backwards.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut places = Vec::new();
        let mut from = 0;
        let mut to_reread = MOST_REREADS.saturating_mul(text.len()).max(MIN_REREAD_BYTES);
        while from < text.len() && places.len() <= most {
            let input = Input::new(text).range(from..);
            let end = compiled.forwards.try_search_fwd(&mut states, &input).map_err(|_| GaveUp)?;
            let Some(end) = end else { break };
            let backwards = match &mut backwards {
                Some(backwards) => backwards,
                none => none.insert(Backwards::new(&(self.automaton)())?),
            };
            let place = backwards.start(text, from, end.offset())?..end.offset();
            if is_wanted(&place) {
                from = place.end;
                places.push(place);
            } else {
                to_reread = to_reread.checked_sub(place.len()).ok_or(GaveUp)?;
                from = place.start + 1;
            }
        }
        if states.memory_usage() <= compiled.empty_bytes + KEPT_BYTES {
            *compiled.states.lock().unwrap_or_else(PoisonError::into_inner) = Some(states);
        }
        if let Some(backwards) = backwards.filter(Backwards::is_small) {
            *compiled.backwards.lock().unwrap_or_else(PoisonError::into_inner) = Some(backwards);
        }
        Ok(places)
    }
}

impl Compiled {
    fn new(automaton: &Automaton) -> Result<Self, NotCompiled> {
        let forwards = build(automaton, false)?;
        let states = forwards.create_cache();
        let empty_bytes = states.memory_usage();
        let states = Mutex::new(Some(states));
        Ok(Self { forwards, states, backwards: Mutex::new(None), empty_bytes })
    }
}

/// Finds where a place begins whose end is known.
struct Backwards {
    automaton: DFA,
    states: Cache,
    empty_bytes: usize,
}

impl Backwards {
    fn new(automaton: &Automaton) -> Result<Self, GaveUp> {
        let automaton = build(automaton, true).map_err(|NotCompiled| GaveUp)?;
        let states = automaton.create_cache();
        Ok(Self { empty_bytes: states.memory_usage(), automaton, states })
    }

    /// Whether its states are few enough to be kept.
    fn is_small(&self) -> bool {
        self.states.memory_usage() <= self.empty_bytes + KEPT_BYTES
    }

    /// The first of all beginnings, not before `from`.
    fn start(&mut self, text: &[u8], from: usize, end: usize) -> Result<usize, GaveUp> {
        let input = Input::new(text).range(from..end).anchored(Anchored::Yes);
        let start = self.automaton.try_search_rev(&mut self.states, &input).map_err(|_| GaveUp)?;
        start.map(|start| start.offset()).ok_or(GaveUp)
    }
}

fn build(automaton: &Automaton, backwards: bool) -> Result<DFA, NotCompiled> {
    // Backwards, the longest way finds where a place begins.
    let kind = if backwards { MatchKind::All } else { MatchKind::LeftmostFirst };
    let config = dfa::Config::new()
        .match_kind(kind)
        .cache_capacity(STATES_BYTES)
        .minimum_cache_clear_count(Some(MIN_CLEARS))
        .minimum_bytes_per_state(Some(MIN_BYTES_PER_STATE));
    let nfa = automaton.compile(backwards).map_err(|_| NotCompiled)?;
    dfa::Builder::new().configure(config).build_from_nfa(nfa).map_err(|_| NotCompiled)
}
