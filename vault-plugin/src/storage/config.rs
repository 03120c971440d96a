//! The mount-wide settings as stored. Absent means the built-in default.

use serde::{Deserialize, Serialize};

/// Settings of a mount.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ConfigEntry {
    /// Addresses outside the public internet that services may be allowed to reach.
    pub upstream_cidrs: Vec<String>,
    /// Addresses and host names never reached.
    pub denied_destinations: Vec<String>,
    /// An HTTP proxy through which every upstream connection goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub egress_proxy: Option<String>,
    /// Lets services name hosts without a dot.
    pub allow_single_label_names: bool,
    /// `danger_` fields that services may set.
    pub allow_danger: Vec<String>,
    /// Wants `cas` on every write of a service or credential.
    pub cas_required: bool,
    /// Refuses every call.
    pub paused: bool,
    /// Told to callers while paused.
    pub pause_reason: String,
    /// Versions kept of a credential.
    pub max_versions: Option<u64>,
    /// Ceiling of a service's timeout, in seconds.
    pub max_timeout: Option<u64>,
    /// Ceiling of a service's request bodies, in bytes.
    pub max_request_bytes: Option<u64>,
    /// Ceiling of a service's answers, in bytes.
    pub max_response_bytes: Option<u64>,
    /// Calls in flight on the mount.
    pub max_in_flight: Option<u64>,
}
