//! Takes from an agent what it has in Vault, or gives its identity back.

use serde_json::json;

use crate::cli;
use crate::error::{CommandError, Exit};
use crate::operator::{self, Desk};
use crate::process;
use crate::vault::Client;

use super::provision;

/// Deprovisions one agent.
///
/// # Errors
///
/// [`CommandError`]; what was done before it is printed first.
pub(crate) fn run(
    settings: &cli::Settings,
    arguments: &cli::Deprovision,
) -> Result<Exit, CommandError> {
    let agent = provision::name(&arguments.agent)?;
    let operator = super::prepare_operator(settings)?;
    super::block_on(async move {
        let client = Client::new(operator.vault);
        let desk =
            Desk { client: &client, token: &operator.token, auth_mount: &operator.auth_mount };
        let mut steps = Vec::new();
        let outcome = if arguments.undo {
            operator::restore(&desk, &agent, &mut steps).await
        } else {
            operator::deprovision(&desk, &agent, &mut steps).await
        };
        let text = if arguments.json {
            format!("{}\n", json!({ "agent": agent.to_string(), "steps": steps }))
        } else {
            format!("{agent}\n{}", provision::lines(&steps))
        };
        process::output(text.as_bytes())?;
        outcome?;
        if arguments.undo && !arguments.json {
            process::note(&format!(
                "Role, secret_ids and policy stay gone, so nothing can be called yet: mcp-bridge \
                 provision {agent} --services …, then mcp-bridge enroll --force on its machine"
            ));
        }
        Ok(Exit::Success)
    })
}
