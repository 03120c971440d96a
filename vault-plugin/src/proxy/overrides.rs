//! Fields in a body that make common frameworks replace the method: a leave to POST isn't one to
//! DELETE.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::{HeaderMap, header};
use serde::de::IgnoredAny;

use super::canonical::is_method_override;

/// Whether a body of a kind that frameworks read fields from names such a field.
pub(super) fn in_body(headers: &HeaderMap, body: &Bytes) -> bool {
    if body.is_empty() {
        return false;
    }
    let kind = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_ascii_lowercase();
    if kind.starts_with("application/x-www-form-urlencoded") {
        return in_form(body);
    }
    if kind.starts_with("multipart/") {
        return in_multipart(body);
    }
    kind.contains("json") && in_json(body)
}

fn in_form(body: &[u8]) -> bool {
    body.split(|byte| matches!(byte, b'&' | b';')).any(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        is_method_override(&String::from_utf8_lossy(name))
    })
}

/// Laravel and others read the fields of a JSON object as those of a form.
fn in_json(body: &[u8]) -> bool {
    serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body)
        .is_ok_and(|object| object.keys().any(|name| is_method_override(name)))
}

/// Every `name=` of a part's head (RFC 7578, section 4.2); a text that only looks like one is refused
/// as well.
fn in_multipart(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body).to_ascii_lowercase();
    text.match_indices("name=").any(|(place, name)| {
        let value = text.get(place + name.len()..).unwrap_or_default().trim_start_matches('"');
        let end = value.find(['"', ';', '\r', '\n']).unwrap_or(value.len());
        is_method_override(value.get(..end.min(64)).unwrap_or_default())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_field_in_every_form_that_frameworks_read() {
        for (kind, body, found) in [
            ("application/x-www-form-urlencoded", "_method=DELETE", true),
            ("application/x-www-form-urlencoded; charset=utf-8", "a=1&%5Fmethod=DELETE", true),
            ("Application/X-WWW-Form-Urlencoded", "a=1&_METHOD=DELETE", true),
            ("application/x-www-form-urlencoded", "a=_method", false),
            ("application/json", "{\"_method\":\"DELETE\"}", true),
            ("application/json", "{\"\\u005fmethod\":\"DELETE\"}", true),
            ("application/vnd.api+json", "{\"_method\":\"DELETE\"}", true),
            ("application/json", "{\"a\":{\"_method\":1},\"b\":\"_method\"}", false),
            ("application/json", "[\"_method\"]", false),
            (
                "multipart/form-data; boundary=x",
                "--x\r\nContent-Disposition: form-data; name=\"_method\"\r\n\r\nDELETE\r\n--x--",
                true,
            ),
            (
                "multipart/form-data; boundary=x",
                "--x\r\nContent-Disposition: form-data; name=_method\r\n\r\nDELETE",
                true,
            ),
            (
                "multipart/form-data; boundary=x",
                "--x\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n_method",
                false,
            ),
            ("text/plain", "_method=DELETE", false),
        ] {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
            assert_eq!(in_body(&headers, &Bytes::from(body)), found, "{kind} {body}");
        }
    }
}
