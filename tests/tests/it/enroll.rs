//! The machine's side: a wrapping token becomes a credential that is of use on this machine alone.

mod delivered;
mod pin;
mod status;
mod tls;
mod update;

use std::fs;

use e2e::forms;
use e2e::machine::{Machine, Provisioned, enable_approle, files, provision};
use e2e::swtpm::Swtpm;
use e2e::world::World;
use serde_json::{Value, json};

const PLAIN: [&str; 3] = ["--store", "plain-file", "--i-understand-this-is-not-protected"];

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

async fn world() -> World {
    let world = World::start().await;
    enable_approle(&world).await;
    world
}

async fn agent(world: &World) -> Provisioned {
    provision(world, world.server.address(), &["build7", "--services", "demo"]).await
}

#[tokio::test]
async fn a_sealed_credential_serves_after_a_reboot_and_on_no_other_machine() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let mut tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let provisioned = agent(&world).await;
    let output = machine.enroll(&provisioned, &[]).await;
    assert!(output.status.success(), "{output:?}");
    assert!(text(&output.stdout).contains("software or virtual"), "{output:?}");

    // Nothing on the disk says where Vault is, who this is, or gives the credential.
    for (path, bytes) in files(machine.home()) {
        for secret in [provisioned.token(), provisioned.text("role_id"), world.server.address()] {
            let found = forms::found(&bytes, secret);
            assert!(found.is_empty(), "{}: {found:?}", path.display());
        }
    }

    // With nothing configured but the file: it calls, also after a reboot.
    tpm.reboot().await;
    let mut agent = machine.serve().await;
    let call = json!({ "service": "demo", "path": "/a" });
    let answer = agent.call("proxy_read", call).await;
    assert!(answer.text.starts_with("200 OK"), "{} {}", answer.text, agent.errors());
    let said = agent.leave().await;
    assert!(forms::found(said.as_bytes(), provisioned.text("role_id")).is_empty());

    let status = machine.run(&["status", "--offline", "--json"], "").await;
    assert_eq!(status.status.code(), Some(0), "{status:?}");
    let report = text(&status.stdout);
    for fact in ["TPM of IBM", "holds the storage key", "the secret_id expires in ", "PIN: no"] {
        assert!(report.contains(fact), "{fact}: {report}");
    }

    // The whole home on another machine.
    let other_tpm = Swtpm::start().await;
    let thief = machine.copied_to(&other_tpm);
    let output = thief.run(&["call", "demo", "GET", "/a"], "").await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).contains("another TPM"), "{output:?}");
    let status = thief.run(&["status"], "").await;
    assert_eq!(status.status.code(), Some(13), "{status:?}");
    let report = text(&status.stdout);
    assert!(report.contains("sealed by another TPM"), "{report}");
    // And where there is no TPM at all: what can't be known is said.
    let bare = Machine::new();
    let status = thief.run(&["status", "--tcti", &bare_tcti(&bare)], "").await;
    assert_eq!(status.status.code(), Some(10), "{status:?}");
    assert!(text(&status.stdout).contains("can't be told without the TPM"), "{status:?}");
}

fn bare_tcti(machine: &Machine) -> String {
    format!("device:{}", machine.home().join("none").display())
}

#[tokio::test]
async fn the_sealed_server_wins_and_a_foreign_one_is_named_and_hears_nothing() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let machine = Machine::new();
    let output = machine.enroll(&agent(&world).await, &PLAIN).await;
    assert!(output.status.success(), "{output:?}");
    let trap = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let foreign = format!("http://{}", trap.local_addr().unwrap());
    let mut command = machine.command();
    command.env("VAULT_ADDR", &foreign).env("VAULT_NAMESPACE", "theirs");
    command.env("VAULT_TLS_SERVER_NAME", "theirs.example");
    let output = command.args(["call", "demo", "GET", "/a"]).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let errors = text(&output.stderr);
    for name in ["VAULT_ADDR", &foreign, "VAULT_NAMESPACE", "VAULT_TLS_SERVER_NAME"] {
        assert!(errors.contains(name), "{name}: {errors}");
    }
    assert!(trap.accept().is_err(), "the foreign server must hear nothing");
    let mut command = machine.command();
    command.env("VAULT_ADDR", &foreign);
    let output = command.args(["status", "--offline"]).output().await.unwrap();
    assert!(text(&output.stdout).contains("goes nowhere else"), "{output:?}");
}

