//! Hostile upstreams: answers that don't end, or not where they said.

use std::time::{Duration, Instant};

use e2e::world::World;
use serde_json::json;

#[tokio::test]
async fn an_answer_without_an_end_ends_at_the_limits() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let plugins = world.server.plugins();
    let limits = json!({ "max_response_bytes": 1024 * 1024, "timeout": "20s" });
    world.root.write("mcp-proxy/services/demo", limits).await.ok();
    for (path, code) in [
        ("/endless", "response_too_large"),
        ("/huge", "response_too_large"),
        ("/endless-head", "outcome_unknown"),
        ("/short", "outcome_unknown"),
    ] {
        let before = upstream.seen().len();
        let started = Instant::now();
        let call = json!({ "path": path });
        world.root.write("mcp-proxy/proxy/demo/GET", call).await.refused(424, code);
        assert!(started.elapsed() < Duration::from_secs(20), "{path}: not the time, the size");
        assert_eq!(upstream.seen().len(), before + 1, "{path}: sent once");
    }
    let call = json!({ "path": "/a" });
    world.root.write("mcp-proxy/proxy/demo/GET", call).await.ok();
    assert_eq!(world.server.plugins(), plugins, "the same process all along");
}
