//! Describes the command line of `call`.

use clap::{Args, ValueEnum};

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
