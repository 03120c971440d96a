//! Proves what is found, what isn't, and that JSON stays JSON.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

const SECRET: &str = "sk-Live/4f+Q~\"z\\9 \u{e9}&Kx7";
const MARK: &str = "[redacted: credential of \"demo\"]";

fn redactor(secrets: &[&str]) -> Redactor {
    let secrets: Vec<SecretString> = secrets.iter().map(|text| (*text).into()).collect();
    Redactor::new("demo", &secrets).unwrap()
}

fn later() -> Instant {
    Instant::now() + Duration::from_secs(600)
}

fn redact(redactor: &Redactor, text: impl Into<Bytes>, is_json: bool) -> (Bytes, u32) {
    let bounds = Bounds { max_bytes: usize::MAX, deadline: later(), cover: &|_| true };
    redactor.redact_body(text.into(), is_json, &bounds).unwrap()
}

fn plain(redactor: &Redactor, text: &str) -> String {
    let (redacted, hits) = redact(redactor, Bytes::from(text.to_owned()), false);
    assert_eq!(hits > 0, redactor.contains(text.as_bytes(), later()).unwrap(), "{text}");
    String::from_utf8(redacted.to_vec()).unwrap()
}

fn json(redactor: &Redactor, text: &str) -> String {
    let (redacted, _) = redact(redactor, Bytes::from(text.to_owned()), true);
    String::from_utf8(redacted.to_vec()).unwrap()
}

fn percent(text: &str, spell: impl Fn(usize, u8) -> String) -> String {
    text.bytes().enumerate().map(|(at, byte)| spell(at, byte)).collect()
}

fn units(text: &str) -> String {
    text.encode_utf16()
        .enumerate()
        .map(
            |(at, unit)| {
                if at % 2 == 0 { format!("\\u{unit:04x}") } else { format!("\\u{unit:04X}") }
            },
        )
        .collect()
}

/// The inside of a JSON string.
fn quoted(text: &str) -> String {
    let text = serde_json::to_string(text).unwrap();
    text[1..text.len() - 1].to_owned()
}

fn named_entities(text: &str) -> String {
    text.replace('&', "&amp;").replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;")
}

fn numeric_entities(text: &str) -> String {
    text.chars()
        .map(|c| {
            if c.is_alphanumeric() && c.is_ascii() {
                c.to_string()
            } else {
                format!("&#x{:X};", u32::from(c))
            }
        })
        .collect()
}

fn basic(secret: &str) -> String {
    STANDARD.encode(format!("user:{secret}"))
}

