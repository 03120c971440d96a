//! Whether an MCP server can be spoken to: what comes before a call, and no call.

use std::sync::Arc;

use http::StatusCode;
use tokio::time::Instant;

use super::call::of;
use super::client::{Client, bound};
use super::trouble::Trouble;
use crate::engine::{Engine, Outcome, Snapshot};
use crate::error::Failure;
use crate::proxy::egress::EgressError;
use crate::proxy::policy;

/// Greets a server as a call would, and calls nothing: gives the revision that it speaks.
pub(crate) async fn greet(
    engine: &Engine,
    snapshot: &Arc<Snapshot>,
    request_id: &str,
    deadline: Instant,
) -> Result<&'static str, Greeting> {
    let service = &snapshot.service;
    let mcp = of(snapshot).map_err(Greeting::Refused)?;
    let passage =
        policy::admit(None, 0, service, mcp, &snapshot.places).map_err(Greeting::Refused)?;
    let credential = bound(snapshot).map_err(Greeting::Refused)?;
    let client = Client { snapshot, passage: &passage, credential, request_id, deadline };
    // What is remembered may be of a server that is gone.
    snapshot.mcp.era.forget();
    match client.open(None).await {
        Ok(opened) => {
            engine.note(&snapshot.service_id, credential, Outcome::Answered);
            Ok(opened.revision.as_str())
        }
        Err(trouble) => {
            trouble.note(engine, snapshot, credential);
            Err(match trouble {
                Trouble::Egress(error) => Greeting::Egress(error),
                Trouble::Status(refusal) => Greeting::Status(refusal.status),
                Trouble::NotMcp(_) | Trouble::Asked(_) | Trouble::Failure(_) => {
                    Greeting::Refused(trouble.before_the_call(service))
                }
            })
        }
    }
}

/// Why a server couldn't be greeted.
pub(crate) enum Greeting {
    /// On the way.
    Egress(EgressError),
    /// HTTP said no.
    Status(StatusCode),
    /// Ours, or what came isn't MCP.
    Refused(Failure),
}
