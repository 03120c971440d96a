//! The operator's forward proxy: a tunnel to a judged address, within which TLS is the upstream's.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::time::Duration;

use http::header::HOST;
use http::{Method, Request, Uri};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use super::connection::{Body, MAX_HEAD_BYTES, MAX_HEADERS};
use super::dial::{tcp, within};
use super::error::Unreachable;
use super::resolver::Resolver;
use crate::proxy::base_url::BaseUrl;
use crate::proxy::origin::{Host, Scheme};

/// How long the proxy may take to connect and to answer.
const TUNNEL_TIMEOUT: Duration = Duration::from_secs(10);
/// How many of the proxy's own addresses are tried at most.
const MAX_ADDRESSES: usize = 4;

/// `egress_proxy` of `config`: `http://host:port`, through which every https upstream is reached.
///
/// It is asked for addresses that passed the guard, never for names. Its own address is judged by
/// nobody: the operator gave it, and it is mostly private.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressProxy {
    host: Host,
    port: u16,
}

/// An `egress_proxy` that isn't `http://host:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "egress_proxy must read http://host:port, such as http://proxy.example.com:3128: the port \
     given, and neither https, user name nor path"
)]
pub struct EgressProxyError;

impl FromStr for EgressProxy {
    type Err = EgressProxyError;

    fn from_str(text: &str) -> Result<Self, EgressProxyError> {
        let url = BaseUrl::parse(text).map_err(|_| EgressProxyError)?;
        let origin = url.origin();
        // Proxies listen on 3128, 8080, 80, 1080 …: no default is right.
        let says_port = text.trim_end_matches('/').ends_with(&format!(":{}", origin.port));
        if origin.scheme == Scheme::Http && url.path().is_empty() && says_port {
            Ok(Self { host: origin.host.clone(), port: origin.port })
        } else {
            Err(EgressProxyError)
        }
    }
}

impl fmt::Display for EgressProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}:{}", self.host, self.port)
    }
}

impl EgressProxy {
    /// Opens a tunnel to one address (RFC 9110, section 9.3.6).
    pub(super) async fn tunnel(
        &self,
        target: SocketAddr,
        resolver: &Resolver,
        deadline: Instant,
    ) -> Result<TcpStream, Unreachable> {
        let stream = self.connect(resolver, deadline).await?;
        timeout_at(within(deadline, TUNNEL_TIMEOUT), ask(stream, target))
            .await
            .map_err(|_| Unreachable::ProxyTimeout)?
    }

    async fn connect(
        &self,
        resolver: &Resolver,
        deadline: Instant,
    ) -> Result<TcpStream, Unreachable> {
        let unreachable = Unreachable::ProxyUnreachable;
        let addresses = timeout_at(deadline, resolver.addresses(&self.host))
            .await
            .map_err(|_| unreachable)?
            .map_err(|_| unreachable)?;
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            if let Ok(stream) = tcp(SocketAddr::new(address, self.port), deadline).await {
                return Ok(stream);
            }
        }
        Err(unreachable)
    }
}

async fn ask(stream: TcpStream, target: SocketAddr) -> Result<TcpStream, Unreachable> {
    let malformed = Unreachable::ProxyMalformed;
    let authority = target.to_string();
    let mut request = Request::new(Body::default());
    *request.method_mut() = Method::CONNECT;
    request.headers_mut().insert(HOST, authority.parse().map_err(|_| malformed)?);
    *request.uri_mut() = authority.parse::<Uri>().map_err(|_| malformed)?;
    let (mut sender, connection) = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES.into())
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|_| malformed)?;
    // Ends with the tunnel, with a refusal, or when this future is dropped.
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(|_| malformed)?;
    if !response.status().is_success() {
        return Err(Unreachable::ProxyRefused { status: response.status().as_u16() });
    }
    let tunnel = hyper::upgrade::on(response).await.map_err(|_| malformed)?;
    let parts = tunnel.downcast::<TokioIo<TcpStream>>().map_err(|_| malformed)?;
    // In TLS the client speaks first, so these bytes aren't the upstream's.
    if !parts.read_buf.is_empty() {
        return Err(malformed);
    }
    Ok(parts.io.into_inner())
}
