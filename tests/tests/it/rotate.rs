//! The secret_id's life: replaced, also by two at once and through a crash at any step; forgotten.

use std::fs;
use std::process::Stdio;

use e2e::machine::{Installation, Machine, enable_approle, operate, provision};
use e2e::memory;
use e2e::stall::{Side, Stall};
use e2e::swtpm::Swtpm;
use e2e::world::World;
use serde_json::json;

const ROLE: &str = "auth/approle/role/mcp-bridge-build7";
const PLAIN: [&str; 3] = ["--store", "plain-file", "--i-understand-this-is-not-protected"];

async fn world() -> World {
    let world = World::start().await;
    enable_approle(&world).await;
    world
}

/// A machine that may replace its own secret_id, enrolled at `address`.
async fn machine(world: &World, address: &str) -> Machine {
    let arguments = ["build7", "--services", "demo", "--self-rotate"];
    let provisioned = provision(world, address, &arguments).await;
    let machine = Machine::new();
    let output = machine.enroll(&provisioned, &PLAIN).await;
    assert!(output.status.success(), "{output:?}");
    machine
}

async fn accessors(world: &World) -> usize {
    world.root.list(&format!("{ROLE}/secret-id")).await.keys().len()
}

/// The accessor of one more secret_id of the role.
async fn another(world: &World) -> String {
    let made = world.root.write(&format!("{ROLE}/secret-id"), json!({})).await.ok();
    made.data()["secret_id_accessor"].as_str().unwrap().to_owned()
}

async fn works(machine: &Machine) -> bool {
    let output = machine.run(&["call", "demo", "GET", "/a"], "").await;
    output.status.success()
}

#[tokio::test]
async fn a_live_bridge_and_two_rotations_at_once_lose_nothing() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let machine = machine(&world, world.server.address()).await;
    let mut agent = machine.serve().await;
    let read = json!({ "service": "demo", "path": "/a" });
    assert!(agent.call("proxy_read", read.clone()).await.text.starts_with("200 OK"));

    let before = fs::read(machine.credential()).unwrap();
    let rotate = ["rotate"];
    let (one, two) = tokio::join!(machine.run(&rotate, ""), machine.run(&rotate, ""));
    for output in [&one, &two] {
        assert!(output.status.success(), "{output:?}");
    }
    assert_ne!(fs::read(machine.credential()).unwrap(), before);
    assert!(works(&machine).await);
    // The bridge that runs logs in anew with what the file holds now.
    let tokens = "sys/leases/revoke-prefix/auth/approle/login";
    world.root.write(tokens, json!({})).await.ok();
    assert!(agent.call("proxy_read", read).await.text.starts_with("200 OK"));
    agent.leave().await;
    // The one before is gone at once: this is the cure for one that somebody may have.
    assert_eq!(accessors(&world).await, 1);
    assert!(machine.payload()["previous_accessor"].is_null());
    // Enrolled under a clock that was ahead.
    machine.edit_payload(|payload| {
        let ahead = payload["issued_at"].as_u64().unwrap() + 86_400;
        payload["issued_at"] = ahead.into();
    });
    let before = machine.kept();
    let output = machine.run(&rotate, "").await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("replaced") && said.contains("is destroyed in Vault"), "{said}");
    assert_ne!(machine.kept(), before);
    assert_eq!(accessors(&world).await, 1);

    let output = machine.run(&["forget"], "").await;
    assert!(output.status.success(), "{output:?}");
    assert!(
        String::from_utf8_lossy(&output.stdout).contains("is destroyed in Vault"),
        "{output:?}"
    );
    assert_eq!(accessors(&world).await, 0);
    assert!(!machine.credential().exists());
    let again = machine.run(&["forget", "--credential", "gone"], "").await;
    assert!(again.status.success(), "{again:?}");
}

