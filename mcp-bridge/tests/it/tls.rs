//! How the bridge recognises Vault: authorities, names, certificates.

use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use crate::bridge::{LIMIT, Machine};

/// An authority of this test's own.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &self.0).unwrap(), key)
    }
}

/// Serves TLS on loopback; every request finds a sealed Vault. Gives the address.
async fn sealed_vault(authority: &Authority, name: &str, client_authority: bool) -> String {
    let (certificate, key) = authority.issue(name);
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .unwrap();
    let builder = if client_authority {
        let mut roots = RootCertStore::empty();
        roots.add(authority.0.der().clone()).unwrap();
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build().unwrap();
        builder.with_client_cert_verifier(verifier)
    } else {
        builder.with_no_client_auth()
    };
    let config = builder.with_single_cert(vec![certificate.der().clone()], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let body = "{\"errors\":[\"Vault is sealed\"]}";
                let head = "HTTP/1.1 503 Service Unavailable\r\nconnection: close";
                let answer = format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    address
}

/// What `call` says of a Vault, with more settings.
async fn call(machine: &Machine, address: &str, settings: &[(&str, &Path)]) -> String {
    ended(machine, address, settings, 4).await
}

/// The same, with the exit status it ends with.
async fn ended(
    machine: &Machine,
    address: &str,
    settings: &[(&str, &Path)],
    status: i32,
) -> String {
    let mut command = machine.command(address);
    command.args(["call", "github", "GET", "/"]).envs(settings.iter().copied());
    let output = tokio::time::timeout(LIMIT, command.output()).await.unwrap().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(status), "{text}");
    text.lines().last().unwrap_or_default().to_owned()
}

const TRUSTED: &str = "mcp-bridge: vault_unavailable: Vault is sealed.";
const UNTRUSTED: &str = "mcp-bridge: vault_unavailable: Vault doesn't answer (TLS failed).";

#[tokio::test]
async fn only_the_configured_authority_and_name_are_trusted() {
    let machine = Machine::new();
    let authority = Authority::new();
    let ca = machine.path("ca.pem");
    std::fs::write(&ca, authority.0.pem()).unwrap();
    let foreign = machine.path("foreign.pem");
    std::fs::write(&foreign, Authority::new().0.pem()).unwrap();

    let address = sealed_vault(&authority, "localhost", false).await;
    let said = call(&machine, &address, &[("VAULT_CACERT", &ca)]).await;
    assert!(said.starts_with(TRUSTED), "{said}");
    for settings in [&[][..], &[("VAULT_CACERT", foreign.as_path())]] {
        let said = call(&machine, &address, settings).await;
        assert!(said.starts_with(UNTRUSTED), "{said}");
    }
    let said = call(&machine, &address, &[("VAULT_CACERT", &machine.path("absent"))]).await;
    assert!(said.contains("vault_unavailable: the bridge's TLS files can't be used."), "{said}");

    // The certificate carries another name than the address.
    let address = sealed_vault(&authority, "vault.internal", false).await;
    let said = call(&machine, &address, &[("VAULT_CACERT", &ca)]).await;
    assert!(said.starts_with(UNTRUSTED), "{said}");
    let name = Path::new("vault.internal");
    let settings = [("VAULT_CACERT", ca.as_path()), ("VAULT_TLS_SERVER_NAME", name)];
    let said = call(&machine, &address, &settings).await;
    assert!(said.starts_with(TRUSTED), "{said}");

    // An address in its place would be connected to, with the token.
    for wrong in
        ["127.0.0.2", "0x7f000002", "2130706434", "127.0.0.0x2", "[::1]", "::1", "a/b", "a@b"]
    {
        let settings =
            [("VAULT_CACERT", ca.as_path()), ("VAULT_TLS_SERVER_NAME", Path::new(wrong))];
        let said = ended(&machine, &address, &settings, 2).await;
        assert!(said.contains("VAULT_TLS_SERVER_NAME isn't a host name"), "{wrong}: {said}");
    }
    let plain = address.replace("https://", "http://");
    let said = ended(&machine, &plain, &[("VAULT_TLS_SERVER_NAME", name)], 2).await;
    assert!(said.contains("VAULT_TLS_SERVER_NAME means nothing without TLS"), "{said}");
}

#[tokio::test]
async fn doctor_tells_an_unknown_authority_from_a_wrong_name_and_from_no_tls() {
    let machine = Machine::new();
    let authority = Authority::new();
    let ca = machine.path("ca.pem");
    std::fs::write(&ca, authority.0.pem()).unwrap();
    let doctor = async |address: &str, settings: &[(&str, &Path)]| {
        let mut command = machine.command(address);
        let (status, text, _) =
            crate::commands::run(command.arg("doctor").envs(settings.iter().copied())).await;
        assert_eq!(status, 20, "{text}");
        text
    };
    let right = sealed_vault(&authority, "localhost", false).await;
    let text = doctor(&right, &[]).await;
    assert!(text.contains("an authority that isn't trusted here"), "{text}");
    assert!(text.contains("mend: set VAULT_CACERT"), "{text}");
    let wrong = sealed_vault(&authority, "vault.internal", false).await;
    let text = doctor(&wrong, &[("VAULT_CACERT", &ca)]).await;
    assert!(
        text.contains("is for another name") && text.contains("VAULT_TLS_SERVER_NAME"),
        "{text}"
    );
    let plain = crate::vault::Vault::start().await.address().replace("http://", "https://");
    let text = doctor(&plain, &[("VAULT_CACERT", &ca)]).await;
    assert!(text.contains("speaks no TLS") && text.contains("mend: use http://"), "{text}");
    let text = doctor(&right, &[("VAULT_CACERT", &machine.path("absent"))]).await;
    assert!(text.contains("name PEM files that this user can read"), "{text}");
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_configured() {
    let machine = Machine::new();
    let authority = Authority::new();
    let ca = machine.path("ca.pem");
    std::fs::write(&ca, authority.0.pem()).unwrap();
    let (certificate, key) = authority.issue("agent");
    let (certificate_file, key_file) = (machine.path("cert.pem"), machine.path("key.pem"));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();

    let address = sealed_vault(&authority, "localhost", true).await;
    let said = call(
        &machine,
        &address,
        &[
            ("VAULT_CACERT", &ca),
            ("VAULT_CLIENT_CERT", &certificate_file),
            ("VAULT_CLIENT_KEY", &key_file),
        ],
    )
    .await;
    assert!(said.starts_with(TRUSTED), "{said}");
    let said = call(&machine, &address, &[("VAULT_CACERT", &ca)]).await;
    assert!(!said.starts_with(TRUSTED), "{said}");
}
