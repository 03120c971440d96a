//! The shipped server configurations, started as they are but for paths, ports and the plugin's sum.

use std::fs;
use std::process::Command;

use e2e::certificates::Authority;
use e2e::server::signal;
use e2e::upstream::Upstream;
use e2e::{forms, programs, wait};
use rustix::process::Signal;
use serde_json::Value;

mod install;
mod shipped;

use shipped::{Shipped, sum_in};

async fn upstream() -> (Upstream, String) {
    let token = forms::canary();
    let upstream = Upstream::start().await;
    let upstream = upstream.demanding("authorization", &format!("Bearer {token}"));
    (upstream, token)
}

#[tokio::test]
async fn the_dev_server_starts_with_the_plugin_and_unseals_itself() {
    let (upstream, token) = upstream().await;
    let mut server = Shipped::start("dev.hcl", &[7; 32]).await;
    server.initialise().await;
    server.define(&upstream, &token).await;
    assert!(server.call().await);
    server.reboot().await;
    assert!(server.call().await, "{}", server.read("server.log"));
    assert_eq!(upstream.seen().len(), 2);
    let audit = server.read("log/audit.log");
    assert!(audit.contains("mcp-proxy/proxy/demo/GET"), "{audit}");
    assert!(forms::found(audit.as_bytes(), &token).is_empty());
}

#[tokio::test]
async fn one_node_survives_a_reboot_and_its_backup_opens_elsewhere() {
    let (upstream, token) = upstream().await;
    let key = *b"a key of thirty-two bytes, fixed";
    let mut server = Shipped::start("single.hcl", &key).await;
    assert!(server.address.starts_with("https://"));
    server.initialise().await;
    server.define(&upstream, &token).await;
    assert!(server.call().await);
    server.reboot().await;
    assert!(server.call().await, "{}", server.read("server.log"));
    assert!(server.read("log/audit.log").contains("mcp-proxy/proxy/demo/GET"));

    // A backup, by who may do nothing else.
    let policy = programs::root().join("hcl/backup.hcl");
    server.bao(&["policy", "write", "backup", policy.to_str().unwrap()]).await;
    let words = ["token", "create", "-field=token", "-policy=backup", "-no-default-policy"];
    let restricted = server.bao(&words).await;
    let root = std::mem::replace(&mut server.token, restricted);
    let snapshot = server.path("backup.snap");
    let snapshot = snapshot.to_str().unwrap();
    server.bao(&["operator", "raft", "snapshot", "save", snapshot]).await;
    assert!(!server.call().await, "a backup's token makes no call");
    let bytes = fs::read(snapshot).unwrap();
    assert!(bytes.len() > 10_000);
    assert!(forms::found(&bytes, &token).is_empty());

    // Another machine with the same key: everything is there, with the tokens of then.
    let mut other = Shipped::start("single.hcl", &key).await;
    other.initialise().await;
    other.bao(&["operator", "raft", "snapshot", "restore", "-force", snapshot]).await;
    other.token.clone_from(&root);
    wait::until("a call on the restored server", async || other.call().await.then_some(())).await;
    drop(other);

    // With another key it is worth nothing.
    let mut thief = Shipped::start("single.hcl", &[9; 32]).await;
    thief.initialise().await;
    let restore = ["operator", "raft", "snapshot", "restore", "-force", snapshot];
    let _ = thief.run(&restore, "").await;
    wait::until("the server to find that the key doesn't fit", async || {
        thief.read("server.log").contains("failed to decrypt keys from storage").then_some(())
    })
    .await;
    thief.token = root;
    assert!(!thief.call().await);
    assert_eq!(upstream.seen().len(), 3);
}

