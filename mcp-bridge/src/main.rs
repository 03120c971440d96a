//! Starts the bridge: hardens the process, reads the command line and runs one command.

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
mod tools;
mod upstream;
mod vault;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};
use crate::error::Exit;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are asked for, so they go to stdout and succeed; clap knows which.
        Err(error) => {
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage.into() } else { Exit::Success.into() };
        }
    };
    process::harden();
    let outcome = match cli.command {
        None => commands::serve::run(&cli.settings, &cli::Serve::default()),
        Some(Command::Serve(arguments)) => commands::serve::run(&cli.settings, &arguments),
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
        Some(Command::Forget) => commands::forget::run(&cli.settings),
        Some(Command::Provision(arguments)) => commands::provision::run(&cli.settings, &arguments),
        Some(Command::Deprovision(arguments)) => {
            commands::deprovision::run(&cli.settings, &arguments)
        }
        Some(Command::ClientConfig(arguments)) => {
            commands::client_config::run(&cli.settings, &arguments)
        }
        Some(Command::Completions(arguments)) => commands::manual::completions(&arguments),
        Some(Command::Man(arguments)) => commands::manual::man(&arguments),
    };
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            process::report(&error);
            error.exit().into()
        }
    }
}
