//! Who may speak to the plugin: the host that started it, and nobody else.

use std::sync::Arc;

use rustls::{
    ClientConfig,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::ring::default_provider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::{TLS12, TLS13},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use crate::{
    host::{Handshake, Plugin, SOON, tls},
    identity::Identity,
};

/// What an HTTP/2 client sends first (RFC 9113, section 3.4), with empty SETTINGS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// Tries to begin HTTP/2; true if the plugin answers.
async fn served(handshake: &Handshake, config: ClientConfig) -> bool {
    let attempt = async {
        // In TLS 1.3 a client hears of its refusal only after its own handshake is done.
        let mut stream = tls(&handshake.socket, config).await.ok()?;
        stream.write_all(PREFACE).await.ok()?;
        let mut frame = [0; 9];
        stream.read_exact(&mut frame).await.ok()
    };
    timeout(SOON, attempt).await.expect("neither served nor refused").is_some()
}

#[tokio::test]
async fn the_host_is_served() {
    let plugin = Plugin::start();
    let handshake = plugin.handshake().await;
    assert!(served(&handshake, plugin.host.client(&handshake.certificate)).await);
}

#[tokio::test]
async fn another_certificate_is_refused() {
    let plugin = Plugin::start();
    let handshake = plugin.handshake().await;
    assert!(!served(&handshake, Identity::new().client(&handshake.certificate)).await);
    plugin.logged("refused a connection").await;
}

#[tokio::test]
async fn the_hosts_certificate_without_its_key_is_refused() {
    let plugin = Plugin::start();
    let handshake = plugin.handshake().await;
    let thief = Identity { key: Identity::new().key, ..plugin.host.clone() };
    assert!(!served(&handshake, thief.client(&handshake.certificate)).await);
    plugin.logged("refused a connection").await;
}

#[tokio::test]
async fn no_certificate_is_refused() {
    let plugin = Plugin::start();
    let handshake = plugin.handshake().await;
    let mut config = plugin.host.client(&handshake.certificate);
    config.client_auth_cert_resolver = anonymous(&[&TLS13]).client_auth_cert_resolver;
    assert!(!served(&handshake, config).await);
}

#[tokio::test]
async fn no_alpn_and_another_alpn_are_refused() {
    let plugin = Plugin::start();
    let handshake = plugin.handshake().await;
    for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
        let mut config = plugin.host.client(&handshake.certificate);
        config.alpn_protocols = protocols;
        assert!(!served(&handshake, config).await);
    }
}

#[tokio::test]
async fn tls_1_2_is_refused() {
    let plugin = Plugin::start();
    let handshake = plugin.handshake().await;
    let error = tls(&handshake.socket, anonymous(&[&TLS12])).await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

#[tokio::test]
async fn clear_text_is_refused() {
    let plugin = Plugin::start();
    let mut stream = UnixStream::connect(plugin.handshake().await.socket).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(SOON, stream.read_to_end(&mut answer)).await.expect("neither closed nor reset");
    // A TLS alert at most (RFC 8446, section 6).
    assert!(answer.first().is_none_or(|&kind| kind == 21), "{answer:?}");
}

#[tokio::test]
async fn silent_clients_keep_nobody_waiting() {
    let plugin = Plugin::start();
    let handshake = plugin.handshake().await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(UnixStream::connect(&handshake.socket).await.unwrap());
    }
    assert!(served(&handshake, plugin.host.client(&handshake.certificate)).await);
}

#[tokio::test]
async fn silent_clients_are_sent_away_after_five_seconds() {
    let plugin = Plugin::start();
    let mut silent = UnixStream::connect(plugin.handshake().await.socket).await.unwrap();
    let closed = timeout(SOON, silent.read(&mut [0])).await.expect("still open");
    assert_eq!(closed.unwrap(), 0);
}

/// A client with no certificate that takes any server's.
fn anonymous(versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        default_provider().signature_verification_algorithms.supported_schemes()
    }
}
