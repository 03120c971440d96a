//! MCP servers behind the engine: what is listed of them, and what calls of them send and answer.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::bridge::{Bridge, Machine};
use crate::vault::{Vault, answered, offer, refused, server, service};

const MODERN: &str = "2026-07-28";

fn meta() -> Value {
    json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": { "name": "test", "version": "1" },
    })
}

fn tool(name: &str, description: &str) -> Value {
    json!({ "name": name, "description": description,
            "inputSchema": { "type": "object", "properties": { "id": { "type": "string" } } } })
}

/// A Vault with one HTTP service and one MCP server.
async fn with(lists: Value) -> Vault {
    let vault = Vault::start().await;
    {
        let mut script = vault.script();
        let services = json!([service("github"), server("linear", 0)]);
        script.catalog = Some(json!({ "revision": "1", "services": services }));
        script.offers.insert("linear".to_owned(), offer("linear", lists));
    }
    vault
}

/// Has the next answer of a tool bring another revision of the catalog.
fn revise(vault: &Vault, services: Value) {
    vault.script().catalog = Some(json!({ "revision": "2", "services": services }));
    vault.answer(
        "call/linear/get",
        answered(json!({ "result": "{\"content\":[]}", "catalog_revision": "2" })),
    );
}

async fn names(bridge: &mut Bridge) -> Vec<String> {
    let listed = bridge.request("tools/list", json!({})).await["result"].clone();
    let tools = listed["tools"].as_array().unwrap_or_else(|| panic!("{listed}"));
    tools.iter().skip(3).map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn tools_are_listed_with_all_that_their_server_says_where_the_policy_permits_the_call() {
    let definition = json!({
        "name": "create.issue", "title": "Create an issue", "description": "Creates an issue.",
        "inputSchema": { "type": "object", "properties": { "team": { "type": ["string", "null"] } } },
        "outputSchema": { "type": "object" }, "annotations": { "destructiveHint": false },
        "icons": [{ "src": "https://linear.example/i.png" }], "_meta": { "x/y": 1 }, "new": [1],
        "execution": { "taskSupport": "optional" },
    });
    let lists = json!({ "tools": [definition, tool("delete", "Deletes.")] });
    let vault = with(lists).await;
    let permitted = ["github/GET", "call/linear/create_issue"].map(str::to_owned);
    vault.script().permitted = Some(HashSet::from(permitted));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    let hello = bridge.initialize("2025-11-25").await;
    assert_eq!(hello["capabilities"], json!({ "tools": { "listChanged": true } }));
    let listed = bridge.request("tools/list", json!({})).await["result"].clone();
    assert_eq!(listed.as_object().unwrap().len(), 1, "{listed}");
    let tools = listed["tools"].as_array().unwrap();
    let mut expected = definition;
    expected["name"] = json!("linear__create_issue");
    expected["inputSchema"]["properties"]["team"] =
        json!({ "anyOf": [{ "type": "string" }, { "type": "null" }] });
    expected.as_object_mut().unwrap().remove("execution");
    assert_eq!(tools[3..], [expected]);
    for own in [1, 2] {
        assert_eq!(tools[own]["inputSchema"]["properties"]["service"]["enum"], json!(["github"]));
    }
    let (text, _) = bridge.call("list_services", json!({})).await;
    assert!(text.ends_with("\n- linear: About linear. 1 tool (linear__…)."), "{text}");
    let text = bridge.refusal("proxy_read", json!({ "service": "linear", "path": "/" })).await;
    assert!(text.contains("is an MCP server: it takes no paths"), "{text}");
    assert_eq!(vault.arrivals("mcp-proxy/catalog/linear").len(), 1, "once for a revision");

    let modern = bridge.request("tools/list", json!({ "_meta": meta() })).await["result"].clone();
    assert_eq!(
        (&modern["resultType"], &modern["cacheScope"]),
        (&json!("complete"), &json!("private"))
    );
    assert!(modern["ttlMs"].is_u64() && modern["tools"] == listed["tools"], "{modern}");
    let unknown = bridge.request("tools/call", json!({ "name": "linear__delete" })).await;
    assert_eq!(unknown["error"]["code"], -32602, "advertised is executable: {unknown}");
    bridge.finish().await;

    // The next start knows them before Vault has answered.
    vault.script().stall_login = Some(Duration::from_secs(3));
    let mut bridge = machine.serve(&vault);
    let hello = bridge.initialize("2025-11-25").await;
    let instructions = hello["instructions"].as_str().unwrap();
    assert!(instructions.contains("linear (About linear; tools linear__…)"), "{instructions}");
    let listing = Instant::now();
    assert_eq!(names(&mut bridge).await, ["linear__create_issue"]);
    assert!(listing.elapsed() < Duration::from_millis(2_800), "{:?}", listing.elapsed());
    bridge.finish().await;
}

#[tokio::test]
async fn a_call_gives_and_brings_what_was_written() {
    let vault = with(json!({ "tools": [tool("get", "Gets.")] })).await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    names(&mut bridge).await;
    let result = concat!(
        r#"{"content":[{"type":"odd","n":1.10}],"#,
        "\n",
        r#""structuredContent":{"z":12345678901234567890123,"a":1.0},"x":null,"resultType":"complete"}"#
    );
    vault.answer("call/linear/get", answered(json!({ "result": result, "protocol": MODERN })));
    let arguments = r#"{"z":12345678901234567890123, "a":1.10}"#;
    let call = |id: u64, meta: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":{id},"method":"tools/call","params":{{"name":"linear__get","arguments":{arguments}{meta}}}}}"#
        )
    };
    bridge.write(&call(1, "")).await;
    bridge.next().await;
    let line = bridge.last_line();
    for part in [
        r#""content":[{"type":"odd","n":1.10}]"#,
        r#""structuredContent":{"z":12345678901234567890123,"a":1.0}"#,
        r#""x":null"#,
    ] {
        assert!(line.contains(part), "{part} in {line}");
    }
    assert!(!line.contains("resultType"), "{line}");
    let arrived = vault.arrivals("mcp-proxy/call/linear/get");
    assert_eq!(arrived[0].body, json!({ "arguments": arguments, "revision": "2025-11-25" }));

    vault.answer("call/linear/get", answered(json!({ "result": "{\"content\":[]}" })));
    bridge.write(&call(2, &format!(",\"_meta\":{}", meta()))).await;
    let modern = bridge.next().await;
    assert_eq!(modern["result"], json!({ "content": [], "resultType": "complete" }));
    let arrived = vault.arrivals("mcp-proxy/call/linear/get");
    assert_eq!(arrived[1].body["revision"], MODERN);

    // No arguments at all, and arguments that Vault takes only in pieces.
    bridge.request("tools/call", json!({ "name": "linear__get" })).await;
    let long = "\u{20ac}".repeat(400_000);
    bridge
        .request("tools/call", json!({ "name": "linear__get", "arguments": { "t": long } }))
        .await;
    let arrived = vault.arrivals("mcp-proxy/call/linear/get");
    assert_eq!(arrived[2].body["arguments"], "{}");
    let pieces = arrived[3].body["arguments"].as_array().unwrap();
    let joined = pieces.iter().map(|piece| piece.as_str().unwrap()).collect::<String>();
    assert!(pieces.len() > 1 && serde_json::from_str::<Value>(&joined).unwrap()["t"] == long);
    bridge.finish().await;
}

