//! Sessions of MCP servers that want a handshake: whose they are, and how they end.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use vault_sdk::Operation;

use super::messages::{answer, ask, contents, mount, told};
use super::server::{Answer, McpServer, Seen, Then, handshake, result};
use crate::mount::{Mount, refusal};

#[tokio::test]
async fn a_session_is_the_callers_own_and_is_opened_once() {
    let sessions = Arc::new(AtomicUsize::new(0));
    let server = McpServer::start(move |seen| {
        let is_new = usize::from(seen.method() == "initialize");
        let number = sessions.fetch_add(is_new, Ordering::Relaxed) + is_new;
        handshake(seen, number)
            .unwrap_or_else(|| Answer::json(200, &contents(seen, seen.header("mcp-session-id"))))
    })
    .await;
    let mut mount = mount(&server, json!({})).await;
    let data = answer(&mount).await;
    // The name of a session is as good as a password, but this server gives its own away.
    assert_eq!((told(&data), &data["protocol"]), (json!("s-1"), &json!("2025-11-25")));
    assert_eq!(told(&answer(&mount).await), "s-1");
    mount.caller.entity_id = "e-2".into();
    assert_eq!(told(&answer(&mount).await), "s-2");
    mount.caller.entity_id.clear();
    mount.caller.token_accessor = "a-1".into();
    assert_eq!(told(&answer(&mount).await), "s-3");
    mount.caller.token_accessor.clear();
    assert_eq!(told(&answer(&mount).await), "s-4");
    server.until(|seen| seen.http_method == "DELETE").await;
    let closed = server.seen().pop().unwrap();
    assert_eq!(closed.header("mcp-session-id"), "s-4");
    let methods = server.methods();
    assert_eq!(
        methods[..5],
        [
            "server/discover",
            "initialize",
            "notifications/initialized",
            "resources/read",
            "resources/read"
        ]
    );
    let initialize = &server.seen()[1];
    assert_eq!(initialize.message["params"]["protocolVersion"], "2025-11-25");
    assert_eq!(initialize.message["params"]["capabilities"], json!({}));
    assert_eq!(server.seen()[3].header("mcp-protocol-version"), "2025-11-25");
    assert!(server.seen()[3].headers.get("mcp-method").is_none());
}

#[tokio::test]
async fn a_lost_session_is_opened_anew_and_the_call_made_once() {
    let sessions = Arc::new(AtomicUsize::new(0));
    let opened = Arc::clone(&sessions);
    let server = McpServer::start(move |seen| {
        let is_new = usize::from(seen.method() == "initialize");
        let number = opened.fetch_add(is_new, Ordering::Relaxed) + is_new;
        handshake(seen, number).unwrap_or_else(|| match seen.header("mcp-session-id") {
            "s-2" => Answer::json(200, &contents(seen, "s-2")),
            _ => Answer::new(404, "text/plain", "Session not found"),
        })
    })
    .await;
    let mount = mount(&server, json!({})).await;
    assert_eq!(told(&answer(&mount).await), "s-2");
    assert_eq!((server.count("resources/read"), server.count("initialize")), (2, 2));
    // A server that knows no session at all: once more, and no further.
    sessions.store(7, Ordering::Relaxed);
    mount.write("services/docs", json!({ "description": "Other" })).await.unwrap();
    let data = answer(&mount).await;
    assert_eq!(data["rpc_error"]["code"], 404);
    assert_eq!(data["rpc_error"]["data"]["body"], "Session not found");
    assert_eq!((server.count("resources/read"), server.count("initialize")), (4, 4));
}

