//! A cluster: calls, writes and changes through every node, and what a lost leader leaves.
#![expect(clippy::print_stdout, reason = "measurements are for people; the cases don't judge them")]

use e2e::cluster::Cluster;
use serde_json::json;

#[tokio::test]
async fn every_node_makes_calls_once_with_the_credential() {
    let started = std::time::Instant::now();
    let cluster = Cluster::start(2).await;
    println!("started in {:?}", started.elapsed());
    let (active, standby) = cluster.pair().await;
    let (upstream, token) = cluster.service("demo").await;
    for (id, role) in [(active, "active"), (standby, "standby")] {
        let before = upstream.seen().len();
        let call = json!({ "path": "/a" });
        let answer = cluster.api(id).write("mcp-proxy/proxy/demo/GET", call).await.ok();
        assert_eq!(answer.data()["status"], 200, "{role}: {}", answer.text);
        let seen = upstream.seen();
        assert_eq!(seen.len(), before + 1, "{role}");
        assert_eq!(seen[before].header("authorization"), Some(&*format!("Bearer {token}")));
        let by = cluster.executed(answer.data()).await;
        println!(
            "a call through the {role} node was made by {}",
            if by == active { "the active one" } else { "the standby" }
        );
    }
    println!("all in {:?}", started.elapsed());
}
