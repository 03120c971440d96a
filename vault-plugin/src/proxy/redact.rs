//! Replaces a service's secrets, in every common spelling, in what an upstream answers.

mod automaton;
mod json;
mod pattern;
mod search;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;
use std::time::Instant;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use search::{GaveUp, NotCompiled, Search};

/// Bounds the secrets of one [`Redactor`]: each costs a pass over every answer.
pub const MAX_SECRETS: usize = 30;
/// Bounds one secret, in bytes: each of them costs some 40 µs to compile and 1 KiB to keep.
pub const MAX_SECRET_BYTES: usize = 4 * 1024;

/// Bounds the places found in one text, which take 16 bytes each: one that holds more is withheld.
const MAX_PLACES: usize = 1 << 16;
/// What compiling a search costs, in bytes searched.
const COMPILING: usize = 512 << 10;
/// Bounds the marks in one header value: one that would hold more becomes a single mark.
const MAX_HEADER_PLACES: usize = 8;

/// Tells why no [`Redactor`] can be built; without one, nothing may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedactorError {
    /// More than [`MAX_SECRETS`].
    #[error("more than {MAX_SECRETS} secrets are live at once; remove old credential versions")]
    TooMany,
    /// A secret longer than [`MAX_SECRET_BYTES`].
    #[error("a secret is longer than {MAX_SECRET_BYTES} bytes, too long to be searched for")]
    TooLong,
    /// The pattern exceeds its size limit.
    #[error("the search pattern of a secret is too large")]
    Pattern,
}

/// The time was up before the search was over: whether a secret is there isn't known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the time was up before the answer was searched")]
pub struct OutOfTime;

/// Bounds what redacting one body may take.
pub struct Bounds<'a> {
    /// Of the redacted body, in bytes; a single mark is always allowed.
    pub max_bytes: usize,
    /// The search stops soon after it, within some 100 ms.
    pub deadline: Instant,
    /// Asks for memory for so many bytes, before they are written.
    pub cover: &'a dyn Fn(usize) -> bool,
}

impl fmt::Debug for Bounds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bounds").field("max_bytes", &self.max_bytes).finish_non_exhaustive()
    }
}

/// Why a text is withheld as a whole, or not judged at all.
enum Stopped {
    OutOfTime,
    /// So many places were found until the search gave up, or there were too many to keep.
    Withheld(u32),
}

/// Finds and replaces secrets in bodies, header values and texts.
///
/// Each secret is found plain, percent-encoded (however often), JSON-escaped (strings within
/// strings, however deep), with HTML entities, form-encoded, in hexadecimal and in
/// base64 at any alignment with line breaks, character by character in any mixture of these. Of a
/// secret over 64 bytes every part of some 32 bytes is found by itself. One under 8 bytes, or of
/// fewer than 10 digits, is replaced only where it stands as a word, under 4 bytes only as a whole
/// JSON string or value, because it is likely to be somebody else's word.
///
/// Redaction is a net under a design that never asks an upstream to echo. It misses base64 of
/// base64, base32, UTF-16, anything compressed or encrypted within the body, and short secrets in
/// base64: hand over the value of a `Basic` field as a secret of its own. Redact before cutting a
/// body short, else half a secret passes.
///
/// It holds the secrets, plain and in its compiled searches, as long as it lives.
pub struct Redactor {
    name: String,
    patterns: Vec<Pattern>,
    /// Secrets that are found anywhere, in lower case, as the names of headers are.
    folded: Vec<Zeroizing<String>>,
}

struct Pattern {
    search: Search,
    reach: Reach,
}

/// Says how much of its surroundings a secret must fill to be replaced.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reach {
    Anywhere,
    Word,
    Whole,
}

