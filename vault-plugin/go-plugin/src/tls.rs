//! AutoMTLS: TLS 1.3 between two certificates that each side pins.
//!
//! Protocol: go-plugin `mtls.go`, `client.go` (AutoMTLS, `loadServerCert`), `grpc_broker.go`. The
//! host sends its certificate in the environment, the plugin answers with its own in the
//! handshake line. The plugin is the TLS server of the main connection and the TLS client of
//! brokered ones; both sides use the same certificate in both parts.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, ServerConfig,
    SignatureScheme,
    client::{
        Resumption,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{CryptoProvider, ring, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime},
    server::{
        NoServerSessionStorage,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
    version::TLS13,
};
use time::{Duration, OffsetDateTime};

use crate::{ServeError, p521};

/// The protocol both sides must agree on: grpc-go drops connections without ALPN, so we do too.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";

/// The name in both certificates. Go looks at the subject alternative name alone.
pub(crate) const SERVER_NAME: &str = "localhost";

/// The plugin's certificate and what it takes to speak to the one host.
pub(crate) struct Tls {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
}

impl Tls {
    /// Makes a new certificate for this process and pins the host's.
    pub(crate) fn new(host: CertificateDer<'static>) -> Result<Self, ServeError> {
        let (certificate, key) = certificate().map_err(ServeError::OwnCertificate)?;
        let provider = Arc::new(ring::default_provider());
        let pinned = Arc::new(Pinned(host));
        let server =
            server(&provider, &pinned, &certificate, &key).map_err(ServeError::Tls)?.into();
        let client =
            client(&provider, pinned, certificate.clone(), key).map_err(ServeError::Tls)?.into();
        Ok(Self { certificate, server, client })
    }
}

fn certificate() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    let mut params = CertificateParams::new([SERVER_NAME.to_owned()])?;
    let now = OffsetDateTime::now_utc();
    // As the host's own certificate: 30 s back for coarse clocks, 30 years on because it lives
    // as long as the process.
    params.not_before = now - Duration::seconds(30);
    params.not_after = now + Duration::days(30 * 365);
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let certificate = params.self_signed(&key)?;
    Ok((certificate.der().clone(), PrivateKeyDer::from(key)))
}

fn server(
    provider: &Arc<CryptoProvider>,
    pinned: &Arc<Pinned>,
    certificate: &CertificateDer<'static>,
    key: &PrivateKeyDer<'static>,
) -> Result<ServerConfig, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::clone(pinned) as Arc<dyn ClientCertVerifier>)
        .with_single_cert(vec![certificate.clone()], key.clone_key())?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    // Every connection proves the host's key anew.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(
    provider: &Arc<CryptoProvider>,
    pinned: Arc<Pinned>,
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::clone(provider))
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(pinned)
        .with_client_auth_cert(vec![certificate], key)?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
    config.resumption = Resumption::disabled();
    Ok(config)
}

/// Accepts one certificate, byte for byte, and who proves to hold its key.
///
/// Chain building won't do: the host's certificate is a self-signed CA certificate, which webpki
/// refuses as an end entity. The signature must be verified all the same, since everybody who can
/// read the environment of the process knows the certificate.
#[derive(Debug)]
struct Pinned(CertificateDer<'static>);

impl Pinned {
    fn verify(&self, presented: &CertificateDer<'_>) -> Result<(), Error> {
        if presented == &self.0 {
            Ok(())
        } else {
            Err(CertificateError::ApplicationVerificationFailure.into())
        }
    }
}

impl ClientCertVerifier for Pinned {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.verify(end_entity).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::General("TLS 1.2 isn't spoken here".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &p521::ALGORITHMS)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        p521::ALGORITHMS.supported_schemes()
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.verify(end_entity).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls12_signature(self, message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ClientCertVerifier::verify_tls13_signature(self, message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(self)
    }
}
