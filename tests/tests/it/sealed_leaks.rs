//! Where a sealed credential's secrets must not turn up, from a real start of the bridge to its end.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use e2e::machine::{Installation, Machine, enable_approle, files, provision};
use e2e::swtpm::Swtpm;
use e2e::tap::Tap;
use e2e::world::World;
use e2e::{forms, memory};
use serde_json::{Value, json};

/// What the bridge's login sent, and the key that the TPM gave out for it.
struct Secrets {
    role_id: String,
    secret_id: String,
    key: Vec<u8>,
    /// The key as it stands on the helper's pipe.
    written_key: String,
}

impl Secrets {
    /// Reads them where they are in clear: between bridge and Vault, and on the helper's pipe.
    fn of(vault: &Tap, helper: &Installation) -> Self {
        let login = |field: &str| {
            let mark = format!("\"{field}\":\"");
            let traces = vault.traces();
            let found = traces.iter().find_map(|trace| {
                let text = String::from_utf8_lossy(trace);
                let (_, rest) = text.split_once(&mark)?;
                Some(rest.split('"').next()?.to_owned())
            });
            assert!(found.is_some(), "a login with {field}");
            found.unwrap()
        };
        let answer: Value =
            serde_json::from_slice(&fs::read(helper.folder().join("answer")).unwrap()).unwrap();
        let written_key = answer["Ok"]["key"].as_str().unwrap().to_owned();
        let bare = written_key.trim_end_matches('=').replace('-', "+").replace('_', "/");
        let key = STANDARD_NO_PAD.decode(bare).unwrap();
        assert_eq!(key.len(), 32);
        let [role_id, secret_id] = ["role_id", "secret_id"].map(login);
        Self { role_id, secret_id, key, written_key }
    }
}

/// What stays in the helper isn't looked at here: libtss2 leaves a copy of the key on its heap and
/// one on its stack, unwiped. That is why it runs in a process of its own, which ends with its one
/// answer, and whose pages the kernel wipes before anybody else gets them.
#[tokio::test]
async fn neither_wire_nor_memory_nor_file_nor_output_shows_what_was_sealed() {
    let world = World::start().await;
    enable_approle(&world).await;
    let (_upstream, _) = world.service("demo").await;
    let tpm = Swtpm::start().await;
    let (wire, vault) = (Tap::before_tpm(&tpm), Tap::before(world.server.address()));
    let machine = Machine::with_tpm(&tpm).reaching(wire.tcti());
    let provisioned = provision(&world, &vault.address(), &["build7", "--services", "demo"]).await;
    let output = machine.enroll(&provisioned, &[]).await;
    assert!(output.status.success(), "{output:?}");

    let helper = Installation::with_helper("$HELPER | tee $HERE/answer");
    let mut agent = Machine::serve_as(machine.command_of(&helper)).await;
    for _ in 0..3 {
        let call = json!({ "service": "demo", "path": "/a" });
        let answer = agent.call("proxy_read", call).await;
        assert!(answer.text.starts_with("200 OK"), "{} {}", answer.text, agent.errors());
    }
    let secrets = Secrets::of(&vault, &helper);
    assert_eq!(secrets.role_id, provisioned.text("role_id"));

    // The wire to the TPM, from enrolling to serving. That the trace is whole is seen by what goes
    // over it in clear.
    let file: Value = serde_json::from_slice(&machine.kept()).unwrap();
    let header = URL_SAFE_NO_PAD.decode(file["header"].as_str().unwrap()).unwrap();
    let header: Value = serde_json::from_slice(&header).unwrap();
    let public = URL_SAFE_NO_PAD.decode(header["tpm2"]["public"].as_str().unwrap()).unwrap();
    assert!(wire.has_seen(&public), "the trace shows nothing, so it proves nothing");
    assert!(!wire.has_seen(&secrets.key));
    for secret in [&secrets.role_id, &secrets.secret_id, &secrets.written_key] {
        assert!(!wire.has_seen(secret.as_bytes()));
    }

    // The bridge that runs.
    let pid = agent.pid();
    for place in ["cmdline", "environ"] {
        let bytes = fs::read(format!("/proc/{pid}/{place}")).unwrap();
        for secret in [&secrets.role_id, &secrets.secret_id, &secrets.written_key] {
            assert!(forms::found(&bytes, secret).is_empty(), "{place}");
        }
    }
    let parts = memory::of(pid);
    // What it must remember is found, so that not finding says something.
    assert!(memory::copies(&parts, b"proxy/demo/GET") > 0);
    let (secret_id, key) = (secrets.secret_id.as_bytes(), secrets.written_key.as_bytes());
    // Halves too: freed memory is overwritten from its beginning.
    for (what, word) in [
        ("the secret_id", secret_id),
        ("the secret_id's first half", &secret_id[..18]),
        ("the secret_id's second half", &secret_id[18..]),
        ("the key", &secrets.key),
        ("the key's second half", &secrets.key[16..]),
        ("the key as it is written", key),
        ("the second half of the key as it is written", &key[22..]),
    ] {
        assert_eq!(memory::copies(&parts, word), 0, "copies of {what} in the bridge's memory");
    }

    // What it leaves behind.
    let said = agent.leave().await;
    let mut places = files(machine.home());
    places.push(("its output".into(), said.into_bytes()));
    places.push(("enrolling's output".into(), [output.stdout, output.stderr].concat()));
    for (place, bytes) in places {
        for secret in [&secrets.role_id, &secrets.secret_id, &secrets.written_key] {
            let found = forms::found(&bytes, secret);
            assert!(found.is_empty(), "{}: {found:?}", place.display());
        }
    }
}
