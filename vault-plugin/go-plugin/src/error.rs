//! Why a plugin couldn't be served.

use std::{
    io::{self, Write},
    path::PathBuf,
};

/// Says why [`serve`](crate::serve) ended, other than being asked to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The magic cookie is missing or wrong: no host started this process.
    #[error(
        "This program is a plugin. It isn't meant to be run by hand: the program that uses it \
         starts it.\n(The environment variable {variable} doesn't hold the cookie of such a host.)"
    )]
    NotStartedByHost {
        /// Variable that should hold the cookie.
        variable: &'static str,
    },
    /// The host doesn't speak the plugin's version of the application protocol.
    #[error(
        "this plugin speaks protocol version {ours}; the host offers {offered:?} \
         (PLUGIN_PROTOCOL_VERSIONS). Update the host"
    )]
    ProtocolVersion {
        /// Version of this plugin.
        ours: u32,
        /// What the host offered, as it wrote it.
        offered: String,
    },
    /// The host sent no certificate: it wants to speak without TLS.
    #[error(
        "the host sent no certificate (PLUGIN_CLIENT_CERT) and this plugin doesn't speak without \
         TLS. Enable AutoMTLS in the host"
    )]
    HostCertificateMissing,
    /// The host's certificate isn't one.
    #[error("PLUGIN_CLIENT_CERT doesn't hold a certificate in PEM")]
    HostCertificateMalformed,
    /// Core dumps couldn't be turned off.
    #[error("core dumps can't be turned off")]
    CoreDumps(#[source] io::Error),
    /// Signal handlers couldn't be installed.
    #[error("signals can't be handled")]
    Signals(#[source] io::Error),
    /// The plugin's own certificate couldn't be made.
    #[error("no certificate could be made")]
    OwnCertificate(#[source] rcgen::Error),
    /// TLS couldn't be set up.
    #[error("TLS can't be set up")]
    Tls(#[source] rustls::Error),
    /// The socket couldn't be made.
    #[error("no socket could be made in {}", directory.display())]
    Socket {
        /// Directory of the socket.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The group for the socket isn't known.
    #[error("the group {group:?} for the socket (PLUGIN_UNIX_SOCKET_GROUP) isn't known")]
    SocketGroup {
        /// Group asked for.
        group: String,
    },
    /// The handshake line couldn't be written.
    #[error("the handshake couldn't be written to standard output")]
    Handshake(#[source] io::Error),
    /// The server failed while serving.
    #[error("the gRPC server failed")]
    Server(#[source] tonic::transport::Error),
}

impl ServeError {
    /// Tells the error and its sources on standard error: in clear text if it came before the
    /// handshake, since a person may have started the plugin, else as hclog.
    pub fn report(&self) {
        // Hosts log unstructured text at DEBUG unless a level is in front (go-plugin `client.go`,
        // `logStderr`). Writing fails if nobody is left to read.
        let mut stderr = io::stderr();
        let _ = match self {
            Self::NotStartedByHost { .. } => writeln!(stderr, "{self}"),
            Self::Server(_) => {
                tracing::error!(error = %Chain(self), "plugin failed");
                Ok(())
            }
            Self::ProtocolVersion { .. }
            | Self::HostCertificateMissing
            | Self::HostCertificateMalformed
            | Self::CoreDumps(_)
            | Self::Signals(_)
            | Self::OwnCertificate(_)
            | Self::Tls(_)
            | Self::Socket { .. }
            | Self::SocketGroup { .. }
            | Self::Handshake(_) => writeln!(stderr, "[ERROR] plugin: {}", Chain(self)),
        };
    }
}

/// Says why a brokered service couldn't be reached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BrokerError {
    /// The host didn't say in time where the service is.
    #[error("the host didn't announce brokered service {id} within 5 s")]
    NotAnnounced {
        /// Broker id asked for.
        id: u32,
    },
    /// The service is on a network that plugins of this crate don't use.
    #[error("the host announced brokered service {id} on a network other than \"unix\"")]
    UnsupportedNetwork {
        /// Broker id asked for.
        id: u32,
    },
    /// The plugin is being stopped.
    #[error("the plugin is stopping")]
    Stopping,
    /// The service couldn't be dialled.
    #[error("brokered service {id} can't be dialled")]
    Dial {
        /// Broker id asked for.
        id: u32,
        /// What failed.
        source: tonic::transport::Error,
    },
}

/// Prints an error and its sources in one line: `outer: inner: innermost`.
pub(crate) struct Chain<'a>(pub(crate) &'a (dyn std::error::Error + 'static));

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}
