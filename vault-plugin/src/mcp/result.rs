//! From a server's answer to what the caller gets.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use serde_json::{Map, Value, json};
use vault_sdk::Response;

use super::client::{Answered, Client, Reply};
use super::cut::{Shape, shortened};
use super::message::{Asks, ResultKind};
use super::raw::{self, Build, few_fields};
use super::session::Session;
use super::trouble::{HttpRefusal, Trouble, capability_missing, input_required};
use crate::bounds;
use crate::error::{Code, Error, Failure};
use crate::proxy::answer::{Refused, stored_bytes_of};
use crate::proxy::limits::Memory;
use crate::proxy::service::Service;

/// MCP 2026-07-28: the request needs a capability that the client didn't declare.
const MISSING_CAPABILITY: i64 = -32021;
/// How long an error's message may be, in characters, and its data, in bytes.
const MESSAGE_CHARS: usize = 4096;
const DATA_BYTES: usize = 64 << 10;
/// And how deep that may be nested: whoever reads the answer reads it within others.
const DATA_LEVELS: usize = 64;
/// How much of an HTTP refusal's body is handed on, in characters.
const BODY_CHARS: usize = 1000;

/// What the server said: a result, or an error in MCP's or HTTP's way.
#[derive(Debug)]
pub(super) enum Said {
    /// The JSON of a result.
    Result(String),
    /// Code, message and data.
    Error(Map<String, Value>),
}

/// What the server said, fit to be handed on.
#[derive(Debug)]
pub(super) struct Clean {
    said: Said,
    truncated: bool,
    redacted: u32,
}

/// What an answer may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fit {
    pub(super) shape: Shape,
    /// In bytes.
    pub(super) most: usize,
}

/// An answer with what belongs to the call.
#[derive(Debug)]
pub(super) struct McpAnswer {
    pub(super) clean: Clean,
    /// Empty where it didn't come to one.
    pub(super) protocol: &'static str,
    /// By the server's own name, of a tool alone.
    pub(super) tool: Option<String>,
    pub(super) rule: String,
    /// The credential that was sent, if the server refused it.
    pub(super) refused: Option<Refused>,
    pub(super) request_id: String,
    pub(super) revision: Arc<str>,
    pub(super) duration: Duration,
    /// Until it has gone to the host.
    pub(super) memory: Option<Arc<Memory>>,
}

/// Takes the credential and the session's name out of an answer, and cuts it if it is too long.
///
/// # Errors
/// [`Trouble`] for a result that isn't one; `input_required_unsupported`; `response_too_large` for one
/// that can't be cut.
pub(super) async fn clean(
    client: &Client<'_>,
    session: Option<&Session>,
    answered: Answered,
    fit: Fit,
) -> Result<Clean, Trouble> {
    let service = &client.snapshot.service;
    match answered.reply {
        Reply::Error(text) => {
            let (text, redacted) = redacted(client, session, text).await?;
            let (error, truncated) = error(&text);
            if error.get("code").and_then(Value::as_i64) == Some(MISSING_CAPABILITY) {
                return Err(capability_missing(service, &wanted(&error)).into());
            }
            Ok(Clean { said: Said::Error(error), truncated, redacted })
        }
        Reply::Result(text) => {
            // Before anything is cut: half a secret wouldn't be found.
            let (text, redacted) = redacted(client, session, text).await?;
            match ResultKind::of(&text) {
                ResultKind::Complete => {}
                ResultKind::InputRequired(asks) => {
                    return Err(input_required(service, &asks, "waits for it").into());
                }
                // The whole answer was made of secrets.
                ResultKind::Unknown if redacted > 0 => {
                    let said = Said::Result(withheld(fit.shape, &text));
                    return Ok(Clean { said, truncated: true, redacted });
                }
                ResultKind::Unknown => {
                    return Err(Trouble::NotMcp("its result is of no kind that was asked for"));
                }
            }
            if text.len() <= fit.most {
                return Ok(Clean { said: Said::Result(text), truncated: false, redacted });
            }
            let cut = shortened(&text, fit.shape, fit.most);
            let said = cut.map(Said::Result).ok_or_else(|| too_large(service, fit.most))?;
            Ok(Clean { said, truncated: true, redacted })
        }
    }
}

