//! Runs one pattern over a text in bounded time and memory, or gives up.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use regex_automata::hybrid::dfa;
use regex_automata::hybrid::regex::{Cache, Regex};
use regex_automata::nfa::thompson::{self, WhichCaptures};
use regex_automata::util::syntax;
use regex_automata::{Input, MatchKind};

/// Bounds the states that one search builds, in each direction, in bytes.
const STATES_BYTES: usize = 4 << 20;
/// Bounds what is kept between searches: a text that needs more states is no usual one.
const KEPT_BYTES: usize = 1 << 20;
/// Bounds the compiled pattern, in each direction, in bytes.
const PATTERN_BYTES: usize = 8 << 20;
/// A text that, once the states have been dropped this often, still asks for a new one more than
/// once in so many bytes, is made to cost time.
const MIN_CLEARS: usize = 2;
const MIN_BYTES_PER_STATE: usize = 128;

/// The pattern doesn't compile within its bounds.
pub(super) struct NotCompiled;

/// The text costs more than a search may: whether the secret is there isn't known.
pub(super) struct GaveUp;

/// Holds a compiled pattern, and its states from one search to the next.
pub(super) struct Search {
    regex: Regex,
    cache: Mutex<Option<Cache>>,
}

impl Search {
    pub(super) fn new(pattern: &str) -> Result<Self, NotCompiled> {
        // Bodies are bytes: neither pattern nor text needs to be UTF-8.
        let syntax = syntax::Config::new().unicode(false).utf8(false);
        // `Regex::builder` would parse the pattern for each direction, and parsing is the most of it.
        let parsed = syntax::parse_with(pattern, &syntax).map_err(|_| NotCompiled)?;
        let automaton = |reverse| {
            let limits = thompson::Config::new()
                .nfa_size_limit(Some(PATTERN_BYTES))
                .utf8(false)
                .which_captures(WhichCaptures::None)
                .reverse(reverse);
            thompson::Compiler::new()
                .configure(limits)
                .build_from_hir(&parsed)
                .map_err(|_| NotCompiled)
        };
        let states = dfa::Config::new()
            .cache_capacity(STATES_BYTES)
            .minimum_cache_clear_count(Some(MIN_CLEARS))
            .minimum_bytes_per_state(Some(MIN_BYTES_PER_STATE));
        let search = |states: dfa::Config, nfa| {
            dfa::Builder::new().configure(states).build_from_nfa(nfa).map_err(|_| NotCompiled)
        };
        let forward = search(states.clone(), automaton(false)?)?;
        // As `Regex::builder` makes it: the longest way back finds where a match begins.
        let reverse = search(states.match_kind(MatchKind::All), automaton(true)?)?;
        let regex = Regex::builder().build_from_dfas(forward, reverse);
        Ok(Self { regex, cache: Mutex::new(None) })
    }

    /// Finds all places that `is_wanted` wants, ascending and apart, but at most one more than
    /// `most`.
    pub(super) fn places(
        &self,
        text: &[u8],
        most: usize,
        is_wanted: impl Fn(&Range<usize>) -> bool,
    ) -> Result<Vec<Range<usize>>, GaveUp> {
        let kept = self.cache.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut cache = kept.unwrap_or_else(|| self.regex.create_cache());
        let mut places = Vec::new();
        let mut from = 0;
        while from < text.len() && places.len() <= most {
            let input = Input::new(text).range(from..);
            let Some(found) = self.regex.try_search(&mut cache, &input).map_err(|_| GaveUp)? else {
                break;
            };
            let place = found.range();
            if is_wanted(&place) {
                from = place.end;
                places.push(place);
            } else {
                from = place.start + 1;
            }
        }
        if cache.memory_usage() <= KEPT_BYTES {
            *self.cache.lock().unwrap_or_else(PoisonError::into_inner) = Some(cache);
        }
        Ok(places)
    }
}
