//! The mount-wide settings, from what is stored to what is enforced.

use std::net::IpAddr;
use std::time::Duration;

use crate::bounds;
use crate::error::Failure;
use crate::proxy::address::Cidrs;
use crate::proxy::base_url::BaseUrl;
use crate::proxy::egress::EgressProxy;
use crate::storage::ConfigEntry;

/// The fields that weaken a service, each only if `config.allow_danger` lists it.
pub const DANGER_FIELDS: [&str; 2] = ["danger_allow_plaintext", "danger_insecure_tls"];

/// The mount-wide bounds, parsed.
#[derive(Clone, Debug)]
pub struct Ceilings {
    /// What services may open.
    pub upstream_cidrs: Cidrs,
    /// Networks never reached.
    pub denied: Cidrs,
    /// Host names never reached, lower-case.
    pub denied_names: Vec<String>,
    /// An HTTP proxy through which every upstream connection goes.
    pub egress_proxy: Option<EgressProxy>,
    /// Whether services may name hosts without a dot.
    pub single_label_names: bool,
    /// Versions kept of a credential.
    pub max_versions: usize,
    /// Ceiling of timeouts.
    pub max_timeout: Duration,
    /// Ceiling of request bodies, in bytes.
    pub max_request_bytes: u64,
    /// Ceiling of answers, in bytes.
    pub max_response_bytes: u64,
    /// Calls at one time on the mount.
    pub max_in_flight: u64,
}

impl Ceilings {
    /// Parses stored settings.
    ///
    /// # Errors
    /// `invalid_request` for the first field that doesn't fit.
    pub fn parse(entry: &ConfigEntry) -> Result<Self, Failure> {
        let upstream_cidrs = Cidrs::opening(&entry.upstream_cidrs)
            .map_err(|error| Failure::invalid(format!("upstream_cidrs: {error}")))?;
        let (names, networks): (Vec<_>, Vec<_>) = entry
            .denied_destinations
            .iter()
            .partition(|item| !item.contains(['/', ':']) && item.parse::<IpAddr>().is_err());
        let denied = Cidrs::denying(networks)
            .map_err(|error| Failure::invalid(format!("denied_destinations: {error}")))?;
        if let Some(unknown) =
            entry.allow_danger.iter().find(|name| !DANGER_FIELDS.contains(&name.as_str()))
        {
            return Err(Failure::invalid(format!(
                "allow_danger: {unknown:?} is no danger_ field of services. Known: {}",
                DANGER_FIELDS.join(", ")
            )));
        }
        let max_timeout = ceiling("max_timeout", entry.max_timeout, bounds::MAX_TIMEOUT)?;
        let max_versions = entry.max_versions.unwrap_or(bounds::VERSIONS);
        between("max_versions", max_versions, bounds::LEAST_VERSIONS, bounds::VERSIONS)?;
        Ok(Self {
            max_versions: usize::try_from(max_versions).unwrap_or(usize::MAX),
            upstream_cidrs,
            denied,
            egress_proxy: entry
                .egress_proxy
                .as_deref()
                .map(str::parse)
                .transpose()
                .map_err(|error| Failure::invalid(format!("egress_proxy: {error}")))?,
            single_label_names: entry.allow_single_label_names,
            denied_names: names
                .into_iter()
                .map(|name| denied_name(name))
                .collect::<Result<_, _>>()?,
            max_timeout: Duration::from_secs(max_timeout),
            max_request_bytes: ceiling(
                "max_request_bytes",
                entry.max_request_bytes,
                bounds::MAX_REQUEST,
            )?,
            max_response_bytes: ceiling(
                "max_response_bytes",
                entry.max_response_bytes,
                bounds::MAX_RESPONSE,
            )?,
            max_in_flight: ceiling("max_in_flight", entry.max_in_flight, bounds::MAX_IN_FLIGHT)?,
        })
    }
}

/// Settings with every default written out, as they are read.
pub(super) fn in_force(entry: &ConfigEntry) -> ConfigEntry {
    ConfigEntry {
        max_versions: Some(entry.max_versions.unwrap_or(bounds::VERSIONS)),
        max_timeout: Some(entry.max_timeout.unwrap_or(bounds::MAX_TIMEOUT)),
        max_request_bytes: Some(entry.max_request_bytes.unwrap_or(bounds::MAX_REQUEST)),
        max_response_bytes: Some(entry.max_response_bytes.unwrap_or(bounds::MAX_RESPONSE)),
        max_in_flight: Some(entry.max_in_flight.unwrap_or(bounds::MAX_IN_FLIGHT)),
        ..entry.clone()
    }
}

fn denied_name(name: &str) -> Result<String, Failure> {
    match BaseUrl::parse(&format!("https://{name}")) {
        Ok(url) if url.path().is_empty() => Ok(url.origin().host.to_string()),
        Ok(_) | Err(_) => Err(Failure::invalid(
            "denied_destinations: every item is a network, an address or a host name",
        )),
    }
}

fn ceiling(field: &str, value: Option<u64>, most: u64) -> Result<u64, Failure> {
    within(field, value.unwrap_or(most), most)
}

/// Bounds a number of the operator's.
///
/// # Errors
/// `invalid_request` when it isn't from 1 to `most`.
pub(super) fn within(field: &str, value: u64, most: u64) -> Result<u64, Failure> {
    between(field, value, 1, most)
}

fn between(field: &str, value: u64, least: u64, most: u64) -> Result<u64, Failure> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(Failure::invalid(format!(
            "{field} must be from {least} to {most}. Nothing was changed"
        )))
    }
}
