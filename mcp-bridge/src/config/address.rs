//! Reads Vault's address, or the addresses of one cluster's nodes, and the name in its certificate.

use reqwest::Url;
use serde::{Deserialize, Deserializer};

/// Reads `"URL"`, `"URL,URL"` or `["URL", "URL"]`.
pub(super) fn one_or_several<'de, D: Deserializer<'de>>(
    input: D,
) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "address must be a URL or a list of URLs")]
    enum Addresses {
        One(String),
        Several(Vec<String>),
    }
    Ok(Some(match Addresses::deserialize(input)? {
        Addresses::One(text) => text,
        Addresses::Several(texts) => texts.join(","),
    }))
}

/// Reads one or several addresses; none if any can't be used.
pub(crate) fn parse_all(text: &str) -> Option<Vec<Url>> {
    text.split(',').map(parse).collect()
}

/// Reads an `http` or `https` URL of a server; its path ends in `/`.
fn parse(text: &str) -> Option<Url> {
    let mut url = Url::parse(text.trim()).ok()?;
    let sound = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    if !sound {
        return None;
    }
    let path = format!("{}/", url.path().trim_end_matches('/'));
    url.set_path(&path);
    Some(url)
}

/// Whether a text is a host's name and no address: it stands in the URL, where an address would be
/// connected to.
pub(crate) fn is_server_name(text: &str) -> bool {
    text.split('.').all(|label| {
        !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    })
    // Every spelling of an IPv4 address ends in a number (WHATWG URL, section 3.5).
    && text.rsplit('.').next().is_some_and(|last| {
        last.bytes().any(|byte| byte.is_ascii_alphabetic())
            && !last.to_ascii_lowercase().starts_with("0x")
    })
}
