//! Measures what a call costs and what processes keep with 1, 100 and 10,000 services.
#![expect(clippy::print_stdout, reason = "the tables are what it is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't measure ends, and says why")]

use std::process::Stdio;
use std::time::Instant;

use e2e::api::Api;
use e2e::bench::compare::{Figures, in_turns};
use e2e::bench::cost::memory;
use e2e::bench::load::Load;
use e2e::bench::report::{Report, Table};
use e2e::bench::stage::Stage;
use e2e::programs;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

/// Services of a mount, each with a credential of its own.
const SERVICES: [usize; 3] = [1, 100, 10_000];
/// Writes of services at one time.
const WRITERS: usize = 8;
const PASSES: usize = 9;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("A server for each number of services; making the largest takes a minute or two.\n");
    let mut stages = Vec::new();
    for count in SERVICES {
        let begun = Instant::now();
        let stage = Stage::start(true).await;
        let more: Vec<String> = (1..count).map(|number| format!("s{number}")).collect();
        let each = more.len().div_ceil(WRITERS).max(1);
        let writers: Vec<_> = more
            .chunks(each)
            .map(|names| {
                let (root, names) = (stage.root.clone(), names.to_vec());
                let definition = stage.definition("bearer");
                tokio::spawn(async move { define(&root, &names, &definition).await })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
        println!("{count} services: {:.1} s", begun.elapsed().as_secs_f64());
        stages.push(stage);
    }

    let caption = "One service called by 4 callers, on mounts with so many; µs of each process for an \
                   answer.";
    let columns = [
        ("p50 ms", 2),
        ("server µs", 0),
        ("plugin µs", 1),
        ("plugin RSS MiB", 1),
        ("catalog ms", 1),
        ("catalog kB", 0),
        ("bridge PSS MiB", 1),
    ];
    let mut table = Table::new(caption, &columns);
    // In turns over the servers, or the machine's mood would tell them apart.
    let mut figures: Vec<Vec<Figures>> = stages.iter().map(|_| Vec::new()).collect();
    for _ in 0..PASSES {
        for (stage, figures) in stages.iter().zip(&mut figures) {
            let load = [stage.proxied("bearer", "/a")];
            let processes = [stage.server.pid(), stage.plugin()];
            figures.extend(in_turns(&load, processes, 4, 1).await);
        }
    }
    for ((stage, figures), count) in stages.iter().zip(&figures).zip(SERVICES) {
        let least = |value: fn(&Figures) -> f64| {
            // What else runs on the machine only ever adds.
            figures.iter().map(value).fold(f64::INFINITY, f64::min)
        };
        let (_, plugin) = memory(stage.plugin());
        let (catalog_ms, catalog_bytes) = catalog(stage).await;
        let row = [
            least(|figures| figures.p50_ms),
            least(|figures| figures.cost_us[0]),
            least(|figures| figures.cost_us[1]),
            plugin,
            catalog_ms,
            catalog_bytes as f64 / 1e3,
            bridge(stage).await,
        ];
        table.row(format!("{count} services"), row);
    }
    table.note(format!("The least of {PASSES} passes: whatever else runs can only add."));
    let mut report = Report::new("scale");
    println!("\n{}", report.add(table));
    report.publish();
}

async fn define(root: &Api, names: &[String], definition: &Value) {
    for name in names {
        let mut fields = definition.clone();
        fields["description"] = json!(format!("Sample service {name}"));
        root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
    }
}

/// Milliseconds for the whole catalog, once it is known to the plugin, and its bytes.
async fn catalog(stage: &Stage) -> (f64, usize) {
    let url = format!("{}/v1/mcp-proxy/catalog", stage.server.address());
    let load = Load::get(&url).token(stage.root.token());
    load.once().await.unwrap();
    let begun = Instant::now();
    let answer = load.once().await.unwrap();
    (begun.elapsed().as_secs_f64() * 1e3, answer.len())
}

/// The memory of a bridge that has listed the tools, in MiB.
async fn bridge(stage: &Stage) -> f64 {
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    std::fs::write(&token, stage.root.token()).unwrap();
    let mut process = tokio::process::Command::new(programs::bridge())
        .env_clear()
        .env("HOME", home.path())
        .env("VAULT_ADDR", stage.server.address())
        .env("MCP_BRIDGE_TOKEN_FILE", &token)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut input = process.stdin.take().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
    let hello = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": { "name": "bench", "version": "1" },
    });
    for message in [
        json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello }),
        json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
        json!({ "jsonrpc": "2.0", "id": 2, "method": "tools/call",
                "params": { "name": "list_services", "arguments": {} } }),
    ] {
        input.write_all(format!("{message}\n").as_bytes()).await.unwrap();
    }
    loop {
        let line = output.next_line().await.unwrap().unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        if answer["id"] == 2 {
            assert!(answer["result"]["isError"] != true, "{answer}");
            return memory(process.id().unwrap()).0;
        }
    }
}
