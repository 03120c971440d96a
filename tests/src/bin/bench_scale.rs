//! Measures what calls cost and what processes keep at scale: services, tools, versions, bodies, bridges.
#![expect(clippy::print_stdout, reason = "the tables are what it is for")]
#![expect(clippy::unwrap_used, reason = "a benchmark that can't measure ends, and says why")]

use std::time::{Duration, Instant};

use e2e::api::Api;
use e2e::bench::compare::{Figures, in_turns};
use e2e::bench::cost::memory;
use e2e::bench::load::Load;
use e2e::bench::median;
use e2e::bench::report::{Report, Table};
use e2e::bench::stage::Stage;
use e2e::forms;
use e2e::mcp::{McpUpstream, tool};
use e2e::scale::bodies::{self, ANSWER, BUDGET_MIB, CALLS, COPIES};
use e2e::scale::bridges::Many;
use e2e::scale::services::{define, round};
use e2e::world::World;
use serde_json::{Value, json};

/// Services of a mount, each with a credential of its own.
const SERVICES: [usize; 3] = [1, 100, 10_000];
/// Tools of one MCP server, as many as are listed at most.
const TOOLS: [usize; 2] = [1, 1000];
/// Versions of one credential, as many as are kept at most.
const VERSIONS: [usize; 2] = [1, 10];
const BRIDGES: usize = 500;
const PASSES: usize = 9;
/// How many agents to reckon for, and how often each of them calls: once in ten seconds, all day.
const AGENTS: [usize; 3] = [100, 1000, 10_000];
const CALLS_PER_MINUTE: usize = 6;

/// Runs all parts, or those that the arguments name; only all together get into the README.
#[tokio::main(flavor = "current_thread")]
async fn main() {
    let named: Vec<String> = std::env::args().skip(1).collect();
    let mut report = Report::new("scale");
    for part in ["services", "tools", "versions", "bodies", "bridges"] {
        if !named.is_empty() && !named.iter().any(|name| name == part) {
            continue;
        }
        let tables = match part {
            "services" => services().await,
            "tools" => vec![tools().await],
            "versions" => vec![versions().await],
            "bodies" => vec![largest_bodies().await],
            _ => vec![bridges().await],
        };
        for table in tables {
            println!("\n{}", report.add(table));
        }
    }
    if named.is_empty() {
        report.publish();
    }
}

async fn services() -> Vec<Table> {
    println!("A server for each number of services; making the largest takes a minute or two.\n");
    let mut stages = Vec::new();
    for count in SERVICES {
        let begun = Instant::now();
        let stage = Stage::start(true).await;
        let names: Vec<String> = (0..count).map(|number| format!("s{number}")).collect();
        define(&stage.root, &names, &stage.definition("bearer")).await;
        println!("{count} services: {:.1} s", begun.elapsed().as_secs_f64());
        stages.push((stage, names));
    }
    // In turns over the servers, or the machine's mood would tell them apart.
    let mut figures: Vec<Vec<Figures>> = stages.iter().map(|_| Vec::new()).collect();
    for _ in 0..PASSES {
        for ((stage, _), figures) in stages.iter().zip(&mut figures) {
            let load = [stage.proxied("bearer", "/a")];
            figures.extend(in_turns(&load, [&[stage.server.pid()], &[stage.plugin()]], 4, 1).await);
        }
    }
    let columns = [
        ("p50 ms", 2),
        ("server µs", 0),
        ("plugin µs", 1),
        ("list ms", 1),
        ("catalog ms", 1),
        ("catalog kB", 0),
        ("plugin MiB", 1),
        ("all once: plugin µs", 0),
        ("again: plugin µs", 0),
        ("plugin MiB then", 1),
    ];
    let mut table = Table::new(
        "One service called by 4 callers, on mounts with so many; µs of each process for an answer. Then \
         all services are called in turn, twice.",
        &columns,
    );
    let mut costs = Vec::new();
    for ((stage, names), figures) in stages.iter().zip(&figures) {
        let [p50, server, plugin] = least(figures);
        costs.push((server, plugin));
        let before = memory(stage.plugin()).1;
        let (list_ms, _) = timed(&stage.root, "LIST", "mcp-proxy/services").await;
        let (catalog_ms, catalog) = timed(&stage.root, "GET", "mcp-proxy/catalog").await;
        let processes = [stage.server.pid(), stage.plugin()];
        let (_, [_, first]) = round(&stage.root, names, processes).await;
        let (_, [_, again]) = round(&stage.root, names, processes).await;
        let after = memory(stage.plugin()).1;
        let catalog_kb = catalog as f64 / 1e3;
        let row =
            [p50, server, plugin, list_ms, catalog_ms, catalog_kb, before, first, again, after];
        table.row(format!("{} services", names.len()), row);
    }
    let spread = |cost: fn(&(f64, f64)) -> f64| {
        let [least, most] = [f64::min, f64::max]
            .map(|better| costs.iter().map(cost).reduce(better).unwrap_or(f64::NAN));
        (most / least - 1.0) * 100.0
    };
    table.note(format!(
        "The least of {PASSES} passes: whatever else runs can only add. Over all rows the server's cost \
         differs by {:.1} %, the plugin's by {:.1} %.",
        spread(|cost| cost.0),
        spread(|cost| cost.1)
    ));
    let most = costs.iter().map(|(server, plugin)| server + plugin).fold(0.0, f64::max);
    vec![table, agents(most)]
}