#[tokio::test]
async fn an_error_that_names_the_call_is_its_answer_whatever_the_status_says() {
    type Form = fn(&Value) -> Value;
    let forms: [(Form, i64, usize); 6] = [
        (|id| json!({ "id": id, "error": { "code": -32001 } }), -32001, 1),
        (|id| json!({ "id": id, "result": { "isError": true } }), 404, 1),
        (|id| json!({ "id": id.to_string(), "error": { "code": -32001 } }), 404, 1),
        (|id| json!({ "id": id, "error": "no such thing" }), 404, 1),
        // Too long to be read: nobody knows.
        (|_| json!("x".repeat(100_000)), 404, 1),
        (|_| json!({ "id": null, "error": { "code": -32001 } }), -32001, 2),
    ];
    for (form, code, reads) in forms {
        let server = McpServer::start(move |seen| {
            let refused = || Answer::json(404, &form(&seen.message["id"]));
            handshake(seen, 1).unwrap_or_else(refused)
        })
        .await;
        let mount = mount(&server, json!({})).await;
        let data = answer(&mount).await;
        assert_eq!(
            (&data["rpc_error"]["code"], server.count("resources/read")),
            (&json!(code), reads)
        );
    }
}

/// A server with sessions that refuses some resources.
async fn refusing() -> McpServer {
    let sessions = AtomicUsize::new(0);
    McpServer::start(move |seen| {
        let is_new = usize::from(seen.method() == "initialize");
        let number = sessions.fetch_add(is_new, Ordering::Relaxed) + is_new;
        handshake(seen, number).unwrap_or_else(|| match seen.message["params"]["uri"].as_str() {
            Some("docs://large") => Answer::new(413, "text/plain", "too much"),
            Some("docs://odd") => Answer::new(400, "text/plain", "no such session"),
            _ => Answer::json(200, &contents(seen, seen.header("mcp-session-id"))),
        })
    })
    .await
}

async fn read(mount: &Mount, uri: &str) -> Value {
    let read = mount.handle(Operation::Update, "resources/docs", json!({ "uri": uri })).await;
    read.unwrap().as_data().unwrap()["rpc_error"]["code"].clone()
}

#[tokio::test]
async fn what_one_agent_is_refused_costs_no_other_one_a_question() {
    let server = refusing().await;
    let mut mount = mount(&server, json!({})).await;
    let ask_as = async |mount: &mut Mount, who: &str| {
        mount.caller.entity_id = who.to_owned();
        told(&answer(mount).await)
    };
    assert_eq!(ask_as(&mut mount, "ada").await, "s-1");
    assert_eq!(ask_as(&mut mount, "bob").await, "s-2");
    // Too much of one call is nothing new about the server.
    assert_eq!(read(&mount, "docs://large").await, 413);
    assert_eq!(ask_as(&mut mount, "ada").await, "s-1");
    assert_eq!(server.count("server/discover"), 1);
    // That may be: it is asked once more, and not with each call of those who have a session.
    mount.caller.entity_id = "bob".into();
    assert_eq!(read(&mount, "docs://odd").await, 400);
    for _ in 0..3 {
        assert_eq!(ask_as(&mut mount, "ada").await, "s-1");
    }
    assert_eq!(server.count("server/discover"), 2);
}

#[tokio::test]
async fn no_session_is_left_open_at_the_server() {
    let closed = async |server: &McpServer, id: &str| {
        server
            .until(|seen| seen.http_method == "DELETE" && seen.header("mcp-session-id") == id)
            .await;
    };
    let server = refusing().await;
    let mount = mount(&server, json!({})).await;
    // One that a call has put in doubt.
    assert_eq!(read(&mount, "docs://odd").await, 400);
    closed(&server, "s-1").await;
    // Those of a definition that has changed.
    assert_eq!(told(&answer(&mount).await), "s-2");
    mount.write("services/docs", json!({ "description": "Other" })).await.unwrap();
    closed(&server, "s-2").await;
    assert_eq!(told(&answer(&mount).await), "s-3");
    // One of a revision that nobody speaks.
    let server = McpServer::start(|seen| match seen.method() {
        "initialize" => {
            let hello = result(seen, json!({ "protocolVersion": "1999-12-31" }));
            hello.with("mcp-session-id", "s-old")
        }
        _ => handshake(seen, 1).unwrap(),
    })
    .await;
    let mount = self::mount(&server, json!({})).await;
    let text = refusal(ask(&mount).await);
    assert!(text.contains("speaks none of the revisions"), "{text}");
    closed(&server, "s-old").await;
}

