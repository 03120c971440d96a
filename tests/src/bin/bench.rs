//! Compares a proxied GET with what it is made of: the upstream alone, and the server's own reads.
#![expect(clippy::print_stdout, reason = "the tables are what it is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't measure ends, and says why")]

use std::net::{Ipv4Addr, TcpListener};
use std::process::ExitCode;
use std::time::Instant;

use e2e::bench::compare::{Figures, PASS, in_turns};
use e2e::bench::load::Load;
use e2e::bench::median;
use e2e::bench::report::{Column, Report, Table};
use e2e::bench::stage::{KINDS, LARGE, LARGEST, Stage};
use e2e::server::signal;
use e2e::wait;
use rustix::process::Signal;
use serde_json::json;

const PASSES: usize = 3;
const CONCURRENCY: [usize; 3] = [1, 16, 64];
/// Calls of an upstream that never answers: all places that a service has by default.
const HANGING: usize = 64;
/// How often the plugin is killed.
const KILLS: usize = 5;

const COLUMNS: [Column; 5] =
    [("requests/s", 0), ("p50 ms", 2), ("p99 ms", 2), ("server µs", 0), ("plugin µs", 0)];

// One thread sends: the others' cores are for what is measured.
#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut report = Report::new("calls");
    println!("Service tokens, server in memory, everything on this machine: about 4 minutes.");
    println!(
        "Medians of {PASSES} passes of {PASS:?}, in turns; µs of each process for an answer.\n"
    );
    let stage = Stage::start(true).await;
    let mut aims = Table::new("What is aimed at.", &[("aim", 2), ("measured", 2)]);
    for concurrency in CONCURRENCY {
        println!("{}", report.add(side_by_side(&stage, concurrency, &mut aims).await));
    }
    println!("{}", report.add(settings(&stage).await));
    println!("{}", report.add(sizes(&stage).await));
    println!("{}", report.add(kinds(&stage).await));
    let (table, unhindered) = hindered(&stage, &mut aims).await;
    println!("{}", report.add(table));
    println!("{}", report.add(aims));
    report.publish();
    if unhindered { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The parts of a call, and what else one could use.
async fn side_by_side(stage: &Stage, concurrency: usize, aims: &mut Table) -> Table {
    let subjects = [
        ("upstream directly (TLS)", stage.directly("/a")),
        ("through nginx that sets the header", stage.injected("/a")),
        ("builtin kv read", stage.read("kv/a")),
        ("plugin read (info)", stage.read("mcp-proxy/info")),
        // A write takes the server one more plugin call than a read; this one does nothing there, and
        // answers as much as a proxied call.
        ("plugin write (floor)", stage.floor()),
        ("proxied GET", stage.proxied("bearer", "/a")),
    ];
    let caption = format!("Small answers, {}.", callers(concurrency));
    let mut table = Table::new(caption, &COLUMNS);
    let figures = measure(stage, &mut table, &subjects, concurrency).await;
    let [upstream, _, kv, _, floor, proxied] = figures.as_slice() else { return table };
    let callers = callers(concurrency);
    let over = proxied.p50_ms / (upstream.p50_ms + floor.p50_ms);
    aims.row(
        format!("a proxied GET's p50 over that of floor and upstream together, {callers}: at most"),
        [1.1, over],
    );
    let of_kv = |figures: &Figures| figures.per_second / kv.per_second;
    let name = format!("a proxied GET's throughput over a builtin kv read's, {callers}: at least");
    aims.row(name, [0.5, of_kv(proxied)]);
    aims.row(
        format!("the floor's throughput over a builtin kv read's, {callers}"),
        [f64::NAN, of_kv(floor)],
    );
    table
}

/// The same call by other listeners and without an audit log.
async fn settings(stage: &Stage) -> Table {
    let silent = Stage::start(false).await;
    let mut table = Table::new("The server's settings, one caller.", &COLUMNS);
    let subjects = [
        ("builtin kv read, audit to a file", stage.read("kv/a")),
        ("proxied GET, audit to a file", stage.proxied("bearer", "/a")),
        ("builtin kv read, TLS listener", stage.over_tls(stage.read("kv/a"))),
        ("proxied GET, TLS listener", stage.over_tls(stage.proxied("bearer", "/a"))),
    ];
    measure(stage, &mut table, &subjects, 1).await;
    let subjects = [
        ("builtin kv read, no audit", silent.read("kv/a")),
        ("proxied GET, no audit", silent.proxied("bearer", "/a")),
    ];
    measure(&silent, &mut table, &subjects, 1).await;
    table
}

/// Answers of other sizes.
async fn sizes(stage: &Stage) -> Table {
    let mut table = Table::new("Larger answers, one caller.", &COLUMNS);
    let subjects = [
        ("upstream directly, 100 kB", stage.directly("/large")),
        ("through nginx, 100 kB", stage.injected("/large")),
        ("proxied GET, 100 kB", stage.proxied("bearer", "/large")),
        ("upstream directly, 8 MiB", stage.directly("/largest")),
        ("through nginx, 8 MiB", stage.injected("/largest")),
        ("proxied GET, 8 MiB", stage.proxied("bearer", "/largest")),
    ];
    for (subject, bytes) in [(&subjects[2], LARGE), (&subjects[5], LARGEST)] {
        let answer = subject.1.once().await.unwrap();
        assert!(answer.len() > bytes, "the whole answer came: {}", answer.len());
    }
    measure(stage, &mut table, &subjects, 1).await;
    table
}

/// Every kind of credential.
async fn kinds(stage: &Stage) -> Table {
    let mut table = Table::new("Every kind of credential, 16 callers.", &COLUMNS);
    let subjects = KINDS.map(|kind| (kind, stage.proxied(kind, "/a")));
    measure(stage, &mut table, &subjects, 16).await;
    table
}

/// What stands in a call's way: an upstream that hangs, a plugin that was killed. Also whether a
/// service's p99 stays within twice its idle value while all places of another, whose upstream never
/// says a word, are taken.
async fn hindered(stage: &Stage, aims: &mut Table) -> (Table, bool) {
    let proxied = stage.proxied("bearer", "/a");
    // Connections wait for somebody to accept them.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let fields = json!({
        "base_url": format!("https://{}", listener.local_addr().unwrap()), "auth": "none",
        "timeout": "60s", "max_in_flight": HANGING,
    });
    stage.root.write("mcp-proxy/services/hanging", fields).await.ok();
    let (mut idle, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..PASSES {
        idle.push(proxied.run(4, PASS).await.p99_ms);
        let held: Vec<_> = (0..HANGING)
            .map(|_| {
                let api = stage.root.clone();
                tokio::spawn(
                    async move { api.write("mcp-proxy/proxy/hanging/GET", json!({})).await },
                )
            })
            .collect();
        in_flight(stage, HANGING).await;
        beside.push(proxied.run(4, PASS).await.p99_ms);
        assert!(held.iter().all(|call| !call.is_finished()), "the places were taken all the time");
        held.iter().for_each(tokio::task::JoinHandle::abort);
        in_flight(stage, 0).await;
    }
    let (idle, beside) = (median(&idle, |&ms| ms), median(&beside, |&ms| ms));
    let mut table = Table::new("When something is wrong.", &[("ms", 1)]);
    table.row("p99 of a proxied GET, 4 callers", [idle]);
    table.row(format!("the same beside {HANGING} calls of a hanging upstream"), [beside]);
    let kills = after_kills(&proxied, || stage.plugin()).await;
    let killed = median(&kills, |&ms| ms);
    table.row("from a kill of the plugin to its next answer", [killed]);
    aims.row("ms from a kill of the plugin to its next answer: at most", [30.0, killed]);
    let kills = after_kills(&stage.floor(), || stage.floor_process()).await;
    table.row("the same of an engine that does nothing", [median(&kills, |&ms| ms)]);
    (table, beside <= 2.0 * idle)
}

