//! From an origin to a socket: resolve, judge every address, connect to a judged one, TLS.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::error::{EgressError, Unreachable};
use super::own_listener;
use super::resolver::Resolver;
use super::tls::{self, TlsSettings};
use crate::proxy::address::{AddressGuard, CheckedAddress, Refusal};
use crate::proxy::origin::{Host, Origin};

/// How long one address has to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the TLS handshake may take.
const TLS_TIMEOUT: Duration = Duration::from_secs(10);
/// How many addresses of an answer are tried at most.
const MAX_ADDRESSES: usize = 8;

/// Opens connections to one origin.
pub(super) struct Dialer {
    pub(super) origin: Origin,
    pub(super) address: Option<IpAddr>,
    pub(super) guard: AddressGuard,
    pub(super) tls: Option<TlsSettings>,
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
        let stream = connect(&self.addresses(deadline).await?, self.origin.port, deadline).await?;
        let Some(tls) = &self.tls else {
            return Ok(Socket::Plain(stream));
        };
        let connector = TlsConnector::from(Arc::clone(&tls.config));
        let handshake = connector.connect(tls.name.clone(), stream);
        let stream = timeout_at(within(deadline, TLS_TIMEOUT), handshake)
            .await
            .map_err(|_| Unreachable::TlsTimeout)?
            .map_err(|error| tls::failure(&error))?;
        Ok(if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            Socket::Http2(Box::new(stream))
        } else {
            Socket::Http1(Box::new(stream))
        })
    }

    /// All addresses, each judged: one forbidden address spoils the whole answer, because a mix
    /// of public and private ones is how rebinding looks.
    async fn addresses(&self, deadline: Instant) -> Result<Vec<CheckedAddress>, EgressError> {
        let addresses = match (self.address, &self.origin.host) {
            (Some(address), _) => vec![address],
            (None, Host::Address(address)) => vec![*address],
            (None, Host::Name(name)) => timeout_at(deadline, self.resolver.resolve(name))
                .await
                .map_err(|_| Unreachable::ResolveTimeout)??,
        };
        let mut judged = Vec::with_capacity(addresses.len());
        for address in addresses {
            let address = self.guard.judge(address)?;
            if !judged.contains(&address) {
                judged.push(address);
            }
        }
        Ok(judged)
    }
}

async fn connect(
    addresses: &[CheckedAddress],
    port: u16,
    deadline: Instant,
) -> Result<TcpStream, EgressError> {
    let mut first = None;
    for address in addresses.iter().take(MAX_ADDRESSES) {
        let target = address.socket(port);
        if own_listener::is_own(target) {
            return Err(EgressError::AddressForbidden {
                class: address.class(),
                refusal: Refusal::OwnServer,
                address: target.ip(),
            });
        }
        let limit = within(deadline, CONNECT_TIMEOUT);
        let failure = match timeout_at(limit, TcpStream::connect(target)).await {
            Ok(Ok(stream)) => match checked(stream, target) {
                Ok(stream) => return Ok(stream),
                Err(error) => unreachable(&error),
            },
            Ok(Err(error)) => unreachable(&error),
            Err(_) => Unreachable::ConnectTimeout,
        };
        first.get_or_insert(failure);
        if Instant::now() >= deadline {
            break;
        }
    }
    Err(first.unwrap_or(Unreachable::NameNotFound).into())
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

fn within(deadline: Instant, limit: Duration) -> Instant {
    deadline.min(Instant::now() + limit)
}
