//! Tenants with the same names and the same upstream: each call carries its own tenant's secret.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use e2e::api::Api;
use e2e::programs;
use e2e::upstream::Upstream;
use e2e::world::{World, definition};
use serde_json::json;

const CALLS: usize = 1000;
const CALLERS: usize = 8;

#[tokio::test]
async fn namespaces_and_mounts_with_the_same_names_never_mix_their_secrets() {
    let world = World::start().await;
    let upstream = Upstream::start().await;
    let tenants = tenants(&world).await;
    let mut secrets = Vec::new();
    for tenant in &tenants {
        let config = json!({ "upstream_cidrs": "127.0.0.0/8" });
        world.root.write(&format!("{tenant}/config"), config).await.ok();
        let secret = world.secret();
        define(&world.root, tenant, &upstream, &secret).await;
        secrets.push(secret);
    }

    // Everybody; then everybody but the first, who loses the service and gets it anew, with the same
    // name, the same host and another secret; then everybody again.
    mixed(&world.root, &tenants, "before", 0, CALLS * 2 / 5).await;
    let renewed = world.secret();
    let recreate = async {
        let first = &tenants[0];
        world.root.delete(&format!("{first}/services/demo")).await.ok();
        let call = json!({ "path": "/between" });
        let gone = world.root.write(&format!("{first}/proxy/demo/GET"), call).await;
        gone.refused(404, "unknown_service");
        define(&world.root, first, &upstream, &renewed).await;
    };
    tokio::join!(recreate, mixed(&world.root, &tenants, "while", 1, CALLS / 5));
    mixed(&world.root, &tenants, "after", 0, CALLS * 2 / 5).await;

    let mut counts = BTreeMap::new();
    for seen in upstream.seen() {
        let parts: Vec<&str> = seen.target.split('/').collect();
        let [_, phase, index, _] = parts[..] else { panic!("{}", seen.target) };
        let tenant: usize = index.parse().unwrap();
        let secret = if tenant == 0 && phase == "after" { &renewed } else { &secrets[tenant] };
        assert_eq!(seen.header("authorization"), Some(&*format!("Bearer {secret}")), "{seen:?}");
        *counts.entry((phase.to_owned(), tenant)).or_insert(0) += 1;
    }
    assert_eq!(counts.values().sum::<usize>(), CALLS, "{counts:?}");
    assert_eq!(counts.len(), tenants.len() * 3 - 1, "everybody in every phase: {counts:?}");
}

/// Two mounts in each of two namespaces; where the server has none, four mounts.
async fn tenants(world: &World) -> Vec<String> {
    let has_namespaces = programs::server().file_name().is_some_and(|name| name != "vault");
    let mut tenants = Vec::new();
    for namespace in ["team-a", "team-b"] {
        let prefix = if has_namespaces {
            let path = format!("sys/namespaces/{namespace}");
            world.root.write(&path, json!({})).await.ok();
            format!("{namespace}/")
        } else {
            String::new()
        };
        for mount in ["apis", "more"] {
            let mount =
                if has_namespaces { mount.to_owned() } else { format!("{namespace}-{mount}") };
            let enable = json!({ "type": "mcp-proxy" });
            world.root.write(&format!("{prefix}sys/mounts/{mount}"), enable).await.ok();
            tenants.push(format!("{prefix}{mount}"));
        }
    }
    tenants
}

async fn define(root: &Api, tenant: &str, upstream: &Upstream, secret: &str) {
    let mut fields = definition(upstream);
    fields["auth"] = json!("bearer");
    fields["token"] = json!(secret);
    root.write(&format!("{tenant}/services/demo"), fields).await.ok();
}

/// Makes `calls` calls as the tenants from `first` on by turns, several at a time.
async fn mixed(root: &Api, tenants: &[String], phase: &'static str, first: usize, calls: usize) {
    let next = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (root, tenants, next) = (root.clone(), tenants.to_vec(), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= calls {
                        return;
                    }
                    let index = first + number % (tenants.len() - first);
                    let call = json!({ "path": format!("/{phase}/{index}/{number}") });
                    let path = format!("{}/proxy/demo/GET", tenants[index]);
                    assert_eq!(root.write(&path, call).await.ok().data()["status"], 200);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await.unwrap();
    }
}
