//! A service as a call needs it: parsed, checked, without secret values.

use std::time::Duration;

use http::{HeaderMap, Method};

use super::base_url::BaseUrl;
use super::binding::{Binding, Trust};
use super::canonical::PathSwitches;
use super::placement::Placement;
use super::rules::{NameRules, Rules};
use crate::name::Name;

/// One definition, good for one snapshot.
#[derive(Debug)]
pub struct Service {
    /// Its name, for texts and logs.
    pub name: Name,
    /// What it speaks.
    pub kind: Kind,
    /// Where all its calls go, and below which path.
    pub base: BaseUrl,
    /// Where its credential goes.
    pub placement: Placement,
    /// What its TLS trusts, as far as a credential is bound to it.
    pub trust: Trust,
    /// Leave for ambiguous paths.
    pub switches: PathSwitches,
    /// Sent with every request, before the caller's of the same name.
    pub headers: HeaderMap,
    /// Request headers that callers may set, beside the built-in ones.
    pub allowed_request_headers: Vec<String>,
    /// Response headers that callers get, beside the built-in ones.
    pub allowed_response_headers: Vec<String>,
    /// What may be asked for over HTTP; an MCP server's are in its kind.
    pub rules: Rules,
    /// For the whole call.
    pub timeout: Duration,
    /// The largest request body, in bytes.
    pub max_request_bytes: usize,
    /// The largest answer, in bytes.
    pub max_response_bytes: usize,
    /// Calls at one time.
    pub max_in_flight: usize,
    /// How it is checked.
    pub probe: Option<Probe>,
    /// Whether the upstream is told the request id.
    pub send_request_id: bool,
}

/// What a service speaks.
#[derive(Debug)]
pub enum Kind {
    /// Plain HTTP: callers give method and path.
    Http,
    /// MCP over Streamable HTTP: callers name a tool.
    Mcp(McpService),
}

/// What an MCP server has beside what every service has.
#[derive(Debug)]
pub struct McpService {
    /// Whether its tools wait for approval.
    pub trust: ToolTrust,
    /// Which tools, resources and prompts may be asked for.
    pub rules: NameRules,
}

/// Which of an MCP server's tools agents may see and call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ToolTrust {
    /// Those that an operator approved, as long as they are as approved.
    Pin,
    /// All that the server has, whatever they say.
    Allow,
}

/// A request that tells whether a service works.
#[derive(Clone, Debug)]
pub struct Probe {
    /// `GET` or `HEAD`.
    pub method: Method,
    /// Below the base URL.
    pub path: String,
    /// The statuses that are fine; when empty, 200 to 399.
    pub statuses: Vec<u16>,
}

impl Probe {
    /// Whether an answer of this status is fine.
    pub fn expects(&self, status: u16) -> bool {
        if self.statuses.is_empty() {
            (200..400).contains(&status)
        } else {
            self.statuses.contains(&status)
        }
    }
}

impl Service {
    /// What a credential must be bound to for this service to use it.
    pub fn binding(&self) -> Binding {
        Binding {
            origin: self.base.origin().clone(),
            placement: self.placement.clone(),
            trust: self.trust.clone(),
        }
    }
}
