//! Describes the arguments of `serve` and `attach`.

#[cfg(unix)]
use std::path::PathBuf;

use clap::Args;

/// Arguments of `serve`.
#[derive(Args, Debug, Default)]
#[command(after_help = SERVE_AFTER_HELP)]
pub(crate) struct Serve {
    /// Add structuredContent to results, for programs: models read the text
    #[arg(long)]
    pub(crate) structured_results: bool,
    /// Serve on a Unix socket instead of stdin and stdout, for MCP clients of other users
    #[cfg(unix)]
    #[arg(long, value_name = "PATH", requires = "allow_user")]
    pub(crate) socket: Option<PathBuf>,
    /// A user, by name or number, whose MCP clients may use the socket; repeat it for others
    #[cfg(unix)]
    #[arg(long, value_name = "USER", requires = "socket")]
    pub(crate) allow_user: Vec<String>,
}

/// Arguments of `attach`.
#[cfg(unix)]
#[derive(Args, Debug)]
#[command(after_help = ATTACH_AFTER_HELP)]
pub(crate) struct Attach {
    /// The bridge's socket [default: /run/mcp-bridge/mcp-bridge.sock, or
    /// /run/mcp-bridge/USER/mcp-bridge.sock] [env: MCP_BRIDGE_SOCKET]
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: Option<PathBuf>,
}

const SERVE_AFTER_HELP: &str = "\
With --socket, the bridge runs as a user of its own, who alone can read the credential, and the \
MCP client starts `mcp-bridge attach`. All clients share one login. Who connects is checked by uid.

Examples:
  mcp-bridge serve                               what an MCP client runs
  mcp-bridge serve --socket /run/mcp-bridge/mcp-bridge.sock --allow-user alice";

#[cfg(unix)]
const ATTACH_AFTER_HELP: &str = "\
It has no credential and no settings but the socket. When the bridge behind it starts again, it \
connects again; a call that was under way is answered outcome_unknown and never repeated.

Examples:
  mcp-bridge attach                              what an MCP client runs
  mcp-bridge client-config claude-code --attach --install";