/// Kills a plugin's process; milliseconds to the first answer, asking all the time.
async fn after_kills(load: &Load, process: impl Fn() -> u32) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..KILLS {
        let before = process();
        let killed = Instant::now();
        signal(before, Signal::KILL);
        times.push(answered(load, killed).await);
        assert_ne!(process(), before, "another process answered");
    }
    times
}

/// Asks until there is an answer, since the server may say 500 by itself for a while; milliseconds.
async fn answered(load: &Load, since: Instant) -> f64 {
    while load.once().await.is_none() {
        assert!(since.elapsed() < wait::LIMIT, "the plugin comes back");
    }
    since.elapsed().as_secs_f64() * 1e3
}

async fn in_flight(stage: &Stage, count: usize) {
    wait::until("the hanging service's places", async || {
        let health = stage.root.read("mcp-proxy/health").await.ok();
        (health.data()["services"]["hanging"]["in_flight"] == count).then_some(())
    })
    .await;
}

/// Measures all subjects in turns and adds their rows.
async fn measure(
    stage: &Stage,
    table: &mut Table,
    subjects: &[(&str, Load)],
    concurrency: usize,
) -> Vec<Figures> {
    let loads: Vec<Load> = subjects.iter().map(|(_, load)| load.clone()).collect();
    let processes = [&[stage.server.pid()][..], &stage.server.plugins()];
    let figures = in_turns(&loads, processes, concurrency, PASSES).await;
    for ((name, _), figures) in subjects.iter().zip(&figures) {
        let Figures { per_second, p50_ms, p99_ms, cost_us: [server, plugin] } = *figures;
        table.row(*name, [per_second, p50_ms, p99_ms, server, plugin]);
    }
    figures
}

fn callers(concurrency: usize) -> String {
    if concurrency == 1 { "one caller".to_owned() } else { format!("{concurrency} callers") }
}
