//! Which of a server's tools may be called: those that an operator approved, as they were approved.

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

/// Finds the tool that goes by a path segment, if it may be called.
///
/// # Errors
/// `unknown_tool`, `tool_not_approved`; storage's own.
pub async fn executable(
    _engine: &Engine,
    _storage: &dyn Storage,
    snapshot: &Snapshot,
    segment: &str,
) -> Result<ToolToCall, Error> {
    Err(Failure::new(
        Code::UnknownTool,
        format!("\"{}\" has no tool {segment}. Nothing was sent", snapshot.service.name),
    )
    .into())
}
