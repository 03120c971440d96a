//! Names an agent and says what it may do.

use std::fmt;
use std::time::Duration;

use crate::commands::policy::Grant;

/// An agent's name: its identity entity has it as it is, its policy and role behind a prefix.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct AgentName(String);

impl AgentName {
    /// Reads a name of 1 to 48 lower-case letters, digits, `-`, `_` and `.`, not at its ends.
    ///
    /// AppRole lowers the case of a role's name, and takes no others (AppRole's
    /// `path_role.go`, `GenericNameRegex`).
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = text.bytes().next().is_some_and(plain)
            && text.bytes().next_back().is_some_and(plain)
            && text.len() <= MAX_NAME_BYTES;
        let sound = text.bytes().all(|byte| plain(byte) || b"-_.".contains(&byte));
        (ends && sound && !text.contains("..")).then(|| Self(text.to_owned()))
    }

    /// The name of the agent's policy and of its AppRole role: behind a prefix, so that no agent's
    /// name is that of an operator's own policy or role.
    pub(crate) fn role(&self) -> String {
        format!("mcp-bridge-{}", self.0)
    }
}

impl fmt::Display for AgentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an agent is to have in Vault.
#[derive(Debug)]
pub(crate) struct Agent {
    /// Its name.
    pub(crate) name: AgentName,
    /// What it may call; empty keeps the policy that is there.
    pub(crate) grant: Grant,
    /// From which networks it may log in and use its token; none keeps what is there.
    pub(crate) cidrs: Option<Vec<String>>,
    /// How long a secret_id serves; none keeps what is there.
    pub(crate) lifetime: Option<Lifetime>,
    /// Whether it may issue new secret_ids of its role to itself.
    pub(crate) self_rotate: bool,
}

/// A length of time as people write it: a whole number and `s`, `m`, `h` or `d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lifetime(pub(crate) Duration);

impl Lifetime {
    /// Reads one; none if it is zero or isn't one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let unit = text.chars().next_back()?;
        let seconds = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86400,
            _ => return None,
        };
        let count: u64 = text.strip_suffix(unit)?.parse().ok()?;
        let total = count.checked_mul(seconds).filter(|total| *total > 0)?;
        Some(Self(Duration::from_secs(total)))
    }
}

/// Far below every limit of Vault's, with room for the prefix.
const MAX_NAME_BYTES: usize = 48;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_role_and_entity_can_have_pass() {
        for good in ["a", "build7", "ci-2", "a.b_c", "0"] {
            assert!(AgentName::parse(good).is_some(), "{good}");
        }
        let long = "a".repeat(49);
        for bad in ["", "-a", "a-", "A", "a b", "a/b", "../x", "a..b", "ä", long.as_str()] {
            assert!(AgentName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn a_lifetime_has_a_unit() {
        for (text, seconds) in [("720h", 2_592_000), ("90m", 5400), ("30d", 2_592_000), ("5s", 5)] {
            assert_eq!(Lifetime::parse(text).unwrap().0.as_secs(), seconds);
        }
        for bad in ["", "h", "10", "0h", "-1h", "1.5h", "1w", "99999999999999999999d"] {
            assert!(Lifetime::parse(bad).is_none(), "{bad}");
        }
    }
}
