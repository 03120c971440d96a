//! Certificate checks beyond the usual chain: exactly this leaf, or any leaf; always with the
//! handshake's signature, so that the server holds the certificate's key.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, SignatureScheme};
use sha2::{Digest, Sha256};

/// Accepts any certificate, and checks only that the server holds its key.
pub(super) struct AnyLeaf {
    pub(super) algorithms: WebPkiSupportedAlgorithms,
}

/// Accepts a chain to the given certificates, or exactly one of them as the server's own.
pub(super) struct GivenLeaf {
    pub(super) given: Vec<CertificateDer<'static>>,
    pub(super) chain: Arc<WebPkiServerVerifier>,
}

/// Accepts exactly one certificate, and only if the inner check accepts it too.
pub(super) struct PinnedLeaf {
    pub(super) pin: [u8; 32],
    pub(super) chain: Arc<dyn ServerCertVerifier>,
}

/// The certificate isn't the pinned one.
#[derive(Debug, thiserror::Error)]
#[error("not the pinned certificate")]
pub(super) struct PinMismatch;

/// Whether the chain failed only because an authority's certificate stands as the server's own.
pub(super) fn is_ca_as_server(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(OtherError(inner))
        if matches!(inner.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity)))
}

impl ServerCertVerifier for AnyLeaf {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for GivenLeaf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = self.chain.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        // What `openssl req -x509` makes says CA:TRUE, which no chain accepts as a server's own
        // certificate. The name isn't compared then: whoever holds the key of a trusted authority
        // could sign one for any name. The dates were: webpki looks at them first.
        match verdict {
            Err(Error::InvalidCertificate(error))
                if is_ca_as_server(&error) && self.given.iter().any(|one| one == end_entity) =>
            {
                Ok(ServerCertVerified::assertion())
            }
            // Signed by another authority of the same name, such as one made anew.
            Err(Error::InvalidCertificate(CertificateError::BadSignature)) => {
                Err(Error::InvalidCertificate(CertificateError::UnknownIssuer))
            }
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

impl ServerCertVerifier for PinnedLeaf {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        // Public on both sides, so no constant time is needed.
        if <[u8; 32]>::from(Sha256::digest(end_entity)) != self.pin {
            let mismatch = CertificateError::Other(OtherError(Arc::new(PinMismatch)));
            return Err(Error::InvalidCertificate(mismatch));
        }
        self.chain.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}

macro_rules! name_only {
    ($($verifier:ident),*) => {$(
        impl fmt::Debug for $verifier {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($verifier))
            }
        }
    )*};
}
name_only!(AnyLeaf, GivenLeaf, PinnedLeaf);
