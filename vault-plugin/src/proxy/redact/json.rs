//! Puts the mark into JSON text so that it stays JSON text.

use std::ops::Range;

use serde::de::IgnoredAny;

use super::mark;

/// Replaces the places (ascending, apart) in JSON, JSON lines or an event stream. Gives `None` where
/// that would take more than `most` bytes, or a secret spans JSON's own structure: no part of it can
/// be told from the rest.
pub(super) fn substitute(
    text: &[u8],
    places: &[Range<usize>],
    name: &str,
    most: usize,
) -> Option<Vec<u8>> {
    let redacted = Walk::new(text, name, most).run(places)?;
    (is_valid(&redacted) || !is_valid(text)).then_some(redacted)
}

/// The mark in place of a whole body.
pub(super) fn whole(name: &str) -> String {
    format!("\"{}\"", mark(name, "\\\""))
}

/// The bytes of the mark where its quotes lie deepest.
pub(super) fn longest_mark(name: &str) -> usize {
    mark(name, &quote(NESTED + 1)).len()
}

/// A quote as it stands in a string that lies so deep.
fn quote(depth: usize) -> String {
    format!("{}\"", "\\".repeat((1 << depth) - 1))
}

fn is_valid(text: &[u8]) -> bool {
    serde_json::from_slice::<IgnoredAny>(text).is_ok()
}

/// How deep strings within strings are followed: beyond, the mark's quotes may end one of them.
const NESTED: usize = 4;

/// Walks over the text unit by unit: an escape in a string counts as one, so that none is cut.
struct Walk<'a> {
    text: &'a [u8],
    name: &'a str,
    redacted: Vec<u8>,
    /// Bytes that `redacted` may have.
    most: usize,
    at: usize,
    in_string: bool,
    /// Length of `redacted` where the present number or word outside strings begins.
    token: usize,
    /// Whether a string within the string is open, and one within that, and so on.
    nested: [bool; NESTED],
    /// Escaped backslashes just before, which say how deep an escaped quote lies.
    backslashes: usize,
}

impl<'a> Walk<'a> {
    fn new(text: &'a [u8], name: &'a str, most: usize) -> Self {
        Self {
            text,
            name,
            redacted: Vec::with_capacity(most),
            most,
            at: 0,
            in_string: false,
            token: 0,
            nested: [false; NESTED],
            backslashes: 0,
        }
    }

    /// Gives `None` where a place leaves the string that it began in, or it takes too much.
    fn run(mut self, places: &[Range<usize>]) -> Option<Vec<u8>> {
        for place in places {
            while self.at < self.text.len() && self.at + self.unit() <= place.start {
                self.copy()?;
            }
            if self.at < place.end {
                self.replace(place.end)?;
            }
        }
        while self.at < self.text.len() {
            self.copy()?;
        }
        Some(self.redacted)
    }

    fn byte(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The length of the unit at hand, at most to the end of the text.
    fn unit(&self) -> usize {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut unit = match rest {
            [b'\\', b'u', ..] if self.in_string => 6,
            [b'\\', ..] if self.in_string => 2,
            _ => 1,
        };
        // No JSON escapes a character outside ASCII; what does so all the same keeps it whole.
        while unit > 1 && rest.get(unit).is_some_and(|byte| matches!(byte, 0x80..=0xBF)) {
            unit += 1;
        }
        unit.min(rest.len())
    }

    fn copy(&mut self) -> Option<()> {
        let end = self.at + self.unit();
        let unit = self.text.get(self.at..end).unwrap_or_default();
        self.push(unit)?;
        self.at = end;
        self.note(unit);
        Some(())
    }

    fn push(&mut self, piece: &[u8]) -> Option<()> {
        if self.redacted.len() + piece.len() > self.most {
            return None;
        }
        self.redacted.extend_from_slice(piece);
        Some(())
    }

    fn note(&mut self, unit: &[u8]) {
        match unit {
            b"\"" => {
                self.in_string = !self.in_string;
                self.nested = [false; NESTED];
                self.token = self.redacted.len();
            }
            // No JSON string holds a raw line break: what follows is a new line of its own.
            b"\n" => {
                self.in_string = false;
                self.token = self.redacted.len();
            }
            b"\\\"" => self.note_quote(),
            [delimiter] if !self.in_string && is_delimiter(*delimiter) => {
                self.token = self.redacted.len();
            }
            _ => {}
        }
        self.backslashes = if unit == b"\\\\" { self.backslashes + 1 } else { 0 };
    }

    /// An escaped quote opens or closes a string. How many escaped backslashes stand before it says
    /// how deep that lies: of an even number, none escapes it one level deeper; of an odd one, the
    /// last does, and half of the others are seen there. So 0, 1, 3, 7 at the least, and 2 where a
    /// string ends in a backslash. What lay deeper ends.
    fn note_quote(&mut self) {
        let depth = usize::try_from(self.backslashes.trailing_ones()).unwrap_or(NESTED);
        if let Some((open, deeper)) =
            self.nested.get_mut(depth..).and_then(<[bool]>::split_first_mut)
        {
            *open = !*open;
            deeper.fill(false);
        }
    }

    fn replace(&mut self, end: usize) -> Option<()> {
        let was_in_string = self.in_string;
        let start = self.at;
        while self.at < end {
            if matches!(self.byte(), Some(b'"' | b'\n')) {
                return None;
            }
            // A secret that ends in a backslash is found with all that there are: the last one may
            // be a quote's behind it, which closes a string within the string.
            let last = was_in_string && self.at > start && self.at + 1 == end;
            if last && self.text.get(self.at..end + 1) == Some(b"\\\"") {
                break;
            }
            self.at += self.unit();
        }
        self.backslashes = 0;
        if was_in_string {
            let depth = self.nested.iter().rposition(|open| *open).map_or(1, |at| at + 2);
            self.push(mark(self.name, &quote(depth)).as_bytes())?;
        } else {
            // A number, or no JSON at all: the rest of it goes too, or what stays isn't a value.
            self.redacted.truncate(self.token);
            while self.byte().is_some_and(|byte| byte != b'"' && !is_delimiter(byte)) {
                self.at += 1;
            }
            self.push(whole(self.name).as_bytes())?;
        }
        Some(())
    }
}

fn is_delimiter(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'{' | b'}' | b'[' | b']' | b',' | b':')
}