#[tokio::test]
async fn three_nodes_join_and_unseal_by_themselves() {
    let (upstream, token) = upstream().await;
    let authority = Authority::new();
    let mut nodes: Vec<Shipped> = Vec::new();
    for id in 1..=3 {
        // The others look for the first; a node that looks for itself finds out by its name.
        let first = nodes.first().map_or("https://127.0.0.1:8200", |node| &node.address);
        let stanzas = ["node1", "node2", "node3"].map(|name| {
            (format!("leader_api_addr     = \"https://{name}.example:8200\""), first.to_owned())
        });
        let mut more: Vec<(&str, String)> = Vec::new();
        for (from, to) in &stanzas {
            more.push((from, format!("leader_api_addr = \"{to}\"")));
        }
        more.push(("\"node1\"", format!("\"node{id}\"")));
        more.push(("node1.example", "127.0.0.1".to_owned()));
        // Everything but the first starts when there is something to join.
        let mut node = Shipped::start_with("cluster.hcl", &[5; 32], &authority, &more).await;
        if id == 1 {
            node.initialise().await;
        } else {
            nodes[0].token.clone_into(&mut node.token);
        }
        nodes.push(node);
    }
    wait::until("three voters", async || {
        let peers = nodes[0].bao(&["operator", "raft", "list-peers", "-format=json"]).await;
        let peers: Value = serde_json::from_str(&peers).ok()?;
        let peers = peers["data"]["config"]["servers"].as_array()?.clone();
        (peers.iter().filter(|peer| peer["voter"] == true).count() == 3).then_some(())
    })
    .await;
    nodes[0].define(&upstream, &token).await;
    for node in &nodes {
        wait::until("a call through every node", async || node.call().await.then_some(())).await;
    }
}

#[tokio::test]
async fn a_stanza_takes_effect_on_sighup_and_a_wrong_sum_leaves_the_mount_out() {
    let mut server = Shipped::start("dev.hcl", &[7; 32]).await;
    server.initialise().await;
    server.bao(&["secrets", "enable", "mcp-proxy"]).await;
    let file = server.path("server.hcl");
    let right = fs::read_to_string(&file).unwrap();
    let sum = sum_in(&right);
    fs::write(&file, right.replace(&sum, &"0".repeat(64))).unwrap();
    server.reboot().await;
    let read = server.run(&["read", "mcp-proxy/info"], "").await;
    assert!(!read.status.success(), "{}", String::from_utf8_lossy(&read.stdout));
    assert!(server.read("server.log").contains("checksums did not match"));

    fs::write(&file, right).unwrap();
    signal(server.process.as_ref().unwrap().id(), Signal::HUP);
    wait::until("the right sum in the catalog", async || {
        let info = server.bao(&["plugin", "info", "-version=v0.1.0", "secret", "mcp-proxy"]).await;
        info.contains(&sum).then_some(())
    })
    .await;
    server.bao(&["plugin", "reload", "-plugin=mcp-proxy"]).await;
    let read = server.bao(&["read", "-field=version", "mcp-proxy/info"]).await;
    assert_eq!(read, env!("CARGO_PKG_VERSION"));
}

#[test]
fn the_units_are_such_that_systemd_takes() {
    for (name, program) in
        [("openbao.service", "/usr/bin/bao"), ("mcp-bridge@.service", "/usr/local/bin/mcp-bridge")]
    {
        let unit = fs::read_to_string(programs::root().join("hcl").join(name)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join(name);
        // The program is looked for, too.
        assert!(unit.contains(program), "{name}");
        fs::write(&file, unit.replace(program, "/bin/true")).unwrap();
        let verify = ["verify", "--man=no"];
        let verified = Command::new("systemd-analyze").args(verify).arg(&file).output();
        let Ok(verified) = verified else {
            #[expect(clippy::print_stderr, reason = "a test that doesn't run has to say so")]
            {
                eprintln!("SKIPPED: no systemd-analyze here, so {name} wasn't verified");
            }
            return;
        };
        let said = String::from_utf8_lossy(&verified.stderr);
        assert!(verified.status.success() && said.is_empty(), "{said}");
    }
}
