//! Shows what an agent on this machine is shown.

use crate::catalog::Store;
use crate::cli;
use crate::config::OperatorToken;
use crate::error::{CommandError, Exit};
use crate::process;
use crate::tools::{Tools, instructions, overview};

/// Prints instructions, tools and services, fresh from Vault.
///
/// # Errors
///
/// [`CommandError`] if the settings can't be used or Vault can't answer.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Tools) -> Result<Exit, CommandError> {
    let config = super::prepare_with_pin(settings, OperatorToken::Ignored)?;
    super::spare_delivered(&config)?;
    let json = arguments.json;
    super::block_on(async move {
        let store = Store::new(config);
        let catalog = store.refresh().await;
        store.session().revoke().await;
        let catalog = catalog?;
        let tools = Tools::definitions(&store.snapshot());
        let text = if json {
            serde_json::to_string(&tools).map_err(|_| CommandError::Output)?
        } else {
            let tools = tools
                .iter()
                .map(|tool| {
                    let title = tool.title.as_deref().unwrap_or_default();
                    let description = tool.description.as_deref().unwrap_or_default();
                    format!("\n{}: {title}\n  {description}\n", tool.name)
                })
                .collect::<String>();
            format!("{}\n{tools}\n{}", instructions(Some(&catalog)), overview(&catalog))
        };
        process::output(format!("{text}\n").as_bytes())?;
        Ok(Exit::Success)
    })
}
