//! Starts the bridge: hardens the process, reads the command line and runs one command.

#[cfg(unix)]
mod attach;
mod catalog;
mod cli;
mod commands;
mod config;
#[cfg(unix)]
mod enrolled;
mod error;
mod logging;
mod operator;
mod private;
mod process;
mod proxy;
mod refusal;
mod secret;
mod server;
#[cfg(unix)]
mod socket;
mod tools;
mod upstream;
mod vault;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::{CommandError, Exit};

/// Wipes what is freed: HTTP and JSON libraries hold answers and requests with secrets in buffers
/// of their own, which nobody else can wipe.
#[global_allocator]
static WIPING: zeroizing_alloc::ZeroAlloc<std::alloc::System> =
    zeroizing_alloc::ZeroAlloc(std::alloc::System);

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are asked for, so they go to stdout and succeed; clap knows which.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() };
        }
    };
    let outcome = drop_authorities().and_then(|()| {
        process::harden();
        run(cli)
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            process::report(&error);
            error.exit().into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, CommandError> {
    match cli.command {
        None => commands::serve::run(&cli.settings, &cli::Serve::default()),
        Some(Command::Serve(arguments)) => commands::serve::run(&cli.settings, &arguments),
        #[cfg(unix)]
        Some(Command::Attach(arguments)) => commands::attach::run(&cli.settings, &arguments),
        Some(Command::Call(arguments)) => commands::call::run(&cli.settings, &arguments),
        Some(Command::Tools(arguments)) => commands::tools::run(&cli.settings, &arguments),
        Some(Command::Status(arguments)) => commands::doctor::status(&cli.settings, &arguments),
        Some(Command::Doctor(arguments)) => commands::doctor::run(&cli.settings, &arguments),
        Some(Command::Policy(arguments)) => commands::policy::run(&cli.settings, &arguments),
        #[cfg(unix)]
        Some(Command::Enroll(arguments)) => commands::enroll::run(&cli.settings, &arguments),
        #[cfg(unix)]
        Some(Command::Rotate) => commands::rotate::run(&cli.settings),
        #[cfg(unix)]
        Some(Command::Forget(arguments)) => commands::forget::run(&cli.settings, &arguments),
        Some(Command::Provision(arguments)) => commands::provision::run(&cli.settings, &arguments),
        Some(Command::Deprovision(arguments)) => {
            commands::deprovision::run(&cli.settings, &arguments)
        }
        Some(Command::ClientConfig(arguments)) => {
            commands::client_config::run(&cli.settings, &arguments)
        }
        Some(Command::Completions(arguments)) => commands::manual::completions(&arguments),
        Some(Command::Man(arguments)) => commands::manual::man(&arguments),
    }
}

/// Starts this program again, as the same process, without the variables by which the TLS library
/// would trust other authorities than the system's: whoever sets them would get the secret_id.
/// `ca_cert` names others where the credential isn't bound to one.
///
/// # Errors
///
/// [`CommandError::Start`] if the program can't be started again.
#[cfg(all(unix, not(target_vendor = "apple")))]
fn drop_authorities() -> Result<(), CommandError> {
    use std::os::unix::process::CommandExt as _;
    let set = ["SSL_CERT_FILE", "SSL_CERT_DIR"];
    let set = set.into_iter().filter(|name| std::env::var_os(name).is_some()).collect::<Vec<_>>();
    if set.is_empty() {
        return Ok(());
    }
    process::note(&format!(
        "mcp-bridge: ignored: {}; trusted are the system's authorities, or those of ca_cert",
        set.join(", ")
    ));
    let refused = |_| CommandError::Start("SSL_CERT_FILE and SSL_CERT_DIR can't be left out");
    let mut again = std::process::Command::new(std::env::current_exe().map_err(refused)?);
    let mut arguments = std::env::args_os();
    if let Some(name) = arguments.next() {
        again.arg0(name);
    }
    for name in set {
        again.env_remove(name);
    }
    Err(refused(again.args(arguments).exec()))
}

/// Elsewhere the system itself judges certificates, whatever the environment says.
#[cfg(not(all(unix, not(target_vendor = "apple"))))]
fn drop_authorities() -> Result<(), CommandError> {
    Ok(())
}
