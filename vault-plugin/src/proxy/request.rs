//! What a caller asks for, parsed: a service's name, never a URL.

use bytes::Bytes;
use http::{HeaderValue, Method};
use serde_json::Value;
use vault_sdk::{Fields, Given};

use super::canonical::{CanonicalError, MAX_TARGET_BYTES, encode_component};
use super::headers;
use crate::error::Failure;
use crate::name::Name;

/// One request as the caller described it; nothing is checked against a service yet.
pub struct ProxyRequest {
    /// Which service.
    pub service: Name,
    /// Allowed at all by HTTP and by us.
    pub method: Method,
    /// Below the service's base URL; percent-encoded, not canonical yet.
    pub path: String,
    /// Plain text.
    pub query: Vec<(String, String)>,
    /// As given.
    pub headers: Vec<(String, String)>,
    /// The content type that goes with the form of the body.
    pub content_type: Option<HeaderValue>,
    /// Empty when there is none.
    pub body: Bytes,
}

impl std::fmt::Debug for ProxyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyRequest")
            .field("service", &self.service)
            .field("method", &self.method)
            .finish_non_exhaustive()
    }
}

impl ProxyRequest {
    /// Parses the fields of the proxy path.
    ///
    /// # Errors
    /// `invalid_request`, naming the field and what it should be.
    pub fn parse(fields: &mut Fields) -> Result<Self, Failure> {
        let service = Name::parse(fields.text("service"))
            .map_err(|error| Failure::invalid(format!("the service's name: {error}")))?;
        let method = given(fields.str("method")).unwrap_or_else(|| "GET".to_owned());
        let method =
            headers::parse_method(&method).map_err(|error| Failure::invalid(error.to_string()))?;
        let path = given(fields.str("path")).unwrap_or_default();
        let query =
            given(fields.str("query")).map_or_else(|| Ok(Vec::new()), |text| query(&text))?;
        let headers = given(fields.pairs("headers")).unwrap_or_default();
        let (content_type, body) = body(fields, &method)?;
        Ok(Self { service, method, path, query, headers, content_type, body })
    }
}

fn given<T>(given: Option<Given<T>>) -> Option<T> {
    given.and_then(Given::value)
}

/// The JSON text of a query, in bytes: what fits a request target, with each byte of it escaped and quoted.
const MAX_QUERY_TEXT: usize = 8 * MAX_TARGET_BYTES;

fn query(text: &str) -> Result<Vec<(String, String)>, Failure> {
    const WANTED: &str = "query wants an object of parameters, not yet encoded, such as {\"page\":\"2\"}; \
         a list value repeats the parameter. Nothing was sent";
    // A tree of it may take a hundred times its memory.
    if text.len() > MAX_QUERY_TEXT {
        return Err(Failure::invalid(format!("{}. Nothing was sent", CanonicalError::TooLong)));
    }
    let Ok(Value::Object(object)) = serde_json::from_str(text) else {
        return Err(Failure::invalid(WANTED));
    };
    let mut query = Vec::with_capacity(object.len());
    for (name, value) in object {
        let values = match value {
            Value::Array(values) => values,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => {
                vec![value]
            }
        };
        for value in values {
            let value = match value {
                Value::String(text) => text,
                Value::Number(number) => number.to_string(),
                Value::Bool(flag) => flag.to_string(),
                Value::Null | Value::Array(_) | Value::Object(_) => {
                    return Err(Failure::invalid(WANTED));
                }
            };
            query.push((name.clone(), value));
        }
    }
    Ok(query)
}

/// The content type of `form`.
pub const FORM: &str = "application/x-www-form-urlencoded";

const FORMS: [&str; 4] = ["json", "form", "body", "body_base64"];

fn body(fields: &mut Fields, method: &Method) -> Result<(Option<HeaderValue>, Bytes), Failure> {
    let mut used = FORMS.iter().filter(|form| fields.has(form));
    let Some(form) = used.next() else { return Ok((None, Bytes::new())) };
    if used.next().is_some() {
        return Err(Failure::invalid(
            "more than one of json, form, body, body_base64 was given. Use exactly one. \
             Nothing was sent",
        ));
    }
    if *method == Method::GET || *method == Method::HEAD {
        return Err(Failure::invalid(format!(
            "a {method} request has no body, so leave {form} out. Nothing was sent"
        )));
    }
    match *form {
        "json" => {
            let text = given(fields.str("json")).unwrap_or_default();
            // Well-formed or not; what it means is the upstream's business, to the letter.
            if serde_json::from_str::<serde::de::IgnoredAny>(&text).is_err() {
                return Err(Failure::invalid(
                    "json isn't well-formed JSON. Give an object, or its text. Nothing was sent",
                ));
            }
            Ok((Some(HeaderValue::from_static("application/json")), Bytes::from(text)))
        }
        "form" => {
            let pairs = given(fields.pairs("form")).unwrap_or_default();
            let encoded: Vec<String> = pairs
                .iter()
                .map(|(name, value)| {
                    format!("{}={}", encode_component(name), encode_component(value))
                })
                .collect();
            Ok((Some(HeaderValue::from_static(FORM)), Bytes::from(encoded.join("&"))))
        }
        "body_base64" => {
            use base64::Engine as _;
            let text = given(fields.str("body_base64")).unwrap_or_default();
            let bytes = base64::engine::general_purpose::STANDARD.decode(text).map_err(|_| {
                Failure::invalid("body_base64 isn't standard base64 with padding. Nothing was sent")
            })?;
            Ok((Some(HeaderValue::from_static("application/octet-stream")), Bytes::from(bytes)))
        }
        _ => {
            let text = given(fields.str("body")).unwrap_or_default();
            Ok((Some(HeaderValue::from_static("text/plain; charset=utf-8")), Bytes::from(text)))
        }
    }
}
