//! The redactor, with secrets planted in the spellings that it promises to find.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE};
use secrecy::SecretString;
use serde_json::{Map, Value};
use vault_plugin::proxy::redact::{Bounds, Redactor};

/// Long ones are found in parts, short ones only as words or whole values.
const SECRETS: &[&str] = &[
    "sk-live-4f9Zq8Rt2LmX",
    "p@ss\"w\\ord/1 +&<>'",
    "geheim-\u{e4}\u{f6}\u{fc}-\u{1f600}-x",
    "AbC+/d==Zq9_8-7x",
    "471108159926",
    "deadbeefcafebabe0123",
    "aaaaaaaaaaaaaaaa",
    "abababababababab",
    "%41%42%43secret",
    "\\u0041\\nsecret\\",
    "&amp;secret&lt;&#65;",
    "line1\nline2\ttab\r\u{8}",
    "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.c2lnbmF0dXJlLXRoYXQtaXMtbG9uZy1lbm91Z2g",
    "hunter",
    "12345678",
    "xyz",
];

/// Stands between pieces: in no secret and in no spelling of one, and no part of a word.
const APART: &[&str] = &["|", "~", "^", "`"];
/// What is left alone: halves of secrets, beginnings of escapes, other people's words.
const CLEAN: &[&str] = &[
    "",
    "word",
    "sk-live-4f9Z",
    "t2LmX",
    "p@ss\"",
    "\\",
    "\\\\",
    "\\\"",
    "\"",
    "%",
    "%25",
    "%2",
    "&",
    "&amp;",
    "&#",
    "\\u00",
    "\\u",
    "AbC+/d",
    "deadbeef",
    "aaaaaaa",
    "abab",
    "hunte",
    "hunters",
    "1234567",
    "xy",
    "c2stbGl2",
    "736b2d6c",
    "\n",
    "\r\n",
    "\t",
    "{",
    "}",
    "[",
    ",",
    ":",
    "=",
    "==",
    "\u{e9}",
    "\u{1f600}",
    "\u{0}",
    "eyJhbGciOiJFUzI1",
    "line1",
    "null",
    "0",
];

struct Kept {
    secrets: Vec<&'static str>,
    redactor: Redactor,
}

thread_local! {
    static REDACTORS: RefCell<Vec<Kept>> = const { RefCell::new(Vec::new()) };
}

const NAME: &str = "api";
const MARK: &str = "[redacted: credential of \"api\"]";

/// What was planted becomes the mark, and nothing else is touched.
pub(crate) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let first = u.choose_index(SECRETS.len())?;
    let mut secrets = vec![SECRETS[first]];
    // An earlier version, or a cookie.
    match u.int_in_range(0..=3)? {
        0 => {}
        further => secrets.push(SECRETS[(first + further) % SECRETS.len()]),
    }
    REDACTORS.with_borrow_mut(|kept| {
        let at = match kept.iter().position(|kept| kept.secrets == secrets) {
            Some(at) => at,
            None => {
                let live: Vec<SecretString> =
                    secrets.iter().map(|secret| SecretString::from(*secret)).collect();
                let redactor = Redactor::new(NAME, &live).unwrap();
                kept.push(Kept { secrets: secrets.clone(), redactor });
                kept.len() - 1
            }
        };
        let redactor = &kept[at].redactor;
        match u.int_in_range(0..=3)? {
            0 => text(u, redactor, &secrets),
            1 => json(u, redactor, &secrets),
            2 => aligned(u, redactor, &secrets),
            _ => unseparated(u, redactor, &secrets),
        }
    })
}

/// Plain text: bodies and header values.
fn text(u: &mut Unstructured<'_>, redactor: &Redactor, secrets: &[&str]) -> Result<()> {
    let piece = pieces(u, secrets, 6, true)?;
    assert_eq!(body(redactor, &piece.text, false), piece.expected, "{:?}", piece.text);
    if piece.planted > 8 {
        return Ok(());
    }
    let (shown, places) = redactor.redact_header_value(&piece.text, deadline()).unwrap();
    assert_eq!((shown.as_str(), places), (piece.expected.as_str(), piece.planted));
    assert_eq!(redactor.contains(piece.text.as_bytes(), deadline()).unwrap(), piece.planted > 0);
    Ok(())
}

