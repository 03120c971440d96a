//! Checks step by step whether an agent on this machine can work.

use crate::catalog::Store;
use crate::cli;
use crate::config::OperatorToken;
use crate::error::{CallError, CommandError, Exit};
use crate::process;
use crate::vault::{LoginError, Unavailable};

/// Checks settings, Vault, login and catalog, and prints a line for each.
///
/// # Errors
///
/// [`CommandError`] at the first step that fails, after the lines of those that didn't.
pub(crate) fn run(settings: &cli::Settings) -> Result<Exit, CommandError> {
    let config = super::prepare(settings, OperatorToken::Ignored)?;
    let mut lines =
        format!("ok    settings: Vault at {}, engine at {}/\n", config.vault.names(), config.mount);
    super::block_on(async move {
        let store = Store::new(config);
        let outcome = store.refresh().await;
        store.session().revoke().await;
        let failed = match &outcome {
            Ok(_) => None,
            Err(CallError::Unavailable(Unavailable::NotMounted)) => Some("engine"),
            Err(CallError::Unavailable(_) | CallError::Login(LoginError::Unavailable(_))) => {
                Some("Vault")
            }
            Err(
                CallError::Login(_)
                | CallError::Invalid(_)
                | CallError::UnknownService { .. }
                | CallError::NotPermitted { .. }
                | CallError::CredentialRefused { .. }
                | CallError::Engine { .. }
                | CallError::OutcomeUnknown { .. }
                | CallError::Busy { .. }
                | CallError::Cancelled,
            ) => Some("login"),
        };
        for step in ["Vault", "login", "engine"] {
            if failed == Some(step) {
                lines.push_str(&format!("FAIL  {step}: {}\n", hint(step)));
                break;
            }
            lines.push_str(&format!("ok    {step}\n"));
        }
        if let Ok(catalog) = &outcome {
            let names = catalog.callable_names();
            lines.push_str(&if names.is_empty() {
                format!(
                    "none  services: the policy allows no call; mcp-bridge policy SERVICE prints \
                     one that does ({} in the catalog)\n",
                    catalog.services.len()
                )
            } else {
                format!("ok    services: {}\n", names.join(", "))
            });
        }
        process::output(lines.as_bytes())?;
        outcome?;
        Ok(Exit::Success)
    })
}

fn hint(step: &str) -> &'static str {
    match step {
        "Vault" => "check VAULT_ADDR and VAULT_CACERT; MCP_BRIDGE_LOG=debug says more",
        "login" => {
            "Vault refused the credential: check the role_id and secret_id files and the auth \
             mount, or have an operator issue a new secret_id; MCP_BRIDGE_LOG=debug says more"
        }
        _ => "check MCP_BRIDGE_MOUNT and VAULT_NAMESPACE, or have an operator enable the engine",
    }
}
