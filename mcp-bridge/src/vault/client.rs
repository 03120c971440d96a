//! Sends single requests to Vault and tells "never sent" from "maybe sent".

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderName, RETRY_AFTER};
use reqwest::{Certificate, Identity, Method, Url};
use tokio::sync::OnceCell;

use super::login::cannot_serve;
use super::{ConnectFault, TlsFault, Unavailable};
use crate::config::VaultServer;
use crate::secret::VaultToken;

/// A client of one Vault: one server, or the nodes of one cluster. Connections are kept and reused;
/// nothing is opened before use.
#[derive(Debug)]
pub(crate) struct Client {
    server: VaultServer,
    nodes: Vec<Node>,
    /// The node that answered last: the next request begins there.
    current: AtomicUsize,
}

#[derive(Debug)]
struct Node {
    address: Url,
    http: OnceCell<reqwest::Client>,
}

/// One request. Nobody repeats it unless it is certain that it never left.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What to do.
    pub(crate) verb: Verb,
    /// The path below `/v1/`, of characters that need no encoding.
    pub(crate) path: String,
    /// The JSON body of a post.
    pub(crate) body: Bytes,
    /// The most that connecting, sending and reading may take.
    pub(crate) timeout: Duration,
    /// Whether another node may be asked after one has answered that it can't serve. Never for a
    /// call: an answer came, so the request was sent.
    pub(crate) ask_on: bool,
}

/// The verbs of Vault's API that the bridge uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Read.
    Get,
    /// Update.
    Post,
}

impl Request {
    /// A read with the usual limit.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        let (body, path) = (Bytes::new(), path.into());
        Self { verb: Verb::Get, path, body, timeout: SHORT, ask_on: true }
    }

    /// An update with the usual limit.
    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let (body, path) = (body.into(), path.into());
        Self { verb: Verb::Post, path, body, timeout: SHORT, ask_on: false }
    }

    /// The same request with another limit.
    pub(crate) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same request, for one that may come twice without harm.
    pub(crate) fn asking_on(self) -> Self {
        Self { ask_on: true, ..self }
    }
}

/// Vault's answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body as it came.
    pub(crate) body: Bytes,
    /// Seconds to wait, if Vault said so.
    pub(crate) retry_after: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The request never left this machine.
    #[error("{0}")]
    NeverSent(Unavailable),
    /// The limit passed after the request may have left.
    #[error("Vault gave no answer in time")]
    TimedOut,
    /// The connection broke after the request may have left.
    #[error("the connection to Vault broke")]
    Broken,
    /// The answer is larger than the bridge takes.
    #[error("Vault's answer is too large")]
    TooLarge,
}

impl Client {
    /// Makes a client that opens its first connection with its first request.
    pub(crate) fn new(server: VaultServer) -> Self {
        let node = |address: &Url| Node { address: address.clone(), http: OnceCell::new() };
        let nodes = server.addresses.iter().map(node).collect();
        Self { server, nodes, current: AtomicUsize::new(0) }
    }

    /// Whom the client speaks with.
    pub(crate) fn server(&self) -> &VaultServer {
        &self.server
    }

    /// Sends a request once, to the first node that takes it.
    ///
    /// The next node is asked when the request never left for the one before, and, if the request
    /// allows, when the one before answered that it is sealed or a standby.
    ///
    /// # Errors
    ///
    /// [`Lost`], which says whether the request may have left.
    pub(crate) async fn send(
        &self,
        request: &Request,
        token: Option<&VaultToken>,
    ) -> Result<Reply, Lost> {
        let first = self.current.load(Ordering::Relaxed);
        let mut said: Result<Reply, Lost> = Err(NOWHERE);
        for step in 0..self.nodes.len() {
            let index = (first + step) % self.nodes.len();
            let answer = self.send_to(index, request, token).await;
            let go_on = match &answer {
                Err(Lost::NeverSent(_)) => true,
                Ok(reply) if cannot_serve(reply) => {
                    self.current.store((index + 1) % self.nodes.len(), Ordering::Relaxed);
                    request.ask_on
                }
                Ok(_) | Err(Lost::TimedOut | Lost::Broken | Lost::TooLarge) => {
                    if index != first {
                        self.current.store(index, Ordering::Relaxed);
                        tracing::info!(node = index + 1, "another of Vault's addresses serves now");
                    }
                    false
                }
            };
            // An answer says more than none, and the first fault more than a later one.
            if step == 0 || !go_on || (said.is_err() && answer.is_ok()) {
                said = answer;
            }
            if !go_on {
                break;
            }
        }
        said
    }

