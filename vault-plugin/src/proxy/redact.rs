//! Replaces a service's secrets, in every common spelling, in what an upstream answers.

mod json;
mod pattern;
mod search;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};

use search::{GaveUp, NotCompiled, Search};

/// Bounds the secrets of one [`Redactor`]: each costs a pass over every answer.
pub const MAX_SECRETS: usize = 30;
/// Bounds one secret, in bytes: searching costs some 5 ms to build and 1 MiB to keep per 32 bytes.
pub const MAX_SECRET_BYTES: usize = 4 * 1024;

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

/// Finds and replaces secrets in bodies, header values and texts.
///
/// Each secret is found plain, percent-encoded (up to four times), JSON-escaped (strings within
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
/// The compiled patterns hold the secrets; they live as long as the `Redactor`.
pub struct Redactor {
    name: String,
    patterns: Vec<Pattern>,
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
    /// Empty and repeated secrets are left out. Building takes milliseconds per secret: keep the
    /// result as long as its secrets live.
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
        for secret in known {
            if secret.len() > MAX_SECRET_BYTES {
                return Err(RedactorError::TooLong);
            }
            let reach = reach(secret);
            for part in pattern::parts(secret) {
                let search = Search::new(&pattern::pattern(part, reach == Reach::Anywhere))
                    .map_err(|NotCompiled| RedactorError::Pattern)?;
                patterns.push(Pattern { search, reach });
            }
        }
        // The mark must not be able to break a JSON string or a header line.
        let name = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '.') { c } else { '_' })
            .collect();
        Ok(Self { name, patterns })
    }

    /// Returns a redactor for services without a secret.
    pub fn none() -> Self {
        Self { name: String::new(), patterns: Vec::new() }
    }

    /// Replaces the secrets in a decoded body; gives it and the number of places.
    ///
    /// `is_json` (see [`is_json`]) keeps JSON valid: the mark's quotes are escaped as deep as the
    /// string lies, a number becomes a string, and where nothing else helps (a secret that spans
    /// several JSON strings) the whole body becomes the mark. So does a body made to exhaust the
    /// search, which is bounded. Takes some 3 ms per MiB and secret, or per 32 bytes of a long one:
    /// run large bodies on a blocking thread.
    pub fn redact_body(&self, body: Bytes, is_json: bool) -> (Bytes, u32) {
        let Ok(places) = self.places(&body) else {
            let quoted = format!("\"{}\"", mark(&self.name, "\\\""));
            return (if is_json { quoted } else { mark(&self.name, "\"") }.into(), 1);
        };
        if places.is_empty() {
            return (body, 0);
        }
        let redacted = if is_json {
            json::substitute(&body, &places, &self.name)
        } else {
            self.substitute(&body, &places)
        };
        (redacted.into(), count(&places))
    }

    /// Replaces the secrets in a header value, a reason phrase or an error's text; gives it and the
    /// number of places. What isn't UTF-8 becomes U+FFFD.
    pub fn redact_header_value(&self, value: impl AsRef<[u8]>) -> (String, u32) {
        let value = value.as_ref();
        let Ok(places) = self.places(value) else { return (mark(&self.name, "\""), 1) };
        let redacted = self.substitute(value, &places);
        (String::from_utf8_lossy(&redacted).into_owned(), count(&places))
    }

    /// Tells whether a secret is there, or may be: a binary body that holds one can't be mended,
    /// only refused.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.patterns
            .iter()
            .any(|pattern| !pattern.places(bytes).is_ok_and(|found| found.is_empty()))
    }

    fn substitute(&self, text: &[u8], places: &[Range<usize>]) -> Vec<u8> {
        let mut redacted = Vec::with_capacity(text.len());
        let mut done = 0;
        for place in places {
            redacted.extend_from_slice(text.get(done..place.start).unwrap_or_default());
            redacted.extend_from_slice(mark(&self.name, "\"").as_bytes());
            done = place.end;
        }
        redacted.extend_from_slice(text.get(done..).unwrap_or_default());
        redacted
    }

    /// Finds what to replace: ascending, with gaps between.
    fn places(&self, text: &[u8]) -> Result<Vec<Range<usize>>, GaveUp> {
        let mut found = Vec::new();
        for pattern in &self.patterns {
            found.extend(pattern.places(text)?);
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
    fn places(&self, text: &[u8]) -> Result<Vec<Range<usize>>, GaveUp> {
        // Once for all places: a text of white space and matches must not cost its square.
        let start = text.len() - text.trim_ascii_start().len();
        let whole = start..start + text.trim_ascii().len();
        self.search.places(text, |place| self.reach.covers(text, place, &whole))
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

fn count(places: &[Range<usize>]) -> u32 {
    u32::try_from(places.len()).unwrap_or(u32::MAX)
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
