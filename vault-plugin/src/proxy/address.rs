//! Which addresses may be dialled: every address has a class, and only public ones are free.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

mod cidrs;
mod guard;
mod table;
#[cfg(test)]
mod tests;

pub use cidrs::{CidrError, Cidrs};
pub use guard::{AddressGuard, CheckedAddress, Forbidden, Refusal};

/// What an address is for, by the IANA special-purpose registries and by what clouds do.
///
/// `Display` gives the words for a message: they name the kind, never the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AddressClass {
    /// Global unicast: may be dialled.
    Public,
    /// `0.0.0.0/8` and `::`; on Linux the unspecified address reaches the host itself.
    Unspecified,
    /// RFC 1918.
    Private,
    /// Carrier-grade NAT and overlay networks, RFC 6598.
    Shared,
    /// The host itself.
    Loopback,
    /// Link-local; where clouds put their metadata services.
    LinkLocal,
    /// A cloud's metadata or host service, opened only when listed as exactly that host.
    Metadata,
    /// Set aside for IETF protocols.
    IetfProtocol,
    /// Documentation.
    Documentation,
    /// The AS112 sink for stray DNS queries.
    As112,
    /// Automatic multicast tunnelling relays.
    Amt,
    /// The deprecated 6to4 relay anycast prefix.
    SixToFourRelay,
    /// Benchmarking.
    Benchmarking,
    /// Multicast.
    Multicast,
    /// IPv4's reserved class E.
    Reserved,
    /// The limited broadcast address.
    Broadcast,
    /// IPv4-compatible IPv6, deprecated; carries an IPv4 address.
    V4Compatible,
    /// IPv4-translated IPv6 (SIIT); carries an IPv4 address.
    V4Translated,
    /// NAT64, well-known or local prefix; carries an IPv4 address.
    Nat64,
    /// 6to4; carries an IPv4 address.
    SixToFour,
    /// Teredo; carries an IPv4 address.
    Teredo,
    /// ISATAP around an IPv4 address that isn't public.
    Isatap,
    /// The discard and dummy prefixes.
    Discard,
    /// The former NSAP prefix, used by an overlay network.
    FormerNsap,
    /// Segment routing identifiers.
    SegmentRouting,
    /// Unique local, RFC 4193.
    UniqueLocal,
    /// Site-local, deprecated, still routed by some.
    SiteLocal,
    /// Cryptographic and drone identifiers: no hosts.
    Identifier,
    /// The former 6bone.
    SixBone,
    /// IPv6 outside `2000::/3` and in no row: not allocated for unicast.
    Unallocated,
}

impl AddressClass {
    /// Whether a list of CIDRs may open this class at all.
    pub fn can_be_opened(self) -> bool {
        !matches!(self, Self::Unspecified | Self::Multicast | Self::Broadcast)
    }
}

impl fmt::Display for AddressClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Unspecified => "unspecified (this network)",
            Self::Private => "private (RFC 1918)",
            Self::Shared => "shared (carrier-grade NAT, RFC 6598)",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local or metadata",
            Self::Metadata => "cloud metadata service",
            Self::IetfProtocol => "reserved for IETF protocols",
            Self::Documentation => "documentation",
            Self::As112 => "AS112 sink",
            Self::Amt => "multicast tunnel relay",
            Self::SixToFourRelay => "6to4 relay",
            Self::Benchmarking => "benchmarking",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
            Self::Broadcast => "broadcast",
            Self::V4Compatible => "IPv4-compatible IPv6",
            Self::V4Translated => "IPv4-translated IPv6",
            Self::Nat64 => "NAT64",
            Self::SixToFour => "6to4",
            Self::Teredo => "Teredo",
            Self::Isatap => "ISATAP around a non-public IPv4 address",
            Self::Discard => "discard-only",
            Self::FormerNsap => "former NSAP (overlay)",
            Self::SegmentRouting => "segment routing",
            Self::UniqueLocal => "unique local (RFC 4193)",
            Self::SiteLocal => "site-local",
            Self::Identifier => "identifiers, not hosts",
            Self::SixBone => "former 6bone",
            Self::Unallocated => "not allocated",
        })
    }
}

/// Names the class of an address. An IPv4-mapped IPv6 address has the class of its IPv4 address.
///
/// IPv4 is public unless a row of the table says otherwise. IPv6 is public only inside `2000::/3`
/// (RFC 4291, section 2.4; IANA has allocated no other unicast), and there only outside the rows.
/// A network's own NAT64 prefix (RFC 6052) can't be told from public addresses: list it as denied.
pub fn classify(address: IpAddr) -> AddressClass {
    match unmapped(address) {
        IpAddr::V4(address) => classify_v4(address),
        IpAddr::V6(address) => classify_v6(address),
    }
}

/// Unpacks an IPv4-mapped IPv6 address (RFC 4291, section 2.5.5.2); others stay as they are.
fn unmapped(address: IpAddr) -> IpAddr {
    // Not `to_ipv4`, which would unpack the IPv4-compatible form, `::1` included.
    address.to_canonical()
}

fn classify_v4(address: Ipv4Addr) -> AddressClass {
    table::V4
        .iter()
        .find(|row| row.range.contains(&address))
        .map_or(AddressClass::Public, |row| row.class)
}

fn classify_v6(address: Ipv6Addr) -> AddressClass {
    if let Some(row) = table::V6.iter().find(|row| row.range.contains(&address)) {
        return row.class;
    }
    match isatap(address) {
        Some(carried) if classify_v4(carried) != AddressClass::Public => AddressClass::Isatap,
        Some(_) | None if table::V6_UNICAST.contains(&address) => AddressClass::Public,
        Some(_) | None => AddressClass::Unallocated,
    }
}

/// The IPv4 address in an ISATAP interface identifier (RFC 5214, section 6.1).
fn isatap(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [_, _, _, _, flags, marker, _, _] = address.segments();
    (matches!(flags, 0 | 0x0200) && marker == 0x5efe).then(|| low_v4(address))
}

/// The IPv4 address that an IPv6 address of this class leads to, where its place is known.
fn carried_v4(address: Ipv6Addr, class: AddressClass) -> Option<Ipv4Addr> {
    if class == AddressClass::SixToFour {
        // RFC 3056, section 2: bits 16 to 47.
        let [_, high, low, ..] = address.segments();
        return Some(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    }
    if class == AddressClass::Teredo {
        // RFC 4380, section 4: the client's address, every bit inverted.
        return Some(Ipv4Addr::from_bits(!low_v4(address).to_bits()));
    }
    let low = matches!(
        class,
        AddressClass::V4Compatible
            | AddressClass::V4Translated
            | AddressClass::Nat64
            | AddressClass::Isatap
    );
    low.then(|| low_v4(address))
}

fn low_v4(address: Ipv6Addr) -> Ipv4Addr {
    let [.., high, low] = address.segments();
    Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low))
}