/// JSON, JSON lines and event streams stay that and say the same, but for the planted strings and
/// numbers.
fn json(u: &mut Unstructured<'_>, redactor: &Redactor, secrets: &[&str]) -> Result<()> {
    let mut expected = Vec::new();
    let mut texts = Vec::new();
    let pretty = u.arbitrary()?;
    let before = *u.choose(&["", "", "data: ", "data:"])?;
    for _ in 0..if pretty { 1 } else { u.int_in_range(1..=3)? } {
        let (given, wanted) = document(u, secrets, 3, false)?;
        expected.push(wanted);
        texts.push(if pretty {
            serde_json::to_string_pretty(&given).unwrap()
        } else {
            format!("{before}{given}")
        });
    }
    let text = texts.join("\n");
    let redacted = body(redactor, &text, true);
    let read = |redacted: &str| -> Vec<Value> {
        let documents = if pretty { vec![redacted] } else { redacted.split('\n').collect() };
        let parsed = documents.iter().map(|document| {
            let document = if pretty { document } else { document.strip_prefix(before).unwrap() };
            serde_json::from_str(document)
                .unwrap_or_else(|error| panic!("{text} became {redacted}: {error}"))
        });
        parsed.collect()
    };
    assert_eq!(read(&redacted), expected, "{text}");

    // However little room there is, it is that or the mark.
    let max_bytes = u.int_in_range(0..=redacted.len())?;
    let has_memory = u.ratio(3, 4)?;
    let bounds = Bounds { max_bytes, deadline: deadline(), cover: &|_| has_memory };
    let (bounded, places) = redactor.redact_body(text.clone().into(), true, &bounds).unwrap();
    let is_mark = serde_json::from_slice::<String>(&bounded).is_ok_and(|only| only == MARK);
    let fits = has_memory && bounded.len() <= max_bytes;
    assert!(is_mark || bounded == redacted && (fits || places == 0), "{text}: {bounded:?}");
    Ok(())
}

/// Base64 with other bytes beside the secret: what it alone decides is gone.
fn aligned(u: &mut Unstructured<'_>, redactor: &Redactor, secrets: &[&str]) -> Result<()> {
    let secret = *u.choose(secrets)?;
    if !is_found_anywhere(secret) {
        return Ok(());
    }
    let before = &u.arbitrary::<[u8; 5]>()?[..u.int_in_range(0..=5)?];
    let after = &u.arbitrary::<[u8; 5]>()?[..u.int_in_range(0..=5)?];
    let bytes = [before, secret.as_bytes(), after].concat();
    let encoded = match u.int_in_range(0..=2)? {
        0 => BASE64_STANDARD.encode(&bytes),
        1 => BASE64_STANDARD_NO_PAD.encode(&bytes),
        _ => BASE64_URL_SAFE.encode(&bytes),
    };
    // The characters that hold bits of the secret alone (RFC 4648, section 4: six bits each).
    let alone = (before.len() * 8).div_ceil(6)..((before.len() + secret.len()) * 8) / 6;
    let core = &encoded[alone];
    let mut spelt = String::new();
    let line = u.int_in_range(4..=76)?;
    let (breaks, percent) = (*u.choose(&["", "", "\n", "\r\n", "\\n", "\\r\\n"])?, u.arbitrary()?);
    for (at, character) in encoded.chars().enumerate() {
        if at > 0 && at % line == 0 {
            spelt.push_str(breaks);
        }
        if percent && !character.is_ascii_alphanumeric() {
            let _ = write!(spelt, "%{:02X}", u32::from(character));
        } else {
            spelt.push(character);
        }
    }
    let text = format!("|{spelt}|");
    let redacted = body(redactor, &text, false);
    let plain = redacted.replace("\\r", "").replace("\\n", "").replace(['\r', '\n'], "");
    let plain = percent_encoding::percent_decode_str(&plain).decode_utf8_lossy();
    assert!(plain.contains(MARK), "{text}: {redacted}");
    assert!(!plain.contains(core), "{text}: {redacted}");
    assert!(redacted.starts_with('|') && redacted.ends_with('|'), "{text}: {redacted}");
    Ok(())
}

