//! What a credential version is bound to: origin, placement, TLS trust.

use std::fmt;
use std::net::IpAddr;

use super::origin::Origin;
use super::placement::Placement;

/// Written with the secret and never changed. A service must match it in every part, when it is
/// written and at every call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Where the secret may go.
    pub origin: Origin,
    /// Where in the request.
    pub placement: Placement,
    /// Over what the upstream proves that it is the one meant.
    pub trust: Trust,
}

/// The parts of a definition that decide whom TLS trusts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// SHA-256 of the certificates of `ca_cert`, in hex.
    pub ca_sha256: Option<String>,
    /// The name that the certificate must have.
    pub server_name: Option<String>,
    /// The one certificate accepted, by SHA-256, in hex.
    pub pin_sha256: Option<String>,
    /// The certificate isn't checked.
    pub insecure: bool,
    /// Plaintext is allowed.
    pub plaintext: bool,
    /// Where no certificate is checked, the address is all that says who gets the secret; elsewhere
    /// it isn't part of the binding.
    pub address: Option<IpAddr>,
}

/// The first part in which a service differs from a binding, in words for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    part: &'static str,
    service: String,
    bound: String,
}

impl Binding {
    /// Compares a service's own parts with this binding.
    pub fn difference(&self, service: &Self) -> Option<Difference> {
        // Asked at every call: texts are written only where there is something to tell.
        if self == service {
            return None;
        }
        let parts = [
            ("origin", service.origin.to_string(), self.origin.to_string()),
            ("auth", written_placement(&service.placement), written_placement(&self.placement)),
            ("ca_cert", digest(&service.trust.ca_sha256), digest(&self.trust.ca_sha256)),
            ("tls_server_name", text(&service.trust.server_name), text(&self.trust.server_name)),
            ("tls_pin_sha256", text(&service.trust.pin_sha256), text(&self.trust.pin_sha256)),
            (
                "danger_allow_plaintext",
                service.trust.plaintext.to_string(),
                self.trust.plaintext.to_string(),
            ),
            (
                "danger_insecure_tls",
                service.trust.insecure.to_string(),
                self.trust.insecure.to_string(),
            ),
        ];
        // Equality has decided; the texts only name the part. The last one stands for two addresses,
        // which aren't shown.
        let last = ("address", "another one".to_owned(), "the one it was written with".to_owned());
        let (part, service, bound) =
            parts.into_iter().find(|(_, service, bound)| service != bound).unwrap_or(last);
        Some(Difference { part, service, bound })
    }
}

impl Difference {
    /// The field that differs, fit for callers, who needn't know where a service leads.
    pub fn part(&self) -> &'static str {
        self.part
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is {}, the credential is bound to {}", self.part, self.service, self.bound)
    }
}

/// The kind with its parameters, as they stand in a command after `auth=`.
pub(super) fn written_placement(placement: &Placement) -> String {
    let parameters: Vec<String> = placement
        .parameters()
        .into_iter()
        .map(|(name, value)| format!(" {name}={value:?}"))
        .collect();
    format!("{}{}", placement.kind(), parameters.concat())
}

fn digest(digest: &Option<String>) -> String {
    digest.as_ref().map_or_else(|| "unset".to_owned(), |hex| format!("sha256:{hex}"))
}

fn text(text: &Option<String>) -> String {
    text.as_ref().map_or_else(|| "unset".to_owned(), |text| format!("{text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::base_url::BaseUrl;

    fn binding() -> Binding {
        Binding {
            origin: BaseUrl::parse("https://api.example.com").unwrap().origin().clone(),
            placement: Placement::Bearer,
            trust: Trust::default(),
        }
    }

    #[test]
    fn every_part_counts_and_is_named() {
        let bound = binding();
        assert_eq!(bound.difference(&binding()), None);
        type Change = fn(&mut Binding);
        let changes: [(&str, Change); 10] = [
            ("origin", |b| {
                b.origin = BaseUrl::parse("https://evil.example").unwrap().origin().clone()
            }),
            ("origin", |b| b.origin.port = 8443),
            ("origin", |b| b.origin.scheme = crate::proxy::origin::Scheme::Http),
            ("auth", |b| b.placement = Placement::None),
            ("ca_cert", |b| b.trust.ca_sha256 = Some("00".into())),
            ("tls_server_name", |b| b.trust.server_name = Some("evil.example".into())),
            ("tls_pin_sha256", |b| b.trust.pin_sha256 = Some("00".into())),
            ("danger_insecure_tls", |b| b.trust.insecure = true),
            ("danger_allow_plaintext", |b| b.trust.plaintext = true),
            ("address", |b| b.trust.address = Some([127, 0, 0, 1].into())),
        ];
        for (part, change) in changes {
            let mut service = binding();
            change(&mut service);
            let difference = bound.difference(&service).unwrap_or_else(|| panic!("{part}"));
            assert!(difference.to_string().starts_with(part), "{difference}");
        }
    }
}
