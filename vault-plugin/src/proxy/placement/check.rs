//! The form of secrets, checked when they are written, so that no call fails for it.

use secrecy::{ExposeSecret, SecretString};

use super::{PASSWORD, Placement, TOKEN, USERNAME};
use crate::error::Failure;
use crate::proxy::material::Material;
use crate::proxy::redact::MAX_SECRET_BYTES;

/// Of user name and password: with a colon between them, 3 bytes become 4 in base64 (RFC 7617,
/// section 2).
const MAX_BASIC_BYTES: usize = MAX_SECRET_BYTES / 4 * 3 - 1;

impl Placement {
    /// Checks that the values given are those that the kind wants, in a form that can be sent.
    ///
    /// # Errors
    /// Says which field is missing, too many or wrong, without the value.
    pub fn check(&self, material: &Material) -> Result<(), Failure> {
        let wanted = self.secret_fields();
        if let Some(extra) = material.fields().find(|field| !wanted.contains(field)) {
            return Err(Failure::invalid(match wanted {
                [] => format!(
                    "auth=none takes no {extra}. Set auth, or leave it out. Nothing was changed"
                ),
                wanted => format!(
                    "auth={} takes {}, not {extra}. Nothing was changed",
                    self.kind(),
                    wanted.join(" and ")
                ),
            }));
        }
        for field in wanted {
            let Some(secret) = material.get(field) else {
                return Err(Failure::invalid(format!("{field} is missing. Nothing was changed")));
            };
            self.check_form(field, expose(secret))?;
        }
        self.check_sent_length(material)
    }

    /// What is sent must be short enough to be searched for in answers; the other kinds send the value
    /// as it is written, whose own length is checked on its way in.
    fn check_sent_length(&self, material: &Material) -> Result<(), Failure> {
        let length = |field| material.get(field).map_or(0, |secret| expose(secret).len());
        let given = length(USERNAME) + length(PASSWORD);
        if *self == Self::Basic && given > MAX_BASIC_BYTES {
            return Err(Failure::invalid(format!(
                "username and password have {given} bytes together, at most {MAX_BASIC_BYTES}: they \
                 are sent in base64, of which at most {MAX_SECRET_BYTES} bytes can be searched for in \
                 answers. Nothing was changed"
            )));
        }
        Ok(())
    }

    fn check_form(&self, field: &str, secret: &str) -> Result<(), Failure> {
        let problem = match self {
            Self::None => None,
            Self::Bearer if starts_with_bearer(secret) => {
                Some("begins with \"Bearer \", which auth=bearer adds itself. Write the bare token")
            }
            Self::Bearer | Self::Header { .. } => header_problem(secret),
            Self::Query { .. } => (secret.is_empty() || secret.contains(char::is_control))
                .then_some("is empty or holds control characters"),
            Self::Cookie { .. } => cookie_problem(secret),
            Self::Basic if field == USERNAME && secret.contains(':') => {
                Some("holds a ':', which ends the user name in Basic")
            }
            Self::Basic => (secret.is_empty() && field == PASSWORD
                || secret.contains(char::is_control))
            .then_some("is empty or holds control characters"),
        };
        match problem {
            None => Ok(()),
            Some(problem) => {
                Err(Failure::invalid(format!("{field} {problem}. Nothing was changed")))
            }
        }
    }
}

fn starts_with_bearer(secret: &str) -> bool {
    secret.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer "))
}

/// A header value as every server reads it the same way: visible ASCII, no space at the ends
/// (RFC 9110, section 5.5).
fn header_problem(secret: &str) -> Option<&'static str> {
    let fine = !secret.is_empty()
        && !secret.starts_with(' ')
        && !secret.ends_with(' ')
        && secret.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    (!fine).then_some(
        "holds characters that can't stand in a header: only visible ASCII, no line breaks, no \
         space at the ends",
    )
}

/// RFC 6265, section 4.1.1: cookie-octet.
fn cookie_problem(secret: &str) -> Option<&'static str> {
    let fine = !secret.is_empty()
        && secret.bytes().all(|byte| byte.is_ascii_graphic() && !b"\",;\\".contains(&byte));
    (!fine).then_some("holds characters that can't stand in a cookie")
}

fn expose(secret: &SecretString) -> &str {
    #[expect(clippy::disallowed_methods, reason = "no exit: its form is checked, nothing is kept")]
    secret.expose_secret()
}

/// The one value of the kinds that want one.
impl Placement {
    /// The write-only fields that make up the kind's secret, in the order they are asked for.
    pub fn secret_fields(&self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Bearer | Self::Header { .. } | Self::Query { .. } | Self::Cookie { .. } => {
                &[TOKEN]
            }
            Self::Basic => &[USERNAME, PASSWORD],
        }
    }

    /// The end of a command that stores the kind's secret; empty for a kind without one.
    pub fn written(&self) -> &'static str {
        match self {
            Self::None => "",
            Self::Bearer | Self::Header { .. } | Self::Query { .. } | Self::Cookie { .. } => {
                " token=-"
            }
            Self::Basic => " username=USER password=-",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(auth: &str, parameters: &[(&str, &str)], given: &[(&str, &str)]) -> bool {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        let placement = Placement::parse(auth, &parameters).unwrap();
        let mut material = Material::default();
        for (field, value) in given {
            material.insert(field, SecretString::from((*value).to_owned()));
        }
        placement.check(&material).is_ok()
    }

    #[test]
    fn each_kind_takes_its_own_fields_in_a_form_that_can_be_sent() {
        let cookie = [("cookie_name", "sid")];
        let query = [("param_name", "key")];
        for (auth, parameters, given, fine) in [
            ("bearer", &[][..], &[("token", "abc.def-123")][..], true),
            ("bearer", &[], &[("token", "Bearer abc")], false),
            ("bearer", &[], &[("token", "bearer abc")], false),
            ("bearer", &[], &[("token", "a\nb")], false),
            ("bearer", &[], &[("token", " a")], false),
            ("bearer", &[], &[("token", "é")], false),
            ("bearer", &[], &[("token", "")], false),
            ("bearer", &[], &[("password", "x")], false),
            ("bearer", &[], &[], false),
            ("none", &[], &[("token", "abc")], false),
            ("none", &[], &[], true),
            ("basic", &[], &[("username", "u"), ("password", "p é")], true),
            ("basic", &[], &[("username", "u:v"), ("password", "p")], false),
            ("basic", &[], &[("username", "u"), ("password", "p\n")], false),
            ("basic", &[], &[("username", "u")], false),
            ("basic", &[], &[("token", "t")], false),
            ("cookie", &cookie, &[("token", "abc=")], true),
            ("cookie", &cookie, &[("token", "a;b")], false),
            ("cookie", &cookie, &[("token", "a b")], false),
            ("query_param", &query, &[("token", "a b&c")], true),
            ("query_param", &query, &[("token", "a\rb")], false),
        ] {
            assert_eq!(check(auth, parameters, given), fine, "{auth} {given:?}");
        }
    }
}