#[tokio::test]
async fn an_old_client_gets_what_it_can_read() {
    let vault = with(json!({ "tools": [tool("get", "Gets.")] })).await;
    let result = json!({
        "content": [{ "type": "resource_link", "uri": "a://1", "name": "one" },
                    { "type": "audio", "data": "AA==", "mimeType": "audio/wav" }],
        "structuredContent": { "a": 1 }, "resultType": "complete",
    });
    let answer = json!({ "result": result.to_string(), "redacted": 2 });
    vault.answer("call/linear/get", answered(answer));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2024-11-05").await;
    names(&mut bridge).await;
    let called = bridge.request("tools/call", json!({ "name": "linear__get" })).await;
    let content = called["result"]["content"].as_array().unwrap();
    assert!(content.iter().all(|block| block["type"] == "text"), "{called}");
    assert!(content[2]["text"].as_str().unwrap().contains("removed a credential"), "{called}");
    assert!(called["result"].get("structuredContent").is_none(), "{called}");
    bridge.finish().await;
}

#[tokio::test]
async fn what_a_server_or_the_engine_refuses_is_told() {
    let vault = with(json!({ "tools": [tool("get", "Gets.")] })).await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    names(&mut bridge).await;
    let error = |code: i64| {
        let error = json!({ "code": code, "message": "no such issue", "data": { "id": 7 } });
        answered(json!({ "rpc_error": error }))
    };
    // An error of the server's own is the client's to read; one about MCP itself would mislead it.
    vault.answer("call/linear/get", error(-32602));
    let called = bridge.request("tools/call", json!({ "name": "linear__get" })).await;
    assert_eq!(
        called["error"],
        json!({ "code": -32602, "message": "no such issue", "data": { "id": 7 } })
    );
    for (code, expected) in [
        (-32022, "\"linear\" refused the call (its error -32022): no such issue. {\"id\":7}"),
        (429, "\"linear\" refused the call: no such issue. {\"id\":7}"),
    ] {
        vault.answer("call/linear/get", error(code));
        assert_eq!(bridge.refusal("linear__get", json!({})).await, expected);
    }
    vault.answer(
        "call/linear/get",
        answered(json!({
            "rpc_error": { "code": 401, "message": "HTTP 401 Unauthorized" },
            "refused_credential": { "name": "linear", "version": 3, "stored": "2026-11-02T00:00:00Z" },
        })),
    );
    let text = bridge.refusal("linear__get", json!({})).await;
    assert!(text.starts_with("credential_refused: \"linear\" answered 401"), "{text}");
    assert!(text.contains("(version 3, stored 2026-11-02)"), "{text}");
    for (status, text, expected) in [
        (
            400,
            "tool_not_approved: the tool \"get\" waits. (request_id r1)",
            "tool_not_approved: the tool \"get\" waits. Nothing was sent. Retrying won't help. Tell \
             the user; an operator has to approve it. (request_id r1)",
        ),
        (
            404,
            "unknown_tool: \"linear\" has no tool get. (request_id r1)",
            "unknown_tool: \"linear\" has no tool get. Nothing was sent. Choose another tool, or tell \
             the user that it is gone. (request_id r1)",
        ),
        (
            424,
            "outcome_unknown: \"linear\" didn't answer. (request_id r1)",
            "outcome_unknown: \"linear\" didn't answer. Don't repeat it. First check whether it \
             happened, with a tool of the same service that only reads, then decide. (request_id r1)",
        ),
        (
            424,
            "input_required_unsupported: \"linear\" asked for elicitation. (request_id r1)",
            "input_required_unsupported: \"linear\" asked for elicitation. Retrying won't help. Tell \
             the user what it asked for. (request_id r1)",
        ),
    ] {
        vault.answer("call/linear/get", refused(status, text));
        assert_eq!(bridge.refusal("linear__get", json!({})).await, expected);
    }
    // The policy was changed under it: the tool goes, with a word on who can mend it.
    vault.script().permitted = Some(HashSet::from(["github/GET".to_owned()]));
    let text = bridge.refusal("linear__get", json!({})).await;
    assert_eq!(
        text,
        "not_permitted: Vault's policy for this agent doesn't allow the tool \"get\" of \"linear\". \
         Nothing was sent. Retrying won't help. Tell the user; an operator can allow it: mcp-bridge \
         policy linear --tools get"
    );
    bridge.notification("notifications/tools/list_changed").await;
    assert!(names(&mut bridge).await.is_empty());
    bridge.finish().await;
}

