//! Describes the command line: commands, flags and their help.

mod call;
#[cfg(unix)]
mod enroll;
mod operator;
mod serve;
mod settings;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::commands::clients::Client;

pub(crate) use call::{Call, Output};
#[cfg(unix)]
pub(crate) use enroll::{Enroll, EnrollStore};
pub(crate) use operator::{Deprovision, Policy, Provision};
#[cfg(unix)]
pub(crate) use serve::Attach;
pub(crate) use serve::Serve;
pub(crate) use settings::Settings;

/// Lets an AI agent use APIs through HashiCorp Vault or OpenBao.
///
/// Without a command, mcp-bridge serves MCP on stdin and stdout: an MCP client starts it. Vault's
/// mcp-proxy engine makes the requests and adds the credentials, so that no API key is ever on
/// this machine.
#[derive(Debug, Parser)]
#[command(name = "mcp-bridge", version, long_version = LONG_VERSION)]
#[command(max_term_width = 100, after_help = AFTER_HELP)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) settings: Settings,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

const LONG_VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\nfeatures: credentials sealed to a TPM, delivered at start, or in files",
    "\nprotocols: MCP 2024-11-05 to 2026-07-28 on stdio; TLS 1.2 and 1.3 by rustls with ring",
);

const AFTER_HELP: &str = "\
Settings come from flags, then the environment, then the profile of the configuration file, then \
the file's top level. A machine logs in with the credential that `enroll` keeps, with a wrapping \
token that is delivered at each start, or with AppRole files; a token file is for development. No \
secret is ever an argument. An enrolled credential goes to the Vault that it was enrolled for alone.

Examples:
  mcp-bridge                                     serve MCP (what an MCP client runs)
  mcp-bridge call github GET /user               one request, the answer's body on stdout
  mcp-bridge tools                               what an agent on this machine is shown
  mcp-bridge doctor                              what is wrong, whose fault, what mends it
  mcp-bridge client-config claude-code --install have Claude Code start this bridge
  mcp-bridge policy github --methods GET,POST    the Vault policy that such an agent needs
  mcp-bridge provision build7 --services github  operator: what a new machine needs in Vault";

/// What the bridge can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve MCP on stdin and stdout (what happens without a command)
    Serve(Serve),
    /// Connect an MCP client to a bridge that runs as another user (serve --socket)
    #[cfg(unix)]
    Attach(Attach),
    /// Send one request through Vault and print the answer's body
    Call(Call),
    /// Show the tools and services as an agent on this machine sees them
    Tools(Tools),
    /// Show what this machine's bridge works with: settings, credential, token, services
    Status(Status),
    /// Check step by step whether an agent on this machine can work, and say what to mend
    Doctor(Doctor),
    /// Print the Vault policy that an agent needs for some services
    Policy(Policy),
    /// Keep this machine's credential, out of a wrapping token, sealed to its TPM
    #[cfg(unix)]
    Enroll(Enroll),
    /// Replace this machine's secret_id and destroy the one before (enrolled with --self-rotate)
    #[cfg(unix)]
    Rotate,
    /// Delete this machine's enrolled credential, in Vault too if it may
    #[cfg(unix)]
    Forget(Forget),
    /// Operator: give agents policy, role, identity and a wrapped secret_id in Vault
    Provision(Provision),
    /// Operator: take from an agent what it has in Vault; its tokens stop at once
    Deprovision(Deprovision),
    /// Print the entry for an MCP client's configuration, or install it there
    ClientConfig(ClientConfig),
    /// Print completions for a shell
    Completions(Completions),
    /// Print the manual page
    Man(Manual),
}

/// Arguments of `tools`.
#[derive(Args, Debug)]
pub(crate) struct Tools {
    /// Print the tools as JSON, schemas included
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `status`.
#[derive(Args, Debug)]
#[command(after_help = EXITS)]
pub(crate) struct Status {
    /// Open the credential even where that takes its PIN, as the bridge does at its start
    #[arg(long)]
    pub(crate) deep: bool,
    /// With --deep: spend the last try for the PIN before the TPM locks
    #[arg(long, requires = "deep")]
    pub(crate) force: bool,
    /// Ask nothing of Vault: tell what this machine alone knows
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

/// Arguments of `forget`.
#[cfg(unix)]
#[derive(Args, Debug)]
#[command(after_help = FORGET_AFTER_HELP)]
pub(crate) struct Forget {
    /// Delete it also where it can't be opened now, and so ends nothing in Vault
    #[arg(long)]
    pub(crate) force: bool,
}

#[cfg(unix)]
const FORGET_AFTER_HELP: &str = "\
It destroys the secret_id in Vault where it may (enrolled with --self-rotate), and else names each \
one that lives on with the command that ends it. Where a PIN, a permission or patience would open \
the credential, it is kept. Tokens of bridges that run live on for up to their lifetime: stop the \
bridges.";

/// Arguments of `doctor`.
#[derive(Args, Debug)]
#[command(after_help = EXITS)]
pub(crate) struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const EXITS: &str = "\
Exit status, by the first link that doesn't hold: 0 all hold; 2 configuration; 20 Vault can't be \
reached or can't work; 21 the credential can't be read or is refused; 10 to 16 what keeps the \
enrolled credential (10 no TPM, 11 no permission for it, 12 changed registers, 13 another TPM, 14 \
PIN, 15 lockout, 16 the file); 1 a later one.";

/// Arguments of `client-config`.
#[derive(Args, Debug)]
#[command(after_help = CLIENT_CONFIG_AFTER_HELP)]
pub(crate) struct ClientConfig {
    /// The MCP client
    #[arg(value_enum)]
    pub(crate) client: Client,
    /// Write the entry to the client's own file; its other entries and comments stay
    #[arg(long, conflicts_with = "uninstall")]
    pub(crate) install: bool,
    /// Take the entry out of the client's own file
    #[arg(long)]
    pub(crate) uninstall: bool,
    /// Have the client start `attach`: the bridge itself runs as another user
    #[cfg(unix)]
    #[arg(long)]
    pub(crate) attach: bool,
    /// The entry's name, which models see in each tool's name
    #[arg(long, default_value = "apis")]
    pub(crate) name: String,
    /// Another file than the client's usual one, for example a project's
    #[arg(long, value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

const CLIENT_CONFIG_AFTER_HELP: &str = "\
Settings that flags and environment give now go into the entry as flags; what the configuration \
file gives is found there again. No secret is ever written.

Examples:
  mcp-bridge client-config claude-code --install
  mcp-bridge client-config cursor --install --file .cursor/mcp.json
  mcp-bridge client-config codex --uninstall";

/// Arguments of `completions`.
#[derive(Args, Debug)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

/// Arguments of `man`.
#[derive(Args, Debug)]
pub(crate) struct Manual {
    /// Write this page and one for each command into a directory
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
