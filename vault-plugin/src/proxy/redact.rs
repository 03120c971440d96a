//! Replaces a service's secrets, in every common spelling, in what an upstream answers.

mod json;
mod pattern;
#[cfg(test)]
mod tests;

use std::fmt;
use std::ops::Range;

use bytes::Bytes;
use regex::bytes::Regex;
use secrecy::{ExposeSecret, SecretString};

/// Bounds the secrets of one [`Redactor`]: each costs a pass over every answer.
pub const MAX_SECRETS: usize = 8;
/// Bounds one secret, in bytes.
pub const MAX_SECRET_BYTES: usize = 8 * 1024;

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
/// strings up to eight backslashes), with HTML entities, form-encoded, in hexadecimal and in
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
    regex: Regex,
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
                let regex = pattern::compile(part, reach == Reach::Anywhere)
                    .map_err(|_| RedactorError::Pattern)?;
                patterns.push(Pattern { regex, reach });
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
    /// several JSON strings) the whole body becomes the mark. Takes about 5 ms per MiB and secret:
    /// run large bodies on a blocking thread.
    pub fn redact_body(&self, body: Bytes, is_json: bool) -> (Bytes, u32) {
        let spans = self.spans(&body);
        let hits = u32::try_from(spans.len()).unwrap_or(u32::MAX);
        if spans.is_empty() {
            return (body, 0);
        }
        let redacted = if is_json {
            json::substitute(&body, &spans, &self.name)
        } else {
            self.substitute(&body, &spans)
        };
        (redacted.into(), hits)
    }

    /// Replaces the secrets in a header value, a reason phrase or an error's text; gives it and the
    /// number of places. What isn't UTF-8 becomes U+FFFD.
    pub fn redact_header_value(&self, value: impl AsRef<[u8]>) -> (String, u32) {
        let value = value.as_ref();
        let spans = self.spans(value);
        let redacted = self.substitute(value, &spans);
        (
            String::from_utf8_lossy(&redacted).into_owned(),
            u32::try_from(spans.len()).unwrap_or(u32::MAX),
        )
    }

    /// Tells whether a secret is there: a binary body that holds one can't be mended, only refused.
    pub fn contains(&self, bytes: &[u8]) -> bool {
        self.patterns.iter().any(|pattern| !pattern.spans(bytes).is_empty())
    }

    fn substitute(&self, text: &[u8], spans: &[Range<usize>]) -> Vec<u8> {
        let mut redacted = Vec::with_capacity(text.len());
        let mut done = 0;
        for span in spans {
            redacted.extend_from_slice(text.get(done..span.start).unwrap_or_default());
            redacted.extend_from_slice(mark(&self.name, "\"").as_bytes());
            done = span.end;
        }
        redacted.extend_from_slice(text.get(done..).unwrap_or_default());
        redacted
    }

    /// Finds what to replace: ascending, with gaps between.
    fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut found: Vec<_> =
            self.patterns.iter().flat_map(|pattern| pattern.spans(text)).collect();
        found.sort_by_key(|span| span.start);
        let mut merged: Vec<Range<usize>> = Vec::with_capacity(found.len());
        for span in found {
            match merged.last_mut() {
                // Parts of one long secret touch.
                Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
                _ => merged.push(span),
            }
        }
        merged
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Redactor").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Pattern {
    fn spans(&self, text: &[u8]) -> Vec<Range<usize>> {
        let mut spans = Vec::new();
        let mut from = 0;
        while let Some(found) =
            (from <= text.len()).then(|| self.regex.find_at(text, from)).flatten()
        {
            let span = found.range();
            if self.reach.covers(text, &span) {
                from = span.end;
                spans.push(span);
            } else {
                from = span.start + 1;
            }
        }
        spans
    }
}

impl Reach {
    fn covers(self, text: &[u8], span: &Range<usize>) -> bool {
        let before = text.get(..span.start).unwrap_or_default();
        let after = text.get(span.end..).unwrap_or_default();
        match self {
            Self::Anywhere => true,
            Self::Word => !ends_in_word(before) && !starts_with_word(after),
            Self::Whole => {
                let quoted = before.ends_with(b"\"")
                    && after.iter().find(|byte| **byte != b'\\') == Some(&b'"');
                quoted || before.trim_ascii().is_empty() && after.trim_ascii().is_empty()
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
