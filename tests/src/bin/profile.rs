//! Shows where the time of a call goes: the plugin's instructions, counted, and the server's functions,
//! sampled, with a picture of each.
#![expect(clippy::print_stdout, reason = "the tables are what it is for")]
#![expect(clippy::unwrap_used, reason = "a profile that can't be made ends, and says why")]

use std::fs;
use std::time::Duration;

use e2e::bench::load::Load;
use e2e::bench::report::{Column, Report, Table};
use e2e::bench::stage::Stage;
use e2e::forms;
use e2e::profile::callgrind::{Counted, Counts};
use e2e::profile::parts::{PLUGIN, SERVER, of, of_stack};
use e2e::profile::stacks::Stacks;
use e2e::profile::{flame, perf, pprof};
use e2e::programs;
use e2e::scale::services::define;
use serde_json::json;

/// Answers that are counted, after some that fill caches and pools.
const ANSWERS: usize = 200;
const WARM_UP: usize = 50;
/// Services of a mount.
const SERVICES: [usize; 3] = [1, 100, 10_000];
/// Versions of a credential, as many as are kept.
const VERSIONS: usize = 10;
/// How long the server and the plugin are looked at, and under how many callers.
const TIME: Duration = Duration::from_secs(10);
const CALLERS: usize = 16;

/// Makes all parts, or those that the arguments name; only all together get into the README.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let wanted = |part: &str| named.is_empty() || named.iter().any(|name| name == part);
    let mut report = Report::new("profile");
    if wanted("counts") {
        println!(
            "Counting instructions; a plugin under valgrind takes its time: a minute or two.\n"
        );
        println!("{}", report.add(counts().await));
    }
    if wanted("server") {
        println!("{}", report.add(sampled().await));
    }
    if named.is_empty() {
        report.publish();
    }
}

/// The plugin's instructions for an answer.
async fn counts() -> Table {
    let columns: Vec<Column> =
        std::iter::once(("all", 1)).chain(PLUGIN.map(|(name, _)| (name, 1))).collect();
    let caption = "The plugin's instructions for an answer, in thousands, as callgrind counts them: by the \
                   function that executes them.";
    let mut table = Table::new(caption, &columns);
    let mut totals = Vec::new();
    for count in SERVICES {
        let stage = Stage::start(false).await;
        let names: Vec<String> = (1..count).map(|number| format!("s{number}")).collect();
        define(&stage.root, &names, &stage.definition("bearer")).await;
        let proxied = stage.proxied("bearer", "/a");
        if count > 1 {
            let mut counted = Counted::start(&stage.server, &programs::profiled_plugin()).await;
            let counts = count_answers(&mut counted, &proxied).await;
            totals.push(counts.total());
            table.row(format!("proxied GET, {count} services"), row(&counts));
            continue;
        }
        let many = rotated(&stage).await;
        let mut counted = Counted::start(&stage.server, &programs::profiled_plugin()).await;
        for (name, load) in [
            ("plugin read (info)", stage.read("mcp-proxy/info")),
            ("plugin write (refused)", stage.refused()),
            ("proxied GET", proxied),
            ("proxied GET, 10 versions", many),
            ("proxied GET, 100 kB", stage.proxied("bearer", "/large")),
        ] {
            let counts = count_answers(&mut counted, &load).await;
            if name == "proxied GET" {
                totals.push(counts.total());
            }
            table.row(name, row(&counts));
        }
    }
    let (least, most) = (totals.iter().min().unwrap(), totals.iter().max().unwrap());
    table.note(format!(
        "Between {SERVICES:?} services a proxied GET differs by {:.1} %. What the compiler has built into \
         its caller counts as its caller's. The kernel's part isn't counted.",
        (*most as f64 / *least as f64 - 1.0) * 100.0
    ));
    table
}

async fn count_answers(counted: &mut Counted, load: &Load) -> Counts {
    load.times(WARM_UP).await;
    counted.count(load.times(ANSWERS)).await
}

/// A call by a service whose credential has as many versions as are kept; the newest is the upstream's.
async fn rotated(stage: &Stage) -> Load {
    let definition = stage.definition("bearer");
    for version in 1..=VERSIONS {
        let mut fields = definition.clone();
        if version < VERSIONS {
            fields["token"] = json!(forms::canary());
        }
        stage.root.write("mcp-proxy/services/rotated", fields).await.ok();
    }
    let url = format!("{}/v1/mcp-proxy/proxy/rotated/GET", stage.server.address());
    Load::post(&url, &json!({ "path": "/a" })).token(stage.root.token())
}

fn row(counts: &Counts) -> Vec<f64> {
    let mut parts = [0; PLUGIN.len()];
    for (function, count) in &counts.0 {
        parts[of(&PLUGIN, function)] += count;
    }
    let thousands = |count: u64| count as f64 / 1e3 / ANSWERS as f64;
    std::iter::once(counts.total()).chain(parts).map(thousands).collect()
}

/// The server's time for an answer by its own profiler, and flame graphs of server and plugin.
async fn sampled() -> Table {
    let stage = Stage::start(true).await;
    stage.server.replace_plugin(&programs::profiled_plugin(), "profiled").await;
    let subjects = [
        ("builtin kv read", stage.read("kv/a")),
        ("plugin write (floor)", stage.floor()),
        ("proxied GET", stage.proxied("bearer", "/a")),
    ];
    let mut columns = Vec::new();
    for (name, load) in &subjects {
        let (answers, server, plugin) = under_load(&stage, load).await;
        let mut parts = [0; SERVER.len()];
        for (frames, weight) in server.iter() {
            parts[of_stack(&SERVER, frames)] += weight;
        }
        columns.push(parts.map(|weight| weight as f64 / 1e3 / answers));
        if *name == "proxied GET" {
            draw("server", "The server during proxied GETs, by its own profiler", &server);
            if let Some(plugin) = plugin {
                draw("plugin", "The plugin during proxied GETs, kernel included", &plugin);
            }
        }
    }
    let headings = subjects.map(|(name, _)| (name, 0));
    let caption = format!(
        "The server's time for an answer, in µs, by the server's own profiler (100 samples a second), \
         {CALLERS} callers."
    );
    let mut table = Table::new(caption, &headings);
    for (at, (name, _)) in SERVER.iter().enumerate() {
        table.row(*name, columns.iter().map(|parts| parts[at]).collect::<Vec<_>>());
    }
    let total = |parts: &[f64; SERVER.len()]| parts.iter().sum::<f64>();
    table.row("all", columns.iter().map(total).collect::<Vec<_>>());
    table
}

/// Calls for a while: how many answers came while the profilers looked, and what these saw.
async fn under_load(stage: &Stage, load: &Load) -> (f64, Stacks, Option<Stacks>) {
    let file = stage.server.directory().join("perf");
    let (mut per_second, mut server) = (0.0, Stacks::default());
    let work = async {
        // Some calls before the profilers begin, and some after.
        let calling = load.run(CALLERS, TIME + Duration::from_secs(1));
        let (pass, stacks) = tokio::join!(calling, pprof::record(&stage.root, TIME));
        (per_second, server) = (pass.per_second, stacks);
    };
    let plugin = perf::record(stage.plugin(), &file, work).await;
    (per_second * TIME.as_secs_f64(), server, plugin)
}

fn draw(name: &str, title: &str, stacks: &Stacks) {
    let file = programs::root().join("tests/plots").join(name).with_extension("svg");
    fs::write(&file, flame::svg(title, stacks)).unwrap();
    println!("tests/plots/{name}.svg is drawn.");
}
