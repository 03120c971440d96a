//! Sends single requests to Vault and tells "never sent" from "maybe sent".

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{HeaderName, RETRY_AFTER};
use reqwest::{Certificate, Identity, Method, Url};
use tokio::sync::OnceCell;

use super::{ConnectFault, Unavailable};
use crate::config::VaultServer;
use crate::secret::VaultToken;

/// A client of one Vault server. Connections are kept and reused; nothing is opened before use.
#[derive(Debug)]
pub(crate) struct Client {
    server: VaultServer,
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
        Self { verb: Verb::Get, path: path.into(), body: Bytes::new(), timeout: SHORT }
    }

    /// An update with the usual limit.
    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        Self { verb: Verb::Post, path: path.into(), body: body.into(), timeout: SHORT }
    }

    /// The same request with another limit.
    pub(crate) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
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
        Self { server, http: OnceCell::new() }
    }

    /// The server's address and namespace, to tell one server's saved data from another's.
    pub(crate) fn server(&self) -> (&str, Option<&str>) {
        (self.server.address.as_str(), self.server.namespace.as_deref())
    }

    /// Sends a request once.
    ///
    /// # Errors
    ///
    /// [`Lost`], which says whether the request may have left.
    pub(crate) async fn send(
        &self,
        request: &Request,
        token: Option<&VaultToken>,
    ) -> Result<Reply, Lost> {
        let http = self
            .http
            .get_or_try_init(|| build(&self.server))
            .await
            .map_err(|()| Lost::NeverSent(Unavailable::TlsFiles))?;
        let url = self.url(&request.path).ok_or(Lost::NeverSent(Unavailable::NotMounted))?;
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

    fn url(&self, path: &str) -> Option<Url> {
        let mut url = self.server.address.join("v1/").ok()?.join(path).ok()?;
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
            return ConnectFault::Tls;
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

/// Builds the HTTP client away from the event loop: it reads the system's certificates.
async fn build(server: &VaultServer) -> Result<reqwest::Client, ()> {
    let server = server.clone();
    let built = tokio::task::spawn_blocking(move || build_blocking(&server)).await;
    match built {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(problem)) => {
            tracing::error!(problem, "the HTTP client for Vault can't be made");
            Err(())
        }
        Err(_) => Err(()),
    }
}

fn build_blocking(server: &VaultServer) -> Result<reqwest::Client, &'static str> {
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
        let host = server.address.host_str().ok_or("the address has no host")?;
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

/// The limit of requests that Vault answers by itself.
const SHORT: Duration = Duration::from_secs(10);
/// The limit of making a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections are dropped well before Vault drops them (5 minutes), so that a request hardly
/// ever meets a connection that is being closed.
const POOL_IDLE: Duration = Duration::from_secs(60);
/// The engine's largest response, 32 MiB, twice over for JSON's escapes, and some room.
const MAX_ANSWER_BYTES: usize = 80 * 1024 * 1024;