#[tokio::test]
async fn a_rotation_that_is_killed_at_any_step_leaves_a_credential_that_works() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let stall = Stall::start(world.server.address()).await;
    let machine = machine(&world, stall.address()).await;
    assert!(machine.run(&["rotate"], "").await.status.success());
    let mut held = 0;
    for (path, count) in [
        ("auth/approle/login", 1),
        ("secret-id-accessor/destroy", 1),
        ("mcp-bridge-build7/secret-id", 1),
        ("sys/wrapping/lookup", 1),
        ("sys/wrapping/unwrap", 1),
        ("auth/approle/login", 2),
        ("auth/token/revoke-self", 1),
        ("auth/token/revoke-self", 2),
    ] {
        for side in [Side::Request, Side::Answer] {
            stall.hold(path, count, side);
            let mut command = machine.command();
            let streams = command.arg("rotate").stdout(Stdio::null()).stderr(Stdio::null());
            let mut process = streams.spawn().unwrap();
            held += 1;
            stall.held(held).await;
            process.kill().await.unwrap();
            assert!(works(&machine).await, "killed at {path} ({count}), {side:?}");
            // Nobody's lock and nobody's rest stands in the way of the next one, which goes on.
            let output = machine.run(&["rotate"], "").await;
            assert!(output.status.success(), "after {path} ({count}), {side:?}: {output:?}");
            assert!(works(&machine).await, "after {path} ({count}), {side:?}");
        }
    }
}

#[tokio::test]
async fn a_rotation_that_is_killed_while_it_seals_leaves_a_credential_that_works() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let tpm = Swtpm::start().await;
    let machine = Machine::with_tpm(&tpm);
    let arguments = ["build7", "--services", "demo", "--self-rotate"];
    let provisioned = provision(&world, world.server.address(), &arguments).await;
    assert!(machine.enroll(&provisioned, &[]).await.status.success());
    // The old one is unsealed, the new one sealed, and unsealed to be compared; then the same
    // without the one before.
    for step in 1..=5 {
        let gate = Gate::at(step);
        let mut command = machine.command_of(&gate.0);
        let streams = command.arg("rotate").stdout(Stdio::null()).stderr(Stdio::null());
        let mut process = streams.spawn().unwrap();
        e2e::wait::until("the step", async || (gate.starts() == step).then_some(())).await;
        process.kill().await.unwrap();
        gate.open();
        assert!(works(&machine).await, "killed at step {step}");
        let output = machine.run(&["rotate"], "").await;
        assert!(output.status.success(), "after step {step}: {output:?}");
        assert!(works(&machine).await, "after step {step}");
    }
    assert!(machine.run(&["forget"], "").await.status.success());
}

/// A helper that waits, from its n-th start on, until the gate is opened.
struct Gate(Installation);

impl Gate {
    fn at(start: usize) -> Self {
        let gate = Self(Installation::with_helper(&format!(
            "echo start >> $HERE/starts\n\
             if [ $(wc -l < $HERE/starts) -ge {start} ]; then read word < $HERE/gate; fi\n\
             exec $HELPER"
        )));
        let fifo = gate.0.folder().join("gate");
        assert!(std::process::Command::new("mkfifo").arg(fifo).status().unwrap().success());
        gate
    }

    fn starts(&self) -> usize {
        let starts = fs::read_to_string(self.0.folder().join("starts"));
        starts.unwrap_or_default().lines().count()
    }

    /// Lets the helper go on that waits: it ends by itself then.
    fn open(&self) {
        fs::write(self.0.folder().join("gate"), "go\n").unwrap();
    }
}

