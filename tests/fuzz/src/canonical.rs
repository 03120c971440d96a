//! A caller's path and query on their way to the one target, and base URLs.

use arbitrary::{Result, Unstructured};
use http::uri::PathAndQuery;
use percent_encoding::percent_decode_str;
use vault_plugin::proxy::base_url::BaseUrl;
use vault_plugin::proxy::canonical::{MAX_TARGET_BYTES, PathSwitches, canonicalise};

use crate::text_of;

pub(crate) const PATH: &[&str] = &[
    "/",
    "/",
    "/",
    "a",
    "B",
    "0",
    "-",
    ".",
    "..",
    "_",
    "~",
    ":",
    "@",
    "!",
    "$",
    "&",
    "'",
    "(",
    ")",
    "*",
    "+",
    ",",
    "=",
    ";",
    "%3B",
    "%3b",
    "%2f",
    "%2F",
    "%5c",
    "\\",
    "?",
    "#",
    " ",
    "%20",
    "%",
    "%2",
    "%25",
    "%2e",
    "%2E",
    "%252e",
    "%25%32%65",
    "%32",
    "%65",
    "%66",
    "%c3%a9",
    "%c0%ae",
    "%e0%80%af",
    "%00",
    "%0d%0a",
    "\u{e9}",
    "//",
    "http://",
    "%61",
    "%7E",
    "%ff",
];
const QUERY: &[&str] = &[
    "a",
    "_method",
    "X-HTTP-Method",
    "%5f",
    "&",
    "=",
    "?",
    "#",
    "+",
    " ",
    "%",
    "%2",
    "[",
    "]",
    "\u{e9}",
    "\u{0}",
    "\n",
    ".",
    "-",
    "..",
];
const BASE: &[&str] = &[
    "https://",
    "http://",
    "h",
    "example.com",
    "127.0.0.1",
    "127.1",
    "0x7f",
    "[::1]",
    "[",
    "]",
    ":",
    "8080",
    "443",
    "0",
    "/",
    "a",
    "..",
    ".",
    "%2e",
    "@",
    "?",
    "#",
    "\\",
    "\u{e9}",
    "xn--",
];

/// What is accepted is exactly what goes on the wire, is its own canonical form, and lies below the
/// base by any decoder's reading.
pub(crate) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    if u.ratio(1, 8)? {
        return base_url(u);
    }
    let base = BaseUrl::parse(u.choose(&["https://h", "https://h/api/v3"])?).unwrap();
    let mut path = text_of(u, PATH, 24)?;
    if u.ratio(15, 16)? {
        path.insert(0, '/');
    }
    let mut query = Vec::new();
    for _ in 0..u.int_in_range(0..=3)? {
        query.push((text_of(u, QUERY, 4)?, text_of(u, QUERY, 4)?));
    }
    let switches =
        PathSwitches { allow_encoded_slash: u.arbitrary()?, allow_path_params: u.arbitrary()? };
    let Ok(made) = canonicalise(&base, &path, &query, switches) else { return Ok(()) };

    let target = made.target();
    assert!(target.len() <= MAX_TARGET_BYTES);
    assert_eq!(target.parse::<PathAndQuery>().unwrap().as_str(), target, "not exact");
    if !path.is_empty() {
        let again = canonicalise(&base, made.relative(), &query, switches).unwrap();
        assert_eq!(again, made, "not stable");
    }
    let (path_part, query_part) = target.split_once('?').unwrap_or((target, ""));
    assert!(path_part.starts_with(base.path()));
    let mut seen = path_part.to_owned();
    for _ in 0..4 {
        for segment in seen.split(['/', '\\']) {
            let bare = segment.split(';').next().unwrap();
            assert!(bare != "." && bare != "..", "{target:?} leads elsewhere as {seen:?}");
        }
        assert!(!seen.contains("//"), "{target:?} has an empty segment as {seen:?}");
        assert!(!seen.contains(char::is_control), "{target:?}");
        seen = percent_decode_str(&seen).decode_utf8().unwrap().into_owned();
    }
    let kept = [(b'/', switches.allow_encoded_slash), (b';', switches.allow_path_params)];
    for (byte, allowed) in kept {
        assert!(allowed || !target.contains(&format!("%{byte:02X}")) || query_part.contains('%'));
    }
    let plain = |part: &str| percent_decode_str(part).decode_utf8().unwrap().into_owned();
    let read: Vec<_> = query_part
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (plain(name), plain(value)))
        .collect();
    assert_eq!(read, query, "the query says something else");
    Ok(())
}

/// What is accepted has one spelling, which `http` reads as the same origin.
fn base_url(u: &mut Unstructured<'_>) -> Result<()> {
    let text = text_of(u, BASE, 10)?;
    let Ok(base) = BaseUrl::parse(&text) else { return Ok(()) };
    let printed = base.to_string();
    assert_eq!(BaseUrl::parse(&printed).unwrap().to_string(), printed, "{text:?}");
    let read: http::Uri = printed.parse().unwrap();
    let authority = read.authority().unwrap();
    assert!(!authority.as_str().contains('@'), "{text:?}");
    assert_eq!(read.path().trim_end_matches('/'), base.path(), "{text:?}");
    assert_eq!(read.query(), None, "{text:?}");
    Ok(())
}