/// An HTTP refusal as the caller gets it: its status is no status of Vault's.
pub(super) async fn refusal(
    client: &Client<'_>,
    session: Option<&Session>,
    refusal: HttpRefusal,
) -> Result<Clean, Trouble> {
    let HttpRefusal { status, body, retry_after, names_request: _ } = refusal;
    let reason = status.canonical_reason().unwrap_or("without a reason");
    let error = json!({
        "code": status.as_u16(),
        "message": format!("HTTP {} {reason}", status.as_u16()),
        "data": { "body": body.unwrap_or_default(), "retry_after": retry_after },
    });
    let (text, redacted) = redacted(client, session, error.to_string()).await?;
    let (mut error, mut truncated) = self::error(&text);
    if let Some(Value::String(body)) = error.get_mut("data").and_then(|data| data.get_mut("body")) {
        truncated |= cut_chars(body, BODY_CHARS);
    }
    Ok(Clean { said: Said::Error(error), truncated, redacted })
}

/// The credential first: a session's name, which the server chose, might be a part of it.
async fn redacted(
    client: &Client<'_>,
    session: Option<&Session>,
    text: String,
) -> Result<(String, u32), Failure> {
    let (text, redacted) = client.redacted(text).await?;
    let Some(session) = session else { return Ok((text, redacted)) };
    let (text, concealed) = session.conceal(text);
    Ok((text, redacted.saturating_add(concealed)))
}

/// Whether an HTTP refusal says that nothing was done.
pub(super) fn is_before_execution(status: StatusCode) -> bool {
    status.is_client_error()
}

impl McpAnswer {
    /// Whether the server gave a result.
    pub(super) fn is_result(&self) -> bool {
        matches!(self.clean.said, Said::Result(_))
    }

    /// Refuses an answer that the host couldn't store, if it is to be wrapped.
    ///
    /// # Errors
    /// `response_too_large`.
    pub(super) fn storable(self, service: &Service) -> Result<Self, Failure> {
        let text = match &self.clean.said {
            Said::Result(text) => text.clone(),
            Said::Error(error) => Value::Object(error.clone()).to_string(),
        };
        let names = self.tool.iter().map(String::as_str);
        let texts = names.chain([text.as_str(), &self.rule, &self.request_id, &self.revision]);
        if stored_bytes_of(texts) <= bounds::WRAPPED_ENTRY {
            return Ok(self);
        }
        Err(too_large(service, bounds::WRAPPED))
    }

    /// The fields of the answer.
    pub(super) fn into_response(self) -> Result<Response, Error> {
        let duration_ms = u64::try_from(self.duration.as_millis()).unwrap_or(u64::MAX);
        let (field, said) = match self.clean.said {
            Said::Result(text) => ("result", Value::String(text)),
            Said::Error(error) => ("rpc_error", Value::Object(error)),
        };
        let mut data = Map::from_iter([
            (field.to_owned(), said),
            ("truncated".to_owned(), self.clean.truncated.into()),
            ("redacted".to_owned(), self.clean.redacted.into()),
            ("duration_ms".to_owned(), duration_ms.into()),
            ("request_id".to_owned(), self.request_id.into()),
            ("rule".to_owned(), self.rule.into()),
            ("catalog_revision".to_owned(), self.revision.as_ref().into()),
            ("protocol".to_owned(), self.protocol.into()),
        ]);
        if let Some(tool) = self.tool {
            data.insert("tool".to_owned(), tool.into());
        }
        if let Some(refused) = self.refused {
            data.insert("refused_credential".to_owned(), refused.into_value());
        }
        let response = Response::object(data);
        Ok(response.map_err(|error| Error::Internal(error.to_string()))?.holding(self.memory))
    }
}

