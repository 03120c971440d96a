//! Decides which header fields cross between caller and upstream, and which methods exist.

#[cfg(test)]
mod tests;

use http::header::CONNECTION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

/// Bounds the header fields of one call, and of a service's static ones.
pub const MAX_HEADERS: usize = 32;
/// Bounds a header field's name, in bytes.
pub const MAX_NAME_BYTES: usize = 128;
/// Bounds a header field's value, in bytes.
pub const MAX_VALUE_BYTES: usize = 8 * 1024;
/// Bounds names and values together, in bytes.
pub const MAX_TOTAL_BYTES: usize = 32 * 1024;

/// Request fields that every caller may set.
pub const DEFAULT_REQUEST_HEADERS: &[&str] = &[
    "accept",
    "accept-language",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-unmodified-since",
    "prefer",
    "traceparent",
    "user-agent",
];

/// Response fields that every caller gets: what describes the body, pages, caches, rate limits,
/// deprecations and request ids. Names that end in `*` stand for all that begin so.
pub const DEFAULT_RESPONSE_HEADERS: &[&str] = &[
    "accept-ranges",
    "age",
    "allow",
    "cache-control",
    "content-disposition",
    "content-language",
    "content-location",
    "content-range",
    "content-type",
    "date",
    "deprecation",
    "etag",
    "expires",
    "last-modified",
    "link",
    "location",
    "preference-applied",
    "ratelimit*",
    "retry-after",
    "sunset",
    "vary",
    "warning",
    "x-correlation-id",
    "x-next-page",
    "x-page",
    "x-per-page",
    "x-prev-page",
    "x-ratelimit-*",
    "x-request-id",
    "x-total",
    "x-total-count",
    "x-total-pages",
];

/// Request fields that neither caller nor operator sets, whatever is allowed: credentials belong
/// in a credential, framing and content coding to the HTTP client, the caller's address and the
/// real method and path to nobody. Nor is an answer asked for in pieces: a credential that it echoes
/// would be found in none of them.
const NEVER_REQUEST: &[&str] = &[
    "accept-encoding",
    "authorization",
    "cf-connecting-ip",
    "connection",
    "content-encoding",
    "content-length",
    "cookie",
    "cookie2",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "proxy-*",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "true-client-ip",
    "upgrade",
    "via",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-envoy-*",
    "x-forwarded",
    "x-forwarded-*",
    "x-host",
    "x-http-method",
    "x-http-method-override",
    "x-http-path-override",
    "x-method-override",
    "x-original-host",
    "x-original-method",
    "x-original-path",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
    "x-vault-*",
];

/// Response fields that no caller gets, whatever is allowed: sessions, challenges and tokens, and
/// framing that no longer fits the decoded body.
const NEVER_RESPONSE: &[&str] = &[
    "authentication-control",
    "authentication-info",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "keep-alive",
    "proxy-*",
    "set-cookie",
    "set-cookie2",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "www-authenticate",
    "x-auth-token",
    "x-subject-token",
    "x-vault-*",
];

