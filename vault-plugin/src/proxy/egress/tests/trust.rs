//! Which servers are believed, and how each failure of TLS is told apart.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use tokio::io::AsyncWriteExt;

use super::super::{EgressError, TlsFailure, TlsTrust, TrustError, Unreachable, Upstream};
use super::fixtures::*;
use super::identity::*;
use crate::proxy::origin::{Host, Origin, Scheme};

async fn accepted(server: &Server, trust: TlsTrust) {
    assert_ok(&call(&server.tls_upstream(NAME, trust)).await.unwrap(), "hi");
}

async fn refused(server: &Server, trust: TlsTrust, kind: TlsFailure) {
    let before = server.requests();
    let error = call(&server.tls_upstream(NAME, trust)).await.unwrap_err();
    assert_eq!(error, EgressError::TlsFailed { kind });
    assert!(!error.sent());
    assert_eq!(server.requests(), before);
}

#[tokio::test]
async fn a_private_authority_is_trusted_only_when_given() {
    let authority = authority();
    let server = serving(&signed(&authority, |_| ())).await;
    accepted(&server, trusting(authority.pem())).await;
    let both = super::identity::authority().pem() + &authority.pem();
    accepted(&server, trusting(both)).await;
    refused(&server, trusting(super::identity::authority().pem()), TlsFailure::UntrustedIssuer)
        .await;
    refused(&server, TlsTrust::default(), TlsFailure::UntrustedIssuer).await;
}

#[tokio::test]
async fn dates_and_names_count() {
    let authority = authority();
    let trust = || trusting(authority.pem());
    let expired = signed(&authority, |params| params.not_after = date_time_ymd(2020, 1, 1));
    refused(&serving(&expired).await, trust(), TlsFailure::Expired).await;
    let early = signed(&authority, |params| params.not_before = date_time_ymd(4000, 1, 1));
    refused(&serving(&early).await, trust(), TlsFailure::NotYetValid).await;
    let other = signed(&authority, |params| {
        *params = CertificateParams::new(["other.test".to_owned()]).unwrap();
    });
    let server = serving(&other).await;
    refused(&server, trust(), TlsFailure::WrongName).await;
    accepted(&server, TlsTrust { server_name: Some("other.test".to_owned()), ..trust() }).await;
    assert_eq!(server.seen().last().unwrap(), "sni Some(\"other.test\")");
}

#[tokio::test]
async fn addresses_are_names_too() {
    let authority = authority();
    let trust = || trusting(authority.pem());
    let by_address = signed(&authority, |params| {
        *params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    });
    let server = serving(&by_address).await;
    let host = Host::Address(server.address.ip());
    let upstream = upstream(Scheme::Https, host, server.address.port(), trust(), no_names());
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    assert_eq!(server.seen().last().unwrap(), "sni None");
    refused(&server, trust(), TlsFailure::WrongName).await;
}

