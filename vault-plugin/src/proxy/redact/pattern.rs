//! Builds the automaton that finds one secret in any mixture of spellings.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use super::automaton::{Automaton, Node};

/// Longer secrets are searched in parts, which keeps each automaton small.
const MAX_UNDIVIDED_BYTES: usize = 64;
const PART_BYTES: usize = 32;

/// Cuts a long secret into parts of 16 to 32 bytes (a few more beside long characters).
pub(super) fn parts(secret: &str) -> Vec<&str> {
    if secret.len() <= MAX_UNDIVIDED_BYTES {
        return vec![secret];
    }
    let count = secret.len().div_ceil(PART_BYTES);
    let mut parts = Vec::with_capacity(count);
    let mut rest = secret;
    for left in (1..=count).rev() {
        let mut end = rest.len() / left;
        while !rest.is_char_boundary(end) {
            end += 1;
        }
        let (part, after) = rest.split_at(end);
        parts.push(part);
        rest = after;
    }
    parts
}

/// Builds the automaton for `secret`: as text, and with `encoded` also in hexadecimal and base64.
pub(super) fn automaton(secret: &str, encoded: bool) -> Automaton {
    let mut automaton = Automaton::default();
    let spelling = &mut Spelling(&mut automaton);
    spelling.text(secret);
    if encoded {
        spelling.hexadecimal(secret.as_bytes());
        for skipped in 0..3 {
            spelling.base64(secret.as_bytes(), skipped);
        }
    }
    automaton
}

/// Adds ways from one node to another for the spellings of a byte or a character.
///
/// Those that stay close to each other share nodes: an automaton has some 65 nodes for each byte of
/// a secret, two thirds of them for base64.
struct Spelling<'a>(&'a mut Automaton);

