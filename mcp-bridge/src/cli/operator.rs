//! Describes the command lines of operators: `policy`, `provision`, `deprovision`.

use std::path::PathBuf;

use clap::Args;

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

/// Arguments of `provision`.
#[derive(Args, Debug)]
#[command(after_help = PROVISION_AFTER_HELP)]
pub(crate) struct Provision {
    /// Name of the agent: one for each machine
    #[arg(required_unless_present = "from", conflicts_with = "from")]
    pub(crate) agent: Option<String>,
    /// Services that it may call; without these and MCP servers, its policy stays as it is
    #[arg(long, value_delimiter = ',', value_name = "NAME,…", conflicts_with = "from")]
    pub(crate) services: Vec<String>,
    /// Methods to allow, or `any`
    #[arg(long, value_delimiter = ',', default_value = "GET,HEAD", value_name = "METHOD,…")]
    pub(crate) methods: Vec<String>,
    /// MCP servers whose approved tools it may use
    #[arg(long, value_delimiter = ',', value_name = "NAME,…", conflicts_with = "from")]
    pub(crate) mcp_services: Vec<String>,
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
  mcp_services = [\"linear\"]
  cidr = [\"10.0.0.7/32\"]
  ttl = \"30d\"

Exit status: 0 done; 2 wrong usage or configuration; 3 refused; 20 Vault can't be reached.";

/// Arguments of `deprovision`.
#[derive(Args, Debug)]
#[command(after_help = DEPROVISION_AFTER_HELP)]
pub(crate) struct Deprovision {
    /// Name of the agent
    pub(crate) agent: String,
    /// Enable the agent's identity again, after a mistake
    #[arg(long)]
    pub(crate) undo: bool,
    /// Print JSON
    #[arg(long)]
    pub(crate) json: bool,
}

const DEPROVISION_AFTER_HELP: &str = "\
Disables the agent's identity first, so that each of its tokens stops at the next request; then \
removes its role, its secret_ids and its policy. A step that fails keeps no other from being done.

--undo enables the identity, and no more: tokens that haven't ended live again, without a policy that \
lets them call. mcp-bridge provision gives policy and role back, and the machine enrols again.";