    /// Sends a request once, to one node, counted from 0.
    ///
    /// # Errors
    ///
    /// [`Lost`], which says whether the request may have left.
    pub(crate) async fn send_to(
        &self,
        index: usize,
        request: &Request,
        token: Option<&VaultToken>,
    ) -> Result<Reply, Lost> {
        let node = self.nodes.get(index).ok_or(NOWHERE)?;
        let http = node
            .http
            .get_or_try_init(|| build(&self.server, &node.address))
            .await
            .map_err(|()| Lost::NeverSent(Unavailable::TlsFiles))?;
        let url = self
            .url(&node.address, &request.path)
            .ok_or(Lost::NeverSent(Unavailable::NotMounted))?;
        let method = match request.verb {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
        };
        let mut builder = http
            .request(method, url)
            .timeout(request.timeout)
            // Vault's agents and proxies ask for it, as a guard against forged requests.
            .header(HeaderName::from_static("x-vault-request"), "true");
        if let Some(token) = token {
            builder = builder.header(HeaderName::from_static("x-vault-token"), token.header());
        }
        if let Some(namespace) = &self.server.namespace {
            builder = builder.header(HeaderName::from_static("x-vault-namespace"), namespace);
        }
        if request.verb == Verb::Post {
            builder = builder
                .header(reqwest::header::CONTENT_TYPE, "application/json")
                .body(request.body.clone());
        }
        let response = builder.send().await.map_err(|error| lost(&error.without_url()))?;
        read(response).await
    }

    fn url(&self, address: &Url, path: &str) -> Option<Url> {
        let mut url = address.join("v1/").ok()?.join(path).ok()?;
        if let Some(name) = &self.server.server_name {
            // The URL's host is what TLS checks; the resolver below leads it to the real host.
            url.set_host(Some(name)).ok()?;
        }
        Some(url)
    }
}

async fn read(mut response: reqwest::Response) -> Result<Reply, Lost> {
    let status = response.status().as_u16();
    let retry_after = response
        .headers()
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok())
        .map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| lost_later(&error.without_url()))?
    {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(Lost::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Reply { status, body: body.into(), retry_after })
}

fn lost(error: &reqwest::Error) -> Lost {
    if error.is_connect() {
        let fault = connect_fault(error);
        tracing::debug!(%fault, "no connection to Vault");
        return Lost::NeverSent(Unavailable::NoConnection(fault));
    }
    if error.is_builder() {
        return Lost::NeverSent(Unavailable::NoConnection(ConnectFault::Other));
    }
    lost_later(error)
}

fn lost_later(error: &reqwest::Error) -> Lost {
    if error.is_timeout() { Lost::TimedOut } else { Lost::Broken }
}

fn connect_fault(error: &reqwest::Error) -> ConnectFault {
    if error.is_timeout() {
        return ConnectFault::Timeout;
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            // The log tells the operator which check failed; rustls' texts hold no secrets.
            tracing::warn!(problem = %tls, "TLS with Vault failed");
            return ConnectFault::Tls(tls_fault(tls));
        }
        let io = error.downcast_ref::<std::io::Error>();
        if io.is_some_and(|io| io.kind() == std::io::ErrorKind::ConnectionRefused) {
            return ConnectFault::Refused;
        }
        // An io::Error's source is the source of what it carries; what it carries comes first.
        let carried = io.and_then(std::io::Error::get_ref);
        cause = carried.map(|inner| inner as _).or_else(|| error.source());
    }
    if error.is_dns() { ConnectFault::Name } else { ConnectFault::Other }
}

