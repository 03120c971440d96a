//! What answers of hostile JSON take in memory: a few times their length.

use std::process::Command;

use serde_json::json;
use vault_sdk::Operation;

use super::server::{Answer, McpServer, Seen, stateless};
use crate::mount::{Mount, refusal};

/// Of each answer, in bytes. As a tree, it would take a hundred times that.
const BYTES: usize = 2 << 20;
/// What the process may take, in KiB: the server with its copies of each answer is in it too.
const MOST: usize = 96 << 10;

/// So many bytes of an array of many items.
fn filler(bytes: usize) -> String {
    format!("[{}1]", r#"{"":1},"#.repeat(bytes / 7))
}

/// The same as fields of an object.
fn fields(bytes: usize) -> String {
    let fields: String = (0..bytes / 20).map(|n| format!("\"{n:08}\":{{\"\":1}},")).collect();
    format!("{{{fields}\"\":{{}}}}")
}

fn answer(seen: &Seen, rest: &str) -> Answer {
    let id = &seen.message["id"];
    Answer::new(200, "application/json", format!("{{\"jsonrpc\":\"2.0\",\"id\":{id},{rest}}}"))
}

/// The most memory that this process ever had, in KiB (proc(5), `VmHWM`).
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    peak.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn mount(server: &McpServer) -> Mount {
    let mount = Mount::new();
    let config = json!({
        "upstream_cidrs": "127.0.0.0/8", "allow_danger": "danger_allow_plaintext",
    });
    mount.write("config", config).await.unwrap();
    let service = json!({
        "type": "mcp", "base_url": server.base_url, "danger_allow_plaintext": true,
        "auth": "none", "trust": "allow", "max_response_bytes": 256 << 10,
        "max_request_bytes": 2 * BYTES,
    });
    mount.write("services/docs", service).await.unwrap();
    mount
}

/// Reads a resource of a server that answers like this.
async fn read(rest: String) {
    let server =
        McpServer::start(move |seen| stateless(seen).unwrap_or_else(|| answer(seen, &rest))).await;
    let uri = json!({ "uri": "docs://a" });
    let outcome = mount(&server).await.handle(Operation::Update, "resources/docs", uri).await;
    // Cut, refused or passed on: each is right for one of them.
    drop(outcome);
    assert_eq!(server.count("resources/read"), 1);
}

/// Asks with arguments, or a query, of this form; they are refused, saying this.
async fn ask(path: &str, says: &str) {
    let tool = "[{\"name\":\"t\",\"inputSchema\":{\"properties\":{\"a\":\
                {\"type\":\"string\",\"x-mcp-header\":\"A\"}}}}]";
    let server = McpServer::start(move |seen| {
        stateless(seen).unwrap_or_else(|| match seen.method() {
            "tools/list" => answer(seen, &format!("\"result\":{{\"tools\":{tool}}}")),
            _ => answer(seen, "\"result\":{\"content\":[]}"),
        })
    })
    .await;
    let mount = mount(&server).await;
    let web = json!({ "base_url": "https://api.example.com", "auth": "none" });
    mount.write("services/web", web).await.unwrap();
    mount.write("services/docs", json!({ "rules": "deny tool t" })).await.unwrap();
    mount.handle(Operation::Update, "tools/docs/refresh", json!({})).await.unwrap();
    let given = format!("{{\"a\":\"x\",\"b\":{}}}", filler(BYTES));
    let field = if path.starts_with("proxy") { "query" } else { "arguments" };
    let outcome = mount.handle(Operation::Update, path, json!({ field: given })).await;
    // The server would make a tree of what it got.
    assert!(refusal(outcome).contains(says), "{says}");
}

/// Lists, approves and shows all that a server offers.
async fn list(definitions: String) {
    let server = McpServer::start(move |seen| {
        stateless(seen).unwrap_or_else(|| match seen.method() {
            "tools/list" => answer(seen, &format!("\"result\":{{\"tools\":{definitions}}}")),
            _ => answer(seen, "\"result\":{}"),
        })
    })
    .await;
    let mount = mount(&server).await;
    for (operation, path) in [
        (Operation::Update, "tools/docs/refresh"),
        (Operation::Read, "tools/docs/diff"),
        (Operation::Update, "tools/docs/approve"),
        (Operation::Read, "tools/docs"),
        (Operation::Read, "catalog/docs"),
    ] {
        mount.handle(operation, path, json!({})).await.unwrap();
    }
}

#[tokio::test]
#[ignore = "a process of its own, started by the other test"]
#[expect(clippy::print_stdout, reason = "what the other test reads")]
async fn all_forms() {
    let mut grown = vec![("start", peak())];
    let hello =
        format!("\"result\":{{\"supportedVersions\":[\"2026-07-28\"],\"x\":{}}}", filler(BYTES));
    let server = McpServer::start(move |seen| answer(seen, &hello)).await;
    drop(mount(&server).await.handle(Operation::Update, "tools/docs/refresh", json!({})).await);
    drop(server);
    grown.push(("hello", peak()));
    read(format!("\"result\":{{\"contents\":{}}}", filler(BYTES))).await;
    grown.push(("cut", peak()));
    let text = "x".repeat(BYTES / 2);
    let item = format!("{{\"uri\":\"a\",\"text\":\"{text}\",\"_meta\":{}}}", filler(BYTES / 2));
    read(format!("\"result\":{{\"contents\":[{item}]}}")).await;
    grown.push(("item", peak()));
    let wants = fields(BYTES);
    read(format!("\"result\":{{\"resultType\":\"input_required\",\"inputRequests\":{wants}}}"))
        .await;
    grown.push(("input", peak()));
    read(format!("\"error\":{{\"code\":1,\"message\":\"no\",\"data\":{}}}", filler(BYTES))).await;
    grown.push(("error", peak()));
    let batch = filler(BYTES);
    let server = McpServer::start(move |seen| {
        stateless(seen).unwrap_or_else(|| Answer::new(200, "application/json", batch.clone()))
    })
    .await;
    let uri = json!({ "uri": "docs://a" });
    drop(mount(&server).await.handle(Operation::Update, "resources/docs", uri).await);
    drop(server);
    grown.push(("batch", peak()));
    list(filler(BYTES)).await;
    grown.push(("page", peak()));
    for (path, says) in [
        ("prompts/docs/p", "texts by name"),
        ("call/docs/t", "denied_by_rule"),
        ("proxy/web/GET", "longer than 8192 bytes"),
    ] {
        ask(path, says).await;
        grown.push((path, peak()));
    }
    // As many values as are taken, in schemas of which calls need a part.
    let input = format!(
        "{{\"properties\":{{\"a\":{{\"type\":\"string\",\"x-mcp-header\":\"A\"}}}},\"examples\":{}}}",
        filler(63 << 10)
    );
    let definition = |n| format!("{{\"name\":\"t{n}\",\"inputSchema\":{input}}}");
    let definitions: Vec<String> = (0..8).map(definition).collect();
    list(format!("[{}]", definitions.join(","))).await;
    grown.push(("list", peak()));
    println!("peak {} of {grown:?}", peak());
}

#[test]
fn hostile_json_takes_memory_by_its_length_alone() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "mcp::memory::all_forms", "--ignored", "--nocapture"])
        .output()
        .unwrap();
    let text = String::from_utf8(child.stdout).unwrap();
    assert!(child.status.success(), "{text}");
    let peak = text.split("peak ").nth(1).unwrap().split(' ').next().unwrap();
    assert!(peak.parse::<usize>().unwrap() < MOST, "{text}");
}
