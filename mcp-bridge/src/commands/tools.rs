//! Shows what an agent on this machine is shown.

use std::sync::Arc;

use serde_json::Value;

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
        let store = Arc::new(Store::new(config));
        let catalog = store.refresh_whole().await;
        store.session().revoke().await;
        let catalog = catalog?;
        let snapshot = store.snapshot();
        let tools = Tools::new(Arc::clone(&store), false).definitions(&snapshot);
        let text = if json {
            serde_json::to_string(&tools).map_err(|_| CommandError::Output)?
        } else {
            let text = |tool: &Value, field: &str| {
                tool.get(field).and_then(Value::as_str).unwrap_or_default().to_owned()
            };
            let tools = tools.iter().map(|tool| {
                let (name, title) = (text(tool, "name"), text(tool, "title"));
                let description = text(tool, "description").replace('\n', "\n  ");
                format!("\n{name}: {title}\n  {description}\n")
            });
            let prompts = Tools::prompts(&snapshot);
            let prompts = prompts.iter().map(|prompt| {
                format!("\n{}: a prompt\n  {}\n", text(prompt, "name"), text(prompt, "description"))
            });
            let listed = tools.chain(prompts).collect::<String>();
            let overview = overview(&catalog, store.tool_limits());
            format!("{}\n{listed}\n{overview}", instructions(Some(&catalog)))
        };
        process::output(format!("{text}\n").as_bytes())?;
        Ok(Exit::Success)
    })
}
