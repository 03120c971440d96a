//! Describes the settings that every command shares.

use std::path::PathBuf;

use clap::Args;

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
    /// File with the PIN of that credential, if it has one; without, a terminal asks [env:
    /// MCP_BRIDGE_PIN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) pin_file: Option<PathBuf>,
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
