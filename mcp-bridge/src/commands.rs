//! Runs the commands, each in its own file, on one small runtime.

#[cfg(unix)]
pub(crate) mod attach;
pub(crate) mod call;
pub(crate) mod client_config;
pub(crate) mod clients;
pub(crate) mod deprovision;
pub(crate) mod doctor;
mod dry_run;
#[cfg(unix)]
pub(crate) mod enroll;
#[cfg(unix)]
pub(crate) mod forget;
pub(crate) mod manual;
pub(crate) mod policy;
pub(crate) mod provision;
mod report;
#[cfg(unix)]
pub(crate) mod rotate;
pub(crate) mod serve;
pub(crate) mod tools;

use std::future::Future;

use crate::cli;
use crate::config::{
    Config, ConfigErrors, CredentialSource, Environment, Log, Operator, OperatorToken, VaultServer,
};
use crate::error::CommandError;
use crate::{logging, process};

/// Reads the settings and starts what every command that speaks with Vault needs.
fn prepare(settings: &cli::Settings, operator: OperatorToken) -> Result<Config, CommandError> {
    let environment = Environment::of_process();
    let config = Config::load(settings, &environment, operator)?;
    start(&config.log, config.vault.as_ref())?;
    for ignored in &config.ignored {
        tracing::warn!("{ignored}");
    }
    Ok(config)
}

/// The same for a command that a person may have typed, who is asked for the credential's PIN.
fn prepare_with_pin(
    settings: &cli::Settings,
    operator: OperatorToken,
) -> Result<Config, CommandError> {
    let mut config = prepare(settings, operator)?;
    #[cfg(unix)]
    if let CredentialSource::Enrolled(place) = &mut config.credential {
        crate::enrolled::pin::complete(place)?;
    }
    Ok(config)
}

/// The same for an operator's command.
fn prepare_operator(settings: &cli::Settings) -> Result<Operator, CommandError> {
    let operator = Operator::load(settings, &Environment::of_process())?;
    start(&operator.log, Some(&operator.vault))?;
    Ok(operator)
}

/// Refuses a wrapping token that is delivered for one start of a bridge: to look at something would
/// use it up.
fn spare_delivered(config: &Config) -> Result<(), CommandError> {
    if !matches!(config.credential, CredentialSource::Delivered(_)) {
        return Ok(());
    }
    Err(CommandError::Argument(
        "the settings lead to a wrapping token, which serves one start of a bridge, and this would \
         use it up: give another credential (--token-file, --credential)"
            .to_owned(),
    ))
}

fn start(log: &Log, vault: Option<&VaultServer>) -> Result<(), CommandError> {
    logging::start(log).map_err(ConfigErrors::from)?;
    process::install_tls_provider();
    if vault.is_some_and(VaultServer::is_plain_and_far) {
        tracing::warn!("Vault's address is plain http to another machine: tokens can be read");
    }
    Ok(())
}

/// Runs a future to its end on one thread.
fn block_on<T>(work: impl Future<Output = Result<T, CommandError>>) -> Result<T, CommandError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|_| CommandError::Start("the operating system gives no event loop"))?;
    let outcome = runtime.block_on(work);
    // A read of stdin that still waits must not keep the process.
    runtime.shutdown_background();
    outcome
}
