//! Runs one pattern over a text in bounded time and memory, or gives up.

use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use regex_automata::Input;
use regex_automata::hybrid::dfa;
use regex_automata::hybrid::regex::{Cache, Regex};
use regex_automata::util::syntax;

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
        let states = dfa::Config::new()
            .cache_capacity(STATES_BYTES)
            .minimum_cache_clear_count(Some(MIN_CLEARS))
            .minimum_bytes_per_state(Some(MIN_BYTES_PER_STATE));
        let limits =
            regex_automata::nfa::thompson::Config::new().nfa_size_limit(Some(PATTERN_BYTES));
        let regex = Regex::builder()
            // Bodies are bytes: neither pattern nor text needs to be UTF-8.
            .syntax(syntax::Config::new().unicode(false).utf8(false))
            .thompson(limits.utf8(false))
            .dfa(states)
            .build(pattern)
            .map_err(|_| NotCompiled)?;
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
