//! The special-purpose ranges as data: the IANA registries, and hosts with powers in clouds.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::AddressClass;
use super::AddressClass::{
    Amt, As112, Benchmarking, Broadcast, Discard, Documentation, FormerNsap, Identifier,
    IetfProtocol, LinkLocal, Loopback, Metadata, Multicast, Nat64, Private, Reserved,
    SegmentRouting, Shared, SiteLocal, SixBone, SixToFour, SixToFourRelay, Teredo, UniqueLocal,
    Unspecified, V4Compatible, V4Translated,
};

/// One range and what it is for.
pub(super) struct Row<Net> {
    /// The range.
    pub(super) range: Net,
    /// The class of every address in it that no earlier row names.
    pub(super) class: AddressClass,
    /// Where it is laid down.
    #[cfg_attr(not(test), expect(dead_code, reason = "read by people, and by the review test"))]
    pub(super) source: &'static str,
}

const fn v4(
    address: [u8; 4],
    length: u8,
    class: AddressClass,
    source: &'static str,
) -> Row<Ipv4Net> {
    let [a, b, c, d] = address;
    Row { range: Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), length), class, source }
}

const fn v6(
    address: [u16; 8],
    length: u8,
    class: AddressClass,
    source: &'static str,
) -> Row<Ipv6Net> {
    let [a, b, c, d, e, f, g, h] = address;
    Row { range: Ipv6Net::new_assert(Ipv6Addr::new(a, b, c, d, e, f, g, h), length), class, source }
}

/// When the rows were last compared with the registries (year, month).
#[cfg(test)]
pub(super) const REVIEWED: (u16, u8) = (2026, 7);

/// IPv4: the first row that holds the address decides; no row means public.
pub(super) const V4: &[Row<Ipv4Net>] = &[
    v4([169, 254, 169, 254], 32, Metadata, "AWS, Azure, Google and others"),
    v4([168, 63, 129, 16], 32, Metadata, "Azure wire server"),
    v4([100, 100, 100, 200], 32, Metadata, "Alibaba Cloud"),
    v4([192, 0, 0, 192], 32, Metadata, "Oracle Cloud Classic"),
    v4([0, 0, 0, 0], 8, Unspecified, "RFC 791, RFC 1122"),
    v4([10, 0, 0, 0], 8, Private, "RFC 1918"),
    v4([100, 64, 0, 0], 10, Shared, "RFC 6598"),
    v4([127, 0, 0, 0], 8, Loopback, "RFC 1122"),
    v4([169, 254, 0, 0], 16, LinkLocal, "RFC 3927"),
    v4([172, 16, 0, 0], 12, Private, "RFC 1918"),
    // .9 and .10 are "globally reachable" by the registry, but serve no API.
    v4([192, 0, 0, 0], 24, IetfProtocol, "RFC 6890, 7335, 7600, 7723, 8155, 8880"),
    v4([192, 0, 2, 0], 24, Documentation, "RFC 5737"),
    v4([192, 31, 196, 0], 24, As112, "RFC 7535"),
    v4([192, 52, 193, 0], 24, Amt, "RFC 7450"),
    v4([192, 88, 99, 0], 24, SixToFourRelay, "RFC 7526, 6751"),
    v4([192, 168, 0, 0], 16, Private, "RFC 1918"),
    v4([192, 175, 48, 0], 24, As112, "RFC 7534"),
    v4([198, 18, 0, 0], 15, Benchmarking, "RFC 2544"),
    v4([198, 51, 100, 0], 24, Documentation, "RFC 5737"),
    v4([203, 0, 113, 0], 24, Documentation, "RFC 5737"),
    v4([224, 0, 0, 0], 4, Multicast, "RFC 5771, 6676"),
    v4([255, 255, 255, 255], 32, Broadcast, "RFC 919"),
    v4([240, 0, 0, 0], 4, Reserved, "RFC 1112"),
];

/// The only part of IPv6 where an address in no row is public (RFC 4291, section 2.4).
pub(super) const V6_UNICAST: Ipv6Net =
    Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);

/// IPv6: the first row that holds the address decides.
pub(super) const V6: &[Row<Ipv6Net>] = &[
    v6([0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254], 128, Metadata, "AWS"),
    v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128, Metadata, "Google"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 128, Unspecified, "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 1], 128, Loopback, "RFC 4291"),
    v6([0, 0, 0, 0, 0, 0, 0, 0], 96, V4Compatible, "RFC 4291"),
    v6([0, 0, 0, 0, 0xffff, 0, 0, 0], 96, V4Translated, "RFC 2765, 7915"),
    v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96, Nat64, "RFC 6052"),
    v6([0x64, 0xff9b, 1, 0, 0, 0, 0, 0], 48, Nat64, "RFC 8215"),
    v6([0x100, 0, 0, 0, 0, 0, 0, 0], 64, Discard, "RFC 6666"),
    v6([0x100, 0, 0, 1, 0, 0, 0, 0], 64, Discard, "RFC 9780"),
    v6([0x200, 0, 0, 0, 0, 0, 0, 0], 7, FormerNsap, "RFC 4048"),
    v6([0x5f00, 0, 0, 0, 0, 0, 0, 0], 16, SegmentRouting, "RFC 9602"),
    v6([0xfc00, 0, 0, 0, 0, 0, 0, 0], 7, UniqueLocal, "RFC 4193"),
    v6([0xfe80, 0, 0, 0, 0, 0, 0, 0], 10, LinkLocal, "RFC 4291"),
    v6([0xfec0, 0, 0, 0, 0, 0, 0, 0], 10, SiteLocal, "RFC 3879"),
    v6([0xff00, 0, 0, 0, 0, 0, 0, 0], 8, Multicast, "RFC 4291"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 32, Teredo, "RFC 4380"),
    v6([0x2001, 2, 0, 0, 0, 0, 0, 0], 48, Benchmarking, "RFC 5180"),
    v6([0x2001, 3, 0, 0, 0, 0, 0, 0], 32, Amt, "RFC 7450"),
    v6([0x2001, 4, 0x112, 0, 0, 0, 0, 0], 48, As112, "RFC 7535"),
    v6([0x2001, 0x10, 0, 0, 0, 0, 0, 0], 28, Identifier, "RFC 4843"),
    v6([0x2001, 0x20, 0, 0, 0, 0, 0, 0], 28, Identifier, "RFC 7343"),
    v6([0x2001, 0x30, 0, 0, 0, 0, 0, 0], 28, Identifier, "RFC 9374"),
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23, IetfProtocol, "RFC 2928"),
    v6([0x2001, 0xdb8, 0, 0, 0, 0, 0, 0], 32, Documentation, "RFC 3849"),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16, SixToFour, "RFC 3056"),
    v6([0x2620, 0x4f, 0x8000, 0, 0, 0, 0, 0], 48, As112, "RFC 7534"),
    v6([0x3ffe, 0, 0, 0, 0, 0, 0, 0], 16, SixBone, "RFC 3701"),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20, Documentation, "RFC 9637"),
];
