//! The table row by row, and the rules around it.

use std::net::IpAddr;

use super::AddressClass::{self, *};
use super::{AddressGuard, CidrError, Cidrs, Refusal, classify, table};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

/// Before the range, its first address, its last, after the range.
type Edges = (
    &'static str,
    AddressClass,
    &'static str,
    &'static str,
    AddressClass,
    &'static str,
    AddressClass,
);

/// Each row of the table: (first, class, last, before, its class, after, its class). An empty
/// neighbour doesn't exist.
const ROWS: &[Edges] = &[
    (
        "169.254.169.254",
        Metadata,
        "169.254.169.254",
        "169.254.169.253",
        LinkLocal,
        "169.254.169.255",
        LinkLocal,
    ),
    ("168.63.129.16", Metadata, "168.63.129.16", "168.63.129.15", Public, "168.63.129.17", Public),
    (
        "100.100.100.200",
        Metadata,
        "100.100.100.200",
        "100.100.100.199",
        Shared,
        "100.100.100.201",
        Shared,
    ),
    (
        "192.0.0.192",
        Metadata,
        "192.0.0.192",
        "192.0.0.191",
        IetfProtocol,
        "192.0.0.193",
        IetfProtocol,
    ),
    ("0.0.0.0", Unspecified, "0.255.255.255", "", Public, "1.0.0.0", Public),
    ("10.0.0.0", Private, "10.255.255.255", "9.255.255.255", Public, "11.0.0.0", Public),
    ("100.64.0.0", Shared, "100.127.255.255", "100.63.255.255", Public, "100.128.0.0", Public),
    ("127.0.0.0", Loopback, "127.255.255.255", "126.255.255.255", Public, "128.0.0.0", Public),
    ("169.254.0.0", LinkLocal, "169.254.255.255", "169.253.255.255", Public, "169.255.0.0", Public),
    ("172.16.0.0", Private, "172.31.255.255", "172.15.255.255", Public, "172.32.0.0", Public),
    ("192.0.0.0", IetfProtocol, "192.0.0.255", "191.255.255.255", Public, "192.0.1.0", Public),
    ("192.0.2.0", Documentation, "192.0.2.255", "192.0.1.255", Public, "192.0.3.0", Public),
    ("192.31.196.0", As112, "192.31.196.255", "192.31.195.255", Public, "192.31.197.0", Public),
    ("192.52.193.0", Amt, "192.52.193.255", "192.52.192.255", Public, "192.52.194.0", Public),
    (
        "192.88.99.0",
        SixToFourRelay,
        "192.88.99.255",
        "192.88.98.255",
        Public,
        "192.88.100.0",
        Public,
    ),
    ("192.168.0.0", Private, "192.168.255.255", "192.167.255.255", Public, "192.169.0.0", Public),
    ("192.175.48.0", As112, "192.175.48.255", "192.175.47.255", Public, "192.175.49.0", Public),
    ("198.18.0.0", Benchmarking, "198.19.255.255", "198.17.255.255", Public, "198.20.0.0", Public),
    (
        "198.51.100.0",
        Documentation,
        "198.51.100.255",
        "198.51.99.255",
        Public,
        "198.51.101.0",
        Public,
    ),
    ("203.0.113.0", Documentation, "203.0.113.255", "203.0.112.255", Public, "203.0.114.0", Public),
    ("224.0.0.0", Multicast, "239.255.255.255", "223.255.255.255", Public, "240.0.0.0", Reserved),
    ("255.255.255.255", Broadcast, "255.255.255.255", "255.255.255.254", Reserved, "", Public),
    (
        "240.0.0.0",
        Reserved,
        "255.255.255.254",
        "239.255.255.255",
        Multicast,
        "255.255.255.255",
        Broadcast,
    ),
    (
        "fd00:ec2::254",
        Metadata,
        "fd00:ec2::254",
        "fd00:ec2::253",
        UniqueLocal,
        "fd00:ec2::255",
        UniqueLocal,
    ),
    (
        "fd20:ce::254",
        Metadata,
        "fd20:ce::254",
        "fd20:ce::253",
        UniqueLocal,
        "fd20:ce::255",
        UniqueLocal,
    ),
    ("::", Unspecified, "::", "", Public, "::1", Loopback),
    ("::1", Loopback, "::1", "::", Unspecified, "::2", V4Compatible),
    ("::2", V4Compatible, "::ffff:ffff", "::1", Loopback, "::1:0:0", Unallocated),
    (
        "::ffff:0:0:0",
        V4Translated,
        "::ffff:0:ffff:ffff",
        "::fffe:ffff:ffff:ffff",
        Unallocated,
        "::ffff:1:0:0",
        Unallocated,
    ),
    (
        "64:ff9b::",
        Nat64,
        "64:ff9b::ffff:ffff",
        "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff",
        Unallocated,
        "64:ff9b::1:0:0",
        Unallocated,
    ),
    (
        "64:ff9b:1::",
        Nat64,
        "64:ff9b:1:ffff:ffff:ffff:ffff:ffff",
        "64:ff9b:0:ffff:ffff:ffff:ffff:ffff",
        Unallocated,
        "64:ff9b:2::",
        Unallocated,
    ),
    (
        "100::",
        Discard,
        "100::ffff:ffff:ffff:ffff",
        "ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unallocated,
        "100:0:0:1::",
        Discard,
    ),
    (
        "100:0:0:1::",
        Discard,
        "100::1:ffff:ffff:ffff:ffff",
        "100::ffff:ffff:ffff:ffff",
        Discard,
        "100:0:0:2::",
        Unallocated,
    ),
    (
        "200::",
        FormerNsap,
        "3ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "1ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unallocated,
        "400::",
        Unallocated,
    ),
    (
        "5f00::",
        SegmentRouting,
        "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unallocated,
        "5f01::",
        Unallocated,
    ),
    (
        "fc00::",
        UniqueLocal,
        "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unallocated,
        "fe00::",
        Unallocated,
    ),
    (
        "fe80::",
        LinkLocal,
        "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unallocated,
        "fec0::",
        SiteLocal,
    ),
    (
        "fec0::",
        SiteLocal,
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        LinkLocal,
        "ff00::",
        Multicast,
    ),
    (
        "ff00::",
        Multicast,
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        SiteLocal,
        "",
        Public,
    ),
    (
        "2001::",
        Teredo,
        "2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
        "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Public,
        "2001:1::",
        IetfProtocol,
    ),
    (
        "2001:2::",
        Benchmarking,
        "2001:2:0:ffff:ffff:ffff:ffff:ffff",
        "2001:1:ffff:ffff:ffff:ffff:ffff:ffff",
        IetfProtocol,
        "2001:2:1::",
        IetfProtocol,
    ),
    (
        "2001:3::",
        Amt,
        "2001:3:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:2:ffff:ffff:ffff:ffff:ffff:ffff",
        IetfProtocol,
        "2001:4::",
        IetfProtocol,
    ),
    (
        "2001:4:112::",
        As112,
        "2001:4:112:ffff:ffff:ffff:ffff:ffff",
        "2001:4:111:ffff:ffff:ffff:ffff:ffff",
        IetfProtocol,
        "2001:4:113::",
        IetfProtocol,
    ),
    (
        "2001:10::",
        Identifier,
        "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:f:ffff:ffff:ffff:ffff:ffff:ffff",
        IetfProtocol,
        "2001:20::",
        Identifier,
    ),
    (
        "2001:20::",
        Identifier,
        "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:1f:ffff:ffff:ffff:ffff:ffff:ffff",
        Identifier,
        "2001:30::",
        Identifier,
    ),
    (
        "2001:30::",
        Identifier,
        "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:2f:ffff:ffff:ffff:ffff:ffff:ffff",
        Identifier,
        "2001:40::",
        IetfProtocol,
    ),
    (
        "2001:40::",
        IetfProtocol,
        "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:3f:ffff:ffff:ffff:ffff:ffff:ffff",
        Identifier,
        "2001:200::",
        Public,
    ),
    (
        "2001:db8::",
        Documentation,
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff",
        Public,
        "2001:db9::",
        Public,
    ),
    (
        "2002::",
        SixToFour,
        "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Public,
        "2003::",
        Public,
    ),
    (
        "2620:4f:8000::",
        As112,
        "2620:4f:8000:ffff:ffff:ffff:ffff:ffff",
        "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff",
        Public,
        "2620:4f:8001::",
        Public,
    ),
    (
        "3ffe::",
        SixBone,
        "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3ffd:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Public,
        "3fff::",
        Documentation,
    ),
    (
        "3fff::",
        Documentation,
        "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        SixBone,
        "3fff:1000::",
        Public,
    ),
    // The edges of unicast itself.
    (
        "2000::",
        Public,
        "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "1fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        Unallocated,
        "2001::",
        Teredo,
    ),
    (
        "3fff:1000::",
        Public,
        "3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff",
        Documentation,
        "4000::",
        Unallocated,
    ),
];

