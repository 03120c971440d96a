//! A service's definition, from what is stored to what calls work with: the one place where
//! definitions are checked.

mod kind;

use std::net::IpAddr;
use std::time::Duration;

use http::{HeaderMap, HeaderName, Method};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use sha2::{Digest, Sha256};

use super::config::{Ceilings, DANGER_FIELDS, within};
use crate::bounds;
use crate::error::{Code, Failure};
use crate::name::Name;
use crate::proxy::address::{AddressGuard, Cidrs, Refusal};
use crate::proxy::base_url::BaseUrl;
use crate::proxy::binding::Trust;
use crate::proxy::canonical::PathSwitches;
use crate::proxy::egress::{Destination, TlsTrust};
use crate::proxy::headers;
use crate::proxy::origin::{Host, Scheme};
use crate::proxy::placement::Placement;
use crate::proxy::service::{Probe, Service};
use crate::storage::{ConfigEntry, Definition, hex};

/// Checks a definition and parses it.
///
/// # Errors
/// `invalid_request` for the first field that doesn't fit, `address_forbidden` for an address that
/// could never be dialled.
pub(super) fn parse(
    name: &Name,
    definition: &Definition,
    config: &ConfigEntry,
    ceilings: &Ceilings,
) -> Result<(Service, Destination), Failure> {
    if definition.base_url.is_empty() {
        return Err(Failure::invalid(
            "base_url is missing: where its calls go, such as base_url=https://api.github.com",
        ));
    }
    let base = BaseUrl::parse(&definition.base_url)
        .map_err(|error| Failure::invalid(error.to_string()))?;
    let placement =
        Placement::parse(definition.auth.as_deref().unwrap_or("none"), &definition.auth_params)?;
    if definition.credential.is_some() && !placement.wants_secret() {
        return Err(Failure::invalid(
            "credential is named, but auth=none uses none. Set auth, such as auth=bearer",
        ));
    }
    dangers(definition, config, &base)?;
    texts(definition)?;
    check_safe_methods(definition)?;
    let destination = destination(definition, &base, ceilings)?;
    let (kind, rules) = kind::parse(definition, &placement)?;
    let service = Service {
        name: name.clone(),
        kind,
        trust: trust(definition, &destination, &base)?,
        switches: PathSwitches {
            allow_encoded_slash: definition.allow_encoded_slash,
            allow_path_params: definition.allow_path_params,
        },
        headers: static_headers(definition, &placement)?,
        allowed_request_headers: request_headers(definition, &placement)?,
        allowed_response_headers: headers::parse_allowed_response(
            &definition.allowed_response_headers,
        )
        .map_err(|error| Failure::invalid(format!("allowed_response_headers: {error}")))?,
        rules,
        timeout: Duration::from_secs(bounded(
            "timeout",
            definition.timeout,
            bounds::TIMEOUT,
            ceilings.max_timeout.as_secs(),
        )?),
        max_request_bytes: count(bounded(
            "max_request_bytes",
            definition.max_request_bytes,
            bounds::REQUEST,
            ceilings.max_request_bytes,
        )?),
        max_response_bytes: count(bounded(
            "max_response_bytes",
            definition.max_response_bytes,
            bounds::RESPONSE,
            ceilings.max_response_bytes,
        )?),
        max_in_flight: count(bounded(
            "max_in_flight",
            definition.max_in_flight,
            bounds::IN_FLIGHT,
            ceilings.max_in_flight,
        )?),
        probe: probe(definition)?,
        send_request_id: definition.send_request_id.unwrap_or(true),
        placement,
        base,
    };
    Ok((service, destination))
}

/// A definition with every default written out, as it is read: what is written back in this form
/// changes nothing.
pub fn in_force(definition: &Definition, ceilings: &Ceilings) -> Definition {
    let or_default = |given: Option<u64>, default: u64, ceiling: u64| {
        Some(given.unwrap_or_else(|| default.min(ceiling)))
    };
    Definition {
        service_type: Some(kind::of(definition).to_owned()),
        trust: kind::trust_in_force(definition),
        auth: Some(definition.auth.clone().unwrap_or_else(|| "none".to_owned())),
        safe_methods: Some(
            definition
                .safe_methods
                .clone()
                .unwrap_or_else(|| ["GET", "HEAD", "OPTIONS"].map(str::to_owned).into()),
        ),
        timeout: or_default(definition.timeout, bounds::TIMEOUT, ceilings.max_timeout.as_secs()),
        max_request_bytes: or_default(
            definition.max_request_bytes,
            bounds::REQUEST,
            ceilings.max_request_bytes,
        ),
        max_response_bytes: or_default(
            definition.max_response_bytes,
            bounds::RESPONSE,
            ceilings.max_response_bytes,
        ),
        max_in_flight: or_default(
            definition.max_in_flight,
            bounds::IN_FLIGHT,
            ceilings.max_in_flight,
        ),
        probe_method: Some(definition.probe_method.clone().unwrap_or_else(|| "GET".to_owned())),
        send_request_id: Some(definition.send_request_id.unwrap_or(true)),
        enabled: Some(definition.enabled.unwrap_or(true)),
        ..definition.clone()
    }
}

