//! A PIN: from a file or a person, never shown, and a wrong one is tried once.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use e2e::machine::{Machine, Provisioned, provision};
use e2e::programs;
use e2e::swtpm::Swtpm;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;

use super::{agent, text, world};

const CALL: [&str; 4] = ["call", "demo", "GET", "/a"];

/// Runs the bridge with the PIN in a file.
async fn with(machine: &Machine, pin: &Path, arguments: &[&str]) -> Output {
    let mut command = machine.command();
    command.env("MCP_BRIDGE_PIN_FILE", pin).args(arguments).output().await.unwrap()
}

fn file(machine: &Machine, name: &str, content: &str) -> PathBuf {
    let path = machine.home().join(name);
    fs::write(&path, content).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    fs::set_permissions(&path, mode).unwrap();
    path
}

/// How many failures the TPM has counted, as `status` tells without trying.
async fn counted(machine: &Machine, expected: u32) {
    let status = machine.run(&["status", "--offline"], "").await;
    let report = text(&status.stdout);
    assert_eq!(status.status.code(), Some(0), "{report}");
    assert!(report.contains(&format!("has counted {expected} of 3 ")), "{report}");
    assert!(report.contains("status --deep opens it"), "{report}");
}

#[tokio::test]
async fn a_wrong_pin_is_tried_once_and_the_last_try_is_kept() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let address = world.server.address();
    let provisioned =
        provision(&world, address, &["build7", "--services", "demo", "--self-rotate"]).await;
    let right = file(&machine, "pin", "2580\n");
    let wrong = file(&machine, "wrong", "0000\n");
    let pin = right.to_str().unwrap();
    let output = machine.enroll(&provisioned, &["--pin", "--pin-file", pin]).await;
    assert!(output.status.success(), "{output:?}");

    // Without it, with it, and with it once more after a rotation, which keeps it.
    let output = machine.run(&["status", "--deep"], "").await;
    assert_eq!(output.status.code(), Some(14), "{output:?}");
    assert!(text(&output.stdout).contains("MCP_BRIDGE_PIN_FILE"), "{output:?}");
    for arguments in [&CALL[..], &["rotate"], &CALL] {
        let output = with(&machine, &right, arguments).await;
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {output:?}");
    }
    let output = machine.run(&CALL, "").await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let deep = with(&machine, &right, &["status", "--deep"]).await;
    assert_eq!(deep.status.code(), Some(0), "{deep:?}");
    let report = text(&deep.stdout);
    for fact in ["PIN: yes", address, "secret_id accessor", "secret_id expires in", "a service"] {
        assert!(report.contains(fact), "{fact}: {report}");
    }
    counted(&machine, 0).await;

    // The PIN to set isn't tried on what is set; here no wrapping token follows.
    let words = provisioned.command();
    let words = words.iter().map(String::as_str).chain(["--force", "--pin"]).collect::<Vec<_>>();
    let output = with(&machine, &wrong, &words).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("--new-pin-file"), "{output:?}");
    counted(&machine, 0).await;

    // A bridge with the wrong one tries it once, however often it is asked, until it is changed.
    let config = machine.home().join(".config/mcp-bridge");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("config.toml"), "pin_file = \"pin\"").unwrap();
    let served = file(&machine, ".config/mcp-bridge/pin", "1111");
    let mut bridge = machine.serve().await;
    let call = json!({ "service": "demo", "path": "/a" });
    for _ in 0..3 {
        let answer = bridge.call("proxy_read", call.clone()).await;
        assert!(answer.text.contains("PIN"), "{}", answer.text);
    }
    counted(&machine, 1).await;
    fs::write(&served, "2580, but not alone\n").unwrap();
    fs::write(&served, "2580").unwrap();
    let answer = bridge.call("proxy_read", call).await;
    assert!(answer.text.starts_with("200 OK"), "{} {}", answer.text, bridge.errors());
    bridge.leave().await;
    fs::remove_file(config.join("config.toml")).unwrap();

    // What is deleted by mistake is lost: not for want of a PIN, or with a mistyped one.
    let output = machine.run(&["forget"], "").await;
    assert_eq!(output.status.code(), Some(14), "{output:?}");
    assert!(text(&output.stderr).contains("Nothing was deleted"), "{output:?}");
    let output = with(&machine, Path::new("/nowhere/pin"), &["forget"]).await;
    assert_eq!(output.status.code(), Some(14), "{output:?}");
    assert!(machine.credential().exists());
    let output = with(&machine, &wrong, &["forget"]).await;
    assert_eq!(output.status.code(), Some(14), "{output:?}");
    assert!(text(&output.stderr).contains("1 tries left"), "{output:?}");
    assert!(machine.credential().exists());
    let output = with(&machine, &wrong, &["forget"]).await;
    assert_eq!(output.status.code(), Some(15), "{output:?}");
    assert!(machine.credential().exists());
    let output = with(&machine, &right, &["status", "--deep"]).await;
    assert_eq!(output.status.code(), Some(15), "{output:?}");
    assert!(text(&output.stdout).contains("--force"), "{output:?}");
    let forced = ["status", "--deep", "--force"];
    let output = with(&machine, &right, &forced).await;
    // The credential opens; the login, which nobody forces, doesn't come to it.
    assert!(text(&output.stdout).contains("secret_id accessor"), "{output:?}");
    let output = with(&machine, &wrong, &forced).await;
    assert_eq!(output.status.code(), Some(14), "{output:?}");
    let output = with(&machine, &right, &forced).await;
    assert_eq!(output.status.code(), Some(15), "{output:?}");
    assert!(text(&output.stdout).contains("wait "), "{output:?}");
}

