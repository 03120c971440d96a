//! Load: what hangs keeps to its own places, and memory comes back.
#![expect(clippy::print_stdout, reason = "measurements are for people; the cases don't judge them")]

use std::fs;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use e2e::api::Api;
use e2e::wait;
use e2e::world::World;
use serde_json::json;
use tokio::net::TcpListener;

const PLACES: usize = 8;

/// `make bench` judges the p99; here there are few calls, so that the places stay taken (they end
/// after 60 s) on a slow day, too.
#[tokio::test]
async fn a_hanging_upstream_takes_its_own_places_and_no_others() {
    let world = World::start().await;
    let (_upstream, _) = world.service("lively").await;
    // It accepts and never says a word, not even of TLS.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let hanging = tokio::spawn(async move {
        let mut connections = Vec::new();
        while let Ok((connection, _)) = listener.accept().await {
            connections.push(connection);
        }
    });
    let fields = json!({
        "base_url": url, "auth": "none", "timeout": "60s", "max_in_flight": PLACES,
    });
    world.root.write("mcp-proxy/services/hanging", fields).await.ok();

    calls(&world.root, 20).await;
    let idle = calls(&world.root, 60).await;
    let held: Vec<_> = (0..PLACES)
        .map(|_| {
            let api = world.root.clone();
            tokio::spawn(async move { api.write("mcp-proxy/proxy/hanging/GET", json!({})).await })
        })
        .collect();
    wait::until("all places to be taken", async || {
        let health = world.root.read("mcp-proxy/health").await.ok();
        (health.data()["services"]["hanging"]["in_flight"] == PLACES).then_some(())
    })
    .await;

    let started = Instant::now();
    for _ in 0..3 {
        let path = "mcp-proxy/proxy/hanging/GET";
        world.root.write(path, json!({})).await.refused(400, "busy");
    }
    let busy = started.elapsed() / 3;
    let beside = calls(&world.root, 60).await;
    assert!(held.iter().all(|call| !call.is_finished()), "the places were taken all the time");
    println!(
        "slowest of 60 calls of another service: idle {idle:?}, beside a hanging one {beside:?} \
         (factor {:.2}); busy after {busy:?}",
        beside.as_secs_f64() / idle.as_secs_f64()
    );
    for call in held {
        call.abort();
    }
    // Whoever left has left its place, too.
    wait::until("the places to be free", async || {
        let health = world.root.read("mcp-proxy/health").await.ok();
        (health.data()["services"]["hanging"]["in_flight"] == 0).then_some(())
    })
    .await;
    hanging.abort();
}

/// Makes so many calls that all must succeed, four at a time; gives the slowest one's time.
async fn calls(api: &Api, count: usize) -> Duration {
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let api = api.clone();
            tokio::spawn(async move {
                let mut times = Vec::new();
                for _ in 0..count / 4 {
                    let started = Instant::now();
                    let path = "mcp-proxy/proxy/lively/GET";
                    let answer = api.write(path, json!({ "path": "/a" })).await.ok();
                    assert_eq!(answer.data()["status"], 200);
                    times.push(started.elapsed());
                }
                times
            })
        })
        .collect();
    let mut times = Vec::new();
    for caller in callers {
        times.append(&mut caller.await.unwrap());
    }
    times.into_iter().max().unwrap()
}

const MIB: usize = 1 << 20;
const LARGE_CALLS: usize = 16;
const LARGE: usize = 8 * MIB;

/// What may be found at the peak: a body as it came, as text, as the answer's JSON and as the message
/// to the host.
const PEAK: usize = LARGE_CALLS * LARGE * 4;
/// What may stay above what there was before: a quarter of the answers.
const REST: usize = LARGE_CALLS * LARGE / 4;

#[tokio::test]
async fn memory_of_large_answers_is_bounded_and_given_back() {
    let world = World::start_quiet().await;
    let (_upstream, _) = world.service("demo").await;
    let path = "mcp-proxy/proxy/demo/GET";
    world.root.write(path, json!({ "path": "/a" })).await.ok();
    let [plugin] = world.server.plugins()[..] else { panic!("one plugin process") };
    let before = memory(plugin, "VmRSS");
    let large: Vec<_> = (0..LARGE_CALLS)
        .map(|_| {
            let api = world.root.clone();
            let call = json!({ "path": format!("/size/{LARGE}") });
            tokio::spawn(async move { api.write(path, call).await })
        })
        .collect();
    for call in large {
        // Half of the byte budget: there is room for all of them.
        let answer = call.await.unwrap().ok();
        assert_eq!(answer.data()["body"].as_str().unwrap().len(), LARGE);
    }
    let peak = memory(plugin, "VmHWM");
    let started = Instant::now();
    let after = wait::until("the memory to come back", async || {
        let now = memory(plugin, "VmRSS");
        (now < before + REST).then_some(now)
    })
    .await;
    println!(
        "memory of the plugin with {LARGE_CALLS} large answers: before {} MiB, at peak {} MiB, after {} MiB ({:?} later)",
        before / MIB,
        peak / MIB,
        after / MIB,
        started.elapsed()
    );
    assert!(peak > before + LARGE, "the answers went through it: {peak}");
    assert!(peak < before + PEAK, "bounded: {} MiB", peak / MIB);
    world.root.write(path, json!({ "path": "/a" })).await.ok();
    assert_eq!(world.server.plugins(), [plugin], "the same process all along");
}

/// A line of `/proc/<pid>/status`, in bytes.
fn memory(pid: u32, field: &str) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<usize>().unwrap() * 1024
}
