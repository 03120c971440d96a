//! Brings a percent-encoded path into its one spelling, or refuses it.

use super::{CanonicalError, MAX_TARGET_BYTES, PathSwitches};

/// Returns the canonical spelling of an absolute path without query.
///
/// # Errors
/// One [`CanonicalError`] per cause.
pub(crate) fn canonical_path(path: &str, switches: PathSwitches) -> Result<String, CanonicalError> {
    // First of all, so that the work below is bounded.
    if path.len() > MAX_TARGET_BYTES {
        return Err(CanonicalError::TooLong);
    }
    if !path.starts_with('/') {
        return Err(if path.contains("://") {
            CanonicalError::FullUrl
        } else {
            CanonicalError::NotRooted
        });
    }
    let spelled = respell(path.as_bytes(), switches)?;
    // On the result: `%25%32%65` becomes `%252e` only by decoding its digits.
    if is_encoded_twice(&spelled) {
        return Err(CanonicalError::DoubleEncoding);
    }
    check_segments(&spelled)?;
    Ok(spelled)
}

fn respell(path: &[u8], switches: PathSwitches) -> Result<String, CanonicalError> {
    let mut spelled = String::with_capacity(path.len());
    // What a server sees after decoding once: overlong forms such as %C0%AF must not be there.
    let mut decoded = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, after)) = rest.split_first() {
        rest = after;
        if byte == b'%' {
            let (value, after) = hex_pair(rest).ok_or(CanonicalError::BarePercent)?;
            rest = after;
            push_encoded(&mut spelled, value, switches)?;
            decoded.push(value);
        } else {
            push_plain(&mut spelled, byte, switches)?;
            decoded.push(byte);
        }
    }
    match std::str::from_utf8(&decoded) {
        Ok(_) => Ok(spelled),
        Err(_) => Err(CanonicalError::NotUtf8),
    }
}

fn push_plain(
    spelled: &mut String,
    byte: u8,
    switches: PathSwitches,
) -> Result<(), CanonicalError> {
    match byte {
        // pchar and the slash (RFC 3986, section 3.3) but for ';', which is judged below.
        b'/' | b':' | b'@' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b','
        | b'=' => spelled.push(char::from(byte)),
        b';' if switches.allow_path_params => spelled.push(';'),
        b';' => return Err(CanonicalError::PathParameter),
        b'\\' => return Err(CanonicalError::Backslash),
        b'?' => return Err(CanonicalError::QuestionMark),
        b'#' => return Err(CanonicalError::Fragment),
        b' ' => return Err(CanonicalError::Space),
        0x00..=0x1F | 0x7F => return Err(CanonicalError::Control),
        0x80..=0xFF => return Err(CanonicalError::NonAscii),
        other if is_unreserved(other) => spelled.push(char::from(other)),
        other => return Err(CanonicalError::Forbidden(char::from(other))),
    }
    Ok(())
}

fn push_encoded(
    spelled: &mut String,
    value: u8,
    switches: PathSwitches,
) -> Result<(), CanonicalError> {
    match value {
        0x00..=0x1F | 0x7F => Err(CanonicalError::Control),
        b'\\' => Err(CanonicalError::Backslash),
        b'/' if !switches.allow_encoded_slash => Err(CanonicalError::EncodedSlash),
        b';' if !switches.allow_path_params => Err(CanonicalError::PathParameter),
        value => {
            push_byte(spelled, value);
            Ok(())
        }
    }
}

/// Writes one byte of data: unreserved as it is, any other as `%XX` in upper case.
pub(super) fn push_byte(out: &mut String, byte: u8) {
    if is_unreserved(byte) {
        out.push(char::from(byte));
    } else {
        out.push('%');
        for digit in [byte >> 4, byte & 0x0F] {
            out.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
        }
    }
}

/// RFC 3986, section 2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Reads two hexadecimal digits; gives their value and the rest.
pub(super) fn hex_pair(bytes: &[u8]) -> Option<(u8, &[u8])> {
    let (&[high, low], rest) = bytes.split_first_chunk::<2>()?;
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    Some((digit(high)? << 4 | digit(low)?, rest))
}

fn is_encoded_twice(spelled: &str) -> bool {
    spelled.match_indices("%25").any(|(at, percent)| {
        spelled.as_bytes().get(at + percent.len()..).and_then(hex_pair).is_some()
    })
}

/// Refuses segments that lead elsewhere or vanish.
///
/// An encoded slash counts as a separator and what follows a `;` is left out, because servers that
/// decode early, or cut parameters, read `..%2F` and `..;` as a step upwards.
fn check_segments(spelled: &str) -> Result<(), CanonicalError> {
    let separated = spelled.replace("%2F", "/");
    let mut segments = separated.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let bare = segment.split(';').next().unwrap_or_default();
        let bare = bare.split("%3B").next().unwrap_or_default();
        let is_trailing_slash = segment.is_empty() && segments.peek().is_none();
        match bare {
            "." | ".." => return Err(CanonicalError::DotSegment),
            "" if !is_trailing_slash => return Err(CanonicalError::EmptySegment),
            _ => {}
        }
    }
    Ok(())
}
