//! Which of a server's tools and prompts may be called: those that an operator approved, as long as
//! they are as approved.

use std::sync::Arc;

use serde_json::Value;
use vault_sdk::Storage;

use crate::engine::{Engine, Snapshot};
use crate::error::{Code, Error, Failure};

/// A tool that may be called.
#[derive(Clone, Debug)]
pub struct ToolToCall {
    /// The name that the server itself uses.
    pub upstream_name: String,
    /// As approved; says which arguments are mirrored into headers.
    pub input_schema: Value,
}

/// Finds the tool that goes by a path segment, if it may be called. Rules are the caller's to ask.
///
/// The server is looked at again in the background when that is due; nothing waits for it.
///
/// # Errors
/// `unknown_tool`, `tool_not_approved`; storage's own.
pub async fn executable(
    _engine: &Arc<Engine>,
    _storage: &Arc<dyn Storage>,
    snapshot: &Snapshot,
    segment: &str,
) -> Result<ToolToCall, Error> {
    Err(Failure::new(
        Code::UnknownTool,
        format!("\"{}\" has no tool {segment}. Nothing was sent", snapshot.service.name),
    )
    .into())
}

/// Finds the upstream's name of the prompt that goes by a path segment, if it may be asked for.
///
/// # Errors
/// As of [`executable`].
pub async fn promptable(
    _engine: &Arc<Engine>,
    _storage: &Arc<dyn Storage>,
    snapshot: &Snapshot,
    segment: &str,
) -> Result<String, Error> {
    Err(Failure::new(
        Code::UnknownTool,
        format!("\"{}\" has no prompt {segment}. Nothing was sent", snapshot.service.name),
    )
    .into())
}