#[tokio::test]
async fn the_authority_is_pinned_and_a_changed_copy_or_another_one_isnt_followed() {
    let world = world().await;
    let (upstream, _) = world.service("demo").await;
    let machine = Machine::new();
    let ca = machine.home().join("ca.pem");
    fs::write(&ca, upstream.ca()).unwrap();
    let pinning = [&PLAIN[..], &["--ca-cert", ca.to_str().unwrap()]].concat();
    let output = machine.enroll(&agent(&world).await, &pinning).await;
    assert!(output.status.success(), "{output:?}");
    fs::remove_file(&ca).unwrap();
    let call = ["call", "demo", "GET", "/a"];
    let output = machine.run(&call, "").await;
    assert_eq!(output.status.code(), Some(0), "with its own copy: {output:?}");

    let other = machine.home().join("other.pem");
    fs::write(&other, "not that one").unwrap();
    let output = machine.command().env("VAULT_CACERT", &other).args(call).output().await.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stderr).contains("VAULT_CACERT"), "{output:?}");

    let beside = files(machine.credential().parent().unwrap());
    let copy = beside
        .iter()
        .map(|(path, _)| path)
        .find(|path| path.extension().is_some_and(|e| e == "pem"));
    fs::write(copy.unwrap(), "not that one").unwrap();
    let output = machine.run(&call, "").await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output.stderr).contains("its content was changed"), "{output:?}");
    let status = machine.run(&["status"], "").await;
    assert_eq!(status.status.code(), Some(16), "{status:?}");
    assert!(machine.run(&["forget"], "").await.status.success());
    let rest = files(machine.credential().parent().unwrap());
    assert!(rest.iter().all(|(path, _)| path.ends_with("credential.sealed.lock")), "{rest:?}");
}

#[tokio::test]
async fn a_token_that_somebody_else_had_in_hands_is_refused_with_the_way_to_revoke_it() {
    let world = world().await;
    let root = &world.root;
    let wrap = async |path: &str, body: Value| {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let url = format!("{}/v1/{path}", world.server.address());
        let request = client.post(url).header("X-Vault-Token", root.token());
        let reply = request.header("X-Vault-Wrap-TTL", "300").json(&body).send().await.unwrap();
        let body: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        body["wrap_info"]["token"].as_str().unwrap().to_owned()
    };
    let role = "auth/approle/role/mcp-bridge-build7";
    let unwrapped = async |token: &str| {
        root.with_token(token).write("sys/wrapping/unwrap", json!({})).await.ok()
    };

    let check = async |what: &str, provisioned: &Provisioned, token: &str, expected: &str| {
        let machine = Machine::new();
        let words = provisioned.command();
        let mut words = words.iter().map(String::as_str).collect::<Vec<_>>();
        words.extend(PLAIN);
        let output = machine.run(&words, token).await;
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(22), "{what}: {output:?}");
        assert!(errors.contains(expected), "{what}: {errors}");
        let revoke = format!(
            "vault write {role}/secret-id-accessor/destroy secret_id_accessor={}",
            provisioned.text("secret_id_accessor")
        );
        assert!(errors.contains(&revoke), "{what}: {errors}");
        assert!(!machine.credential().exists(), "{what}");
        assert!(forms::found(&output.stderr, token).is_empty(), "{what}");
    };

    let provisioned = agent(&world).await;
    unwrapped(provisioned.token()).await;
    check("used", &provisioned, provisioned.token(), "was used already").await;
    check("never one", &provisioned, "hvs.nonsense", "not valid").await;

    let provisioned = agent(&world).await;
    let secret = unwrapped(provisioned.token()).await;
    let again = wrap("sys/wrapping/wrap", secret.data().clone()).await;
    check("wrapped again", &provisioned, &again, "somebody has read").await;

    let custom = wrap(&format!("{role}/custom-secret-id"), json!({ "secret_id": "known" })).await;
    check("chosen", &provisioned, &custom, "custom-secret-id").await;
    root.write("auth/approle/role/mcp-bridge-build70", json!({})).await.ok();
    let other = wrap("auth/approle/role/mcp-bridge-build70/secret-id", json!({})).await;
    check("another role's", &provisioned, &other, "mcp-bridge-build70/secret-id, not at").await;
    let swapped = wrap(&format!("{role}/secret-id"), json!({})).await;
    check("another secret_id", &provisioned, &swapped, "accessor differs").await;

    // What was refused by its path wasn't used up.
    let lookup = root.write("sys/wrapping/lookup", json!({ "token": other })).await;
    assert_eq!(lookup.status, 200, "{}", lookup.text);
}

