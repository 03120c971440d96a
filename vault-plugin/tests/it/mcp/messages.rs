//! What goes to an MCP server and what becomes of its answers, whatever their form.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Map, Value, json};
use vault_sdk::{Error, Operation, Response};

use super::server::{Answer, McpServer, Seen, Then, error, handshake, result, stateless};
use crate::mount::{Mount, refusal};

const SECRET: &str = "sk-live/4f+Q~8s9Kx7-demo";

pub(super) async fn mount(server: &McpServer, more: Value) -> Mount {
    let mount = Mount::new();
    let config = json!({
        "upstream_cidrs": "127.0.0.0/8", "allow_danger": "danger_allow_plaintext",
    });
    mount.write("config", config).await.unwrap();
    let mut service = json!({
        "type": "mcp", "base_url": server.base_url, "danger_allow_plaintext": true,
        "auth": "bearer", "token": SECRET, "trust": "allow",
    });
    service.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    mount.write("services/docs", service).await.unwrap();
    mount
}

pub(super) async fn ask(mount: &Mount) -> Result<Response, Error> {
    mount.handle(Operation::Update, "resources/docs", json!({ "uri": "docs://é" })).await
}

pub(super) async fn answer(mount: &Mount) -> Map<String, Value> {
    ask(mount).await.unwrap().as_data().unwrap().clone()
}

pub(super) fn contents(seen: &Seen, text: &str) -> Value {
    json!({ "jsonrpc": "2.0", "id": seen.message["id"], "result": {
        "contents": [{ "uri": "docs://é", "text": text }], "resultType": "complete",
    } })
}

pub(super) fn told(data: &Map<String, Value>) -> Value {
    let result: Value = serde_json::from_str(data["result"].as_str().unwrap()).unwrap();
    result["contents"][0]["text"].clone()
}

