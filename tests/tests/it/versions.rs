//! Versions of credentials, as an operator handles them: through the server's command line, and
//! with policies that tell entering, going back and destroying apart.

use e2e::api::Api;
use e2e::cli;
use e2e::upstream::Upstream;
use e2e::world::{World, binding, definition};
use serde_json::{Value, json};

#[tokio::test]
async fn versions_roll_back_and_are_destroyed_through_the_command_line() {
    let world = World::start().await;
    let (upstream, credential) = shared(&world).await;
    let secrets = [credential, world.secret(), world.secret()];
    for secret in &secrets[1..] {
        bao(&world.root, "write mcp-proxy/credentials/shared token=-")(secret).await.unwrap();
        assert_eq!(sent(&world, &upstream).await, format!("Bearer {secret}"));
    }
    let listed = read(&world.root, "mcp-proxy/credentials/shared/versions").await;
    assert_eq!(listed["current_version"], 3, "{listed}");
    let versions = listed["versions"].as_object().unwrap();
    assert_eq!(versions.keys().collect::<Vec<_>>(), ["1", "2", "3"], "{listed}");
    for version in versions.values() {
        assert_eq!(version["destroyed"], false, "{listed}");
        assert!(version["created_time"].as_str().unwrap().ends_with('Z'), "{listed}");
        assert!(!version["created_by"].as_str().unwrap().is_empty(), "{listed}");
    }

    // Back to the first: a new version, with its material and its binding.
    run(&world.root, "write -f mcp-proxy/credentials/shared/rollback version=1").await.unwrap();
    assert_eq!(sent(&world, &upstream).await, format!("Bearer {}", secrets[0]));
    let listed = read(&world.root, "mcp-proxy/credentials/shared/versions").await;
    assert_eq!(listed["current_version"], 4, "{listed}");
    assert!(listed["versions"]["4"]["source"].as_str().unwrap().contains('1'), "{listed}");

    // Destroyed: listed as such, never to come back; the one in use can't be.
    run(&world.root, "write mcp-proxy/credentials/shared/destroy versions=1,2").await.unwrap();
    let listed = read(&world.root, "mcp-proxy/credentials/shared").await;
    for (version, destroyed) in [("1", true), ("2", true), ("3", false), ("4", false)] {
        assert_eq!(listed["versions"][version]["destroyed"], destroyed, "{version}: {listed}");
    }
    for command in [
        "write mcp-proxy/credentials/shared/rollback version=2",
        "write mcp-proxy/credentials/shared/rollback version=9",
        "write -f mcp-proxy/credentials/shared/rollback",
        "write mcp-proxy/credentials/shared/destroy versions=4",
        "write mcp-proxy/credentials/shared/destroy versions=3,99",
        "write mcp-proxy/credentials/shared/destroy versions=x",
        "write mcp-proxy/credentials/nobody/destroy versions=1",
    ] {
        let refused = run(&world.root, command).await.unwrap_err();
        assert!(
            refused.contains("Code: 400") && refused.contains("invalid_request: "),
            "{refused}"
        );
    }
    let after = read(&world.root, "mcp-proxy/credentials/shared").await;
    assert_eq!(after["versions"], listed["versions"], "a refused command changed nothing");
    assert_eq!(sent(&world, &upstream).await, format!("Bearer {}", secrets[0]));
}

