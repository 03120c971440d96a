//! Compares the bridge with other stdio bridges before the same MCP server, in one run: first answers,
//! calls of a tool, memory.
#![expect(clippy::print_stdout, reason = "the table is what it is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't measure ends, and says why")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use e2e::bench::cost::memory;
use e2e::bench::median;
use e2e::bench::report::{Report, Table};
use e2e::programs;
use e2e::wait::{self, LIMIT};
use e2e::world::World;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

const RUNS: usize = 5;
/// Calls in each run, one after another.
const CALLS: usize = 200;

const AGENT: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/catalog/bench" { capabilities = ["read"] }
path "mcp-proxy/call/bench/read" { capabilities = ["update"] }
"#;

/// One program that bridges stdio to something behind HTTP.
struct Subject {
    name: &'static str,
    program: PathBuf,
    arguments: Vec<String>,
    environment: Vec<(&'static str, String)>,
    /// What it calls the server's tool.
    tool: &'static str,
}

/// What one run measured.
struct Run {
    /// From the start of the program to the answer to `initialize`.
    hello: Duration,
    /// From the start to the list of the tools.
    tools: Duration,
    /// Each call, from the request to the answer.
    calls: Vec<Duration>,
    /// Proportional and resident memory of the program and its children, after that, in MiB.
    memory: (f64, f64),
}

#[tokio::main]
async fn main() {
    let cache = programs::root().join(".cache/bench");
    let Some((_upstream, url)) = start_upstream(&cache).await else {
        println!("Not measured, for want of an upstream (scripts/bench-peers).");
        return;
    };
    let world = World::start_quiet().await;
    serve(&world, &url).await;
    let role = world.app_role("agent", AGENT).await;
    let text = |path: PathBuf| path.display().to_string();
    let mut subjects = vec![Subject {
        name: "mcp-bridge",
        program: programs::bridge(),
        arguments: Vec::new(),
        environment: vec![
            ("VAULT_ADDR", world.server.address().to_owned()),
            ("MCP_BRIDGE_ROLE_ID_FILE", text(role.role_id_file())),
            ("MCP_BRIDGE_SECRET_ID_FILE", text(role.secret_id_file())),
        ],
        tool: "bench__read",
    }];
    let node = |name: &str| cache.join("node_modules/.bin").join(name);
    let own = |arguments: &[&str]| arguments.iter().map(|&a| a.to_owned()).collect();
    for (name, program, arguments) in [
        (
            "mcp-remote",
            node("mcp-remote"),
            own(&[url.as_str(), "--allow-http", "--transport", "http-only"]),
        ),
        (
            "supergateway",
            node("supergateway"),
            own(&["--streamableHttp", url.as_str(), "--logLevel", "none"]),
        ),
        (
            "mcp-proxy (PyPI)",
            cache.join("venv/bin/mcp-proxy"),
            own(&["--transport", "streamablehttp", url.as_str()]),
        ),
    ] {
        let environment = Vec::new();
        subjects.push(Subject { name, program, arguments, environment, tool: "read" });
    }

    let mut results: Vec<Vec<Run>> = subjects.iter().map(|_| Vec::new()).collect();
    // In turns, so that a busy moment of the machine hits all alike.
    for _ in 0..RUNS {
        for (subject, runs) in subjects.iter().zip(&mut results) {
            runs.extend(measure(subject).await);
        }
    }
    let caption = format!(
        "The bridge and its like before the same MCP server: medians of {RUNS} runs with {CALLS} calls \
         of a tool in each, one after another; memory of the program and its children after them."
    );
    let columns = [
        ("initialize ms", 1),
        ("tools/list ms", 1),
        ("call p50 ms", 2),
        ("call p99 ms", 2),
        ("PSS MiB", 1),
        ("RSS MiB", 1),
    ];
    let mut table = Table::new(caption, &columns);
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    for (subject, runs) in subjects.iter().zip(results) {
        if runs.is_empty() {
            println!("Not measured: {}; it isn't installed, or gave no answer.", subject.name);
            continue;
        }
        let mut calls: Vec<_> = runs.iter().flat_map(|run| run.calls.iter().copied()).collect();
        calls.sort();
        let percentile = |part: usize| ms(calls[calls.len() * part / 100]);
        let row = [
            median(&runs, |run| ms(run.hello)),
            median(&runs, |run| ms(run.tools)),
            percentile(50),
            percentile(99),
            median(&runs, |run| run.memory.0),
            median(&runs, |run| run.memory.1),
        ];
        table.row(subject.name, row);
    }
    table.note(
        "All speak to the same FastMCP server; mcp-bridge through Vault and the plugin, which puts a \
         credential in.",
    );
    let mut report = Report::new("bridge");
    println!("{}", report.add(table));
    report.publish();
}

/// Puts the server behind the engine, and approves its tool.
async fn serve(world: &World, url: &str) {
    let config = json!({ "allow_danger": "danger_allow_plaintext" });
    world.root.write("mcp-proxy/config", config).await.ok();
    let service = json!({
        "type": "mcp", "base_url": url, "danger_allow_plaintext": true,
        "auth": "bearer", "token": world.secret(),
    });
    world.root.write("mcp-proxy/services/bench", service).await.ok();
    world.root.write("mcp-proxy/tools/bench/approve", json!({})).await.ok();
}

/// Starts an MCP server over HTTP; none where its parts aren't installed.
async fn start_upstream(cache: &Path) -> Option<(Child, String)> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut server = Command::new(cache.join("venv/bin/python"))
        .arg(programs::root().join("scripts/bench-upstream"))
        .arg(port.to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let listens = wait::until("the upstream to listen", async || {
        if server.try_wait().unwrap().is_some() {
            return Some(false);
        }
        tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok().map(|_| true)
    })
    .await;
    listens.then(|| (server, format!("http://127.0.0.1:{port}/mcp")))
}

/// Runs a program once; none if it can't be started or gives no answer.
async fn measure(subject: &Subject) -> Option<Run> {
    let home = tempfile::tempdir().unwrap();
    let started = Instant::now();
    let mut process = Command::new(&subject.program)
        .args(&subject.arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", home.path())
        .env("NO_PROXY", "127.0.0.1,localhost")
        .envs(subject.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut input = process.stdin.take().unwrap();
    let mut output = BufReader::new(process.stdout.take().unwrap()).lines();
    let hello = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": { "name": "bench", "version": "1" },
    });
    request(&mut input, &mut output, 1, "initialize", hello).await?;
    let hello = started.elapsed();
    let ready = json!({ "jsonrpc": "2.0", "method": "notifications/initialized" });
    input.write_all(format!("{ready}\n").as_bytes()).await.ok()?;
    let listed = request(&mut input, &mut output, 2, "tools/list", json!({})).await?;
    let named = |tool: &Value| tool["name"] == subject.tool;
    assert!(listed["tools"].as_array().is_some_and(|tools| tools.iter().any(named)), "{listed}");
    let tools = started.elapsed();
    let mut calls = Vec::new();
    for number in 0..CALLS {
        let path = format!("/a/{number}");
        let call = json!({ "name": subject.tool, "arguments": { "path": path } });
        let began = Instant::now();
        let id = u64::try_from(number).unwrap() + 3;
        let answer = request(&mut input, &mut output, id, "tools/call", call).await?;
        calls.push(began.elapsed());
        assert_eq!(answer["content"][0]["text"], path.as_str(), "{answer}");
    }
    let memory = memory(process.id()?);
    drop(input);
    // Those that don't leave with their client are ended: its own child alone.
    if tokio::time::timeout(Duration::from_secs(3), process.wait()).await.is_err() {
        let _ = process.kill().await;
    }
    Some(Run { hello, tools, calls, memory })
}

async fn request(
    input: &mut ChildStdin,
    output: &mut Lines<BufReader<ChildStdout>>,
    id: u64,
    method: &str,
    parameters: Value,
) -> Option<Value> {
    let message = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters });
    input.write_all(format!("{message}\n").as_bytes()).await.ok()?;
    loop {
        let line = tokio::time::timeout(LIMIT, output.next_line()).await.ok()?.ok()??;
        let Ok(answer) = serde_json::from_str::<Value>(&line) else { continue };
        if answer["id"] == id {
            return Some(answer["result"].clone());
        }
    }
}