fn tls_fault(error: &rustls::Error) -> TlsFault {
    use rustls::{AlertDescription, CertificateError, Error};

    #[expect(clippy::wildcard_enum_match_arm, reason = "rustls' enums are open by declaration")]
    match error {
        Error::InvalidCertificate(fault) => match fault {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                TlsFault::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                TlsFault::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                TlsFault::WrongName
            }
            CertificateError::UnknownIssuer => TlsFault::UnknownIssuer,
            _ => TlsFault::Other,
        },
        Error::InvalidMessage(_) => TlsFault::NoTls,
        Error::AlertReceived(
            AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied,
        ) => TlsFault::ClientCertificate,
        _ => TlsFault::Other,
    }
}

/// Builds the HTTP client away from the event loop: it reads the system's certificates.
async fn build(server: &VaultServer, address: &Url) -> Result<reqwest::Client, ()> {
    let (server, address) = (server.clone(), address.clone());
    let built = tokio::task::spawn_blocking(move || build_blocking(&server, &address)).await;
    match built {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(problem)) => {
            tracing::error!(problem, "the HTTP client for Vault can't be made");
            Err(())
        }
        Err(_) => Err(()),
    }
}

fn build_blocking(server: &VaultServer, address: &Url) -> Result<reqwest::Client, &'static str> {
    let mut builder = reqwest::Client::builder()
        .user_agent(concat!("mcp-bridge/", env!("CARGO_PKG_VERSION")))
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .tcp_nodelay(true)
        .connect_timeout(CONNECT)
        .pool_idle_timeout(POOL_IDLE);
    if let Some(path) = &server.ca_cert {
        let pem = read_file(path).ok_or("the CA certificate file can't be read")?;
        let certificates = Certificate::from_pem_bundle(&pem)
            .ok()
            .filter(|certificates| !certificates.is_empty())
            .ok_or("the CA certificate file holds no PEM certificate")?;
        builder = builder.tls_certs_only(certificates);
    } else if address.scheme() == "http" {
        // Reading the system's authorities is most of the start, and none is asked here.
        builder = builder.tls_certs_only([]);
    }
    if let Some((certificate, key)) = &server.identity {
        let mut pem = zeroize::Zeroizing::new(
            read_file(certificate).ok_or("the client certificate file can't be read")?,
        );
        let key =
            zeroize::Zeroizing::new(read_file(key).ok_or("the client key file can't be read")?);
        pem.push(b'\n');
        pem.extend_from_slice(&key);
        let identity = Identity::from_pem(&pem)
            .map_err(|_| "the client certificate or its key isn't usable PEM")?;
        builder = builder.identity(identity);
    }
    if server.server_name.is_some() {
        let host = address.host_str().ok_or("the address has no host")?;
        builder = builder.dns_resolver(Redirected { host: host.into() });
    }
    builder.build().map_err(|_| "the TLS settings can't be used")
}

fn read_file(path: &Path) -> Option<Vec<u8>> {
    std::fs::read(path)
        .inspect_err(
            |error| tracing::error!(path = %path.display(), kind = %error.kind(), "can't read"),
        )
        .ok()
}

/// Resolves whatever name is asked for as the server's own: `VAULT_TLS_SERVER_NAME` renames the
/// server for TLS, not for the network.
struct Redirected {
    host: Arc<str>,
}

impl Resolve for Redirected {
    fn resolve(&self, _name: Name) -> Resolving {
        let host = Arc::clone(&self.host);
        Box::pin(async move {
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let addresses = tokio::net::lookup_host((host, 0)).await?.collect::<Vec<SocketAddr>>();
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

/// What is said of no node at all.
const NOWHERE: Lost = Lost::NeverSent(Unavailable::NoConnection(ConnectFault::Other));
/// The limit of requests that Vault answers by itself.
const SHORT: Duration = Duration::from_secs(10);
/// The limit of making a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections are dropped well before Vault drops them (5 minutes), so that a request hardly
/// ever meets a connection that is being closed.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// The engine's largest response, 32 MiB, twice over for JSON's escapes, and some room.
const MAX_ANSWER_BYTES: usize = 80 * 1024 * 1024;