impl Spelling<'_> {
    fn text(&mut self, text: &str) {
        let mut from = self.0.node();
        self.0.start_at(from);
        for character in text.chars() {
            let to = self.0.node();
            match u8::try_from(character) {
                Ok(byte) if byte.is_ascii() => {
                    let escape = self.escape(from);
                    self.byte(from, escape, byte, to);
                    self.html(from, character, to);
                    if byte == b' ' {
                        self.0.edge(from, b'+', to);
                    }
                    self.0.edge(from, byte, to);
                }
                _ => self.wide(from, character, to),
            }
            from = to;
        }
        self.0.end_at(from);
    }

    fn hexadecimal(&mut self, bytes: &[u8]) {
        let mut from = self.0.node();
        self.0.start_at(from);
        for byte in bytes {
            let to = self.0.node();
            self.digits(from, &hex(*byte, 2), to);
            from = to;
        }
        self.0.end_at(from);
    }

    /// A character outside ASCII: its UTF-8 bytes, its UTF-16 units, or an entity.
    fn wide(&mut self, from: Node, character: char, to: Node) {
        let mut buffer = [0; 4];
        let bytes = character.encode_utf8(&mut buffer).as_bytes();
        let mut at = from;
        for (index, byte) in bytes.iter().enumerate() {
            let next = if index + 1 == bytes.len() { to } else { self.0.node() };
            let low = self.0.node();
            self.percent(at, *byte, low, next);
            self.0.edge(at, *byte, next);
            at = next;
        }
        self.html(from, character, to);
        let mut buffer = [0; 2];
        let units = character.encode_utf16(&mut buffer);
        let mut at = from;
        for (index, unit) in units.iter().enumerate() {
            let next = if index + 1 == units.len() { to } else { self.0.node() };
            let escape = self.escape(at);
            self.digits(escape, &format!("u{unit:04x}"), next);
            at = next;
        }
    }

    /// Backslashes before an escape: one, and more where JSON strings lie within JSON strings. Gives
    /// the node behind them.
    fn escape(&mut self, from: Node) -> Node {
        let escape = self.0.node();
        self.0.edge(from, b'\\', escape);
        self.0.edge(escape, b'\\', escape);
        escape
    }

    /// An ASCII byte percent-encoded and JSON-escaped, but not as itself; `escape` is the node behind
    /// the backslashes.
    fn byte(&mut self, from: Node, escape: Node, byte: u8, to: Node) {
        let low = self.0.node();
        self.percent(from, byte, low, to);
        self.json(escape, byte, low, to);
    }

    /// A percent sign, itself percent-encoded any number of times, and two digits; `low` gets the way
    /// of the second one.
    fn percent(&mut self, from: Node, byte: u8, low: Node, to: Node) {
        let digits = hex(byte, 2);
        let (first, second) = digits.split_at(1);
        let (percent, nested) = (self.0.node(), self.0.node());
        self.0.edge(from, b'%', percent);
        self.0.edge(percent, b'2', nested);
        self.0.edge(nested, b'5', percent);
        self.digits(percent, first, low);
        self.digits(low, second, to);
    }

    /// RFC 8259, section 7; `low` has the way of the last digit.
    fn json(&mut self, escape: Node, byte: u8, low: Node, to: Node) {
        let short = match byte {
            // Backslashes may stand for themselves, too.
            b'"' | b'/' | b'\'' | b'\\' => Some(byte),
            0x08 => Some(b'b'),
            0x09 => Some(b't'),
            0x0A => Some(b'n'),
            0x0C => Some(b'f'),
            0x0D => Some(b'r'),
            _ => None,
        };
        if let Some(short) = short {
            self.0.edge(escape, short, to);
        }
        let digits = hex(byte, 2);
        let (first, _) = digits.split_at(1);
        self.digits(escape, &format!("u00{first}"), low);
    }

    /// Numeric references of any character, and the five names that escaping uses. The ampersand may
    /// itself be escaped any number of times.
    fn html(&mut self, from: Node, character: char, to: Node) {
        let reference = self.0.node();
        self.0.edge(from, b'&', reference);
        let last = self.word(reference, b"amp");
        self.0.edge(last, b';', reference);
        if character == '&' {
            self.0.edge(last, b';', to);
        }

        let (number, decimal, hexadecimal) = (self.0.node(), self.0.node(), self.0.node());
        let semicolon = self.0.node();
        self.0.edge(semicolon, b';', to);
        self.0.edge(reference, b'#', number);
        let code = u32::from(character);
        for from in [number, decimal] {
            self.0.edge(from, b'0', decimal);
        }
        let text = code.to_string();
        let (first, rest) = text.split_at(1);
        let second = if rest.is_empty() { semicolon } else { self.0.node() };
        for from in [number, decimal] {
            self.digits(from, first, second);
        }
        self.digits(second, rest, semicolon);
        for x in [b'x', b'X'] {
            self.0.edge(number, x, hexadecimal);
        }
        self.0.edge(hexadecimal, b'0', hexadecimal);
        self.digits(hexadecimal, &hex(code, 0), semicolon);

        let name: &[u8] = match character {
            '<' => b"lt",
            '>' => b"gt",
            '"' => b"quot",
            '\'' => b"apos",
            _ => return,
        };
        let last = self.word(reference, name);
        self.0.edge(last, b';', to);
    }

    /// The node behind a word.
    fn word(&mut self, from: Node, word: &[u8]) -> Node {
        word.iter().fold(from, |from, byte| {
            let to = self.0.node();
            self.0.edge(from, *byte, to);
            to
        })
    }

    /// Digits and letters, those up to `f` in both cases; none of them is no way at all.
    fn digits(&mut self, mut from: Node, digits: &str, to: Node) {
        for (at, digit) in digits.bytes().enumerate() {
            let next = if at + 1 == digits.len() { to } else { self.0.node() };
            self.0.edge(from, digit, next);
            if matches!(digit, b'a'..=b'f') {
                self.0.edge(from, digit.to_ascii_uppercase(), next);
            }
            from = next;
        }
    }

    /// The part of the base64 text that `secret` alone decides when `skipped` bytes (modulo three)
    /// stand before it, and one character on either side, since those hold some of its bits.
    fn base64(&mut self, secret: &[u8], skipped: usize) {
        let mut bytes = Zeroizing::new(vec![0; skipped]);
        bytes.extend_from_slice(secret);
        let text = Zeroizing::new(STANDARD_NO_PAD.encode(&bytes));
        let first = (skipped * 8).div_ceil(6);
        let last = bytes.len() * 8 / 6;
        let own = text.as_bytes().get(first..last).unwrap_or_default();
        let Some((head, tail)) = own.split_first() else { return };

        let mut from = self.0.node();
        if skipped > 0 {
            let (before, between) = (self.0.node(), self.0.node());
            self.0.start_at(before);
            self.any_base64(before, between);
            let escape = self.line_break(between, between);
            self.base64_character(between, escape, *head, from);
        }
        let start = self.0.node();
        self.0.start_at(start);
        let escape = self.escape(start);
        self.base64_character(start, escape, *head, from);
        for character in tail {
            let to = self.0.node();
            let escape = self.line_break(from, from);
            self.base64_character(from, escape, *character, to);
            from = to;
        }
        self.base64_end(from, !bytes.len().is_multiple_of(3));
    }

    /// What may follow: a character that is `shared` with other bytes, and padding.
    fn base64_end(&mut self, from: Node, shared: bool) {
        let mut ends = vec![from];
        if shared {
            let (between, after) = (self.0.node(), self.0.node());
            self.any_base64(from, after);
            self.line_break(from, between);
            self.line_break(between, between);
            self.any_base64(between, after);
            ends.push(after);
        }
        let paddings = [self.0.node(), self.0.node()];
        for end in &ends {
            self.padding(*end, paddings[0]);
        }
        self.padding(paddings[0], paddings[1]);
        for end in ends.into_iter().chain(paddings) {
            self.0.end_at(end);
        }
    }

    fn padding(&mut self, from: Node, to: Node) {
        let escape = self.escape(from);
        self.byte(from, escape, b'=', to);
        self.0.edge(from, b'=', to);
    }

    /// A base64 line break (RFC 2045, section 6.8), plain or JSON-escaped. Gives the node behind the
    /// backslashes.
    fn line_break(&mut self, from: Node, to: Node) -> Node {
        let feed = self.0.node();
        self.0.edge(from, b'\r', feed);
        self.0.edge(feed, b'\n', to);
        self.0.edge(from, b'\n', to);
        let escape = self.escape(from);
        let returned = self.0.node();
        self.0.edge(escape, b'n', to);
        self.0.edge(escape, b'r', returned);
        let feed = self.escape(returned);
        self.0.edge(feed, b'n', to);
        escape
    }

    fn base64_character(&mut self, from: Node, escape: Node, character: u8, to: Node) {
        let url_safe = match character {
            b'+' => Some(b'-'),
            b'/' => Some(b'_'),
            _ => None,
        };
        if let Some(url_safe) = url_safe {
            let low = self.0.node();
            self.percent(from, url_safe, low, to);
            self.0.edge(from, url_safe, to);
            self.html(from, char::from(character), to);
        }
        self.byte(from, escape, character, to);
        self.0.edge(from, character, to);
    }

    /// Any character of both base64 alphabets (RFC 4648, sections 4 and 5).
    fn any_base64(&mut self, from: Node, to: Node) {
        for (first, last) in [(b'A', b'Z'), (b'a', b'z'), (b'/', b'9')] {
            self.0.range(from, first, last, to);
        }
        for other in *b"+_-" {
            self.0.edge(from, other, to);
        }
        for other in *b"+/_-" {
            let low = self.0.node();
            self.percent(from, other, low, to);
        }
        let escape = self.escape(from);
        self.0.edge(escape, b'/', to);
    }
}

/// Lower-case digits of a number.
fn hex(value: impl Into<u32>, digits: usize) -> String {
    format!("{:0digits$x}", value.into())
}
