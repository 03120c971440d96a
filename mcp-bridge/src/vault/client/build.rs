//! Builds the HTTP client for one node, which knows whom to trust.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Certificate, Identity, Url};

use crate::config::VaultServer;

/// Builds the HTTP client away from the event loop: it reads the system's certificates.
pub(super) async fn build(server: &VaultServer, address: &Url) -> Result<reqwest::Client, ()> {
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
    let pem = match (&server.pinned, &server.ca_cert) {
        (Some(pinned), _) => Some(pinned.to_vec()),
        (None, Some(path)) => Some(read_file(path).ok_or("the CA certificate file can't be read")?),
        (None, None) => None,
    };
    if let Some(pem) = pem {
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

/// The limit of making a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Idle connections are dropped well before Vault drops them (5 minutes), so that a request hardly
/// ever meets a connection that is being closed.
const POOL_IDLE: Duration = Duration::from_secs(60);