/// What so many agents need, reckoned from the processor time of a call in server and plugin, in µs.
fn agents(call_us: f64) -> Table {
    let columns = [("calls/s", 0), ("cores at work", 2), ("cores, half of them idle", 1)];
    let caption = format!(
        "Reckoned from the dearest call above, {call_us:.0} µs of server and plugin together: agents that \
         call {CALLS_PER_MINUTE} times a minute, all the time."
    );
    let mut table = Table::new(caption, &columns);
    for count in AGENTS {
        let per_second = (count * CALLS_PER_MINUTE) as f64 / 60.0;
        let cores = per_second * call_us / 1e6;
        table.row(format!("{count} agents"), [per_second, cores, cores * 2.0]);
    }
    table
}

/// The cost of calling a tool of a server that has so many, and of what shows them.
async fn tools() -> Table {
    let world = World::start_quiet().await;
    let config = json!({ "allow_danger": "danger_allow_plaintext" });
    world.root.write("mcp-proxy/config", config).await.ok();
    let (mut servers, mut loads) = (Vec::new(), Vec::new());
    for count in TOOLS {
        let token = world.secret();
        let server = McpUpstream::start(&token).await;
        let tools = (0..count).map(|number| tool(&format!("tool_{number}"), "Does something"));
        server.list(tools.collect());
        let name = format!("tools{count}");
        let fields = json!({
            "type": "mcp", "base_url": server.url(), "danger_allow_plaintext": true,
            "auth": "bearer", "token": token,
        });
        world.root.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
        let path = format!("mcp-proxy/call/{name}/tool_0");
        let url = format!("{}/v1/{path}", world.server.address());
        loads.push(Load::post(&url, &json!({ "arguments": {} })).token(world.root.token()));
        servers.push((server, name));
    }
    let columns = [
        ("look ms", 0),
        ("approve ms", 0),
        ("read tools ms", 1),
        ("catalog ms", 1),
        ("catalog kB", 0),
        ("call: server µs", 0),
        ("plugin µs", 0),
        ("plugin MiB", 1),
    ];
    let caption = "One MCP server with so many tools.";
    let (mut table, mut rows) = (Table::new(caption, &columns), Vec::new());
    let plugin = *world.server.plugins().first().unwrap();
    for (_, name) in &servers {
        let (look, _) =
            timed(&world.root, "POST", &format!("mcp-proxy/tools/{name}/refresh")).await;
        let (approve, _) =
            timed(&world.root, "POST", &format!("mcp-proxy/tools/{name}/approve")).await;
        let (read, _) = timed(&world.root, "GET", &format!("mcp-proxy/tools/{name}")).await;
        let (catalog, bytes) =
            timed(&world.root, "GET", &format!("mcp-proxy/catalog/{name}")).await;
        rows.push([look, approve, read, catalog, bytes as f64 / 1e3]);
    }
    let mut figures: Vec<Vec<Figures>> = loads.iter().map(|_| Vec::new()).collect();
    for _ in 0..PASSES {
        let pass = in_turns(&loads, [&[world.server.pid()], &[plugin]], 4, 1).await;
        for (figures, one) in figures.iter_mut().zip(pass) {
            figures.push(one);
        }
    }
    for ((row, figures), count) in rows.iter().zip(&figures).zip(TOOLS) {
        let [_, server, cost] = least(figures);
        let memory = memory(plugin).1;
        table.row(format!("{count} tools"), [row.as_slice(), &[server, cost, memory]].concat());
    }
    table
}

