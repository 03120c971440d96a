//! Many bridges at one server, as on the morning after a restart.
#![expect(clippy::print_stdout, reason = "the times are for people; the case doesn't judge them")]

use std::time::Instant;

use e2e::bridge::Bridge;
use e2e::world::World;
use futures_util::future::join_all;
use serde_json::json;

const BRIDGES: usize = 200;

const READER: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_bridges_start_at_once_work_and_leave_no_token_behind() {
    let world = World::start_quiet().await;
    let (upstream, _) = world.service("demo").await;
    let room = json!({ "max_in_flight": BRIDGES });
    world.root.write("mcp-proxy/services/demo", room).await.ok();
    let role = world.app_role("agent", READER).await;
    let before = tokens(&world).await;

    let started = Instant::now();
    let bridges = (0..BRIDGES).map(async |_| {
        let mut bridge = Bridge::start(world.server.address(), &role).await;
        let tools = bridge.request("tools/list", json!({})).await;
        assert_eq!(tools["tools"].as_array().unwrap().len(), 3);
        let answered = started.elapsed();
        // On a machine that is busy enough, the server answers too late: then nothing was sent, and
        // an agent tries again.
        e2e::wait::until("a call that works", async || {
            let call = json!({ "service": "demo", "path": "/a" });
            let answer = bridge.call("proxy_read", call).await;
            let late = answer.text.starts_with("vault_unavailable: ");
            assert!(late || answer.text.starts_with("200 OK · demo"), "{}", answer.text);
            (!late).then_some(())
        })
        .await;
        (bridge, answered)
    });
    let (bridges, answered): (Vec<_>, Vec<_>) = join_all(bridges).await.into_iter().unzip();
    let worked = started.elapsed();
    assert_eq!(upstream.seen().len(), BRIDGES, "each call was made once");
    // More only where a login's answer came too late.
    let most = tokens(&world).await;
    assert!(most >= before + BRIDGES, "each has a token of its own");
    let listed = answered.into_iter().max().unwrap_or_default();
    println!(
        "{BRIDGES} bridges: all tools listed after {listed:.1?}, all called after {worked:.1?}"
    );

    join_all(bridges.into_iter().map(Bridge::leave)).await;
    assert_eq!(tokens(&world).await, most - BRIDGES, "every bridge has ended its token");
}

/// How many tokens the server knows.
async fn tokens(world: &World) -> usize {
    let list = world.root.list("auth/token/accessors").await.ok();
    list.data()["keys"].as_array().unwrap().len()
}
