//! What the operator should know about a write.

use crate::storage::Definition;

/// Names that nobody but their own network resolves.
pub(super) fn local_name(definition: &Definition, warnings: &mut Vec<String>) {
    let host = definition.base_url.split('/').nth(2).unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    if name.to_ascii_lowercase().ends_with(".local") && definition.address.is_none() {
        warnings.push(format!(
            "{name} is an mDNS name, which only its own network answers for: Vault asks DNS and the \
             hosts file. If calls end in upstream_unreachable, give its address too: address=<IP>"
        ));
    }
}

/// Says what a write opened.
pub(super) fn weakened(before: &Definition, after: &Definition, warnings: &mut Vec<String>) {
    if after.rules.is_empty() && !before.rules.is_empty() {
        let all = match after.service_type.as_deref() {
            Some("mcp") => "every tool, resource and prompt is",
            Some(_) | None => "every method and path is",
        };
        warnings.push(format!("rules were cleared: {all} allowed now"));
    }
    if after.trust.as_deref() == Some("allow") && before.trust != after.trust {
        warnings.push(
            "trust=allow: agents see and call whatever tools this server has, also when it changes \
             what they are or say, without an operator's approval"
                .to_owned(),
        );
    }
    let widened: Vec<&str> = after
        .upstream_cidrs
        .iter()
        .filter(|network| !before.upstream_cidrs.contains(network))
        .map(String::as_str)
        .collect();
    if !widened.is_empty() {
        warnings.push(format!(
            "this service may now reach {}, outside the public internet",
            widened.join(", ")
        ));
    }
    if after.danger_allow_plaintext && !before.danger_allow_plaintext {
        warnings.push(
            "danger_allow_plaintext: the credential travels in clear, and whoever is on the way \
             can read and keep it"
                .to_owned(),
        );
    }
    if after.danger_insecure_tls && !before.danger_insecure_tls {
        warnings.push(
            "danger_insecure_tls: the upstream's certificate isn't checked, so whoever answers gets \
             the credential. tls_pin_sha256 is as easy, and safe"
                .to_owned(),
        );
    }
}
