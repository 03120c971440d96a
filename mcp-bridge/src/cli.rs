//! Describes the command line: commands, flags and their help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::commands::clients::Client;

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

/// Settings that every command shares.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    /// Address of Vault, for example https://vault.example:8200; several nodes of one cluster with
    /// commas between [env: VAULT_ADDR]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) address: Option<String>,
    /// Namespace within Vault [env: VAULT_NAMESPACE]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) namespace: Option<String>,
    /// Where the mcp-proxy engine is mounted [default: mcp-proxy] [env: MCP_BRIDGE_MOUNT]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) mount: Option<String>,
    /// PEM file of the authorities to trust for Vault, instead of the system's [env: VAULT_CACERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// PEM file of this machine's TLS certificate [env: VAULT_CLIENT_CERT]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_cert: Option<PathBuf>,
    /// PEM file of that certificate's key [env: VAULT_CLIENT_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) client_key: Option<PathBuf>,
    /// Name that Vault's certificate must carry, if not the address's [env: VAULT_TLS_SERVER_NAME]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) tls_server_name: Option<String>,
    /// Where AppRole is mounted [default: approle] [env: MCP_BRIDGE_AUTH_MOUNT]
    #[arg(long, global = true, value_name = "PATH")]
    pub(crate) auth_mount: Option<String>,
    /// File that holds the role_id [env: MCP_BRIDGE_ROLE_ID_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) role_id_file: Option<PathBuf>,
    /// File that holds the secret_id [env: MCP_BRIDGE_SECRET_ID_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) secret_id_file: Option<PathBuf>,
    /// File that holds a Vault token, for development [env: MCP_BRIDGE_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) token_file: Option<PathBuf>,
    /// File of the credential that `enroll` keeps [default:
    /// ~/.local/state/mcp-bridge/credential.sealed] [env: MCP_BRIDGE_CREDENTIAL]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) credential: Option<PathBuf>,
    /// File with a wrapping token, for `enroll`, or delivered at each start [env:
    /// MCP_BRIDGE_WRAPPING_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) wrapping_token_file: Option<PathBuf>,
    /// Name of the AppRole role that a wrapping token must be of [env: MCP_BRIDGE_ROLE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) role: Option<String>,
    /// Way to the TPM [default: device:/dev/tpmrm0] [env: MCP_BRIDGE_TCTI]
    #[arg(long, global = true, value_name = "TCTI")]
    pub(crate) tcti: Option<String>,
    /// Configuration file [default: ~/.config/mcp-bridge/config.toml] [env: MCP_BRIDGE_CONFIG]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Profile of the configuration file [env: MCP_BRIDGE_PROFILE]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// What to log on stderr: error, warn, info, debug or a filter [env: MCP_BRIDGE_LOG]
    #[arg(long, global = true, value_name = "FILTER")]
    pub(crate) log: Option<String>,
    /// File that gets the log as well; stderr then keeps to warnings [env: MCP_BRIDGE_LOG_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) log_file: Option<PathBuf>,
}

/// What the bridge can do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve MCP on stdin and stdout (what happens without a command)
    Serve(Serve),
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
    /// Replace this machine's secret_id by a new one (enrolled with --self-rotate)
    #[cfg(unix)]
    Rotate,
    /// Delete this machine's enrolled credential, in Vault too if it may
    #[cfg(unix)]
    Forget,
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

/// Arguments of `serve`.
#[derive(Args, Debug, Default)]
pub(crate) struct Serve {
    /// Add structuredContent to results, for programs: models read the text
    #[arg(long)]
    pub(crate) structured_results: bool,
}

/// Arguments of `call`.
#[derive(Args, Debug)]
#[command(after_help = CALL_AFTER_HELP)]
pub(crate) struct Call {
    /// Name of the service
    pub(crate) service: String,
    /// HTTP method
    pub(crate) method: String,
    /// Path below the service's base URL, beginning with '/'
    pub(crate) path: String,
    /// Query parameter, not yet encoded; may be repeated
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) query: Vec<String>,
    /// Request header; may be repeated; never a credential
    #[arg(long, value_name = "NAME=VALUE")]
    pub(crate) header: Vec<String>,
    /// JSON request body
    #[arg(long, value_name = "JSON", conflicts_with_all = ["data", "form"])]
    pub(crate) json: Option<String>,
    /// Form field, sent as application/x-www-form-urlencoded; may be repeated
    #[arg(long, value_name = "NAME=VALUE", conflicts_with = "data")]
    pub(crate) form: Vec<String>,
    /// Request body as it is: text, @FILE, or - for stdin
    #[arg(long, value_name = "TEXT|@FILE|-")]
    pub(crate) data: Option<String>,
    /// Send nothing: show what Vault's policy and the engine say of the call
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// What to print
    #[arg(long, value_enum, default_value_t = Output::Body)]
    pub(crate) output: Output,
}

/// What `call` prints on stdout.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// The answer's body, byte for byte; the status line goes to stderr
    #[default]
    Body,
    /// Status, headers and body as one JSON object
    Json,
    /// The text that an agent would get
    Agent,
}

const CALL_AFTER_HELP: &str = "\
If no credential is configured or enrolled here, `call` uses VAULT_TOKEN, as operators are used to; \
`serve` never does.

Exit status: 0 done; 2 wrong usage or configuration; 3 refused; 4 Vault can't be reached; 22 the \
service answered with 4xx or 5xx, or couldn't be reached.

Example:
  mcp-bridge call github POST /repos/me/demo/issues --json '{\"title\":\"It works\"}'";

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
    /// Ask nothing of Vault: tell what this machine alone knows
    #[arg(long)]
    pub(crate) offline: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

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

