//! Turns a tool's arguments into a request to the engine.

use percent_encoding::percent_decode_str;
use rmcp::model::JsonObject;
use serde_json::{Map, Value};

use super::ToolName;
use super::arguments::{Arguments, invalid, scalar};
use super::result::{DEFAULT_MAX_CHARS, MAX_CHARS, Shape};
use crate::catalog::{Catalog, Method, ServiceName};
use crate::error::CallError;
use crate::proxy::{Payload, ProxyRequest};

/// What a call asks for. The service's name isn't checked yet.
#[derive(Debug, PartialEq)]
pub(super) struct Call {
    /// The service's name as it was given.
    pub(super) service: String,
    /// How the answer is to be shown.
    pub(super) shape: Shape,
    method: Method,
    path: String,
    query: Map<String, Value>,
    headers: Map<String, Value>,
    payload: Payload,
}

impl Call {
    /// The request to a service.
    pub(super) fn request(&self, service: ServiceName) -> ProxyRequest {
        ProxyRequest {
            service,
            method: self.method,
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            payload: self.payload.clone(),
        }
    }
}

const READ: [&str; 6] = ["service", "path", "query", "headers", "select", "max_chars"];
const ALL: [&str; 10] = [
    "service",
    "method",
    "path",
    "query",
    "json",
    "form",
    "body",
    "headers",
    "select",
    "max_chars",
];

/// Reads the arguments of `proxy_read` or `proxy_request`.
///
/// # Errors
///
/// [`CallError::Invalid`], one text for each field.
pub(super) fn parse(
    tool: ToolName,
    mut arguments: JsonObject,
    catalog: Option<&Catalog>,
) -> Result<Call, CallError> {
    let fixed = match tool {
        ToolName::ProxyRequest => None,
        ToolName::ProxyRead | ToolName::ListServices => Some(read_method(&mut arguments)?),
    };
    let known = if fixed.is_some() { &READ[..] } else { &ALL[..] };
    let arguments = Arguments::new(arguments, known)?;
    let Some(service) = arguments.text("service")? else {
        return Err(CallError::Invalid(
            "service is missing. Use a name from list_services.".to_owned(),
        ));
    };
    let method = match fixed {
        Some(method) => method,
        None => method(&arguments)?,
    };
    let (path, from_path) = path(&arguments, &service, catalog)?;
    let mut query = query(&arguments)?;
    for (name, value) in from_path {
        add(&mut query, name, value);
    }
    let headers = headers(&arguments)?;
    let payload = payload(&arguments)?;
    let shape = Shape {
        select: arguments.text("select")?,
        max_chars: arguments.number("max_chars", MAX_CHARS)?.unwrap_or(DEFAULT_MAX_CHARS),
    };
    Ok(Call { service, shape, method, path, query, headers, payload })
}

/// `proxy_read` takes GET and HEAD, though its schema offers no method: GET is what is meant.
fn read_method(arguments: &mut JsonObject) -> Result<Method, CallError> {
    for name in ["json", "form", "body"] {
        if arguments.get(name).is_some_and(|value| !value.is_null()) {
            return Err(CallError::Invalid(format!(
                "proxy_read sends no {name}. Use proxy_request with a method."
            )));
        }
        arguments.remove(name);
    }
    let Some(value) = arguments.remove("method").filter(|value| !value.is_null()) else {
        return Ok(Method::Get);
    };
    match scalar(&value).as_deref().and_then(Method::parse) {
        Some(method @ (Method::Get | Method::Head)) => Ok(method),
        Some(_) | None => Err(CallError::Invalid(
            "proxy_read only sends GET. Use proxy_request for other methods.".to_owned(),
        )),
    }
}

fn method(arguments: &Arguments) -> Result<Method, CallError> {
    let Some(text) = arguments.text("method")? else {
        return Err(CallError::Invalid(
            "method is missing. Use method=\"POST\", or proxy_read to only read.".to_owned(),
        ));
    };
    Method::parse(&text).ok_or_else(|| {
        let all = Method::ALL.map(Method::as_str).join(", ");
        CallError::Invalid(format!(
            "method must be one of {all}; you gave {:?}.",
            text.chars().take(20).collect::<String>()
        ))
    })
}

type Pairs = Vec<(String, String)>;

/// Reads the path. What names another place is left for the engine to refuse; only a full URL,
/// the commonest mistake, is answered here with the path that was probably meant.
fn path(
    arguments: &Arguments,
    service: &str,
    catalog: Option<&Catalog>,
) -> Result<(String, Pairs), CallError> {
    let path = match arguments.get("path") {
        None => {
            return Err(invalid("path", "is missing", "path=\"/\", or what the service documents"));
        }
        Some(Value::String(path)) => path.trim(),
        Some(_) => return Err(invalid("path", "must be a string", "path=\"/…\"")),
    };
    if is_url(path) {
        let base = catalog.and_then(|c| c.find(service)).map(|s| s.base_url.as_str());
        return Err(CallError::Invalid(format!(
            "path must be below the base URL and start with '/'; you gave a full URL. Use \
             path=\"{}\".",
            below(path, base.unwrap_or_default())
        )));
    }
    let (path, query) = match path.split_once('?') {
        // A fragment's place is unclear, so the engine shall see it.
        Some((before, query)) if !path.contains('#') => match pairs(query) {
            Some(pairs) => (before, pairs),
            None => (path, Vec::new()),
        },
        Some(_) | None => (path, Vec::new()),
    };
    let slash = if path.starts_with(['/', '\\']) { "" } else { "/" };
    Ok((format!("{slash}{path}"), query))
}