#[test]
fn every_row_has_exactly_its_edges() {
    for &(first, class, last, before, class_before, after, class_after) in ROWS {
        for (address, expected) in
            [(first, class), (last, class), (before, class_before), (after, class_after)]
        {
            if !address.is_empty() {
                assert_eq!(classify(ip(address)), expected, "{address}");
            }
        }
    }
}

#[test]
fn every_row_of_the_table_is_tested_and_has_a_source() {
    let tested = |class: AddressClass, address: IpAddr| {
        ROWS.iter().any(|row| row.1 == class && (ip(row.0) == address || ip(row.2) == address))
    };
    for row in table::V4 {
        assert!(
            tested(row.class, row.range.broadcast().into())
                || tested(row.class, row.range.network().into()),
            "{}",
            row.range
        );
        assert!(!row.source.is_empty());
    }
    for row in table::V6 {
        assert!(
            tested(row.class, row.range.broadcast().into())
                || tested(row.class, row.range.network().into()),
            "{}",
            row.range
        );
        assert!(!row.source.is_empty());
    }
    let (year, month) = table::REVIEWED;
    assert!(year >= 2026 && (1..=12).contains(&month));
}

#[test]
fn public_addresses_are_public() {
    for address in ["1.1.1.1", "8.8.8.8", "140.82.121.6", "2606:4700::1111", "2a00:1450:4001::1"] {
        assert_eq!(classify(ip(address)), Public, "{address}");
    }
}