pub(super) use kind::check_fixed;

/// A default is lowered to the mount's ceiling; a given value over it is an error.
fn bounded(field: &str, given: Option<u64>, default: u64, ceiling: u64) -> Result<u64, Failure> {
    given.map_or_else(|| Ok(default.min(ceiling)), |value| within(field, value, ceiling))
}

fn count(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

fn dangers(definition: &Definition, config: &ConfigEntry, base: &BaseUrl) -> Result<(), Failure> {
    let set = [definition.danger_allow_plaintext, definition.danger_insecure_tls];
    for (field, set) in DANGER_FIELDS.iter().zip(set) {
        if set && !config.allow_danger.iter().any(|allowed| allowed == field) {
            return Err(Failure::invalid(format!(
                "{field} needs a second key: an operator must list it in allow_danger of config. \
                 Nothing was changed"
            )));
        }
    }
    if base.origin().scheme == Scheme::Http && !definition.danger_allow_plaintext {
        return Err(Failure::invalid(
            "base_url is http://, so a credential would travel in clear. Use https://. Where that \
             is impossible: danger_allow_plaintext=true here, and listed in allow_danger of config",
        ));
    }
    Ok(())
}

fn texts(definition: &Definition) -> Result<(), Failure> {
    let length = |text: &Option<String>| text.as_ref().map_or(0, |text| text.chars().count());
    let one_line =
        definition.description.as_ref().is_none_or(|text| !text.chars().any(char::is_control));
    if length(&definition.description) > bounds::DESCRIPTION || !one_line {
        return Err(Failure::invalid(format!(
            "description is one line of at most {} characters; longer notes belong into usage",
            bounds::DESCRIPTION
        )));
    }
    if length(&definition.usage) > bounds::USAGE {
        return Err(Failure::invalid(format!("usage has at most {} characters", bounds::USAGE)));
    }
    Ok(())
}

/// For agents to read; no step of a call goes by them.
fn check_safe_methods(definition: &Definition) -> Result<(), Failure> {
    for method in definition.safe_methods.iter().flatten() {
        headers::parse_method(method)
            .map_err(|error| Failure::invalid(format!("safe_methods: {error}")))?;
    }
    Ok(())
}

fn probe(definition: &Definition) -> Result<Option<Probe>, Failure> {
    let method = match definition.probe_method.as_deref() {
        None | Some("GET") => Method::GET,
        Some("HEAD") => Method::HEAD,
        Some(_) => {
            return Err(Failure::invalid("probe_method is GET or HEAD: a check changes nothing"));
        }
    };
    if definition.probe_status.iter().any(|status| !(200..600).contains(status)) {
        return Err(Failure::invalid(
            "probe_status wants statuses from 200 to 599, such as 200,204",
        ));
    }
    let statuses = definition.probe_status.clone();
    Ok(definition.probe_path.clone().map(|path| Probe { method, path, statuses }))
}

fn static_headers(definition: &Definition, placement: &Placement) -> Result<HeaderMap, Failure> {
    let injected = placement.header();
    headers::parse_static(definition.headers.clone(), injected.as_ref().map(HeaderName::as_str))
        .map_err(|error| Failure::invalid(format!("headers: {error}. Nothing was changed")))
}

fn request_headers(definition: &Definition, placement: &Placement) -> Result<Vec<String>, Failure> {
    let allowed = headers::parse_allowed_request(&definition.allowed_request_headers)
        .map_err(|error| Failure::invalid(format!("allowed_request_headers: {error}")))?;
    match placement.header() {
        Some(injected)
            if allowed.iter().any(|name| headers::same_name(name, injected.as_str())) =>
        {
            Err(Failure::invalid(format!(
                "allowed_request_headers lists {injected}, which carries the credential. Leave it out"
            )))
        }
        Some(_) | None => Ok(allowed),
    }
}

/// The command that opens a network beside those that are open.
fn opened_too(ceilings: &Ceilings, network: &dyn std::fmt::Display) -> String {
    let present = ceilings.upstream_cidrs.to_string();
    let comma = if present.is_empty() { "" } else { "," };
    format!("vault write <mount>/config upstream_cidrs={present}{comma}{network}")
}

fn destination(
    definition: &Definition,
    base: &BaseUrl,
    ceilings: &Ceilings,
) -> Result<Destination, Failure> {
    let mut opened = Cidrs::opening(&definition.upstream_cidrs)
        .map_err(|error| Failure::invalid(format!("upstream_cidrs: {error}")))?;
    if let Some(outside) = opened.first_outside(&ceilings.upstream_cidrs) {
        return Err(Failure::new(
            Code::AddressForbidden,
            format!(
                "upstream_cidrs: {outside} isn't within the mount's. Nothing was changed. An \
                 operator can widen the mount's: {}",
                opened_too(ceilings, &outside)
            ),
        ));
    }
    let origin = base.origin().clone();
    let address = address(definition)?;
    let denied =
        |name: &str| ceilings.denied_names.iter().any(|denied| denied.eq_ignore_ascii_case(name));
    if definition.tls_server_name.as_deref().is_some_and(|name| denied(name.trim_end_matches('.')))
    {
        return Err(Failure::new(
            Code::AddressForbidden,
            "tls_server_name is one of config's denied_destinations. Nothing was changed",
        ));
    }
    let literal = match &origin.host {
        Host::Address(literal) => Some(*literal),
        Host::Name(name) if denied(name) => {
            return Err(Failure::new(
                Code::AddressForbidden,
                "base_url's host is one of config's denied_destinations. Nothing was changed",
            ));
        }
        Host::Name(name)
            if !name.contains('.') && address.is_none() && !ceilings.single_label_names =>
        {
            return Err(Failure::invalid(format!(
                "base_url's host {name:?} has no dot: search domains aren't tried. Write the whole \
                 name, or give address=<its address>, or have an operator allow such names: vault \
                 write <mount>/config allow_single_label_names=true"
            )));
        }
        Host::Name(_) => None,
    };
    // Whoever writes an address means it: it opens itself, within the mount's bound.
    for given in literal.into_iter().chain(address) {
        opened.push_host(given);
    }
    let guard = AddressGuard {
        mount: ceilings.upstream_cidrs.clone(),
        service: opened,
        denied: ceilings.denied.clone(),
    };
    for given in literal.into_iter().chain(address) {
        guard.judge(given).map_err(|forbidden| {
            let text = if forbidden.refusal == Refusal::NotInMount {
                format!(
                    "{forbidden}. Nothing was changed. An operator can open it: {}",
                    opened_too(ceilings, &given)
                )
            } else {
                format!("{forbidden}. Nothing was changed")
            };
            Failure::new(Code::AddressForbidden, text)
        })?;
    }
    Ok(Destination {
        origin,
        address,
        guard,
        trust: TlsTrust {
            ca_cert: definition.ca_cert.clone(),
            server_name: definition.tls_server_name.clone(),
            pin_sha256: definition.tls_pin_sha256.as_deref().map(pin).transpose()?,
            insecure: definition.danger_insecure_tls,
        },
        proxy: ceilings.egress_proxy.clone(),
    })
}

fn address(definition: &Definition) -> Result<Option<IpAddr>, Failure> {
    definition
        .address
        .as_ref()
        .map(|text| {
            text.parse().map_err(|_| {
                Failure::invalid("address isn't an IP address, such as 192.0.2.7 or 2001:db8::7")
            })
        })
        .transpose()
}

/// 64 hex digits, with or without colons, as `openssl x509 -fingerprint -sha256` prints them.
fn pin(text: &str) -> Result<[u8; 32], Failure> {
    let digits: String = text.chars().filter(|c| *c != ':').collect();
    let mut bytes = [0_u8; 32];
    let parsed = bytes.iter_mut().enumerate().all(|(index, byte)| {
        match digits.get(index * 2..index * 2 + 2).map(|pair| u8::from_str_radix(pair, 16)) {
            Some(Ok(value)) => {
                *byte = value;
                true
            }
            Some(Err(_)) | None => false,
        }
    });
    if parsed && digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        Ok(bytes)
    } else {
        Err(Failure::invalid("tls_pin_sha256 is the certificate's SHA-256: 64 hex digits"))
    }
}