/// A stateless server that answers a reading like this.
async fn reading(read: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> McpServer {
    McpServer::start(move |seen| stateless(seen).unwrap_or_else(|| read(seen))).await
}

#[tokio::test]
async fn a_stateless_server_gets_what_the_revision_wants_and_one_message_for_a_call() {
    let server = reading(|seen| Answer::json(200, &contents(seen, "hello"))).await;
    let mount = mount(&server, json!({})).await;
    for _ in 0..2 {
        let data = answer(&mount).await;
        assert_eq!(told(&data), "hello");
        assert_eq!((&data["protocol"], &data["truncated"]), (&json!("2026-07-28"), &json!(false)));
        assert_eq!((&data["redacted"], &data["rule"]), (&json!(0), &json!("")));
    }
    assert_eq!(server.methods(), ["server/discover", "resources/read", "resources/read"]);
    let seen = server.seen().pop().unwrap();
    assert_eq!((seen.http_method.as_str(), seen.target.as_str()), ("POST", "/mcp"));
    assert_eq!(seen.header("authorization"), format!("Bearer {SECRET}"));
    assert_eq!(seen.header("mcp-protocol-version"), "2026-07-28");
    assert_eq!(seen.header("mcp-method"), "resources/read");
    assert_eq!(seen.header("mcp-name"), "=?base64?ZG9jczovL8Op?=");
    assert_eq!(seen.header("accept"), "application/json, text/event-stream");
    assert_eq!(seen.header("accept-encoding"), "identity");
    assert_eq!(seen.message["params"]["uri"], "docs://é");
    assert_eq!(
        seen.message["params"]["_meta"]["io.modelcontextprotocol/protocolVersion"],
        "2026-07-28"
    );
}

#[tokio::test]
async fn every_form_of_an_answer_is_read_to_the_answer() {
    type Form = fn(&Seen) -> Answer;
    let forms: [(&str, Form); 9] = [
        ("JSON", |seen| Answer::json(200, &contents(seen, "hello"))),
        ("JSON with a charset", |seen| {
            Answer::new(200, "application/json; charset=utf-8", contents(seen, "hello").to_string())
        }),
        ("a batch", |seen| {
            Answer::json(200, &json!([{ "method": "notifications/x" }, contents(seen, "hello")]))
        }),
        ("events byte by byte", |seen| {
            let text = format!(
                "\u{feff}: hi\r\nid: 0\r\ndata:\r\n\r\nevent: message\r\ndata: {}\r\n\r\n",
                contents(seen, "hello")
            );
            Answer::events(text).in_pieces_of(1)
        }),
        ("events in lines", |seen| {
            let text = serde_json::to_string_pretty(&contents(seen, "hello")).unwrap();
            let lines: String = text.lines().map(|line| format!("data: {line}\n")).collect();
            Answer::events(format!("{lines}\n"))
        }),
        ("after notifications and garbage", |seen| {
            let progress = json!({ "method": "notifications/progress", "params": {} });
            Answer::events(format!(
                "data: {progress}\n\ndata: not JSON\n\nevent: ping\ndata: {{}}\n\ndata: {}\n\n",
                contents(seen, "hello")
            ))
        }),
        ("twice, of which the first counts", |seen| {
            let (first, second) = (contents(seen, "hello"), contents(seen, "again"));
            Answer::events(format!("data: {first}\n\ndata: {second}\n\n"))
        }),
        ("after an answer to something else", |seen| {
            let other = json!({ "id": 0, "result": {} });
            Answer::events(format!("data: {other}\n\ndata: {}\n\n", contents(seen, "hello")))
        }),
        ("on a stream that stays open", |seen| {
            let text = format!("data: {}\n\n", contents(seen, "hello"));
            Answer::events(text).then(Then::Silence)
        }),
    ];
    for (name, form) in forms {
        let server = reading(form).await;
        let mount = mount(&server, json!({})).await;
        for _ in 0..2 {
            assert_eq!(told(&answer(&mount).await), "hello", "{name}");
        }
    }
}

#[tokio::test]
async fn what_is_no_answer_is_an_unknown_outcome_and_never_asked_for_twice() {
    type Form = fn(&Seen) -> Answer;
    let forms: [(&str, Form, &str); 13] = [
        ("accepted", |_| Answer::new(202, "text/plain", ""), "outcome_unknown"),
        ("a page", |_| Answer::new(200, "text/html", "<html>"), "outcome_unknown"),
        ("broken JSON", |_| Answer::new(200, "application/json", "{\"id\":"), "outcome_unknown"),
        (
            "of another request",
            |_| Answer::json(200, &json!({ "id": 0, "result": {} })),
            "outcome_unknown",
        ),
        (
            "no result",
            |seen| Answer::json(200, &json!({ "id": seen.message["id"] })),
            "outcome_unknown",
        ),
        (
            "a task nobody asked for",
            |seen| result(seen, json!({ "resultType": "task", "taskId": "1" })),
            "outcome_unknown",
        ),
        ("no event", |_| Answer::events(": nothing\n\n"), "outcome_unknown"),
        (
            "a cut event",
            |seen| {
                let text = format!("data: {}\n\n", contents(seen, "hello"));
                Answer::events(&text.as_bytes()[..text.len() / 2])
            },
            "outcome_unknown",
        ),
        ("a failure", |_| Answer::new(500, "text/html", "<html>"), "outcome_unknown"),
        (
            "a gateway's failure",
            |_| Answer::json(504, &json!({ "error": "Gateway Timeout" })),
            "outcome_unknown",
        ),
        (
            "a gateway's error, which names no request",
            |_| Answer::json(502, &json!({ "id": null, "error": { "code": -32603 } })),
            "outcome_unknown",
        ),
        (
            "compressed events",
            |_| Answer::events("data").with("content-encoding", "gzip"),
            "response_undecodable",
        ),
        (
            "input, please",
            |seen| {
                result(
                    seen,
                    json!({ "resultType": "input_required", "requestState": "x",
                        "inputRequests": { "a": { "method": "elicitation/create" } } }),
                )
            },
            "input_required_unsupported: \"docs\" asked its client for elicitation",
        ),
    ];
    for (name, form, code) in forms {
        let server = reading(form).await;
        let mount = mount(&server, json!({})).await;
        let failed = ask(&mount).await;
        assert!(matches!(failed, Err(Error::Coded { status: 424, .. })), "{name}: {failed:?}");
        let text = refusal(failed);
        assert!(text.contains(code), "{name}: {text}");
        assert_eq!(server.count("resources/read"), 1, "{name}");
    }
}

#[tokio::test]
async fn streams_without_end_end_at_the_limits() {
    for (answer, timeout, code) in [
        (Answer::events(": hi\n\n").then(Then::Silence), 1, "outcome_unknown"),
        (Answer::events(vec![b'x'; 1 << 20]).then(Then::Repeat), 60, "response_too_large"),
        (
            Answer::events([b": ".as_slice(), &[b'x'; 1 << 20], b"\n\n"].concat())
                .then(Then::Repeat),
            60,
            "response_too_large",
        ),
    ] {
        let server = reading(move |_| answer.clone()).await;
        let mount = mount(&server, json!({ "timeout": timeout, "max_response_bytes": 1000 })).await;
        let text = refusal(ask(&mount).await);
        assert!(text.contains(code), "{text}");
    }
}

#[tokio::test]
async fn a_result_that_is_too_long_is_cut_and_stays_one() {
    let server = reading(|seen| Answer::json(200, &contents(seen, &"x".repeat(100_000)))).await;
    let mount = mount(&server, json!({ "max_response_bytes": 10_000 })).await;
    let data = answer(&mount).await;
    assert_eq!(data["truncated"], true);
    assert!(data["result"].as_str().unwrap().len() <= 10_000);
    assert!(told(&data).as_str().unwrap().starts_with("xxxx"));
}

#[tokio::test]
async fn requests_of_the_server_are_refused_and_the_answer_awaited() {
    let server = McpServer::start(|seen| {
        handshake(seen, 1).unwrap_or_else(|| {
            let asks = json!({ "jsonrpc": "2.0", "id": "q-1", "method": "sampling/createMessage" });
            let ping = json!({ "jsonrpc": "2.0", "id": 9, "method": "ping" });
            let events = format!("data: {ping}\n\ndata: {asks}\n\n");
            match seen.message["params"]["uri"].as_str() {
                Some("docs://é") => {
                    Answer::events(format!("{events}data: {}\n\n", contents(seen, "without")))
                }
                _ => Answer::events(events),
            }
        })
    })
    .await;
    let mount = mount(&server, json!({})).await;
    assert_eq!(told(&answer(&mount).await), "without");
    let refused: Vec<Seen> =
        server.seen().into_iter().filter(|seen| seen.method() == "(refusal)").collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].message["id"], "q-1");
    assert_eq!(refused[0].message["error"]["code"], -32601);
    assert_eq!(refused[0].header("mcp-session-id"), "s-1");
    assert!(server.seen().iter().any(|seen| seen.message
        == json!({
            "jsonrpc": "2.0", "id": 9, "result": {},
        })));
    let text = refusal(
        mount.handle(Operation::Update, "resources/docs", json!({ "uri": "docs://never" })).await,
    );
    assert!(text.contains("input_required_unsupported"), "{text}");
    assert!(text.contains("sampling") && !text.contains("sign of life"), "{text}");
}

