//! Speaks with Vault: one client, one session, the engine's paths.

mod answer;
mod client;
mod login;
mod session;

pub(crate) use answer::{EngineCode, EngineError, data, refusal};
pub(crate) use client::{Client, Lost, Reply, Request};
pub(crate) use login::{LoginError, is_standby, unavailable};
pub(crate) use session::{Session, SessionError, jitter};

/// Why Vault can't be asked. Reads as the start of a sentence; never holds an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unavailable {
    /// No connection could be made.
    #[error("Vault doesn't answer ({0})")]
    NoConnection(ConnectFault),
    /// Vault is sealed.
    #[error("Vault is sealed")]
    Sealed,
    /// A standby node answered that it has no leader, or pointed to another node.
    #[error("Vault's node is a standby and can't reach the active one")]
    Standby,
    /// Vault answered, but not to what was asked: an error of its own, or no Vault at all.
    #[error("Vault answers with an error of its own (HTTP {0})")]
    Failing(u16),
    /// Nothing is mounted where the engine should be.
    #[error("the mcp-proxy engine isn't mounted where this agent expects it")]
    NotMounted,
    /// The TLS files of the configuration can't be used.
    #[error("the bridge's TLS files can't be used")]
    TlsFiles,
}

/// Why there is no connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConnectFault {
    /// The name of the server has no address.
    #[error("name not found")]
    Name,
    /// The server refused the connection.
    #[error("connection refused")]
    Refused,
    /// Nothing came back in time.
    #[error("timed out")]
    Timeout,
    /// The server's certificate isn't trusted, or TLS failed otherwise.
    #[error("TLS failed")]
    Tls(TlsFault),
    /// Anything else.
    #[error("no connection")]
    Other,
}

/// Which part of TLS failed, for operators; an agent could do nothing about any of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TlsFault {
    /// The certificate's time has passed.
    #[error("Vault's certificate has expired")]
    Expired,
    /// The certificate's time hasn't come, or this machine's clock is behind.
    #[error("Vault's certificate isn't valid yet")]
    NotYetValid,
    /// The certificate is another name's.
    #[error("Vault's certificate is for another name")]
    WrongName,
    /// No trusted authority issued the certificate.
    #[error("Vault's certificate comes from an authority that isn't trusted here")]
    UnknownIssuer,
    /// What answered spoke no TLS.
    #[error("what answers there speaks no TLS")]
    NoTls,
    /// The server refused this machine's certificate, or wants one.
    #[error("Vault wants a client certificate, or refuses the one it got")]
    ClientCertificate,
    /// Anything else; the log has the library's text.
    #[error("the TLS handshake failed")]
    Other,
}