/// The spellings that must be found, by name.
fn spellings(secret: &str) -> Vec<(String, String)> {
    let form = percent(secret, |_, byte| match byte {
        b' ' => "+".to_owned(),
        byte if byte.is_ascii_alphanumeric() || b"*-._".contains(&byte) => {
            char::from(byte).to_string()
        }
        byte => format!("%{byte:02X}"),
    });
    let basic = basic(secret);
    let escaped = basic.replace('+', "%2B").replace('/', "%2f").replace('=', "%3D");
    let (head, tail) = basic.split_at(12);
    let mut all: Vec<(String, String)> = [
        ("raw", secret.to_owned()),
        ("percent", percent(secret, |_, byte| format!("%{byte:02X}"))),
        (
            "percent, mixed",
            percent(secret, |at, byte| {
                if byte < 0x80 && at % 2 == 0 {
                    char::from(byte).to_string()
                } else {
                    let [high, low] = [byte >> 4, byte & 15].map(u32::from);
                    let low = char::from_digit(low, 16).unwrap();
                    format!("%{high:X}{low}")
                }
            }),
        ),
        ("form", form),
        ("percent twice", percent(secret, |_, byte| format!("%25{byte:02X}"))),
        ("percent four times", percent(secret, |_, byte| format!("%252525{byte:02x}"))),
        ("JSON", quoted(secret)),
        ("JSON with solidus", quoted(secret).replace('/', "\\/")),
        ("JSON units", units(secret)),
        ("JSON in JSON", quoted(&quoted(secret))),
        ("JSON three deep", quoted(&quoted(&quoted(secret)))),
        ("HTML named", named_entities(secret)),
        ("HTML named twice", named_entities(&named_entities(secret))),
        ("HTML numeric", numeric_entities(secret)),
        ("Basic, percent", escaped),
        ("Basic, solidus", basic.replace('/', "\\/")),
        ("Basic, CRLF", format!("{head}\r\n{tail}")),
        ("Basic, LF", format!("{head}\n{tail}")),
        ("Basic, JSON line break", format!("{head}\\n{tail}")),
        ("Basic, JSON CRLF", format!("{head}\\r\\n{tail}")),
        ("hex", percent(secret, |_, byte| format!("{byte:02x}"))),
        (
            "hex, mixed",
            percent(secret, |_, byte| {
                let [high, low] = [byte >> 4, byte & 15];
                format!("{high:x}{low:X}")
            }),
        ),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .to_vec();
    for before in ["", "a", "ab", "abc", "user:"] {
        for after in ["", "y", "yz"] {
            let bytes = format!("{before}{secret}{after}");
            let name = format!("base64 {before}+{after}");
            all.push((format!("{name} url"), URL_SAFE.encode(&bytes)));
            all.push((format!("{name} bare"), URL_SAFE_NO_PAD.encode(&bytes)));
            all.push((name, STANDARD.encode(&bytes)));
        }
    }
    all
}

#[test]
fn finds_the_secret_in_every_spelling() {
    for secret in
        [SECRET, "ghp_0123456789abcdefABCDEF0123456789abcd", "<a>'b'/\t\n\u{1f511}\\", "1234567890"]
    {
        let redactor = redactor(&[secret]);
        for (name, text) in spellings(secret) {
            let body = format!("{{\"x\":\"{text}\"}}");
            let redacted = plain(&redactor, &body);
            // Only what stood around the secret before encoding may stay.
            let around: String = redacted
                .strip_prefix("{\"x\":\"")
                .and_then(|text| text.strip_suffix("\"}"))
                .unwrap_or_else(|| panic!("{secret} {name}: {redacted}"))
                .to_owned();
            assert!(around.contains(MARK), "{secret} {name}: {body} gave {redacted}");
            let left = around.replace(MARK, "");
            let is_base64 = name.starts_with("base64") || name.starts_with("Basic");
            assert!(left.len() <= if is_base64 { 12 } else { 0 }, "{secret} {name}: {redacted}");
        }
    }
}

#[test]
fn leaves_alone_what_isnt_the_secret() {
    let redactor = redactor(&[SECRET]);
    let without_last = &SECRET[..SECRET.len() - 1];
    let flipped = SECRET.replace("/4f", "/5f");
    let reversed: String = SECRET.chars().rev().collect();
    for near in [without_last, &flipped, &SECRET.to_ascii_lowercase(), &reversed] {
        for (name, text) in spellings(near) {
            let body = format!("{{\"x\":\"{text}\"}}");
            assert_eq!(plain(&redactor, &body), body, "{name} of {near}");
        }
    }
    assert_eq!(plain(&redactor, ""), "");
    assert_eq!(plain(&Redactor::none(), SECRET), SECRET);
}

#[test]
fn replaces_each_place_once_and_counts() {
    let redactor = redactor(&["first-secret", "second-secret", "first-secret", ""]);
    let body = Bytes::from("a first-secret b second-secret c first-secret");
    let (redacted, hits) = redact(&redactor, body, false);
    assert_eq!(redacted, format!("a {MARK} b {MARK} c {MARK}"));
    assert_eq!(hits, 3);
    assert_eq!(
        redactor.redact_header_value("Bearer first-secret", later()).unwrap(),
        (format!("Bearer {MARK}"), 1)
    );
    assert_eq!(
        redactor.redact_header_value(b"\xff ok", later()).unwrap(),
        ("\u{fffd} ok".to_owned(), 0)
    );
    assert!(redactor.contains(b"\0\xff\x80second-secret\0", later()).unwrap());
    assert!(!redactor.contains(b"\0\xff\x80second-secre\0", later()).unwrap());
}

#[test]
fn a_long_secret_is_found_whole_and_in_part() {
    let secret: String = (0..700).map(|n| char::from(b'!' + (n * 7 % 89) as u8)).collect();
    let redactor = redactor(&[&secret]);
    assert_eq!(plain(&redactor, &format!("<{secret}>")), format!("<{MARK}>"));
    let redacted = plain(&redactor, &secret[100..300]);
    assert!(redacted.contains(MARK) && redacted.len() < 32 + MARK.len() + 32, "{redacted}");
    let encoded = plain(&redactor, &STANDARD.encode(format!("user:{secret}")));
    assert!(encoded.len() <= MARK.len() + 6, "{encoded}");
    for (length, whole) in [(64, 1), (65, 3), (700, 22)] {
        let parts = pattern::parts(&secret[..length]);
        assert_eq!(parts.len(), whole);
        assert_eq!(parts.concat(), secret[..length]);
        assert!(parts.iter().all(|part| part.len() >= 16));
    }
}

#[test]
fn a_short_secret_must_stand_by_itself() {
    let word = redactor(&["admin"]);
    for (body, redacted) in [
        ("admin", MARK.to_owned()),
        ("{\"x\":\"admin\"}", format!("{{\"x\":\"{MARK}\"}}")),
        ("user=admin&x", format!("user={MARK}&x")),
        ("a\\nadmin", format!("a\\n{MARK}")),
        ("a%20%61dmin", format!("a%20{MARK}")),
        ("administrator", "administrator".to_owned()),
        ("sysadmin admin", format!("sysadmin {MARK}")),
        ("adminadmin", "adminadmin".to_owned()),
    ] {
        assert_eq!(plain(&word, body), redacted, "{body}");
    }
    assert_eq!(word.redact_header_value("admin", later()).unwrap().0, MARK);
    let number = redactor(&["123456789"]);
    assert_eq!(plain(&number, "0123456789"), "0123456789");
    assert_eq!(plain(&number, "0,123456789"), format!("0,{MARK}"));
    let tiny = redactor(&["on"]);
    for (body, redacted) in [
        ("on", MARK.to_owned()),
        ("come on in", "come on in".to_owned()),
        ("[\"on\",\"on.\"]", format!("[\"{MARK}\",\"on.\"]")),
        ("\"[\\\"on\\\"]\"", format!("\"[\\\"{MARK}\\\"]\"")),
    ] {
        assert_eq!(plain(&tiny, body), redacted, "{body}");
    }
}

#[test]
fn the_mark_is_quoted_as_deep_as_the_string_lies() {
    let redactor = redactor(&["sk-live-0123", "1234567890123"]);
    let nest = |text: &str| serde_json::to_string(text).unwrap();
    let inner = "{\"a\":\"x sk-live-0123\",\"b\":1}";
    let middle = format!("{{\"m\":{},\"t\":\"sk-live-0123\"}}", nest(inner));
    let outer = format!("{{\"o\":{},\"p\":\"sk-live-0123\"}}", nest(&middle));
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let outer = read(&json(&redactor, &outer));
    assert_eq!(outer["p"], MARK);
    let middle = read(outer["o"].as_str().unwrap());
    assert_eq!(middle["t"], MARK);
    let inner = read(middle["m"].as_str().unwrap());
    assert_eq!(inner["a"], format!("x {MARK}"));
    assert_eq!(inner["b"], 1);

    // Strings that end in backslashes, one and two deep.
    let inner = nest("{\"a\":\"C:\\\\\",\"b\":\"\\\\\\\\\",\"c\":\"sk-live-0123\"}");
    for (body, deep) in
        [(format!("[{inner}]"), 1), (format!("[{}]", nest(&format!("[{inner}]"))), 2)]
    {
        let mut value = read(&json(&redactor, &body));
        for _ in 0..deep {
            value = read(value[0].as_str().unwrap());
        }
        assert_eq!(value["c"], MARK, "{body}");
    }

    let value = read(&json(&redactor, "{\"said\":\"\\\"hi\\\" and sk-live-0123\"}"));
    assert_eq!(value["said"], format!("\"hi\" and {MARK}"));
    let value = read(&json(&redactor, "{\"sk-live-0123\":[1234567890123, -11234567890123.5e1]}"));
    assert_eq!(value[MARK], Value::from(vec![MARK, MARK]));
}

#[test]
fn escapes_stay_whole() {
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    // `n` of a line break, digits of a \u escape, a backslash before a closing quote.
    for (secret, body) in [
        ("nabcdefgh", "[\"\\nabcdefgh\"]"),
        ("0041abcd", "[\"\\u0041abcd\"]"),
        ("41abcdef", "[\"\\u0041abcdef\"]"),
        ("abcdefgh\\", "[\"abcdefgh\\\\\\\"x\"]"),
        ("abcdefgh\\", "[\"abcdefgh\\\\\"]"),
    ] {
        let value = read(&json(&redactor(&[secret]), body));
        assert!(value[0].as_str().unwrap().starts_with(MARK), "{secret} in {body}: {value}");
    }
    // The backslash that ends the secret, and the one of the quote behind it.
    let inner = serde_json::to_string("abcdefgh\\").unwrap();
    let redacted = read(&json(
        &redactor(&["abcdefgh\\"]),
        &format!("[{}]", serde_json::to_string(&inner).unwrap()),
    ));
    assert_eq!(read(redacted[0].as_str().unwrap()), MARK);
    // A secret that holds JSON's own structure.
    for body in ["{\"abcd\":\"efgh\"}", "[\"abcd\\\":\\\"efgh\"]"] {
        let value = read(&json(&redactor(&["abcd\":\"efgh"]), body));
        assert!(value == MARK || value[0] == MARK, "{body}: {value}");
    }
    // Lines and events, each judged by itself.
    let redactor = redactor(&["sk-live-0123"]);
    assert_eq!(
        json(
            &redactor,
            "data: {\"a\":\"sk-live-0123\"}\n\n: it's \"open\ndata: {\"a\":\"sk-live-0123\"}"
        ),
        "data: {\"a\":\"[redacted: credential of \\\"demo\\\"]\"}\n\n: it's \"open\n\
         data: {\"a\":\"[redacted: credential of \\\"demo\\\"]\"}"
    );
}

#[test]
fn knows_json_by_its_content_type() {
    for kind in [
        "application/json",
        "Application/JSON; charset=utf-8",
        "application/problem+json",
        "text/json",
        "application/x-ndjson",
        "text/event-stream",
    ] {
        assert!(is_json(kind), "{kind}");
    }
    for kind in ["", "text/html", "application/octet-stream", "text/plain; x=/json"] {
        assert!(!is_json(kind), "{kind}");
    }
}

#[test]
fn refuses_more_than_it_can_search() {
    let secrets = |count: usize| (0..count).map(|n| format!("secret-number-{n}").into());
    let build = |secrets: Vec<SecretString>| Redactor::new("demo", &secrets).map(|_| ());
    assert_eq!(build(secrets(MAX_SECRETS).collect()), Ok(()));
    assert_eq!(build(secrets(MAX_SECRETS + 1).collect()), Err(RedactorError::TooMany));
    let long = "x".repeat(MAX_SECRET_BYTES + 1);
    assert_eq!(build(vec![long.into()]), Err(RedactorError::TooLong));
}

#[test]
fn what_was_put_away_finds_the_same_again() {
    let secret = "ghp_0123456789abcdefABCDEF0123456789abcd";
    let redactor = redactor(&[secret]);
    let bytes = redactor.bytes();
    // A usual token must stay cheap: thousands of services are kept at once.
    assert!(bytes < 100 << 10, "{bytes}");
    let warm = redactor.work(10);
    redactor.put_away();
    assert!(redactor.work(10) > warm, "it has to be compiled");
    for (name, text) in spellings(secret) {
        assert!(plain(&redactor, &text).contains(MARK), "{name}");
    }
    assert_eq!(redactor.work(10), warm);
    assert_eq!(redactor.bytes(), bytes);
}

#[test]
fn a_text_of_unwanted_places_within_each_other_is_withheld() {
    // Each of its backslashes begins a place that is part of a word, and so no secret.
    let text = format!("{}u0070assX", "\\".repeat(16 << 10));
    let (redacted, hits) = redact(&redactor(&["pass"]), text, false);
    assert_eq!((&*redacted, hits), (mark("demo", "\"").as_bytes(), 1));
    // A few of them are no reason.
    let text = format!("{}u0070assX", "\\".repeat(40));
    assert_eq!(plain(&redactor(&["pass"]), &text), text);
}

#[test]
fn a_backslash_before_a_character_outside_ascii_leaves_text_whole() {
    let (redacted, hits) = redact(&redactor(&["0123456789ab\\"]), "\"0123456789ab\\é\"", true);
    assert_eq!(hits, 1);
    assert!(std::str::from_utf8(&redacted).is_ok(), "{redacted:?}");
}

#[test]
fn a_text_made_to_exhaust_the_search_is_withheld() {
    // Each window of 18 characters is a state of its own.
    let search = Search::new(|| {
        // x[ab]*a[ab]{18}c
        let mut automaton = automaton::Automaton::default();
        let (start, loops) = (automaton.node(), automaton.node());
        automaton.start_at(start);
        automaton.edge(start, b'x', loops);
        automaton.range(loops, b'a', b'b', loops);
        let mut from = automaton.node();
        automaton.edge(loops, b'a', from);
        for _ in 0..18 {
            let to = automaton.node();
            automaton.range(from, b'a', b'b', to);
            from = to;
        }
        let end = automaton.node();
        automaton.edge(from, b'c', end);
        automaton.end_at(end);
        automaton
    });
    let search = search.ok().unwrap();
    let redactor = Redactor {
        name: "demo".to_owned(),
        folded: Vec::new(),
        patterns: vec![Pattern { search, reach: Reach::Anywhere }],
    };
    let mut state = 1_u32;
    let mut body = "x".to_owned();
    for _ in 0..1 << 20 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        body.push(if state >> 31 == 0 { 'a' } else { 'b' });
    }
    assert!(redactor.contains(body.as_bytes(), later()).unwrap());
    assert_eq!(json(&redactor, &body), "\"[redacted: credential of \\\"demo\\\"]\"");
    assert_eq!(redactor.redact_header_value(&body, later()).unwrap(), (MARK.to_owned(), 1));
    // The next text is searched as ever.
    assert_eq!(plain(&redactor, "xabab"), "xabab");
}