#[tokio::test]
async fn the_credential_is_taken_out_of_whatever_comes_back() {
    type Form = fn(&Seen) -> Answer;
    let forms: [(&str, Form); 4] = [
        ("a result", |seen| Answer::json(200, &contents(seen, seen.header("authorization")))),
        ("an event", |seen| {
            let text = contents(seen, seen.header("authorization")).to_string();
            Answer::events(format!("data: {}\n\n", text.replace('/', "\\/")))
        }),
        ("an error", |seen| {
            let error = json!({ "code": -1, "message": seen.header("authorization"),
                "data": { "a": [seen.header("authorization")] } });
            Answer::json(200, &json!({ "id": seen.message["id"], "error": error }))
        }),
        ("a refusal", |seen| {
            Answer::new(403, "text/plain", format!("bad: {}", seen.header("authorization")))
        }),
    ];
    for (name, form) in forms {
        let server = reading(form).await;
        let mount = mount(&server, json!({})).await;
        let data = answer(&mount).await;
        let text = Value::Object(data.clone()).to_string();
        assert!(!text.contains("4f+Q") && text.contains("[redacted"), "{name}: {text}");
        assert!(data["redacted"].as_u64() > Some(0), "{name}");
    }
}

#[tokio::test]
async fn a_refused_credential_is_named() {
    type Form = fn(&Seen) -> Answer;
    let forms: [Form; 3] = [
        |_| Answer::new(401, "text/plain", "no"),
        |_| Answer::json(401, &json!({ "error": "invalid_token", "error_description": "old" })),
        |seen| error(401, seen, -32001),
    ];
    for (greets, form) in forms.into_iter().flat_map(|form| [(true, form), (false, form)]) {
        let server = McpServer::start(move |seen| {
            let greeting = stateless(seen).filter(|_| greets);
            greeting.unwrap_or_else(|| form(seen).with("retry-after", "7"))
        })
        .await;
        let mount = mount(&server, json!({})).await;
        let data = answer(&mount).await;
        assert_eq!(data["rpc_error"]["code"], 401);
        assert_eq!(data["rpc_error"]["data"]["retry_after"], "7");
        assert_eq!(data["refused_credential"]["name"], "docs");
        assert!(data.get("result").is_none());
    }
}