#[tokio::test]
async fn a_live_bridge_replaces_its_secret_id_in_time() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let address = world.server.address();
    let arguments = ["build7", "--services", "demo", "--self-rotate", "--ttl", "60s"];
    let provisioned = provision(&world, address, &arguments).await;
    let machine = Machine::new();
    assert!(machine.enroll(&provisioned, &PLAIN).await.status.success());
    // Two thirds of its life are over: as it would be after a month, but for the clock.
    machine.age(45);
    let before = machine.kept();
    let old = machine.payload()["secret_id"].as_str().unwrap().to_owned();
    let mut agents = [machine.serve().await, machine.serve().await];
    e2e::wait::until("a new credential", async || (machine.kept() != before).then_some(())).await;
    assert!(works(&machine).await);
    let new = machine.payload()["secret_id"].as_str().unwrap().to_owned();
    for agent in &mut agents {
        let read = json!({ "service": "demo", "path": "/a" });
        assert!(agent.call("proxy_read", read).await.text.starts_with("200 OK"));
        // Who made the new one has seen it in an answer of Vault's.
        for secret_id in [&old, &new] {
            let secret_id = secret_id.as_bytes();
            for part in [secret_id, &secret_id[..18], &secret_id[18..]] {
                e2e::wait::until("the secret_ids to be gone from memory", async || {
                    (memory::copies(&memory::of(agent.pid()), part) == 0).then_some(())
                })
                .await;
            }
        }
    }
    for agent in agents {
        agent.leave().await;
    }
    // The first, and the second in its place: nobody made a third.
    assert_eq!(accessors(&world).await, 2);
}

#[tokio::test]
async fn a_machine_without_the_right_is_told_whom_to_ask() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let address = world.server.address();
    let provisioned = provision(&world, address, &["build7", "--services", "demo"]).await;
    let machine = Machine::new();
    assert!(machine.enroll(&provisioned, &PLAIN).await.status.success());
    let output = machine.run(&["rotate"], "").await;
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        errors.contains("mcp-bridge provision") && errors.contains("enroll --force"),
        "{errors}"
    );

    // The machine believes that it may, but the policy says no.
    let next = provision(&world, address, &["build7"]).await;
    let output = machine.enroll(&next, &[&PLAIN[..], &["--self-rotate", "--force"]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    let before = fs::read(machine.credential()).unwrap();
    let output = machine.run(&["rotate"], "").await;
    assert_eq!(output.status.code(), Some(21), "{output:?}");
    assert_eq!(fs::read(machine.credential()).unwrap(), before);
    assert!(works(&machine).await);

    // Forgetting tells what lives on, by the name with which an operator ends it.
    let output = machine.run(&["forget"], "").await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains(next.text("secret_id_accessor")), "{said}");
    assert!(!machine.credential().exists());
    let output = operate(address, world.root.token(), &["deprovision", "build7"]).await;
    assert!(output.status.success(), "{output:?}");
}

#[tokio::test]
async fn a_rotation_that_vault_fails_changes_nothing() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let stall = Stall::start(world.server.address()).await;
    let machine = machine(&world, stall.address()).await;
    let before = machine.kept();
    let fails = async |why: &str| {
        let output = machine.run(&["rotate"], "").await;
        assert_eq!(output.status.code(), Some(20), "{why}: {output:?}");
    };
    for (path, count) in [
        ("auth/approle/login", 1),
        ("mcp-bridge-build7/secret-id", 1),
        ("sys/wrapping/lookup", 1),
        ("sys/wrapping/unwrap", 1),
        ("auth/approle/login", 2),
    ] {
        for side in [Side::Failure, Side::Loss] {
            stall.hold(path, count, side);
            fails(&format!("{path} ({count}), {side:?}")).await;
            assert_eq!(machine.kept(), before);
        }
    }
    world.server.seal().await;
    fails("sealed").await;
    world.server.unseal().await;
    assert_eq!(machine.kept(), before);
    e2e::wait::until("the engine to serve", async || works(&machine).await.then_some(())).await;

    machine.edit_payload(|payload| payload["vault"]["address"] = json!("http://127.0.0.1:9"));
    let before = machine.kept();
    fails("down").await;
    assert_eq!(machine.kept(), before);
}

