//! A plugin's life in a cluster: a node without the file, an upgrade that reaches every node.
#![expect(clippy::print_stdout, reason = "findings are for people")]

use std::path::PathBuf;

use e2e::cli;
use e2e::cluster::Cluster;
use e2e::upstream::Upstream;
use e2e::world::definition;
use e2e::{programs, wait};
use serde_json::json;

const FILE: &str = "vault-plugin-mcp-proxy";
const THIS: &str = concat!("v", env!("CARGO_PKG_VERSION"));
const LATER: &str = "v0.99.0";
const CALL: &str = "mcp-proxy/proxy/demo/GET";

#[tokio::test]
async fn a_node_without_the_file_says_so_and_works_once_it_has_it() {
    node_with(None, "no such file or directory").await;
}

#[tokio::test]
async fn a_node_with_another_file_says_so_and_works_once_it_has_the_right_one() {
    node_with(Some(programs::bridge()), "checksums did not match").await;
}

async fn node_with(file: Option<PathBuf>, reason: &str) {
    let mut cluster = Cluster::start_bare(3).await;
    let (active, lacking) = cluster.pair().await;
    if let Some(file) = file {
        cluster.install(lacking, &file, FILE);
    }
    let whole = (lacking + 1) % 3;
    let sum = cluster.install(active, &programs::plugin(), FILE);
    cluster.install(whole, &programs::plugin(), FILE);
    let api = cluster.api(active);
    let entry = json!({ "sha256": sum, "command": FILE, "version": THIS });
    api.write("sys/plugins/catalog/secret/mcp-proxy", entry).await.ok();
    api.write("sys/mounts/mcp-proxy", json!({ "type": "mcp-proxy" })).await.ok();
    wait::until("the node to find that the file is missing", async || {
        cluster.log(lacking).contains("skipping plugin-based mount entry").then_some(())
    })
    .await;
    let log = cluster.log(lacking);
    let said = log.lines().find(|line| line.contains("failed to create mount entry"));
    println!("{}", said.unwrap_or_default());
    assert!(log.contains(reason), "{log}");

    // The first write into the mount ends OpenBao 2.7's process on such a node.
    api.write("mcp-proxy/config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.ok();
    let upstream = Upstream::start().await;
    api.write("mcp-proxy/services/demo", definition(&upstream)).await.ok();
    let call = json!({ "path": "/a" });
    for id in [active, whole] {
        wait::until("the other nodes to make calls", async || {
            let answer = cluster.api(id).send("POST", CALL, Some(&call)).await.ok()?;
            (answer.status == 200).then_some(())
        })
        .await;
    }
    let left = cluster.api(lacking).send("POST", CALL, Some(&call)).await;
    println!("a call on that node: {left:?}");

    cluster.install(lacking, &programs::plugin(), FILE);
    cluster.restart(lacking).await;
    wait::until("the node to make calls", async || {
        let answer = cluster.api(lacking).send("POST", CALL, Some(&call)).await.ok()?;
        (answer.status == 200).then_some(())
    })
    .await;
    assert_eq!(cluster.plugins(lacking).len(), 1);
}

#[tokio::test]
async fn an_upgrade_reaches_every_node_by_the_command_that_a_refusal_ends_with() {
    let cluster = Cluster::start(2).await;
    let (active, standby) = cluster.pair().await;
    let (_upstream, _) = cluster.service("demo").await;
    let later = programs::plugin().with_file_name("examples").join("later");
    let sum = cluster.install(active, &later, "later");
    cluster.install(standby, &later, "later");
    let api = cluster.api(active);
    let entry = json!({ "sha256": sum, "command": "later", "version": LATER });
    api.write("sys/plugins/catalog/secret/mcp-proxy", entry).await.ok();
    api.write("sys/mounts/mcp-proxy/tune", json!({ "plugin_version": LATER })).await.ok();

    // Without `-scope=global`, a reload is the business of the node that is asked.
    let reload = json!({ "plugin": "mcp-proxy" });
    api.write("sys/plugins/reload/backend", reload).await.ok();
    assert_eq!(running(&cluster, active).await, LATER);
    println!("reloaded on the leader; the standby runs {}", running(&cluster, standby).await);
    api.write("mcp-proxy/services/demo", json!({ "description": "newer" })).await.ok();
    let call = json!({ "path": "/a" });
    let refused = wait::until("the standby to meet the newer form", async || {
        let answer = cluster.api(standby).write(CALL, call.clone()).await;
        (answer.status != 200).then_some(answer)
    })
    .await
    .refused(400, "service_disabled");

    // The commands that the refusal ends with, run as they stand.
    let text = refused.errors();
    let start = text.find("vault secrets tune").unwrap();
    let command = text[start..].split(" (request_id").next().unwrap();
    for line in command.split(" && ") {
        let output = cli::run_line(&api, line, "").await;
        assert!(output.status.success(), "{line}: {output:?}");
    }
    for id in [active, standby] {
        wait::until("the later version on every node", async || {
            (running(&cluster, id).await == LATER).then_some(())
        })
        .await;
        let answer = cluster.api(id).write(CALL, call.clone()).await.ok();
        assert_eq!(answer.data()["status"], 200, "{}", answer.text);
    }
}

#[tokio::test]
async fn without_standby_reads_the_leader_makes_every_call() {
    let cluster = Cluster::start_without_standby_reads(2).await;
    let (active, standby) = cluster.pair().await;
    let (upstream, _) = cluster.service("demo").await;
    let call = json!({ "path": "/a" });
    let answer = cluster.api(standby).write(CALL, call).await.ok();
    assert_eq!(answer.data()["status"], 200, "{}", answer.text);
    assert_eq!(cluster.executed(answer.data()).await, active);
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(cluster.plugins(standby), [0; 0], "no process where nothing asks it");
}

async fn running(cluster: &Cluster, id: usize) -> String {
    let mounts = cluster.api(id).read("sys/mounts").await.ok();
    let version = &mounts.data()["mcp-proxy/"]["running_plugin_version"];
    version.as_str().unwrap_or_default().to_owned()
}
