//! Whether a request may be made now: the service's rules and limits, and places reserved for it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::canonical::{CanonicalTarget, same_parameter};
use super::limits::{Places, Reservation};
use super::overrides;
use super::rules::{Named, Verdict};
use super::service::{McpService, Service};
use crate::error::{Code, Failure};

/// A request in its one form: what policy sees is what is sent.
#[derive(Debug)]
pub struct CanonicalRequest {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: CanonicalTarget,
    /// The caller's headers that may pass, and the service's own.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// Leave to make one request. It holds the request, so nothing else can be sent with it, and the
/// places reserved for it.
///
/// Only [`authorize`] makes one; others may look at it:
///
/// ```
/// use vault_plugin::proxy::policy::{CanonicalRequest, Permit};
/// fn look(permit: &Permit) -> &CanonicalRequest {
///     permit.request()
/// }
/// ```
///
/// ```compile_fail,E0451
/// use vault_plugin::proxy::limits::Reservation;
/// use vault_plugin::proxy::policy::{CanonicalRequest, Permit};
/// fn forge(request: CanonicalRequest, reservation: Reservation) -> Permit {
///     Permit { request, rule: None, reservation }
/// }
/// ```
#[derive(Debug)]
pub struct Permit {
    request: CanonicalRequest,
    rule: Option<String>,
    reservation: Reservation,
}

impl Permit {
    /// Looks at what is allowed.
    pub fn request(&self) -> &CanonicalRequest {
        &self.request
    }

    /// The rule that allowed it; `None` when the service has none.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// Spends the permit.
    pub(super) fn into_parts(self) -> (CanonicalRequest, Reservation) {
        (self.request, self.reservation)
    }
}

/// Leave to speak with an MCP server for one call: it holds the rule that allowed what is asked, and
/// the places of the call, which all its messages share. Only [`admit`] makes one.
#[derive(Debug)]
pub struct Passage {
    rule: Option<String>,
    reservation: Arc<Reservation>,
}

impl Passage {
    /// The rule that allowed it; `None` when the service has none.
    pub fn rule(&self) -> Option<&str> {
        self.rule.as_deref()
    }

    /// The places of the call.
    pub fn reservation(&self) -> &Arc<Reservation> {
        &self.reservation
    }
}

/// Decides on a call of an MCP server: of what is asked by name, or of a message that names nothing.
///
/// # Errors
/// As for [`authorize`]; `bytes` are those of what the caller gives.
pub fn admit(
    asked: Option<(Named, &str)>,
    bytes: usize,
    service: &Service,
    mcp: &McpService,
    places: &Places,
) -> Result<Passage, Failure> {
    let rule = match asked {
        None => None,
        Some((named, name)) => judge_name(named, name, service, mcp)?.map(str::to_owned),
    };
    let reservation = Arc::new(reserve(bytes, service, places)?);
    Ok(Passage { rule, reservation })
}

fn judge_name<'s>(
    named: Named,
    name: &str,
    service: &Service,
    mcp: &'s McpService,
) -> Result<Option<&'s str>, Failure> {
    let by = match mcp.rules.decide(named, name) {
        Verdict::Allowed(rule) => return Ok(rule),
        Verdict::Denied(rule) => rule,
        Verdict::InBody { rule, .. } => Some(rule),
    };
    let by = by.map_or_else(String::new, |rule| format!(" (rule: {rule})"));
    let allowed = match mcp.rules.allowed() {
        allowed if allowed.is_empty() => "nothing".to_owned(),
        allowed => allowed,
    };
    Err(Failure::new(
        Code::DeniedByRule,
        format!(
            "\"{}\" doesn't allow this {}{by}. Allowed: {allowed}. Nothing was sent. Use what is \
             allowed, or tell the user that an operator would have to change the rules",
            service.name,
            named.as_str()
        ),
    ))
}

/// Decides.
///
/// # Errors
/// `denied_by_rule`, `invalid_request` for a body over the service's limit, `busy` when a place is
/// missing.
pub fn authorize(
    request: CanonicalRequest,
    service: &Service,
    places: &Places,
) -> Result<Permit, Failure> {
    let rule = judge(&request, service)?.map(str::to_owned);
    let reservation = reserve(request.body.len(), service, places)?;
    Ok(Permit { request, rule, reservation })
}

/// Whether a request body of a length may be sent.
///
/// # Errors
/// `invalid_request`, with the service's limit.
pub fn fits(bytes: usize, service: &Service) -> Result<(), Failure> {
    if bytes > service.max_request_bytes {
        return Err(Failure::invalid(format!(
            "the request body has {bytes} bytes; \"{}\" allows {}. Nothing was sent. An operator can \
             raise max_request_bytes",
            service.name, service.max_request_bytes
        )));
    }
    Ok(())
}

fn reserve(bytes: usize, service: &Service, places: &Places) -> Result<Reservation, Failure> {
    fits(bytes, service)?;
    places.reserve(bytes).map_err(|full| {
        Failure::new(Code::Busy, format!("{full}. Nothing was sent. Try again in a few seconds"))
    })
}

/// Asks the service's rules alone; gives the one that allows the request.
///
/// # Errors
/// `denied_by_rule`, with what is allowed.
pub fn judge<'s>(
    request: &CanonicalRequest,
    service: &'s Service,
) -> Result<Option<&'s str>, Failure> {
    let in_body = |name: &str| {
        overrides::has_field(&request.headers, &request.body, |field| same_parameter(field, name))
    };
    let denied = match service.rules.decide(&request.method, &request.target, in_body) {
        Verdict::Allowed(rule) => return Ok(rule),
        Verdict::Denied(rule) => rule,
        Verdict::InBody { rule, parameter } => {
            return Err(Failure::new(
                Code::DeniedByRule,
                format!(
                    "the body has a field called {parameter}, by which a rule of \"{}\" judges the \
                     query (rule: {rule}), and the server could take it instead. Nothing was sent. \
                     Leave {parameter} out of the body",
                    service.name
                ),
            ));
        }
    };
    let by = denied.map_or_else(String::new, |rule| format!(" (rule: {rule})"));
    let allowed = match service.rules.allowed() {
        allowed if allowed.is_empty() => "nothing".to_owned(),
        allowed => allowed,
    };
    Err(Failure::new(
        Code::DeniedByRule,
        format!(
            "\"{}\" doesn't allow {} {}{by}. Allowed: {allowed}. Nothing was sent. Use an allowed \
             call, or tell the user that an operator would have to change the rules",
            service.name,
            request.method,
            request.target.relative()
        ),
    ))
}