/// Clean text and other secrets right beside the secret: how far the mark reaches may differ, that
/// all of it is gone may not.
fn unseparated(u: &mut Unstructured<'_>, redactor: &Redactor, secrets: &[&str]) -> Result<()> {
    let (mut planted, mut has_border) = (Vec::new(), false);
    for _ in 0..u.int_in_range(1..=3)? {
        let secret = *u.choose(secrets)?;
        if !is_found_anywhere(secret) {
            return Ok(());
        }
        planted.push(spelling(u, secret)?);
        has_border |= (1..secret.len())
            .any(|length| secret.as_bytes().ends_with(&secret.as_bytes()[..length]));
    }
    let (before, after) = (*u.choose(CLEAN)?, *u.choose(CLEAN)?);
    let text = format!("{before}{}{after}", planted.concat());
    for is_json in [false, true] {
        let redacted = body(redactor, &text, is_json);
        for planted in &planted {
            assert!(!redacted.contains(planted), "{text:?}: {redacted:?}");
        }
        assert!(redacted.contains("[redacted: "), "{text:?}: {redacted:?}");
        assert_eq!(body(redactor, &redacted, is_json), redacted, "found again");
        // A secret that begins as it ends may be found in what stands before it, for the same part
        // behind it.
        if !is_json && !has_border {
            let left = redacted.replace(MARK, "");
            assert!(left.len() <= before.len() + after.len(), "{text:?}: {redacted:?}");
        }
    }
    Ok(())
}

#[derive(Debug)]
struct Piece {
    text: String,
    expected: String,
    planted: u32,
}

/// With `quotes`, clean text may hold some. In JSON a lone one begins, for all that can be told, a
/// string within the string, in which the mark's own are escaped.
fn pieces(u: &mut Unstructured<'_>, secrets: &[&str], most: usize, quotes: bool) -> Result<Piece> {
    let apart = *u.choose(APART)?;
    let mut piece = Piece { text: apart.to_owned(), expected: apart.to_owned(), planted: 0 };
    for _ in 0..u.int_in_range(0..=most)? {
        if u.ratio(1, 3)? {
            let secret = *u.choose(secrets)?;
            let planted = spelling(u, secret)?;
            piece.text.push_str(&planted);
            if secret.len() < 4 {
                // Somebody else's word, unless it is the whole.
                piece.expected.push_str(&planted);
            } else {
                piece.expected.push_str(MARK);
                piece.planted += 1;
            }
        } else {
            let clean = *u.choose(CLEAN)?;
            let clean = if quotes || !clean.contains('"') { clean } else { "word" };
            piece.text.push_str(clean);
            piece.expected.push_str(clean);
        }
        piece.text.push_str(apart);
        piece.expected.push_str(apart);
    }
    Ok(piece)
}

fn document(
    u: &mut Unstructured<'_>,
    secrets: &[&str],
    depth: u32,
    nested: bool,
) -> Result<(Value, Value)> {
    // KNOWN: two strings deep, the mark of a secret that ends in a backslash takes backslashes of the
    // quote behind it, and the innermost JSON text loses its end. Nothing of the secret stays.
    let is_odd = nested && secrets.iter().any(|secret| secret.ends_with('\\'));
    let deepest = if is_odd { 5 } else { 6 };
    let kind = u.int_in_range(0..=if depth == 0 { 3 } else { deepest })?;
    Ok(match kind {
        0 | 1 => {
            let piece = pieces(u, secrets, 3, false)?;
            (Value::from(piece.text), Value::from(piece.expected))
        }
        2 => {
            let secret = *u.choose(secrets)?;
            (Value::from(spelling(u, secret)?), Value::from(MARK))
        }
        3 => match u.choose(secrets)?.parse::<u64>() {
            Ok(number) if !nested => (Value::from(number), Value::from(MARK)),
            _ => (Value::from(7), Value::from(7)),
        },
        4 => {
            let (mut given, mut expected) = (Vec::new(), Vec::new());
            for _ in 0..u.int_in_range(0..=3)? {
                let (one, other) = document(u, secrets, depth - 1, nested)?;
                given.push(one);
                expected.push(other);
            }
            (Value::from(given), Value::from(expected))
        }
        5 => {
            let (mut given, mut expected) = (Map::new(), Map::new());
            for name in ["a", "\"b\\", "c"] {
                let (one, other) = document(u, secrets, depth - 1, nested)?;
                given.insert(name.to_owned(), one);
                expected.insert(name.to_owned(), other);
            }
            if u.ratio(1, 4)? {
                let name = pieces(u, secrets, 2, false)?;
                given.insert(name.text, Value::Null);
                expected.insert(name.expected, Value::Null);
            }
            (Value::Object(given), Value::Object(expected))
        }
        _ => {
            // JSON within a JSON string: whether a string holds JSON isn't asked, so a number in it
            // becomes the mark as text would.
            let (given, expected) = document(u, secrets, depth - 1, true)?;
            (Value::from(given.to_string()), Value::from(expected.to_string()))
        }
    })
}

