//! Checks the way to Vault and Vault's own state, without a token.

use std::time::Duration;

use reqwest::Url;
use serde::Deserialize;

use crate::config::VaultServer;
use crate::vault::{Client, ConnectFault, Lost, Request, TlsFault, Unavailable};

use super::super::report::{Fault, Report};

/// The longest that one node may take to accept a connection.
const LIMIT: Duration = Duration::from_secs(5);

/// Tries to connect to each address; true if any accepts.
pub(super) async fn network(server: &VaultServer, report: &mut Report) -> bool {
    let mut reached = 0;
    let mut failures = Vec::new();
    for address in &server.addresses {
        match connect(address).await {
            Ok(()) => reached += 1,
            Err(problem) => failures.push(format!("{address}: {problem}")),
        }
    }
    let all = server.addresses.len();
    if reached == 0 {
        report.fail(
            "network",
            failures.join("; "),
            Fault::Network,
            "start Vault, or mend VAULT_ADDR, the name service or the firewall",
        );
        return false;
    }
    if failures.is_empty() {
        report.ok("network", format!("{reached} of {all} addresses accept connections"));
    } else {
        report.warn(
            "network",
            format!("{reached} of {all} addresses accept connections; {}", failures.join("; ")),
            Fault::VaultOperator,
            "start that node, or take its address out",
        );
    }
    true
}

async fn connect(address: &Url) -> Result<(), String> {
    let host = address.host_str().unwrap_or_default();
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let port = address.port_or_known_default().unwrap_or_default();
    let found = tokio::time::timeout(LIMIT, tokio::net::lookup_host((host, port))).await;
    let found = found.map_err(|_| "the name service doesn't answer")?;
    let found = found.map_err(|_| ConnectFault::Name.to_string())?.collect::<Vec<_>>();
    let stream = tokio::time::timeout(LIMIT, tokio::net::TcpStream::connect(found.as_slice()));
    match stream.await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(error.kind().to_string()),
        Err(_) => Err(ConnectFault::Timeout.to_string()),
    }
}

/// What `sys/health` tells (HTTP API, `/sys/health`).
#[derive(Deserialize)]
struct Health {
    #[serde(default)]
    initialized: bool,
    #[serde(default)]
    sealed: bool,
    #[serde(default)]
    standby: bool,
    #[serde(default)]
    version: String,
}

/// A node that was asked.
enum Node {
    Serves(String),
    Standby(String),
    Sealed,
    Uninitialized,
    Tls(TlsFault),
    TlsFiles,
    Silent(String),
    NoVault(u16),
}

/// Asks each node for its state over TLS; the client, if any node can serve.
pub(super) async fn state(server: &VaultServer, report: &mut Report) -> Option<Client> {
    let client = Client::new(server.clone());
    let mut nodes = Vec::new();
    for (index, address) in server.addresses.iter().enumerate() {
        nodes.push((address, ask(&client, index).await));
    }
    if !tls(server, &nodes, report) {
        report.skip(super::REMOTE.get(2..).unwrap_or_default());
        return None;
    }
    let mut serves = false;
    for (address, node) in &nodes {
        let wrong = |text: &str| format!("{address}: {text}");
        match node {
            Node::Serves(version) => {
                serves = true;
                report.ok("Vault", wrong(&format!("unsealed and active, version {version}")));
            }
            Node::Standby(version) => {
                serves = true;
                report.ok("Vault", wrong(&format!("unsealed, a standby, version {version}")));
            }
            Node::Sealed => report.fail(
                "Vault",
                wrong("sealed"),
                Fault::VaultOperator,
                format!("vault operator unseal -address={address}"),
            ),
            Node::Uninitialized => report.fail(
                "Vault",
                wrong("not initialised"),
                Fault::VaultOperator,
                format!("vault operator init -address={address}"),
            ),
            Node::NoVault(status) => report.fail(
                "Vault",
                wrong(&format!("answers {status} where Vault tells its state: is it Vault?")),
                Fault::ThisMachine,
                "mend VAULT_ADDR: the address alone, without /v1 or /ui",
            ),
            Node::Silent(problem) => report.fail(
                "Vault",
                wrong(problem),
                Fault::Network,
                "see Vault's own log; MCP_BRIDGE_LOG=debug says more here",
            ),
            // Told with the link before.
            Node::Tls(_) | Node::TlsFiles => {}
        }
    }
    if serves {
        return Some(client);
    }
    report.skip(super::REMOTE.get(3..).unwrap_or_default());
    None
}

