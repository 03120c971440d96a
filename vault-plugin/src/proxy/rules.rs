//! A service's rules: which methods, paths and parameters may be asked for.
//!
//! ```text
//! allow GET,HEAD /repos/**
//! deny * /admin/**
//! allow POST /repos/*/issues
//! allow GET /api/v2?cmd=get_*
//! ```
//!
//! The first rule that matches decides. Once there is a rule, what none matches is denied; without
//! rules all is allowed. A rule sees what is sent: the canonical path below the base URL, compared
//! case-sensitively after undoing percent-encoding, so that `:` and `%3A` are the same to it. One
//! slash at the end makes no difference. A parameter that the deciding rule names must stand in the
//! query alone: a field of that name in the body is refused, since many servers would take it instead.

mod names;
mod pattern;
#[cfg(test)]
mod tests;
pub(crate) mod uri;

use std::fmt;

use http::Method;

use super::canonical::{CanonicalTarget, same_parameter};
use super::headers::parse_method;
pub use names::{NameRules, Named};
use pattern::{PathPattern, TextPattern};

/// How many rules a service may have.
pub const MAX_RULES: usize = 200;
/// How long one rule may be, in bytes.
pub const MAX_RULE_BYTES: usize = 1024;

/// An ordered list of rules.
#[derive(Clone, Debug, Default)]
pub struct Rules(Vec<Rule>);

/// One rule.
#[derive(Clone, Debug)]
pub struct Rule {
    text: String,
    effect: Effect,
    /// `None` stands for every method.
    methods: Option<Vec<Method>>,
    path: PathPattern,
    /// Every one must hold.
    query: Vec<(String, TextPattern)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Allow,
    Deny,
}

/// Why a rule can't be meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("rule {rule:?}: {problem}")]
pub struct RuleError {
    rule: String,
    problem: &'static str,
}

