//! Through an egress proxy: what it is asked for, what it never sees, and how it fails.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use tokio::io::{AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

use super::super::{
    Destination, EgressError, EgressProxy, EgressProxyError, Resolver, TlsFailure, TlsTrust,
    TrustError, Unreachable, Upstream,
};
use super::fixtures::*;
use super::identity::*;
use crate::proxy::address::{AddressClass, AddressGuard, Cidrs};
use crate::proxy::origin::{Host, Origin, Scheme};

/// Where proxies stand here: outside what [`through`] opens.
const PROXY: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// A proxy that connects to what it is asked for, or always to one place.
async fn proxying(elsewhere: Option<SocketAddr>) -> Server {
    Server::start_on(PROXY, move |mut client, notes| async move {
        let Some(asked) = notes.request(&mut client).await else { return };
        let target = asked.split(' ').nth(1).unwrap().parse().unwrap();
        match TcpStream::connect(elsewhere.unwrap_or(target)).await {
            Ok(mut upstream) => {
                client.write_all(b"HTTP/1.1 200 Established\r\n\r\n").await.unwrap();
                let _ = copy_bidirectional(&mut client, &mut upstream).await;
            }
            Err(_) => {
                let _ = client.write_all(b"HTTP/1.1 502 Bad Gateway\r\n\r\n").await;
            }
        }
    })
    .await
}

/// A proxy that gives one answer and then keeps silent.
async fn saying(answer: &'static [u8]) -> Server {
    Server::start_on(PROXY, move |mut client, notes| async move {
        notes.request(&mut client).await;
        let _ = client.write_all(answer).await;
        notes.request(&mut client).await;
    })
    .await
}

/// An upstream at `api.test` whose address is in the hosts file, reached through a proxy.
fn through(proxy: &str, port: u16, trust: TlsTrust, addresses: &[&str]) -> Upstream {
    let mut hosts: String = addresses.iter().map(|one| format!("{one} {NAME}\n")).collect();
    hosts += "127.0.0.2 proxy.test\n";
    let opened = Cidrs::opening(["127.0.0.1", "127.0.0.8"]).unwrap();
    let destination = Destination {
        origin: Origin { scheme: Scheme::Https, host: Host::Name(NAME.to_owned()), port },
        address: None,
        guard: AddressGuard {
            mount: opened.clone(),
            service: opened,
            denied: Cidrs::denying(["127.0.0.2"]).unwrap(),
        },
        trust,
        proxy: Some(proxy.parse().unwrap()),
    };
    Upstream::new(destination, Arc::new(Resolver::fixed([], hosts))).unwrap()
}

fn at(proxy: &Server) -> String {
    format!("http://{}", proxy.address)
}

#[tokio::test]
async fn the_proxy_is_asked_for_the_judged_address_and_sees_tls_alone() {
    let identity = appliance();
    let server = serving(&identity).await;
    let port = server.address.port();
    let proxy = proxying(None).await;
    let by_name = format!("http://proxy.test:{}", proxy.address.port());
    for way in [at(&proxy), by_name] {
        let upstream = through(&way, port, trusting(&identity.pem), &["127.0.0.1"]);
        assert_ok(&call(&upstream).await.unwrap(), "hi");
        assert_ok(&call(&upstream).await.unwrap(), "hi");
        assert_eq!(server.seen().last().unwrap(), "sni Some(\"api.test\")");
    }
    assert_eq!((proxy.connections(), server.connections(), server.requests()), (2, 2, 4));
    let asked = format!("CONNECT 127.0.0.1:{port} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n\r\n");
    assert_eq!(proxy.seen(), [asked.as_str(), &asked]);
}

