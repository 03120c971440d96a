//! The whole bridge on machines whose TPM changes, is shared, is somebody else's or isn't there.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};

use e2e::bridge::Bridge;
use e2e::machine::{Installation, Machine, Provisioned, enable_approle, files, provision};
use e2e::server::signal;
use e2e::swtpm::Swtpm;
use e2e::wait;
use e2e::world::World;
use futures_util::future::join_all;
use rustix::process::Signal;
use serde_json::json;
use tokio::process::Command;

/// Another user, who owns nothing.
const NOBODY: u32 = 65534;

async fn world() -> World {
    let world = World::start().await;
    enable_approle(&world).await;
    world
}

async fn agent(world: &World) -> Provisioned {
    let arguments = ["build7", "--services", "demo", "--self-rotate"];
    provision(world, world.server.address(), &arguments).await
}

async fn read(agent: &mut Bridge) -> String {
    agent.call("proxy_read", json!({ "service": "demo", "path": "/a" })).await.text
}

/// Runs a command of a machine, whose output must be the bridge's own; gives status and output.
async fn run(machine: &Machine, arguments: &[&str]) -> (i32, String) {
    let output = machine.run(arguments, "").await;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8(text).unwrap();
    own_words(&text);
    (output.status.code().unwrap(), text)
}

/// The TPM's library has a voice of its own ("ERROR:esys:src/tss2-esys/..."), which nobody may hear.
fn own_words(text: &str) {
    for library in [":esys:", ":tcti:", ":tctildr:", ":marshal:", ":sys:", "src/tss2-"] {
        assert!(!text.contains(library), "{library}: {text}");
    }
}

#[tokio::test]
async fn changed_registers_a_password_and_a_cleared_tpm_are_named_and_got_over() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let call = ["call", "demo", "GET", "/a"];
    let check = async |arguments: &[&str], code: i32, expected: &str| {
        let (status, text) = run(&machine, arguments).await;
        assert_eq!(status, code, "{arguments:?}: {text}");
        assert!(text.contains(expected), "{arguments:?}, {expected}: {text}");
    };

    // With an owner's password there is no storage key: nothing is spent.
    let provisioned = agent(&world).await;
    tpm.tool("tpm2_changeauth", &["-c", "owner", "secret"]);
    let output = machine.enroll(&provisioned, &["--pcrs", "7,16"]).await;
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(11), "{errors}");
    assert!(errors.contains("owner password") && errors.contains("wasn't used"), "{errors}");
    tpm.tool("tpm2_changeauth", &["-c", "owner", "-p", "secret"]);
    let output = machine.enroll(&provisioned, &["--pcrs", "7,16"]).await;
    assert!(output.status.success(), "{output:?}");
    check(&call, 0, "").await;
    check(&["status", "--offline"], 0, "every register that it is bound to is as it was").await;

    // The registers bind what replaces the credential too.
    check(&["rotate"], 0, "replaced").await;
    tpm.tool("tpm2_pcrextend", &[&format!("16:sha256={}", "5a".repeat(32))]);
    check(&["status"], 12, "PCR 16 (debugging) changed").await;
    check(&["status"], 12, "changed registers: 16 (debugging)").await;
    check(&call, 3, "PCR 16 (debugging) changed").await;
    let kept = machine.kept();
    check(&["rotate"], 12, "PCR 16").await;
    assert_eq!(machine.kept(), kept);
    tpm.tool("tpm2_pcrreset", &["16"]);
    check(&call, 0, "").await;

    tpm.tool("tpm2_clear", &[]);
    check(&["status"], 13, "sealed by another TPM").await;
    check(&call, 3, "or this one was cleared since").await;
    // No disaster: it is issued again.
    let output = machine.enroll(&agent(&world).await, &["--force"]).await;
    assert!(output.status.success(), "{output:?}");
    check(&call, 0, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_bridges_share_one_tpm_and_none_leaves_a_token() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let output = machine.enroll(&agent(&world).await, &[]).await;
    assert!(output.status.success(), "{output:?}");
    let before = tokens(&world).await;
    let bridges = (0..8).map(async |_| {
        let mut bridge = machine.serve().await;
        let answer = read(&mut bridge).await;
        assert!(answer.starts_with("200 OK"), "{answer} {}", bridge.errors());
        own_words(&bridge.errors());
        bridge
    });
    let mut bridges = join_all(bridges).await;
    assert_eq!(tokens(&world).await, before + 8);
    // Half of them lose their client, half are told to end.
    for bridge in bridges.drain(4..) {
        let pid = bridge.pid();
        signal(pid, Signal::TERM);
        bridge.leave().await;
    }
    assert_eq!(tokens(&world).await, before + 4);
    join_all(bridges.into_iter().map(Bridge::leave)).await;
    assert_eq!(tokens(&world).await, before);
}

