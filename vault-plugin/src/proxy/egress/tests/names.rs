//! Names, and every trick that a name server can play on the guard.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hickory_resolver::proto::op::{Message, MessageType, ResponseCode};
use hickory_resolver::proto::rr::rdata::CNAME;
use hickory_resolver::proto::rr::{Name, RData, Record, RecordType};
use tokio::io::AsyncWriteExt;
use tokio::net::UdpSocket;

use super::super::{EgressError, Resolver, TlsTrust, Unreachable, Upstream};
use super::fixtures::*;
use crate::proxy::address::{AddressClass, Refusal};
use crate::proxy::origin::{Host, Scheme};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

/// What a name server says to one question.
enum Says {
    Addresses(Vec<IpAddr>),
    Alias(&'static str),
    NoSuchName,
    Failure,
    Nothing,
}

fn v4(text: &str) -> Says {
    let addresses = text.split(' ').filter(|one| !one.is_empty());
    Says::Addresses(addresses.map(|one| one.parse().unwrap()).collect())
}

/// Starts a name server on loopback; it keeps the questions it was asked, types included.
async fn name_server(
    says: impl Fn(usize, &str, RecordType) -> Says + Send + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    name_server_on((Ipv4Addr::LOCALHOST, 0).into(), says).await
}

async fn name_server_on(
    address: SocketAddr,
    says: impl Fn(usize, &str, RecordType) -> Says + Send + 'static,
) -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let socket = UdpSocket::bind(address).await.unwrap();
    let address = socket.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    tokio::spawn(async move {
        let mut buffer = [0; 2048];
        loop {
            let (length, client) = socket.recv_from(&mut buffer).await.unwrap();
            let mut message = Message::from_vec(&buffer[..length]).unwrap();
            let question = message.queries[0].clone();
            let name = question.name().to_string();
            let kind = question.query_type();
            let round = {
                let mut seen = seen.lock().unwrap();
                seen.push(format!("{kind} {name}"));
                seen.iter().filter(|one| **one == format!("{kind} {name}")).count()
            };
            message.metadata.message_type = MessageType::Response;
            message.metadata.recursion_available = true;
            let record = |data: RData| Record::from_rdata(question.name().clone(), 0, data);
            match says(round, &name, kind) {
                Says::Addresses(addresses) => {
                    for address in addresses {
                        if address.is_ipv4() == (kind == RecordType::A) {
                            message.add_answer(record(RData::from(address)));
                        }
                    }
                }
                Says::Alias(target) => {
                    let target = Name::from_ascii(target).unwrap();
                    message.add_answer(record(RData::CNAME(CNAME(target))));
                }
                Says::NoSuchName => message.metadata.response_code = ResponseCode::NXDomain,
                Says::Failure => message.metadata.response_code = ResponseCode::ServFail,
                Says::Nothing => continue,
            }
            socket.send_to(&message.to_vec().unwrap(), client).await.unwrap();
        }
    });
    (address, asked)
}

fn named(name: &str, port: u16, servers: &[SocketAddr], hosts: &str) -> Upstream {
    let resolver = Arc::new(Resolver::fixed(servers, hosts));
    upstream(Scheme::Http, Host::Name(name.to_owned()), port, TlsTrust::default(), resolver)
}

fn forbidden(class: AddressClass, address: &str) -> EgressError {
    let address = address.parse().unwrap();
    EgressError::AddressForbidden { class, refusal: Refusal::NotInService, address }
}

fn unreachable(kind: Unreachable) -> EgressError {
    EgressError::Unreachable { kind }
}

#[tokio::test]
async fn a_name_is_resolved_absolutely_and_stands_in_the_host_header() {
    let server = Server::answering(OK).await;
    let (dns, asked) = name_server(|_, _, _| v4("127.0.0.1")).await;
    let upstream = named("api.test", server.address.port(), &[dns], "");
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    let host = format!("host: api.test:{}\r\n", server.address.port());
    assert!(server.seen()[0].contains(&host), "{}", server.seen()[0]);
    let mut asked = asked.lock().unwrap().clone();
    asked.sort();
    assert_eq!(asked, ["A api.test.", "AAAA api.test."]);
}