#[test]
fn marks_take_a_body_over_no_bound_and_ask_for_memory_first() {
    let redactor = redactor(&["ab12"]);
    for (text, is_json) in [
        ("ab12 ab12 zzzz".to_owned(), false),
        ("[\"ab12\",1,\"ab12 ab12\"]".to_owned(), true),
        (quoted_in(3, "x ab12 y"), true),
    ] {
        let exact = redact(&redactor, text.clone(), is_json).0.len();
        for max_bytes in [exact - 1, exact, exact + 1] {
            for has_memory in [true, false] {
                let asked = std::cell::Cell::new(0);
                let cover = |bytes| {
                    asked.set(bytes);
                    has_memory
                };
                let bounds = Bounds { max_bytes, deadline: later(), cover: &cover };
                let body = Bytes::from(text.clone());
                let (redacted, hits) = redactor.redact_body(body, is_json, &bounds).unwrap();
                let is_whole = redacted == MARK.as_bytes()
                    || serde_json::from_slice::<String>(&redacted).is_ok_and(|all| all == MARK);
                assert_eq!(is_whole, max_bytes < exact || !has_memory, "{text} in {max_bytes}");
                assert_eq!(hits, redact(&redactor, text.clone(), is_json).1);
                assert!(asked.get() <= max_bytes, "{}", asked.get());
                assert!(is_whole || redacted.len() <= asked.get());
            }
        }
    }
}

