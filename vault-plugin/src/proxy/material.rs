//! The secret values of one credential version.

use std::collections::BTreeMap;

use secrecy::{ExposeSecret, SecretString};
use zeroize::Zeroizing;

use super::placement::{Placement, USERNAME};

/// Secret values by field name; nothing of it can be printed.
#[derive(Debug, Default)]
pub struct Material(BTreeMap<String, SecretString>);

impl Material {
    /// Whether nothing was given.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a value, or replaces it.
    pub fn insert(&mut self, field: &str, value: SecretString) {
        self.0.insert(field.to_owned(), value);
    }

    /// Looks a value up.
    pub fn get(&self, field: &str) -> Option<&SecretString> {
        self.0.get(field)
    }

    /// The names of the values there are.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// Takes over a value that `other` has and this one lacks.
    pub fn complete(&mut self, field: &str, other: &mut Self) {
        if !self.0.contains_key(field)
            && let Some(value) = other.0.remove(field)
        {
            self.0.insert(field.to_owned(), value);
        }
    }

    /// The values to look for in answers, as they and as they are sent. A user name isn't secret,
    /// unless it is as long as a key: some upstreams take the key in its place.
    pub fn patterns(&self, placement: &Placement) -> Vec<SecretString> {
        let secret = self
            .0
            .iter()
            .filter(|(field, value)| *field != USERNAME || expose(value).len() >= KEY_LIKE);
        let mut patterns: Vec<SecretString> = secret.map(|(_, value)| copy(value)).collect();
        if *placement == Placement::Basic
            && let Some(sent) = self.basic()
        {
            // A short password is searched for only as a word; what is sent of it is long enough.
            patterns.push(SecretString::from(sent.as_str().to_owned()));
        }
        patterns
    }

    /// `user:password` in base64 (RFC 7617, section 2).
    pub(super) fn basic(&self) -> Option<Zeroizing<String>> {
        use base64::Engine as _;
        let user = expose(self.get(USERNAME)?);
        let password = expose(self.get(super::placement::PASSWORD)?);
        let plain = Zeroizing::new(format!("{user}:{password}"));
        Some(Zeroizing::new(base64::engine::general_purpose::STANDARD.encode(plain.as_bytes())))
    }

    /// For storage.
    pub fn into_map(self) -> BTreeMap<String, SecretString> {
        self.0
    }

    /// From storage.
    pub fn from_map(values: BTreeMap<String, SecretString>) -> Self {
        Self(values)
    }
}

/// A user name of so many bytes is taken for a key.
const KEY_LIKE: usize = 16;

/// A second copy of a secret, for the redactor to be built from; wiped right after.
fn copy(secret: &SecretString) -> SecretString {
    SecretString::from(expose(secret).to_owned())
}

fn expose(secret: &SecretString) -> &str {
    #[expect(clippy::disallowed_methods, reason = "exit: into redaction patterns and Basic's form")]
    secret.expose_secret()
}
