//! Checks each link between agent and service in order, and says what mends the one that broke.

mod local;
mod server;
mod session;

use crate::catalog::Store;
use crate::cli;
use crate::config::{Environment, OperatorToken};
use crate::error::{CommandError, Exit};
use crate::process;

use super::report::{Fault, Report};

/// The links that need Vault, in order.
const REMOTE: [&str; 7] = ["network", "TLS", "Vault", "login", "mount", "policy", "services"];

/// How far to look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    /// Every link.
    All,
    /// What this machine alone can tell.
    Offline,
    /// This machine and Vault, but no client's files.
    Status,
}

/// Checks every link.
///
/// # Errors
///
/// [`CommandError`] only where there is nothing to report on; what is broken is in the report, and
/// the exit status tells the first broken link.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Doctor) -> Result<Exit, CommandError> {
    examine(settings, Reach::All, arguments.json)
}

/// Shows what this machine's bridge would work with.
///
/// # Errors
///
/// As [`run`].
pub(crate) fn status(
    settings: &cli::Settings,
    arguments: &cli::Status,
) -> Result<Exit, CommandError> {
    let reach = if arguments.offline { Reach::Offline } else { Reach::Status };
    examine(settings, reach, arguments.json)
}

fn examine(settings: &cli::Settings, reach: Reach, json: bool) -> Result<Exit, CommandError> {
    let mut report = Report::default();
    let mut exit = Exit::Success;
    match super::prepare(settings, OperatorToken::Ignored) {
        Ok(config) => {
            local::configuration(&config, &mut report);
            let readable = local::credential(&config.credential, &mut report);
            if reach != Reach::Offline {
                exit =
                    super::block_on(async { Ok(vault_side(config, readable, &mut report).await) })?;
            } else if !readable {
                exit = Exit::CredentialRefused;
            }
        }
        Err(CommandError::Config(errors)) => {
            for error in &errors.0 {
                report.fail(
                    "configuration",
                    error.to_string(),
                    Fault::ThisMachine,
                    "mcp-bridge --help lists the settings and where they may stand",
                );
            }
            report.skip(&["credential"]);
            if reach != Reach::Offline {
                report.skip(&REMOTE);
            }
            exit = Exit::Usage;
        }
        Err(error) => return Err(error),
    }
    if reach == Reach::All {
        local::clients(&Environment::of_process(), &mut report);
    }
    let text = if json { report.json() } else { report.lines() };
    process::output(text.as_bytes())?;
    // A later link that is broken, when nothing before it was.
    Ok(if exit == Exit::Success && !report.holds() { Exit::Broken } else { exit })
}

/// Tries the links that need Vault, until one breaks.
async fn vault_side(config: crate::config::Config, readable: bool, report: &mut Report) -> Exit {
    let rest = |done: usize| REMOTE.get(done..).unwrap_or_default();
    if !server::network(&config.vault, report).await {
        report.skip(rest(1));
        return Exit::VaultUnreachable;
    }
    let Some(server) = server::state(&config.vault, report).await else {
        return Exit::VaultUnreachable;
    };
    server::between(&server, report).await;
    if !readable {
        report.skip(rest(3));
        return Exit::CredentialRefused;
    }
    let store = Store::new(config);
    let exit = session::links(&store, report).await;
    store.session().revoke().await;
    exit
}
