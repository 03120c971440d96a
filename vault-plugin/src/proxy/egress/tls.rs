//! The TLS settings of one upstream: what is trusted, and what a failed handshake meant.

use std::io;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use super::error::TlsFailure;
use super::verify::{AnyLeaf, GivenLeaf, PinMismatch, PinnedLeaf, is_ca_as_server};
use crate::proxy::origin::Host;

/// What is trusted for one service, beyond the system's authorities.
#[derive(Clone, Debug, Default)]
pub struct TlsTrust {
    /// PEM, one certificate or more; then these alone are trusted. A server may also present
    /// exactly one of these as its own certificate, as appliances do.
    pub ca_cert: Option<String>,
    /// The name that is sent and that the certificate must carry, instead of the origin's host.
    pub server_name: Option<String>,
    /// SHA-256 of the server certificate's DER. Given alone it replaces the chain, name and dates;
    /// together with `ca_cert` both must hold.
    pub pin_sha256: Option<[u8; 32]>,
    /// `danger_insecure_tls`: any certificate whose key the server holds. A pin still counts.
    pub insecure: bool,
}

/// Why a destination can't be protected as asked; found when a service is written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TrustError {
    /// `ca_cert` isn't PEM, or holds no certificate.
    #[error("ca_cert holds no PEM certificate")]
    NoCertificate,
    /// A certificate in `ca_cert` can't be used as an authority.
    #[error("ca_cert holds a certificate that can't be parsed")]
    BadCertificate,
    /// The name can't stand in a certificate.
    #[error("{0:?} can't be the name in a server certificate")]
    ServerName(String),
    /// An egress proxy would read a plaintext request, and the credential in it.
    #[error(
        "an http base_url can't be used while config.egress_proxy is set, because the proxy would \
         see the credential: use https"
    )]
    PlaintextThroughProxy,
    /// The TLS library refuses the settings.
    #[error("the TLS library refuses these settings")]
    Library,
}

/// A configuration of its own per upstream, so that no two share session tickets.
pub(super) struct TlsSettings {
    pub(super) config: Arc<ClientConfig>,
    pub(super) name: ServerName<'static>,
}

impl TlsSettings {
    pub(super) fn new(host: &Host, trust: &TlsTrust) -> Result<Self, TrustError> {
        let name = server_name(host, trust)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = verifier(trust, &provider)?;
        Ok(Self { config: Arc::new(config(verifier, provider)?), name })
    }

    /// Settings of their own for one look at the certificate: any passes whose key the server
    /// holds.
    pub(super) fn any_leaf(&self) -> Result<Arc<ClientConfig>, TrustError> {
        let provider = Arc::clone(self.config.crypto_provider());
        let algorithms = provider.signature_verification_algorithms;
        Ok(Arc::new(config(Arc::new(AnyLeaf { algorithms }), provider)?))
    }
}

fn config(
    verifier: Arc<dyn ServerCertVerifier>,
    provider: Arc<CryptoProvider>,
) -> Result<ClientConfig, TrustError> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|_| TrustError::Library)?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // Early data can be replayed (RFC 8446, section 8): a call must not run twice.
    config.enable_early_data = false;
    Ok(config)
}

fn server_name(host: &Host, trust: &TlsTrust) -> Result<ServerName<'static>, TrustError> {
    match (&trust.server_name, host) {
        (None, Host::Address(address)) => Ok(ServerName::from(*address)),
        (Some(name), _) | (None, Host::Name(name)) => {
            let bare = name.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.');
            ServerName::try_from(bare.to_owned()).map_err(|_| TrustError::ServerName(name.clone()))
        }
    }
}

fn verifier(
    trust: &TlsTrust,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ServerCertVerifier>, TrustError> {
    let algorithms = provider.signature_verification_algorithms;
    let given = trust.ca_cert.as_deref().map(certificates).transpose()?;
    let chain: Arc<dyn ServerCertVerifier> = match given {
        _ if trust.insecure => Arc::new(AnyLeaf { algorithms }),
        None if trust.pin_sha256.is_some() => Arc::new(AnyLeaf { algorithms }),
        None => webpki(system_roots(), provider)?,
        Some(given) => {
            let mut roots = RootCertStore::empty();
            for certificate in &given {
                roots.add(certificate.clone()).map_err(|_| TrustError::BadCertificate)?;
            }
            Arc::new(GivenLeaf { given, chain: webpki(Arc::new(roots), provider)? })
        }
    };
    Ok(match trust.pin_sha256 {
        Some(pin) => Arc::new(PinnedLeaf { pin, chain }),
        None => chain,
    })
}

fn webpki(
    roots: Arc<RootCertStore>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TrustError> {
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider))
        .build()
        .map_err(|_| TrustError::Library)
}

fn certificates(pem: &str) -> Result<Vec<CertificateDer<'static>>, TrustError> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| TrustError::NoCertificate)?;
    if found.is_empty() { Err(TrustError::NoCertificate) } else { Ok(found) }
}

/// The system's authorities, or Mozilla's where the system has none, as in an empty container.
/// Public data, read once per process.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    Arc::clone(ROOTS.get_or_init(|| {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        if roots.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        Arc::new(roots)
    }))
}

/// Names what went wrong in a handshake.
pub(super) fn failure(error: &io::Error) -> TlsFailure {
    match error.get_ref().and_then(|source| source.downcast_ref::<rustls::Error>()) {
        Some(error) => tls_failure(error),
        None => TlsFailure::Closed,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds variants in minor versions")]
fn tls_failure(error: &rustls::Error) -> TlsFailure {
    match error {
        rustls::Error::InvalidCertificate(error) => certificate_failure(error),
        rustls::Error::NoCertificatesPresented => TlsFailure::BadCertificate,
        rustls::Error::InvalidMessage(_) => TlsFailure::NotTls,
        rustls::Error::PeerIncompatible(_) | rustls::Error::NoApplicationProtocol => {
            TlsFailure::Incompatible
        }
        rustls::Error::AlertReceived(alert) => match alert {
            AlertDescription::ProtocolVersion
            | AlertDescription::HandshakeFailure
            | AlertDescription::InsufficientSecurity
            | AlertDescription::NoApplicationProtocol => TlsFailure::Incompatible,
            AlertDescription::CertificateRequired => TlsFailure::ClientCertificateWanted,
            _ => TlsFailure::Refused,
        },
        _ => TlsFailure::Protocol,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "rustls adds variants in minor versions")]
fn certificate_failure(error: &CertificateError) -> TlsFailure {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => TlsFailure::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            TlsFailure::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            TlsFailure::WrongName
        }
        CertificateError::UnknownIssuer => TlsFailure::UntrustedIssuer,
        CertificateError::Other(other) if other.0.is::<PinMismatch>() => TlsFailure::PinMismatch,
        error if is_ca_as_server(error) => TlsFailure::CaAsServer,
        _ => TlsFailure::BadCertificate,
    }
}
