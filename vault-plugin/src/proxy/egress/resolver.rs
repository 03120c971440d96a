//! From a name to its addresses: hosts file, then DNS; absolute names only, and closed on failure.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use hickory_resolver::config::{
    ConnectionConfig, LookupIpStrategy, NameServerConfig, ResolveHosts, ResolverConfig,
    ResolverOpts,
};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::op::Query;
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::{Hosts, TokioResolver, system_conf};

use super::error::Unreachable;
use crate::proxy::origin::Host;

/// Where name servers listen (RFC 1035, section 4.2).
const DNS_PORT: u16 = 53;

/// How long one query to one name server may take; each is tried twice.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a name may take in all.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(5);

/// Resolves names with the system's name servers, read again when their files change.
///
/// Never `getaddrinfo`: it can't be cancelled, reads `127.1` as an address, and a static binary
/// would need the host's libraries for it.
pub struct Resolver {
    source: Source,
    current: Mutex<Option<Arc<Built>>>,
}

enum Source {
    Files { resolv_conf: PathBuf, hosts: PathBuf, port: u16 },
    Fixed { servers: Vec<SocketAddr>, hosts: String },
}

struct Built {
    dns: TokioResolver,
    hosts: Hosts,
    stamps: [Option<Stamp>; 2],
}

/// Tells one content of a file from the next: its inode too, as these files are mostly replaced by
/// renaming, and a file system's clock may not tell two changes apart.
type Stamp = (SystemTime, u64, u64);

impl Resolver {
    /// Uses `/etc/resolv.conf` and `/etc/hosts`.
    pub fn system() -> Self {
        Self::files("/etc/resolv.conf", "/etc/hosts", DNS_PORT)
    }

    /// Uses files of this form, and asks name servers on this port.
    pub(super) fn files(
        resolv_conf: impl Into<PathBuf>,
        hosts: impl Into<PathBuf>,
        port: u16,
    ) -> Self {
        let source = Source::Files { resolv_conf: resolv_conf.into(), hosts: hosts.into(), port };
        Self { source, current: Mutex::new(None) }
    }

    /// Uses the given name servers and hosts file alone: for tests.
    pub fn fixed(servers: impl Into<Vec<SocketAddr>>, hosts: impl Into<String>) -> Self {
        let source = Source::Fixed { servers: servers.into(), hosts: hosts.into() };
        Self { source, current: Mutex::new(None) }
    }

    /// All addresses of a host: an address is its own.
    ///
    /// # Errors
    ///
    /// As for [`Self::resolve`].
    pub(super) async fn addresses(&self, host: &Host) -> Result<Vec<IpAddr>, Unreachable> {
        match host {
            Host::Address(address) => Ok(vec![*address]),
            Host::Name(name) => self.resolve(name).await,
        }
    }

    /// Resolves an absolute name to all its addresses, IPv4 first; never an empty list.
    ///
    /// # Errors
    ///
    /// `NameNotFound`, `ResolverFailed` or `ResolveTimeout`; the last after 5 seconds.
    pub(super) async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Unreachable> {
        // Absolute, or the search list would lead to names that nobody named.
        let name = Name::from_ascii(format!("{}.", name.trim_end_matches('.')))
            .map_err(|_| Unreachable::NameNotFound)?;
        let built = self.built()?;
        let fixed = from_hosts(&built.hosts, &name);
        if !fixed.is_empty() {
            return Ok(fixed);
        }
        let lookup = tokio::time::timeout(RESOLVE_TIMEOUT, built.dns.lookup_ip(name))
            .await
            .map_err(|_| Unreachable::ResolveTimeout)?
            .map_err(|error| failure(&error))?;
        let addresses: Vec<IpAddr> = lookup.iter().collect();
        if addresses.is_empty() { Err(Unreachable::NameNotFound) } else { Ok(addresses) }
    }

    fn built(&self) -> Result<Arc<Built>, Unreachable> {
        let stamps = match &self.source {
            Source::Files { resolv_conf, hosts, .. } => [stamp(resolv_conf), stamp(hosts)],
            Source::Fixed { .. } => [None, None],
        };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(built) = current.as_ref()
            && built.stamps == stamps
        {
            return Ok(Arc::clone(built));
        }
        // An unreadable file must not leave the old answer in force.
        *current = None;
        let built = self.source.build(stamps).map_err(|_| Unreachable::ResolverFailed)?;
        Ok(Arc::clone(current.insert(Arc::new(built))))
    }
}

impl Source {
    fn build(&self, stamps: [Option<Stamp>; 2]) -> Result<Built, NetError> {
        let mut hosts = Hosts::default();
        let servers = match self {
            Self::Files { resolv_conf, hosts: file, port } => {
                match fs::read(file) {
                    Ok(text) => hosts.read_hosts_conf(text.as_slice())?,
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(error.into()),
                }
                // Fails without a name server: hickory knows no public one to fall back to here.
                let (config, _) = system_conf::parse_resolv_conf(fs::read(resolv_conf)?)?;
                let servers = config.name_servers.iter();
                servers.map(|server| name_server(&SocketAddr::new(server.ip, *port))).collect()
            }
            Self::Fixed { servers, hosts: text } => {
                hosts.read_hosts_conf(text.as_bytes())?;
                servers.iter().map(name_server).collect()
            }
        };
        let mut options = ResolverOpts::default();
        options.timeout = QUERY_TIMEOUT;
        options.attempts = 2;
        // A host without IPv6 answers at once, one whose IPv6 is a black hole costs a timeout.
        options.ip_strategy = LookupIpStrategy::Ipv4AndIpv6;
        options.use_hosts_file = ResolveHosts::Never;
        options.positive_max_ttl = Some(Duration::from_secs(60));
        options.negative_max_ttl = Some(Duration::from_secs(5));
        let dns = TokioResolver::builder_with_config(
            ResolverConfig::from_name_servers(servers),
            TokioRuntimeProvider::default(),
        )
        .with_options(options)
        .build()?;
        Ok(Built { dns, hosts, stamps })
    }
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Resolver")
    }
}

fn name_server(address: &SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()]
        .map(|mut connection| {
            connection.port = address.port();
            connection
        })
        .into();
    NameServerConfig::new(address.ip(), true, connections)
}

/// What the hosts file says; if it says anything, DNS isn't asked, for neither family.
fn from_hosts(hosts: &Hosts, name: &Name) -> Vec<IpAddr> {
    [RecordType::A, RecordType::AAAA]
        .into_iter()
        .filter_map(|kind| hosts.lookup_static_host(&Query::query(name.clone(), kind)))
        .flat_map(|lookup| {
            lookup.answers().iter().filter_map(|record| record.data.ip_addr()).collect::<Vec<_>>()
        })
        .collect()
}

fn failure(error: &NetError) -> Unreachable {
    if error.is_no_records_found() {
        Unreachable::NameNotFound
    } else if matches!(error, NetError::Timeout) {
        Unreachable::ResolveTimeout
    } else {
        Unreachable::ResolverFailed
    }
}

fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = fs::metadata(path).ok()?;
    Some((metadata.modified().ok()?, metadata.len(), metadata.ino()))
}