/// JSON in a string of JSON, so often.
fn quoted_in(depth: usize, text: &str) -> String {
    (0..=depth).fold(text.to_owned(), |text, _| format!("[{}]", Value::from(text)))
}

#[test]
fn what_takes_too_long_is_not_judged() {
    let redactor = redactor(&["first-secret"]);
    let deadline = Instant::now();
    let bounds = Bounds { max_bytes: usize::MAX, deadline, cover: &|_| true };
    let text = Bytes::from_static(b"first-secret");
    assert_eq!(redactor.redact_body(text.clone(), false, &bounds), Err(OutOfTime));
    assert_eq!(redactor.redact_header_value(&text, deadline), Err(OutOfTime));
    assert_eq!(redactor.contains(&text, deadline), Err(OutOfTime));
}

#[test]
fn names_of_headers_are_searched_in_any_case() {
    let long = "0123456789ABCDEFghij".repeat(5);
    let redactor = redactor(&["Sk-Live-0123", &long]);
    for name in ["x-sk-live-0123", "X-SK-LIVE-0123", "x-%53k-%4cive-0123"] {
        assert!(redactor.is_in_header_name(name, later()).unwrap(), "{name}");
    }
    assert!(redactor.is_in_header_name(&format!("x-{}", long.to_lowercase()), later()).unwrap());
    assert!(!redactor.is_in_header_name("x-sk-live-", later()).unwrap());
}

