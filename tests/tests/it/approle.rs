//! What a role may demand of its credentials: short lives, few uses, other networks, other tokens.

use std::fs;

use e2e::api::Answer;
use e2e::bridge::Bridge;
use e2e::machine::{Machine, Provisioned, enable_approle, operate, provision};
use e2e::stall::{Side, Stall};
use e2e::wait;
use e2e::world::World;
use serde_json::{Value, json};

const ROLE: &str = "auth/approle/role/mcp-bridge-build7";
const PLAIN: [&str; 3] = ["--store", "plain-file", "--i-understand-this-is-not-protected"];

async fn world() -> World {
    let world = World::start().await;
    enable_approle(&world).await;
    world
}

async fn agent(world: &World, address: &str) -> Provisioned {
    provision(world, address, &["build7", "--services", "demo"]).await
}

async fn role(world: &World, fields: Value) -> Answer {
    world.root.write(ROLE, fields).await.ok()
}

async fn enrolled(world: &World) -> Machine {
    let machine = Machine::new();
    let output = machine.enroll(&agent(world, world.server.address()).await, &PLAIN).await;
    assert!(output.status.success(), "{output:?}");
    machine
}

async fn read(agent: &mut Bridge) -> String {
    agent.call("proxy_read", json!({ "service": "demo", "path": "/a" })).await.text
}

/// How many logins the server has seen.
fn logins(world: &World) -> usize {
    let log = fs::read_to_string(world.server.directory().join("audit.log")).unwrap();
    let is_login = |line: &&str| {
        line.contains(r#""type":"request""#) && line.contains(r#""path":"auth/approle/login""#)
    };
    log.lines().filter(is_login).count()
}

#[tokio::test]
async fn an_expired_wrapping_token_is_refused_and_a_failing_vault_spends_none() {
    let world = world().await;
    let stall = Stall::start(world.server.address()).await;
    let machine = Machine::new();
    let provisioned = agent(&world, stall.address()).await;
    let words = provisioned.command();
    let words = words.iter().map(String::as_str).chain(PLAIN).collect::<Vec<_>>();

    // Wrapped for a second, and looked up until that is over.
    let short = wrapped(&world, 1).await;
    wait::until("the token to expire", async || {
        let asked = world.root.write("sys/wrapping/lookup", json!({ "token": short })).await;
        (asked.status >= 400).then_some(())
    })
    .await;
    let output = machine.run(&words, &short).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(22), "{errors}");
    assert!(errors.contains("its minutes have passed"), "{errors}");

    // A failure before the token was used costs nothing.
    for path in ["sys/wrapping/lookup", "sys/wrapping/unwrap"] {
        stall.hold(path, 1, Side::Failure);
        let output = machine.run(&words, provisioned.token()).await;
        assert_eq!(output.status.code(), Some(20), "{path}: {output:?}");
        assert!(!machine.credential().exists());
    }
    // A lost answer may have cost it, and nobody says that it didn't.
    stall.hold("sys/wrapping/unwrap", 1, Side::Loss);
    let output = machine.run(&words, provisioned.token()).await;
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(20), "{errors}");
    assert!(!errors.contains("wasn't used"), "{errors}");
    let accessor = provisioned.text("secret_id_accessor");
    assert!(errors.contains("may have been used") && errors.contains(accessor), "{errors}");
    assert!(!machine.credential().exists());

    // A login that fails once the token is spent is tried again.
    let provisioned = agent(&world, stall.address()).await;
    stall.hold("auth/approle/login", 1, Side::Failure);
    let output = machine.enroll(&provisioned, &PLAIN).await;
    assert!(output.status.success(), "{output:?}");

    // Another server at Vault's address is no sign of somebody who was there.
    let provisioned = agent(&world, world.server.address()).await;
    let wrong = format!("{}/elsewhere", world.server.address());
    let words = provisioned.command();
    let mut words = words.iter().map(String::as_str).collect::<Vec<_>>();
    let at = words.iter().position(|word| *word == "--address").unwrap() + 1;
    words.extend(PLAIN);
    words.push("--force");
    for (address, code, expected) in
        [(&*wrong, 20, "isn't Vault"), ("http://192.0.2.1:8200", 2, "plain http")]
    {
        words[at] = address;
        let output = machine.run(&words, provisioned.token()).await;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{errors}");
        assert!(errors.contains(expected) && !errors.contains("somebody else"), "{errors}");
    }
}