#[tokio::test]
async fn looks_take_the_same_way() {
    let identity = appliance();
    let server = serving(&identity).await;
    let proxy = proxying(None).await;
    let upstream =
        through(&at(&proxy), server.address.port(), trusting(&identity.pem), &["127.0.0.1"]);
    let deadline = generous().deadline;
    assert_eq!(upstream.look(deadline).await, Ok(vec![AddressClass::Loopback]));
    assert_eq!(proxy.connections(), 0);
    assert_eq!(upstream.fingerprint(deadline).await, Ok(identity.pin()));
    upstream.connect(deadline).await.unwrap();
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    assert_eq!((proxy.connections(), server.connections(), server.requests()), (2, 2, 1));
}

#[tokio::test]
async fn the_proxy_is_not_asked_for_forbidden_addresses() {
    let proxy = proxying(None).await;
    // The last is the proxy's own, which only the operator's word opens.
    for address in ["10.0.0.1", "169.254.169.254", "127.0.0.2"] {
        let upstream = through(&at(&proxy), 443, TlsTrust::default(), &["127.0.0.1", address]);
        let error = call(&upstream).await.unwrap_err();
        assert!(matches!(error, EgressError::AddressForbidden { .. }), "{address}: {error}");
    }
    assert_eq!(proxy.connections(), 0);
}

#[tokio::test]
async fn a_proxy_that_leads_elsewhere_gets_no_request() {
    let impostor = serving(&appliance()).await;
    let proxy = proxying(Some(impostor.address)).await;
    let upstream = through(&at(&proxy), 443, trusting(authority().pem()), &["127.0.0.1"]);
    let error = call(&upstream).await.unwrap_err();
    assert!(matches!(error, EgressError::TlsFailed { .. }), "{error}");
    assert_eq!((impostor.connections(), impostor.requests()), (1, 0));
}

#[tokio::test]
async fn the_next_address_is_tried_when_the_proxy_reaches_one_not() {
    let identity = appliance();
    let server = serving(&identity).await;
    let proxy = proxying(None).await;
    let addresses = ["127.0.0.8", "127.0.0.1"];
    let upstream = through(&at(&proxy), server.address.port(), trusting(&identity.pem), &addresses);
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    assert_eq!(proxy.connections(), 2);
}

/// Fails before anything is sent, with the given kind.
async fn fails(way: &str, kind: Unreachable) {
    let upstream = through(way, 443, TlsTrust::default(), &["127.0.0.1"]);
    let error = upstream.send(post("pay"), &generous()).await.unwrap_err();
    assert_eq!(error, EgressError::Unreachable { kind });
    assert!(!error.sent());
}

#[tokio::test]
async fn refusals_of_the_proxy_are_told_apart() {
    let refused = |status| Unreachable::ProxyRefused { status };
    for (answer, kind) in [
        (&b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2\r\n\r\nno"[..], refused(403)),
        (b"HTTP/1.1 403 Forbidden\r\ncontent-length: 2000\r\n\r\nno", refused(403)),
        (b"HTTP/1.1 407 Login\r\nproxy-authenticate: Basic realm=\"x\"\r\n\r\n", refused(407)),
        (b"HTTP/1.0 502 Bad Gateway\r\n\r\n", refused(502)),
        (b"HTTP/1.1 302 Found\r\nlocation: http://evil.test/\r\n\r\n", refused(302)),
        (b"HTTP/1.1 101 Switching Protocols\r\n\r\n", refused(101)),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Unreachable::ProxyMalformed),
        (b"\x15\x03\x01\x00\x02\x02\x46", Unreachable::ProxyMalformed),
        // In TLS the server doesn't speak first.
        (b"HTTP/1.1 200 OK\r\n\r\n\x16\x03\x03", Unreachable::ProxyMalformed),
    ] {
        let proxy = saying(answer).await;
        fails(&at(&proxy), kind).await;
        assert_eq!((proxy.connections(), proxy.requests()), (1, 1));
    }
}

