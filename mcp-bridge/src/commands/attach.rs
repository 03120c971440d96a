//! Connects an MCP client's stdin and stdout to the bridge that runs as another user.

use crate::attach;
use crate::cli;
use crate::config::{ConfigErrors, Environment, Log, names};
use crate::error::{CommandError, Exit};
use crate::{logging, socket};

/// Relays until stdin ends. Reads neither a credential nor the configuration file.
///
/// # Errors
///
/// [`CommandError`] if the log can't be written as asked. A bridge that isn't there is no error:
/// each request tells of it.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Attach) -> Result<Exit, CommandError> {
    let environment = Environment::of_process();
    let filter = settings.log.clone();
    let file = settings.log_file.clone();
    let log = Log {
        filter: filter.or_else(|| environment.var(names::LOG.variable).map(str::to_owned)),
        file: file.or_else(|| environment.var(names::LOG_FILE.variable).map(Into::into)),
    };
    logging::start(&log).map_err(ConfigErrors::from)?;
    let path = socket::place(arguments.socket.clone(), &environment);
    super::block_on(async {
        attach::run(path).await;
        Ok(Exit::Success)
    })
}
