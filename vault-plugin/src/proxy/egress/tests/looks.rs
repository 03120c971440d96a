//! What `check` and `explain` ask: look at addresses, connect, read a certificate; no request sent.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use tokio::io::AsyncReadExt;

use super::super::{EgressError, Resolver, TlsFailure, TlsTrust, Unreachable, Upstream};
use super::fixtures::*;
use super::identity::*;
use crate::proxy::address::{AddressClass, Refusal};
use crate::proxy::origin::{Host, Scheme};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

fn named(name: &str, port: u16, hosts: &str) -> Upstream {
    let resolver = Arc::new(Resolver::fixed([], hosts));
    upstream(Scheme::Http, Host::Name(name.to_owned()), port, TlsTrust::default(), resolver)
}

async fn fingerprint(upstream: &Upstream) -> Result<[u8; 32], EgressError> {
    upstream.fingerprint(generous().deadline).await
}

#[tokio::test]
async fn a_look_judges_and_connects_nowhere() {
    let server = Server::answering(OK).await;
    let port = server.address.port();
    let hosts = "127.0.0.1 api.test\n127.0.0.2 api.test\n127.0.0.1 mixed.test\n\
                 10.0.0.1 mixed.test\n";
    let look = async |name| named(name, port, hosts).look(generous().deadline).await;
    assert_eq!(look("api.test").await, Ok(vec![AddressClass::Loopback]));
    assert_eq!(
        look("mixed.test").await,
        Err(EgressError::AddressForbidden {
            class: AddressClass::Private,
            refusal: Refusal::NotInService,
            address: [10, 0, 0, 1].into(),
        })
    );
    let unresolved = EgressError::Unreachable { kind: Unreachable::ResolverFailed };
    assert_eq!(look("other.test").await, Err(unresolved));
    let public = Host::Address([1, 1, 1, 1].into());
    let public = upstream(Scheme::Https, public, 443, TlsTrust::default(), no_names());
    assert_eq!(public.look(generous().deadline).await, Ok(vec![AddressClass::Public]));
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_connection_is_opened_and_kept_for_the_next_call() {
    let server = Server::answering(OK).await;
    let upstream = server.upstream();
    upstream.connect(generous().deadline).await.unwrap();
    assert_eq!(upstream.pool.idle(), 1);
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    assert_eq!((server.connections(), server.requests()), (1, 1));
    // A check tests the network, not what is kept.
    upstream.connect(generous().deadline).await.unwrap();
    eventually("a second connection", || server.connections() == 2).await;
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn connecting_fails_as_a_call_does() {
    let identity = appliance();
    let server = serving(&identity).await;
    let connect = async |trust| server.tls_upstream(NAME, trust).connect(generous().deadline).await;
    assert_eq!(connect(trusting(&identity.pem)).await, Ok(()));
    assert_eq!(
        connect(TlsTrust::default()).await,
        Err(EgressError::TlsFailed { kind: TlsFailure::CaAsServer })
    );
    let silent = Server::start(|stream, _| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let upstream = silent.tls_upstream(NAME, TlsTrust::default());
    let timeout = EgressError::Unreachable { kind: Unreachable::TlsTimeout };
    assert_eq!(upstream.connect(soon().deadline).await, Err(timeout));
    assert_eq!(server.requests(), 0);
}

#[tokio::test]
async fn any_certificate_has_a_fingerprint_whatever_is_trusted() {
    let expired = self_signed(IsCa::ExplicitNoCa, |params| {
        *params = CertificateParams::new(["other.test".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    let authority = authority();
    let issued = signed(&authority, |_| ());
    for identity in [appliance(), expired, issued] {
        for tls13 in [true, false] {
            let server = serving_with(&identity, &identity.key, "http/1.1", tls13).await;
            for trust in [TlsTrust::default(), pinning([0; 32]), trusting(authority.pem())] {
                let upstream = server.tls_upstream(NAME, trust);
                assert_eq!(fingerprint(&upstream).await, Ok(identity.pin()));
            }
            // What it tells is what pins.
            let pinned = server.tls_upstream(NAME, pinning(identity.pin()));
            assert_eq!(server.requests(), 0);
            assert_ok(&call(&pinned).await.unwrap(), "hi");
        }
    }
}

#[tokio::test]
async fn a_look_at_the_certificate_sends_nothing_and_says_goodbye() {
    let identity = appliance();
    let acceptor = acceptor(&identity, &identity.key, "h2", true);
    let server = Server::start(move |stream, notes| {
        let acceptor = acceptor.clone();
        async move {
            let mut stream = acceptor.accept(stream).await.unwrap();
            let mut received = Vec::new();
            let end = stream.read_to_end(&mut received).await;
            notes.saw(format!("{:?} {received:?}", end.is_ok()));
        }
    })
    .await;
    let upstream = server.tls_upstream(NAME, TlsTrust::default());
    fingerprint(&upstream).await.unwrap();
    eventually("the end", || server.seen() == ["true []"]).await;
}

#[tokio::test]
async fn no_fingerprint_of_what_proves_nothing() {
    let shown = self_signed(IsCa::Ca(BasicConstraints::Unconstrained), |_| ());
    let own = KeyPair::generate().unwrap();
    let failed = |kind| Err(EgressError::TlsFailed { kind });
    for tls13 in [true, false] {
        let thief = serving_with(&shown, &own, "http/1.1", tls13).await;
        let upstream = thief.tls_upstream(NAME, TlsTrust::default());
        assert_eq!(fingerprint(&upstream).await, failed(TlsFailure::BadCertificate));
    }
    let plain = Server::answering(OK).await;
    assert_eq!(fingerprint(&plain.upstream()).await, failed(TlsFailure::NotTls));
    assert_eq!(plain.connections(), 0);
}

#[tokio::test]
async fn certificates_are_read_from_judged_addresses_alone() {
    let address = Host::Address([192, 168, 0, 1].into());
    let upstream = upstream(Scheme::Https, address, 443, TlsTrust::default(), no_names());
    let error = fingerprint(&upstream).await.unwrap_err();
    assert!(matches!(error, EgressError::AddressForbidden { .. }), "{error}");
}
