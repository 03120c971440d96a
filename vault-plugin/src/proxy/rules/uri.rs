//! Whether the URI of an MCP server's resource has one reading: what rules and approvals are compared
//! with must be what the server acts on.
//!
//! A URI is never respelled, since it is the server's own name for something. One that servers may read
//! in two ways is refused instead.

use percent_encoding::percent_decode_str;

/// Why nobody may ask for a URI, in words that follow "its uri": servers would read it as another, or
/// leave a part of it out.
///
/// What a template gives is asked the same as a template itself.
pub(crate) fn misleads(uri: &str) -> Option<&'static str> {
    // Once, as servers do.
    let decoded: Vec<u8> = percent_decode_str(uri).collect();
    let Ok(decoded) = std::str::from_utf8(&decoded) else {
        return Some("has percent-encoding that isn't UTF-8");
    };
    if decoded.contains('\\') {
        return Some("has a backslash");
    }
    if decoded.chars().any(char::is_control) {
        return Some("has control characters");
    }
    // An encoded space is one to everybody.
    if uri.chars().any(char::is_whitespace) {
        return Some("has white space; %20 stands for a space");
    }
    let (_, after_scheme) = scheme_and_rest(decoded);
    let steps = after_scheme.split(['/', '?', '#']).filter_map(|part| part.split(';').next());
    steps.into_iter().any(|step| matches!(step, "." | "..")).then_some("has a '.' or '..' segment")
}

/// Why rules can't judge a URI, in the same words: there is another spelling of it, which they may judge
/// otherwise.
pub(crate) fn has_another_spelling(uri: &str) -> Option<&'static str> {
    if let Some(problem) = misleads(uri) {
        return Some(problem);
    }
    let (scheme, rest) = scheme_and_rest(uri);
    if scheme.contains(|c: char| c.is_ascii_uppercase()) {
        return Some("has a scheme in upper case");
    }
    if encoded(uri).any(is_unreserved) {
        return Some("has encoded characters that need no encoding");
    }
    if encoded_twice(uri) {
        return Some("is encoded twice");
    }
    let before_query = rest.split(['?', '#']).next().unwrap_or_default();
    if encoded(before_query).any(|byte| byte == b'/') {
        return Some("has an encoded slash");
    }
    let path = match before_query.strip_prefix("//") {
        Some(authority) => authority.find('/').and_then(|at| authority.get(at..)),
        None => Some(before_query),
    };
    // A slash at the end is no segment.
    path.is_some_and(|path| path.contains("//")).then_some("has an empty segment")
}

/// What a URI is to a server that makes the least difference: without encoding, case, fragment, empty
/// segments and a slash at the end.
pub(crate) fn most_lenient(uri: &str) -> String {
    let (uri, _) = uri.split_once('#').unwrap_or((uri, ""));
    let decoded = percent_decode_str(uri).decode_utf8_lossy().to_lowercase();
    let segments: Vec<&str> = decoded.split('/').filter(|segment| !segment.is_empty()).collect();
    segments.join("/")
}

/// What stands before a colon is a scheme only if it can be one (RFC 3986, section 3.1): in
/// `notes/../x:y` all is path.
fn scheme_and_rest(uri: &str) -> (&str, &str) {
    let is_scheme = |before: &str| {
        before.starts_with(|c: char| c.is_ascii_alphabetic())
            && before.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'))
    };
    uri.split_once(':').filter(|(before, _)| is_scheme(before)).unwrap_or(("", uri))
}

/// The bytes that stand percent-encoded.
fn encoded(text: &str) -> impl Iterator<Item = u8> {
    text.match_indices('%').filter_map(|(at, _)| {
        let digits = text.get(at + 1..at + 3)?;
        digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then_some(())?;
        u8::from_str_radix(digits, 16).ok()
    })
}

fn encoded_twice(uri: &str) -> bool {
    let once: Vec<u8> = percent_decode_str(uri).collect();
    std::str::from_utf8(&once).is_ok_and(|once| encoded(once).next().is_some())
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_uris_have_one_reading() {
        for uri in [
            "docs://a/b",
            "docs://a/",
            "docs://é/%C3%A9%20",
            "file:///a/...b/c..d/.e",
            "urn:isbn:0",
            "web:a?q=http://x//y%2Fz#//",
            "repo://o/r/contents{/path*}{?ref}{#line}",
            "docs://{name}{.kind}",
            "plain",
            "notes/A:b",
            "docs://50%",
        ] {
            assert_eq!(has_another_spelling(uri), None, "{uri}");
        }
    }

    #[test]
    fn spellings_of_one_are_alike_to_who_is_lenient() {
        for uri in ["DOCS://a/%42", "docs:////a//b/", "docs://%61%2fb#c", "docs:///A/b"] {
            assert_eq!(most_lenient(uri), "docs:/a/b", "{uri}");
        }
        assert_ne!(most_lenient("docs://a?b"), most_lenient("docs://a"));
    }

    #[test]
    fn a_way_to_elsewhere_is_found_in_each_spelling() {
        for uri in [
            "docs://a/../b",
            "docs://a/.",
            "docs://..",
            "docs:..",
            "../a",
            "notes/../a?x:",
            "notes/%2e%2e/a?:",
            "/notes/../a#x:y",
            "1:/../a:b",
            "docs://a/%2e%2E/b",
            "docs://a/.%2e?q",
            "docs://a/..%2Fb",
            "docs://a/..;v=1/b",
            "docs://a%3F../b",
            "docs://a/%c0%ae%c0%ae/b",
            "docs://a\\b",
            "docs://a%5cb",
            "docs://a b",
            "docs://a\u{a0}b",
            "docs://a\n",
            "docs://a%00",
            "docs://a%0D%0A",
        ] {
            assert!(misleads(uri).is_some(), "{uri}");
        }
        for uri in [
            "Docs://a",
            "docs://a//b",
            "docs:////a",
            "docs:a//b",
            "notes//a:b",
            "notes%2fa:b",
            "docs://a/%62",
            "docs://a/%7e",
            "docs://a%2fb",
            "docs://a/%252e",
            "docs://a/%25%32%65",
        ] {
            assert!(misleads(uri).is_none() && has_another_spelling(uri).is_some(), "{uri}");
        }
    }
}
