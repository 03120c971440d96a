//! Runs the commands, each in its own file, on one small runtime.

pub(crate) mod call;
pub(crate) mod client_config;
pub(crate) mod clients;
pub(crate) mod doctor;
mod dry_run;
pub(crate) mod manual;
pub(crate) mod policy;
mod report;
pub(crate) mod serve;
pub(crate) mod tools;

use std::future::Future;

use crate::cli;
use crate::config::{Config, ConfigErrors, Environment, OperatorToken};
use crate::error::CommandError;
use crate::{logging, process};

/// Reads the settings and starts what every command that speaks with Vault needs.
fn prepare(settings: &cli::Settings, operator: OperatorToken) -> Result<Config, CommandError> {
    let environment = Environment::of_process();
    let config = Config::load(settings, &environment, operator)?;
    logging::start(&config.log).map_err(ConfigErrors::from)?;
    process::install_tls_provider();
    for ignored in &config.ignored {
        tracing::warn!("{ignored}");
    }
    if config.vault.is_plain_and_far() {
        tracing::warn!("Vault's address is plain http to another machine: tokens can be read");
    }
    Ok(config)
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