fn trust(
    definition: &Definition,
    destination: &Destination,
    base: &BaseUrl,
) -> Result<Trust, Failure> {
    let trust = &destination.trust;
    let unauthenticated = base.origin().scheme == Scheme::Http || trust.insecure;
    Ok(Trust {
        ca_sha256: trust.ca_cert.as_deref().map(ca_digest).transpose()?,
        server_name: trust.server_name.as_ref().map(|name| name.to_ascii_lowercase()),
        pin_sha256: trust.pin_sha256.map(|bytes| hex(&bytes)),
        insecure: trust.insecure,
        plaintext: definition.danger_allow_plaintext,
        address: destination.address.filter(|_| unauthenticated),
    })
}

/// Over the certificates, not the text: white space and comments in PEM mean nothing.
fn ca_digest(pem: &str) -> Result<String, Failure> {
    let unreadable =
        || Failure::invalid("ca_cert holds no PEM certificate. Pass the file: ca_cert=@ca.pem");
    if pem.len() > bounds::CA_CERT {
        return Err(Failure::invalid(format!("ca_cert has at most {} bytes", bounds::CA_CERT)));
    }
    let mut digest = Sha256::new();
    let mut found = false;
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        digest.update(certificate.map_err(|_| unreadable())?);
        found = true;
    }
    if found { Ok(hex(&digest.finalize())) } else { Err(unreadable()) }
}
