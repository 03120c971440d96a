//! Names of services and credentials.

use std::fmt;

/// A name that also fits into a tool's name and a policy's path:
/// `[a-z][a-z0-9]*([_-][a-z0-9]+)*`, at most 32 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// The text isn't a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a name is lower-case letters and digits, with single '-' or '_' between, begins with a letter \
     and has at most 32 characters, such as github or home_assistant"
)]
pub struct NameError;

impl Name {
    /// The longest name, in characters.
    pub const MAX: usize = 32;

    /// Parses a name.
    ///
    /// # Errors
    /// [`NameError`] says the rule.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let begins = text.as_bytes().first().is_some_and(u8::is_ascii_lowercase);
        let parts = text.split(['-', '_']).all(|part| {
            !part.is_empty()
                && part.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        });
        if begins && parts && text.len() <= Self::MAX {
            Ok(Self(text.to_owned()))
        } else {
            Err(NameError)
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn names_by_the_rule() {
        for good in ["a", "github", "home_assistant", "a-b-c", "x1", "a1_2"] {
            assert!(Name::parse(good).is_ok(), "{good}");
        }
        let long = "a".repeat(33);
        for bad in [
            "",
            "1a",
            "A",
            "a__b",
            "a--b",
            "-a",
            "a-",
            "a.b",
            "a/b",
            "a b",
            "é",
            "a_-b",
            "..",
            long.as_str(),
        ] {
            assert!(Name::parse(bad).is_err(), "{bad}");
        }
        assert!(Name::parse(&long[1..]).is_ok());
    }
}