/// Whether a text begins with a scheme (RFC 3986, section 3.1) and an authority.
fn is_url(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b))
    })
}

/// The path of a URL below a base URL, to suggest.
fn below(url: &str, base: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let rest = match path.strip_prefix(base.trim_end_matches('/')) {
        Some(rest) if !base.is_empty() && (rest.is_empty() || rest.starts_with('/')) => rest,
        Some(_) | None => {
            let after = path.split_once("://").map_or(path, |(_, after)| after);
            after.find('/').and_then(|at| after.get(at..)).unwrap_or("/")
        }
    };
    if rest.is_empty() { "/".to_owned() } else { rest.chars().take(200).collect() }
}

/// Reads a query string; none if its encoding is broken.
fn pairs(query: &str) -> Option<Pairs> {
    let decode = |text: &str| {
        let broken = text.split('%').skip(1).any(|rest| {
            !rest.as_bytes().get(..2).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        });
        let spaced = text.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().ok()?.into_owned();
        (!broken).then_some(decoded)
    };
    query
        .split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Some((decode(name)?, decode(value)?))
        })
        .collect()
}

fn query(arguments: &Arguments) -> Result<Map<String, Value>, CallError> {
    // `a=b&c=d` instead of an object can only mean one thing.
    if let Some(Value::String(text)) = arguments.get("query")
        && !text.trim_start().starts_with(['{', '['])
        && let Some(pairs) = pairs(text.trim().trim_start_matches('?'))
    {
        let mut query = Map::new();
        for (name, value) in pairs {
            add(&mut query, name, value);
        }
        return Ok(query);
    }
    arguments.fields("query")
}

/// Adds a parameter beside what is there; the same value twice counts once.
fn add(query: &mut Map<String, Value>, name: String, value: String) {
    let value = Value::from(value);
    match query.get_mut(&name) {
        None => {
            query.insert(name, value);
        }
        Some(Value::Array(values)) => {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        Some(present) => {
            if *present != value {
                *present = Value::Array(vec![present.take(), value]);
            }
        }
    }
}

/// Headers that carry a caller's credential. The engine refuses them too; here the model learns
/// that it never has to send one.
const CREDENTIAL_HEADERS: [&str; 12] = [
    "authorization",
    "proxy-authorization",
    "cookie",
    "x-api-key",
    "api-key",
    "apikey",
    "x-auth-token",
    "x-access-token",
    "private-token",
    "x-vault-token",
    "x-amz-security-token",
    "x-goog-api-key",
];

fn headers(arguments: &Arguments) -> Result<Map<String, Value>, CallError> {
    let mut headers = arguments.fields("headers")?;
    let credential = headers.keys().find(|name| {
        CREDENTIAL_HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name.trim()))
    });
    if let Some(name) = credential {
        return Err(CallError::Invalid(format!(
            "headers must not hold {:?}: never send credentials, Vault adds the authentication. \
             Leave it out.",
            name.trim()
        )));
    }
    for value in headers.values_mut() {
        if let Value::Array(list) = value {
            let joined = list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", ");
            *value = Value::from(joined);
        }
    }
    Ok(headers)
}

fn payload(arguments: &Arguments) -> Result<Payload, CallError> {
    let given = ["json", "form", "body"]
        .into_iter()
        .filter(|name| arguments.get(name).is_some())
        .collect::<Vec<_>>();
    match given[..] {
        [] => Ok(Payload::None),
        ["form"] => arguments.fields("form").map(Payload::Form),
        ["json"] => json(arguments.get("json")),
        // An object as body can only be meant as JSON.
        ["body"] => match arguments.get("body") {
            Some(Value::String(text)) => Ok(Payload::Text(text.clone())),
            value => json(value),
        },
        _ => Err(CallError::Invalid(format!(
            "only one of json, form, body can be sent; you gave {}. Use json for JSON.",
            given.join(" and ")
        ))),
    }
}

fn json(value: Option<&Value>) -> Result<Payload, CallError> {
    match value {
        None => Ok(Payload::None),
        // JSON within a string: taken as it is, so that its numbers keep every digit.
        Some(Value::String(text)) => {
            if serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok() {
                Ok(Payload::Json(text.trim().to_owned()))
            } else {
                Err(CallError::Invalid(
                    "json isn't valid JSON. Use json={\"name\": \"value\"}, or body for other \
                     text."
                        .to_owned(),
                ))
            }
        }
        Some(value) => Ok(Payload::Json(value.to_string())),
    }
}

#[cfg(test)]
mod tests;