#[tokio::test]
async fn a_server_that_cant_be_read_costs_the_others_nothing() {
    let vault = with(json!({ "tools": [tool("get", "Gets.")] })).await;
    {
        let mut script = vault.script();
        let services = ["a", "b", "c"].map(|name| server(name, 0));
        let mut all = json!([service("github"), server("linear", 0)]);
        all.as_array_mut().unwrap().extend(services);
        script.catalog = Some(json!({ "revision": "1", "services": all }));
        let slow = offer("a", json!({ "tools": [tool("late", "Comes late.")] }));
        script.offers.insert("a".to_owned(), slow.set_delay(Duration::from_secs(3)));
        script.offers.insert("b".to_owned(), refused(500, "internal error"));
        let odd = answered(json!({ "name": "c", "type": "mcp", "tools": [1, { "name": "x" }] }));
        script.offers.insert("c".to_owned(), odd);
    }
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    let start = Instant::now();
    assert_eq!(names(&mut bridge).await, ["linear__get"]);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    // What came too late for the first list is listed when it comes.
    bridge.notification("notifications/tools/list_changed").await;
    assert_eq!(names(&mut bridge).await, ["a__late", "linear__get"]);

    // Another revision, and nothing can be read: what was seen stays.
    vault.script().offers.insert("linear".to_owned(), refused(500, "internal error"));
    revise(&vault, json!([server("a", 0), server("linear", 2)]));
    bridge.request("tools/call", json!({ "name": "linear__get" })).await;
    vault.wait_for("mcp-proxy/catalog/linear", 2).await;
    let (text, _) = bridge.call("list_services", json!({})).await;
    assert!(
        text.contains("1 tool (linear__…). 2 tools wait for an operator's approval."),
        "{text}"
    );
    assert_eq!(names(&mut bridge).await, ["a__late", "linear__get"]);
    bridge.finish().await;
}