#[test]
fn mapped_addresses_are_judged_and_dialled_as_v4() {
    assert_eq!(classify(ip("::ffff:127.0.0.1")), Loopback);
    assert_eq!(classify(ip("::ffff:8.8.8.8")), Public);
    let checked = AddressGuard::default().judge(ip("::ffff:8.8.8.8")).unwrap();
    assert_eq!(checked.socket(443).to_string(), "8.8.8.8:443");
}

#[test]
fn isatap_is_refused_around_a_private_address() {
    assert_eq!(classify(ip("2a00:1::5efe:10.0.0.1")), Isatap);
    assert_eq!(classify(ip("2a00:1::200:5efe:127.0.0.1")), Isatap);
    assert_eq!(classify(ip("2a00:1::200:5efe:8.8.8.8")), Public);
    assert_eq!(classify(ip("2a00:1::300:5efe:10.0.0.1")), Public);
}

#[test]
fn opened_only_by_service_and_mount_together() {
    let open = || Cidrs::opening(["127.0.0.0/8"]).unwrap();
    let judge = |mount: Cidrs, service: Cidrs, denied: Cidrs, address: &str| {
        AddressGuard { mount, service, denied }
            .judge(ip(address))
            .map_err(|refused| refused.refusal)
    };
    let none = Cidrs::default;
    assert!(judge(open(), open(), none(), "127.0.0.1").is_ok());
    assert!(judge(open(), open(), none(), "::ffff:127.0.0.1").is_ok());
    assert_eq!(judge(none(), open(), none(), "127.0.0.1"), Err(Refusal::NotInMount));
    assert_eq!(judge(open(), none(), none(), "127.0.0.1"), Err(Refusal::NotInService));
    assert_eq!(judge(open(), open(), none(), "10.0.0.1"), Err(Refusal::NotInService));
    assert_eq!(judge(open(), open(), none(), "::1"), Err(Refusal::NotInService));
    let deny = |net: &str| Cidrs::denying([net]).unwrap();
    assert_eq!(judge(open(), open(), deny("127.0.0.1"), "127.0.0.1"), Err(Refusal::Denied));
    assert!(judge(open(), open(), deny("127.0.0.1"), "127.0.0.2").is_ok());
    assert_eq!(judge(none(), none(), deny("8.0.0.0/6"), "8.8.8.8"), Err(Refusal::Denied));
    assert_eq!(judge(none(), none(), none(), "255.255.255.255"), Err(Refusal::NeverOpened));
}

