//! Fields in a body that some servers let replace what was judged: the method, or a parameter of the
//! query.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, header};
use serde::de::IgnoredAny;

use super::canonical::is_method_override;

/// Whether a body makes common frameworks replace the method: a leave to POST isn't one to DELETE.
pub(super) fn in_body(headers: &HeaderMap, body: &Bytes) -> bool {
    has_field(headers, body, is_method_override)
}

/// Whether a body of a kind that frameworks read fields from has one whose name is meant.
///
/// Servers read more than their formats' grammars say. What only looks like a field counts as one.
pub(super) fn has_field(headers: &HeaderMap, body: &Bytes, is: impl Fn(&str) -> bool) -> bool {
    if body.is_empty() {
        return false;
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    // Rack takes a body without a type for a form (lib/rack/request.rb, `form_data?`).
    let form = kind.is_empty() || kind.contains("x-www-form-urlencoded");
    (form && in_form(body, &is))
        || (kind.contains("multipart/") && in_multipart(body, &is))
        || (kind.contains("json") && in_json(body, &is))
}

fn in_form(body: &[u8], is: impl Fn(&str) -> bool) -> bool {
    body.split(|byte| matches!(byte, b'&' | b';')).any(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        is(&String::from_utf8_lossy(name))
    })
}

/// Laravel and others read the fields of a JSON object as those of a form.
fn in_json(body: &[u8], is: impl Fn(&str) -> bool) -> bool {
    if let Ok(object) = serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body) {
        return object.keys().any(|name| is(name));
    }
    let first = body.iter().find(|byte| !byte.is_ascii_whitespace());
    if first != Some(&b'{') && serde_json::from_slice::<IgnoredAny>(body).is_ok() {
        return false;
    }
    // Not JSON to us, but to a parser that minds less: commas at the end, comments, byte order marks,
    // other encodings of Unicode (which leave NULs between the letters), halves of surrogate pairs.
    let text = String::from_utf8_lossy(body).replace(['\0', '\u{feff}', '\u{fffd}'], "");
    unescaped(&text)
        .split(['"', '\'', '{', '}', '[', ']', ',', ':', '\n'])
        .any(|word| is(word.trim()))
}

/// Undoes `\u005f` and the like, as far as ASCII goes, and takes other backslashes away.
fn unescaped(text: &str) -> String {
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let code = part.strip_prefix('u').and_then(|rest| rest.get(..4));
        match code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(u8::is_ascii) {
            Some(byte) => {
                plain.push(char::from(byte));
                plain.push_str(part.get(5..).unwrap_or_default());
            }
            None => plain.push_str(part),
        }
    }
    plain
}

/// Every `name=` of a part's head (RFC 7578, section 4.2), wherever in the body it stands.
fn in_multipart(body: &[u8], is: impl Fn(&str) -> bool) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    text.match_indices("name").any(|(place, name)| {
        let rest = text.get(place + name.len()..).unwrap_or_default();
        parameter(rest).is_some_and(|(written, meant)| is(&written) || is(&meant))
    })
}

/// A parameter's value, behind its name, as it is written and without its quoted pairs (RFC 9110,
/// section 5.6.4). Blanks around the equals sign, single quotes and RFC 8187's `name*=utf-8''…` aren't
/// allowed there, and read by some all the same.
fn parameter(rest: &str) -> Option<(String, String)> {
    const LONGEST: usize = 256;
    let extended = rest.starts_with('*');
    let rest = rest.trim_start_matches(|c: char| c == '*' || c.is_ascii_digit());
    let value = rest.trim_start().strip_prefix('=')?.trim_start();
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''));
    let mut value = value.get(quote.map_or(0, char::len_utf8)..)?.chars().take(LONGEST);
    let (mut written, mut meant) = (String::new(), String::new());
    while let Some(c) = value.next() {
        if Some(c) == quote || matches!(c, '\r' | '\n') || (quote.is_none() && c == ';') {
            break;
        }
        written.push(c);
        match c {
            '\\' => {
                let next = value.next();
                written.extend(next);
                meant.extend(next);
            }
            _ => meant.push(c),
        }
    }
    if extended {
        meant = meant.rsplit('\'').next().unwrap_or_default().to_owned();
    }
    Some((written, meant))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: &str = "application/x-www-form-urlencoded";
    const MULTIPART: &str = "multipart/form-data; boundary=x";

    #[test]
    fn finds_the_field_in_every_form_that_frameworks_read() {
        for (kind, body, found) in [
            (FORM, "_method=DELETE", true),
            ("application/x-www-form-urlencoded; charset=utf-8", "a=1&%5Fmethod=DELETE", true),
            ("Application/X-WWW-Form-Urlencoded", "a=1&_METHOD=DELETE", true),
            ("", "a=1&_method=DELETE", true),
            (FORM, "a=_method", false),
            ("", "a=_method", false),
            ("application/json", "{\"_method\":\"DELETE\"}", true),
            ("application/json", "{\"\\u005fmethod\":\"DELETE\"}", true),
            ("application/vnd.api+json", "{\"_method\":\"DELETE\"}", true),
            ("application/json", "{\"a\":{\"_method\":1},\"b\":\"_method\"}", false),
            ("application/json", "[\"_method\"]", false),
            ("text/plain", "_method=DELETE", false),
        ] {
            assert_eq!(overrides(kind, body), found, "{kind} {body}");
        }
    }

    #[test]
    fn a_part_is_read_as_leniently_as_by_servers() {
        for (parameter, found) in [
            ("name=\"_method\"", true),
            ("name=_method", true),
            ("NAME=\"_Method\"", true),
            ("name=\"\\_method\"", true),
            ("name=\"_meth\\od\"", true),
            ("name = \"_method\"", true),
            ("name=\r\n \"_method\"", true),
            ("name='_method'", true),
            ("name*=utf-8''%5Fmethod", true),
            (&format!("name=\"_method[{}\"", "\u{e9}".repeat(40)), true),
            ("name=\"file\"", false),
            ("name=\"a_method\"", false),
        ] {
            let body = format!(
                "--x\r\nContent-Disposition: form-data; {parameter}\r\n\r\n_method\r\n--x--"
            );
            assert_eq!(overrides(MULTIPART, &body), found, "{parameter}");
        }
    }

    #[test]
    fn json_that_only_others_read_is_looked_through() {
        let wide: Vec<u8> = "{\"_method\":\"DELETE\"}".bytes().flat_map(|byte| [byte, 0]).collect();
        for (body, found) in [
            ("{\"_method\":\"DELETE\",}".as_bytes(), true),
            ("\u{feff}{\"_method\":\"DELETE\"}".as_bytes(), true),
            (b"{'_method':'DELETE'}", true),
            (b"{ _method : 'DELETE'}", true),
            (b"// a\n{\"\\u005fmethod\":\"DELETE\",}", true),
            (b"{\"\\ud800\":1,\"_method\":\"DELETE\"}", true),
            (b"{\"\xff\":1,\"_method\":\"DELETE\"}", true),
            (wide.as_slice(), true),
            // One object a line, as bulk imports have them.
            (b"{\"payment_method\":\"card\"}\n{\"a\":\"the _method field\"}\n", false),
            (b"{\"payment\":\"a\",}", false),
        ] {
            let text = String::from_utf8_lossy(body);
            assert_eq!(overrides("application/json", body), found, "{text}");
        }
    }

    fn overrides(kind: &str, body: impl AsRef<[u8]>) -> bool {
        let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
        in_body(&headers, &Bytes::copy_from_slice(body.as_ref()))
    }
}
