//! Models the services that an agent may call, as the engine describes them.

mod capabilities;
mod offers;
mod saved;
mod store;

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Mount;
use crate::upstream::{Listed, Offer};

pub(crate) use store::{Snapshot, Store, unsent};

/// A service's name: safe within a Vault path and within a tool's name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct ServiceName(String);

impl ServiceName {
    /// Reads `[a-z][a-z0-9]*([_-][a-z0-9]+)*`, at most 32 characters.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(['_', '-']);
        let sound = |part: &str| {
            !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        };
        let valid = text.len() <= 32
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && parts.all(sound);
        valid.then(|| Self(text.to_owned()))
    }

    /// The name as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ServiceName {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text).ok_or("not a service's name")
    }
}

impl From<ServiceName> for String {
    fn from(name: ServiceName) -> Self {
        name.0
    }
}

/// The HTTP methods that the engine knows. Vault's path ends in one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Method {
    /// Reads.
    Get,
    /// Reads the headers alone.
    Head,
    /// Creates or does.
    Post,
    /// Replaces.
    Put,
    /// Changes in part.
    Patch,
    /// Deletes.
    Delete,
    /// Asks what can be done.
    Options,
}

impl Method {
    /// All methods, in the order in which they are shown.
    pub(crate) const ALL: [Self; 7] =
        [Self::Get, Self::Head, Self::Post, Self::Put, Self::Patch, Self::Delete, Self::Options];

    /// Reads a method's name in any case.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        Self::ALL.into_iter().find(|method| method.as_str().eq_ignore_ascii_case(text))
    }

    /// The name as it stands on the wire.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }

    /// Whether HTTP says that the method changes nothing (RFC 9110, section 9.2.1).
    pub(crate) fn is_safe(self) -> bool {
        match self {
            Self::Get | Self::Head | Self::Options => true,
            Self::Post | Self::Put | Self::Patch | Self::Delete => false,
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a service is used by. Vault's policies tell one from another by its path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Use {
    /// A request of an HTTP service.
    Method(Method),
    /// A tool of an MCP server, by its segment.
    Tool(String),
    /// A prompt of an MCP server, by its segment.
    Prompt(String),
    /// The resources of an MCP server.
    Resources,
}

impl Use {
    /// The engine's path for it.
    pub(crate) fn path(&self, mount: &Mount, service: &ServiceName) -> String {
        match self {
            Self::Method(method) => format!("{mount}/proxy/{service}/{method}"),
            Self::Tool(segment) => format!("{mount}/call/{service}/{segment}"),
            Self::Prompt(segment) => format!("{mount}/prompts/{service}/{segment}"),
            Self::Resources => format!("{mount}/resources/{service}"),
        }
    }

    /// Whether it only reads.
    pub(crate) fn is_safe(&self) -> bool {
        match self {
            Self::Method(method) => method.is_safe(),
            // What a server says of its tools is no promise.
            Self::Tool(_) => false,
            Self::Prompt(_) | Self::Resources => true,
        }
    }
}

/// What a service is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// An HTTP API.
    #[default]
    Http,
    /// An MCP server.
    Mcp,
    /// Something that is newer than this bridge.
    #[serde(other)]
    Unknown,
}

/// All services that the engine or the configuration names, and what this token may do with each.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Catalog {
    /// Changes with every change of a definition.
    #[serde(default)]
    pub(crate) revision: String,
    /// The services, by name.
    #[serde(default)]
    pub(crate) services: Vec<Service>,
}

/// One service in the catalog.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Service {
    /// The name to call it by.
    pub(crate) name: ServiceName,
    /// What it is.
    #[serde(default, rename = "type")]
    pub(crate) kind: Kind,
    /// One line on what it is.
    #[serde(default)]
    pub(crate) description: String,
    /// What paths are appended to; empty where unknown.
    #[serde(default)]
    pub(crate) base_url: String,
    /// The methods that its rules leave, if they leave not all.
    #[serde(default)]
    pub(crate) methods: Option<Vec<String>>,
    /// Its rules in words; none means that every path is allowed.
    #[serde(default)]
    pub(crate) rules: Vec<String>,
    /// Whether it is switched on.
    #[serde(default = "yes")]
    pub(crate) enabled: bool,
    /// Whether calls succeed.
    #[serde(default)]
    pub(crate) health: Health,
    /// The methods that Vault's policy gives this token. The engine doesn't know it.
    #[serde(default)]
    pub(crate) permitted: Vec<Method>,
    /// How many tools of an MCP server wait for an operator's approval.
    #[serde(default)]
    pub(crate) waiting: u64,
    /// What this token may use of an MCP server; none where that may not be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offer: Option<Arc<Offer>>,
}

impl Service {
    /// Whether this token may call anything of it.
    pub(crate) fn is_permitted(&self) -> bool {
        match self.kind {
            Kind::Http => !self.permitted.is_empty(),
            Kind::Mcp => self.offer.as_ref().is_some_and(|offer| !offer.is_empty()),
            Kind::Unknown => false,
        }
    }