#[tokio::test]
async fn what_a_call_brings_about_says_nothing_against_the_service() {
    type Form = fn(&Seen) -> Answer;
    let forms: [(Form, &str); 3] = [
        (|_| Answer::new(413, "text/plain", "too much"), "ok"),
        (
            |_| {
                let asks = json!({ "id": 1, "method": "elicitation/create" });
                Answer::events(format!("data: {asks}\n\n"))
            },
            "ok",
        ),
        (|_| Answer::new(502, "text/plain", "away"), "failing"),
    ];
    for (form, state) in forms {
        let server = reading(form).await;
        let mount = mount(&server, json!({})).await;
        drop(ask(&mount).await);
        assert_eq!(server.count("resources/read"), 1);
        let health = mount.read("catalog/docs").await.unwrap()["health"].clone();
        assert_eq!(health["state"], state, "{health}");
    }
}

#[tokio::test]
async fn what_is_too_long_is_refused_before_anything_is_made_of_it() {
    let server = reading(|_| panic!("nothing is sent")).await;
    let mount = mount(&server, json!({ "trust": "pin" })).await;
    let text = "x".repeat(1 << 20);
    for (path, fields, says) in [
        ("resources/docs", json!({ "uri": format!("docs://{}", "é".repeat(2_042)) }), "over 2048"),
        ("prompts/docs/p", json!({ "arguments": { "a": text } }), "raise max_request_bytes"),
        ("call/docs/t", json!({ "arguments": { "a": text } }), "raise max_request_bytes"),
        ("prompts/docs/p", json!({ "arguments": { "a": "x", "b": 1 } }), "texts by name"),
    ] {
        let text = refusal(mount.handle(Operation::Update, path, fields).await);
        assert!(text.contains(says), "{text}");
    }
    let uri = json!({ "uri": format!("docs://{}", "é".repeat(2_041)) });
    let text = refusal(mount.handle(Operation::Update, "resources/docs", uri).await);
    assert!(text.contains("no operator has approved"), "{text}");
}

#[tokio::test]
async fn a_server_that_changed_is_asked_again_and_nothing_repeated() {
    let old = Arc::new(AtomicUsize::new(0));
    let is_old = Arc::clone(&old);
    let server = McpServer::start(move |seen| {
        if is_old.load(Ordering::Relaxed) == 0 {
            return stateless(seen)
                .unwrap_or_else(|| Answer::json(200, &contents(seen, "stateless")));
        }
        handshake(seen, 1).unwrap_or_else(|| match seen.header("mcp-session-id") {
            "" => error(400, seen, -32000),
            _ => Answer::json(200, &contents(seen, "session")),
        })
    })
    .await;
    let mount = mount(&server, json!({})).await;
    assert_eq!(told(&answer(&mount).await), "stateless");
    old.store(1, Ordering::Relaxed);
    assert_eq!(answer(&mount).await["rpc_error"]["code"], -32000);
    assert_eq!(server.count("resources/read"), 2);
    assert_eq!(told(&answer(&mount).await), "session");
}

#[tokio::test]
async fn a_silent_question_is_no_end_and_a_server_that_is_away_is_told() {
    let server = McpServer::start(|seen| {
        if seen.method() == "server/discover" {
            return Answer::events(": hm\n\n").then(Then::Silence);
        }
        handshake(seen, 1).unwrap_or_else(|| Answer::json(200, &contents(seen, "late")))
    })
    .await;
    let mount = mount(&server, json!({})).await;
    let started = std::time::Instant::now();
    assert_eq!(told(&answer(&mount).await), "late");
    assert!(started.elapsed() < Duration::from_secs(20));
    drop(server);
    let away = json!({ "base_url": "http://127.0.0.1:9/mcp", "token": SECRET });
    mount.write("services/docs", away).await.unwrap();
    let text = refusal(ask(&mount).await);
    assert!(text.contains("upstream_unreachable") && text.contains("Nothing was sent"), "{text}");
}

#[tokio::test]
async fn rules_check_and_explain() {
    let server = reading(|seen| Answer::json(200, &contents(seen, "hello"))).await;
    let mount = mount(&server, json!({ "rules": "allow resource docs://*" })).await;
    assert_eq!(answer(&mount).await["rule"], "allow resource docs://*");
    let denied = json!({ "uri": "file:///etc/passwd" });
    let text = refusal(mount.handle(Operation::Update, "resources/docs", denied).await);
    assert!(text.contains("denied_by_rule") && !text.contains("passwd"), "{text}");
    assert_eq!(server.count("resources/read"), 1);
    let check = mount.handle(Operation::Update, "check/docs", json!({})).await.unwrap();
    let check = check.as_data().unwrap();
    assert_eq!((&check["verdict"], &check["protocol"]), (&json!("ok"), &json!("2026-07-28")));
    let explained = mount.handle(Operation::Update, "explain/docs", json!({})).await.unwrap();
    let explained = explained.as_data().unwrap();
    assert_eq!(
        (&explained["verdict"], &explained["url"]),
        (&json!("allowed"), &json!(server.base_url))
    );
}