/// Tells why header fields are refused; each text is fit for the caller and quotes no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// More than [`MAX_HEADERS`].
    #[error("there are more than {MAX_HEADERS} headers; send fewer")]
    TooMany,
    /// More than [`MAX_TOTAL_BYTES`].
    #[error("the headers are longer than {MAX_TOTAL_BYTES} bytes; put long data in the body")]
    TooLong,
    /// A value longer than [`MAX_VALUE_BYTES`].
    #[error("the header '{0}' is longer than {MAX_VALUE_BYTES} bytes; shorten it")]
    ValueTooLong(HeaderName),
    /// A name that is no token of RFC 9110, section 5.6.2, or longer than [`MAX_NAME_BYTES`].
    #[error("a header's name isn't one; use letters, digits and '-'")]
    Name,
    /// A value with line breaks, control or non-ASCII characters, or blanks at its ends.
    #[error(
        "the header '{0}' has a value with a line break, control or non-ASCII character, or \
             a blank at its end; write plain ASCII"
    )]
    Value(HeaderName),
    /// The same name twice, in any case.
    #[error("the header '{0}' is given twice; give it once")]
    Duplicate(HeaderName),
    /// A field that nobody may set.
    #[error(
        "the header '{0}' can't be set here; the engine or the HTTP client sets what is \
             needed, and credentials belong in the service's credential"
    )]
    Never(HeaderName),
    /// The field that carries the service's credential.
    #[error("the header '{0}' carries this service's credential; leave it out, the engine sets it")]
    Injected(HeaderName),
    /// A field outside the service's list.
    #[error(
        "the header '{0}' isn't allowed on this service; leave it out, or ask the operator to \
             add it to allowed_request_headers"
    )]
    NotAllowed(HeaderName),
    /// A response field that no caller gets.
    #[error("the response header '{0}' is never handed to callers; take it off the list")]
    NeverHandedOut(HeaderName),
}

/// Tells that a method isn't one of the seven.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the method isn't one of GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS in capitals")]
pub struct MethodError;

/// Parses a method: exactly `GET`, `HEAD`, `POST`, `PUT`, `PATCH`, `DELETE` or `OPTIONS`.
///
/// # Errors
/// [`MethodError`] for everything else, `TRACE` and `CONNECT` among it.
pub fn parse_method(text: &str) -> Result<Method, MethodError> {
    match text {
        "GET" => Ok(Method::GET),
        "HEAD" => Ok(Method::HEAD),
        "POST" => Ok(Method::POST),
        "PUT" => Ok(Method::PUT),
        "PATCH" => Ok(Method::PATCH),
        "DELETE" => Ok(Method::DELETE),
        "OPTIONS" => Ok(Method::OPTIONS),
        _ => Err(MethodError),
    }
}

/// Parses a caller's header fields.
///
/// Allowed are [`DEFAULT_REQUEST_HEADERS`] and `allowed_extra` (as from
/// [`parse_allowed_request`]); `injected` is the field that carries the credential, if one does.
///
/// # Errors
/// [`HeaderError`]: one field that may not pass refuses the call, none is dropped in silence.
pub fn parse_caller(
    pairs: impl IntoIterator<Item = (String, String)>,
    allowed_extra: &[String],
    injected: Option<&str>,
) -> Result<HeaderMap, HeaderError> {
    parse_pairs(pairs, injected, |name| {
        listed(DEFAULT_REQUEST_HEADERS, name)
            || allowed_extra.iter().any(|allowed| allowed == "*" || allowed == name)
    })
}

/// Parses an operator's static `headers`, which aren't secret and take no credential's place.
///
/// # Errors
/// [`HeaderError`], never [`HeaderError::NotAllowed`].
pub fn parse_static(
    pairs: impl IntoIterator<Item = (String, String)>,
    injected: Option<&str>,
) -> Result<HeaderMap, HeaderError> {
    parse_pairs(pairs, injected, |_| true)
}

/// Parses an operator's `allowed_request_headers`: names, or `*` for all but those never allowed.
///
/// Gives them in lower case, each once.
///
/// # Errors
/// [`HeaderError::Name`] and [`HeaderError::Never`].
pub fn parse_allowed_request(names: &[String]) -> Result<Vec<String>, HeaderError> {
    parse_names(names, NEVER_REQUEST, HeaderError::Never)
}

/// Parses an operator's `allowed_response_headers`, as [`parse_allowed_request`].
///
/// # Errors
/// [`HeaderError::Name`] and [`HeaderError::NeverHandedOut`].
pub fn parse_allowed_response(names: &[String]) -> Result<Vec<String>, HeaderError> {
    parse_names(names, NEVER_RESPONSE, HeaderError::NeverHandedOut)
}

