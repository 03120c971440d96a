//! Words the answers that attach gives itself.

use std::path::Path;

use rmcp::model::RequestId;
use serde_json::{Value, json};

use super::connection::Fault;
use super::message::{Ask, Kind, SUBSCRIPTION};
use crate::error::CallError;
use crate::server::lines::MAX_LINE;
use crate::socket;

/// JSON-RPC's codes (JSON-RPC 2.0, section 5.1).
const INVALID_REQUEST: i32 = -32600;
const INTERNAL_ERROR: i32 = -32603;

/// Where the holder isn't, and why.
pub(super) struct Unreachable<'a> {
    pub(super) path: &'a Path,
    pub(super) fault: &'a Fault,
}

/// The answer to a request that no holder has got.
pub(super) fn unreachable(ask: &Ask, why: &Unreachable<'_>) -> Vec<u8> {
    let text = format!(
        "vault_unavailable: {} (socket {}). Nothing was sent. Not your mistake. The bridge keeps \
         trying; try again in 30 s, then tell the user to run: {}",
        why.fault,
        why.path.display(),
        socket::status_command(why.path)
    );
    match ask.kind {
        Kind::Call { .. } => failed(ask, &text),
        Kind::Initialize | Kind::Listen | Kind::ListTools | Kind::Other => {
            error(Some(&ask.id), INTERNAL_ERROR, &text)
        }
    }
}

/// The answer to a call whose holder has vanished; none for what can be asked again.
pub(super) fn lost(ask: &Ask) -> Option<Vec<u8>> {
    match &ask.kind {
        Kind::Call { service, check } => {
            let lost = CallError::OutcomeUnknown {
                service: service.clone().unwrap_or_else(|| "the service".to_owned()),
                cause: "the bridge's service on this machine stopped",
                check: *check,
            };
            Some(failed(ask, &lost.message()))
        }
        Kind::Initialize | Kind::Listen | Kind::ListTools | Kind::Other => None,
    }
}

/// The answer to a line that is too long.
pub(super) fn too_long(id: Option<RequestId>) -> Vec<u8> {
    let text = format!(
        "The message is longer than {} MiB, the most that this server takes. Nothing was sent. \
         Send less at once.",
        MAX_LINE / (1024 * 1024)
    );
    error(id.as_ref(), INVALID_REQUEST, &text)
}

/// Tells the client that the tools may have changed: the whole session, or one subscription.
pub(super) fn tools_changed(subscription: Option<&RequestId>) -> Vec<u8> {
    let mut message = json!({ "jsonrpc": "2.0", "method": "notifications/tools/list_changed" });
    if let Some(id) = subscription {
        message["params"] = json!({ "_meta": { SUBSCRIPTION: id } });
    }
    line(&message)
}

fn failed(ask: &Ask, text: &str) -> Vec<u8> {
    let mut result = json!({ "content": [{ "type": "text", "text": text }], "isError": true });
    if ask.modern {
        result["resultType"] = json!("complete");
    }
    line(&json!({ "jsonrpc": "2.0", "id": ask.id, "result": result }))
}

fn error(id: Option<&RequestId>, code: i32, text: &str) -> Vec<u8> {
    let mut message = json!({ "jsonrpc": "2.0", "error": { "code": code, "message": text } });
    // Where the id can't be read, MCP leaves it out.
    if let Some(id) = id {
        message["id"] = json!(id);
    }
    line(&message)
}

fn line(message: &Value) -> Vec<u8> {
    message.to_string().into_bytes()
}
