//! What `status` tells of an enrolled credential without opening it, and of who can.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::Path;

use e2e::machine::{Machine, files};
use e2e::programs;
use e2e::swtpm::Swtpm;

use super::{PLAIN, agent, bare_tcti, text, world};

#[tokio::test]
async fn what_keeps_it_from_opening_is_told_without_trying_the_pin() {
    let world = world().await;
    let tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let pin = machine.home().join("pin");
    fs::write(&pin, "2580").unwrap();
    let more = ["--pin", "--pcrs", "7", "--pin-file", pin.to_str().unwrap()];
    let output = machine.enroll(&agent(&world).await, &more).await;
    assert!(output.status.success(), "{output:?}");

    let other = Swtpm::start().await;
    let nowhere = bare_tcti(&machine);
    for (tcti, status, facts) in [
        (&tpm.tcti(), 0, ["has counted 0 of 3", "as it was", "expires isn't known"]),
        (&other.tcti(), 13, ["has counted 0 of 3", "sealed by another TPM", "can't be told"]),
        (&nowhere, 10, ["its maker, its storage key", "doesn't exist", "can't be told"]),
    ] {
        let output = machine.run(&["status", "--offline", "--tcti", tcti], "").await;
        let report = text(&output.stdout);
        assert_eq!(output.status.code(), Some(status), "{report}");
        for fact in facts {
            assert!(report.contains(fact), "{fact}: {report}");
        }
    }
}

#[tokio::test]
async fn whose_programs_can_open_it_is_told() {
    let world = world().await;
    let machine = Machine::new();
    let output = machine.enroll(&agent(&world).await, &PLAIN).await;
    assert!(output.status.success(), "{output:?}");
    let program = machine.home().join("mcp-bridge");
    fs::copy(programs::bridge(), &program).unwrap();
    let as_it_is = rustix::process::geteuid().as_raw();
    // Only root can become somebody else.
    let users = if as_it_is == 0 { vec![0, 999, 5000] } else { vec![as_it_is] };
    for user in users {
        hand_over(machine.home(), user);
        let mut command = tokio::process::Command::new(&program);
        command.env_clear().env("HOME", machine.home()).uid(user);
        let output = command.args(["status", "--offline"]).output().await.unwrap();
        let report = text(&output.stdout);
        assert_eq!(output.status.code(), Some(0), "{report}");
        assert_eq!(report.contains("runs as root"), user == 0, "{report}");
        let every = format!("every program of this user (uid {user}) can open it");
        assert_eq!(report.contains(&every), user != 0, "{report}");
    }
}

/// Gives a folder and all below it to a user.
fn hand_over(folder: &Path, user: u32) {
    let found = files(folder).into_iter().map(|(path, _)| path);
    let mut paths = found.collect::<Vec<_>>();
    let inner = [".local/state/mcp-bridge", ".local/state", ".local", ""];
    paths.extend(inner.map(|name| folder.join(name)));
    for path in paths {
        chown(&path, Some(user), None).unwrap();
    }
    fs::set_permissions(folder.join("mcp-bridge"), fs::Permissions::from_mode(0o755)).unwrap();
}