async fn tokens(world: &World) -> usize {
    world.root.list("auth/token/accessors").await.ok().keys().len()
}

/// As after a suspension: the TPM is away for a while, and back before anybody was called.
#[tokio::test]
async fn a_tpm_that_comes_back_is_asked_again() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let mut tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let output = machine.enroll(&agent(&world).await, &[]).await;
    assert!(output.status.success(), "{output:?}");
    let mut bridge = machine.serve().await;
    assert!(read(&mut bridge).await.starts_with("200 OK"));
    tpm.stop();
    let tokens = "sys/leases/revoke-prefix/auth/approle/login";
    world.root.write(tokens, json!({})).await.ok();
    let answer = read(&mut bridge).await;
    assert!(answer.starts_with("vault_unavailable: this machine's TPM"), "{answer}");
    assert!(bridge.errors().contains("the TPM can't be reached"), "{}", bridge.errors());
    tpm.reboot().await;
    wait::until("a call that works", async || {
        read(&mut bridge).await.starts_with("200 OK").then_some(())
    })
    .await;
    bridge.leave().await;
}

#[tokio::test]
async fn what_a_machine_lacks_is_said_while_the_bridge_answers_its_client() {
    let world = world().await;
    let (upstream, _) = world.service("demo").await;
    let (tpm, other) = (Swtpm::start().await, Swtpm::start().await);
    let machine = Machine::with_tpm(&tpm);
    let output = machine.enroll(&agent(&world).await, &[]).await;
    assert!(output.status.success(), "{output:?}");

    let refused = async |what: &str, command: &dyn Fn() -> Command, code: i32, expected: &str| {
        // It starts, and has answered `initialize`.
        let mut bridge = Machine::serve_as(command()).await;
        let answer = read(&mut bridge).await;
        assert!(answer.starts_with("login_refused: "), "{what}: {answer}");
        assert!(answer.contains("mcp-bridge doctor"), "{what}: {answer}");
        let said = bridge.leave().await;
        assert!(said.contains(expected), "{what}, {expected}: {said}");
        own_words(&said);
        let status = command().arg("status").output().await.unwrap();
        assert_eq!(status.status.code(), Some(code), "{what}: {status:?}");
        let report = String::from_utf8(status.stdout).unwrap();
        assert!(report.contains(expected), "{what}, {expected}: {report}");
    };
    let (bare, far) = (machine.copied(), machine.copied_to(&other));
    refused("no device", &|| bare.command(), 10, "this machine has no TPM 2.0").await;
    refused("another TPM", &|| far.command(), 13, "another TPM").await;
    let alone = Installation::without_helper();
    let missing = "mcp-bridge-tpm is missing: install mcp-bridge-tpm beside mcp-bridge";
    refused("no helper", &|| machine.command_of(&alone), 10, missing).await;
    // An empty file in the library's place keeps the loader from going on.
    let libraries = tempfile::tempdir().unwrap();
    fs::write(libraries.path().join("libtss2-esys.so.0"), "").unwrap();
    let without_library = || {
        let mut command = machine.command();
        command.env("LD_LIBRARY_PATH", libraries.path());
        command
    };
    refused("no library", &without_library, 10, "libtss2 is missing").await;

    // A device of others, and whoever may not open it.
    let theirs = machine.copied();
    let device = theirs.home().join("tpmrm0");
    fs::write(&device, "").unwrap();
    fs::set_permissions(&device, fs::Permissions::from_mode(0o000)).unwrap();
    let theirs = theirs.reaching(format!("device:{}", device.display()));
    let is_root = rustix::process::geteuid().is_root();
    for (path, _) in files(theirs.home()).iter().filter(|(path, _)| is_root && *path != device) {
        for path in path.ancestors().take_while(|path| path.starts_with(theirs.home())) {
            chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
        }
    }
    let unprivileged = || {
        let mut command = theirs.command_of(&alone);
        if is_root {
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    };
    refused("no permission", &unprivileged, 11, "sudo usermod -aG").await;
    assert!(upstream.seen().is_empty());
}
