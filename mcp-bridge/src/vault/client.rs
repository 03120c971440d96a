//! Sends single requests to Vault and tells "never sent" from "maybe sent".

mod build;
mod fault;
mod request;

use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::header::{HeaderName, RETRY_AFTER};
use reqwest::{Method, Url};
use tokio::sync::OnceCell;

use self::build::build;
use self::fault::{lost, lost_later};
use super::login::cannot_serve;
use super::{ConnectFault, Unavailable};
use crate::config::VaultServer;
use crate::secret::VaultToken;

pub(crate) use self::request::{Lost, Reply, Request, Verb};

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
            Verb::Delete => Method::DELETE,
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
        if let Some(lifetime) = request.wrap {
            let name = HeaderName::from_static("x-vault-wrap-ttl");
            builder = builder.header(name, format!("{}s", lifetime.as_secs()));
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

/// What is said of no node at all.
const NOWHERE: Lost = Lost::NeverSent(Unavailable::NoConnection(ConnectFault::Other));
/// The engine's largest response, 32 MiB, twice over for JSON's escapes, and some room.
const MAX_ANSWER_BYTES: usize = 80 * 1024 * 1024;