#[test]
fn debug_shows_no_secret_and_the_mark_no_foreign_characters() {
    let secrets = [SecretString::from("sk-live-0123")];
    let redactor = Redactor::new("de\"mo\r\n", &secrets).unwrap();
    assert_eq!(format!("{redactor:?}"), "Redactor { name: \"de_mo__\", .. }");
    let is_shared = |_: &(dyn Send + Sync)| ();
    is_shared(&redactor);
}

/// Prints its time; judges only the result, since machines differ.
#[test]
#[expect(clippy::print_stderr, reason = "the time is for the reader of the test's output")]
fn a_hostile_mebibyte_takes_milliseconds() {
    let secret = "sk-Live/4f+Q~\"z\\9 Kx7aBcDeFgHiJkL";
    let redactor = redactor(&[secret]);
    let mut state = 88_172_645_463_325_252_u64;
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut body = String::new();
    while body.len() < 1 << 20 {
        let length = usize::try_from(random(33)).unwrap().min(secret.len() - 1);
        for c in secret.chars().take(length) {
            let byte = u32::from(c);
            match random(6) {
                0 => body.push_str(&format!("%{byte:02X}")),
                1 => body.push_str(&format!("%25{byte:02x}")),
                2 => body.push_str(&format!("\\u{byte:04x}")),
                3 => body.push_str(&format!("&#{byte};")),
                4 => body.push_str(&STANDARD.encode([u8::try_from(byte).unwrap(); 3])),
                _ => body.push(c),
            }
        }
    }
    let body = Bytes::from(body);
    for pass in ["first", "second"] {
        let start = Instant::now();
        let (_, hits) = redact(&redactor, body.clone(), false);
        eprintln!("hostile MiB, {pass} pass: {:?}", start.elapsed());
        assert_eq!(hits, 0);
    }
}

