//! Writes query parameters in their one spelling and compares their names as upstreams may.

use super::path::{hex_pair, push_byte};
use super::{CanonicalError, MAX_TARGET_BYTES};

/// Appends `?name=value&…`, or nothing where there are no parameters.
pub(super) fn append(
    target: &mut String,
    query: &[(String, String)],
) -> Result<(), CanonicalError> {
    let mut separator = '?';
    for (name, value) in query {
        if name.is_empty() {
            return Err(CanonicalError::UnnamedParameter);
        }
        if is_method_override(name) {
            return Err(CanonicalError::MethodOverride);
        }
        // Before encoding, which trebles the size at most.
        if target.len() + name.len() + value.len() > MAX_TARGET_BYTES {
            return Err(CanonicalError::TooLong);
        }
        target.push(separator);
        target.push_str(&encode_component(name));
        target.push('=');
        target.push_str(&encode_component(value));
        separator = '&';
    }
    Ok(())
}

/// Percent-encodes everything but RFC 3986's unreserved characters, a space as `%20`.
pub fn encode_component(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        push_byte(&mut encoded, byte);
    }
    encoded
}

/// Tells whether a query or form parameter makes common frameworks replace the method.
///
/// `_method` is read by Rack, Laravel, Symfony and Express' method-override; ASP.NET reads the
/// override header's name from query and form too.
pub fn is_method_override(name: &str) -> bool {
    ["_method", "x-http-method-override", "x-http-method", "x-method-override"]
        .iter()
        .any(|known| same_parameter(name, known))
}

/// Tells whether an upstream could take two parameter names for the same one.
///
/// Case is ignored, percent-encoding undone up to three times, an index (`name[]`) cut, and
/// `.`, `-`, space and `+` count as `_`, as PHP and its kin fold them.
pub fn same_parameter(left: &str, right: &str) -> bool {
    folded(left) == folded(right)
}

fn folded(name: &str) -> Vec<u8> {
    let mut name = name.as_bytes().to_vec();
    for _ in 0..3 {
        name = decoded_once(&name);
    }
    let start = name.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    name.iter()
        .skip(start)
        .take_while(|byte| !matches!(byte, b'[' | 0))
        .map(|byte| match byte {
            b'.' | b'-' | b' ' | b'+' => b'_',
            other => other.to_ascii_lowercase(),
        })
        .collect()
}

fn decoded_once(name: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&byte, after)) = rest.split_first() {
        match (byte, hex_pair(after)) {
            (b'%', Some((value, after))) => {
                decoded.push(value);
                rest = after;
            }
            (_, _) => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    decoded
}
