//! The way out: the only room that opens sockets. It dials judged addresses alone, and sends once.
//!
//! There are no redirects here, no proxies from the environment and no retries: a 3xx is an answer,
//! and a request of which a byte was written is never written again. The one proxy there may be is
//! the operator's, and it is asked for judged addresses alone.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use tokio::time::Instant;

use super::address::{AddressClass, AddressGuard};
use super::origin::{Origin, Scheme};

mod answering;
mod connection;
mod decode;
mod dial;
mod error;
mod exchange;
mod own_listener;
mod pool;
mod request;
mod resolver;
#[cfg(test)]
mod tests;
mod tls;
mod tunnel;
mod verify;

pub use answering::Answering;
pub use error::{EgressError, OutcomeUnknown, TlsFailure, Undecodable, Unreachable};
pub use request::{Limits, OutboundRequest, RequestError, Room, UpstreamResponse};
pub use resolver::Resolver;
pub use tls::{TlsTrust, TrustError};
pub use tunnel::{EgressProxy, EgressProxyError};

use dial::Dialer;
use exchange::{Failure, start};
use pool::{Keep, Lease, Pool};
use tls::TlsSettings;

/// Where the requests of one service go, and what protects them on the way.
#[derive(Clone, Debug)]
pub struct Destination {
    /// The one place to send to.
    pub origin: Origin,
    /// Dialled instead of resolving the origin's host; judged like any other address.
    pub address: Option<IpAddr>,
    /// Which addresses may be dialled.
    pub guard: AddressGuard,
    /// Whom to believe; unused for plaintext.
    pub trust: TlsTrust,
    /// Tunnels every connection; for https alone.
    pub proxy: Option<EgressProxy>,
}

/// The connections to one destination, for one service definition and credential version.
///
/// Two of them share nothing: no connection, no TLS session. When one is dropped, its idle
/// connections are closed. A change of the guard or the trust means a new one: kept connections
/// aren't judged again.
pub struct Upstream {
    pool: Arc<Pool>,
}

impl Upstream {
    /// Prepares a destination; opens nothing yet.
    ///
    /// # Errors
    ///
    /// [`TrustError`] if the trust settings can't be used, or plaintext would go through a proxy.
    pub fn new(destination: Destination, resolver: Arc<Resolver>) -> Result<Self, TrustError> {
        Self::with_keep(destination, resolver, Keep::default())
    }

    fn with_keep(
        destination: Destination,
        resolver: Arc<Resolver>,
        keep: Keep,
    ) -> Result<Self, TrustError> {
        let Destination { origin, address, guard, trust, proxy } = destination;
        let tls = match origin.scheme {
            Scheme::Http if proxy.is_some() => return Err(TrustError::PlaintextThroughProxy),
            Scheme::Http => None,
            Scheme::Https => Some(TlsSettings::new(&origin.host, &trust)?),
        };
        let dialer = Dialer { origin, address, guard, tls, proxy, resolver };
        Ok(Self { pool: Arc::new(Pool::new(dialer, keep)) })
    }

    /// Sends a request once, and reads the whole answer, decoded.
    ///
    /// If the future is dropped, an HTTP/1.1 connection is closed and an HTTP/2 stream is reset.
    /// A request of which not one byte was written, because the kept connection was already
    /// closed, goes out once more on a new connection; nothing else is ever repeated.
    ///
    /// # Errors
    ///
    /// [`EgressError`]; [`EgressError::sent`] tells whether the request may have been executed.
    pub async fn send(
        &self,
        request: OutboundRequest,
        limits: &Limits<'_>,
    ) -> Result<UpstreamResponse, EgressError> {
        self.open(request, limits.deadline).await?.whole(limits).await
    }

    /// Sends a request once, and reads the head of its answer; the body can be read as it comes.
    ///
    /// As with [`Upstream::send`], dropping the future or what it gives ends the exchange.
    ///
    /// # Errors
    ///
    /// [`EgressError`]; [`EgressError::sent`] tells whether the request may have been executed.
    pub async fn open(
        &self,
        request: OutboundRequest,
        deadline: Instant,
    ) -> Result<Answering, EgressError> {
        let lease = self.pool.checkout(deadline).await?;
        // A clone shares the bytes of values and body.
        let spare = lease.reused.then(|| request.clone());
        match (self.attempt(lease, request, deadline).await, spare) {
            (Err(Failure::NotWritten), Some(spare)) => {
                let lease = self.pool.fresh(deadline).await?;
                self.attempt(lease, spare, deadline).await
            }
            (answer, _) => answer,
        }
        .map_err(|failure| match failure {
            Failure::NotWritten => Unreachable::ConnectionLost.into(),
            Failure::Final(error) => error,
        })
    }

    /// Resolves and judges as a call would, and connects nowhere: the class of every address, each
    /// class once.
    ///
    /// # Errors
    ///
    /// [`EgressError::AddressForbidden`], or [`EgressError::Unreachable`] by the kinds of names.
    pub async fn look(&self, deadline: Instant) -> Result<Vec<AddressClass>, EgressError> {
        let mut classes = Vec::new();
        for address in self.pool.dialer().addresses(deadline).await? {
            if !classes.contains(&address.class()) {
                classes.push(address.class());
            }
        }
        Ok(classes)
    }

    /// Opens a new connection, whatever is kept, to the end of TLS, sends no request on it, and
    /// keeps it for the next call.
    ///
    /// # Errors
    ///
    /// [`EgressError`] as before a call is sent. A server that wants a client certificate may say
    /// so only to the first request (RFC 8446, section 4.4.2.4).
    pub async fn connect(&self, deadline: Instant) -> Result<(), EgressError> {
        let Lease { connection, .. } = self.pool.open(deadline).await?;
        self.pool.give_back(connection).await;
        Ok(())
    }

    /// Reads the SHA-256 of the certificate that the upstream presents, whether it is trusted or
    /// not, in a handshake of its own: no request is sent, and no connection or session kept.
    ///
    /// The upstream proved that it holds the certificate's key, and nothing more: whoever pins it
    /// must compare it by another way.
    ///
    /// # Errors
    ///
    /// [`EgressError`] as before a call is sent, without failures of trust;
    /// [`TlsFailure::NotTls`] for a plaintext origin.
    pub async fn fingerprint(&self, deadline: Instant) -> Result<[u8; 32], EgressError> {
        self.pool.dialer().fingerprint(deadline).await
    }

    async fn attempt(
        &self,
        lease: Lease,
        request: OutboundRequest,
        deadline: Instant,
    ) -> Result<Answering, Failure> {
        let Lease { mut connection, .. } = lease;
        let origin = &self.pool.dialer().origin;
        match start(&mut connection, request, origin, deadline).await {
            Ok(started) => Ok(Answering::new(started, connection, Arc::clone(&self.pool))),
            Err(failure) => {
                self.pool.retire(&connection);
                Err(failure)
            }
        }
    }
}

impl fmt::Debug for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Upstream")
    }
}