#[tokio::test]
async fn who_leaves_ends_the_stream_and_says_so() {
    let mut server = McpServer::start(|seen| {
        handshake(seen, 1).unwrap_or_else(|| Answer::events(": hi\n\n").then(Then::Silence))
    })
    .await;
    let mount = mount(&server, json!({})).await;
    let leaving = async {
        server.until(|seen| seen.method() == "resources/read").await;
    };
    tokio::select! {
        answered = ask(&mount) => panic!("{answered:?}"),
        () = leaving => {}
    }
    server.until(|seen| seen.method() == "notifications/cancelled").await;
    let seen = server.seen();
    let read = seen.iter().find(|seen| seen.method() == "resources/read").unwrap();
    let cancelled = seen.last().unwrap();
    assert_eq!(cancelled.message["params"]["requestId"], read.message["id"]);
    assert_eq!(cancelled.header("mcp-session-id"), "s-1");
    let bodies = seen.len();
    server.until_ended(bodies).await;
}

#[tokio::test]
async fn who_leaves_without_a_name_leaves_no_session_behind() {
    for silent in ["resources/read", "notifications/initialized"] {
        let server = McpServer::start(move |seen| {
            let answer = handshake(seen, 1).unwrap_or_else(|| Answer::events(": hi\n\n"));
            if seen.method() == silent { answer.then(Then::Silence) } else { answer }
        })
        .await;
        let mut mount = mount(&server, json!({ "max_in_flight": 1 })).await;
        mount.caller.entity_id.clear();
        tokio::select! {
            answered = ask(&mount) => panic!("{answered:?}"),
            () = server.until(|seen| seen.method() == silent) => {}
        }
        server.until(|seen| seen.http_method == "DELETE").await;
        assert_eq!(server.seen().pop().unwrap().header("mcp-session-id"), "s-1");
    }
}

#[tokio::test]
async fn a_call_has_its_place_until_the_server_knows_that_it_is_over() {
    let server = McpServer::start(|seen| {
        let answer = handshake(seen, 1).unwrap_or_else(|| Answer::events(": hi\n\n"));
        match seen.method() {
            "resources/read" | "notifications/cancelled" => answer.then(Then::Silence),
            _ => answer,
        }
    })
    .await;
    let mount = mount(&server, json!({ "max_in_flight": 1 })).await;
    tokio::select! {
        answered = ask(&mount) => panic!("{answered:?}"),
        () = server.until(|seen| seen.method() == "resources/read") => {}
    }
    server.until(|seen| seen.method() == "notifications/cancelled").await;
    let text = refusal(ask(&mount).await);
    assert!(text.starts_with("busy: "), "{text}");
    assert_eq!(server.count("resources/read"), 1);
}

#[tokio::test]
async fn the_name_of_a_session_is_taken_out_of_whatever_comes_back() {
    const SESSION: &str = "5e551011/0123456789\"abcdef";
    type Form = fn(&Seen) -> Answer;
    let forms: [(&str, Form); 4] = [
        ("a result", |seen| Answer::json(200, &contents(seen, SESSION))),
        ("an event", |seen| {
            let text = contents(seen, &format!("{SESSION}{SESSION}")).to_string();
            Answer::events(format!("data: {}\n\n", text.replace('/', "\\/")))
        }),
        ("an error", |seen| {
            let error = json!({ "code": -1, "message": SESSION, "data": [SESSION] });
            Answer::json(200, &json!({ "id": seen.message["id"], "error": error }))
        }),
        ("a refusal", |_| Answer::new(403, "text/plain", format!("bad: {SESSION}"))),
    ];
    for (name, form) in forms {
        let server = McpServer::start(move |seen| match handshake(seen, 1) {
            Some(mut answer) => {
                answer.headers.retain(|(name, _)| *name != "mcp-session-id");
                answer.with("mcp-session-id", SESSION)
            }
            None => form(seen),
        })
        .await;
        let mount = mount(&server, json!({})).await;
        let data = answer(&mount).await;
        let text = Value::Object(data.clone()).to_string();
        assert!(!text.contains("0123456789") && text.contains("[redacted"), "{name}: {text}");
        assert!(data["redacted"].as_u64() > Some(0), "{name}");
    }
}
