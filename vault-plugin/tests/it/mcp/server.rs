//! An MCP server on loopback that speaks as a test says, byte for byte where it must.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;

/// One message as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) http_method: String,
    pub(crate) target: String,
    pub(crate) headers: HeaderMap,
    pub(crate) message: Value,
}

impl Seen {
    pub(crate) fn method(&self) -> &str {
        match self.message["method"].as_str() {
            Some(method) => method,
            None if self.message.get("error").is_some() => "(refusal)",
            None => "(none)",
        }
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) pieces: Vec<Vec<u8>>,
    /// Goes on with the last piece for ever, or stays open without a word.
    pub(crate) then: Then,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    End,
    Repeat,
    Silence,
}

impl Answer {
    pub(crate) fn new(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            status,
            headers: vec![("content-type", kind.to_owned())],
            pieces: vec![body.into()],
            then: Then::End,
        }
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::new(status, "application/json", body.to_string())
    }

    pub(crate) fn events(text: impl Into<Vec<u8>>) -> Self {
        Self::new(200, "text/event-stream", text)
    }

    pub(crate) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }

    pub(crate) fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.pieces = self.pieces.concat().chunks(bytes).map(<[u8]>::to_vec).collect();
        self
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// The result of a request, as JSON.
pub(crate) fn result(seen: &Seen, result: Value) -> Answer {
    Answer::json(200, &json!({ "jsonrpc": "2.0", "id": seen.message["id"], "result": result }))
}

/// The error of a request, as JSON.
pub(crate) fn error(status: u16, seen: &Seen, code: i64) -> Answer {
    let error = json!({ "code": code, "message": "no" });
    Answer::json(status, &json!({ "jsonrpc": "2.0", "id": seen.message["id"], "error": error }))
}

/// A server of before the stateless revision, with sessions `s-1`, `s-2`, …; `None` for all but
/// `initialize`, notifications and the end of a session.
pub(crate) fn handshake(seen: &Seen, number: usize) -> Option<Answer> {
    match (seen.http_method.as_str(), seen.method()) {
        ("DELETE", _) => Some(Answer::new(200, "text/plain", "")),
        (_, "server/discover") => Some(error(400, seen, -32600)),
        (_, "initialize") => {
            let answer = result(
                seen,
                json!({ "protocolVersion": "2025-11-25", "capabilities": { "tools": {} },
                    "serverInfo": { "name": "old", "version": "1" } }),
            );
            Some(answer.with("mcp-session-id", format!("s-{number}")))
        }
        (_, "notifications/initialized" | "notifications/cancelled" | "(refusal)") => {
            Some(Answer::new(202, "text/plain", ""))
        }
        _ => None,
    }
}

/// A server of the stateless revision; `None` for all but `server/discover`.
pub(crate) fn stateless(seen: &Seen) -> Option<Answer> {
    (seen.method() == "server/discover").then(|| {
        result(
            seen,
            json!({ "resultType": "complete", "supportedVersions": ["2026-07-28"],
                "capabilities": { "tools": {}, "prompts": {}, "resources": {} }, "ttlMs": 0,
                "cacheScope": "private",
                "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "new", "version": "2" } } }),
        )
    })
}

pub(crate) struct McpServer {
    pub(crate) base_url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    /// How many answers' bodies are over, also because nobody reads them any more.
    ended: watch::Receiver<usize>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Ending(watch::Sender<usize>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.send_modify(|ended| *ended += 1);
    }
}

impl McpServer {
    /// Answers every message with what `answer` makes of it.
    pub(crate) async fn start(answer: impl Fn(&Seen) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::<Mutex<Vec<Seen>>>::default();
        let (ends, ended) = watch::channel(0);
        let (kept, answer) = (Arc::clone(&seen), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (kept, answer, ends) = (Arc::clone(&kept), Arc::clone(&answer), ends.clone());
                tokio::spawn(async move {
                    let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                        let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
                        let ends = ends.clone();
                        async move {
                            let (parts, body) = request.into_parts();
                            let body = body.collect().await?.to_bytes();
                            let seen = Seen {
                                http_method: parts.method.to_string(),
                                target: parts.uri.to_string(),
                                headers: parts.headers,
                                message: serde_json::from_slice(&body).unwrap_or_default(),
                            };
                            kept.lock().unwrap().push(seen.clone());
                            Ok::<_, hyper::Error>(respond(answer(&seen), Ending(ends)))
                        }
                    });
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { base_url: format!("http://127.0.0.1:{port}/mcp"), seen, ended, task }
    }

    /// Every message received so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// The methods of every message received so far.
    pub(crate) fn methods(&self) -> Vec<String> {
        self.seen().iter().map(|seen| seen.method().to_owned()).collect()
    }

    /// How often a method was received.
    pub(crate) fn count(&self, method: &str) -> usize {
        self.methods().iter().filter(|seen| *seen == method).count()
    }

    /// Waits until so many bodies are over.
    pub(crate) async fn until_ended(&mut self, count: usize) {
        let ended = self.ended.wait_for(|ended| *ended >= count);
        tokio::time::timeout(std::time::Duration::from_secs(10), ended).await.unwrap().unwrap();
    }

    /// Waits until a message of this kind has come.
    pub(crate) async fn until(&self, wanted: impl Fn(&Seen) -> bool) {
        let come = async {
            while !self.seen().iter().any(&wanted) {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(10), come).await.unwrap();
    }
}

type Body = StreamBody<futures_util::stream::BoxStream<'static, Result<Frame<Bytes>, Infallible>>>;

fn respond(answer: Answer, ending: Ending) -> Response<Body> {
    use futures_util::StreamExt as _;
    let then = answer.then;
    let last = answer.pieces.last().cloned().unwrap_or_default();
    let pieces = futures_util::stream::iter(answer.pieces);
    let after = futures_util::stream::unfold((), move |()| {
        let last = last.clone();
        async move {
            match then {
                Then::End => None,
                Then::Repeat => {
                    tokio::task::yield_now().await;
                    Some((last, ()))
                }
                Then::Silence => std::future::pending().await,
            }
        }
    });
    let stream = pieces.chain(after).map(move |piece| {
        let _alive = &ending;
        Ok(Frame::data(Bytes::from(piece)))
    });
    let mut response = Response::new(StreamBody::new(stream.boxed()));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap();
    for (name, value) in answer.headers {
        response.headers_mut().append(name, value.parse().unwrap());
    }
    response
}
