//! Reads an operator's `base_url` strictly: one spelling in, origin and path out, nothing repaired.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::proxy::canonical::{CanonicalError, PathSwitches, canonical_path};
use crate::proxy::origin::{Host, Origin, Scheme};

/// Bounds a base URL, in bytes.
pub const MAX_BASE_URL_BYTES: usize = 2048;

/// Tells why a base URL is refused and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BaseUrlError {
    /// Exceeds [`MAX_BASE_URL_BYTES`].
    #[error("base_url is longer than {MAX_BASE_URL_BYTES} bytes; shorten it")]
    TooLong,
    /// No `https://` or `http://` in front.
    #[error("base_url has no known scheme; write https://host/path")]
    Scheme,
    /// A character outside ASCII.
    #[error(
        "base_url holds a character outside ASCII; write a host in its punycode form \
             (xn--…) and percent-encode a path"
    )]
    NonAscii,
    /// A space or control character.
    #[error("base_url holds a space or control character; remove it")]
    Whitespace,
    /// A backslash.
    #[error("base_url holds a backslash; write '/'")]
    Backslash,
    /// A user name or password before the host.
    #[error(
        "base_url holds '@' before the host; a user name and password belong in the \
             credential (auth=basic)"
    )]
    Userinfo,
    /// A query.
    #[error(
        "base_url holds a query; callers give parameters with each call, a key belongs in \
             the credential"
    )]
    Query,
    /// A fragment.
    #[error("base_url holds a fragment ('#'), which is never sent; remove it")]
    Fragment,
    /// No host.
    #[error("base_url has no host; write https://host/path")]
    EmptyHost,
    /// A dot at the end of the host.
    #[error("base_url's host ends in a dot; write it without")]
    TrailingDot,
    /// A number, or an IPv4 address not written as four decimal numbers.
    #[error(
        "base_url's host is an unusual spelling of an IPv4 address; write four decimal \
             numbers without leading zeros, such as 192.0.2.1"
    )]
    ObscureAddress,
    /// Brackets around something else than an IPv6 address, or none around one.
    #[error("base_url's host is no IPv6 address in brackets; write it like [2001:db8::1]")]
    Ipv6,
    /// A zone identifier.
    #[error("base_url's IPv6 address has a zone ('%'); use an address that needs none")]
    Zone,
    /// Not a host name.
    #[error(
        "base_url's host is no host name: labels of letters, digits, '-' and '_', at most 63 \
             characters each and 253 in all, no '-' at either end of a label"
    )]
    HostName,
    /// Port 0, too large, empty or not a plain number.
    #[error("base_url's port is no number from 1 to 65535; leave ':port' out for the default")]
    Port,
    /// The path isn't canonical.
    #[error(transparent)]
    Path(CanonicalError),
}

/// Holds where a service sends to and the path that all its calls stay below.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    origin: Origin,
    path: String,
    slash: bool,
}

impl BaseUrl {
    /// Parses `https://host[:port][/path]`.
    ///
    /// Scheme and host are lower-cased, a default port and one trailing slash dropped, the path is
    /// made canonical. An address is accepted in its usual spelling; whether it may be dialled is
    /// decided where it is dialled, like the address that a name resolves to.
    ///
    /// # Errors
    /// One [`BaseUrlError`] per cause.
    pub fn parse(text: &str) -> Result<Self, BaseUrlError> {
        if text.len() > MAX_BASE_URL_BYTES {
            return Err(BaseUrlError::TooLong);
        }
        if !text.is_ascii() {
            return Err(BaseUrlError::NonAscii);
        }
        if text.bytes().any(|byte| byte <= b' ' || byte == 0x7F) {
            return Err(BaseUrlError::Whitespace);
        }
        if text.contains('\\') {
            return Err(BaseUrlError::Backslash);
        }
        let (scheme, rest) = split_scheme(text)?;
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(BaseUrlError::Userinfo);
        }
        if path.contains('#') {
            return Err(BaseUrlError::Fragment);
        }
        if path.contains('?') {
            return Err(BaseUrlError::Query);
        }
        let (host, port) = split_port(authority)?;
        let origin = Origin {
            scheme,
            host: parse_host(host)?,
            port: match port {
                Some(port) => parse_port(port)?,
                None => scheme.default_port(),
            },
        };
        Ok(Self { origin, slash: path.ends_with('/'), path: parse_path(path)? })
    }

    /// Returns scheme, host and port.
    pub fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Returns the canonical path, without a trailing slash: `""` or like `/api/v3`.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Tells whether a slash stood at its end: to calls below it that says nothing, but an endpoint
    /// with it is another one than without.
    pub fn ends_in_slash(&self) -> bool {
        self.slash
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)
    }
}