/// The cost of a call whose credential has so many live versions: all are searched for.
async fn versions() -> Table {
    let stage = Stage::start(true).await;
    let definition = stage.definition("bearer");
    let mut loads = Vec::new();
    for count in VERSIONS {
        let path = format!("mcp-proxy/services/v{count}");
        stage.root.write(&path, definition.clone()).await.ok();
        for _ in 1..count {
            stage.root.write(&path, json!({ "token": forms::canary() })).await.ok();
        }
        if count > 1 {
            stage.root.write(&path, json!({ "token": definition["token"] })).await.ok();
        }
        let url = format!("{}/v1/mcp-proxy/proxy/v{count}/GET", stage.server.address());
        for file in ["/a", "/large"] {
            let load = Load::post(&url, &json!({ "path": file })).token(stage.root.token());
            loads.push((format!("{count} versions, {file}"), load));
        }
    }
    let columns = [("p50 ms", 2), ("server µs", 0), ("plugin µs", 0)];
    let caption =
        "Calls of a service whose credential has so many versions; small answers, and of 100 kB.";
    let mut table = Table::new(caption, &columns);
    let only: Vec<Load> = loads.iter().map(|(_, load)| load.clone()).collect();
    let mut figures: Vec<Vec<Figures>> = loads.iter().map(|_| Vec::new()).collect();
    for _ in 0..PASSES {
        let pass = in_turns(&only, [&[stage.server.pid()], &[stage.plugin()]], 4, 1).await;
        for (figures, one) in figures.iter_mut().zip(pass) {
            figures.push(one);
        }
    }
    for ((name, _), figures) in loads.iter().zip(&figures) {
        table.row(name.clone(), least(figures));
    }
    table
}

/// More of the largest answers at once than there is memory set aside for.
async fn largest_bodies() -> Table {
    let world = World::start_quiet().await;
    let (_upstream, _) = world.service("demo").await;
    let outcome = bodies::at_once(&world).await;
    let columns = [
        ("whole", 0),
        ("busy", 0),
        ("response_too_large", 0),
        ("late", 0),
        ("plugin MiB before", 0),
        ("at its peak", 0),
        ("bound", 0),
    ];
    let mut table = Table::new("The largest answers, all at once.", &columns);
    let bound = outcome.before + BUDGET_MIB * COPIES;
    let counts =
        [outcome.whole, outcome.busy, outcome.too_large, outcome.late].map(|count| count as f64);
    let row = [counts.as_slice(), &[outcome.before, outcome.peak, bound]].concat();
    table.row(format!("{CALLS} answers of {} MiB", ANSWER >> 20), row);
    table
}

/// Real bridges, each with a login and a token of its own.
async fn bridges() -> Table {
    let world = World::start_quiet().await;
    let mut bridges = Many::start(&world, BRIDGES).await;
    let (mean, most) = bridges.memory();
    let called = bridges.call(4).await;
    let columns = [
        ("all listed s", 1),
        ("all called s", 1),
        ("calls/s then", 0),
        ("bridge MiB, mean", 1),
        ("most", 1),
        ("server MiB", 0),
        ("plugin MiB", 1),
        ("tokens left behind", 0),
    ];
    let caption =
        "Bridges that start at the same moment: login, tools, a call each; then four more each.";
    let mut table = Table::new(caption, &columns);
    let seconds = |time: Duration| time.as_secs_f64();
    let plugin = *world.server.plugins().first().unwrap();
    let status = |pid: u32| e2e::scale::memory(pid, "VmRSS");
    let (listed, worked) = (seconds(bridges.listed), seconds(bridges.worked));
    let processes = [status(world.server.pid()), status(plugin)];
    let left = bridges.leave(&world).await;
    let row = [
        listed,
        worked,
        (BRIDGES * 4) as f64 / seconds(called),
        mean,
        most,
        processes[0],
        processes[1],
        left as f64,
    ];
    table.row(format!("{BRIDGES} bridges"), row);
    table.note("Bridges and their upstream run on the same machine: they take most of its time.");
    table
}

/// The least of all passes: median time in ms, and the cost of server and plugin in µs. A pass in which
/// a thread ended counts too little, and is left out.
fn least(figures: &[Figures]) -> [f64; 3] {
    let least = |value: fn(&Figures) -> f64| {
        let usual = median(figures, value);
        let whole = figures.iter().map(value).filter(|value| *value > usual / 2.0);
        whole.fold(f64::INFINITY, f64::min)
    };
    [least(|pass| pass.p50_ms), least(|pass| pass.cost_us[0]), least(|pass| pass.cost_us[1])]
}

/// Milliseconds of an answer, the second time that it is asked for where it is read, and its bytes.
async fn timed(root: &Api, method: &str, path: &str) -> (f64, usize) {
    let empty = json!({});
    let body: Option<&Value> = (method == "POST").then_some(&empty);
    if body.is_none() {
        root.send(method, path, None).await.unwrap().ok();
    }
    let begun = Instant::now();
    let answer = root.send(method, path, body).await.unwrap().ok();
    (begun.elapsed().as_secs_f64() * 1e3, answer.text.len())
}
