//! Whether a URI is one that a template (RFC 6570) can give.
//!
//! A template says as well how far each of its values reaches: that of `{name}` ends at a slash, that
//! of `{+name}` doesn't, `{/a,b}` has two segments at most, and `{?q}` no parameter but `q`. The explode
//! modifier is read as servers read it, where `{path*}` is the rest of a path.

/// A template with more expressions gives nothing: looking through it takes too long.
const MOST_EXPRESSIONS: usize = 32;

enum Part<'t> {
    Literal(&'t [u8]),
    Value(Value<'t>),
}

/// What an expression becomes: nothing, or a run of bytes.
struct Value<'t> {
    /// The run's first byte, if the operator has one.
    start: Option<u8>,
    /// What begins each further part of the run, if the operator has such.
    separator: Option<u8>,
    /// How many parts with such a beginning the run has, at most.
    most: usize,
    /// What each of them is called; nothing for parts without names, or with any.
    names: Vec<&'t [u8]>,
    /// What the run doesn't have beside these.
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
            Part::Value(value) => {
                // Of all runs that reach a place, how many parts the one with the fewest has.
                let mut fewest = None;
                for (at, (next, reached)) in next.iter_mut().zip(&reached).enumerate() {
                    *next = *reached || fewest.is_some();
                    let rest = uri.get(at..).unwrap_or_default();
                    let goes_on = fewest.and_then(|parts| value.goes_on(parts, rest));
                    let begins = reached.then(|| value.begins(rest)).flatten();
                    fewest = goes_on.into_iter().chain(begins).min();
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

impl Value<'_> {
    /// How many parts a run has with the first byte of a rest, if it may begin there.
    fn begins(&self, rest: &[u8]) -> Option<usize> {
        match self.start {
            None => self.goes_on(0, rest),
            Some(start) => (rest.first() == Some(&start) && self.is_named(rest)).then_some(1),
        }
    }

    /// The same for a run that has so many parts before.
    fn goes_on(&self, parts: usize, rest: &[u8]) -> Option<usize> {
        let byte = rest.first()?;
        if Some(*byte) == self.separator {
            return (parts < self.most && self.is_named(rest)).then_some(parts + 1);
        }
        (!self.without.contains(byte)).then_some(parts)
    }

    /// Whether a part is called as one of the variables.
    fn is_named(&self, part: &[u8]) -> bool {
        let ends = |rest: &[u8]| rest.first().is_none_or(|byte| b"=&;/?#".contains(byte));
        let after = |name: &[u8]| part.get(1..)?.strip_prefix(name);
        self.names.is_empty() || self.names.iter().any(|name| after(name).is_some_and(ends))
    }
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
fn value(expression: &str) -> Option<Value<'_>> {
    let operator = expression.bytes().next()?;
    let variables = expression.get(1..).unwrap_or_default().split(',');
    let is_exploded = expression.contains('*');
    let plain = |start, without| {
        Some(Value { start, separator: None, most: 0, names: Vec::new(), without })
    };
    let parted = |start, separator, without| {
        let most = if is_exploded { usize::MAX } else { variables.clone().count() };
        Some(Value {
            start: Some(start),
            separator: Some(separator),
            most,
            names: Vec::new(),
            without,
        })
    };
    let named = |start, separator, without| {
        // Section 2.4.1: a prefix of the value, and not of the name.
        let names = variables.clone().filter_map(|variable| variable.split(':').next());
        // An exploded map has names of its own.
        let names = if is_exploded { Vec::new() } else { names.map(str::as_bytes).collect() };
        Some(Value { names, ..parted(start, separator, without)? })
    };
    match operator {
        b'+' => plain(None, b""),
        b'#' => plain(Some(b'#'), b""),
        b'/' => parted(b'/', b'/', b"?#"),
        // Some servers take a semicolon for an ampersand.
        b'?' => named(b'?', b'&', b"#;"),
        b'&' => named(b'&', b'&', b"#;"),
        b'.' => plain(Some(b'.'), b"/?#"),
        b';' => named(b';', b';', b"/?#"),
        // Kept for what may come (section 2.2).
        b'=' | b',' | b'!' | b'@' | b'|' => None,
        _ if expression.ends_with('*') => plain(None, b"?#"),
        _ => plain(None, b"/?#"),
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
                &["docs://x/b", "docs://x/b/c?r=1&q=2&s=3#f", "docs://x/b#", "docs://x/b/c"],
                &["docs://x/bc", "docs://x/y/b", "docs://x/b%3Fq", "docs://x/b/c/d"],
            ),
            ("docs:/{/a,b}/e", &["docs://x/e", "docs://x/y/e", "docs:///e"], &["docs://x/y/z/e"]),
            ("docs:/{/a*}/e", &["docs://x/y/z/e"], &["docs://x/y?/e"]),
            (
                "docs://a{?q,page:2}{&s}",
                &["docs://a?q=a/b?&page=1&s=", "docs://a?q", "docs://a&s=1", "docs://a?page=1"],
                &[
                    "docs://a?x=1",
                    "docs://a?q=1&x=1",
                    "docs://a?qq=1",
                    "docs://a?q=1;x=1",
                    "docs://a?q=1&q=2&q=3&s=1",
                    "docs://a?",
                    "docs://a?%71=1",
                ],
            ),
            ("docs://a{?q*}", &["docs://a?x=1&y=2"], &["docs://a?x#f"]),
            ("docs://a{;v,w}/e", &["docs://a;w;v=1/e", "docs://a/e"], &["docs://a;vw=1/e"]),
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
