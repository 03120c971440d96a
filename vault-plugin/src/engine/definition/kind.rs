//! What kind of service a definition is of, and which of the other fields go with it.

use http::header;

use crate::error::Failure;
use crate::name::Name;
use crate::proxy::headers::same_name;
use crate::proxy::placement::Placement;
use crate::proxy::rules::{NameRules, Rules};
use crate::proxy::service::{Kind, McpService, ToolTrust};
use crate::storage::Definition;

const HTTP: &str = "http";
const MCP: &str = "mcp";
const PIN: &str = "pin";
const ALLOW: &str = "allow";

/// The kind as it is read.
pub(super) fn of(definition: &Definition) -> &str {
    definition.service_type.as_deref().unwrap_or(HTTP)
}

/// `trust` as it is read; an HTTP service has none.
pub(super) fn trust_in_force(definition: &Definition) -> Option<String> {
    let default = (of(definition) == MCP).then(|| PIN.to_owned());
    definition.trust.clone().or(default)
}

/// Refuses to make another kind of service of one that there is: what its pins, policies and rules
/// are about would be another thing under the same name.
///
/// # Errors
/// `invalid_request`.
pub(in crate::engine) fn check_fixed(
    name: &Name,
    before: &Definition,
    after: &Definition,
) -> Result<(), Failure> {
    if of(before) == of(after) {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "type is fixed when a service is made, and \"{name}\" is {}. Nothing was changed. To change \
         it, delete the service and make it again: vault delete <mount>/services/{name}",
        of(before)
    )))
}

/// Parses the kind with its rules.
///
/// # Errors
/// `invalid_request` for an unknown kind, for rules of the other one, and for a field that has no
/// meaning with it.
pub(super) fn parse(
    definition: &Definition,
    placement: &Placement,
) -> Result<(Kind, Rules), Failure> {
    match of(definition) {
        HTTP => Ok((Kind::Http, http_rules(definition)?)),
        MCP => Ok((Kind::Mcp(mcp(definition, placement)?), Rules::default())),
        _ => Err(Failure::invalid(
            "type is http (the default) or mcp, for an MCP server. Nothing was changed",
        )),
    }
}

fn http_rules(definition: &Definition) -> Result<Rules, Failure> {
    if definition.trust.is_some() {
        return Err(Failure::invalid(
            "trust is about an MCP server's tools, and this service is http. Leave it out. Nothing \
             was changed",
        ));
    }
    if let Some(rule) = definition.rules.iter().find(|rule| NameRules::is_one(rule)) {
        return Err(Failure::invalid(format!(
            "rule {rule:?}: rules about tools, resources and prompts are for services with type=mcp; \
             here, write methods and a path, such as: allow GET,HEAD /items/**. Nothing was changed"
        )));
    }
    Rules::parse(&definition.rules)
        .map_err(|error| Failure::invalid(format!("{error}. Nothing was changed")))
}

fn mcp(definition: &Definition, placement: &Placement) -> Result<McpService, Failure> {
    let trust = match definition.trust.as_deref() {
        None | Some(PIN) => ToolTrust::Pin,
        Some(ALLOW) => ToolTrust::Allow,
        Some(_) => {
            return Err(Failure::invalid(
                "trust is pin (the default: tools wait for an operator's approval) or allow. Nothing \
                 was changed",
            ));
        }
    };
    let meaningless = [
        ("safe_methods", definition.safe_methods.as_ref().is_some_and(|given| !is_default(given))),
        ("allowed_request_headers", !definition.allowed_request_headers.is_empty()),
        ("allowed_response_headers", !definition.allowed_response_headers.is_empty()),
        ("allow_encoded_slash", definition.allow_encoded_slash),
        ("allow_path_params", definition.allow_path_params),
        ("probe_path", definition.probe_path.is_some()),
        ("probe_status", !definition.probe_status.is_empty()),
    ];
    if let Some((field, _)) = meaningless.iter().find(|(_, given)| *given) {
        return Err(Failure::invalid(format!(
            "{field} has no meaning with type=mcp: callers name tools, not paths. Leave it out. \
             Nothing was changed"
        )));
    }
    let placed = placement.header();
    let set = definition.headers.keys().map(String::as_str);
    if let Some(name) =
        set.chain(placed.as_ref().map(header::HeaderName::as_str)).find(|name| is_protocols(name))
    {
        return Err(Failure::invalid(format!(
            "the header {name} belongs to the protocol and is set by the engine. Nothing was changed"
        )));
    }
    let rules = NameRules::parse(&definition.rules)
        .map_err(|error| Failure::invalid(format!("{error}. Nothing was changed")))?;
    Ok(McpService { trust, rules })
}

/// A read writes the default out, and what is read can be written back.
fn is_default(safe_methods: &[String]) -> bool {
    safe_methods == ["GET", "HEAD", "OPTIONS"]
}

/// Headers that say what a message is (MCP 2026-07-28, Streamable HTTP).
fn is_protocols(name: &str) -> bool {
    let known = [header::ACCEPT, header::CONTENT_TYPE];
    known.iter().any(|known| same_name(known.as_str(), name))
        || same_name("last-event-id", name)
        || name.get(..4).is_some_and(|beginning| same_name(beginning, "mcp-"))
}
