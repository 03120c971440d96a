//! Every spelling in which a secret could hide, and the search for them.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// A random secret, unlike anything else; with characters that each encoding changes.
pub fn canary() -> String {
    let mut random = [0; 16];
    getrandom::fill(&mut random).expect("random bytes");
    format!("canary/+{}==", hex(&random))
}

/// The spellings of `secret` that occur in `bytes`, by name.
pub fn found(bytes: &[u8], secret: &str) -> Vec<&'static str> {
    let forms = forms(secret.as_bytes());
    let patterns = forms.iter().map(|(_, form)| {
        // Hex and percent are written in either case.
        format!("(?i-u:{})", regex::escape(form))
    });
    let set = regex::bytes::RegexSet::new(patterns).expect("escaped patterns");
    set.matches(bytes).into_iter().map(|index| forms[index].0).collect()
}

fn forms(secret: &[u8]) -> Vec<(&'static str, String)> {
    let text = String::from_utf8_lossy(secret).into_owned();
    let mut forms = vec![
        ("as it is", text.clone()),
        ("JSON, slash escaped", text.replace('/', "\\/")),
        ("JSON, HTML-safe", text.replace('+', "\\u002b")),
        ("HTML", text.replace('+', "&#43;")),
        ("hexadecimal", hex(secret)),
        ("percent-encoded", percent(secret, |byte| byte.is_ascii_alphanumeric())),
        ("percent-encoded twice", {
            percent(secret, |byte| byte.is_ascii_alphanumeric()).replace('%', "%25")
        }),
        ("percent-encoded throughout", percent(secret, |_| false)),
        ("reversed", text.chars().rev().collect()),
    ];
    // Base64 spells the same bytes in three ways, by their place in the text before it; what the
    // neighbours decide at either end is left out.
    for offset in 0..3 {
        let mut padded = vec![0; offset];
        padded.extend_from_slice(secret);
        let first = (offset * 8).div_ceil(6);
        let last = padded.len() * 8 / 6;
        forms.push(("base64", STANDARD.encode(&padded)[first..last].to_owned()));
        forms.push(("base64url", URL_SAFE.encode(&padded)[first..last].to_owned()));
    }
    forms
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

fn percent(bytes: &[u8], keep: impl Fn(u8) -> bool) -> String {
    bytes.iter().fold(String::new(), |mut text, &byte| {
        if keep(byte) {
            text.push(char::from(byte));
        } else {
            let _ = write!(text, "%{byte:02X}");
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_spelling_in_a_haystack_and_none_in_another() {
        let secret = canary();
        for (name, form) in forms(secret.as_bytes()) {
            let haystack = format!("before {form} after");
            assert!(found(haystack.as_bytes(), &secret).contains(&name), "{name}: {form}");
            assert!(found(haystack.as_bytes(), &canary()).is_empty(), "{name}");
        }
        for prefix in ["", "a", "ab", "abc"] {
            let encoded = STANDARD.encode(format!("{prefix}:{secret}"));
            assert!(found(encoded.as_bytes(), &secret).contains(&"base64"), "{prefix}");
        }
    }
}
