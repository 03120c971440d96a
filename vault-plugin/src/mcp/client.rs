//! One request to an MCP server and its answer.

use std::sync::Arc;

use serde_json::value::RawValue;
use tokio::time::Instant;

use crate::engine::{Engine, Snapshot};
use crate::error::{Code, Failure};

/// What a server says that it is.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it tells models about itself, unsanitised.
    pub instructions: Option<String>,
}

/// All that a server offers, each definition as the server wrote it, less the credential.
#[derive(Debug, Default)]
pub struct Listing {
    /// The revision of MCP that was spoken.
    pub protocol: String,
    /// Who answered.
    pub server: Server,
    /// Definitions of tools: JSON objects, in the server's order.
    pub tools: Vec<Box<RawValue>>,
    /// Definitions of prompts.
    pub prompts: Vec<Box<RawValue>>,
    /// Resources.
    pub resources: Vec<Box<RawValue>>,
    /// Templates of resources.
    pub templates: Vec<Box<RawValue>>,
    /// Why the rest was left out, if something was, in words for an operator.
    pub left_out: Vec<String>,
}

/// Lists all that a server offers, on a session of its own.
///
/// # Errors
/// A [`Failure`] with the code of what was in the way.
pub async fn list_all(
    _engine: &Engine,
    snapshot: &Arc<Snapshot>,
    _request_id: &str,
    _deadline: Instant,
) -> Result<Listing, Failure> {
    Err(Failure::new(
        Code::UpstreamProtocol,
        format!("\"{}\" can't be listed", snapshot.service.name),
    ))
}
