//! What goes wrong is told in our words, leaks nothing, and leaves nothing behind.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use mcp_bridge_tpm::protocol::Answer;
use mcp_bridge_tpm::sealer::helper::HelperSealer;
use mcp_bridge_tpm::{Sealer as _, TpmError};
use serde_json::{Value, json};

use crate::swtpm::{Swtpm, bound, key, refusal, sealed, tcti};

const HELPER: &str = env!("CARGO_BIN_EXE_mcp-bridge-tpm");

#[tokio::test]
async fn each_changed_byte_of_the_object_is_refused() {
    let Some(tpm) = Swtpm::start() else { return };
    let object = sealed(&tpm).await;
    let sample = |length: usize| (0..length).step_by(7).chain([1, length - 1]);
    for at in sample(object.public.0.len()) {
        let mut edited = object.clone();
        edited.public.0[at] ^= 1;
        let error = refusal(&tpm, &edited).await;
        assert_eq!(error.exit_code(), 13, "public byte {at}: {error:?}");
    }
    for at in sample(object.private.0.len()) {
        let mut edited = object.clone();
        edited.private.0[at] ^= 1;
        assert_eq!(refusal(&tpm, &edited).await, TpmError::Integrity, "private byte {at}");
    }
    tpm.assert_empty();
}

#[tokio::test]
async fn nothing_there_is_told() {
    // A port that nobody listens on, and that no other test is given.
    let sealer = HelperSealer::with_program(HELPER.into(), tcti(1).parse().unwrap());
    let error = sealer.info().await.unwrap_err();
    assert!(matches!(error, TpmError::Unreachable { code: 0x000a_000a }), "{error:?}");
    assert_eq!(error.exit_code(), 10);
}

#[tokio::test]
async fn a_missing_library_is_told() {
    let folder = tempfile::tempdir().unwrap();
    // An empty file in the library's place keeps the loader from going on.
    fs::write(folder.path().join("libtss2-esys.so.0"), "").unwrap();
    let wrapper = folder.path().join("wrapper");
    // Written by another process, so that none of ours has it open when it is started.
    let script = format!("LD_LIBRARY_PATH={} exec {HELPER}", folder.path().display());
    let written = Command::new("sh")
        .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod 755 "$0""#])
        .args([wrapper.as_os_str(), script.as_ref()])
        .status();
    assert!(written.unwrap().success());
    let sealer = HelperSealer::with_program(wrapper, tcti(1).parse().unwrap());
    let error = sealer.info().await.unwrap_err();
    let TpmError::LibraryMissing { library } = &error else { panic!("{error:?}") };
    assert!(library.ends_with("libtss2-esys.so.0"), "{library}");
    assert!(error.to_string().starts_with("libtss2 is missing"), "{error}");
}

/// This test's own program is linked with the library, as the bridge is: it must start without
/// libtss2.
#[test]
fn only_the_helper_is_linked_with_libtss2() {
    // As it stands in a dynamic executable's table of names; put together here, so that it doesn't
    // stand in this program's constants.
    let name = [&b"\0libtss2-esys"[..], b".so.0\0"].concat();
    let links =
        |program: PathBuf| fs::read(program).unwrap().windows(name.len()).any(|part| part == name);
    assert!(!links(std::env::current_exe().unwrap()));
    assert!(links(HELPER.into()));
}

#[test]
fn a_device_of_others_is_told_with_the_command_that_mends_it() {
    const DEVICE: &str = "TEST_DEVICE";
    if let Some(device) = std::env::var_os(DEVICE) {
        let tcti = format!("device:{}", device.to_string_lossy()).parse().unwrap();
        let error = mcp_bridge_tpm::precheck::check(&tcti).unwrap_err();
        assert!(matches!(error, TpmError::NoPermission { .. }), "{error:?}");
        assert!(error.to_string().contains("sudo usermod -aG"), "{error}");
        return;
    }
    // Once more, as somebody who may not: root may do all, so it becomes nobody.
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (device, program) = (folder.path().join("tpmrm0"), folder.path().join("it"));
    fs::write(&device, "").unwrap();
    fs::set_permissions(&device, fs::Permissions::from_mode(0o000)).unwrap();
    // Copied by another process, so that none of ours has it open when it is started.
    let copied = Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
    let mut command = Command::new(&program);
    command
        .args(["--exact", "errors::a_device_of_others_is_told_with_the_command_that_mends_it"])
        .env(DEVICE, &device);
    if rustix::process::geteuid().is_root() {
        command.uid(65534).gid(65534);
    }
    let output = command.output().unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && told.contains("1 passed"), "{told}");
}

#[tokio::test]
async fn the_helper_says_one_answer_and_nothing_else() {
    let Some(tpm) = Swtpm::start() else { return };
    let pinned = tpm.sealer().seal(&key(), &bound("", Some("2580"))).await.unwrap();
    let request = |version: u32, operation: Value| {
        json!({ "version": version, "tcti": tcti(tpm.port()), "operation": operation }).to_string()
    };
    let unseal = json!({ "unseal": { "object": pinned, "pin": "canary", "force": true } });
    let seal = json!({ "seal": { "key": "canary", "pcrs": [], "pin": null } });
    for (request, expected) in [
        (request(1, unseal), "wrong_pin"),
        (request(1, "nothing".into()), "usage"),
        (request(1, seal), "usage"),
        (request(2, "info".into()), "helper"),
        ("{\"canary\": ".into(), "usage"),
        (String::new(), "usage"),
        ("x".repeat(100_000), "usage"),
    ] {
        let mut child = Command::new(HELPER)
            .env("TSS2_LOG", "all+NONE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // One that refuses early may have closed its end.
        let _ = child.stdin.take().unwrap().write_all(request.as_bytes());
        let output = child.wait_with_output().unwrap();
        let (text, noise) = (output.stdout, output.stderr);
        let text = String::from_utf8(text).unwrap();
        assert_eq!(String::from_utf8_lossy(&noise), "", "{request}");
        assert!(output.status.success(), "{:?}", output.status);
        let answer: Answer = serde_json::from_str(&text).unwrap();
        assert!(answer.is_err() && text.contains(expected), "{expected}: {text}");
        assert!(!text.contains("canary"), "{text}");
    }
    tpm.assert_empty();
}