#[tokio::test]
async fn a_self_signed_certificate_works_when_it_is_the_given_one() {
    let ca_true = appliance();
    let server = serving(&ca_true).await;
    refused(&server, TlsTrust::default(), TlsFailure::CaAsServer).await;
    accepted(&server, trusting(&ca_true.pem)).await;
    // Another certificate of the same name is another certificate.
    assert!(call(&server.tls_upstream(NAME, trusting(&appliance().pem))).await.is_err());
    let ca_false = self_signed(IsCa::ExplicitNoCa, |_| ());
    accepted(&serving(&ca_false).await, trusting(&ca_false.pem)).await;
    let expired = self_signed(IsCa::Ca(BasicConstraints::Unconstrained), |params| {
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    refused(&serving(&expired).await, trusting(&expired.pem), TlsFailure::Expired).await;
}

#[tokio::test]
async fn a_pin_is_one_certificate_and_nothing_else() {
    let authority = authority();
    let leaf = signed(&authority, |_| ());
    let sibling = signed(&authority, |_| ());
    let server = serving(&leaf).await;
    accepted(&server, pinning(leaf.pin())).await;
    refused(&server, pinning(sibling.pin()), TlsFailure::PinMismatch).await;
    accepted(&server, TlsTrust { pin_sha256: Some(leaf.pin()), ..trusting(authority.pem()) }).await;
    let elsewhere = super::identity::authority().pem();
    let both = TlsTrust { pin_sha256: Some(leaf.pin()), ..trusting(elsewhere) };
    refused(&server, both, TlsFailure::UntrustedIssuer).await;
    let insecure = TlsTrust { pin_sha256: Some(sibling.pin()), ..insecure() };
    refused(&server, insecure, TlsFailure::PinMismatch).await;
    let appliance = appliance();
    accepted(&serving(&appliance).await, pinning(appliance.pin())).await;
}

#[tokio::test]
async fn whatever_is_trusted_the_server_must_hold_the_key() {
    let shown = appliance();
    let own = KeyPair::generate().unwrap();
    for tls13 in [true, false] {
        let honest = serving_with(&shown, &shown.key, "http/1.1", tls13).await;
        let thief = serving_with(&shown, &own, "http/1.1", tls13).await;
        for trust in [insecure(), pinning(shown.pin()), trusting(&shown.pem)] {
            accepted(&honest, trust.clone()).await;
            refused(&thief, trust, TlsFailure::BadCertificate).await;
        }
    }
}

#[tokio::test]
async fn insecure_takes_any_certificate() {
    let expired = self_signed(IsCa::ExplicitNoCa, |params| {
        *params = CertificateParams::new(["other.test".to_owned()]).unwrap();
        params.not_after = date_time_ymd(2020, 1, 1);
    });
    accepted(&serving(&expired).await, insecure()).await;
}

#[tokio::test]
async fn what_is_not_tls_is_told_apart() {
    let plain = Server::start(|mut stream, _| async move {
        let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n").await;
        std::future::pending::<()>().await;
    })
    .await;
    refused(&plain, TlsTrust::default(), TlsFailure::NotTls).await;
    let closing = Server::start(|mut stream, _| async move {
        let _ = stream.shutdown().await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    })
    .await;
    refused(&closing, TlsTrust::default(), TlsFailure::Closed).await;
    // A TLS 1.0 server: a fatal alert "protocol version" (RFC 5246, section 7.2.2).
    let old = Server::start(|mut stream, _| async move {
        let _ = stream.write_all(&[21, 3, 1, 0, 2, 2, 70]).await;
        std::future::pending::<()>().await;
    })
    .await;
    refused(&old, TlsTrust::default(), TlsFailure::Incompatible).await;
    let identity = appliance();
    let h3_only = serving_with(&identity, &identity.key, "h3", true).await;
    refused(&h3_only, trusting(&identity.pem), TlsFailure::Incompatible).await;
}

#[tokio::test]
async fn a_hanging_handshake_ends_at_the_deadline() {
    let server = Server::start(|stream, _| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let upstream = server.tls_upstream(NAME, TlsTrust::default());
    let error = upstream.send(get("/"), &soon()).await.unwrap_err();
    assert_eq!(error, EgressError::Unreachable { kind: Unreachable::TlsTimeout });
}

#[tokio::test]
async fn tls_1_2_works() {
    let identity = appliance();
    let server = serving_with(&identity, &identity.key, "http/1.1", false).await;
    accepted(&server, trusting(&identity.pem)).await;
}

#[test]
fn useless_trust_is_refused_when_it_is_written() {
    let new = |trust: TlsTrust, host: &str| {
        let origin = Origin { scheme: Scheme::Https, host: Host::Name(host.to_owned()), port: 443 };
        let destination =
            super::super::Destination { origin, address: None, guard: open(), trust, proxy: None };
        Upstream::new(destination, no_names()).map(|_| ())
    };
    assert_eq!(new(TlsTrust::default(), NAME), Ok(()));
    assert_eq!(new(trusting(""), NAME), Err(TrustError::NoCertificate));
    assert_eq!(new(trusting("not PEM"), NAME), Err(TrustError::NoCertificate));
    let garbage = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    assert_eq!(new(trusting(garbage), NAME), Err(TrustError::BadCertificate));
    let key = KeyPair::generate().unwrap().serialize_pem();
    assert_eq!(new(trusting(key), NAME), Err(TrustError::NoCertificate));
    let named = TlsTrust { server_name: Some("a b".to_owned()), ..TlsTrust::default() };
    assert_eq!(new(named, NAME), Err(TrustError::ServerName("a b".to_owned())));
    assert_eq!(new(TlsTrust::default(), "-a"), Err(TrustError::ServerName("-a".to_owned())));
}
