//! The auth kinds: which secret a service wants, and where in the request it goes.
//!
//! A further kind is a variant here and an arm in [`injector`](super::injector): the compiler
//! names every place that has to decide.

mod check;

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
    /// A query parameter of the operator's choice.
    Query {
        /// Which.
        name: String,
    },
    /// `Authorization: Basic …` of user name and password (RFC 7617).
    Basic,
    /// A cookie of the operator's choice.
    Cookie {
        /// Which.
        name: String,
    },
}

/// The parameters of all kinds, by field name.
pub const PARAMETERS: [&str; 4] = ["header_name", "prefix", "param_name", "cookie_name"];

/// The secret of the kinds that want one value.
pub const TOKEN: &str = "token";
/// Not secret by itself, and written with the password.
pub const USERNAME: &str = "username";
/// The secret beside the user name.
pub const PASSWORD: &str = "password";
/// Every write-only field.
pub const SECRET_FIELDS: [&str; 3] = [TOKEN, USERNAME, PASSWORD];

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
            "query_param" => {
                let name = parameters.remove("param_name").ok_or_else(|| {
                    Failure::invalid(
                        "auth=query_param wants param_name, such as param_name=api_key",
                    )
                })?;
                Self::Query { name: usable_parameter(name)? }
            }
            "basic" => Self::Basic,
            "cookie" => {
                let name = parameters.remove("cookie_name").ok_or_else(|| {
                    Failure::invalid("auth=cookie wants cookie_name, such as cookie_name=session")
                })?;
                Self::Cookie { name: usable_cookie(name)? }
            }
            _ => {
                return Err(Failure::invalid(
                    "auth is one of: none, bearer, header, query_param, basic, cookie. Nothing was \
                     changed",
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
            Self::Query { .. } => "query_param",
            Self::Basic => "basic",
            Self::Cookie { .. } => "cookie",
        }
    }

    /// The kind's parameters, by field name.
    pub fn parameters(&self) -> BTreeMap<String, String> {
        match self {
            Self::None | Self::Bearer | Self::Basic => BTreeMap::new(),
            Self::Query { name } => BTreeMap::from([("param_name".to_owned(), name.clone())]),
            Self::Cookie { name } => BTreeMap::from([("cookie_name".to_owned(), name.clone())]),
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
            Self::None | Self::Query { .. } => None,
            Self::Bearer | Self::Basic => Some(header::AUTHORIZATION),
            Self::Header { name, .. } => Some(name.clone()),
            Self::Cookie { .. } => Some(header::COOKIE),
        }
    }

    /// The query parameter that the credential is written to; a caller's of that name never passes.
    pub fn parameter(&self) -> Option<&str> {
        match self {
            Self::Query { name } => Some(name),
            Self::None | Self::Bearer | Self::Header { .. } | Self::Basic | Self::Cookie { .. } => {
                None
            }
        }
    }

    /// Whether it needs a secret.
    pub fn wants_secret(&self) -> bool {
        !self.secret_fields().is_empty()
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

fn usable_parameter(name: String) -> Result<String, Failure> {
    let fine = !name.is_empty()
        && name.len() <= 64
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~[]".contains(&byte))
        && !super::canonical::is_method_override(&name);
    if fine {
        Ok(name)
    } else {
        Err(Failure::invalid(
            "param_name is a query parameter's name: letters, digits, - . _ ~ [ ]",
        ))
    }
}

/// A token (RFC 9110, section 5.6.2), as RFC 6265 wants cookie names.
fn usable_cookie(name: String) -> Result<String, Failure> {
    if HeaderName::try_from(name.as_str()).is_ok() {
        Ok(name)
    } else {
        Err(Failure::invalid("cookie_name is a cookie's name, such as session"))
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
            ("query_param", vec![("param_name", "api_key")]),
            ("basic", vec![]),
            ("cookie", vec![("cookie_name", "SID")]),
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
            ("query_param", vec![]),
            ("query_param", vec![("param_name", "a&b")]),
            ("query_param", vec![("param_name", "_method")]),
            ("basic", vec![("param_name", "x")]),
            ("cookie", vec![("cookie_name", "a;b")]),
        ] {
            assert!(parse(auth, &parameters).is_err(), "{auth} {parameters:?}");
        }
    }
}
