//! An MCP server's rules: which tools, resources and prompts may be asked for, by their names.
//!
//! ```text
//! allow tool get_*
//! deny tool delete_*
//! allow resource docs://**
//! allow prompt *
//! ```
//!
//! A pattern is compared, case-sensitively, with the name that the server itself uses, or with the
//! URI of a resource; `*` stands for any run of characters, slashes included. The first rule that
//! matches decides, and once there is a rule, of whichever kind, what none matches is denied. So is a
//! URI of which there is another spelling.

use super::pattern::TextPattern;
use super::uri::has_another_spelling;
use super::{Effect, MAX_RULE_BYTES, MAX_RULES, RuleError, Verdict};

/// What a name is the name of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// A tool.
    Tool,
    /// A resource, by its URI.
    Resource,
    /// A prompt.
    Prompt,
}

impl Named {
    /// The word that stands for it in a rule.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::Prompt => "prompt",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        [Self::Tool, Self::Resource, Self::Prompt].into_iter().find(|named| named.as_str() == word)
    }
}

/// An ordered list of rules about names.
#[derive(Clone, Debug, Default)]
pub struct NameRules(Vec<NameRule>);

#[derive(Clone, Debug)]
struct NameRule {
    text: String,
    effect: Effect,
    named: Named,
    pattern: TextPattern,
}

impl NameRules {
    /// Tells whether a text is meant as a rule about names rather than about methods and paths.
    pub fn is_one(rule: &str) -> bool {
        rule.split_ascii_whitespace().nth(1).is_some_and(|word| Named::parse(word).is_some())
    }

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
        rules.iter().map(|rule| NameRule::parse(rule.as_ref())).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none: all is allowed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Decides: the first rule that matches.
    pub fn decide(&self, named: Named, name: &str) -> Verdict<'_> {
        if self.0.is_empty() {
            return Verdict::Allowed(None);
        }
        if named == Named::Resource && has_another_spelling(name).is_some() {
            return Verdict::Denied(None);
        }
        match self.0.iter().find(|rule| rule.named == named && rule.pattern.matches(name)) {
            None => Verdict::Denied(None),
            Some(rule) => match rule.effect {
                Effect::Allow => Verdict::Allowed(Some(&rule.text)),
                Effect::Deny => Verdict::Denied(Some(&rule.text)),
            },
        }
    }

    /// Whether a name may be asked for.
    pub fn allows(&self, named: Named, name: &str) -> bool {
        matches!(self.decide(named, name), Verdict::Allowed(_))
    }

    /// What is allowed, in words for an error: without the word `allow`, and without denials.
    pub fn allowed(&self) -> String {
        let allowed: Vec<&str> =
            self.0.iter().filter_map(|rule| rule.text.strip_prefix("allow ")).collect();
        allowed.join("; ")
    }
}

impl NameRule {
    fn parse(text: &str) -> Result<Self, RuleError> {
        let wrong = |problem| RuleError { rule: text.chars().take(200).collect(), problem };
        if text.len() > MAX_RULE_BYTES {
            return Err(wrong("longer than 1024 bytes"));
        }
        let mut words = text.split_ascii_whitespace();
        let (Some(effect), Some(named), Some(pattern), None) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return Err(wrong(
                "of an MCP server, write: allow or deny, tool, resource or prompt, a pattern, such as: \
                 allow tool get_*",
            ));
        };
        let parsed = match effect {
            "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            _ => return Err(wrong("begins with allow or deny")),
        };
        let kind = Named::parse(named).ok_or_else(|| {
            wrong(
                "of an MCP server, a rule names tools, resources or prompts, such as: allow tool get_*",
            )
        })?;
        Ok(Self {
            text: format!("{effect} {named} {pattern}"),
            effect: parsed,
            named: kind,
            pattern: TextPattern::of_names(pattern),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_rule_that_matches_decides_and_the_rest_is_denied() {
        let rules = NameRules::parse(&[
            "deny tool get_secret*",
            "allow  tool get_*",
            "allow resource docs://**",
            "allow prompt 100%25",
        ])
        .unwrap();
        for (named, name, allowed) in [
            (Named::Tool, "get_issue", true),
            (Named::Tool, "get_secret_key", false),
            (Named::Tool, "GET_issue", false),
            (Named::Tool, "delete", false),
            (Named::Tool, "", false),
            (Named::Resource, "docs://a/b/c", true),
            (Named::Resource, "get_issue", false),
            (Named::Resource, "docs://a//c", false),
            (Named::Resource, "docs://a/../c", false),
            (Named::Prompt, "100%25", true),
            (Named::Prompt, "100%", false),
        ] {
            assert_eq!(rules.allows(named, name), allowed, "{named:?} {name}");
        }
        assert_eq!(rules.allowed(), "tool get_*; resource docs://**; prompt 100%25");
        assert!(NameRules::default().allows(Named::Tool, "anything"));
    }

    #[test]
    fn a_rule_of_the_other_kind_is_refused() {
        for rule in ["allow GET /a", "allow tool", "tool get_*", "allow tool a b", "permit tool a"]
        {
            assert!(NameRules::parse(&[rule]).is_err(), "{rule}");
        }
        assert!(NameRules::is_one("allow tool get_*"));
        assert!(!NameRules::is_one("allow GET /tool"));
    }
}
