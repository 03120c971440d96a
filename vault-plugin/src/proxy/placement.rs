//! The auth kinds: which secret a service wants, and where in the request it goes.
//!
//! A further kind is a variant here and an arm in [`injector`](super::injector): the compiler
//! names every place that has to decide.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue, header};

use crate::error::Failure;

/// Where a credential stands in a request. Part of what a credential version is bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Nothing is added.
    None,
    /// `Authorization: Bearer <token>` (RFC 6750, section 2.1).
    Bearer,
    /// A header of the operator's choice.
    Header {
        /// Which.
        name: HeaderName,
        /// Stands before the secret, to the letter.
        prefix: String,
    },
}

/// The parameters of all kinds, by field name.
pub const PARAMETERS: [&str; 2] = ["header_name", "prefix"];

/// The secret of the kinds that want one value.
pub const TOKEN: &str = "token";

/// Headers that frame the message or belong to the connection or the host: never a credential's
/// place.
const NEVER: [HeaderName; 10] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::UPGRADE,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

impl Placement {
    /// Parses an auth kind with its parameters.
    ///
    /// # Errors
    /// An unknown kind, or a parameter that is missing, unusable or not of this kind.
    pub fn parse(auth: &str, parameters: &BTreeMap<String, String>) -> Result<Self, Failure> {
        let mut parameters = parameters.clone();
        let placement = match auth {
            "none" => Self::None,
            "bearer" => Self::Bearer,
            "header" => {
                let name = parameters.remove("header_name").ok_or_else(|| {
                    Failure::invalid("auth=header wants header_name, such as header_name=X-Api-Key")
                })?;
                let prefix = parameters.remove("prefix").unwrap_or_default();
                Self::Header { name: injectable(&name)?, prefix: usable_prefix(prefix)? }
            }
            _ => {
                return Err(Failure::invalid(
                    "auth is none of: none, bearer, header. Nothing was changed",
                ));
            }
        };
        match parameters.keys().next() {
            None => Ok(placement),
            Some(name) => Err(Failure::invalid(format!(
                "{name} doesn't belong to auth={auth}. Leave it out, or set it to \"\""
            ))),
        }
    }

    /// The name of the kind, as operators write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Bearer => "bearer",
            Self::Header { .. } => "header",
        }
    }

    /// The kind's parameters, by field name.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        match self {
            Self::None | Self::Bearer => BTreeMap::new(),
            Self::Header { name, prefix } => {
                let mut parameters =
                    BTreeMap::from([("header_name".to_owned(), name.as_str().to_owned())]);
                if !prefix.is_empty() {
                    parameters.insert("prefix".to_owned(), prefix.clone());
                }
                parameters
            }
        }
    }

    /// The header that the credential is written to; a caller's of that name never passes.
    pub fn header(&self) -> Option<HeaderName> {
        match self {
            Self::None => None,
            Self::Bearer => Some(header::AUTHORIZATION),
            Self::Header { name, .. } => Some(name.clone()),
        }
    }

    /// Whether it needs a secret.
    pub fn wants_secret(&self) -> bool {
        match self {
            Self::None => false,
            Self::Bearer | Self::Header { .. } => true,
        }
    }

    /// Checks a secret when it is written, so that no call fails for its form.
    ///
    /// # Errors
    /// Says what is wrong with the form, without the value.
    pub fn check_secret(&self, secret: &str) -> Result<(), Failure> {
        match self {
            Self::None => Err(Failure::invalid(
                "auth=none takes no token. Set auth, or leave the token out. Nothing was changed",
            )),
            Self::Bearer => {
                if secret.get(..7).is_some_and(|start| start.eq_ignore_ascii_case("bearer ")) {
                    return Err(Failure::invalid(
                        "token begins with \"Bearer \", which auth=bearer adds itself. Write the \
                         bare token. Nothing was changed",
                    ));
                }
                header_safe(secret)
            }
            Self::Header { .. } => header_safe(secret),
        }
    }
}

/// A header value as every server reads it the same way: visible ASCII, no space at the ends
/// (RFC 9110, section 5.5).
fn header_safe(secret: &str) -> Result<(), Failure> {
    let fine = !secret.is_empty()
        && !secret.starts_with(' ')
        && !secret.ends_with(' ')
        && secret.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if fine {
        Ok(())
    } else {
        Err(Failure::invalid(
            "token holds characters that can't stand in a header: only visible ASCII, no line \
             breaks, no space at the ends. Nothing was changed",
        ))
    }
}

fn injectable(name: &str) -> Result<HeaderName, Failure> {
    let unusable = |why: &str| {
        Failure::invalid(format!("header_name {why}. Use the header that the upstream documents"))
    };
    let name = HeaderName::try_from(name).map_err(|_| unusable("isn't a header's name"))?;
    let reserved = NEVER.contains(&name)
        || ["proxy-", "x-vault-", "x-forwarded-"]
            .iter()
            .any(|start| name.as_str().starts_with(start));
    if reserved { Err(unusable("can't carry a credential")) } else { Ok(name) }
}

fn usable_prefix(prefix: String) -> Result<String, Failure> {
    if HeaderValue::try_from(prefix.as_str()).is_ok_and(|value| value.to_str().is_ok()) {
        Ok(prefix)
    } else {
        Err(Failure::invalid("prefix can't stand in a header: use visible ASCII"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(auth: &str, parameters: &[(&str, &str)]) -> Result<Placement, Failure> {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        Placement::parse(auth, &parameters)
    }

    #[test]
    fn kinds_round_trip_through_their_parameters() {
        for (auth, parameters) in [
            ("none", vec![]),
            ("bearer", vec![]),
            ("header", vec![("header_name", "x-api-key")]),
            ("header", vec![("header_name", "authorization"), ("prefix", "Token ")]),
        ] {
            let placement = parse(auth, &parameters).unwrap();
            assert_eq!(
                Placement::parse(placement.kind(), &placement.parameters()).unwrap(),
                placement
            );
        }
    }

    #[test]
    fn refuses_what_it_cannot_mean() {
        for (auth, parameters) in [
            ("Bearer", vec![]),
            ("", vec![]),
            ("header", vec![]),
            ("bearer", vec![("header_name", "x-api-key")]),
            ("header", vec![("header_name", "host")]),
            ("header", vec![("header_name", "Transfer-Encoding")]),
            ("header", vec![("header_name", "x-vault-token")]),
            ("header", vec![("header_name", "a b")]),
            ("header", vec![("header_name", "x\r\ny")]),
            ("header", vec![("header_name", "x-key"), ("prefix", "a\nb")]),
        ] {
            assert!(parse(auth, &parameters).is_err(), "{auth} {parameters:?}");
        }
    }

    #[test]
    fn secrets_are_checked_when_written() {
        let bearer = Placement::Bearer;
        assert!(bearer.check_secret("abc.def-123").is_ok());
        for bad in ["", "Bearer abc", "bearer abc", "a\nb", " a", "a ", "é", "a\u{7f}"] {
            assert!(bearer.check_secret(bad).is_err(), "{bad:?}");
        }
        assert!(Placement::None.check_secret("abc").is_err());
    }
}
