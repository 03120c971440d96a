//! A host's certificate as go-plugin makes it: P-521, self-signed, CA, for `localhost`.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_STANDARD};
use p521::{
    ecdsa::{DerSignature, Signature, SigningKey, VerifyingKey, signature::Signer as _},
    elliptic_curve::rand_core::OsRng,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme,
    client::WebPkiServerVerifier,
    crypto::ring::default_provider,
    pki_types::CertificateDer,
    server::WebPkiClientVerifier,
    sign::{CertifiedKey, Signer, SigningKey as TlsSigningKey, SingleCertAndKey},
    version::TLS13,
};

/// A host's certificate and key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) certificate: CertificateDer<'static>,
    pub(crate) key: SigningKey,
}

impl Identity {
    pub(crate) fn new() -> Self {
        let key = SigningKey::random(&mut OsRng);
        Self { certificate: certificate(&key).into(), key }
    }

    pub(crate) fn pem(&self) -> String {
        // One long line of base64 is what no tool writes, but every reader takes.
        let body = BASE64_STANDARD.encode(&self.certificate);
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }

    /// The host's side of the main connection; verifies the plugin as Go would: by chain, name,
    /// dates and extended key usage, with the plugin's certificate as the only root.
    pub(crate) fn client(&self, plugin: &CertificateDer<'static>) -> ClientConfig {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(root(plugin), provider.clone());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_webpki_verifier(verifier.build().unwrap())
            .with_client_cert_resolver(self.resolver());
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    /// The host's side of brokered connections; asks for the plugin's certificate.
    pub(crate) fn server(&self, plugin: &CertificateDer<'static>) -> ServerConfig {
        let provider = Arc::new(default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(root(plugin), provider.clone());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_client_cert_verifier(verifier.build().unwrap())
            .with_cert_resolver(self.resolver());
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    pub(crate) fn resolver(&self) -> Arc<SingleCertAndKey> {
        let key = Arc::new(Key(self.key.clone()));
        Arc::new(CertifiedKey::new(vec![self.certificate.clone()], key).into())
    }
}

fn root(certificate: &CertificateDer<'static>) -> Arc<RootCertStore> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    Arc::new(roots)
}

/// Signs TLS handshakes, which ring can't on this curve.
struct Key(SigningKey);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

impl TlsSigningKey for Key {
    fn choose_scheme(&self, offered: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        offered
            .contains(&SignatureScheme::ECDSA_NISTP521_SHA512)
            .then(|| Box::new(Self(self.0.clone())) as Box<dyn Signer>)
    }

    fn algorithm(&self) -> SignatureAlgorithm {
        SignatureAlgorithm::ECDSA
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        Ok(sign(&self.0, message))
    }

    fn scheme(&self) -> SignatureScheme {
        SignatureScheme::ECDSA_NISTP521_SHA512
    }
}

fn sign(key: &SigningKey, message: &[u8]) -> Vec<u8> {
    let signature: Signature = key.sign(message);
    let der: DerSignature = signature.to_der();
    der.as_bytes().to_vec()
}

/// Composes an X.509 certificate (RFC 5280, section 4.1); rcgen's ring has no P-521.
fn certificate(key: &SigningKey) -> Vec<u8> {
    const ECDSA_WITH_SHA512: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 4];
    const EC_PUBLIC_KEY: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
    const SECP521R1: &[u8] = &[0x2b, 0x81, 4, 0, 0x23];
    const COMMON_NAME: &[u8] = &[0x55, 4, 3];
    const BASIC_CONSTRAINTS: &[u8] = &[0x55, 0x1d, 0x13];
    const SUBJECT_ALT_NAME: &[u8] = &[0x55, 0x1d, 0x11];

    let algorithm = sequence(&[oid(ECDSA_WITH_SHA512)]);
    let name = sequence(&[tlv(0x31, &sequence(&[oid(COMMON_NAME), tlv(0x0c, b"localhost")]))]);
    let point = VerifyingKey::from(key).to_encoded_point(false);
    let extensions = sequence(&[
        sequence(&[
            oid(BASIC_CONSTRAINTS),
            tlv(0x01, &[0xff]),
            tlv(0x04, &sequence(&[tlv(0x01, &[0xff])])),
        ]),
        sequence(&[oid(SUBJECT_ALT_NAME), tlv(0x04, &sequence(&[tlv(0x82, b"localhost")]))]),
    ]);
    let tbs = sequence(&[
        tlv(0xa0, &tlv(0x02, &[2])),
        tlv(0x02, &[1]),
        algorithm.clone(),
        name.clone(),
        sequence(&[tlv(0x17, b"200101000000Z"), tlv(0x17, b"491231235959Z")]),
        name,
        sequence(&[
            sequence(&[oid(EC_PUBLIC_KEY), oid(SECP521R1)]),
            tlv(0x03, &[&[0], point.as_bytes()].concat()),
        ]),
        tlv(0xa3, &extensions),
    ]);
    let signature = tlv(0x03, &[vec![0], sign(key, &tbs)].concat());
    sequence(&[tbs, algorithm, signature])
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn oid(content: &[u8]) -> Vec<u8> {
    tlv(0x06, content)
}

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let header = match (length, content.len()) {
        ([_, low], ..0x80) => vec![tag, low],
        ([_, low], ..0x100) => vec![tag, 0x81, low],
        ([high, low], _) => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}
