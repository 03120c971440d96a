//! How much storage a wrapped answer takes at the host.

use super::{Body, ProxyResponse};

/// What stands around the texts of an answer, in bytes: the fields' names, numbers, and those of the
/// host's own.
const ENVELOPE: usize = 4 << 10;
/// What stands around one header, in bytes: escaped quotes, a colon and a comma.
const AROUND: usize = 12;

/// The bytes of the storage entry that the host makes of it: the answer in JSON, as a string of JSON
/// (OpenBao `vault/wrapping.go` and `builtin/logical/cubbyhole`).
pub(super) fn stored_bytes(response: &ProxyResponse) -> usize {
    let headers: usize = response
        .answer
        .headers
        .iter()
        .map(|(name, value)| AROUND + escaped_bytes(name) + value.as_str().map_or(0, escaped_bytes))
        .sum();
    let body = match &response.answer.body {
        Body::Text(text) => escaped_bytes(text),
        // In base64, of which JSON escapes nothing.
        Body::Binary(bytes) => bytes.len().div_ceil(3) * 4,
    };
    let refused = response.refused.as_ref().map_or(0, |refused| escaped_bytes(&refused.name));
    let texts = [response.rule.as_str(), &response.request_id, &response.revision];
    let others: usize = texts.into_iter().map(escaped_bytes).sum();
    ENVELOPE + headers + body + refused + others
}

/// The same for an answer that is made of these texts.
pub(crate) fn stored_bytes_of<'t>(texts: impl Iterator<Item = &'t str>) -> usize {
    ENVELOPE + texts.map(escaped_bytes).sum::<usize>()
}

/// The bytes of a string that has been through Go's encoder of JSON twice (encoding/json,
/// `HTMLEscape` included).
fn escaped_bytes(text: &str) -> usize {
    text.chars()
        .map(|character| match character {
            '"' | '\\' => 4,
            '\n' | '\r' | '\t' => 3,
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => 7,
            other => other.len_utf8(),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn no_character_takes_more_than_is_counted() {
        for character in (0..=0x2100_u32).filter_map(char::from_u32) {
            let text = character.to_string();
            let go = |text: &str| {
                let json = serde_json::to_string(&Value::from(text)).unwrap();
                let json = json.replace('<', "\\u003c").replace('>', "\\u003e");
                let json = json.replace('&', "\\u0026");
                json.replace('\u{2028}', "\\u2028").replace('\u{2029}', "\\u2029")
            };
            let twice = go(&go(&text)).len() - go(&go("")).len();
            assert!(twice <= escaped_bytes(&text), "{character:?}: {twice}");
        }
    }
}
