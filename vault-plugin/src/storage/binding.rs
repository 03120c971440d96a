//! A binding as stored: plain text parts, one form for all auth kinds.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What a credential version is bound to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BindingEntry {
    /// `https://host[:port]`.
    pub origin: String,
    /// The auth kind.
    pub auth: String,
    /// The auth kind's parameters, by field name.
    pub auth_params: BTreeMap<String, String>,
    /// SHA-256 of the certificates of `ca_cert`, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_sha256: Option<String>,
    /// The name that the certificate must have, when it isn't the host's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
    /// The one certificate accepted, by SHA-256, in hex.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls_pin_sha256: Option<String>,
    /// Whether the certificate isn't checked.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub insecure_tls: bool,
    /// Whether plaintext is allowed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub allow_plaintext: bool,
    /// The address dialled, where nothing else proves who answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}