/// Arguments of `policy`.
#[derive(Args, Debug)]
pub(crate) struct Policy {
    /// Names of the services
    #[arg(required = true)]
    pub(crate) services: Vec<String>,
    /// Methods to allow, or `any`
    #[arg(long, value_delimiter = ',', default_value = "GET,HEAD", value_name = "METHOD,…")]
    pub(crate) methods: Vec<String>,
    /// The services are MCP servers: their tools to allow, by the segments that `mcp-bridge tools`
    /// shows behind the service's name, or `any`
    #[arg(long, value_delimiter = ',', value_name = "TOOL,…", conflicts_with = "methods")]
    pub(crate) tools: Vec<String>,
}

/// Arguments of `enroll`.
#[cfg(unix)]
#[derive(Args, Debug)]
#[command(after_help = ENROLL_AFTER_HELP)]
pub(crate) struct Enroll {
    /// The role's id, or @FILE
    #[arg(long, value_name = "ID|@FILE")]
    pub(crate) role_id: String,
    /// Accessor of the secret_id that was issued: another one is refused
    #[arg(long, value_name = "ACCESSOR")]
    pub(crate) accessor: Option<String>,
    /// What is to keep the credential
    #[arg(long, value_enum, default_value_t = EnrollStore::Tpm2)]
    pub(crate) store: EnrollStore,
    /// Bind it to platform registers too, like 7; an update of the firmware then ends it
    #[arg(long, value_name = "N,…")]
    pub(crate) pcrs: Option<String>,
    /// Let this machine replace its secret_id itself (provisioned with --self-rotate)
    #[arg(long)]
    pub(crate) self_rotate: bool,
    /// Replace a credential that is kept already
    #[arg(long)]
    pub(crate) force: bool,
    /// Say that --store plain-file protects against nobody who can copy the file
    #[arg(long)]
    pub(crate) i_understand_this_is_not_protected: bool,
}

/// What keeps an enrolled credential.
#[cfg(unix)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum EnrollStore {
    /// This machine's TPM: a copied disk, backup or image is of no use elsewhere
    Tpm2,
    /// Nothing: a wrapping token is delivered at each start
    External,
    /// NOT PROTECTED: whoever copies the file has the credential
    PlainFile,
}

#[cfg(unix)]
const ENROLL_AFTER_HELP: &str = "\
mcp-bridge provision prints this command. The wrapping token comes on stdin or in \
--wrapping-token-file, never as an argument. The TPM is tried first; then Vault is asked where the \
token was made, and only then is it used up.

What no store stops: a process of the same user on this machine, while it runs.

Exit status: 0 done; 2 wrong usage; 10 no TPM; 11 no permission for it; 12 to 15 it refuses; 16 the \
file; 20 Vault can't be reached; 21 it refuses the credential; 22 the wrapping token was used, \
remade or isn't one: have the secret_id revoked.";

/// Arguments of `provision`.
#[derive(Args, Debug)]
#[command(after_help = PROVISION_AFTER_HELP)]
pub(crate) struct Provision {
    /// Name of the agent: one for each machine
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    pub(crate) agent: Option<String>,
    /// Services that it may call; without, its policy stays as it is
    #[arg(long, value_delimiter = ',', value_name = "NAME,…", conflicts_with = "from")]
    pub(crate) services: Vec<String>,
    /// Methods to allow, or `any`
    #[arg(long, value_delimiter = ',', default_value = "GET,HEAD", value_name = "METHOD,…")]
    pub(crate) methods: Vec<String>,
    /// Networks that it may log in and call from; without, any, or what is set already
    #[arg(long, value_delimiter = ',', value_name = "CIDR,…", conflicts_with = "from")]
    pub(crate) cidr: Option<Vec<String>>,
    /// How long a secret_id serves, like 720h or 30d [default: 720h, or what is set already]
    #[arg(long, value_name = "TIME", conflicts_with = "from")]
    pub(crate) ttl: Option<String>,
    /// Let the agent's machine replace its own secret_id; whoever steals a token can do so too
    #[arg(long)]
    pub(crate) self_rotate: bool,
    /// Issue no secret_id: bring policy, role and identity up to date alone
    #[arg(long)]
    pub(crate) no_secret_id: bool,
    /// Provision every agent of a TOML file
    #[arg(long, value_name = "FILE")]
    pub(crate) from: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const PROVISION_AFTER_HELP: &str = "\
Works with your own token: --token-file, VAULT_TOKEN or ~/.vault-token; hcl/provisioner.hcl is a \
policy that is enough. Running it again changes \
what differs, keeps the rest, and issues another secret_id. The wrapping token that it prints \
serves once, for five minutes; hand it over by a way that you trust.

A file for --from:
  [agents.build7]
  services = [\"github\", \"sonarr\"]
  methods = [\"GET\", \"HEAD\"]
  cidr = [\"10.0.0.7/32\"]
  ttl = \"30d\"

Exit status: 0 done; 2 wrong usage or configuration; 3 refused; 20 Vault can't be reached.";

/// Arguments of `deprovision`.
#[derive(Args, Debug)]
#[command(after_help = DEPROVISION_AFTER_HELP)]
pub(crate) struct Deprovision {
    /// Name of the agent
    pub(crate) agent: String,
    /// Enable the agent's identity again: its tokens that haven't ended serve again
    #[arg(long)]
    pub(crate) undo: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const DEPROVISION_AFTER_HELP: &str = "\
Disables the agent's identity first, so that each of its tokens stops at the next request; then \
removes its role, its secret_ids and its policy. --undo enables the identity; role and policy come \
back with mcp-bridge provision.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }
}