/// One way of many to write a secret inside a JSON string.
fn spelled(secret: &'static str) -> impl Strategy<Value = String> {
    let all: Vec<String> = spellings(secret).into_iter().map(|(_, text)| text).collect();
    let all: Vec<String> = all
        .into_iter()
        // What is no valid inside of a JSON string stands escaped in it.
        .map(|text| match serde_json::from_str::<String>(&format!("\"{text}\"")) {
            Ok(_) => text,
            Err(_) => quoted(&text),
        })
        .collect();
    let mixed = prop::collection::vec(0..4_u8, secret.chars().count()).prop_map(move |ways| {
        secret
            .chars()
            .zip(ways)
            .map(|(c, way)| match way {
                0 => units(&c.to_string()),
                1 => percent(&c.to_string(), |_, byte| format!("%{byte:02x}")),
                2 => format!("&#{};", u32::from(c)),
                _ => quoted(&c.to_string()),
            })
            .collect()
    });
    prop_oneof![prop::sample::select(all), mixed]
}

fn document() -> impl Strategy<Value = String> {
    let text =
        prop_oneof![any::<String>(), "[a-zA-Z\\\\\"n/u0-9]{0,8}"].prop_map(|text| quoted(&text));
    let inside = prop_oneof![
        2 => text.clone(),
        3 => (text.clone(), spelled(SECRET), text).prop_map(|(a, b, c)| format!("{a} {b} {c}")),
    ];
    let string = inside.prop_map(|inside| format!("\"{inside}\""));
    let leaf = prop_oneof![6 => string.clone(), 1 => any::<i64>().prop_map(|n| n.to_string())];
    leaf.prop_recursive(3, 12, 4, move |value| {
        prop_oneof![
            prop::collection::vec(value.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(", "))),
            prop::collection::vec((string.clone(), value.clone()), 0..4).prop_map(|fields| {
                let fields: Vec<_> =
                    fields.into_iter().map(|(name, value)| format!("{name}:{value}")).collect();
                format!("{{{}}}", fields.join(","))
            }),
            // JSON within a JSON string.
            value.prop_map(|value| serde_json::to_string(&value).unwrap()),
        ]
    })
}