/// Tells whether TLS works with any node.
fn tls(server: &VaultServer, nodes: &[(&Url, Node)], report: &mut Report) -> bool {
    let mut works = false;
    for (address, node) in nodes {
        match node {
            Node::Tls(fault) => {
                let (text, (whose, mend)) = match (fault, &server.pinned) {
                    (TlsFault::UnknownIssuer, Some(_)) => (FOREIGN.to_owned(), REPINNED),
                    _ => (fault.to_string(), cure(*fault)),
                };
                report.fail("TLS", format!("{address}: {text}"), whose, mend);
            }
            Node::TlsFiles => report.fail(
                "TLS",
                "the files of VAULT_CACERT, VAULT_CLIENT_CERT or VAULT_CLIENT_KEY can't be used",
                Fault::ThisMachine,
                "name PEM files that this user can read; the line on stderr says which",
            ),
            Node::Serves(_)
            | Node::Standby(_)
            | Node::Sealed
            | Node::Uninitialized
            | Node::Silent(_)
            | Node::NoVault(_) => works = true,
        }
    }
    if works {
        let plain = server.addresses.iter().any(|address| address.scheme() == "http");
        report.ok("TLS", if plain { "none: the address is plain http" } else { "trusted" });
    }
    works
}

/// An authority that differs from the pinned one: perhaps somebody in between.
const FOREIGN: &str = "the authority of this certificate isn't the one that this credential is kept \
                       for: another server may stand in Vault's place. Nothing was sent to it";
const REPINNED: (Fault, &str) = (
    Fault::VaultOperator,
    "if Vault's authority was changed: mcp-bridge enroll --force with its --ca-cert",
);

fn cure(fault: TlsFault) -> (Fault, &'static str) {
    match fault {
        TlsFault::Expired => (Fault::VaultOperator, "renew the certificate of Vault's listener"),
        TlsFault::NotYetValid => (Fault::ThisMachine, "set this machine's clock right"),
        TlsFault::WrongName => (
            Fault::ThisMachine,
            "use a name that the certificate carries in VAULT_ADDR, or set VAULT_TLS_SERVER_NAME",
        ),
        TlsFault::UnknownIssuer => (
            Fault::ThisMachine,
            "set VAULT_CACERT to the PEM file of the authority that issued Vault's certificate",
        ),
        TlsFault::NoTls => (Fault::ThisMachine, "use http:// in VAULT_ADDR, or another port"),
        TlsFault::ClientCertificate => (
            Fault::ThisMachine,
            "set VAULT_CLIENT_CERT and VAULT_CLIENT_KEY to a certificate that Vault's listener takes",
        ),
        TlsFault::Other => (Fault::VaultOperator, "MCP_BRIDGE_LOG=debug says more"),
    }
}

async fn ask(client: &Client, index: usize) -> Node {
    let request = Request::get("sys/health").with_timeout(LIMIT);
    let reply = match client.send_to(index, &request, None).await {
        Ok(reply) => reply,
        Err(Lost::NeverSent(Unavailable::NoConnection(ConnectFault::Tls(fault)))) => {
            return Node::Tls(fault);
        }
        Err(Lost::NeverSent(Unavailable::TlsFiles)) => return Node::TlsFiles,
        // A listener that wants a certificate says so after the handshake (RFC 8446, 4.4.2.4).
        Err(lost) => return Node::Silent(lost.to_string()),
    };
    match serde_json::from_slice::<Health>(&reply.body) {
        Ok(health) if !health.initialized => Node::Uninitialized,
        Ok(health) if health.sealed => Node::Sealed,
        Ok(health) if health.standby => Node::Standby(health.version),
        Ok(health) => Node::Serves(health.version),
        Err(_) => Node::NoVault(reply.status),
    }
}

/// Warns of Vault Agent or Proxy in between: they repeat requests that failed, calls included.
pub(super) async fn between(client: &Client, report: &mut Report) {
    // Both serve their metrics under their own name; Vault knows neither path.
    for (path, name) in
        [("../agent/v1/metrics", "Vault Agent"), ("../proxy/v1/metrics", "Vault Proxy")]
    {
        let request = Request::get(path).with_timeout(LIMIT);
        if client.send(&request, None).await.is_ok_and(|reply| reply.status == 200) {
            report.warn(
                "Vault",
                format!("{name} stands in between: it repeats requests that failed, calls too"),
                Fault::ThisMachine,
                format!("in {name}'s configuration: vault {{ retry {{ num_retries = -1 }} }}"),
            );
        }
    }
}
