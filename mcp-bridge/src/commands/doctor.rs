//! Checks each link between agent and service in order, and says what mends the one that broke.

#[cfg(unix)]
mod enrolled;
mod local;
mod server;
mod session;

use crate::catalog::Store;
use crate::cli;
use crate::config::{Config, CredentialSource, Enrolled, Environment, OperatorToken, VaultServer};
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

/// How an enrolled credential is opened.
#[derive(Clone, Copy, Debug)]
struct Opening {
    /// Whether its PIN may be tried, if it has one: the TPM counts.
    with_pin: bool,
    /// Whether the last try before the TPM locks may be spent on it.
    last_try: bool,
}

/// Checks every link.
///
/// # Errors
///
/// [`CommandError`] only where there is nothing to report on; what is broken is in the report, and
/// the exit status tells the first broken link.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Doctor) -> Result<Exit, CommandError> {
    let opening = Opening { with_pin: true, last_try: false };
    examine(settings, Reach::All, opening, arguments.json)
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
    let opening = Opening { with_pin: arguments.deep, last_try: arguments.force };
    examine(settings, reach, opening, arguments.json)
}

fn examine(
    settings: &cli::Settings,
    reach: Reach,
    opening: Opening,
    json: bool,
) -> Result<Exit, CommandError> {
    let mut report = Report::default();
    let exit = match super::prepare(settings, OperatorToken::Ignored) {
        Ok(mut config) => {
            complete(&mut config.credential, opening)?;
            local::configuration(&config, &mut report);
            super::block_on(async { Ok(both_sides(config, reach, opening, &mut report).await) })?
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
            Exit::Usage
        }
        Err(error) => return Err(error),
    };
    if reach == Reach::All {
        local::clients(&Environment::of_process(), &mut report);
    }
    let text = if json { report.json() } else { report.lines() };
    process::output(text.as_bytes())?;
    // A later link that is broken, when nothing before it was.
    Ok(if exit == Exit::Success && !report.holds() { Exit::Broken } else { exit })
}

/// Checks the credential, and then what needs Vault.
async fn both_sides(config: Config, reach: Reach, opening: Opening, report: &mut Report) -> Exit {
    let (server, readable) = match &config.credential {
        CredentialSource::Enrolled(place) => match kept(place, opening, report).await {
            Ok(Some(server)) => (Some(server), true),
            Ok(None) => {
                if reach != Reach::Offline {
                    report.skip(&REMOTE);
                }
                return Exit::Success;
            }
            Err(exit) => {
                if reach != Reach::Offline {
                    report.skip(&REMOTE);
                }
                return exit;
            }
        },
        source @ (CredentialSource::AppRole { .. }
        | CredentialSource::Delivered(_)
        | CredentialSource::TokenFile(_)
        | CredentialSource::Environment(_)) => {
            (config.vault.clone(), local::credential(source, report))
        }
    };
    match server {
        Some(server) if reach != Reach::Offline => {
            vault_side(config, &server, readable, report).await
        }
        Some(_) | None if !readable => Exit::CredentialRefused,
        Some(_) | None => Exit::Success,
    }
}

/// Asks for the PIN, where a person can be asked and it may be tried.
#[cfg(unix)]
fn complete(credential: &mut CredentialSource, opening: Opening) -> Result<(), CommandError> {
    if let CredentialSource::Enrolled(place) = credential
        && opening.with_pin
    {
        place.last_try = opening.last_try;
        crate::enrolled::pin::complete(place)?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn complete(_: &mut CredentialSource, _: Opening) -> Result<(), CommandError> {
    Ok(())
}

/// Gives the server that the credential is for; none if it wasn't to be opened.
#[cfg(unix)]
async fn kept(
    place: &Enrolled,
    opening: Opening,
    report: &mut Report,
) -> Result<Option<VaultServer>, Exit> {
    enrolled::credential(place, opening, report).await
}

#[cfg(not(unix))]
async fn kept(
    place: &Enrolled,
    _: Opening,
    report: &mut Report,
) -> Result<Option<VaultServer>, Exit> {
    let text = format!("{}: enrolled credentials are for Unix systems", place.file.display());
    report.fail("credential", text, Fault::ThisMachine, "use AppRole files");
    Err(Exit::CredentialRefused)
}

/// Tries the links that need Vault, until one breaks.
async fn vault_side(
    config: Config,
    vault: &VaultServer,
    readable: bool,
    report: &mut Report,
) -> Exit {
    let rest = |done: usize| REMOTE.get(done..).unwrap_or_default();
    if !server::network(vault, report).await {
        report.skip(rest(1));
        return Exit::VaultUnreachable;
    }
    let Some(server) = server::state(vault, report).await else {
        return Exit::VaultUnreachable;
    };
    server::between(&server, report).await;
    if !readable {
        report.skip(rest(3));
        return Exit::CredentialRefused;
    }
    if let CredentialSource::Delivered(delivered) = &config.credential {
        return session::delivered(vault, delivered, report).await;
    }
    let store = Store::new(config);
    let exit = session::links(&store, report).await;
    store.session().revoke().await;
    exit
}
