//! The operator's side: an agent is given what it needs, once, and loses it at once.

use std::fs;

use e2e::bridge::Bridge;
use e2e::forms;
use e2e::machine::{Machine, enable_approle, operate, provision, steps};
use e2e::world::World;
use serde_json::{Value, json};

const PLAIN: [&str; 3] = ["--store", "plain-file", "--i-understand-this-is-not-protected"];

async fn read(agent: &mut Bridge) -> String {
    agent.call("proxy_read", json!({ "service": "demo", "path": "/a" })).await.text
}

#[tokio::test]
async fn provisioning_twice_changes_nothing_and_the_role_is_as_it_should_be() {
    let world = World::start().await;
    enable_approle(&world).await;
    let address = world.server.address();
    let arguments = ["build7", "--services", "demo,other", "--cidr", "127.0.0.1/32,10.0.0.0/8"];
    let first = provision(&world, address, &arguments).await;
    let made = first.steps();
    assert!(made[0].starts_with("created policy mcp-bridge-build7: GET, HEAD on demo, other"));
    assert!(made[1].starts_with("created role mcp-bridge-build7"), "{made:?}");
    assert_eq!(made[2], "created entity build7");
    assert_eq!(made[3], "created the role's alias in the entity");
    assert!(made[4].starts_with("issued a secret_id"), "{made:?}");

    let second = provision(&world, address, &arguments).await;
    let again = second.steps();
    assert!(again[..4].iter().all(|step| step.starts_with("unchanged ")), "{again:?}");
    assert_ne!(first.token(), second.token());
    assert_eq!(first.text("role_id"), second.text("role_id"));
    let bare = provision(&world, address, &["build7", "--no-secret-id"]).await;
    assert!(bare.steps().iter().all(|step| step.starts_with("unchanged ")), "{bare:?}");
    assert!(bare.0["wrapping_token"].is_null());

    let role = world.root.read("auth/approle/role/mcp-bridge-build7").await.ok();
    for (field, value) in [
        ("secret_id_ttl", json!(720 * 3600)),
        ("secret_id_num_uses", json!(0)),
        ("token_type", json!("service")),
        ("token_ttl", json!(900)),
        ("token_max_ttl", json!(4 * 3600)),
        ("token_num_uses", json!(0)),
        ("token_policies", json!(["mcp-bridge-build7"])),
        ("token_bound_cidrs", json!(["127.0.0.1", "10.0.0.0/8"])),
    ] {
        assert_eq!(role.data()[field], value, "{field}");
    }
    let entity = world.root.read("identity/entity/name/build7").await.ok();
    assert_eq!(entity.data()["aliases"][0]["name"], first.text("role_id"));

    // The policy is the text that `policy` prints.
    let printed = operate(address, "", &["policy", "demo", "other"]).await;
    let policy = world.root.read("sys/policies/acl/mcp-bridge-build7").await.ok();
    assert_eq!(policy.data()["policy"].as_str().unwrap().as_bytes(), printed.stdout);

    // What differs is changed, what isn't said stays.
    let wider = provision(&world, address, &["build7", "--services", "demo", "--methods", "any"]);
    let wider = wider.await.steps();
    assert!(wider[0].starts_with("changed policy mcp-bridge-build7: any method on demo"));
    assert!(wider[1].starts_with("unchanged role"), "{wider:?}");
    let shorter = provision(&world, address, &["build7", "--ttl", "10d"]).await.steps();
    assert!(shorter[1].starts_with("changed role"), "{shorter:?}");

    // For people: each line, the command, the token apart from it.
    let output = operate(address, world.root.token(), &["provision", "build7"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("\n  as it was  entity build7\n"), "{text}");
    let command = text.lines().find(|line| line.contains("mcp-bridge enroll")).unwrap();
    let token = text.lines().find_map(|line| line.strip_prefix("wrapping token: ")).unwrap();
    assert!(!command.contains(token) && command.contains("--role mcp-bridge-build7"), "{text}");
}

#[tokio::test]
async fn a_deprovisioned_agent_is_cut_off_within_one_call_and_another_is_not() {
    let world = World::start().await;
    enable_approle(&world).await;
    let (upstream, _) = world.service("demo").await;
    let address = world.server.address();
    let (one, two) = (Machine::new(), Machine::new());
    for (machine, name) in [(&one, "one"), (&two, "two")] {
        let provisioned = provision(&world, address, &[name, "--services", "demo"]).await;
        let output = machine.enroll(&provisioned, &PLAIN).await;
        assert!(output.status.success(), "{output:?}");
    }
    let (mut first, mut second) = (one.serve().await, two.serve().await);
    assert!(read(&mut first).await.starts_with("200 OK"));
    assert!(read(&mut second).await.starts_with("200 OK"));
    assert_eq!(upstream.seen().len(), 2);

    let root = world.root.token();
    let output = operate(address, root, &["deprovision", "one", "--json"]).await;
    assert!(output.status.success(), "{output:?}");
    let done = steps(&serde_json::from_slice(&output.stdout).unwrap());
    assert!(done[0].starts_with("disabled entity one"), "{done:?}");
    assert_eq!(done[1], "removed role mcp-bridge-one, and with it 1 secret_ids");
    assert_eq!(done[2], "removed policy mcp-bridge-one");
    let refused = read(&mut first).await;
    assert!(refused.starts_with("login_refused: "), "{refused}");
    assert_eq!(upstream.seen().len(), 2, "nothing was sent for it");
    assert!(read(&mut second).await.starts_with("200 OK"));

    // Once more is no error, and says that there is nothing left.
    let output = operate(address, root, &["deprovision", "one", "--json"]).await;
    let done = steps(&serde_json::from_slice(&output.stdout).unwrap());
    assert!(done[0].starts_with("unchanged ") && done[1].starts_with("absent "), "{done:?}");

    // Provisioned anew it is another agent: the old credential stays dead.
    provision(&world, address, &["one", "--services", "demo"]).await;
    assert!(read(&mut first).await.starts_with("login_refused: "));
    let call = one.run(&["call", "demo", "GET", "/a"], "").await;
    assert_eq!(call.status.code(), Some(3), "{call:?}");

    // Taken back: the same identity, and the bridge that runs finds the new credential by itself.
    let identity = async || {
        let entity = world.root.read("identity/entity/name/two").await.ok();
        entity.data()["id"].clone()
    };
    let before = identity().await;
    operate(address, root, &["deprovision", "two"]).await;
    assert!(read(&mut second).await.starts_with("login_refused: "));
    let output = operate(address, root, &["deprovision", "two", "--undo"]).await;
    assert!(output.status.success(), "{output:?}");
    let provisioned = provision(&world, address, &["two", "--services", "demo"]).await;
    assert_eq!(identity().await, before);
    let output = two.enroll(&provisioned, &[&PLAIN[..], &["--force"]].concat()).await;
    assert!(output.status.success(), "{output:?}");
    let answer = read(&mut second).await;
    assert!(answer.starts_with("200 OK"), "{answer}");
    first.leave().await;
    second.leave().await;
}

#[tokio::test]
async fn a_token_of_before_stays_dead_after_provisioning_anew_and_lives_after_an_undo() {
    let world = World::start().await;
    enable_approle(&world).await;
    let (_upstream, _) = world.service("demo").await;
    let (address, root) = (world.server.address(), world.root.token());
    let token = async |name: &str| {
        provision(&world, address, &[name, "--services", "demo"]).await;
        let role = format!("auth/approle/role/mcp-bridge-{name}");
        let role_id = world.root.read(&format!("{role}/role-id")).await.ok();
        let secret = world.root.write(&format!("{role}/secret-id"), json!({})).await.ok();
        let login = json!({
            "role_id": role_id.data()["role_id"], "secret_id": secret.data()["secret_id"],
        });
        let login = world.root.write("auth/approle/login", login).await.ok();
        let entity = world.root.read(&format!("identity/entity/name/{name}")).await.ok();
        assert_eq!(login.body["auth"]["entity_id"], entity.data()["id"]);
        world.root.with_token(login.body["auth"]["client_token"].as_str().unwrap())
    };
    let lives = async |api: &e2e::api::Api| api.read("auth/token/lookup-self").await.status == 200;

    let old = token("again").await;
    assert!(lives(&old).await);
    operate(address, root, &["deprovision", "again"]).await;
    assert!(!lives(&old).await);
    let steps = provision(&world, address, &["again", "--services", "demo"]).await.steps();
    assert!(steps.iter().any(|step| step == "removed the disabled entity again"), "{steps:?}");
    assert!(!lives(&old).await, "a token of before must stay dead");

    let undone = token("undone").await;
    operate(address, root, &["deprovision", "undone"]).await;
    assert!(!lives(&undone).await);
    let output = operate(address, root, &["deprovision", "undone", "--undo"]).await;
    assert!(output.status.success(), "{output:?}");
    assert!(lives(&undone).await);
    let output = operate(address, root, &["deprovision", "nobody", "--undo"]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
}

#[tokio::test]
async fn what_isnt_ours_is_left_alone_and_refusals_say_what_was_refused() {
    let world = World::start().await;
    let (address, root) = (world.server.address(), world.root.token());
    let check = async |token: &str, arguments: &[&str], code: i32, expected: &str| {
        let output = operate(address, token, arguments).await;
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        assert!(errors.contains(expected), "{arguments:?}: {errors}");
    };
    let build = ["provision", "build7", "--services", "demo"];
    check(root, &build, 3, "vault auth enable -path=approle approle").await;
    enable_approle(&world).await;
    check(root, &["provision", "build7"], 2, "--services").await;
    check(root, &["provision", "Build 7", "--services", "demo"], 2, "isn't an agent's name").await;
    check(root, &["provision", "a", "--services", "demo", "--ttl", "1w"], 2, "isn't a time").await;
    check("", &build, 2, "VAULT_TOKEN").await;
    check("no-such-token", &build, 3, "your token may not").await;

    // Somebody's entity: an alias in it would give the agent that person's rights.
    let alice = json!({ "name": "alice", "policies": ["admin"] });
    world.root.write("identity/entity", alice).await.ok();
    check(root, &["provision", "alice", "--services", "demo"], 3, "wasn't made by mcp-bridge")
        .await;
    check(root, &["deprovision", "alice"], 3, "it wasn't disabled").await;
    check(root, &["deprovision", "alice", "--undo"], 3, "nothing can be undone").await;
    let entity = world.root.read("identity/entity/name/alice").await.ok();
    assert_eq!(entity.data()["disabled"], false);
    assert_eq!(world.root.read("sys/policies/acl/mcp-bridge-alice").await.status, 404);

    let gone = ["--address", "http://127.0.0.1:9", "provision", "a", "--services", "demo"];
    check(root, &gone, 20, "Vault doesn't answer").await;
}

#[tokio::test]
async fn what_cant_be_disabled_loses_its_rights_and_what_is_disabled_isnt_brought_back_unasked() {
    let world = World::start().await;
    enable_approle(&world).await;
    let (address, root) = (world.server.address(), world.root.token());
    let role = "auth/approle/role/mcp-bridge-build7";
    let policy = "sys/policies/acl/mcp-bridge-build7";
    let build = ["build7", "--services", "demo"];
    provision(&world, address, &build).await;

    // Cut off by somebody else: neither role nor secret_ids serve anew without being asked for.
    let entity = "identity/entity/name/build7";
    world.root.write(entity, json!({ "disabled": true })).await.ok();
    let output = operate(address, root, &["provision", "build7", "--services", "demo"]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("deprovision build7 --undo"), "{errors}");
    let state = world.root.read(entity).await.ok();
    assert_eq!(state.data()["disabled"], true);

    // Somebody wrote over the mark in the entity: it isn't touched, everything else goes.
    let overwritten = json!({ "disabled": false, "metadata": { "team": "a" } });
    world.root.write(entity, overwritten).await.ok();
    let output = operate(address, root, &["deprovision", "build7", "--json"]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let done = steps(&serde_json::from_slice(&output.stdout).unwrap());
    assert_eq!(done[0], "failed entity build7");
    assert_eq!(done[1], "removed role mcp-bridge-build7, and with it 1 secret_ids");
    for path in [role, policy] {
        assert_eq!(world.root.read(path).await.status, 404, "{path}");
    }

    // A token that may remove, and read nothing.
    world.root.write(entity, json!({ "metadata": { "managed_by": "mcp-bridge" } })).await.ok();
    provision(&world, address, &build).await;
    let rules = format!(
        "path \"{role}\" {{ capabilities = [\"delete\"] }}\n\
         path \"{policy}\" {{ capabilities = [\"delete\"] }}"
    );
    let blind = world.client(&rules).await;
    let output = operate(address, blind.token(), &["deprovision", "build7"]).await;
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(errors.contains("read the entity build7"), "{errors}");
    for path in [role, policy] {
        assert_eq!(world.root.read(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn the_right_to_rotate_comes_when_asked_for_and_goes_aloud() {
    let world = World::start().await;
    enable_approle(&world).await;
    let address = world.server.address();
    for (more, said, rotates) in [
        (&["--services", "demo"][..], "created policy mcp-bridge-build7: GET, HEAD on demo", false),
        (&["--self-rotate"], "changed policy mcp-bridge-build7; it may replace", true),
        (&[], "unchanged policy mcp-bridge-build7; it may replace", true),
        (
            &["--services", "demo"],
            "changed policy mcp-bridge-build7: GET, HEAD on demo; it LOSES",
            false,
        ),
    ] {
        let arguments = [&["build7"][..], more].concat();
        let provisioned = provision(&world, address, &arguments).await;
        let steps = provisioned.steps();
        assert!(steps[0].starts_with(said), "{arguments:?}: {steps:?}");
        let printed = provisioned.command().iter().any(|word| word == "--self-rotate");
        assert_eq!(printed, rotates, "{arguments:?}");
        let policy = world.root.read("sys/policies/acl/mcp-bridge-build7").await.ok();
        let policy = policy.data()["policy"].as_str().unwrap().to_owned();
        assert_eq!(policy.contains("secret-id-accessor/destroy"), rotates, "{policy}");
        assert!(policy.contains("proxy/demo/GET"), "{policy}");
    }
}

#[tokio::test]
async fn the_provisioners_policy_is_enough_and_reaches_nobody_elses_roles() {
    let world = World::start().await;
    enable_approle(&world).await;
    let (_upstream, _) = world.service("demo").await;
    let rules = fs::read_to_string(e2e::programs::root().join("hcl/provisioner.hcl")).unwrap();
    let operator = world.client(&rules).await;
    let (address, token) = (world.server.address(), operator.token());
    let arguments = ["provision", "--json", "build7", "--services", "demo"];
    for _ in 0..2 {
        let output = operate(address, token, &arguments).await;
        assert!(output.status.success(), "{output:?}");
    }
    let output = operate(address, token, &arguments).await;
    let provisioned = e2e::machine::Provisioned(serde_json::from_slice(&output.stdout).unwrap());
    let machine = Machine::new();
    assert!(machine.enroll(&provisioned, &PLAIN).await.status.success());
    assert_eq!(machine.run(&["call", "demo", "GET", "/a"], "").await.status.code(), Some(0));
    // Nobody else's role or policy, no call, and no policy for an entity.
    let entity = json!({ "name": "x", "policies": ["root"] });
    assert_eq!(operator.write("identity/entity", entity.clone()).await.status, 403);
    assert_eq!(operator.write("identity/entity/name/build7", entity).await.status, 403);
    assert_eq!(operator.write("auth/approle/role/other", json!({})).await.status, 403);
    assert_eq!(operator.write("sys/policies/acl/other", json!({})).await.status, 403);
    assert_eq!(operator.write("mcp-proxy/proxy/demo/GET", json!({})).await.status, 403);

    for arguments in [&["deprovision", "build7"][..], &["deprovision", "build7", "--undo"]] {
        let output = operate(address, token, arguments).await;
        assert!(output.status.success(), "{output:?}");
    }
    operate(address, token, &["deprovision", "build7"]).await;
    let output = operate(address, token, &arguments).await;
    assert!(output.status.success(), "in the place of a disabled one: {output:?}");
}

#[tokio::test]
async fn a_file_names_many_agents_and_each_can_enroll() {
    let world = World::start().await;
    enable_approle(&world).await;
    let (_upstream, _) = world.service("demo").await;
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("agents.toml");
    let text =
        "[agents.a]\nservices = [\"demo\"]\n[agents.b]\nservices = [\"demo\"]\nttl = \"5d\"\n";
    fs::write(&file, text).unwrap();
    let arguments = ["provision", "--json", "--from", file.to_str().unwrap()];
    let output = operate(world.server.address(), world.root.token(), &arguments).await;
    assert!(output.status.success(), "{output:?}");
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(all.len(), 2);
    for provisioned in all.into_iter().map(e2e::machine::Provisioned) {
        let machine = Machine::new();
        let output = machine.enroll(&provisioned, &PLAIN).await;
        assert!(output.status.success(), "{output:?}");
        let call = machine.run(&["call", "demo", "GET", "/a"], "").await;
        assert_eq!(call.status.code(), Some(0), "{call:?}");
        // The wrapping token was used up and stands nowhere.
        for (path, bytes) in e2e::machine::files(machine.home()) {
            let found = forms::found(&bytes, provisioned.token());
            assert!(found.is_empty(), "{}: {found:?}", path.display());
        }
        let status = machine.run(&["status", "--offline"], "").await;
        let text = String::from_utf8(status.stdout).unwrap();
        assert!(text.contains("NOT PROTECTED"), "{text}");
        let soon = text.contains("warn  credential     the secret_id expires in ");
        assert_eq!(soon, provisioned.text("agent") == "b", "{text}");
    }
}
