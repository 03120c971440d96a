//! Calls a tool, gets a prompt or reads a resource of an MCP server through the engine.

use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use crate::catalog::{ServiceName, Store, Use};
use crate::error::CallError;
use crate::proxy::{RefusedCredential, pieces};
use crate::refusal::Asked;
use crate::vault;

/// One call of an MCP server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Call {
    /// The server's service.
    pub(crate) service: ServiceName,
    /// What of it is used.
    pub(crate) one: Use,
    /// What is given to it.
    pub(crate) given: Given,
}

/// What a call gives.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Given {
    /// Arguments as JSON text, so that numbers reach the upstream as they were written.
    Arguments(String),
    /// A resource's URI as the server knows it.
    Uri(String),
}

/// What became of a call.
#[derive(Debug)]
pub(crate) struct Answer {
    /// What the server said.
    pub(crate) outcome: Outcome,
    /// In how many places the engine removed a credential.
    pub(crate) redacted: u64,
}

/// What a server said.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// A result, as JSON text.
    Result(String),
    /// An error in JSON-RPC's way.
    Error(RpcError),
}

/// An error that the server gave in place of a result.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct RpcError {
    /// JSON-RPC's code, or an HTTP status.
    pub(crate) code: i64,
    /// What the server says.
    pub(crate) message: String,
    /// And beside it.
    pub(crate) data: Option<Value>,
}

/// The engine's answer.
#[derive(Deserialize)]
struct Data {
    #[serde(default, deserialize_with = "text")]
    result: Option<String>,
    #[serde(default)]
    rpc_error: Option<RpcError>,
    #[serde(default)]
    redacted: u64,
    #[serde(default)]
    duration_ms: u64,
    #[serde(default)]
    request_id: Option<String>,
    #[serde(default)]
    catalog_revision: Option<String>,
    #[serde(default)]
    refused_credential: Option<Box<RefusedCredential>>,
}

/// Sends a call once, for a client of a revision.
///
/// # Errors
///
/// [`CallError`], including a server's 401, which tells of the stored credential and not of the
/// agent. An error of the server's own is an answer.
pub(crate) async fn send(store: &Store, call: &Call, revision: &str) -> Result<Answer, CallError> {
    let asked = Asked { store, service: &call.service, one: &call.one };
    let mut fields = Map::new();
    match &call.given {
        Given::Arguments(text) => fields.insert("arguments".to_owned(), pieces(text)),
        Given::Uri(uri) => fields.insert("uri".to_owned(), Value::from(uri.as_str())),
    };
    fields.insert("revision".to_owned(), Value::from(revision));
    let body = asked.send(fields).await?;
    let Some(data) = vault::data::<Data>(&body) else { return Err(asked.unreadable()) };
    // Not the arguments, nor a URI: they may hold what is private.
    tracing::info!(
        service = %call.service,
        segment = call.segment(),
        request_id = data.request_id.as_deref().unwrap_or_default(),
        duration_ms = data.duration_ms,
        error = data.rpc_error.as_ref().map(|error| error.code),
        "called"
    );
    asked.passed(data.catalog_revision.as_deref()).await;
    let http_401 = data.rpc_error.as_ref().is_some_and(|error| error.code == 401);
    if data.refused_credential.is_some() || http_401 {
        return Err(CallError::CredentialRefused {
            service: call.service.to_string(),
            mount: store.mount().to_string(),
            credential: data.refused_credential,
            request_id: data.request_id,
        });
    }
    let outcome = match (data.result, data.rpc_error) {
        (Some(result), _) => Outcome::Result(result),
        (None, Some(error)) => Outcome::Error(error),
        (None, None) => return Err(asked.unreadable()),
    };
    Ok(Answer { outcome, redacted: data.redacted })
}

impl Call {
    /// What stands in Vault's path behind the service.
    fn segment(&self) -> &str {
        match &self.one {
            Use::Tool(segment) | Use::Prompt(segment) => segment,
            Use::Method(_) | Use::Resources => "",
        }
    }
}

/// Reads a text, or its pieces.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Text {
        Whole(String),
        Pieces(Vec<String>),
    }
    Ok(Option::<Text>::deserialize(deserializer)?.map(|text| match text {
        Text::Whole(text) => text,
        Text::Pieces(pieces) => pieces.concat(),
    }))
}
