//! What must survive: reload, a killed plugin, seal and unseal, a restart of the server.

use std::time::Instant;

use e2e::server::Storage;
use e2e::wait;
use e2e::world::World;
use serde_json::json;

#[tokio::test]
async fn a_reload_starts_a_new_process_and_loses_nothing() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let before = world.server.plugins();
    let reload = json!({ "plugin": "mcp-proxy" });
    world.root.write("sys/plugins/reload/backend", reload).await.ok();
    works(&world).await;
    assert_ne!(world.server.plugins(), before);
    assert_eq!(upstream.seen().len(), 1);
}

/// A server that sees its plugin's process end under a call may answer by itself, or start another
/// process and hand it the same call: which one is a race. Each call is made once in either case.
#[tokio::test]
async fn after_kill_9_with_calls_in_flight_none_is_repeated_and_the_next_works() {
    const CALLS: usize = 8;
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let mut made = 0;
    for _ in 0..3 {
        let calls: Vec<_> = (0..CALLS)
            .map(|_| {
                let api = world.root.clone();
                tokio::spawn(async move {
                    let body = json!({ "path": "/hold" });
                    api.send("POST", "mcp-proxy/proxy/demo/POST", Some(&body)).await
                })
            })
            .collect();
        made += CALLS;
        upstream.saw(made).await;
        world.server.kill_plugins().await;
        let killed = Instant::now();
        for call in calls {
            let answer = call.await.unwrap().unwrap();
            if answer.status != 500 {
                let text = answer.refused(424, "outcome_unknown").errors();
                assert!(text.contains("the plugin's process ended"), "{text}");
            }
        }
        works_soon(&world).await;
        made += 1;
        assert!(killed.elapsed().as_secs() < 10, "{:?}", killed.elapsed());
        assert_eq!(upstream.seen().len(), made, "no call was repeated");
    }
}

#[tokio::test]
async fn seal_ends_calls_in_flight_and_unseal_brings_everything_back() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    // The server lets calls in flight end before it seals.
    world.root.write("mcp-proxy/services/demo", json!({ "timeout": "2s" })).await.ok();
    let api = world.root.clone();
    let call = tokio::spawn(async move {
        let body = json!({ "path": "/hold" });
        api.send("POST", "mcp-proxy/proxy/demo/GET", Some(&body)).await
    });
    upstream.saw(1).await;
    world.server.seal().await;
    let cut_off = call.await.unwrap().unwrap();
    if cut_off.status != 500 {
        cut_off.refused(424, "outcome_unknown");
    }
    wait::until("the plugin to be gone", async || world.server.plugins().is_empty().then_some(()))
        .await;
    world.server.unseal().await;
    works(&world).await;
}

#[tokio::test]
async fn a_restart_of_the_server_on_raft_loses_nothing() {
    let mut world = World::start_on(Storage::Raft).await;
    let reach = json!({ "upstream_cidrs": "127.0.0.0/8" });
    world.root.write("mcp-proxy/config", reach).await.ok();
    let (_upstream, _) = world.service("demo").await;
    let before = world.root.read("mcp-proxy/services/demo").await.ok();
    world.server.restart().await;
    let after = world.root.read("mcp-proxy/services/demo").await.ok();
    assert_eq!(before.data(), after.data());
    works(&world).await;
}

async fn works(world: &World) {
    let call = json!({ "path": "/a" });
    let answer = world.root.write("mcp-proxy/proxy/demo/GET", call).await.ok();
    assert_eq!(answer.data()["status"], 200, "{}", answer.text);
}

/// Until the server has noticed that its plugin is dead, it answers 500 by itself.
async fn works_soon(world: &World) {
    let call = json!({ "path": "/a" });
    let answer = wait::until("a call to be answered", async || {
        let answer = world.root.write("mcp-proxy/proxy/demo/GET", call.clone()).await;
        (answer.status != 500).then_some(answer)
    });
    assert_eq!(answer.await.ok().data()["status"], 200);
}
