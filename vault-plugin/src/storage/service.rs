//! A service as stored.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A named service.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ServiceEntry {
    /// Random, made at creation: a service deleted and made again is another one.
    pub id: String,
    /// Counts writes up from 1, for check-and-set.
    pub version: u64,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// When it was last written.
    pub updated: u64,
    /// The version of its own credential that this definition goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<OwnCredential>,
    /// What the operator wrote.
    pub definition: Definition,
}

/// A version of a service's own credential. It stands here so that one put changes both.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnCredential {
    /// The version's number.
    pub version: u64,
    /// Where its material is.
    pub material_id: String,
}

/// The fields of a service as the operator wrote them; absent means the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Definition {
    /// `http` or `mcp`; absent means `http`. Fixed when the service is made.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub service_type: Option<String>,
    /// Of an MCP server, whether its tools wait for approval: `pin` or `allow`; absent means `pin`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trust: Option<String>,
    /// Where all its calls go.
    pub base_url: String,
    /// The auth kind.
    pub auth: Option<String>,
    /// The auth kind's parameters, by field name.
    pub auth_params: BTreeMap<String, String>,
    /// A shared credential's name.
    pub credential: Option<String>,
    /// One line for people and models.
    pub description: Option<String>,
    /// Notes for the model.
    pub usage: Option<String>,
    /// In order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<String>,
    /// Methods that change nothing here.
    pub safe_methods: Option<Vec<String>>,
    /// Sent with every request; not secret.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Request headers that callers may set, beside the built-in ones.
    pub allowed_request_headers: Vec<String>,
    /// Response headers that callers get, beside the built-in ones.
    pub allowed_response_headers: Vec<String>,
    /// Lets `%2F` stand in a segment.
    pub allow_encoded_slash: bool,
    /// Lets `;` stand in a segment.
    pub allow_path_params: bool,
    /// In seconds.
    pub timeout: Option<u64>,
    /// In bytes.
    pub max_request_bytes: Option<u64>,
    /// In bytes.
    pub max_response_bytes: Option<u64>,
    /// Calls at one time.
    pub max_in_flight: Option<u64>,
    /// PEM.
    pub ca_cert: Option<String>,
    /// The name that the certificate must have.
    pub tls_server_name: Option<String>,
    /// The one certificate accepted, by SHA-256, in hex.
    pub tls_pin_sha256: Option<String>,
    /// Dialled instead of resolving.
    pub address: Option<String>,
    /// Addresses outside the public internet that it may reach.
    pub upstream_cidrs: Vec<String>,
    /// Allows `http://`.
    pub danger_allow_plaintext: bool,
    /// Doesn't check the certificate.
    pub danger_insecure_tls: bool,
    /// Default `GET`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_method: Option<String>,
    /// What `check` asks for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe_path: Option<String>,
    /// Statuses that are fine; default 200 to 399.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub probe_status: Vec<u16>,
    /// Whether the upstream is told the request id; default yes.
    pub send_request_id: Option<bool>,
    /// The operator's own notes.
    pub custom_metadata: BTreeMap<String, String>,
    /// Default yes.
    pub enabled: Option<bool>,
}
