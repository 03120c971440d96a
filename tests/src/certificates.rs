//! A private certificate authority, made anew for each test.

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// The name, beside the loopback addresses, that every server certificate here is for.
pub const HOST_NAME: &str = "api.example.test";

/// Signs server certificates for loopback; nobody trusts it unless told to.
#[derive(Debug)]
pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// A certificate and its key, in PEM.
#[derive(Debug)]
pub struct Pem {
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// Makes a key and a self-signed certificate.
    pub fn new() -> Self {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let issuer = CertifiedIssuer::self_signed(parameters, key).expect("a certificate");
        Self { issuer }
    }

    /// The certificate to trust, in PEM.
    pub fn pem(&self) -> String {
        self.issuer.pem()
    }

    /// A certificate for the same names as [`Authority::server_config`]'s, and its key, for
    /// servers that read files.
    pub fn server_pem(&self) -> Pem {
        Self::pem_of(server_parameters(), Some(self))
    }

    /// The same, but past its time for years.
    pub fn expired_pem(&self) -> Pem {
        let mut parameters = server_parameters();
        parameters.not_before = rcgen::date_time_ymd(2001, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2002, 1, 1);
        Self::pem_of(parameters, Some(self))
    }

    /// A certificate that nobody signed but itself.
    pub fn self_signed_pem() -> Pem {
        Self::pem_of(server_parameters(), None)
    }

    fn pem_of(parameters: CertificateParams, authority: Option<&Self>) -> Pem {
        let key = KeyPair::generate().expect("a key");
        let certificate = match authority {
            Some(authority) => parameters.signed_by(&key, &authority.issuer),
            None => parameters.self_signed(&key),
        };
        let certificate = certificate.expect("a certificate").pem();
        Pem { certificate, key: key.serialize_pem() }
    }

    /// A TLS server for `127.0.0.1`, `::1`, `localhost` and [`HOST_NAME`].
    pub fn server_config(&self) -> rustls::ServerConfig {
        let parameters = server_parameters();
        let key = KeyPair::generate().expect("a key");
        let certificate = parameters.signed_by(&key, &self.issuer).expect("a certificate");
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        rustls::ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a key that fits its certificate")
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn server_parameters() -> CertificateParams {
    let names = ["127.0.0.1", "::1", "localhost", HOST_NAME];
    CertificateParams::new(names.map(str::to_owned)).expect("names")
}

/// The one TLS provider of this workspace.
pub fn provider() -> std::sync::Arc<rustls::crypto::CryptoProvider> {
    std::sync::Arc::new(rustls::crypto::ring::default_provider())
}