fn split_scheme(text: &str) -> Result<(Scheme, &str), BaseUrlError> {
    let (scheme, rest) = text.split_once("://").ok_or(BaseUrlError::Scheme)?;
    [Scheme::Https, Scheme::Http]
        .into_iter()
        .find(|known| scheme.eq_ignore_ascii_case(known.as_str()))
        .map(|known| (known, rest))
        .ok_or(BaseUrlError::Scheme)
}

/// Splits at the colon before a port; an IPv6 address keeps its own within the brackets.
fn split_port(authority: &str) -> Result<(&str, Option<&str>), BaseUrlError> {
    if authority.starts_with('[') {
        let end = authority.find(']').ok_or(BaseUrlError::Ipv6)? + 1;
        return match authority.split_at(end) {
            (host, "") => Ok((host, None)),
            (host, port) => {
                port.strip_prefix(':').map(|port| (host, Some(port))).ok_or(BaseUrlError::Ipv6)
            }
        };
    }
    match authority.split_once(':') {
        Some((_, port)) if port.contains(':') => Err(BaseUrlError::Ipv6),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((authority, None)),
    }
}

fn parse_port(port: &str) -> Result<u16, BaseUrlError> {
    // `u16::from_str` takes a plus sign; a leading zero covers port 0.
    if port.starts_with('0') || !port.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(BaseUrlError::Port);
    }
    port.parse().map_err(|_| BaseUrlError::Port)
}

fn parse_host(host: &str) -> Result<Host, BaseUrlError> {
    if host.is_empty() {
        return Err(BaseUrlError::EmptyHost);
    }
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']').ok_or(BaseUrlError::Ipv6)?;
        if inner.contains('%') {
            return Err(BaseUrlError::Zone);
        }
        let address = inner.parse::<Ipv6Addr>().map_err(|_| BaseUrlError::Ipv6)?;
        return Ok(Host::Address(IpAddr::V6(address)));
    }
    if host.ends_with('.') {
        return Err(BaseUrlError::TrailingDot);
    }
    if ends_in_a_number(host) {
        // The standard library's parser takes four decimal numbers without leading zeros only.
        let address = host.parse::<Ipv4Addr>().map_err(|_| BaseUrlError::ObscureAddress)?;
        return Ok(Host::Address(IpAddr::V4(address)));
    }
    if host.len() > 253 || !host.split('.').all(is_label) {
        return Err(BaseUrlError::HostName);
    }
    Ok(Host::Name(host.to_ascii_lowercase()))
}

/// Tells whether some parser would read the host as IPv4 (WHATWG URL, "ends in a number"): no top
/// level domain is a number, so nothing real is lost.
fn ends_in_a_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    match last.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// RFC 1123, section 2.1, and the underscore that internal names use.
fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

