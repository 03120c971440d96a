//! Bindings, to and from their stored form.

use crate::error::Failure;
use crate::proxy::base_url::BaseUrl;
use crate::proxy::binding::{Binding, Trust};
use crate::proxy::placement::Placement;
use crate::storage::BindingEntry;

/// A binding as it is stored.
pub(super) fn to_entry(binding: &Binding) -> BindingEntry {
    BindingEntry {
        origin: binding.origin.to_string(),
        auth: binding.placement.kind().to_owned(),
        auth_params: binding.placement.parameters(),
        ca_sha256: binding.trust.ca_sha256.clone(),
        tls_server_name: binding.trust.server_name.clone(),
        tls_pin_sha256: binding.trust.pin_sha256.clone(),
        insecure_tls: binding.trust.insecure,
        allow_plaintext: binding.trust.plaintext,
        address: binding.trust.address.map(|address| address.to_string()),
    }
}

/// A stored binding.
///
/// # Errors
/// When it doesn't parse; it was checked when it was written.
pub(super) fn from_entry(entry: &BindingEntry) -> Result<Binding, Failure> {
    let url = BaseUrl::parse(&entry.origin).map_err(|error| Failure::invalid(error.to_string()))?;
    let address = entry
        .address
        .as_ref()
        .map(|text| text.parse().map_err(|_| Failure::invalid("binding: unreadable address")))
        .transpose()?;
    Ok(Binding {
        origin: url.origin().clone(),
        placement: Placement::parse(&entry.auth, &entry.auth_params)?,
        trust: Trust {
            ca_sha256: entry.ca_sha256.clone(),
            server_name: entry.tls_server_name.clone(),
            pin_sha256: entry.tls_pin_sha256.clone(),
            insecure: entry.insecure_tls,
            plaintext: entry.allow_plaintext,
            address,
        },
    })
}
