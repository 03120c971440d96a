//! Says where the holder's socket is, what is said on it before MCP, and whom one meets there.
//!
//! The *holder* is the bridge that has the credential, under a user of its own; *attach* is what an
//! MCP client starts instead, as the agent's user. They share a Unix socket and, on each connection,
//! one line before MCP begins: the holder's [`Greeting`].

mod access;
mod admission;
mod listener;
mod users;
mod way;

use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::config::Environment;

pub(crate) use listener::Listener;
pub(crate) use users::AllowedUsers;

/// The variable that names the holder's socket.
pub(crate) const VARIABLE: &str = "MCP_BRIDGE_SOCKET";
/// Where holders put their sockets: the socket itself, or a folder for each agent's user with it.
const RUN: &str = "/run/mcp-bridge";
const NAME: &str = "mcp-bridge.sock";

/// What the holder says first on every connection. A notification, which clients that speak MCP on
/// the socket themselves pass over, or an error that belongs to no request.
#[derive(Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(untagged)]
pub(crate) enum Greeting {
    /// MCP begins.
    Ready {
        /// JSON-RPC's version.
        jsonrpc: Version,
        /// [`READY`].
        method: String,
    },
    /// There is no MCP on this connection.
    Refused {
        /// JSON-RPC's version.
        jsonrpc: Version,
        /// Why.
        error: Refusal,
    },
}

/// JSON-RPC 2.0.
#[derive(Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) enum Version {
    /// The only one.
    #[default]
    #[serde(rename = "2.0")]
    V2,
}

/// Why a connection is refused.
#[derive(Debug, Deserialize, Serialize, PartialEq, Eq)]
pub(crate) struct Refusal {
    code: i32,
    /// The reason, in words.
    pub(crate) message: String,
}

/// The method of the notification that lets MCP begin.
pub(crate) const READY: &str = "notifications/mcp-bridge/ready";
/// JSON-RPC's code for an invalid request; MCP has none for this.
const INVALID_REQUEST: i32 = -32600;

impl Greeting {
    fn ready() -> Self {
        Self::Ready { jsonrpc: Version::V2, method: READY.to_owned() }
    }

    fn refused(message: String) -> Self {
        let error = Refusal { code: INVALID_REQUEST, message };
        Self::Refused { jsonrpc: Version::V2, error }
    }

    fn line(&self) -> Vec<u8> {
        // Texts and numbers, all of which JSON has.
        let mut line = serde_json::to_vec(self).unwrap_or_default();
        line.push(b'\n');
        line
    }
}

/// Why a socket can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SocketError {
    /// No such user.
    #[error("--allow-user {0:?}: there is no user of that name, and it isn't a number")]
    NoUser(String),
    /// A folder or a link on the way to the socket could be changed by somebody else.
    #[error(
        "{}: somebody else could put another socket in its place, because {} {problem}",
        path.display(), folder.display()
    )]
    Exposed {
        /// The socket.
        path: PathBuf,
        /// The folder or link.
        folder: PathBuf,
        /// What is wrong with it.
        problem: Exposure,
    },
    /// Another process serves there.
    #[error("{}: another process serves there", .0.display())]
    Taken(PathBuf),
    /// Something else than a socket is there.
    #[error("{} is there, and isn't a socket", .0.display())]
    Other(PathBuf),
    /// The process behind the socket isn't its owner's.
    #[error("{}: the socket is user {owner}'s, but user {peer} serves on it", path.display())]
    Stranger {
        /// The socket.
        path: PathBuf,
        /// Whose file it is.
        owner: u32,
        /// Who listens.
        peer: u32,
    },
    /// The operating system refused.
    #[error("{}: {kind}", path.display())]
    System {
        /// What it refused.
        path: PathBuf,
        /// Why.
        kind: io::ErrorKind,
    },
}

/// What lets somebody else change a folder or a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Exposure {
    /// Its owner is neither root nor the socket's.
    #[error("belongs to user {0}")]
    Owner(u32),
    /// Its mode lets others write.
    #[error("is writable by others (mode {0:03o})")]
    Mode(u32),
}

impl SocketError {
    fn system(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |error| Self::System { path, kind: error.kind() }
    }
}

/// Where attach looks for the holder: what is said, else the one socket of this machine, else that
/// of this user's holder.
pub(crate) fn place(said: Option<PathBuf>, environment: &Environment) -> PathBuf {
    let said = said.or_else(|| environment.var(VARIABLE).map(PathBuf::from));
    said.unwrap_or_else(|| {
        let one = Path::new(RUN).join(NAME);
        match users::own_name() {
            Some(name) if !one.exists() => Path::new(RUN).join(name).join(NAME),
            _ => one,
        }
    })
}

/// The command that tells how the holder at a socket is.
pub(crate) fn status_command(path: &Path) -> String {
    let folder = path.parent().filter(|_| path.file_name().is_some_and(|name| name == NAME));
    let instance = folder
        .filter(|folder| folder.parent() == Some(Path::new(RUN)))
        .and_then(|folder| folder.file_name()?.to_str());
    match instance {
        Some(name) => format!("systemctl status mcp-bridge@{name}"),
        None => "systemctl status 'mcp-bridge@*'".to_owned(),
    }
}

/// Connects to the socket if nobody but its owner and root can be behind it.
///
/// # Errors
///
/// [`SocketError`], before anything is sent.
pub(super) async fn connect(path: &Path) -> Result<UnixStream, SocketError> {
    let data = path.symlink_metadata().map_err(SocketError::system(path))?;
    let owner = data.uid();
    let file = way::follow(path, owner)?;
    let stream = UnixStream::connect(file).await.map_err(SocketError::system(path))?;
    let peer = stream.peer_cred().map_err(SocketError::system(path))?.uid();
    if peer == owner {
        Ok(stream)
    } else {
        Err(SocketError::Stranger { path: path.to_owned(), owner, peer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_greeting_is_json_rpc_and_is_read_again() {
        for (greeting, text) in [
            (
                Greeting::ready(),
                "{\"jsonrpc\":\"2.0\",\"method\":\"notifications/mcp-bridge/ready\"}\n",
            ),
            (
                Greeting::refused("no".to_owned()),
                "{\"jsonrpc\":\"2.0\",\"error\":{\"code\":-32600,\"message\":\"no\"}}\n",
            ),
        ] {
            assert_eq!(String::from_utf8(greeting.line()).unwrap(), text);
            assert_eq!(serde_json::from_str::<Greeting>(text).unwrap(), greeting);
        }
    }

    #[test]
    fn the_command_names_the_agents_own_unit() {
        let command = |path: &str| status_command(Path::new(path));
        assert_eq!(
            command("/run/mcp-bridge/alice/mcp-bridge.sock"),
            "systemctl status mcp-bridge@alice"
        );
        for path in ["/run/mcp-bridge/mcp-bridge.sock", "/srv/alice/mcp-bridge.sock", "s"] {
            assert_eq!(command(path), "systemctl status 'mcp-bridge@*'");
        }
    }
}