#[tokio::test]
async fn the_secret_id_before_is_destroyed_once_nobody_can_be_about_to_use_it() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let machine = machine(&world, world.server.address()).await;
    let before = another(&world).await;
    machine.edit_payload(|payload| payload["previous_accessor"] = json!(before));
    assert_eq!(accessors(&world).await, 2);
    let status = machine.run(&["status", "--offline"], "").await;
    assert!(String::from_utf8_lossy(&status.stdout).contains(&before), "{status:?}");
    // Five minutes have passed, but for the clock.
    machine.age(400);
    let agent = machine.serve().await;
    e2e::wait::until("the end of the old one", async || {
        (accessors(&world).await == 1 && machine.payload()["previous_accessor"].is_null())
            .then_some(())
    })
    .await;
    agent.leave().await;
    assert!(works(&machine).await);

    // Whoever destroys it first: a rotation takes "not there" for done.
    let gone = another(&world).await;
    machine.edit_payload(|payload| payload["previous_accessor"] = json!(gone));
    let old = json!({ "secret_id_accessor": gone });
    let destroy = format!("{ROLE}/secret-id-accessor/destroy");
    world.root.write(&destroy, old.clone()).await.ok();
    let again = world.root.write(&destroy, old).await;
    assert!(again.status >= 400, "{}", again.text);
    let output = machine.run(&["rotate"], "").await;
    assert!(output.status.success(), "{output:?}");
    assert!(works(&machine).await);
}

#[tokio::test]
async fn what_may_not_be_destroyed_is_named_and_keeps_nothing_from_being_replaced() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let machine = machine(&world, world.server.address()).await;
    // It may issue and no more.
    let policy = "sys/policies/acl/mcp-bridge-build7";
    let rules = world.root.read(policy).await.ok();
    let rules = rules.data()["policy"].as_str().unwrap().replace("-accessor/destroy", "-none");
    world.root.write(policy, json!({ "policy": rules })).await.ok();
    let first = machine.payload()["secret_id_accessor"].as_str().unwrap().to_owned();

    let named = |said: &str, accessor: &str| {
        let command =
            format!("vault write {ROLE}/secret-id-accessor/destroy secret_id_accessor={accessor}");
        assert!(said.contains(&command), "{accessor}: {said}");
    };
    let mut known = vec![first];
    for _ in 0..2 {
        let output = machine.run(&["rotate"], "").await;
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.contains("STILL VALID") && !said.contains("is destroyed"), "{said}");
        for accessor in known.iter().rev().take(2) {
            named(&said, accessor);
        }
        known.push(machine.payload()["secret_id_accessor"].as_str().unwrap().to_owned());
    }
    assert_eq!(machine.payload()["previous_accessor"], known[1]);
    // A bridge replaces it in time all the same, and tidies up no more often than it must.
    machine.age(25 * 86400);
    let before = machine.kept();
    let agent = machine.serve().await;
    e2e::wait::until("a new credential", async || (machine.kept() != before).then_some(())).await;
    agent.leave().await;

    // What replaces it, and what deletes it, names both.
    let both = ["previous_accessor", "secret_id_accessor"]
        .map(|field| machine.payload()[field].as_str().unwrap().to_owned());
    let copy = machine.copied();
    let next = provision(&world, world.server.address(), &["build7", "--services", "demo"]).await;
    let output = copy.enroll(&next, &[&PLAIN[..], &["--force"]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    let replaced = String::from_utf8_lossy(&output.stdout).into_owned();
    let fresh = machine.credential().with_extension("sealed.new");
    fs::copy(machine.credential(), &fresh).unwrap();
    let output = machine.run(&["forget"], "").await;
    let forgotten = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(!machine.credential().exists() && !fresh.exists(), "{forgotten}");
    assert!(forgotten.contains("stop them") && !forgotten.contains("as it was"), "{forgotten}");
    for accessor in both {
        named(&replaced, &accessor);
        named(&forgotten, &accessor);
    }
}