/// All strings of a document, names too, and of the documents within them.
fn strings(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::String(text) => {
            found.push(text.clone());
            if let Ok(inner) = serde_json::from_str::<Value>(text) {
                strings(&inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| strings(item, found)),
        Value::Object(fields) => fields.iter().for_each(|(name, value)| {
            found.push(name.clone());
            strings(value, found);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Undoes percent-encoding and numeric entities.
fn decoded(text: &str) -> String {
    let text = percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut pieces = text.split("&#");
    let mut decoded = pieces.next().unwrap().to_owned();
    for piece in pieces {
        let character = piece
            .split_once(';')
            .and_then(|(code, rest)| Some((char::from_u32(code.parse().ok()?)?, rest)));
        match character {
            Some((character, rest)) => {
                decoded.push(character);
                decoded.push_str(rest);
            }
            None => decoded.push_str(piece),
        }
    }
    decoded
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn json_stays_json_without_the_secret(body in document()) {
        thread_local!(static REDACTOR: Redactor = redactor(&[SECRET]));
        prop_assert!(serde_json::from_str::<Value>(&body).is_ok(), "{}", body);
        let (redacted, again) = REDACTOR.with(|redactor| {
            let redacted = json(redactor, &body);
            let again = redact(redactor, Bytes::from(redacted.clone()), true).1;
            (redacted, again)
        });
        prop_assert_eq!(again, 0, "{}", redacted);
        let mut found = Vec::new();
        let value = serde_json::from_str::<Value>(&redacted);
        prop_assert!(value.is_ok(), "{} became {}", body, redacted);
        strings(&value.unwrap(), &mut found);
        for text in found {
            for reading in [decoded(&text), decoded(&decoded(&text)), text] {
                prop_assert!(!reading.contains(SECRET), "{} became {}", body, redacted);
            }
        }
    }
}