/// The decision on one request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'r> {
    /// By this rule, or by there being none.
    Allowed(Option<&'r str>),
    /// By this rule, or because no rule matched.
    Denied(Option<&'r str>),
    /// This rule would decide by a parameter that stands in the body as well.
    InBody {
        /// The rule.
        rule: &'r str,
        /// The parameter's name, as the rule writes it.
        parameter: &'r str,
    },
}

impl Rules {
    /// Parses rules, one each.
    ///
    /// # Errors
    /// [`RuleError`] for the first that can't be meant.
    pub fn parse<S: AsRef<str>>(rules: &[S]) -> Result<Self, RuleError> {
        if rules.len() > MAX_RULES {
            return Err(RuleError {
                rule: "…".into(), problem: "a service has at most 200 rules"
            });
        }
        rules.iter().map(|rule| Rule::parse(rule.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Decides: the first rule that matches. `in_body` tells whether the body has a field that a
    /// server could take for the parameter of a name.
    pub fn decide(
        &self,
        method: &Method,
        target: &CanonicalTarget,
        in_body: impl Fn(&str) -> bool,
    ) -> Verdict<'_> {
        if self.0.is_empty() {
            return Verdict::Allowed(None);
        }
        let mut verdicts = self.0.iter().filter_map(|rule| rule.judge(method, target, &in_body));
        verdicts.next().unwrap_or(Verdict::Denied(None))
    }

    /// The rules as they are shown, in their one spelling.
    pub fn texts(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|rule| rule.text.as_str())
    }

    /// What is allowed, in words for an error: without the word `allow`, and without denials.
    pub fn allowed(&self) -> String {
        let allowed: Vec<&str> =
            self.texts().filter_map(|text| text.strip_prefix("allow ")).collect();
        allowed.join("; ")
    }

    /// The methods that some rule allows somewhere; `None` when it may be any.
    pub fn methods(&self) -> Option<Vec<&str>> {
        if self.0.is_empty() {
            return None;
        }
        let mut methods = Vec::new();
        for rule in self.0.iter().filter(|rule| rule.effect == Effect::Allow) {
            for method in rule.methods.as_ref()? {
                if !methods.contains(&method.as_str()) {
                    methods.push(method.as_str());
                }
            }
        }
        Some(methods)
    }

    /// Whether there is none, so that all is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Rule {
    fn parse(text: &str) -> Result<Self, RuleError> {
        let wrong = |problem| RuleError { rule: text.chars().take(200).collect(), problem };
        if text.len() > MAX_RULE_BYTES {
            return Err(wrong("longer than 1024 bytes"));
        }
        let mut words = text.split_ascii_whitespace();
        let (effect, methods, path) = match (words.next(), words.next(), words.next(), words.next())
        {
            (Some(effect), Some(methods), Some(path), None) => (effect, methods, path),
            _ => {
                return Err(wrong(
                    "write: allow or deny, methods or *, a path, such as: allow GET,HEAD /items/**",
                ));
            }
        };
        let (effect, word) = match effect {
            "allow" => (Effect::Allow, "allow"),
            "deny" => (Effect::Deny, "deny"),
            _ => return Err(wrong("begins with allow or deny")),
        };
        let parsed = match methods {
            "*" => None,
            list => {
                Some(list.split(',').map(parse_method).collect::<Result<Vec<_>, _>>().map_err(
                    |_| wrong("methods are GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
                )?)
            }
        };
        let (path_text, query_text) = match path.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (path, None),
        };
        let path = PathPattern::parse(path_text).map_err(wrong)?;
        let query = query_text.map_or_else(|| Ok(Vec::new()), conditions).map_err(wrong)?;
        let question = query_text.map_or_else(String::new, |query| format!("?{query}"));
        Ok(Self {
            text: format!("{word} {methods} {path_text}{question}"),
            effect,
            methods: parsed,
            path,
            query,
        })
    }

    /// A denial also covers what an upstream may make of a path: `%2F` read as a slash, and what
    /// stands behind a `;` dropped.
    fn matches_path(&self, path: &str) -> bool {
        if self.path.matches(path) {
            return true;
        }
        let ambiguous = path.contains("%2F") || path.contains("%3B") || path.contains(';');
        self.effect == Effect::Deny && ambiguous && {
            let split = path.replace("%2F", "/");
            let plain = |path: &str| {
                let cut = |segment: &str| {
                    segment
                        .split([';'])
                        .next()
                        .unwrap_or_default()
                        .split("%3B")
                        .next()
                        .map(str::to_owned)
                };
                path.split('/').filter_map(cut).collect::<Vec<_>>().join("/")
            };
            self.path.matches(&split)
                || self.path.matches(&plain(path))
                || self.path.matches(&plain(&split))
        }
    }

    /// What it says, where it matches. A denial also covers what the body may make of the query.
    fn judge(
        &self,
        method: &Method,
        target: &CanonicalTarget,
        in_body: impl Fn(&str) -> bool,
    ) -> Option<Verdict<'_>> {
        let methods = self.methods.as_ref();
        if methods.is_some_and(|methods| !methods.contains(method))
            || !self.matches_path(target.relative())
        {
            return None;
        }
        let mut doubtful = None;
        for (parameter, pattern) in &self.query {
            let holds = holds(parameter, pattern, self.effect, target);
            let wanted = match self.effect {
                Effect::Allow => holds,
                Effect::Deny => !holds,
            };
            if wanted && in_body(parameter) {
                doubtful = Some(Verdict::InBody { rule: &self.text, parameter });
            } else if !holds {
                return None;
            }
        }
        doubtful.or(Some(match self.effect {
            Effect::Allow => Verdict::Allowed(Some(&self.text)),
            Effect::Deny => Verdict::Denied(Some(&self.text)),
        }))
    }
}

fn conditions(query: &str) -> Result<Vec<(String, TextPattern)>, &'static str> {
    query
        .split('&')
        .map(|condition| match condition.split_once('=') {
            Some((name, pattern)) if !name.is_empty() => {
                Ok((pattern::decoded(name)?, TextPattern::parse(pattern)?))
            }
            Some(_) | None => Err("a condition on the query is name=pattern, with & between"),
        })
        .collect()
}

/// Allowing wants the parameter there exactly once, however an upstream may fold its name, and
/// fitting; denying is content with any of its values that fits.
fn holds(name: &str, pattern: &TextPattern, effect: Effect, target: &CanonicalTarget) -> bool {
    let mut given = target.query().iter().filter(|(given, _)| same_parameter(given, name));
    match effect {
        Effect::Allow => match (given.next(), given.next()) {
            (Some((given, value)), None) => given == name && pattern.matches(value),
            _ => false,
        },
        Effect::Deny => given.any(|(_, value)| pattern.matches(value)),
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
