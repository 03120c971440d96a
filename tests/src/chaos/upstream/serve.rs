//! What an upstream does: HTTP below `/do`, MCP at `/mcp` (stateless) and `/old` (with sessions).

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::fs::File;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response, header};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use super::tag;

/// The header by which a server with sessions knows them (MCP 2025-11-25, session management).
const SESSION: &str = "mcp-session-id";

struct State {
    book: File,
    sessions: Mutex<HashSet<String>>,
}

/// An answer: a status, a session's name if one was opened, a body.
type Answer = (u16, Option<String>, Value);

/// Serves at a port of loopback, 0 for any, and prints which; appends a line to `book` for each
/// execution before it answers. Ends when its standard input does.
///
/// # Panics
/// When the port or the book can't be had.
#[expect(clippy::print_stdout, reason = "how its starter learns the port")]
pub async fn serve(port: u16, book: &Path) {
    let book = File::options().create(true).append(true).open(book).expect("a book");
    let state = Arc::new(State { book, sessions: Mutex::default() });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.expect("a port");
    println!("{}", listener.local_addr().expect("an address").port());
    let accept = async {
        while let Ok((stream, _)) = listener.accept().await {
            let _ = stream.set_nodelay(true);
            let state = Arc::clone(&state);
            tokio::spawn(async move {
                let service = service_fn(move |request| handle(request, Arc::clone(&state)));
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new());
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
            });
        }
    };
    let (mut input, mut byte) = (tokio::io::stdin(), [0]);
    tokio::select! {
        () = accept => {}
        _ = input.read(&mut byte) => {}
    }
}

async fn handle(
    request: Request<Incoming>,
    state: Arc<State>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (parts, body) = request.into_parts();
    let (status, session, body) = match body.collect().await {
        Ok(body) => {
            let path = parts.uri.path();
            match path {
                "/mcp" | "/old" => {
                    let message = serde_json::from_slice(&body.to_bytes()).unwrap_or_default();
                    let is_old = path == "/old";
                    state.speak(&parts.method, &parts.headers, &message, is_old).await
                }
                _ => {
                    let id = path.rsplit('/').next().unwrap_or_default();
                    let query = parts.uri.query().unwrap_or_default();
                    let ms = query.strip_prefix("ms=").and_then(|ms| ms.parse().ok());
                    let tag = state.execute(id, &parts.headers, ms.unwrap_or(0)).await;
                    (200, None, json!({ "id": id, "tag": tag }))
                }
            }
        }
        // Who left in the middle of a request has not made it.
        Err(_) => (400, None, Value::Null),
    };
    let mut response = Response::builder().status(status);
    if let Some(session) = session {
        response = response.header(SESSION, session);
    }
    let body = if status == 202 { Bytes::new() } else { body.to_string().into() };
    let response = response.header(header::CONTENT_TYPE, "application/json").body(Full::new(body));
    Ok(response.expect("a response"))
}

impl State {
    /// Notes a call down, then takes its time; gives the tag of the credential.
    async fn execute(&self, id: &str, headers: &HeaderMap, ms: u64) -> String {
        let text = |name: &str| {
            headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("-").to_owned()
        };
        let tag = tag(&text("authorization"));
        let line = format!("{id} {tag} {}\n", text("x-request-id"));
        // One write, which a kill either lets through or not.
        (&self.book).write_all(line.as_bytes()).expect("the book");
        tokio::time::sleep(Duration::from_millis(ms)).await;
        tag
    }

    async fn speak(
        &self,
        verb: &hyper::Method,
        headers: &HeaderMap,
        message: &Value,
        is_old: bool,
    ) -> Answer {
        let method = message["method"].as_str().unwrap_or_default();
        let error = |status, code: i64| {
            let error = json!({ "code": code, "message": "no" });
            (status, None, json!({ "jsonrpc": "2.0", "id": message["id"], "error": error }))
        };
        if is_old {
            let name = headers.get(SESSION).and_then(|value| value.to_str().ok());
            match method {
                "initialize" => return self.open(message),
                "server/discover" => return error(400, -32600),
                // As the SDKs' servers do: no request is named, since none was looked at.
                _ if !name.is_some_and(|name| self.sessions.lock().unwrap().contains(name)) => {
                    let (status, session, mut body) = error(404, -32001);
                    body["id"] = Value::Null;
                    return (status, session, body);
                }
                _ => {}
            }
        }
        if verb != hyper::Method::POST || message["id"].is_null() {
            return (202, None, Value::Null);
        }
        let mut result = match method {
            "server/discover" => json!({
                "supportedVersions": ["2026-07-28"],
                "capabilities": { "tools": {} },
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "chaos", "version": "1" } },
            }),
            "tools/list" => json!({ "tools": [tool()] }),
            "tools/call" => {
                let arguments = &message["params"]["arguments"];
                let id = arguments["id"].as_str().unwrap_or("-");
                let ms = arguments["ms"].as_u64().unwrap_or(0);
                let tag = self.execute(id, headers, ms).await;
                let text = json!({ "id": id, "tag": tag }).to_string();
                json!({ "content": [{ "type": "text", "text": text }], "isError": false })
            }
            _ => return error(200, -32601),
        };
        if !is_old {
            result["resultType"] = "complete".into();
            result["ttlMs"] = 0.into();
            result["cacheScope"] = "private".into();
        }
        (200, None, json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }))
    }

    fn open(&self, message: &Value) -> Answer {
        let mut random = [0; 16];
        getrandom::fill(&mut random).expect("random bytes");
        let name = format!("session-{:032x}", u128::from_le_bytes(random));
        self.sessions.lock().unwrap().insert(name.clone());
        let result = json!({
            "protocolVersion": "2025-11-25",
            "capabilities": { "tools": {} },
            "serverInfo": { "name": "chaos", "version": "1" },
        });
        (200, Some(name), json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }))
    }
}

/// The one tool.
fn tool() -> Value {
    let properties =
        BTreeMap::from([("id", json!({ "type": "string" })), ("ms", json!({ "type": "integer" }))]);
    json!({
        "name": "note",
        "description": "Writes a note down, and takes its time.",
        "inputSchema": { "type": "object", "properties": properties },
    })
}
