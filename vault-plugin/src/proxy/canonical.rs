//! Turns a caller's path and query into the one request target that policy, signature, wire and
//! log all see.

mod path;
mod query;
#[cfg(test)]
mod tests;

use http::uri::PathAndQuery;

use crate::proxy::base_url::BaseUrl;

pub(crate) use path::canonical_path;
pub use query::{encode_component, is_method_override, same_parameter};

/// Bounds a request target (base path, path and query together), in bytes.
///
/// RFC 9110, section 4.1 asks recipients for at least 8,000 octets; common servers stop there.
pub const MAX_TARGET_BYTES: usize = 8 * 1024;

/// Holds the service's leave for characters that upstreams read in more than one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathSwitches {
    /// Lets `%2F` stand, encoded, inside a segment.
    pub allow_encoded_slash: bool,
    /// Lets `;` and `%3B` stand inside a segment.
    pub allow_path_params: bool,
}

/// Tells why a path or query has no single meaning; each text is fit for the caller and quotes
/// nothing of what was sent but one printable character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CanonicalError {
    /// Path, or path and query, exceed [`MAX_TARGET_BYTES`].
    #[error("path and query are longer than {MAX_TARGET_BYTES} bytes; put long data in the body")]
    TooLong,
    /// A URL stands where a path belongs.
    #[error(
        "a full URL stands where the path belongs; the service fixes scheme and host, write \
             only the path below its base_url, such as /items"
    )]
    FullUrl,
    /// The path is neither empty nor begins with a slash.
    #[error("the path doesn't start with '/'; write it relative to base_url, such as /items")]
    NotRooted,
    /// A backslash, plain or encoded.
    #[error("the path holds a backslash, plain or as %5C; write '/' between segments")]
    Backslash,
    /// A question mark in the path.
    #[error("the path holds '?'; give parameters in 'query', or write %3F for the character")]
    QuestionMark,
    /// A number sign in the path.
    #[error("the path holds '#'; a fragment is never sent, write %23 for the character")]
    Fragment,
    /// A semicolon, plain or encoded, without leave.
    #[error(
        "the path holds ';', plain or as %3B; upstreams differ in what it means, so it needs \
             allow_path_params on the service"
    )]
    PathParameter,
    /// An encoded slash without leave.
    #[error(
        "the path holds %2F; upstreams differ in what it means, so it needs \
             allow_encoded_slash on the service"
    )]
    EncodedSlash,
    /// A control character, plain or encoded.
    #[error("the path holds a control character, plain or encoded; remove it")]
    Control,
    /// A plain space.
    #[error("the path holds a space; write %20")]
    Space,
    /// A byte above 0x7F.
    #[error("the path holds a character outside ASCII; percent-encode its UTF-8 bytes")]
    NonAscii,
    /// A character that RFC 3986 allows in no path.
    #[error("the path holds '{0}', which no URL path may; percent-encode it")]
    Forbidden(char),
    /// A percent sign without two hexadecimal digits.
    #[error("the path holds '%' without two hexadecimal digits; write %25 for the character")]
    BarePercent,
    /// An encoded percent sign followed by two hexadecimal digits.
    #[error("the path is percent-encoded twice (%25 and two hexadecimal digits); encode it once")]
    DoubleEncoding,
    /// Percent-encoded bytes that are no UTF-8, overlong forms among them.
    #[error("the percent-encoded bytes of the path are not UTF-8; encode the UTF-8 form")]
    NotUtf8,
    /// A segment `.` or `..`, however encoded.
    #[error("the path holds a '.' or '..' segment, plain or encoded; write the path it leads to")]
    DotSegment,
    /// Two slashes in a row, plain or encoded.
    #[error("the path holds an empty segment ('//'); write a single '/'")]
    EmptySegment,
    /// A query parameter without a name.
    #[error("a query parameter has no name; name it or leave it out")]
    UnnamedParameter,
    /// A query parameter that some frameworks take for the method.
    #[error(
        "a query parameter would replace the request's method (_method and the like); call \
             the method itself instead"
    )]
    MethodOverride,
    /// The `http` crate reads the target otherwise than we wrote it.
    #[error("path and query have no exact form on the wire; simplify them")]
    Unrepresentable,
}

/// Holds one canonical request target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CanonicalTarget {
    target: PathAndQuery,
    relative: String,
    query: Vec<(String, String)>,
}

impl CanonicalTarget {
    /// Returns the path below the base path, for policy: starts with `/`, has no query.
    pub fn relative(&self) -> &str {
        &self.relative
    }

    /// Returns exactly the bytes for the wire: base path, path and `?query`.
    pub fn target(&self) -> &str {
        self.target.as_str()
    }

    /// Returns [`target`](Self::target) as the HTTP client takes it.
    pub fn path_and_query(&self) -> &PathAndQuery {
        &self.target
    }

    /// Returns the query's names and values in the caller's order, not encoded.
    pub fn query(&self) -> &[(String, String)] {
        &self.query
    }

    /// Returns the query's names in the caller's order, not encoded.
    pub fn query_names(&self) -> impl Iterator<Item = &str> {
        self.query.iter().map(|(name, _)| name.as_str())
    }

    /// Tells whether a parameter could reach the upstream as `name`, see [`same_parameter`].
    pub fn names_parameter(&self, name: &str) -> bool {
        self.query_names().any(|given| same_parameter(given, name))
    }
}

/// Makes the canonical target of `path` and `query` below `base`.
///
/// The path arrives percent-encoded (RFC 3986, section 3.3). Unreserved characters are decoded and
/// hexadecimal digits written in upper case (section 6.2.2); reserved characters stay as given,
/// since `:` and `%3A` may mean two things. Nothing is decoded twice, and what a second decoder
/// would read otherwise (`%252e`) is refused. A trailing slash is kept.
///
/// An empty path means the base URL as it is (`/graphql`), `/` means the base URL with a slash
/// (`/graphql/`); for policy both are `/`.
///
/// The query arrives as plain text; everything but unreserved characters is encoded, a space as
/// `%20`, and each parameter is written `name=value`, in the caller's order.
///
/// # Errors
/// One [`CanonicalError`] per cause; nothing is repaired.
pub fn canonicalise(
    base: &BaseUrl,
    path: &str,
    query: &[(String, String)],
    switches: PathSwitches,
) -> Result<CanonicalTarget, CanonicalError> {
    let below = if path.is_empty() { String::new() } else { canonical_path(path, switches)? };
    let mut target = format!("{}{below}", base.path());
    if target.is_empty() {
        // An origin without a path is asked for as `/` (RFC 9112, section 3.2.1).
        target.push('/');
    }
    query::append(&mut target, query)?;
    if target.len() > MAX_TARGET_BYTES {
        return Err(CanonicalError::TooLong);
    }
    let parsed =
        PathAndQuery::try_from(target.as_str()).map_err(|_| CanonicalError::Unrepresentable)?;
    // The parser cuts some inputs silently (a fragment); ours can't be cut, and this proves it.
    if parsed.as_str() != target {
        return Err(CanonicalError::Unrepresentable);
    }
    let relative = if below.is_empty() { "/".to_owned() } else { below };
    Ok(CanonicalTarget { target: parsed, relative, query: query.to_vec() })
}