#[tokio::test]
async fn without_a_tpm_nothing_is_spent_and_every_choice_says_what_it_is() {
    let world = world().await;
    let provisioned = agent(&world).await;
    let machine = Machine::new();
    let output = machine.enroll(&provisioned, &[]).await;
    let errors = text(&output.stderr);
    assert_eq!(output.status.code(), Some(10), "{output:?}");
    for choice in ["no-tpm doesn't exist", "--store external", "--store plain-file", "NOT PROT"] {
        assert!(errors.contains(choice), "{choice}: {errors}");
    }
    assert!(!machine.credential().exists());

    let output = machine.enroll(&provisioned, &["--store", "plain-file"]).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stderr).contains("--i-understand"), "{output:?}");

    // Wrong role_id: the secret_id is spent, and named.
    let output = machine.run(&wrong_role(&provisioned), provisioned.token()).await;
    assert_eq!(output.status.code(), Some(21), "{output:?}");
    assert!(text(&output.stderr).contains(provisioned.text("secret_id_accessor")), "{output:?}");
    assert!(!machine.credential().exists());

    // A second enrolment needs to be asked for; a token in a file serves as well as stdin.
    let output = machine.enroll(&agent(&world).await, &PLAIN).await;
    assert!(output.status.success(), "{output:?}");
    let before = fs::read(machine.credential()).unwrap();
    let next = agent(&world).await;
    let output = machine.enroll(&next, &PLAIN).await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(fs::read(machine.credential()).unwrap(), before);
    let file = machine.home().join("token");
    fs::write(&file, next.token()).unwrap();
    let mut words = next.command();
    words.extend(["--force".to_owned(), "--wrapping-token-file".to_owned()]);
    words.push(file.display().to_string());
    words.extend(PLAIN.map(str::to_owned));
    let words = words.iter().map(String::as_str).collect::<Vec<_>>();
    let output = machine.run(&words, "").await;
    assert!(output.status.success(), "{output:?}");
    assert_ne!(fs::read(machine.credential()).unwrap(), before);

    // Others may read it: it isn't used.
    let mut permissions = fs::metadata(machine.credential()).unwrap().permissions();
    std::os::unix::fs::PermissionsExt::set_mode(&mut permissions, 0o644);
    fs::set_permissions(machine.credential(), permissions).unwrap();
    let status = machine.run(&["status", "--offline"], "").await;
    assert_eq!(status.status.code(), Some(16), "{status:?}");
    assert!(text(&status.stdout).contains("chmod go="), "{status:?}");
}

