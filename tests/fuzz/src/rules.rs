//! A service's rules: their text, and what they decide.

use std::fmt::Write as _;

use arbitrary::{Result, Unstructured};
use http::Method;
use percent_encoding::percent_decode_str;
use vault_plugin::proxy::base_url::BaseUrl;
use vault_plugin::proxy::canonical::{CanonicalTarget, PathSwitches, canonicalise};
use vault_plugin::proxy::rules::{Rules, Verdict};

use crate::text_of;

const RULE: &[&str] = &[
    "allow", "deny", " ", "GET", "POST", ",", "*", "/", "**", "a", "?", "=", "&", "%2F", "%", "..",
    "#", "\\", "\n", "\u{e9}",
];
/// A pattern of one segment, and of a path's segment.
const PATTERNS: &[&str] =
    &["*", "**", "a", "b", "a*", "*a", "a*b*", "ab", "%61", "~b", "a%2Fb", "*;*"];
const SEGMENTS: &[&str] =
    &["a", "b", "ab", "aab", "c", "a%2Fb", "%7Eb", "a;b", "a%3Bb", "%2A", "*"];
const METHODS: &[&str] = &["GET", "POST", "*", "GET,POST"];

/// A rule as it was meant, beside its text.
#[derive(Debug)]
struct Meant {
    allows: bool,
    methods: &'static str,
    path: Vec<&'static str>,
    query: Vec<(&'static str, &'static str)>,
}

/// What a rule that matches says.
enum Judged {
    Says,
    InBody(&'static str),
}

/// Rules decide as their one-line meaning says, whatever the spelling.
pub(crate) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    if u.ratio(1, 4)? {
        let text = text_of(u, RULE, 20)?;
        if let Ok(rules) = Rules::parse(&[&text]) {
            let printed: Vec<_> = rules.texts().collect();
            assert_eq!(Rules::parse(&printed).unwrap().texts().collect::<Vec<_>>(), printed);
            let _ = rules.decide(&Method::GET, &target("/a/b", &[]), |_| false);
        }
        return Ok(());
    }
    let mut meant = Vec::new();
    for _ in 0..u.int_in_range(1..=3)? {
        meant.push(rule(u)?);
    }
    let texts: Vec<String> = meant.iter().map(Meant::text).collect();
    let rules = Rules::parse(&texts).unwrap();

    let mut path = String::new();
    for _ in 0..u.int_in_range(0..=4)? {
        let _ = write!(path, "/{}", u.choose(SEGMENTS)?);
    }
    if path.is_empty() || u.ratio(1, 8)? {
        path.push('/');
    }
    let mut query = Vec::new();
    for _ in 0..u.int_in_range(0..=2)? {
        let name = *u.choose(&["q", "Q", "q[]", "r"])?;
        query.push((name.to_owned(), (*u.choose(&["a", "ab", "", "*"])?).to_owned()));
    }
    let method = u.choose(&[Method::GET, Method::POST])?;
    let made = target(&path, &query);
    let body = *u.choose(&[[].as_slice(), &[], &["q"], &["r"], &["q", "r"]])?;
    let in_body = |name: &str| body.contains(&name);
    let verdict = rules.decide(method, &made, in_body);

    // As it is meant.
    let judged = meant.iter().zip(&texts).find_map(|(rule, text)| {
        rule.judge(method, &made, body).map(|judged| match judged {
            Judged::Says if rule.allows => Verdict::Allowed(Some(text)),
            Judged::Says => Verdict::Denied(Some(text)),
            Judged::InBody(parameter) => Verdict::InBody { rule: text, parameter },
        })
    });
    let expected = judged.unwrap_or(Verdict::Denied(None));
    assert_eq!(verdict, expected, "{texts:?} {method} {path:?} {query:?} {body:?}");

    // Unreserved characters may be written in another way.
    let spelt = respelt(u, &path)?;
    let again = target(&spelt, &query);
    assert_eq!(rules.decide(method, &again, in_body), verdict, "{texts:?} {path:?} {spelt:?}");

    // A denial in front never opens anything.
    let denial = Meant { allows: false, ..rule(u)? };
    let more: Vec<String> = [denial.text()].into_iter().chain(texts.iter().cloned()).collect();
    let more = Rules::parse(&more).unwrap();
    let opens = |verdict| matches!(verdict, Verdict::Allowed(_));
    let after = opens(more.decide(method, &made, in_body));
    assert!(!after || opens(verdict), "{denial:?} opened {path:?} of {texts:?}");
    Ok(())
}

fn target(path: &str, query: &[(String, String)]) -> CanonicalTarget {
    let base = BaseUrl::parse("https://h/base").unwrap();
    let switches = PathSwitches { allow_encoded_slash: true, allow_path_params: true };
    canonicalise(&base, path, query, switches).unwrap()
}