/// Reads an error, and tells whether something of it was cut; what isn't one is named so.
pub fn error(text: &str) -> (Map<String, Value>, bool) {
    let given = few_fields(text).unwrap_or_default();
    let code = given.get("code").and_then(|code| code.get().parse().ok()).unwrap_or(0_i64);
    let message = given.get("message").and_then(|message| raw::text(message));
    let mut message = message.unwrap_or_else(|| "an error without a message".to_owned());
    let mut truncated = cut_chars(&mut message, MESSAGE_CHARS);
    let mut error = Map::from_iter([
        ("code".to_owned(), Value::from(code)),
        ("message".to_owned(), message.into()),
    ]);
    if let Some(data) = given.get("data").filter(|data| data.get() != "null") {
        let fits = data.get().len() <= DATA_BYTES && Build::of(data.get()).levels <= DATA_LEVELS;
        let data: Option<Value> = fits.then(|| serde_json::from_str(data.get()).ok()).flatten();
        truncated |= data.is_none();
        error.extend(data.map(|data| ("data".to_owned(), data)));
    }
    (error, truncated)
}

/// What a server wants of its clients (`requiredCapabilities`).
fn wanted(error: &Map<String, Value>) -> Vec<Asks> {
    let required = error.get("data").and_then(|data| data.get("requiredCapabilities"));
    let required = required.and_then(Value::as_object);
    let mut asks = Vec::new();
    for name in required.into_iter().flat_map(Map::keys) {
        let asked = match name.as_str() {
            "sampling" => Asks::Sampling,
            "elicitation" => Asks::Elicitation,
            "roots" => Asks::Roots,
            _ => Asks::Other,
        };
        if !asks.contains(&asked) {
            asks.push(asked);
        }
    }
    asks
}

fn withheld(shape: Shape, mark: &str) -> String {
    let mark = serde_json::from_str::<String>(mark).unwrap_or_else(|_| "[redacted]".to_owned());
    let text = json!({ "type": "text", "text": mark });
    match shape {
        Shape::Tool => json!({ "content": [text], "isError": true }),
        Shape::Resource => json!({ "contents": [{ "uri": "", "text": mark }] }),
        Shape::Prompt => json!({ "messages": [{ "role": "user", "content": text }] }),
    }
    .to_string()
}

fn too_large(service: &Service, most: usize) -> Failure {
    Failure::new(
        Code::ResponseTooLarge,
        format!(
            "the answer of \"{}\" is larger than {most} bytes, this call's limit, and can't be cut. The \
             call was made: don't repeat it; ask for less",
            service.name
        ),
    )
}

fn cut_chars(text: &mut String, most: usize) -> bool {
    match text.char_indices().nth(most) {
        None => false,
        Some((end, _)) => {
            text.truncate(end);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_read_as_far_as_it_is_one() {
        let read = |text: &str| {
            let (error, truncated) = error(text);
            (error["code"].clone(), error["message"].clone(), error.get("data").cloned(), truncated)
        };
        let none = json!("an error without a message");
        assert_eq!(
            read(r#"{"code":-32602,"message":"no \u0041","data":{"a":[1]}}"#),
            (json!(-32602), json!("no A"), Some(json!({ "a": [1] })), false)
        );
        assert_eq!(read(r#"{"code":1.5,"data":null}"#), (json!(0), none.clone(), None, false));
        assert_eq!(read("[]"), (json!(0), none.clone(), None, false));
        let long = json!({ "message": "é".repeat(MESSAGE_CHARS + 1) }).to_string();
        assert_eq!(read(&long), (json!(0), json!("é".repeat(MESSAGE_CHARS)), None, true));
        let deep = |levels| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        for (data, is_there) in [
            (deep(DATA_LEVELS), true),
            (deep(DATA_LEVELS + 1), false),
            (deep(10_000), false),
            (format!("\"{}\"", "x".repeat(DATA_BYTES)), false),
        ] {
            let read = read(&format!(r#"{{"data":{data}}}"#));
            assert_eq!((read.2.is_some(), read.3), (is_there, !is_there), "{}", data.len());
        }
    }
}