#[tokio::test]
async fn the_first_answer_waits_for_no_tpm_and_a_storm_of_calls_unseals_once() {
    let world = world().await;
    let (upstream, _) = world.service("demo").await;
    let tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let output = machine.enroll(&agent(&world).await, &[]).await;
    assert!(output.status.success(), "{output:?}");

    // The same bridge beside a helper that tells of each start and waits for a word.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("mcp-bridge");
    fs::copy(e2e::programs::bridge(), &program).unwrap();
    let (starts, gate) = (folder.path().join("starts"), folder.path().join("gate"));
    let helper = folder.path().join("mcp-bridge-tpm");
    let real = e2e::programs::bridge().with_file_name("mcp-bridge-tpm");
    let script = format!(
        "#!/bin/sh\necho start >> {}\nread word < {}\nexec {}\n",
        starts.display(),
        gate.display(),
        real.display()
    );
    fs::write(&helper, script).unwrap();
    fs::set_permissions(&helper, std::os::unix::fs::PermissionsExt::from_mode(0o700)).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let started = || fs::read_to_string(&starts).unwrap_or_default().lines().count();

    let mut command = tokio::process::Command::new(&program);
    command.env_clear().env("HOME", machine.home()).env("MCP_BRIDGE_TCTI", tpm.tcti());
    command.kill_on_drop(true);
    let scratch = tempfile::tempdir().unwrap();
    // Gives back what `initialize` answered, while the TPM doesn't.
    let mut agent = e2e::bridge::Bridge::start_as(command, scratch).await;
    e2e::wait::until("the helper to start", async || (started() == 1).then_some(())).await;
    let call = json!({
        "name": "proxy_read", "arguments": { "service": "demo", "path": "/a" },
    });
    let mut calls = Vec::new();
    for _ in 0..20 {
        calls.push(agent.begin("tools/call", call.clone()).await);
    }
    agent.request("ping", json!({})).await;
    assert!(upstream.seen().is_empty());
    let word =
        std::process::Command::new("sh").arg("-c").arg("echo go > \"$0\"").arg(&gate).spawn();
    // They come in any order; each line of the transcript is one answer.
    let good = |line: &str| {
        let answer: Value = serde_json::from_str(line).unwrap();
        let mine = answer["id"].as_u64().is_some_and(|id| calls.contains(&id));
        mine && e2e::bridge::ToolResult::of(&answer["result"]).text.starts_with("200 OK")
    };
    e2e::wait::until("every answer", async || {
        agent.request("ping", json!({})).await;
        let answered = agent.transcript().lines().filter(|line| good(line)).count();
        (answered == calls.len()).then_some(())
    })
    .await;
    assert!(word.unwrap().wait().unwrap().success());
    assert_eq!(started(), 1, "one unsealing for all");
    agent.leave().await;
}

fn wrong_role(provisioned: &Provisioned) -> Vec<&'static str> {
    let mut words = provisioned.command();
    let at = words.iter().position(|word| word == "--role-id").unwrap();
    words[at + 1] = "00000000-0000-0000-0000-000000000000".to_owned();
    words.extend(PLAIN.map(str::to_owned));
    words.into_iter().map(|word| &*word.leak()).collect()
}

#[tokio::test]
async fn a_secret_id_bound_to_another_network_is_refused_before_it_is_kept() {
    let world = world().await;
    let address = world.server.address();
    let far = ["build7", "--services", "demo", "--cidr", "10.1.2.0/24"];
    let machine = Machine::new();
    let output = machine.enroll(&provision(&world, address, &far).await, &PLAIN).await;
    assert_eq!(output.status.code(), Some(21), "{output:?}");
    assert!(text(&output.stderr).contains("CIDR"), "{output:?}");
    assert!(!machine.credential().exists());
    let gone = ["--address", "http://127.0.0.1:9"];
    let near = ["build7", "--cidr", "127.0.0.0/8"];
    let provisioned = provision(&world, address, &near).await;
    let words = provisioned.command();
    let mut words = words.iter().map(String::as_str).collect::<Vec<_>>();
    let at = words.iter().position(|word| *word == "--address").unwrap();
    words[at + 1] = gone[1];
    words.extend(PLAIN);
    let output = machine.run(&words, provisioned.token()).await;
    assert_eq!(output.status.code(), Some(20), "{output:?}");
    let output = machine.enroll(&provisioned, &PLAIN).await;
    assert!(output.status.success(), "the token wasn't used: {output:?}");
}