/// One of the promised spellings; of a secret that isn't found anywhere, only those of a text.
fn spelling(u: &mut Unstructured<'_>, secret: &str) -> Result<String> {
    Ok(match u.int_in_range(0..=if is_found_anywhere(secret) { 5 } else { 2 })? {
        0 => secret.to_owned(),
        1 => percent(secret, u.int_in_range(1..=4)?, u.arbitrary()?),
        2 => mixed(u, secret)?,
        3 => hex(secret, u.arbitrary()?),
        4 => BASE64_STANDARD.encode(secret),
        _ => BASE64_URL_SAFE.encode(secret),
    })
}

/// Each character in a spelling of its own.
fn mixed(u: &mut Unstructured<'_>, secret: &str) -> Result<String> {
    let mut text = String::new();
    for character in secret.chars() {
        let code = u32::from(character);
        match u.int_in_range(0..=6)? {
            0 | 1 => text.push(character),
            2 => text.push_str(&percent(
                &character.to_string(),
                u.int_in_range(1..=4)?,
                u.arbitrary()?,
            )),
            3 => {
                let backslashes = "\\".repeat(1 << u.int_in_range(0..=3)?);
                for unit in character.encode_utf16(&mut [0; 2]) {
                    let _ = write!(text, "{backslashes}u{unit:04x}");
                }
            }
            4 => {
                let amp = "amp;".repeat(u.int_in_range(0..=3)?);
                let _ = write!(text, "&{amp}#{code};");
            }
            5 => text.push_str(&short(u, character)?),
            _ => {
                let _ = write!(text, "&#x{code:X};");
            }
        }
    }
    Ok(text)
}

/// The spelling that JSON, HTML or a form has for this character alone, if there is one.
fn short(u: &mut Unstructured<'_>, character: char) -> Result<String> {
    let escaped = match character {
        '"' | '/' | '\'' | '\\' => Some(character),
        '\u{8}' => Some('b'),
        '\t' => Some('t'),
        '\n' => Some('n'),
        '\r' => Some('r'),
        _ => None,
    };
    let named = match character {
        '<' => "lt;",
        '>' => "gt;",
        '"' => "quot;",
        '\'' => "apos;",
        '&' => "amp;",
        _ => "",
    };
    Ok(match escaped {
        Some(escaped) if named.is_empty() || u.arbitrary()? => {
            format!("{}{escaped}", "\\".repeat(u.int_in_range(1..=8)?))
        }
        _ if !named.is_empty() => format!("&{}{named}", "amp;".repeat(u.int_in_range(0..=3)?)),
        _ if character == ' ' => "+".to_owned(),
        _ => character.to_string(),
    })
}

/// Percent-encoded so many times, all of it.
fn percent(text: &str, times: usize, lower: bool) -> String {
    let again = "25".repeat(times - 1);
    text.bytes().fold(String::new(), |mut spelt, byte| {
        let _ = if lower {
            write!(spelt, "%{again}{byte:02x}")
        } else {
            write!(spelt, "%{again}{byte:02X}")
        };
        spelt
    })
}

fn hex(text: &str, lower: bool) -> String {
    text.bytes().fold(String::new(), |mut spelt, byte| {
        let _ = if lower { write!(spelt, "{byte:02x}") } else { write!(spelt, "{byte:02X}") };
        spelt
    })
}

/// Shorter ones, and numbers of few digits, are likely to be somebody else's word.
fn is_found_anywhere(secret: &str) -> bool {
    let is_number = secret.bytes().all(|byte| byte.is_ascii_digit());
    secret.len() >= if is_number { 10 } else { 8 }
}

fn body(redactor: &Redactor, text: &str, is_json: bool) -> String {
    let bounds = Bounds { max_bytes: 1 << 24, deadline: deadline(), cover: &|_| true };
    let (bytes, _) = redactor.redact_body(text.to_owned().into(), is_json, &bounds).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn deadline() -> Instant {
    Instant::now() + Duration::from_secs(60)
}
