//! A real TLS listener: the authority and the name of the enrolment are kept, others refused.

use std::fmt::Write as _;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

use e2e::machine::{Machine, enable_approle, provision};
use e2e::server::{Storage, signal};
use e2e::wait;
use e2e::world::World;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustix::process::Signal;
use serde_json::json;

use super::{PLAIN, text};

/// The one name in the certificate: not the address's.
const NAME: &str = "vault.example.test";

/// Writes a certificate of a new authority and its key for the server; gives the authority in PEM.
fn certify(folder: &Path) -> String {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(vec![NAME.to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &authority).unwrap();
    fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
    fs::write(folder.join("server.pem"), certificate.pem()).unwrap();
    authority.pem()
}

/// The wrapping token, for a command's stdin.
fn token_file(machine: &Machine, token: &str) -> fs::File {
    let file = machine.home().join("wrapping_token");
    fs::write(&file, token).unwrap();
    fs::File::open(file).unwrap()
}

#[tokio::test]
async fn the_authority_and_the_name_of_the_enrolment_are_the_only_ones_trusted() {
    let mut world = World::start_on(Storage::Raft).await;
    let free = json!({ "upstream_cidrs": "127.0.0.0/8" });
    world.root.write("mcp-proxy/config", free).await.ok();
    enable_approle(&world).await;
    let (_upstream, _) = world.service("demo").await;

    // A second listener, with TLS, on the same server.
    let folder = world.server.directory().to_owned();
    let authority = certify(&folder);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut configuration = fs::read_to_string(folder.join("server.hcl")).unwrap();
    let shown = folder.display();
    let _ = write!(
        configuration,
        "listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  \
         cluster_address = \"127.0.0.1:0\"\n  tls_cert_file = \"{shown}/server.pem\"\n  \
         tls_key_file = \"{shown}/server.key\"\n}}\n"
    );
    fs::write(folder.join("server.hcl"), configuration).unwrap();
    drop(listener);
    world.server.restart().await;

    let machine = Machine::new();
    let ca = machine.home().join("ca.pem");
    fs::write(&ca, authority).unwrap();
    let address = format!("https://127.0.0.1:{port}");
    let trust = ["--ca-cert", ca.to_str().unwrap(), "--tls-server-name", NAME];
    let arguments = [&["build7", "--services", "demo"][..], &trust].concat();
    let provisioned = provision(&world, &address, &arguments).await;
    let command = provisioned.command();
    assert!(command.contains(&NAME.to_owned()), "{command:?}");

    // Where nothing is kept, the settings say all of it.
    let output = machine.enroll(&provisioned, &["--store", "external"]).await;
    let settings = text(&output.stdout);
    for setting in [format!("VAULT_CACERT={}", ca.display()), format!("_SERVER_NAME={NAME}")] {
        assert!(settings.contains(&setting), "{output:?}");
    }

    // Without the name, the address isn't in the certificate: nothing is spent.
    let mut nameless = command.iter().map(String::as_str).collect::<Vec<_>>();
    let at = nameless.iter().position(|word| *word == "--tls-server-name").unwrap();
    nameless.drain(at..at + 2);
    nameless.extend(PLAIN);
    let output = machine.run(&nameless, provisioned.token()).await;
    assert_eq!(output.status.code(), Some(20), "{output:?}");
    assert!(text(&output.stderr).contains("is for another name"), "{output:?}");
    // Nor does the environment name an authority.
    let at = command.iter().position(|word| *word == "--ca-cert").unwrap();
    let mut trusting = machine.command();
    trusting.env("SSL_CERT_FILE", &ca).env("SSL_CERT_DIR", machine.home());
    trusting.args(&command[..at]).args(&command[at + 2..]).args(PLAIN);
    trusting.stdin(token_file(&machine, provisioned.token()));
    let output = trusting.output().await.unwrap();
    assert_eq!(output.status.code(), Some(20), "{output:?}");
    let errors = text(&output.stderr);
    assert!(errors.contains("ignored: SSL_CERT_FILE, SSL_CERT_DIR;"), "{errors}");
    assert!(errors.contains("unknown issuer") || errors.contains("authority"), "{errors}");
    let output = machine.enroll(&provisioned, &PLAIN).await;
    assert!(output.status.success(), "{output:?}");

    // With what was kept alone, whatever the environment says.
    fs::remove_file(&ca).unwrap();
    let call = ["call", "demo", "GET", "/a"];
    let mut command = machine.command();
    command.env("VAULT_TLS_SERVER_NAME", "other.example").args(call);
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stderr).contains("ignored: VAULT_TLS_SERVER_NAME"), "{output:?}");
    let status = machine.run(&["status"], "").await;
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    assert!(text(&status.stdout).contains(&format!("(as {NAME})")), "{status:?}");

    // The same server with a certificate of another authority, of the same name even.
    certify(&folder);
    signal(world.server.pid(), Signal::HUP);
    let output = wait::until("the server to show it", async || {
        let output = machine.run(&call, "").await;
        (output.status.code() != Some(0)).then_some(output)
    })
    .await;
    assert_eq!(output.status.code(), Some(4), "{output:?}");
    assert!(text(&output.stderr).contains("invalid peer certificate"), "{output:?}");
    let status = machine.run(&["status"], "").await;
    assert_eq!(status.status.code(), Some(20), "{status:?}");
    let report = text(&status.stdout);
    assert!(report.contains("isn't the one that this credential is kept for"), "{report}");
}