impl Redactor {
    /// Builds the search for `secrets`, newest first; `name` stands in the mark.
    ///
    /// Empty and repeated secrets are left out. Building takes a millisecond or two per secret: keep
    /// the result as long as its secrets live.
    ///
    /// # Errors
    /// [`RedactorError`]; then the call must be refused.
    pub fn new<'a>(
        name: &str,
        secrets: impl IntoIterator<Item = &'a SecretString>,
    ) -> Result<Self, RedactorError> {
        let mut known: Vec<&str> = Vec::new();
        for secret in secrets {
            #[expect(
                clippy::disallowed_methods,
                reason = "the redactor searches answers for the secret"
            )]
            let secret = secret.expose_secret();
            if !secret.is_empty() && !known.contains(&secret) {
                known.push(secret);
            }
        }
        if known.len() > MAX_SECRETS {
            return Err(RedactorError::TooMany);
        }
        let mut patterns = Vec::new();
        let mut folded = Vec::new();
        for secret in known {
            if secret.len() > MAX_SECRET_BYTES {
                return Err(RedactorError::TooLong);
            }
            let reach = reach(secret);
            for part in pattern::parts(secret) {
                let kept = Zeroizing::new(part.to_owned());
                let search =
                    Search::new(move || pattern::automaton(&kept, reach == Reach::Anywhere))
                        .map_err(|NotCompiled| RedactorError::Pattern)?;
                patterns.push(Pattern { search, reach });
                if reach == Reach::Anywhere {
                    folded.push(Zeroizing::new(part.to_ascii_lowercase()));
                }
            }
        }
        // The mark must not be able to break a JSON string or a header line.
        let name = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' })
            .collect();
        Ok(Self { name, patterns, folded })
    }

    /// Returns a redactor for services without a secret.
    pub fn none() -> Self {
        Self { name: String::new(), patterns: Vec::new(), folded: Vec::new() }
    }

    /// What searching so many bytes costs, in bytes searched for one secret.
    pub fn work(&self, bytes: usize) -> usize {
        let compiling =
            self.patterns.iter().filter(|pattern| !pattern.search.is_compiled()).count();
        bytes.saturating_mul(self.patterns.len()).saturating_add(compiling * COMPILING)
    }

    /// The memory that it takes at most between two searches, in bytes, unless it was put away.
    pub fn bytes(&self) -> usize {
        self.patterns.iter().map(|pattern| pattern.search.bytes()).sum()
    }

    /// Frees nearly all of it: the next search compiles it again.
    pub fn put_away(&self) {
        for pattern in &self.patterns {
            pattern.search.put_away();
        }
    }

    /// Replaces the secrets in a decoded body; gives it and the number of places.
    ///
    /// `is_json` (see [`is_json`]) keeps JSON valid: the mark's quotes are escaped as deep as the
    /// string lies, a number becomes a string, and where nothing else helps (a secret that spans
    /// several JSON strings) the whole body becomes the mark. So does a body that the marks would
    /// take over `bounds`, and one made to exhaust the search, which is bounded. Takes some 3 ms per
    /// MiB and secret, or per 32 bytes of a long one: run large bodies on a blocking thread.
    ///
    /// # Errors
    /// [`OutOfTime`] after the deadline; then nothing of the body may be handed out.
    pub fn redact_body(
        &self,
        body: Bytes,
        is_json: bool,
        bounds: &Bounds<'_>,
    ) -> Result<(Bytes, u32), OutOfTime> {
        let whole = || if is_json { json::whole(&self.name) } else { mark(&self.name, "\"") };
        let places = match self.places(&body, bounds.deadline) {
            Ok(places) => places,
            Err(Stopped::OutOfTime) => return Err(OutOfTime),
            Err(Stopped::Withheld(found)) => return Ok((whole().into(), found)),
        };
        if places.is_empty() {
            return Ok((body, 0));
        }
        let longest = if is_json { json::longest_mark(&self.name) } else { self.mark_bytes() };
        let replaced: usize = places.iter().map(ExactSizeIterator::len).sum();
        let most = (body.len() - replaced + places.len() * longest).min(bounds.max_bytes);
        let redacted = (bounds.cover)(most)
            .then(|| {
                if is_json {
                    json::substitute(&body, &places, &self.name, most)
                } else {
                    self.substitute(&body, &places, most)
                }
            })
            .flatten();
        Ok((redacted.unwrap_or_else(|| whole().into_bytes()).into(), count(places.len())))
    }

    /// Replaces the secrets in a header value, a reason phrase or an error's text; gives it and the
    /// number of places. What isn't UTF-8 becomes U+FFFD; what is full of secrets becomes one mark.
    ///
    /// # Errors
    /// [`OutOfTime`] after the deadline.
    pub fn redact_header_value(
        &self,
        value: impl AsRef<[u8]>,
        deadline: Instant,
    ) -> Result<(String, u32), OutOfTime> {
        let value = value.as_ref();
        let whole = |found| Ok((mark(&self.name, "\""), found));
        let places = match self.places(value, deadline) {
            Ok(places) if places.len() > MAX_HEADER_PLACES => return whole(count(places.len())),
            Ok(places) => places,
            Err(Stopped::OutOfTime) => return Err(OutOfTime),
            Err(Stopped::Withheld(found)) => return whole(found),
        };
        let most = value.len() + places.len() * self.mark_bytes();
        let redacted = self.substitute(value, &places, most).unwrap_or_default();
        Ok((String::from_utf8_lossy(&redacted).into_owned(), count(places.len())))
    }

    /// Tells whether a header's name holds a secret. Names come in lower case, so a secret is found
    /// in it whatever its case.
    ///
    /// # Errors
    /// [`OutOfTime`] after the deadline.
    pub fn is_in_header_name(&self, name: &str, deadline: Instant) -> Result<bool, OutOfTime> {
        let folded = name.to_ascii_lowercase();
        Ok(self.folded.iter().any(|secret| folded.contains(secret.as_str()))
            || self.contains(name.as_bytes(), deadline)?)
    }

    /// Tells whether a secret is there, or may be: a binary body that holds one can't be mended,
    /// only refused.
    ///
    /// # Errors
    /// [`OutOfTime`] after the deadline.
    pub fn contains(&self, bytes: &[u8], deadline: Instant) -> Result<bool, OutOfTime> {
        for pattern in &self.patterns {
            in_time(deadline)?;
            if !pattern.places(bytes, 1).is_ok_and(|found| found.is_empty()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn mark_bytes(&self) -> usize {
        mark(&self.name, "\"").len()
    }

    /// Gives `None` where it would take more than `most` bytes.
    fn substitute(&self, text: &[u8], places: &[Range<usize>], most: usize) -> Option<Vec<u8>> {
        let mark = mark(&self.name, "\"");
        let replaced: usize = places.iter().map(ExactSizeIterator::len).sum();
        let length = text.len() - replaced + places.len() * mark.len();
        if length > most {
            return None;
        }
        let mut redacted = Vec::with_capacity(length);
        let mut done = 0;
        for place in places {
            redacted.extend_from_slice(text.get(done..place.start).unwrap_or_default());
            redacted.extend_from_slice(mark.as_bytes());
            done = place.end;
        }
        redacted.extend_from_slice(text.get(done..).unwrap_or_default());
        Some(redacted)
    }

    /// Finds what to replace: ascending, with gaps between.
    fn places(&self, text: &[u8], deadline: Instant) -> Result<Vec<Range<usize>>, Stopped> {
        let mut found = Vec::new();
        for pattern in &self.patterns {
            in_time(deadline).map_err(|OutOfTime| Stopped::OutOfTime)?;
            match pattern.places(text, MAX_PLACES) {
                Ok(places) => found.extend(places),
                Err(GaveUp) => return Err(Stopped::Withheld(count(found.len()).max(1))),
            }
            if found.len() > MAX_PLACES {
                return Err(Stopped::Withheld(count(found.len())));
            }
        }
        found.sort_by_key(|place| place.start);
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for place in found {
            match merged.last_mut() {
                // Parts of one long secret touch.
                Some(last) if place.start <= last.end => last.end = last.end.max(place.end),
                _ => merged.push(place),
            }
        }
        Ok(merged)
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pattern {
    /// Gives at most one place more than `most`.
    fn places(&self, text: &[u8], most: usize) -> Result<Vec<Range<usize>>, GaveUp> {
        // Once for all places: a text of white space and matches must not cost its square.
        let start = text.len() - text.trim_ascii_start().len();
        let whole = start..start + text.trim_ascii().len();
        self.search.places(text, most, |place| self.reach.covers(text, place, &whole))
    }
}

impl Reach {
    /// `whole` is the text without white space at its ends.
    fn covers(self, text: &[u8], place: &Range<usize>, whole: &Range<usize>) -> bool {
        let before = text.get(..place.start).unwrap_or_default();
        let after = text.get(place.end..).unwrap_or_default();
        match self {
            Self::Anywhere => true,
            Self::Word => !ends_in_word(before) && !starts_with_word(after),
            Self::Whole => {
                let quoted = before.ends_with(b"\"")
                    && after.iter().find(|byte| **byte != b'\\') == Some(&b'"');
                quoted || place == whole
            }
        }
    }
}

/// Tells whether the content type is text in which JSON strings stand: JSON itself, JSON lines, and
/// event streams, whose data most often is JSON.
pub fn is_json(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.ends_with("/json")
        || kind.ends_with("+json")
        || matches!(
            kind.as_str(),
            "application/x-ndjson"
                | "application/ndjson"
                | "application/jsonl"
                | "application/json-seq"
                | "text/event-stream"
        )
}

fn in_time(deadline: Instant) -> Result<(), OutOfTime> {
    if Instant::now() < deadline { Ok(()) } else { Err(OutOfTime) }
}

fn count(places: usize) -> u32 {
    u32::try_from(places).unwrap_or(u32::MAX)
}

/// Writes the mark with the given spelling of its quotes.
fn mark(name: &str, quote: &str) -> String {
    format!("[redacted: credential of {quote}{name}{quote}]")
}

/// Digits are everywhere, words too: the shorter, the more of its surroundings a secret must fill.
fn reach(secret: &str) -> Reach {
    let is_number = secret.bytes().all(|byte| byte.is_ascii_digit());
    match secret.len() {
        0..4 => Reach::Whole,
        4..8 => Reach::Word,
        8..10 if is_number => Reach::Word,
        8.. => Reach::Anywhere,
    }
}

fn starts_with_word(text: &[u8]) -> bool {
    text.first().is_some_and(u8::is_ascii_alphanumeric)
}

/// The end of an escape (`\n`, `%20`) is no part of a word.
fn ends_in_word(text: &[u8]) -> bool {
    match text {
        [.., b'\\', b'b' | b'f' | b'n' | b'r' | b't'] => false,
        [.., b'%', high, low] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => false,
        [.., last] => last.is_ascii_alphanumeric(),
        [] => false,
    }
}
