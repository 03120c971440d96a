//! Whether a URI is one that a template (RFC 6570) can give.
//!
//! A template says as well how far each of its values reaches: that of `{name}` ends at a slash, that
//! of `{+name}` doesn't. The explode modifier is read as servers read it, where `{path*}` is the rest of
//! a path.

/// A template with more expressions gives nothing: looking through it takes too long.
const MOST_EXPRESSIONS: usize = 32;

enum Part<'t> {
    Literal(&'t [u8]),
    Value(Value),
}

/// What an expression becomes: nothing, or a run of bytes.
struct Value {
    /// The run's first byte, if the operator has one.
    start: Option<u8>,
    /// What the rest of the run doesn't have.
    without: &'static [u8],
}

/// Tells whether a template gives a URI. What isn't a template gives none.
///
/// Takes time in proportion to the product of their lengths at most.
pub(super) fn gives(template: &str, uri: &str) -> bool {
    let Some(parts) = parts(template) else { return false };
    let uri = uri.as_bytes();
    // Which beginnings of the URI the template's beginning can have given, by their lengths.
    let mut reached = vec![false; uri.len() + 1];
    if let Some(start) = reached.first_mut() {
        *start = true;
    }
    for part in parts {
        let mut next = vec![false; uri.len() + 1];
        match part {
            Part::Literal(text) => {
                for (at, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
                    if uri.get(at..).is_some_and(|rest| rest.starts_with(text))
                        && let Some(end) = next.get_mut(at + text.len())
                    {
                        *end = true;
                    }
                }
            }
            Part::Value(Value { start, without }) => {
                let goes_on = |byte: &u8| !without.contains(byte);
                let begins = |byte: &u8| start.map_or(goes_on(byte), |start| start == *byte);
                let bytes = uri.iter().map(Some).chain([None]);
                let mut inside = false;
                for ((next, reached), byte) in next.iter_mut().zip(&reached).zip(bytes) {
                    *next = *reached || inside;
                    inside = byte
                        .is_some_and(|byte| inside && goes_on(byte) || *reached && begins(byte));
                }
            }
        }
        if !next.contains(&true) {
            return false;
        }
        reached = next;
    }
    reached.last().copied().unwrap_or(false)
}

fn parts(template: &str) -> Option<Vec<Part<'_>>> {
    let mut parts = Vec::new();
    let mut rest = template;
    while let Some((literal, after)) = rest.split_once('{') {
        let (expression, after) = after.split_once('}')?;
        parts.push(Part::Literal(literal.as_bytes()));
        parts.push(Part::Value(value(expression)?));
        rest = after;
    }
    parts.push(Part::Literal(rest.as_bytes()));
    (parts.len() <= 2 * MOST_EXPRESSIONS + 1).then_some(parts)
}

/// RFC 6570, section 3.2.
fn value(expression: &str) -> Option<Value> {
    let of = |start, without| Some(Value { start, without });
    match expression.bytes().next()? {
        b'+' => of(None, b""),
        b'#' => of(Some(b'#'), b""),
        b'/' => of(Some(b'/'), b"?#"),
        b'?' => of(Some(b'?'), b"#"),
        b'&' => of(Some(b'&'), b"#"),
        b'.' => of(Some(b'.'), b"/?#"),
        b';' => of(Some(b';'), b"/?#"),
        // Kept for what may come (section 2.2).
        b'=' | b',' | b'!' | b'@' | b'|' => None,
        _ if expression.ends_with('*') => of(None, b"?#"),
        _ => of(None, b"/?#"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_reaches_as_far_as_its_operator_lets_it() {
        for (template, given, not_given) in [
            (
                "docs://pages/{number}",
                &["docs://pages/7", "docs://pages/", "docs://pages/a%2Fb", "docs://pages/é"][..],
                &["docs://pages/7/x", "docs://pages/7?x=1", "docs://pages", "Docs://pages/7"][..],
            ),
            ("docs://{+path}", &["docs://a/b?c#d"], &["doc://a"]),
            ("docs://{path*}/raw", &["docs://a/b/raw", "docs://raw/raw/raw"], &["docs://a/raw/"]),
            (
                "docs://{a}/b{/more}{?q,r}{&s}{#f}",
                &["docs://x/b", "docs://x/b/c/d?q=1&s=2#f", "docs://x/b#", "docs://x/b/c"],
                &["docs://x/bc", "docs://x/y/b", "docs://x/b%3Fq"],
            ),
            ("docs://{name}{.kind}{;v}", &["docs://a.txt;v=1", "docs://"], &["docs://a/.txt"]),
            ("docs://{a}{b}-{c}", &["docs://x-y", "docs://--"], &["docs://x"]),
            ("docs://plain", &["docs://plain"], &["docs://plain/"]),
            ("docs://{a", &[], &["docs://{a", "docs://x"]),
            ("docs://{}", &[], &["docs://{}", "docs://"]),
            ("docs://{=a}", &[], &["docs://a"]),
        ] {
            for uri in given {
                assert!(gives(template, uri), "{template} {uri}");
            }
            for uri in not_given {
                assert!(!gives(template, uri), "{template} {uri}");
            }
        }
    }

    #[test]
    fn no_template_takes_long() {
        let most = "{+a}x".repeat(MOST_EXPRESSIONS);
        assert!(gives(&most, &"x".repeat(2_000)));
        assert!(!gives(&most, &format!("{}y", "x".repeat(2_000))));
        assert!(!gives(&"{+a}".repeat(MOST_EXPRESSIONS + 1), "x"));
    }
}