/// A secret_id as the role gives it now, wrapped for so many seconds.
async fn wrapped(world: &World, seconds: u64) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/v1/{ROLE}/secret-id", world.server.address());
    let request = client.post(url).header("X-Vault-Token", world.root.token());
    let reply = request.header("X-Vault-Wrap-TTL", seconds.to_string()).body("{}").send();
    let reply: Value = serde_json::from_str(&reply.await.unwrap().text().await.unwrap()).unwrap();
    reply["wrap_info"]["token"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_end_of_a_secret_id_is_the_one_that_vault_keeps_to() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    enrolled(&world).await;
    // For ever.
    role(&world, json!({ "secret_id_ttl": 0 })).await;
    let machine = enrolled(&world).await;
    assert_eq!(machine.payload()["expires_at"], Value::Null);
    let status = machine.run(&["status", "--offline"], "").await;
    let report = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(report.contains("the secret_id never expires"), "{report}");

    // Longer than the mount allows: Vault shortens it, and goes on naming the longer time.
    role(&world, json!({ "secret_id_ttl": 360_000_000 })).await;
    let machine = enrolled(&world).await;
    let payload = machine.payload();
    let life = payload["expires_at"].as_u64().unwrap() - payload["issued_at"].as_u64().unwrap();
    assert_eq!(life, 32 * 86400);
    let accessor = json!({ "secret_id_accessor": payload["secret_id_accessor"] });
    let lookup = format!("{ROLE}/secret-id-accessor/lookup");
    let lookup = world.root.write(&lookup, accessor).await.ok();
    assert_eq!(lookup.data()["secret_id_ttl"], 360_000_000);
    let times = ["creation_time", "expiration_time"].map(|field| {
        let time = lookup.data()[field].as_str().unwrap().to_owned();
        let date = std::process::Command::new("date").args(["-d", &time, "+%s"]).output();
        String::from_utf8(date.unwrap().stdout).unwrap().trim().parse::<u64>().unwrap()
    });
    assert!((times[1] - times[0]).abs_diff(life) <= 1, "{times:?}");
}

#[tokio::test]
async fn a_secret_id_of_few_uses_is_told_and_one_of_one_use_isnt_kept() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let provisioned = agent(&world, world.server.address()).await;
    let mut words = provisioned.command();
    let accessor = words.iter().position(|word| word == "--accessor").unwrap();
    words.drain(accessor..accessor + 2);
    let words = words.iter().map(String::as_str).chain(PLAIN).collect::<Vec<_>>();
    let enroll = async |uses: u64| {
        role(&world, json!({ "secret_id_num_uses": uses })).await;
        let machine = Machine::new();
        let output = machine.run(&words, &wrapped(&world, 60).await).await;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (machine, output.status.code().unwrap(), errors)
    };
    let (machine, code, errors) = enroll(3).await;
    assert_eq!(code, 0, "{errors}");
    assert!(errors.contains("2 more logins"), "{errors}");
    for code in [0, 0, 3] {
        let output = machine.run(&["call", "demo", "GET", "/a"], "").await;
        assert_eq!(output.status.code(), Some(code), "{output:?}");
    }
    let (machine, code, errors) = enroll(1).await;
    assert_eq!(code, 21, "{errors}");
    assert!(errors.contains("secret_id_num_uses=0"), "{errors}");
    assert!(!machine.credential().exists());
}

#[tokio::test]
async fn short_lived_and_batch_tokens_are_replaced_in_time_and_end_with_the_agent() {
    let world = world().await;
    let (_upstream, _) = world.service("demo").await;
    let machine = enrolled(&world).await;
    let next = async |agent: &mut Bridge, count: usize| {
        let enough = logins(&world) + count;
        wait::until("a new login", async || (logins(&world) >= enough).then_some(())).await;
        let answer = read(agent).await;
        assert!(answer.starts_with("200 OK"), "{answer}: {}", agent.errors());
    };
    // Near its end Vault renews for less than was asked, and doesn't say so.
    role(&world, json!({ "token_ttl": "3s", "token_max_ttl": "4s" })).await;
    let mut agent = machine.serve().await;
    next(&mut agent, 1).await;
    next(&mut agent, 1).await;
    let said = agent.leave().await;
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");

    // What can't be renewed or revoked.
    let batch = json!({ "token_type": "batch", "token_ttl": "2s", "token_max_ttl": "2s" });
    role(&world, batch).await;
    let mut agent = machine.serve().await;
    next(&mut agent, 1).await;
    next(&mut agent, 1).await;
    let root = world.root.token();
    let output = operate(world.server.address(), root, &["deprovision", "build7"]).await;
    assert!(output.status.success(), "{output:?}");
    let answer = read(&mut agent).await;
    assert!(answer.starts_with("login_refused: "), "{answer}");
    agent.leave().await;
}

#[tokio::test]
async fn a_login_from_another_network_is_refused_with_vaults_own_reason() {
    let world = world().await;
    let (upstream, _) = world.service("demo").await;
    let machine = enrolled(&world).await;
    let far = json!({ "secret_id_bound_cidrs": ["10.1.2.0/24"] });
    role(&world, far).await;
    let mut agent = machine.serve().await;
    let answer = read(&mut agent).await;
    assert!(answer.starts_with("login_refused: "), "{answer}");
    let errors = agent.errors();
    assert!(errors.contains("unauthorized by CIDR"), "{errors}");
    assert!(upstream.seen().is_empty());
    let status = machine.run(&["status"], "").await;
    assert_eq!(status.status.code(), Some(21), "{status:?}");
    assert!(String::from_utf8_lossy(&status.stderr).contains("by CIDR"), "{status:?}");
    agent.leave().await;
}