#[tokio::test]
async fn a_length_in_the_answer_to_connect_means_nothing() {
    // RFC 9110, section 9.3.6: the tunnel begins after the head, whatever it says.
    let proxy =
        saying(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n");
    let upstream = through(&at(&proxy.await), 443, TlsTrust::default(), &["127.0.0.1"]);
    let error = upstream.send(get("/"), &soon()).await.unwrap_err();
    assert_eq!(error, EgressError::Unreachable { kind: Unreachable::TlsTimeout });
}

#[tokio::test]
async fn proxies_that_say_nothing_or_never_stop() {
    let closing = Server::start_on(PROXY, |mut client, notes| async move {
        notes.request(&mut client).await;
    })
    .await;
    fails(&at(&closing), Unreachable::ProxyMalformed).await;
    let endless = Server::start_on(PROXY, |mut client, notes| async move {
        notes.request(&mut client).await;
        let _ = client.write_all(b"HTTP/1.1 200 OK\r\nx: ").await;
        while client.write_all(&[b'y'; 4096]).await.is_ok() {}
    })
    .await;
    fails(&at(&endless), Unreachable::ProxyMalformed).await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let stalling = saying(b"").await;
    // The proxy's own task for the connection ends with it.
    let before = tasks();
    let upstream = through(&at(&stalling), 443, TlsTrust::default(), &["127.0.0.1"]);
    let error = upstream.send(get("/"), &soon()).await.unwrap_err();
    assert_eq!(error, EgressError::Unreachable { kind: Unreachable::ProxyTimeout });
    eventually("the connection ends with the call", || tasks() == before).await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there() {
    let listener = TcpListener::bind((PROXY, 0)).await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    fails(&format!("http://{gone}"), Unreachable::ProxyUnreachable).await;
    fails("http://nowhere.test:3128", Unreachable::ProxyUnreachable).await;
}

#[test]
fn plaintext_never_goes_through_a_proxy() {
    let destination = Destination {
        origin: Origin { scheme: Scheme::Http, host: Host::Name(NAME.to_owned()), port: 80 },
        address: None,
        guard: open(),
        trust: TlsTrust::default(),
        proxy: Some("http://proxy.test:3128".parse().unwrap()),
    };
    let error = Upstream::new(destination, no_names()).unwrap_err();
    assert_eq!(error, TrustError::PlaintextThroughProxy);
    assert!(error.to_string().contains("use https"), "{error}");
}

#[test]
fn a_proxy_is_a_host_and_a_port() {
    for (given, printed) in [
        ("http://proxy.example.com:3128", "http://proxy.example.com:3128"),
        ("HTTP://Proxy:80/", "http://proxy:80"),
        ("http://10.0.0.1:8080", "http://10.0.0.1:8080"),
        ("http://[2001:db8::1]:8080", "http://[2001:db8::1]:8080"),
        ("http://[::1]:80", "http://[::1]:80"),
    ] {
        let proxy: EgressProxy = given.parse().unwrap();
        assert_eq!(proxy.to_string(), printed);
        assert_eq!(printed.parse(), Ok(proxy));
    }
    for given in [
        "",
        "proxy:3128",
        "proxy.example.com",
        "http://proxy.example.com",
        "http://[2001:db8::80]",
        "https://proxy:3128",
        "socks5://proxy:1080",
        "http://user:secret@proxy:3128",
        "http://proxy:3128/path",
        "http://proxy:3128?x",
        "http://proxy:0",
        "http://127.1:3128",
    ] {
        assert_eq!(given.parse::<EgressProxy>(), Err(EgressProxyError), "{given}");
    }
    assert!(!EgressProxyError.to_string().contains("secret"));
}

#[tokio::test]
async fn what_the_upstream_presents_counts_within_the_tunnel_too() {
    let server = serving(&appliance()).await;
    let proxy = proxying(None).await;
    let upstream = through(&at(&proxy), server.address.port(), pinning([0; 32]), &["127.0.0.1"]);
    let error = call(&upstream).await.unwrap_err();
    assert_eq!(error, EgressError::TlsFailed { kind: TlsFailure::PinMismatch });
    assert_eq!(server.requests(), 0);
}
