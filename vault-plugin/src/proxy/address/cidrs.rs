//! Lists of networks that an operator opens or denies.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{AddressClass, classify, unmapped};

/// A parsed list of networks; empty by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cidrs(Vec<IpNet>);

/// Why an entry of a list was refused; names the entry, which is configuration and no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CidrError {
    /// Neither an address nor a network.
    #[error("{0:?} is neither an address nor a network such as 10.1.0.0/16")]
    Syntax(String),
    /// Bits are set after the prefix: a slip that might open more than was meant.
    #[error("{given} has bits set after its prefix: did you mean {network}?")]
    HostBits {
        /// The entry.
        given: IpNet,
        /// The network that holds it.
        network: IpNet,
    },
    /// IPv4-mapped IPv6, which would never match: such addresses are judged as IPv4.
    #[error("{0} is IPv4 in IPv6 form: write it as IPv4")]
    Mapped(IpNet),
    /// Shorter than `/8` for IPv4 or `/16` for IPv6.
    #[error("{0} is too wide to open: at least /8 for IPv4, /16 for IPv6")]
    TooWide(IpNet),
    /// Holds unspecified, multicast or broadcast addresses.
    #[error("{0} holds unspecified, multicast or broadcast addresses, which are never dialled")]
    NeverDialled(IpNet),
}

impl Cidrs {
    /// Parses a list that opens networks: `upstream_cidrs` of a service or of the mount. A bare
    /// address stands for itself alone.
    ///
    /// # Errors
    ///
    /// [`CidrError`] for the first entry that isn't a network, is too wide, or holds addresses
    /// that are never dialled.
    pub fn opening<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, CidrError> {
        let list = Self::denying(entries)?;
        for network in &list.0 {
            let shortest = match network {
                IpNet::V4(_) => 8,
                IpNet::V6(_) => 16,
            };
            if network.prefix_len() < shortest {
                return Err(CidrError::TooWide(*network));
            }
            if NEVER.iter().any(|never| never.contains(network) || network.contains(never)) {
                return Err(CidrError::NeverDialled(*network));
            }
        }
        Ok(list)
    }

    /// Parses a list that denies networks, `denied_destinations` of the mount: of any width.
    ///
    /// # Errors
    ///
    /// [`CidrError`] for the first entry that isn't a network.
    pub fn denying<S: AsRef<str>>(entries: impl IntoIterator<Item = S>) -> Result<Self, CidrError> {
        entries
            .into_iter()
            .map(|entry| parse(entry.as_ref().trim()))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Adds one host: an address that stands in a service's `base_url` opens itself.
    pub fn push_host(&mut self, address: IpAddr) {
        let host = IpNet::from(unmapped(address));
        if !self.0.contains(&host) {
            self.0.push(host);
        }
    }

    /// Whether a network of the list holds the address, an IPv4-mapped one judged as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = unmapped(address);
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether the list opens the address: it holds it, and names a metadata service exactly.
    pub(super) fn opens(&self, address: IpAddr) -> bool {
        let address = unmapped(address);
        let class = classify(address);
        if class == AddressClass::Metadata {
            return self.0.contains(&IpNet::from(address));
        }
        class.can_be_opened() && self.contains(address)
    }

    /// Finds the first network of this list that `bound` doesn't cover: a service's list must lie
    /// within the mount's.
    pub fn first_outside(&self, bound: &Self) -> Option<IpNet> {
        // Neighbours together may cover what neither does alone.
        let merged = IpNet::aggregate(&bound.0);
        self.0.iter().copied().find(|network| {
            let exact = classify(network.addr()) == AddressClass::Metadata
                && network.prefix_len() == network.max_prefix_len();
            if exact {
                !bound.0.contains(network)
            } else {
                !merged.iter().any(|wide| wide.contains(network))
            }
        })
    }

    /// Whether nothing is listed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Cidrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, network) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{network}")?;
        }
        Ok(())
    }
}

fn parse(entry: &str) -> Result<IpNet, CidrError> {
    let network = if entry.contains('/') {
        IpNet::from_str(entry).ok()
    } else {
        IpAddr::from_str(entry).ok().map(IpNet::from)
    };
    let network = network.ok_or_else(|| CidrError::Syntax(entry.to_owned()))?;
    if MAPPED.contains(&network) {
        return Err(CidrError::Mapped(network));
    }
    let truncated = network.trunc();
    if truncated == network {
        Ok(network)
    } else {
        Err(CidrError::HostBits { given: network, network: truncated })
    }
}

const MAPPED: IpNet =
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::new(0, 0, 0, 0, 0, 0xffff, 0, 0), 96));

/// What no list opens.
const NEVER: &[IpNet] = &[
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 8)),
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(224, 0, 0, 0), 4)),
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::BROADCAST, 32)),
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, 128)),
    IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xff00, 0, 0, 0, 0, 0, 0, 0), 8)),
];
