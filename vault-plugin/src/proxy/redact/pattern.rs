//! Writes the regular expression that finds one secret in any mixture of spellings.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

/// Longer secrets are searched in parts, which keeps each automaton small.
const MAX_UNDIVIDED_BYTES: usize = 64;
const PART_BYTES: usize = 32;

/// Backslashes before an escape: one, and more where JSON strings lie within JSON strings.
const BACKSLASHES: &str = r"\\+";
/// A percent sign, itself percent-encoded up to three times.
const PERCENT: &str = "%(?:25){0,3}";
/// A base64 line break (RFC 2045, section 6.8), plain or JSON-escaped.
const LINE_BREAK: &str = r"(?:\r?\n|(?:\\+r)?\\+n)?";
/// Any character of both base64 alphabets (RFC 4648, sections 4 and 5).
const BASE64: &str = r"(?:[A-Za-z0-9+/_-]|%(?:25){0,3}(?:2[BbDdFf]|5[Ff])|\\+/)";
/// base64 padding.
const PADDING: &str = r"(?:=|%(?:25){0,3}3[Dd]|\\+u003[Dd]){0,2}";

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

/// Writes the pattern for `secret`: as text, and with `encoded` also in hexadecimal and base64.
pub(super) fn pattern(secret: &str, encoded: bool) -> Zeroizing<String> {
    let mut pattern = Zeroizing::new(String::new());
    push_text(&mut pattern, secret);
    if encoded {
        pattern.push('|');
        for byte in secret.bytes() {
            push_hex(&mut pattern, u32::from(byte), 2);
        }
        for skipped in 0..3 {
            pattern.push('|');
            push_base64(&mut pattern, secret.as_bytes(), skipped);
        }
    }
    pattern
}

fn push_text(pattern: &mut String, text: &str) {
    for character in text.chars() {
        match u8::try_from(character) {
            Ok(byte) if byte.is_ascii() => {
                pattern.push_str("(?:");
                push_percent(pattern, byte);
                push_json(pattern, byte);
                push_html(pattern, character);
                if byte == b' ' {
                    pattern.push_str("\\+|");
                }
                push_raw(pattern, byte);
                pattern.push(')');
            }
            _ => push_wide(pattern, character),
        }
    }
}

/// Writes a character outside ASCII: its UTF-8 bytes, its UTF-16 units, or an entity.
fn push_wide(pattern: &mut String, character: char) {
    pattern.push_str("(?:(?:");
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        pattern.push_str("(?:");
        push_percent(pattern, byte);
        push_raw(pattern, byte);
        pattern.push(')');
    }
    pattern.push_str(")|");
    push_html(pattern, character);
    for unit in character.encode_utf16(&mut [0; 2]) {
        pattern.push_str(BACKSLASHES);
        pattern.push('u');
        push_hex(pattern, u32::from(*unit), 4);
    }
    pattern.push(')');
}

fn push_raw(pattern: &mut String, byte: u8) {
    let _ = write!(pattern, "\\x{byte:02X}");
}

fn push_percent(pattern: &mut String, byte: u8) {
    pattern.push_str(PERCENT);
    push_hex(pattern, u32::from(byte), 2);
    pattern.push('|');
}

/// RFC 8259, section 7.
fn push_json(pattern: &mut String, byte: u8) {
    let short = match byte {
        b'"' | b'/' | b'\'' => Some(char::from(byte)),
        0x08 => Some('b'),
        0x09 => Some('t'),
        0x0A => Some('n'),
        0x0C => Some('f'),
        0x0D => Some('r'),
        _ => None,
    };
    let _ = write!(pattern, "{BACKSLASHES}(?:");
    if let Some(short) = short {
        let _ = write!(pattern, "{short}|");
    }
    pattern.push_str("u00");
    push_hex(pattern, u32::from(byte), 2);
    pattern.push_str(")|");
    if byte == b'\\' {
        let _ = write!(pattern, "{BACKSLASHES}|");
    }
}

/// Numeric references of any character, and the five names that escaping uses.
fn push_html(pattern: &mut String, character: char) {
    let code = u32::from(character);
    let _ = write!(pattern, "&(?:amp;){{0,3}}(?:#0{{0,4}}{code};|#[xX]0{{0,4}}");
    push_hex(pattern, code, 0);
    pattern.push(';');
    let name = match character {
        '<' => Some("lt"),
        '>' => Some("gt"),
        '"' => Some("quot"),
        '\'' => Some("apos"),
        '&' => Some("amp"),
        _ => None,
    };
    if let Some(name) = name {
        let _ = write!(pattern, "|{name};");
    }
    pattern.push_str(")|");
}

/// Writes a number in hexadecimal, each digit in both cases.
fn push_hex(pattern: &mut String, value: u32, digits: usize) {
    for digit in format!("{value:0digits$x}").chars() {
        if digit.is_ascii_digit() {
            pattern.push(digit);
        } else {
            let _ = write!(pattern, "[{digit}{}]", digit.to_ascii_uppercase());
        }
    }
}

/// Writes the part of the base64 text that `secret` alone decides when `skipped` bytes (modulo
/// three) stand before it, and one character on either side, since those hold some of its bits.
fn push_base64(pattern: &mut String, secret: &[u8], skipped: usize) {
    let mut bytes = Zeroizing::new(vec![0; skipped]);
    bytes.extend_from_slice(secret);
    let text = Zeroizing::new(STANDARD_NO_PAD.encode(&bytes));
    let first = (skipped * 8).div_ceil(6);
    let last = bytes.len() * 8 / 6;
    let is_shared = !bytes.len().is_multiple_of(3);
    if skipped > 0 {
        let _ = write!(pattern, "(?:{BASE64}{LINE_BREAK})?");
    }
    for (at, byte) in text.bytes().enumerate().take(last).skip(first) {
        if at > first {
            pattern.push_str(LINE_BREAK);
        }
        push_base64_character(pattern, byte);
    }
    if is_shared {
        let _ = write!(pattern, "(?:{LINE_BREAK}{BASE64})?");
    }
    pattern.push_str(PADDING);
}

fn push_base64_character(pattern: &mut String, byte: u8) {
    let url_safe = match byte {
        b'+' => Some(b'-'),
        b'/' => Some(b'_'),
        _ => None,
    };
    pattern.push_str("(?:");
    if let Some(url_safe) = url_safe {
        push_percent(pattern, url_safe);
        push_raw(pattern, url_safe);
        pattern.push('|');
        push_html(pattern, char::from(byte));
    }
    push_percent(pattern, byte);
    push_json(pattern, byte);
    push_raw(pattern, byte);
    pattern.push(')');
}
