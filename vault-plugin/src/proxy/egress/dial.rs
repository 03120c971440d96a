//! From an origin to a socket: resolve, judge every address, connect to a judged one, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{EgressError, TlsFailure, Unreachable};
use super::own_listener;
use super::resolver::Resolver;
use super::tls::{self, TlsSettings};
use super::tunnel::EgressProxy;
use crate::proxy::address::{AddressGuard, CheckedAddress, Refusal};
use crate::proxy::origin::Origin;

/// How long one address has to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the TLS handshake may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a goodbye may take.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);
/// How many addresses of an answer are tried at most.
const MAX_ADDRESSES: usize = 8;

/// Opens connections to one origin.
pub(super) struct Dialer {
    pub(super) origin: Origin,
    pub(super) address: Option<IpAddr>,
    pub(super) guard: AddressGuard,
    pub(super) tls: Option<TlsSettings>,
    /// Asked for a tunnel instead of connecting; given for TLS alone.
    pub(super) proxy: Option<EgressProxy>,
    pub(super) resolver: Arc<Resolver>,
}

/// An open connection, by what may be spoken on it.
pub(super) enum Socket {
    Plain(TcpStream),
    Http1(Box<TlsStream<TcpStream>>),
    Http2(Box<TlsStream<TcpStream>>),
}

impl Dialer {
    /// Opens one connection; each phase has its own limit under the deadline.
    pub(super) async fn dial(&self, deadline: Instant) -> Result<Socket, EgressError> {
        let stream = self.connect(deadline).await?;
        let Some(tls) = &self.tls else {
            return Ok(Socket::Plain(stream));
        };
        let stream = handshake(Arc::clone(&tls.config), tls, stream, deadline).await?;
        Ok(if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Socket::Http2(Box::new(stream))
        } else {
            Socket::Http1(Box::new(stream))
        })
    }

    /// Reads the SHA-256 of the certificate that the upstream presents, trusted or not.
    pub(super) async fn fingerprint(&self, deadline: Instant) -> Result<[u8; 32], EgressError> {
        let tls = self.tls.as_ref().ok_or(TlsFailure::NotTls)?;
        let config = tls.any_leaf().map_err(|_| TlsFailure::Protocol)?;
        let stream = self.connect(deadline).await?;
        let mut stream = handshake(config, tls, stream, deadline).await?;
        let presented = stream.get_ref().1.peer_certificates();
        let leaf = presented.and_then(<[_]>::first).ok_or(TlsFailure::BadCertificate)?;
        let fingerprint = Sha256::digest(leaf).into();
        // A goodbye (RFC 8446, section 6.1), and no matter whether anybody hears it.
        let _ = timeout_at(within(deadline, CLOSE_TIMEOUT), stream.shutdown()).await;
        Ok(fingerprint)
    }

    /// All addresses, each judged: one forbidden address spoils the whole answer, because a mix
    /// of public and private ones is how rebinding looks.
    pub(super) async fn addresses(
        &self,
        deadline: Instant,
    ) -> Result<Vec<CheckedAddress>, EgressError> {
        let addresses = match (self.address, &self.origin.host) {
            (Some(address), _) => vec![address],
            (None, host) => timeout_at(deadline, self.resolver.addresses(host))
                .await
                .map_err(|_| Unreachable::ResolveTimeout)??,
        };
        let mut judged = Vec::with_capacity(addresses.len());
        for address in addresses {
            let address = self.guard.judge(address)?;
            let target = address.socket(self.origin.port);
            if own_listener::is_own(target) {
                return Err(EgressError::AddressForbidden {
                    class: address.class(),
                    refusal: Refusal::OwnServer,
                    address: target.ip(),
                });
            }
            if !judged.contains(&address) {
                judged.push(address);
            }
        }
        Ok(judged)
    }

    /// Tries judged addresses until one accepts a connection.
    async fn connect(&self, deadline: Instant) -> Result<TcpStream, EgressError> {
        let mut first = None;
        for address in self.addresses(deadline).await?.into_iter().take(MAX_ADDRESSES) {
            let target = address.socket(self.origin.port);
            let connected = match &self.proxy {
                Some(proxy) => proxy.tunnel(target, &self.resolver, deadline).await,
                None => tcp(target, deadline).await,
            };
            let failure = match connected {
                Ok(stream) => return Ok(stream),
                Err(failure) => failure,
            };
            first.get_or_insert(failure);
            // What keeps the proxy from being reached keeps it for every address.
            if failure == Unreachable::ProxyUnreachable || Instant::now() >= deadline {
                break;
            }
        }
        Err(first.unwrap_or(Unreachable::NameNotFound).into())
    }
}

async fn handshake(
    config: Arc<ClientConfig>,
    tls: &TlsSettings,
    stream: TcpStream,
    deadline: Instant,
) -> Result<TlsStream<TcpStream>, EgressError> {
    let handshake = TlsConnector::from(config).connect(tls.name.clone(), stream);
    timeout_at(within(deadline, TLS_TIMEOUT), handshake)
        .await
        .map_err(|_| Unreachable::TlsTimeout)?
        .map_err(|error| tls::failure(&error).into())
}

/// Connects to one address.
pub(super) async fn tcp(target: SocketAddr, deadline: Instant) -> Result<TcpStream, Unreachable> {
    timeout_at(within(deadline, CONNECT_TIMEOUT), TcpStream::connect(target))
        .await
        .map_err(|_| Unreachable::ConnectTimeout)?
        .and_then(|stream| checked(stream, target))
        .map_err(|error| unreachable(&error))
}

/// Makes sure that the kernel connected to where it was told to.
fn checked(stream: TcpStream, target: SocketAddr) -> io::Result<TcpStream> {
    if stream.peer_addr()? != target {
        return Err(io::ErrorKind::AddrNotAvailable.into());
    }
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "a foreign enum of dozens of kinds")]
fn unreachable(error: &io::Error) -> Unreachable {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Unreachable::Refused,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Unreachable::NoRoute,
        io::ErrorKind::TimedOut => Unreachable::ConnectTimeout,
        io::ErrorKind::ConnectionReset => Unreachable::ConnectionLost,
        _ => Unreachable::Other,
    }
}

/// The earlier of the deadline and a phase's own limit.
pub(super) fn within(deadline: Instant, limit: Duration) -> Instant {
    deadline.min(Instant::now() + limit)
}