#[tokio::test]
async fn many_tools_are_found_by_a_search_and_favourites_stay() {
    let mut tools =
        (0..60).map(|n| tool(&format!("list_{n}"), "Lists things.")).collect::<Vec<_>>();
    tools.push(tool("create_issue", "Creates an issue in a team."));
    let vault = with(json!({ "tools": tools })).await;
    let machine = Machine::new();
    std::fs::write(machine.path("config.toml"), "favourites = [\"linear__*_7\"]\n").unwrap();
    let mut command = machine.command(&vault.address());
    let mut bridge = Bridge::spawn(command.env("MCP_BRIDGE_CONFIG", machine.path("config.toml")));
    bridge.initialize("2025-11-25").await;
    let listed = bridge.request("tools/list", json!({})).await["result"]["tools"].clone();
    assert_eq!(names(&mut bridge).await, ["find_tools", "call_tool", "linear__list_7"]);
    let find = &listed[3];
    let description = find["description"].as_str().unwrap();
    assert!(description.contains("linear (About linear; 61 tools)"), "{description}");
    assert_eq!(find["annotations"]["readOnlyHint"], true);
    let (text, error) = bridge.call("find_tools", json!({ "query": "new issue" })).await;
    assert!(!error, "{text}");
    let found = serde_json::from_str::<Value>(text.lines().nth(1).unwrap()).unwrap();
    assert_eq!(found["name"], "linear__create_issue");
    assert_eq!(found["inputSchema"]["properties"]["id"]["type"], "string");

    let line = r#"{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"call_tool","arguments":{"name":"linear__create_issue","arguments":{"id":1.10}}}}"#;
    bridge.write(line).await;
    let called = bridge.response(&json!(1)).await;
    assert_eq!(called["result"]["content"][0]["text"], "done");
    let lenient = json!({ "name": "linear__create_issue", "arguments": "{\"id\": 7}" });
    assert!(!bridge.call("call_tool", lenient).await.1);
    let arrived = vault.arrivals("mcp-proxy/call/linear/create_issue");
    let given = arrived.iter().map(|a| a.body["arguments"].as_str().unwrap()).collect::<Vec<_>>();
    assert_eq!(given, [r#"{"id":1.10}"#, r#"{"id": 7}"#]);
    let text = bridge.refusal("call_tool", json!({ "name": "linear__create_isue" })).await;
    assert!(text.contains("Did you mean \"linear__create_issue\"?"), "{text}");
    bridge.finish().await;

    // The limit is a setting, and so are the favourites.
    let mut command = machine.command(&vault.address());
    let mut bridge = Bridge::spawn(command.env("MCP_BRIDGE_MAX_TOOLS", "61"));
    bridge.initialize("2025-11-25").await;
    assert_eq!(names(&mut bridge).await.len(), 61);
    bridge.finish().await;
    let mut command = machine.command(&vault.address());
    command.env("MCP_BRIDGE_MAX_TOOLS", "0").env("MCP_BRIDGE_FAVOURITES", "x, linear__create_*");
    let mut bridge = Bridge::spawn(&mut command);
    bridge.initialize("2025-11-25").await;
    assert_eq!(names(&mut bridge).await[2..], ["linear__create_issue"]);
    bridge.finish().await;
}

#[tokio::test]
async fn prompts_and_resources_are_offered_where_there_are_some() {
    let lists = json!({
        "tools": [tool("get", "Gets.")],
        "prompts": [{ "name": "say hi", "title": "Hi", "arguments": [{ "name": "to" }], "new": 1 }],
        "resources": [{ "uri": "file:///a", "name": "a", "new": 1 }],
        "resource_templates": [{ "uriTemplate": "issue://{id}", "name": "issue" }],
    });
    let vault = with(lists).await;
    {
        let mut script = vault.script();
        let services = json!([server("linear", 0), server("no_tion", 0)]);
        script.catalog = Some(json!({ "revision": "1", "services": services }));
        let lists = json!({ "resources": [{ "uri": "file:///a", "name": "b" }] });
        script.offers.insert("no_tion".to_owned(), offer("no_tion", lists));
    }
    let machine = Machine::new();
    // The first start declares what is known: nothing. It's known once the list was asked for.
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    names(&mut bridge).await;
    bridge.finish().await;
    let mut bridge = machine.serve(&vault);
    let hello = bridge.initialize("2025-11-25").await;
    let changing = json!({ "listChanged": true });
    assert_eq!(
        hello["capabilities"],
        json!({ "tools": changing, "prompts": changing, "resources": changing })
    );
    let listed = bridge.request("resources/list", json!({})).await["result"].clone();
    assert_eq!(
        listed,
        json!({ "resources": [
            { "uri": "linear+file:///a", "name": "a", "new": 1 },
            { "uri": "no.tion+file:///a", "name": "b" },
        ] })
    );
    let templates = bridge.request("resources/templates/list", json!({})).await["result"].clone();
    assert_eq!(templates["resourceTemplates"][0]["uriTemplate"], "issue://{id}");
    let prompts = bridge.request("prompts/list", json!({})).await["result"].clone();
    assert_eq!(
        prompts,
        json!({ "prompts": [{ "name": "linear__say_hi", "title": "Hi",
                              "arguments": [{ "name": "to" }], "new": 1 }] })
    );

    let contents = json!({ "contents": [{ "uri": "file:///a", "text": "x" }] }).to_string();
    vault.answer("resources/no_tion", answered(json!({ "result": contents })));
    let read = bridge.request("resources/read", json!({ "uri": "no.tion+file:///a" })).await;
    assert_eq!(read["result"]["contents"][0]["uri"], "no.tion+file:///a", "{read}");
    let uris = |path: &str| {
        let arrived = vault.arrivals(path);
        arrived.iter().map(|a| a.body["uri"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(uris("mcp-proxy/resources/no_tion"), ["file:///a"]);
    let contents = json!({ "contents": [{ "uri": "issue://7", "text": "x" }] }).to_string();
    vault.answer("resources/linear", answered(json!({ "result": contents })));
    let params = json!({ "uri": "issue://7", "_meta": meta() });
    let read = bridge.request("resources/read", params).await["result"].clone();
    assert_eq!(
        read,
        json!({ "contents": [{ "uri": "issue://7", "text": "x" }], "resultType": "complete",
                "ttlMs": 0, "cacheScope": "private" })
    );
    assert_eq!(uris("mcp-proxy/resources/linear"), ["issue://7"]);
    let unclear = bridge.request("resources/read", json!({ "uri": "other://1" })).await;
    assert_eq!(unclear["error"]["code"], -32002, "{unclear}");

    let messages = json!({ "messages": [] }).to_string();
    vault.answer("prompts/linear/say_hi", answered(json!({ "result": messages })));
    let params = json!({ "name": "linear__say_hi", "arguments": { "to": "you" } });
    let got = bridge.request("prompts/get", params).await;
    assert_eq!(got["result"], json!({ "messages": [] }));
    let arrived = &vault.arrivals("mcp-proxy/prompts/linear/say_hi")[0];
    assert_eq!(arrived.body["arguments"], r#"{"to":"you"}"#);
    let unknown = bridge.request("prompts/get", json!({ "name": "linear__x" })).await;
    assert_eq!(unknown["error"]["code"], -32602);

    // All lists change at once, and each has a notification of its own.
    names(&mut bridge).await;
    revise(&vault, json!([service("github")]));
    bridge.request("tools/call", json!({ "name": "linear__get" })).await;
    for list in ["tools", "prompts", "resources"] {
        bridge.notification(&format!("notifications/{list}/list_changed")).await;
    }
    bridge.finish().await;
}

#[tokio::test]
async fn a_result_of_very_many_items_is_gone_through_without_being_kept() {
    let resource = json!({ "uri": "file:///a", "name": "a" });
    let vault = with(json!({ "tools": [], "resources": [resource] })).await;
    // The last one is no content, so that little comes back.
    let contents = format!("{{\"contents\":[{}1]}}", "{\"\":1},".repeat(100_000));
    vault.answer("resources/linear", answered(json!({ "result": contents })));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    names(&mut bridge).await;
    let read = bridge.request("resources/read", json!({ "uri": "linear+file:///a" })).await;
    assert!(read["error"].is_object(), "{read}");
    let status = std::fs::read_to_string(format!("/proc/{}/status", bridge.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 60 << 10, "{peak} KiB");
    bridge.finish().await;
}

#[tokio::test]
async fn a_subscriber_hears_of_the_lists_that_it_asked_for() {
    let prompt = json!({ "name": "hi" });
    let vault = with(json!({ "tools": [tool("get", "Gets.")], "prompts": [prompt] })).await;
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    for list in ["tools/list", "prompts/list"] {
        bridge.request(list, json!({ "_meta": meta() })).await;
    }
    let wanted = json!({ "promptsListChanged": true, "resourcesListChanged": true });
    bridge
        .send(json!({ "jsonrpc": "2.0", "id": "l", "method": "subscriptions/listen",
                      "params": { "_meta": meta(), "notifications": wanted } }))
        .await;
    let accepted = bridge.notification("notifications/subscriptions/acknowledged").await;
    assert_eq!(
        accepted["params"]["notifications"],
        json!({ "promptsListChanged": true }),
        "no server has resources"
    );
    revise(&vault, json!([service("github")]));
    let call = json!({ "name": "linear__get", "_meta": meta() });
    bridge.request("tools/call", call).await;
    bridge.notification("notifications/prompts/list_changed").await;
    assert_eq!(bridge.kept("notifications/tools/list_changed"), 0);
    bridge.finish().await;
}

#[tokio::test]
async fn a_tool_that_takes_long_is_heard_of_and_one_that_is_withdrawn_is_not() {
    let vault = with(json!({ "tools": [tool("get", "Gets.")] })).await;
    let slow = answered(json!({ "result": "{\"content\":[]}" }));
    vault.answer("call/linear/get", slow.set_delay(Duration::from_millis(5_600)));
    let machine = Machine::new();
    let mut bridge = machine.serve(&vault);
    bridge.initialize("2025-11-25").await;
    names(&mut bridge).await;
    let call = |token: &str| json!({ "name": "linear__get", "_meta": { "progressToken": token } });
    let gone = bridge.start_request("tools/call", call("gone")).await;
    let kept = bridge.start_request("tools/call", call("kept")).await;
    vault.wait_for("mcp-proxy/call/linear/get", 2).await;
    bridge
        .send(json!({ "jsonrpc": "2.0", "method": "notifications/cancelled",
                      "params": { "requestId": gone } }))
        .await;
    let progress = bridge.next().await;
    assert_eq!(progress["params"]["progressToken"], "kept", "{progress}");
    let answer = bridge.next().await;
    assert_eq!((&answer["id"], &answer["result"]["content"]), (&kept, &json!([])), "{answer}");
    bridge.finish().await;
}