#[tokio::test]
async fn one_forbidden_address_spoils_the_whole_answer() {
    let server = Server::answering(OK).await;
    for (answer, class, address) in [
        ("127.0.0.1 10.0.0.1", AddressClass::Private, "10.0.0.1"),
        ("10.0.0.1 127.0.0.1", AddressClass::Private, "10.0.0.1"),
        ("127.0.0.1 ::1", AddressClass::Loopback, "::1"),
        ("127.0.0.1 169.254.169.254", AddressClass::Metadata, "169.254.169.254"),
        ("127.0.0.1 fe80::1", AddressClass::LinkLocal, "fe80::1"),
        ("127.0.0.1 64:ff9b::7f00:1", AddressClass::Nat64, "64:ff9b::7f00:1"),
        ("127.0.0.1 2002:7f00:1::1", AddressClass::SixToFour, "2002:7f00:1::1"),
        ("192.0.2.1", AddressClass::Documentation, "192.0.2.1"),
        ("100.64.0.1", AddressClass::Shared, "100.64.0.1"),
        ("::ffff:10.0.0.1", AddressClass::Private, "10.0.0.1"),
    ] {
        let (dns, _) = name_server(move |_, _, _| v4(answer)).await;
        let error = call(&named("api.test", server.address.port(), &[dns], "")).await.unwrap_err();
        assert_eq!(error, forbidden(class, address), "{answer}");
        assert!(!error.sent() && !error.to_string().contains(address));
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn never_opened_addresses_are_refused_by_their_class() {
    for address in ["0.0.0.0", "255.255.255.255", "224.0.0.1"] {
        let (dns, _) = name_server(move |_, _, _| v4(address)).await;
        let error = call(&named("api.test", 80, &[dns], "")).await.unwrap_err();
        assert!(
            matches!(error, EgressError::AddressForbidden { refusal: Refusal::NeverOpened, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn each_new_connection_is_judged_anew() {
    let server = Server::answering_once(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nhi",
    )
    .await;
    let (dns, _) =
        name_server(|round, _, _| v4(if round == 1 { "127.0.0.1" } else { "10.0.0.1" })).await;
    let upstream = named("api.test", server.address.port(), &[dns], "");
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    let error = call(&upstream).await.unwrap_err();
    assert_eq!(error, forbidden(AddressClass::Private, "10.0.0.1"));
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn localhost_by_any_way_is_loopback() {
    let (dns, asked) = name_server(|_, name, _| match name {
        "alias.test." => Says::Alias("localhost."),
        _ => v4("127.0.0.1"),
    })
    .await;
    // The guard opens 127.0.0.0/8 and not ::1, which localhost also is.
    for name in ["localhost", "a.localhost", "alias.test"] {
        let error = call(&named(name, 80, &[dns], "")).await.unwrap_err();
        assert_eq!(error, forbidden(AddressClass::Loopback, "::1"), "{name}");
    }
    assert!(!asked.lock().unwrap().iter().any(|one| one.contains("localhost")));
}

#[tokio::test]
async fn numbers_are_asked_as_names() {
    let (dns, asked) = name_server(|_, _, _| Says::NoSuchName).await;
    for name in ["127.1", "2130706433", "0x7f.1", "0177.0.0.1"] {
        let error = call(&named(name, 80, &[dns], "")).await.unwrap_err();
        assert_eq!(error, unreachable(Unreachable::NameNotFound), "{name}");
        assert!(asked.lock().unwrap().contains(&format!("A {name}.")), "{name}");
    }
}

#[tokio::test]
async fn failures_of_dns_are_refusals_and_told_apart() {
    let (missing, _) = name_server(|_, _, _| Says::NoSuchName).await;
    let (empty, _) = name_server(|_, _, _| v4("")).await;
    let (failing, _) = name_server(|_, _, _| Says::Failure).await;
    let (silent, _) = name_server(|_, _, _| Says::Nothing).await;
    for (servers, kind) in [
        (&[missing][..], Unreachable::NameNotFound),
        (&[empty], Unreachable::NameNotFound),
        (&[failing], Unreachable::ResolverFailed),
        (&[], Unreachable::ResolverFailed),
    ] {
        let error = call(&named("api.test", 80, servers, "")).await.unwrap_err();
        assert_eq!(error, unreachable(kind));
        assert!(!error.sent());
    }
    let error = named("api.test", 80, &[silent], "").send(get("/"), &soon()).await.unwrap_err();
    assert_eq!(error, unreachable(Unreachable::ResolveTimeout));
}

#[tokio::test]
async fn the_hosts_file_decides_before_dns_and_is_judged_too() {
    let server = Server::answering(OK).await;
    let (dns, asked) = name_server(|_, _, _| v4("10.0.0.1")).await;
    let hosts = "# comment\n127.0.0.1 api.test other.test\n192.168.0.1 bad.test\n";
    let upstream = named("api.test", server.address.port(), &[dns], hosts);
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    let error = call(&named("bad.test", 80, &[dns], hosts)).await.unwrap_err();
    assert_eq!(error, forbidden(AddressClass::Private, "192.168.0.1"));
    assert!(asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_refuses() {
    let server = Server::start_on(Ipv4Addr::new(127, 0, 0, 9), |mut stream, notes| async move {
        while notes.request(&mut stream).await.is_some() {
            stream.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let (dns, _) = name_server(|_, _, _| v4("127.0.0.8 127.0.0.9")).await;
    let upstream = named("api.test", server.address.port(), &[dns], "");
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn literal_addresses_are_judged_as_well() {
    for (address, class) in [
        (IpAddr::from([192, 0, 2, 1]), AddressClass::Documentation),
        (Ipv6Addr::LOCALHOST.into(), AddressClass::Loopback),
        (IpAddr::from([169, 254, 169, 254]), AddressClass::Metadata),
    ] {
        let host = Host::Address(address);
        let upstream = upstream(Scheme::Http, host, 80, TlsTrust::default(), no_names());
        assert_eq!(call(&upstream).await.err(), Some(forbidden(class, &address.to_string())));
    }
}

/// A directory with the files that a resolver reads; replaced by renaming, as DHCP clients do.
struct Files(tempfile::TempDir);

impl Files {
    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let fresh = self.path("fresh");
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, self.path(name)).unwrap();
    }
}

#[tokio::test]
async fn changed_files_are_read_again() {
    let (one, _) = name_server(|_, _, _| v4("127.0.0.1")).await;
    // Files hold no ports, so the other server listens on the same one.
    let other = SocketAddr::from(([127, 0, 0, 2], one.port()));
    name_server_on(other, |_, _, _| v4("127.0.0.2")).await;
    let files = Files(tempfile::tempdir().unwrap());
    let resolver = Resolver::files(files.path("resolv.conf"), files.path("hosts"), one.port());
    let resolved = async || resolver.resolve("api.test").await;
    let address = |last| Ok(vec![IpAddr::from([127, 0, 0, last])]);
    assert_eq!(resolved().await, Err(Unreachable::ResolverFailed), "no files");
    files.write("resolv.conf", "search evil.test\nnameserver 127.0.0.1\n");
    assert_eq!(resolved().await, address(1));
    files.write("resolv.conf", "search evil.test\nnameserver 127.0.0.2\n");
    assert_eq!(resolved().await, address(2), "another name server");
    files.write("hosts", "127.0.0.3 api.test\n");
    assert_eq!(resolved().await, address(3), "a hosts file appears");
    files.write("hosts", "127.0.0.4 api.test\n");
    assert_eq!(resolved().await, address(4), "of the same length");
    files.write("resolv.conf", "# none\n");
    assert_eq!(resolved().await, Err(Unreachable::ResolverFailed), "no name server");
    files.write("resolv.conf", "nameserver 127.0.0.1\n");
    fs::remove_file(files.path("hosts")).unwrap();
    assert_eq!(resolved().await, address(1), "the hosts file is gone");
    fs::remove_file(files.path("resolv.conf")).unwrap();
    assert_eq!(resolved().await, Err(Unreachable::ResolverFailed), "an old answer isn't used");
}

#[tokio::test]
async fn the_system_knows_itself() {
    let resolved = Resolver::system().resolve("localhost").await;
    let conf = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    if conf.lines().any(|line| line.starts_with("nameserver ")) {
        let addresses = resolved.unwrap();
        assert!(addresses.iter().all(IpAddr::is_loopback), "{addresses:?}");
    } else {
        assert_eq!(resolved, Err(Unreachable::ResolverFailed));
    }
}