#[tokio::test]
async fn a_person_types_the_pin_and_it_isnt_shown() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let provisioned: Provisioned = agent(&world).await;
    let token = file(&machine, "token", provisioned.token());
    let mut enroll = provisioned.command();
    enroll.extend(["--pin", "--wrapping-token-file", token.to_str().unwrap()].map(str::to_owned));
    let words = enroll.iter().map(String::as_str).collect::<Vec<_>>();

    let (status, screen) = typed(&machine, &words, &["2580", "2581"]).await;
    assert_eq!(status, 2, "{screen}");
    assert!(screen.contains("differ") && !machine.credential().exists(), "{screen}");
    let (status, screen) = typed(&machine, &words, &["2580", "2580"]).await;
    assert_eq!(status, 0, "{screen}");
    let (status, screen) = typed(&machine, &CALL, &["2580"]).await;
    assert_eq!(status, 0, "{screen}");
    let (status, screen) = typed(&machine, &["status", "--deep"], &["0000"]).await;
    assert_eq!(status, 14, "{screen}");
}

/// Runs the bridge on a terminal of its own and answers its questions; what the screen shows.
async fn typed(machine: &Machine, arguments: &[&str], answers: &[&str]) -> (i32, String) {
    let words = arguments.iter().map(|word| format!(" '{word}'")).collect::<String>();
    let line = format!("'{}'{words}", programs::bridge().display());
    // What `command` of a machine sets, for the program that gives it a terminal.
    let plain = machine.command();
    let environment = plain.as_std().get_envs().filter_map(|(name, value)| Some((name, value?)));
    let mut process = Command::new("script")
        .args(["--quiet", "--return", "--flush", "--command", &line, "/dev/null"])
        .env_clear()
        .envs(environment)
        .env("PATH", "/usr/bin:/bin")
        .env("SHELL", "/bin/sh")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let (mut keyboard, mut output) =
        (process.stdin.take().unwrap(), process.stdout.take().unwrap());
    let mut screen = String::new();
    for (count, answer) in answers.iter().enumerate() {
        // A question ends with a colon and a space; only then is there somebody to read the answer.
        while screen.matches(": ").count() <= count {
            let mut bytes = [0; 1024];
            let length = output.read(&mut bytes).await.unwrap();
            assert_ne!(length, 0, "asked {count} times: {screen}");
            screen.push_str(&text(&bytes[..length]));
        }
        keyboard.write_all(format!("{answer}\n").as_bytes()).await.unwrap();
    }
    output.read_to_string(&mut screen).await.unwrap();
    let status = process.wait().await.unwrap().code().unwrap();
    for answer in answers {
        assert!(!screen.contains(answer), "{answer} is shown: {screen}");
    }
    (status, screen)
}