    /// What this token may do with it, in a few words.
    pub(crate) fn uses(&self) -> String {
        let tools = self.offer.as_ref().map_or(0, |offer| offer.tools.len());
        match self.kind {
            Kind::Http => {
                let methods = self.permitted.iter().map(|method| method.as_str());
                methods.collect::<Vec<_>>().join(", ")
            }
            Kind::Mcp if tools == 1 => "1 tool".to_owned(),
            Kind::Mcp => format!("{tools} tools"),
            Kind::Unknown => String::new(),
        }
    }
}

/// Whether calls to a service succeed.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Health {
    /// What is known.
    #[serde(default)]
    pub(crate) state: HealthState,
    /// The code of the last failure.
    #[serde(default)]
    pub(crate) code: Option<String>,
    /// Since when it fails, in RFC 3339.
    #[serde(default)]
    pub(crate) since: Option<String>,
}

/// What is known of a service's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum HealthState {
    /// The last call succeeded.
    Ok,
    /// The last call failed.
    Failing,
    /// Nothing is known, or something newer than this bridge is.
    #[default]
    #[serde(other)]
    Unknown,
}

/// What the engine tells of one service beyond the catalog's entry.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Details {
    /// The catalog's entry.
    #[serde(flatten)]
    pub(crate) service: Service,
    /// Notes and example paths for the model.
    #[serde(default)]
    pub(crate) usage: Option<String>,
    /// The methods that change nothing here.
    #[serde(default)]
    pub(crate) safe_methods: Vec<String>,
    /// What a call may cost.
    #[serde(default)]
    pub(crate) limits: Limits,
    /// What an MCP server offers.
    #[serde(flatten)]
    pub(crate) listed: Listed,
}

/// What a call to a service may cost.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Limits {
    /// The longest that a call takes, in seconds.
    pub(crate) timeout_seconds: Option<u64>,
    /// The largest request body, in bytes.
    pub(crate) max_request_bytes: Option<u64>,
    /// The largest response body, in bytes.
    pub(crate) max_response_bytes: Option<u64>,
}

impl Catalog {
    /// The services that this token may call, in order.
    pub(crate) fn callable(&self) -> impl Iterator<Item = &Service> {
        self.services.iter().filter(|service| service.enabled && service.is_permitted())
    }

    /// The services that are worth showing: callable, switched off for now, or waiting for an
    /// operator. Whoever may read what a server offers may know that it waits.
    pub(crate) fn visible(&self) -> impl Iterator<Item = &Service> {
        let waits = |service: &Service| service.offer.is_some() && service.waiting > 0;
        self.services.iter().filter(move |service| service.is_permitted() || waits(service))
    }

    /// What this token may use of MCP servers, by service.
    pub(crate) fn offers(&self) -> impl Iterator<Item = (&ServiceName, &Offer)> {
        let enabled = self.services.iter().filter(|s| s.enabled && s.kind == Kind::Mcp);
        enabled.filter_map(|service| Some((&service.name, &**service.offer.as_ref()?)))
    }

    /// The names of the callable services.
    pub(crate) fn callable_names(&self) -> Vec<String> {
        self.callable().map(|service| service.name.to_string()).collect()
    }

    /// The entry of a name.
    pub(crate) fn find(&self, name: &str) -> Option<&Service> {
        self.services.iter().find(|service| service.name.as_str() == name)
    }

    /// A catalog of names alone, where the engine's may not be read.
    fn of_names(names: &[ServiceName]) -> Self {
        let service = |name: &ServiceName| Service {
            name: name.clone(),
            kind: Kind::Http,
            description: String::new(),
            base_url: String::new(),
            methods: None,
            rules: Vec::new(),
            enabled: true,
            health: Health::default(),
            permitted: Vec::new(),
            waiting: 0,
            offer: None,
        };
        Self { revision: String::new(), services: names.iter().map(service).collect() }
    }
}

fn yes() -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_are_safe_in_a_path_are_names() {
        for good in ["github", "home_assistant", "a", "s3-eu-1", &"a".repeat(32)] {
            assert!(ServiceName::parse(good).is_some(), "{good}");
        }
        for bad in
            ["", "GitHub", "a__b", "a.b", "../x", "a/b", "1a", "-a", "a-", "a b", &"a".repeat(33)]
        {
            assert!(ServiceName::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn an_entry_of_a_newer_engine_is_still_read() {
        let catalog: Catalog = serde_json::from_str(
            r#"{"revision":"7","services":[{"name":"a","health":{"state":"tired"},"new":1}]}"#,
        )
        .unwrap();
        assert_eq!(catalog.services[0].health.state, HealthState::Unknown);
        assert_eq!(catalog.services[0].kind, Kind::Http);
        assert!(catalog.services[0].enabled);
        assert_eq!(catalog.callable().count(), 0);
    }
}
