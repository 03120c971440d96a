//! Certificates of every kind, and TLS servers that present them.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;
use tokio_rustls::TlsAcceptor;

use super::super::TlsTrust;
use super::fixtures::Server;

/// The name that certificates here are for.
pub(super) const NAME: &str = "api.test";

/// A certificate with a key, as a server presents it.
pub(super) struct Identity {
    certificate: CertificateDer<'static>,
    pub(super) pem: String,
    pub(super) key: KeyPair,
}

impl Identity {
    pub(super) fn pin(&self) -> [u8; 32] {
        Sha256::digest(&self.certificate).into()
    }
}

pub(super) fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

pub(super) fn signed(
    authority: &CertifiedIssuer<'_, KeyPair>,
    change: impl Fn(&mut CertificateParams),
) -> Identity {
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.signed_by(&key, authority).unwrap();
    Identity { pem: certificate.pem(), certificate: certificate.der().clone(), key }
}

pub(super) fn self_signed(is_ca: IsCa, change: impl Fn(&mut CertificateParams)) -> Identity {
    let mut params = CertificateParams::new([NAME.to_owned()]).unwrap();
    params.is_ca = is_ca;
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    Identity { pem: certificate.pem(), certificate: certificate.der().clone(), key }
}

pub(super) fn appliance() -> Identity {
    self_signed(IsCa::Ca(BasicConstraints::Unconstrained), |_| ())
}

/// Presents a certificate without holding its key, if the two don't belong together.
#[derive(Debug)]
struct Presents(Arc<CertifiedKey>);

impl ResolvesServerCert for Presents {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

pub(super) fn acceptor(
    certificate: &Identity,
    key: &KeyPair,
    protocol: &str,
    tls13: bool,
) -> TlsAcceptor {
    let provider = rustls::crypto::ring::default_provider();
    let der = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let key = provider.key_provider.load_private_key(der).unwrap();
    let presented = CertifiedKey::new(vec![certificate.certificate.clone()], key);
    let versions = if tls13 { &[&rustls::version::TLS13] } else { &[&rustls::version::TLS12] };
    let mut config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(Presents(Arc::new(presented))));
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    TlsAcceptor::from(Arc::new(config))
}

/// Answers every request; notes how each connection's TLS began, and the name asked for.
pub(super) async fn serving_with(
    certificate: &Identity,
    key: &KeyPair,
    protocol: &str,
    tls13: bool,
) -> Server {
    let acceptor = acceptor(certificate, key, protocol, tls13);
    Server::start(move |stream, notes| {
        let acceptor = acceptor.clone();
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            let name = stream.get_ref().1.server_name().map(str::to_owned);
            notes.saw(format!("handshake {:?}", stream.get_ref().1.handshake_kind().unwrap()));
            while let Some(_request) = notes.request(&mut stream).await {
                notes.saw(format!("sni {name:?}"));
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi").await;
                let _ = stream.flush().await;
            }
        }
    })
    .await
}

pub(super) async fn serving(identity: &Identity) -> Server {
    serving_with(identity, &identity.key, "http/1.1", true).await
}

pub(super) fn trusting(pem: impl Into<String>) -> TlsTrust {
    TlsTrust { ca_cert: Some(pem.into()), ..TlsTrust::default() }
}

pub(super) fn pinning(pin: [u8; 32]) -> TlsTrust {
    TlsTrust { pin_sha256: Some(pin), ..TlsTrust::default() }
}

pub(super) fn insecure() -> TlsTrust {
    TlsTrust { insecure: true, ..TlsTrust::default() }
}
