//! Names every setting once, as flag, variable and key of the file.

/// One setting's names. An empty one means that there is none.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Name {
    /// The flag, with its dashes.
    pub(crate) flag: &'static str,
    /// The environment variable.
    pub(crate) variable: &'static str,
    /// The key in the configuration file.
    pub(crate) key: &'static str,
}

impl Name {
    const fn new(flag: &'static str, variable: &'static str, key: &'static str) -> Self {
        Self { flag, variable, key }
    }

    /// Flag and variable, for a message about a setting that nothing sets.
    pub(crate) fn both(&self) -> String {
        format!("{} ({})", self.variable, self.flag)
    }
}

/// Vault's address.
pub(crate) const ADDRESS: Name = Name::new("--address", "VAULT_ADDR", "address");
/// Vault's namespace.
pub(crate) const NAMESPACE: Name = Name::new("--namespace", "VAULT_NAMESPACE", "namespace");
/// Authorities to trust.
pub(crate) const CA_CERT: Name = Name::new("--ca-cert", "VAULT_CACERT", "ca_cert");
/// This machine's certificate.
pub(crate) const CLIENT_CERT: Name = Name::new("--client-cert", "VAULT_CLIENT_CERT", "client_cert");
/// The key of this machine's certificate.
pub(crate) const CLIENT_KEY: Name = Name::new("--client-key", "VAULT_CLIENT_KEY", "client_key");
/// The name in the server's certificate.
pub(crate) const TLS_SERVER_NAME: Name =
    Name::new("--tls-server-name", "VAULT_TLS_SERVER_NAME", "tls_server_name");
/// The engine's mount.
pub(crate) const MOUNT: Name = Name::new("--mount", "MCP_BRIDGE_MOUNT", "mount");
/// The auth method's mount.
pub(crate) const AUTH_MOUNT: Name =
    Name::new("--auth-mount", "MCP_BRIDGE_AUTH_MOUNT", "auth_mount");
/// The file of the role_id.
pub(crate) const ROLE_ID_FILE: Name =
    Name::new("--role-id-file", "MCP_BRIDGE_ROLE_ID_FILE", "role_id_file");
/// The file of the secret_id.
pub(crate) const SECRET_ID_FILE: Name =
    Name::new("--secret-id-file", "MCP_BRIDGE_SECRET_ID_FILE", "secret_id_file");
/// The file of a token.
pub(crate) const TOKEN_FILE: Name =
    Name::new("--token-file", "MCP_BRIDGE_TOKEN_FILE", "token_file");
/// The file of the enrolled credential.
pub(crate) const CREDENTIAL: Name =
    Name::new("--credential", "MCP_BRIDGE_CREDENTIAL", "credential");
/// The file of the enrolled credential's PIN.
pub(crate) const PIN_FILE: Name = Name::new("--pin-file", "MCP_BRIDGE_PIN_FILE", "pin_file");
/// The file of a wrapping token that is delivered at each start.
pub(crate) const WRAPPING_TOKEN_FILE: Name =
    Name::new("--wrapping-token-file", "MCP_BRIDGE_WRAPPING_TOKEN_FILE", "wrapping_token_file");
/// The name of the AppRole role.
pub(crate) const ROLE: Name = Name::new("--role", "MCP_BRIDGE_ROLE", "role");
/// The way to the TPM.
pub(crate) const TCTI: Name = Name::new("--tcti", "MCP_BRIDGE_TCTI", "tcti");
/// The configuration file.
pub(crate) const CONFIG: Name = Name::new("--config", "MCP_BRIDGE_CONFIG", "");
/// The profile within it.
pub(crate) const PROFILE: Name = Name::new("--profile", "MCP_BRIDGE_PROFILE", "profile");
/// What to log.
pub(crate) const LOG: Name = Name::new("--log", "MCP_BRIDGE_LOG", "log");
/// Where to log.
pub(crate) const LOG_FILE: Name = Name::new("--log-file", "MCP_BRIDGE_LOG_FILE", "log_file");
/// Services to show without a catalog.
pub(crate) const SERVICES: Name = Name::new("", "", "services");
/// Tools of MCP servers that are always listed.
pub(crate) const FAVOURITES: Name = Name::new("", "MCP_BRIDGE_FAVOURITES", "favourites");
/// How many tools of MCP servers are listed.
pub(crate) const MAX_TOOLS: Name = Name::new("", "MCP_BRIDGE_MAX_TOOLS", "max_tools");
/// How large their definitions may be together.
pub(crate) const MAX_TOOL_BYTES: Name =
    Name::new("", "MCP_BRIDGE_MAX_TOOL_BYTES", "max_tool_bytes");
/// An operator's token; `call` alone reads it.
pub(crate) const VAULT_TOKEN: &str = "VAULT_TOKEN";