/// Returns the response fields that a caller gets: [`DEFAULT_RESPONSE_HEADERS`] and
/// `allowed_extra` (as from [`parse_allowed_response`]), without sessions, challenges, framing and
/// whatever `Connection` names. The values still await redaction.
pub fn filter_response(headers: &HeaderMap, allowed_extra: &[String]) -> HeaderMap {
    // RFC 9110, section 7.6.1.
    let hop_by_hop: Vec<String> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|byte| *byte == b','))
        .map(|name| String::from_utf8_lossy(name.trim_ascii()).to_ascii_lowercase())
        .collect();
    let passes = |name: &str| {
        !listed(NEVER_RESPONSE, name)
            && !hop_by_hop.iter().any(|hop| hop == name)
            && (listed(DEFAULT_RESPONSE_HEADERS, name)
                || allowed_extra.iter().any(|allowed| allowed == "*" || allowed == name))
    };
    headers
        .iter()
        .filter(|(name, _)| passes(name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

/// Tells whether an upstream could take two field names for the same one: case is ignored, and `_`
/// counts as `-`, as CGI and its kin fold them (RFC 3875, section 4.1.18).
pub fn same_name(left: &str, right: &str) -> bool {
    folded(left) == folded(right)
}

fn parse_pairs(
    pairs: impl IntoIterator<Item = (String, String)>,
    injected: Option<&str>,
    is_allowed: impl Fn(&str) -> bool,
) -> Result<HeaderMap, HeaderError> {
    let mut headers = HeaderMap::new();
    let mut total_bytes = 0;
    for (name, value) in pairs {
        if headers.len() == MAX_HEADERS {
            return Err(HeaderError::TooMany);
        }
        let bytes = name.len() + value.len();
        let name = parse_name(&name)?;
        if injected.is_some_and(|injected| same_name(injected, name.as_str())) {
            return Err(HeaderError::Injected(name));
        }
        if listed(NEVER_REQUEST, name.as_str()) {
            return Err(HeaderError::Never(name));
        }
        if !is_allowed(name.as_str()) {
            return Err(HeaderError::NotAllowed(name));
        }
        if headers.contains_key(&name) {
            return Err(HeaderError::Duplicate(name));
        }
        if value.len() > MAX_VALUE_BYTES {
            return Err(HeaderError::ValueTooLong(name));
        }
        total_bytes += bytes;
        if total_bytes > MAX_TOTAL_BYTES {
            return Err(HeaderError::TooLong);
        }
        let value = parse_value(&value).ok_or_else(|| HeaderError::Value(name.clone()))?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn parse_name(name: &str) -> Result<HeaderName, HeaderError> {
    if name.len() > MAX_NAME_BYTES {
        return Err(HeaderError::Name);
    }
    HeaderName::from_bytes(name.as_bytes()).map_err(|_| HeaderError::Name)
}

/// Blanks at the ends are cut on HTTP/1.1 and an error on HTTP/2 (RFC 9113, section 8.2.1); bytes
/// above 0x7F, which the parser takes, mean something else to each server (RFC 9110, section 5.5).
fn parse_value(value: &str) -> Option<HeaderValue> {
    if value.trim_ascii() != value || !value.is_ascii() {
        return None;
    }
    HeaderValue::from_str(value).ok()
}

fn parse_names(
    names: &[String],
    never: &[&str],
    refuse: impl Fn(HeaderName) -> HeaderError,
) -> Result<Vec<String>, HeaderError> {
    let mut parsed: Vec<String> = Vec::new();
    for name in names {
        // `*` is a token, so it parses as a name like any other.
        let name = parse_name(name.trim())?;
        if listed(never, name.as_str()) {
            return Err(refuse(name));
        }
        if !parsed.iter().any(|known| known == name.as_str()) {
            parsed.push(name.as_str().to_owned());
        }
    }
    Ok(parsed)
}

/// Tells whether a list names the field, by itself or by a beginning that ends in `*`.
fn listed(list: &[&str], name: &str) -> bool {
    let name = folded(name);
    list.iter().any(|entry| match entry.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => *entry == name,
    })
}

fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}