#[test]
fn metadata_opens_only_as_exactly_that_host() {
    let guard = |entry: &str| {
        let list = Cidrs::opening([entry]).unwrap();
        AddressGuard { mount: list.clone(), service: list, denied: Cidrs::default() }
    };
    assert!(guard("169.254.0.0/16").judge(ip("169.254.169.254")).is_err());
    assert!(guard("169.254.0.0/16").judge(ip("169.254.169.253")).is_ok());
    assert!(guard("169.254.169.254").judge(ip("169.254.169.254")).is_ok());
    assert!(guard("100.64.0.0/10").judge(ip("100.100.100.200")).is_err());
    assert!(guard("fd00::/16").judge(ip("fd00:ec2::254")).is_err());
    assert!(guard("fd00:ec2::254/128").judge(ip("fd00:ec2::254")).is_ok());
}

#[test]
fn an_opened_translator_still_reaches_only_what_is_open() {
    let list = Cidrs::opening(["64:ff9b::/96", "2002::/16"]).unwrap();
    let guard = AddressGuard {
        mount: list.clone(),
        service: list,
        denied: Cidrs::denying(["9.9.9.9"]).unwrap(),
    };
    assert!(guard.judge(ip("64:ff9b::8.8.8.8")).is_ok());
    assert!(guard.judge(ip("64:ff9b::169.254.169.254")).is_err());
    assert!(guard.judge(ip("64:ff9b::10.0.0.1")).is_err());
    assert!(guard.judge(ip("2002:7f00:1::1")).is_err());
    assert_eq!(guard.judge(ip("64:ff9b::9.9.9.9")).unwrap_err().refusal, Refusal::Denied);
}

#[test]
fn lists_refuse_slips() {
    let refused = |entry: &str| Cidrs::opening([entry]).unwrap_err();
    assert!(matches!(refused("10.1.2.3/16"), CidrError::HostBits { .. }));
    for entry in ["", "localhost", "10.0.0.0/33", "127.1", "0x7f000001", "fe80::1%eth0", "[::1]"] {
        assert!(matches!(refused(entry), CidrError::Syntax(_)), "{entry}");
    }
    for entry in ["0.0.0.0/0", "10.0.0.0/7", "::/0", "fc00::/7", "2000::/15"] {
        assert!(matches!(refused(entry), CidrError::TooWide(_)), "{entry}");
    }
    for entry in [
        "0.0.0.0",
        "0.0.0.0/8",
        "224.0.0.0/8",
        "255.0.0.0/8",
        "255.255.255.255",
        "::",
        "::/96",
        "ff02::1",
    ] {
        assert!(matches!(refused(entry), CidrError::NeverDialled(_)), "{entry}");
    }
    assert!(matches!(refused("::ffff:10.0.0.0/104"), CidrError::Mapped(_)));
    let list = Cidrs::opening(["10.0.0.0/8", " 192.168.1.7", "fd00::/16"]).unwrap();
    assert_eq!(list.to_string(), "10.0.0.0/8,192.168.1.7/32,fd00::/16");
}

#[test]
fn a_services_list_must_fit_into_the_mounts() {
    let list = |entries: &[&str]| Cidrs::opening(entries).unwrap();
    let outside = |service: &[&str], mount: &[&str]| {
        list(service).first_outside(&list(mount)).map(|network| network.to_string())
    };
    assert_eq!(outside(&["10.1.0.0/16"], &["10.0.0.0/8"]), None);
    assert_eq!(outside(&["10.0.0.0/8"], &["10.1.0.0/16"]).as_deref(), Some("10.0.0.0/8"));
    assert_eq!(outside(&["10.0.0.0/15"], &["10.0.0.0/16", "10.1.0.0/16"]), None);
    assert_eq!(outside(&["::1"], &["127.0.0.0/8"]).as_deref(), Some("::1/128"));
    assert_eq!(
        outside(&["169.254.169.254"], &["169.254.0.0/16"]).as_deref(),
        Some("169.254.169.254/32")
    );
    assert_eq!(outside(&["169.254.169.254"], &["169.254.169.254"]), None);
    let mut literal = Cidrs::default();
    literal.push_host(ip("::ffff:10.0.0.1"));
    assert!(literal.contains(ip("10.0.0.1")));
    assert_eq!(literal.to_string(), "10.0.0.1/32");
}

#[test]
fn a_refusal_names_the_class_and_never_the_address() {
    let refused = AddressGuard::default().judge(ip("169.254.169.254")).unwrap_err();
    assert_eq!(refused.class, Metadata);
    assert!(refused.to_string().contains("cloud metadata"));
    assert!(!refused.to_string().contains("169"));
}