#[tokio::test]
async fn cas_required_is_for_every_write_with_kvs_words() {
    let world = World::start().await;
    let (upstream, first) = shared(&world).await;
    run(&world.root, "write mcp-proxy/config cas_required=true").await.unwrap();
    let second = world.secret();
    for (words, input) in [
        ("write mcp-proxy/credentials/shared token=-", &second),
        ("write mcp-proxy/credentials/shared cas=0 token=-", &second),
        ("write mcp-proxy/credentials/shared cas=7 token=-", &second),
        ("write mcp-proxy/services/demo description=x", &second),
        ("write mcp-proxy/services/demo description=x cas=9", &second),
        ("write mcp-proxy/credentials/shared/rollback version=1", &second),
        ("write mcp-proxy/credentials/shared/rollback version=1 cas=7", &second),
        ("write mcp-proxy/credentials/shared/destroy versions=1", &second),
        ("write mcp-proxy/credentials/shared/destroy versions=1 cas=7", &second),
    ] {
        let refused = bao(&world.root, words)(input).await.unwrap_err();
        let words_of_kv = if words.contains("cas=") {
            "did not match the current version"
        } else {
            "check-and-set parameter required for this call"
        };
        assert!(refused.contains("check_and_set_failed: "), "{words}: {refused}");
        assert!(refused.contains(words_of_kv), "{words}: {refused}");
    }
    assert_eq!(sent(&world, &upstream).await, format!("Bearer {first}"));
    let write = bao(&world.root, "write mcp-proxy/credentials/shared cas=1 token=-");
    write(&second).await.unwrap();
    run(&world.root, "write mcp-proxy/services/demo description=x cas=1").await.unwrap();
    assert_eq!(sent(&world, &upstream).await, format!("Bearer {second}"));

    // Of two who write on the same version, one wins.
    let write = |token: String| {
        let api = world.root.clone();
        let body = json!({ "token": token, "cas": 2 });
        async move { api.write("mcp-proxy/credentials/shared", body).await }
    };
    let (one, other) = (world.secret(), world.secret());
    let (a, b) = tokio::join!(write(one.clone()), write(other.clone()));
    let winner = if a.status == 200 { (&one, b) } else { (&other, a) };
    winner.1.refused(400, "check_and_set_failed");
    assert_eq!(sent(&world, &upstream).await, format!("Bearer {}", winner.0));

    run(&world.root, "write mcp-proxy/credentials/shared/rollback version=1 cas=3").await.unwrap();
    assert_eq!(sent(&world, &upstream).await, format!("Bearer {first}"));
    let body = json!({ "versions": [2], "options": { "cas": 4 } });
    world.root.write("mcp-proxy/credentials/shared/destroy", body).await.ok();
    let listed = read(&world.root, "mcp-proxy/credentials/shared").await;
    assert_eq!(listed["versions"]["2"]["destroyed"], true, "{listed}");
}

#[tokio::test]
async fn policies_tell_entering_going_back_and_destroying_apart() {
    let world = World::start().await;
    let (upstream, _) = shared(&world).await;
    let second = world.secret();
    let path = "mcp-proxy/credentials/shared";
    world.root.write(path, json!({ "token": second })).await.ok();
    let one = |suffix: &str, capability: &str| {
        format!("path \"mcp-proxy/credentials/+{suffix}\" {{ capabilities = [\"{capability}\"] }}")
    };
    let commands = [
        ("write mcp-proxy/credentials/shared token=-", one("", "update")),
        ("read mcp-proxy/credentials/shared", one("", "read")),
        ("read mcp-proxy/credentials/shared/versions", one("/versions", "read")),
        ("write mcp-proxy/credentials/shared/rollback version=2", one("/rollback", "update")),
        ("write mcp-proxy/credentials/shared/destroy versions=1", one("/destroy", "update")),
    ];
    // Each policy alone opens its own command and no other.
    for (granted, policy) in &commands {
        let client = world.client(policy).await;
        for (command, _) in &commands {
            let outcome = bao(&client, command)(&second).await;
            match outcome {
                Ok(_) => assert_eq!(command, granted),
                Err(errors) => {
                    assert_ne!(command, granted, "{errors}");
                    assert!(errors.contains("Code: 403"), "{command} with {policy}: {errors}");
                }
            }
        }
    }
    assert_eq!(sent(&world, &upstream).await, format!("Bearer {second}"));
}

/// A shared credential named `shared`, and the service `demo` that uses it.
async fn shared(world: &World) -> (Upstream, String) {
    let upstream = Upstream::start().await;
    let secret = world.secret();
    let mut credential = binding(&upstream);
    credential["auth"] = json!("bearer");
    credential["token"] = json!(secret);
    world.root.write("mcp-proxy/credentials/shared", credential).await.ok();
    let mut service = definition(&upstream);
    service["auth"] = json!("bearer");
    service["credential"] = json!("shared");
    world.root.write("mcp-proxy/services/demo", service).await.ok();
    (upstream, secret)
}

/// The credential that the next call carries.
async fn sent(world: &World, upstream: &Upstream) -> String {
    world.root.write("mcp-proxy/proxy/demo/GET", json!({ "path": "/a" })).await.ok();
    upstream.seen().pop().unwrap().header("authorization").unwrap().to_owned()
}

/// A command of the server's own command line, waiting for its input; gives stdout, or stderr.
fn bao(api: &Api, words: &str) -> impl AsyncFn(&str) -> Result<String, String> {
    let (api, line) = (api.clone(), format!("vault {words}"));
    async move |input: &str| {
        let output = cli::run_line(&api, &line, input).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

async fn run(api: &Api, words: &str) -> Result<String, String> {
    bao(api, words)("").await
}

async fn read(api: &Api, path: &str) -> Value {
    let text = run(api, &format!("read -format=json {path}")).await.unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    value["data"].clone()
}
