//! kill -9 of the plugin and of the server at random moments of writes.
//!
//! A failure names the `FAILPOINT_SEED` whose moments it had; the machine's timing isn't in it.
#![expect(clippy::print_stdout, reason = "what was tried is for people")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use e2e::api::Api;
use e2e::server::{Storage, signal};
use e2e::upstream::Upstream;
use e2e::wait;
use e2e::world::{World, definition};
use rustix::process::Signal;
use serde_json::json;

const WRITERS: usize = 3;
const PLUGIN_KILLS: u64 = 6;
/// Each costs a start of the server.
const SERVER_KILLS: u64 = 1;

/// What one writer knows: its service is rewritten with the next number and the secret that goes
/// with it.
#[derive(Debug, Default)]
struct Written {
    tried: AtomicU64,
    acknowledged: AtomicU64,
}

#[tokio::test]
async fn a_kill_at_any_moment_of_writes_loses_nothing_acknowledged_and_halves_nothing() {
    let seed = match std::env::var("FAILPOINT_SEED") {
        Ok(seed) => seed.parse().unwrap(),
        Err(_) => getrandom::u64().unwrap(),
    };
    println!("FAILPOINT_SEED={seed}");
    let mut state = seed;
    let mut world = World::start_on(Storage::Raft).await;
    world.root.write("mcp-proxy/config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.ok();
    let upstream = Upstream::start().await;
    let secrets: Vec<String> = (0..WRITERS).map(|_| world.secret()).collect();
    let written: Arc<Vec<Written>> = Arc::new((0..WRITERS).map(|_| Written::default()).collect());
    let over = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (api, written, over) =
                (world.root.clone(), Arc::clone(&written), Arc::clone(&over));
            let mut fields = definition(&upstream);
            fields["auth"] = json!("bearer");
            let secret = secrets[writer].clone();
            tokio::spawn(async move {
                let mut errors = 0_u32;
                for number in 1.. {
                    if over.load(Ordering::Acquire) {
                        break;
                    }
                    written[writer].tried.store(number, Ordering::Release);
                    fields["token"] = json!(format!("{secret}-{number}"));
                    fields["description"] = json!(number.to_string());
                    let path = format!("mcp-proxy/services/s{writer}");
                    match api.send("POST", &path, Some(&fields)).await {
                        Ok(answer) if matches!(answer.status, 200 | 204) => {
                            written[writer].acknowledged.store(number, Ordering::Release);
                        }
                        Ok(_) | Err(_) => {
                            errors += 1;
                            // Nothing listens while the server starts.
                            tokio::task::yield_now().await;
                        }
                    }
                }
                errors
            })
        })
        .collect();

    for kill in 0..PLUGIN_KILLS + SERVER_KILLS {
        // So many more writes, and some microseconds into one of them.
        let target = tried(&written) + 1 + random(&mut state) % 12;
        wait::until("the writers to write", async || (tried(&written) >= target).then_some(()))
            .await;
        for _ in 0..random(&mut state) % 400 {
            tokio::task::yield_now().await;
        }
        if kill % 7 == 6 {
            signal(world.server.pid(), Signal::KILL);
            world.server.restart().await;
        } else {
            for plugin in world.server.plugins() {
                signal(plugin, Signal::KILL);
            }
        }
        // The next write works, without anybody's help.
        let before: Vec<u64> = acknowledged(&written);
        wait::until("each writer to be answered again", async || {
            acknowledged(&written).iter().zip(&before).all(|(now, then)| now > then).then_some(())
        })
        .await;
    }
    over.store(true, Ordering::Release);
    let mut errors = 0;
    for writer in writers {
        errors += writer.await.unwrap();
    }
    println!("{} writes, {errors} without an answer or with an error", tried(&written));
    assert!(errors > 0, "no kill met a write");

    for (writer, written) in written.iter().enumerate() {
        let number = description(&world.root, writer).await;
        let last = written.acknowledged.load(Ordering::Acquire);
        assert!(number >= last, "s{writer}: {last} was acknowledged, and {number} is there");
        assert!(number <= written.tried.load(Ordering::Acquire));
        // One write's definition and its secret, and no other's.
        let call = format!("mcp-proxy/proxy/s{writer}/GET");
        world.root.write(&call, json!({ "path": "/" })).await.ok();
        let seen = upstream.seen();
        let sent = seen.last().unwrap().header("authorization").unwrap();
        assert_eq!(sent, format!("Bearer {}-{number}", secrets[writer]));
    }
}

async fn description(api: &Api, writer: usize) -> u64 {
    let shown = api.read(&format!("mcp-proxy/services/s{writer}")).await.ok();
    shown.data()["description"].as_str().unwrap().parse().unwrap()
}

fn tried(written: &[Written]) -> u64 {
    written.iter().map(|written| written.tried.load(Ordering::Acquire)).sum()
}

fn acknowledged(written: &[Written]) -> Vec<u64> {
    written.iter().map(|written| written.acknowledged.load(Ordering::Acquire)).collect()
}

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}
