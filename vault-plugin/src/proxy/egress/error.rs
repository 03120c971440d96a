//! What can go wrong on the way to an upstream: by phase, and whether something was sent.

use std::net::IpAddr;

use crate::proxy::address::{AddressClass, Forbidden, Refusal};

/// Why a request got no whole answer. `Display` has no address, no host, no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// An address of the upstream may not be dialled; nothing was sent.
    #[error("the upstream's address is {class}, {refusal}")]
    AddressForbidden {
        /// What kind of address it is.
        class: AddressClass,
        /// Which rule refused it.
        refusal: Refusal,
        /// The address, for the operator's log alone.
        address: IpAddr,
    },
    /// TLS couldn't be agreed on, or the certificate isn't the expected one; nothing was sent.
    #[error("TLS failed: {kind}")]
    TlsFailed {
        /// Why.
        kind: TlsFailure,
    },
    /// No connection came about; nothing was sent.
    #[error("the upstream can't be reached: {kind}")]
    Unreachable {
        /// Why.
        kind: Unreachable,
    },
    /// The request was sent, wholly or in part, and no whole answer came: it may have been
    /// executed, and is never repeated.
    #[error("the request was sent, but {kind}")]
    OutcomeUnknown {
        /// Why.
        kind: OutcomeUnknown,
    },
    /// The answer is larger than allowed; the request was executed.
    #[error("the answer is larger than {limit} bytes")]
    ResponseTooLarge {
        /// The limit that was passed, in bytes, encoded or decoded.
        limit: usize,
    },
    /// All calls together held as many bytes of bodies as they may until the time was up; the request
    /// was executed.
    #[error("no memory for the answer came free in time")]
    NoRoom,
    /// The answer's content coding can't be undone, so nobody could look for secrets in it; the
    /// request was executed.
    #[error("the answer's content coding {kind}")]
    Undecodable {
        /// Why.
        kind: Undecodable,
    },
}

impl EgressError {
    /// Whether a byte of the request may have reached the upstream.
    pub fn sent(&self) -> bool {
        match self {
            Self::AddressForbidden { .. } | Self::TlsFailed { .. } | Self::Unreachable { .. } => {
                false
            }
            Self::OutcomeUnknown { .. }
            | Self::ResponseTooLarge { .. }
            | Self::NoRoom
            | Self::Undecodable { .. } => true,
        }
    }
}

impl From<Forbidden> for EgressError {
    fn from(forbidden: Forbidden) -> Self {
        let Forbidden { class, address, refusal } = forbidden;
        Self::AddressForbidden { class, refusal, address }
    }
}

impl From<Unreachable> for EgressError {
    fn from(kind: Unreachable) -> Self {
        Self::Unreachable { kind }
    }
}

impl From<TlsFailure> for EgressError {
    fn from(kind: TlsFailure) -> Self {
        Self::TlsFailed { kind }
    }
}

impl From<OutcomeUnknown> for EgressError {
    fn from(kind: OutcomeUnknown) -> Self {
        Self::OutcomeUnknown { kind }
    }
}

impl From<Undecodable> for EgressError {
    fn from(kind: Undecodable) -> Self {
        Self::Undecodable { kind }
    }
}

/// Why no connection came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// DNS says there is no such name, or no address for it.
    #[error("its name has no address")]
    NameNotFound,
    /// No name server is configured, or none gave a usable answer.
    #[error("its name couldn't be resolved")]
    ResolverFailed,
    /// No name server answered in time.
    #[error("its name wasn't resolved in time")]
    ResolveTimeout,
    /// The upstream refused the connection.
    #[error("it refused the connection")]
    Refused,
    /// No route to the host or network.
    #[error("there is no route to it")]
    NoRoute,
    /// No connection in time.
    #[error("it didn't accept a connection in time")]
    ConnectTimeout,
    /// The TLS handshake wasn't done in time.
    #[error("it didn't finish the TLS handshake in time")]
    TlsTimeout,
    /// The connection broke before a byte of the request was written.
    #[error("the connection broke before anything was sent")]
    ConnectionLost,
    /// `egress_proxy` of the mount: its name has no address, or it accepts no connection.
    #[error("the egress proxy can't be reached")]
    ProxyUnreachable,
    /// The egress proxy made no tunnel: 403 by its rules, 407 without a login, 502 and 504 when it
    /// got no connection itself.
    #[error("the egress proxy refused with status {status}")]
    ProxyRefused {
        /// The proxy's HTTP status, never 2xx.
        status: u16,
    },
    /// What the egress proxy answered isn't HTTP, has too large a head, or ended too early.
    #[error("the egress proxy gave no proper answer")]
    ProxyMalformed,
    /// The egress proxy neither made a tunnel nor refused one in time.
    #[error("the egress proxy made no connection in time")]
    ProxyTimeout,
    /// Another failure of the operating system.
    #[error("the connection failed")]
    Other,
}

/// Why TLS failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TlsFailure {
    /// No trusted authority signed the certificate.
    #[error("the certificate isn't signed by a trusted authority")]
    UntrustedIssuer,
    /// The server presents an authority's certificate, often a self-signed one, as its own.
    #[error(
        "the server presents a CA certificate as its own (self-signed?): \
         give exactly this certificate as ca_cert, or pin it"
    )]
    CaAsServer,
    /// The certificate has expired.
    #[error("the certificate has expired")]
    Expired,
    /// The certificate isn't valid yet.
    #[error("the certificate isn't valid yet")]
    NotYetValid,
    /// The certificate is for other names.
    #[error("the certificate is for another name")]
    WrongName,
    /// The certificate isn't the pinned one.
    #[error("the certificate isn't the pinned one")]
    PinMismatch,
    /// The certificate is unusable in another way.
    #[error("the certificate can't be used")]
    BadCertificate,
    /// What answered doesn't speak TLS.
    #[error("the upstream doesn't speak TLS on this port")]
    NotTls,
    /// No common version, cipher or application protocol.
    #[error("no common TLS version, cipher or protocol")]
    Incompatible,
    /// The upstream wants a client certificate.
    #[error("the upstream wants a client certificate")]
    ClientCertificateWanted,
    /// The upstream ended the handshake with an alert.
    #[error("the upstream refused the handshake")]
    Refused,
    /// The connection ended in the handshake.
    #[error("the connection ended in the handshake")]
    Closed,
    /// Another violation of the protocol.
    #[error("the handshake broke the protocol")]
    Protocol,
}

/// Why the outcome of a sent request is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeUnknown {
    /// The deadline passed before the head of an answer was there.
    #[error("no answer came in time")]
    NoAnswer,
    /// The connection ended before the head of an answer was there.
    #[error("the connection ended before an answer came")]
    ConnectionLost,
    /// The answer's head breaks HTTP, or could be read in two ways.
    #[error("the answer isn't proper HTTP")]
    Malformed,
    /// The head of the answer is larger than 100 headers or 64 KiB.
    #[error("the answer's head is too large")]
    HeadTooLarge,
    /// The deadline passed within the body.
    #[error("the answer wasn't complete in time")]
    BodyTimeout,
    /// The connection ended within the body.
    #[error("the answer ended early")]
    Truncated,
}

/// Why a body can't be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// More than one coding was applied.
    #[error("is applied more than once")]
    Multiple,
    /// A coding that wasn't asked for.
    #[error("is unknown")]
    Unknown,
    /// The body isn't what its header says, or uses too much memory.
    #[error("is broken")]
    Broken,
}