fn parse_path(path: &str) -> Result<String, BaseUrlError> {
    if path.is_empty() {
        return Ok(String::new());
    }
    let mut path = canonical_path(path, PathSwitches::default()).map_err(BaseUrlError::Path)?;
    if path.ends_with('/') {
        path.pop();
    }
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_prints_the_one_spelling() {
        for (given, printed, authority, path) in [
            ("https://api.github.com", "https://api.github.com", "api.github.com", ""),
            ("https://api.github.com/", "https://api.github.com", "api.github.com", ""),
            ("HTTPS://API.GitHub.com:443/a/", "https://api.github.com/a", "api.github.com", "/a"),
            ("http://h:80/api/v3", "http://h/api/v3", "h", "/api/v3"),
            ("http://h:8989/api/v3", "http://h:8989/api/v3", "h:8989", "/api/v3"),
            ("https://h:80/%41%2d", "https://h:80/A-", "h:80", "/A-"),
            ("https://a_b.test/@x", "https://a_b.test/@x", "a_b.test", "/@x"),
            (
                "https://xn--bcher-kva.example",
                "https://xn--bcher-kva.example",
                "xn--bcher-kva.example",
                "",
            ),
            ("https://192.0.2.1:8443", "https://192.0.2.1:8443", "192.0.2.1:8443", ""),
            (
                "https://[2001:DB8::0:1]:8443/x",
                "https://[2001:db8::1]:8443/x",
                "[2001:db8::1]:8443",
                "/x",
            ),
            ("https://[::ffff:127.0.0.1]", "https://[::ffff:127.0.0.1]", "[::ffff:127.0.0.1]", ""),
            ("https://foo.localhost", "https://foo.localhost", "foo.localhost", ""),
        ] {
            let base = BaseUrl::parse(given).unwrap_or_else(|error| panic!("{given}: {error}"));
            assert_eq!(base.to_string(), printed, "{given}");
            assert_eq!(base.origin().authority(), authority, "{given}");
            assert_eq!(base.path(), path, "{given}");
            assert_eq!(base.ends_in_slash(), given.ends_with('/'), "{given}");
            let again = BaseUrl::parse(printed).unwrap_or_else(|error| panic!("{given}: {error}"));
            assert_eq!(again, BaseUrl { slash: false, ..base }, "{given}: not stable");
        }
    }

    #[test]
    fn an_address_is_an_address() {
        let host = |text| BaseUrl::parse(text).map(|base| base.origin().host.clone());
        assert_eq!(host("https://127.0.0.1"), Ok(Host::Address([127, 0, 0, 1].into())));
        assert_eq!(host("https://[::1]"), Ok(Host::Address(Ipv6Addr::LOCALHOST.into())));
        assert_eq!(host("https://[::]"), Ok(Host::Address(Ipv6Addr::UNSPECIFIED.into())));
        assert_eq!(host("https://a.b"), Ok(Host::Name("a.b".to_owned())));
    }

    #[test]
    fn refuses_each_other_spelling_by_its_cause() {
        use BaseUrlError as E;
        let long = format!("https://h/{}", "a".repeat(MAX_BASE_URL_BYTES));
        let long_label = format!("https://{}.test", "a".repeat(64));
        let long_name = format!("https://{}test", "abcdefgh.".repeat(30));
        for (given, cause) in [
            ("http://127.1", E::ObscureAddress),
            ("http://2130706433", E::ObscureAddress),
            ("http://0x7f.1", E::ObscureAddress),
            ("http://0x7F000001", E::ObscureAddress),
            ("http://0x", E::ObscureAddress),
            ("http://0177.0.0.1", E::ObscureAddress),
            ("http://127.0.0.01", E::ObscureAddress),
            ("http://0", E::ObscureAddress),
            ("http://1.2.3.4.5", E::ObscureAddress),
            ("http://256.1.1.1", E::ObscureAddress),
            ("http://a.1", E::ObscureAddress),
            ("http://localhost.", E::TrailingDot),
            ("http://metadata.google.internal.", E::TrailingDot),
            ("http://127.0.0.1.", E::TrailingDot),
            ("http://.", E::TrailingDot),
            ("http://[fe80::1%25eth0]", E::Zone),
            ("http://[fe80::1%eth0]/", E::Zone),
            ("http://[::1", E::Ipv6),
            ("http://[]", E::Ipv6),
            ("http://[::1]x", E::Ipv6),
            ("http://[127.0.0.1]", E::Ipv6),
            ("http://[v1.x]", E::Ipv6),
            ("http://::1", E::Ipv6),
            ("http://2001:db8::1/", E::Ipv6),
            ("http://user:pass@h", E::Userinfo),
            ("http://@h", E::Userinfo),
            ("http://good.com\\@evil.com", E::Backslash),
            ("https:\\\\h", E::Backslash),
            ("ftp://h", E::Scheme),
            ("file:///etc/passwd", E::Scheme),
            ("h", E::Scheme),
            ("", E::Scheme),
            ("//h/a", E::Scheme),
            ("https:h", E::Scheme),
            (" https://h", E::Whitespace),
            ("https://h\n", E::Whitespace),
            ("https://h\u{7f}", E::Whitespace),
            ("https://b\u{fc}cher.example", E::NonAscii),
            ("https://h/\u{e9}", E::NonAscii),
            ("https://\u{ff11}27.0.0.1", E::NonAscii),
            ("https://", E::EmptyHost),
            ("https:///a", E::EmptyHost),
            ("https://:443", E::EmptyHost),
            ("https://h:0", E::Port),
            ("https://h:", E::Port),
            ("https://h:+80", E::Port),
            ("https://h:080", E::Port),
            ("https://h:65536", E::Port),
            ("https://h:8a", E::Port),
            ("https://h/?x=1", E::Query),
            ("https://h?x=1", E::Query),
            ("https://h/#f", E::Fragment),
            ("https://h#@evil", E::Fragment),
            ("https://h..x", E::HostName),
            ("https://.h", E::HostName),
            ("https://-h", E::HostName),
            ("https://h-.x", E::HostName),
            ("https://h%2ex", E::HostName),
            ("https://h*x", E::HostName),
            (&long_label, E::HostName),
            (&long_name, E::HostName),
            (&long, E::TooLong),
            ("https://h/a/../b", E::Path(CanonicalError::DotSegment)),
            ("https://h/a/%2e%2E/b", E::Path(CanonicalError::DotSegment)),
            ("https://h//a", E::Path(CanonicalError::EmptySegment)),
            ("https://h//", E::Path(CanonicalError::EmptySegment)),
            ("https://h/a%2Fb", E::Path(CanonicalError::EncodedSlash)),
            ("https://h/{x}", E::Path(CanonicalError::Forbidden('{'))),
        ] {
            assert_eq!(BaseUrl::parse(given), Err(cause), "{given}");
        }
    }
}
