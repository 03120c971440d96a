//! The same credential kept another way, and a credential that takes another's place.

use std::fs;

use e2e::machine::{Machine, files, provision};
use e2e::swtpm::Swtpm;
use serde_json::json;

use super::{PLAIN, agent, bare_tcti, text, world};

#[tokio::test]
async fn an_update_keeps_the_same_credential_another_way_or_leaves_it_alone() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let update =
        async |more: &[&str]| machine.run(&[&["enroll", "--update"], more].concat(), "").await;
    let report = async || {
        let pin = machine.home().join("pin");
        let status = ["status", "--deep", "--pin-file", pin.to_str().unwrap()];
        let status = machine.run(&status, "").await;
        assert_eq!(status.status.code(), Some(0), "{status:?}");
        text(&status.stdout)
    };

    let output = update(&["--pcrs", "7"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(files(machine.home()).is_empty(), "nothing is made where nothing is kept");

    let provisioned = agent(&world).await;
    let output = machine.enroll(&provisioned, &PLAIN).await;
    assert!(output.status.success(), "{output:?}");
    let output = update(&["--pcrs", "16"]).await;
    assert_eq!(output.status.code(), Some(2), "a plain file has no registers: {output:?}");
    let output = update(&["--store", "tpm2"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).contains("stood in clear"), "{output:?}");
    assert!(!text(&fs::read(machine.credential()).unwrap()).contains("payload"));

    fs::write(machine.home().join("pin"), "2580").unwrap();
    fs::write(machine.home().join("new"), "1357").unwrap();
    let (pin, new) = (machine.home().join("pin"), machine.home().join("new"));
    let (pin, new) = (["--pin-file", pin.to_str().unwrap()], new.to_str().unwrap());
    let (bound, asks) = ("every register that it is bound to is as it was", "PIN: yes");
    for (arguments, is_bound, is_asked) in [
        (&["--pcrs", "16"][..], true, false),
        (&["--pin"], true, true),
        (&["--pcrs", "none"], false, true),
        (&["--no-pin", "--pcrs", "7,16"], true, false),
    ] {
        let output = update(&[&pin[..], arguments].concat()).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {output:?}");
        let report = report().await;
        assert_eq!(report.contains(bound), is_bound, "{arguments:?}: {report}");
        assert_eq!(report.contains(asks), is_asked, "{arguments:?}: {report}");
        // It is the same one.
        let accessor = provisioned.text("secret_id_accessor");
        assert!(report.contains(accessor), "{arguments:?}: {report}");
    }

    // Whatever fails leaves the file as it was.
    assert_eq!(update(&[&pin[..], &["--pin"]].concat()).await.status.code(), Some(0));
    let before = fs::read(machine.credential()).unwrap();
    let unprotected = ["--store", "plain-file"];
    let elsewhere = bare_tcti(&machine);
    for (arguments, status) in [
        (&["--no-pin"][..], 14),
        (&["--pin-file", new, "--no-pin"], 14),
        (&[pin[0], pin[1], "--no-pin", "--tcti", &elsewhere], 10),
        (&[pin[0], pin[1], unprotected[0], unprotected[1]], 2),
        (&["--store", "external"], 2),
    ] {
        let output = update(arguments).await;
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {output:?}");
        assert_eq!(fs::read(machine.credential()).unwrap(), before, "{arguments:?}");
    }
    let changed = update(&[&pin[..], &["--pin", "--new-pin-file", new]].concat()).await;
    assert_eq!(changed.status.code(), Some(0), "{changed:?}");
    let output = update(&["--pin-file", new, "--no-pin"]).await;
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Nobody looks for a PIN that isn't asked for.
    fs::remove_file(new).unwrap();
    let status = machine.run(&["status", "--deep", "--pin-file", new], "").await;
    assert_eq!(status.status.code(), Some(0), "{status:?}");
}

#[tokio::test]
async fn what_a_forced_enrolment_replaces_is_destroyed_or_named() {
    let world = world().await;
    let role = "auth/approle/role/mcp-bridge-build7/secret-id-accessor/lookup";
    let lives = async |accessor: &str| {
        let body = json!({ "secret_id_accessor": accessor });
        world.root.write(role, body).await.status == 200
    };
    let machine = Machine::new();
    let mut before: Option<String> = None;
    // The right to destroy comes with the right to rotate.
    for (rotates, destroyed) in [(false, false), (false, false), (true, true)] {
        let more = if rotates { &["--self-rotate"][..] } else { &[] };
        let arguments = [&["build7", "--services", "demo"], more].concat();
        let provisioned = provision(&world, world.server.address(), &arguments).await;
        let output = machine.enroll(&provisioned, &[&PLAIN[..], &["--force"]].concat()).await;
        assert!(output.status.success(), "{output:?}");
        let said = text(&output.stdout);
        match &before {
            None => assert!(!said.contains("before"), "{said}"),
            Some(accessor) => {
                assert_eq!(said.contains("is destroyed in Vault"), destroyed, "{said}");
                let end = format!("secret_id_accessor={accessor}");
                assert_eq!(said.contains(&end), !destroyed, "{said}");
                assert_eq!(lives(accessor).await, !destroyed, "{said}");
            }
        }
        let accessor = provisioned.text("secret_id_accessor").to_owned();
        assert!(lives(&accessor).await);
        before = Some(accessor);
    }
}