fn rule(u: &mut Unstructured<'_>) -> Result<Meant> {
    let mut path = Vec::new();
    for _ in 0..u.int_in_range(0..=3)? {
        path.push(*u.choose(PATTERNS)?);
    }
    let mut query = Vec::new();
    for name in ["q", "r"] {
        if u.ratio(1, 4)? {
            query.push((name, *u.choose(&["a", "a*", "*", "b"])?));
        }
    }
    Ok(Meant { allows: u.arbitrary()?, methods: u.choose(METHODS)?, path, query })
}

impl Meant {
    fn text(&self) -> String {
        let effect = if self.allows { "allow" } else { "deny" };
        let query: Vec<_> =
            self.query.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{effect} {} /{}{mark}{}", self.methods, self.path.join("/"), query.join("&"))
    }

    /// A body with a parameter makes doubtful what the rule says of it, where that would open
    /// something: that an allowance holds, or that a denial doesn't.
    fn judge(&self, method: &Method, target: &CanonicalTarget, body: &[&str]) -> Option<Judged> {
        if !self.matches(method, target) {
            return None;
        }
        let mut judged = Judged::Says;
        for &(name, pattern) in &self.query {
            let holds = self.matches_query((name, pattern), target.query());
            if holds == self.allows && body.contains(&name) {
                judged = Judged::InBody(name);
            } else if !holds {
                return None;
            }
        }
        Some(judged)
    }

    fn matches(&self, method: &Method, target: &CanonicalTarget) -> bool {
        let method = self.methods == "*" || self.methods.split(',').any(|known| known == method);
        let path = target.relative();
        let mut readings = vec![path.to_owned()];
        if !self.allows {
            // What an upstream may make of it.
            let split = path.replace("%2F", "/");
            let cut = |path: &str| {
                let bare = |segment: &str| {
                    segment.replace("%3B", ";").split(';').next().unwrap().to_owned()
                };
                path.split('/').map(bare).collect::<Vec<_>>().join("/")
            };
            readings.extend([cut(path), cut(&split), split]);
        }
        method && readings.iter().any(|path| matches_path(&self.path, &segments(path)))
    }

    fn matches_query(&self, (name, pattern): (&str, &str), given: &[(String, String)]) -> bool {
        // `q[]`, `Q` are read as `q` by some upstreams.
        let folded = |name: &str| name.to_lowercase().trim_end_matches("[]").to_owned();
        let same: Vec<_> = given.iter().filter(|(given, _)| folded(given) == name).collect();
        if self.allows {
            matches!(same[..], [(given, value)] if given == name && matches_text(pattern, value))
        } else {
            same.iter().any(|(_, value)| matches_text(pattern, value))
        }
    }
}

fn segments(path: &str) -> Vec<String> {
    let path = path.strip_prefix('/').unwrap_or(path);
    let path = path.strip_suffix('/').unwrap_or(path);
    let decoded = |segment: &str| percent_decode_str(segment).decode_utf8().unwrap().into_owned();
    if path.is_empty() { Vec::new() } else { path.split('/').map(decoded).collect() }
}

fn matches_path(pattern: &[&str], path: &[String]) -> bool {
    match (pattern.split_first(), path.split_first()) {
        (None, None) => true,
        (None, Some(_)) => false,
        (Some((&"**", rest)), _) => {
            (0..=path.len()).any(|taken| matches_path(rest, &path[taken..]))
        }
        (Some(_), None) => false,
        (Some((first, rest)), Some((segment, others))) => {
            let first = percent_decode_str(first).decode_utf8().unwrap();
            !segment.is_empty() && matches_text(&first, segment) && matches_path(rest, others)
        }
    }
}

/// The textbook's recursion, exponential and plain.
fn matches_text(pattern: &str, text: &str) -> bool {
    match pattern.chars().next() {
        None => text.is_empty(),
        Some('*') => {
            let after = &pattern[1..];
            (0..=text.len())
                .filter(|at| text.is_char_boundary(*at))
                .any(|at| matches_text(after, &text[at..]))
        }
        Some(first) => text
            .strip_prefix(first)
            .is_some_and(|text| matches_text(&pattern[first.len_utf8()..], text)),
    }
}

fn respelt(u: &mut Unstructured<'_>, path: &str) -> Result<String> {
    let mut spelt = String::new();
    let mut characters = path.chars();
    while let Some(character) = characters.next() {
        match character {
            '%' => {
                let digits: String = characters.by_ref().take(2).collect();
                let digits = if u.arbitrary()? { digits.to_lowercase() } else { digits };
                let _ = write!(spelt, "%{digits}");
            }
            'a'..='z' if u.arbitrary()? => {
                let _ = write!(spelt, "%{:02x}", u32::from(character));
            }
            other => spelt.push(other),
        }
    }
    Ok(spelt)
}
