//! Compares a proxied GET with the upstream alone and with the server's own reads, in one run.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't measure ends, and says why")]

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use e2e::wait;
use e2e::world::World;
use serde_json::json;

const PASS: Duration = Duration::from_secs(2);
const PASSES: usize = 3;
const CONCURRENCY: [usize; 2] = [1, 16];
/// Calls of an upstream that never answers: all places that a service has by default.
const HANGING: usize = 64;

/// One kind of request.
struct Subject {
    name: &'static str,
    request: reqwest::Request,
    status: u16,
}

/// What one pass measured.
struct Pass {
    per_second: f64,
    median_ms: f64,
    p99_ms: f64,
}

#[tokio::main]
async fn main() -> ExitCode {
    let world = World::start_quiet().await;
    let (upstream, token) = world.service("demo").await;
    world.root.write("sys/mounts/kv", json!({ "type": "kv" })).await.ok();
    world.root.write("kv/a", json!({ "value": "1" })).await.ok();
    let policy = r#"path "kv/a" { capabilities = ["read"] }
                    path "mcp-proxy/info" { capabilities = ["read"] }
                    path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }"#;
    let agent = world.client(policy).await;

    let ca = reqwest::Certificate::from_pem(upstream.ca().as_bytes()).unwrap();
    let http = reqwest::Client::builder()
        .no_proxy()
        .retry(reqwest::retry::never())
        .tls_certs_only([ca])
        .pool_max_idle_per_host(64)
        .build()
        .unwrap();
    let vault = |request: reqwest::RequestBuilder| {
        request.header("X-Vault-Token", agent.token()).build().unwrap()
    };
    let address = world.server.address();
    let proxied = |path: &str| {
        let url = format!("{address}/v1/mcp-proxy/proxy/demo/GET");
        vault(http.post(url).json(&json!({ "path": path })))
    };
    let subjects = [
        Subject {
            name: "upstream directly (TLS)",
            request: http.get(upstream.url() + "/a").bearer_auth(&token).build().unwrap(),
            status: 200,
        },
        Subject {
            name: "builtin kv read",
            request: vault(http.get(format!("{address}/v1/kv/a"))),
            status: 200,
        },
        Subject {
            name: "plugin read (info)",
            request: vault(http.get(format!("{address}/v1/mcp-proxy/info"))),
            status: 200,
        },
        // A write takes the server one more plugin call than a read: this is one that does nothing.
        Subject { name: "plugin write (refused)", request: proxied("no slash"), status: 400 },
        Subject { name: "proxied GET", request: proxied("/a"), status: 200 },
    ];

    let seconds = subjects.len() * CONCURRENCY.len() * PASSES * PASS.as_secs() as usize;
    println!("Service token, server in memory, file audit on, everything on this machine.");
    println!("{PASSES} interleaved passes of {PASS:?} each: about {seconds} s.\n");
    for concurrency in CONCURRENCY {
        let mut results: Vec<Vec<Pass>> = subjects.iter().map(|_| Vec::new()).collect();
        for _ in 0..PASSES {
            for (subject, passes) in subjects.iter().zip(&mut results) {
                passes.push(measure(&http, subject, concurrency).await);
            }
        }
        table(concurrency, &subjects, &results);
    }
    let [.., proxied] = &subjects;
    if beside_a_hanging_upstream(&world, &http, proxied).await {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Whether a service's p99 stays within twice its idle value while all places of another, whose
/// upstream never says a word, are taken.
async fn beside_a_hanging_upstream(
    world: &World,
    http: &reqwest::Client,
    proxied: &Subject,
) -> bool {
    // Connections wait for somebody to accept them.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let fields = json!({
        "base_url": format!("https://{}", listener.local_addr().unwrap()), "auth": "none",
        "timeout": "60s", "max_in_flight": HANGING,
    });
    world.root.write("mcp-proxy/services/hanging", fields).await.ok();
    let (mut idle, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..PASSES {
        idle.push(measure(http, proxied, 4).await);
        let held: Vec<_> = (0..HANGING)
            .map(|_| {
                let api = world.root.clone();
                tokio::spawn(
                    async move { api.write("mcp-proxy/proxy/hanging/GET", json!({})).await },
                )
            })
            .collect();
        in_flight(world, HANGING).await;
        beside.push(measure(http, proxied, 4).await);
        assert!(held.iter().all(|call| !call.is_finished()), "the places were taken all the time");
        held.iter().for_each(tokio::task::JoinHandle::abort);
        in_flight(world, 0).await;
    }
    let p99 = |passes: &[Pass]| median(passes, |pass| pass.p99_ms);
    let factor = p99(&beside) / p99(&idle);
    println!(
        "p99 of a proxied GET, c=4: idle {:.2} ms, beside {HANGING} calls of a hanging upstream \
         {:.2} ms: {factor:.2} (at most 2)",
        p99(&idle),
        p99(&beside)
    );
    factor <= 2.0
}

async fn in_flight(world: &World, count: usize) {
    wait::until("the hanging service's places", async || {
        let health = world.root.read("mcp-proxy/health").await.ok();
        (health.data()["services"]["hanging"]["in_flight"] == count).then_some(())
    })
    .await;
}

/// Sends `subject` from `concurrency` loops for [`PASS`], after a short warm-up.
async fn measure(http: &reqwest::Client, subject: &Subject, concurrency: usize) -> Pass {
    let warm = Instant::now() + PASS / 10;
    let end = warm + PASS;
    let workers: Vec<_> = (0..concurrency)
        .map(|_| {
            let (http, request) = (http.clone(), subject.request.try_clone().unwrap());
            let status = subject.status;
            tokio::spawn(async move {
                let mut times = Vec::new();
                loop {
                    let started = Instant::now();
                    if started >= end {
                        return times;
                    }
                    let answer = http.execute(request.try_clone().unwrap()).await.unwrap();
                    assert_eq!(answer.status(), status);
                    answer.bytes().await.unwrap();
                    if started >= warm {
                        times.push(started.elapsed());
                    }
                }
            })
        })
        .collect();
    let mut times = Vec::new();
    for worker in workers {
        times.append(&mut worker.await.unwrap());
    }
    times.sort_unstable();
    let ms = |part: f64| times[(times.len() as f64 * part) as usize].as_secs_f64() * 1e3;
    Pass {
        per_second: times.len() as f64 / PASS.as_secs_f64(),
        median_ms: ms(0.5),
        p99_ms: ms(0.99),
    }
}

fn table(concurrency: usize, subjects: &[Subject], results: &[Vec<Pass>]) {
    println!("c={concurrency:<23}   requests/s   p50 ms   p99 ms   p50 against kv");
    let p50 = |index: usize| median(&results[index], |pass| pass.median_ms);
    for (index, subject) in subjects.iter().enumerate() {
        println!(
            "{:<26}{:>12.0}{:>9.2}{:>9.2}{:>14.2}",
            subject.name,
            median(&results[index], |pass| pass.per_second),
            p50(index),
            median(&results[index], |pass| pass.p99_ms),
            p50(index) / p50(1),
        );
    }
    println!("proxied GET against plugin write + upstream: {:.2}\n", p50(4) / (p50(0) + p50(3)));
}

fn median(passes: &[Pass], value: impl Fn(&Pass) -> f64) -> f64 {
    let mut values: Vec<_> = passes.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
