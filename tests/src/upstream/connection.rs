//! One connection of the upstream: HTTP/1.1 as plainly as it goes.

use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::{Seen, State};

type Stream = BufReader<TlsStream<TcpStream>>;

struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

/// Serves requests until the client leaves or a path says to misbehave.
pub(super) async fn serve(stream: TcpStream, acceptor: TlsAcceptor, state: Arc<State>) {
    // Head and body are two writes: without this, the second waits for an acknowledgement.
    let _ = stream.set_nodelay(true);
    // A client that doesn't trust the certificate, or leaves, is its own business.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let mut stream = BufReader::new(stream);
    while let Ok(Some(request)) = read(&mut stream).await {
        state.seen.lock().unwrap().push(request.clone());
        let path = request.target.split('?').next().unwrap_or_default();
        match path {
            // Dropped without a close_notify, and with a reset instead of a FIN.
            "/reset" => {
                let _ = stream.get_ref().get_ref().0.set_zero_linger();
                return;
            }
            "/stall" => std::future::pending().await,
            "/hold" => {
                let _ = state.released.subscribe().wait_for(|released| *released).await;
            }
            "/endless" | "/endless-head" | "/huge" | "/short" => return lie(stream, path).await,
            _ => {}
        }
        let reply = answer(&request, path, &state);
        if write(&mut stream, &reply, request.method == "HEAD").await.is_err() {
            return;
        }
    }
}

async fn read(stream: &mut Stream) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if stream.read_line(&mut line).await? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Err(io::ErrorKind::InvalidData.into());
    };
    let mut headers = Vec::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        let (name, value) = (name.to_ascii_lowercase(), value.trim().to_owned());
        if name == "content-length" {
            length = value.parse().map_err(|_| io::ErrorKind::InvalidData)?;
        }
        headers.push((name, value));
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok(Some(Seen { method, target, headers, body }))
}

/// Gives an answer that doesn't end, or not where it said.
async fn lie(mut stream: Stream, path: &str) {
    let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
    let (head, piece, pieces) = match path {
        "/endless" => ("transfer-encoding: chunked\r\n\r\n", chunk.as_str(), usize::MAX),
        "/endless-head" => ("", "x-more: of the same\r\n", usize::MAX),
        "/huge" => ("content-length: 10000000000\r\n\r\n", "x", 1),
        _ => ("content-length: 100\r\n\r\n", "no hundred bytes", 1),
    };
    let mut written = stream.write_all(format!("HTTP/1.1 200 OK\r\n{head}").as_bytes()).await;
    for _ in 0..pieces {
        if written.is_err() {
            return;
        }
        written = stream.write_all(piece.as_bytes()).await;
    }
    let _ = stream.shutdown().await;
}

fn answer(request: &Seen, path: &str, state: &State) -> Reply {
    if let Some((name, value)) = &*state.demanded.lock().unwrap()
        && request.header(name) != Some(value)
    {
        return Reply::json(401, json!({ "error": "no valid credential" }));
    }
    let (first, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path, ""));
    match first.trim_start_matches('/') {
        "headers" => Reply::json(
            200,
            json!({
                "method": request.method,
                "target": request.target,
                "headers": request.headers.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
                "body": String::from_utf8_lossy(&request.body),
            }),
        ),
        "echo" => echo(request, rest),
        "status" => Reply::json(rest.parse().unwrap_or(500), json!({ "status": rest })),
        "redirect" => {
            let mut reply = Reply::json(rest.parse().unwrap_or(302), json!({}));
            reply.headers.push(("location", state.location.lock().unwrap().clone()));
            reply
        }
        "size" => Reply {
            status: 200,
            headers: vec![("content-type", "text/plain".to_owned())],
            body: vec![b'x'; rest.parse().unwrap_or(0)],
        },
        "angles" => Reply {
            status: 200,
            headers: vec![("content-type", "text/plain".to_owned()), ("link", "<".repeat(60_000))],
            body: vec![b'<'; rest.parse().unwrap_or(0)],
        },
        _ => Reply::json(200, json!({ "ok": true })),
    }
}

/// The received `authorization` value, spelt in the way that `form` names.
fn echo(request: &Seen, form: &str) -> Reply {
    let credential = request.header("authorization").unwrap_or_default();
    let hex = |prefix: &str| {
        credential.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{prefix}{byte:02x}");
            text
        })
    };
    let body = match form {
        "base64" => STANDARD.encode(credential),
        "base64-1" => STANDARD.encode(format!("a{credential}")),
        "base64-2" => STANDARD.encode(format!("ab{credential}")),
        "base64url" => URL_SAFE_NO_PAD.encode(credential),
        "percent" => hex("%"),
        "percent-upper" => hex("%").to_uppercase(),
        "html" => credential.bytes().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "&#{byte};");
            text
        }),
        "hex" => hex(""),
        "json" => hex("\\u00"),
        _ => credential.to_owned(),
    };
    let mut reply = Reply::json(200, json!({}));
    if form == "header" {
        reply.headers.push(("x-request-id", body));
        reply.headers.push(("etag", format!("\"{credential}\"")));
        reply.headers.push(("set-cookie", format!("session={credential}")));
    } else {
        // By hand: `\u00…` must stay as it is.
        reply.body = format!("{{\"echo\":\"{body}\"}}").into_bytes();
    }
    reply
}

impl Reply {
    #[expect(clippy::needless_pass_by_value, reason = "called with literals alone")]
    fn json(status: u16, body: serde_json::Value) -> Self {
        Self {
            status,
            headers: vec![("content-type", "application/json".to_owned())],
            body: body.to_string().into_bytes(),
        }
    }
}

async fn write(stream: &mut Stream, reply: &Reply, head_only: bool) -> io::Result<()> {
    let mut head =
        format!("HTTP/1.1 {} Status\r\ncontent-length: {}\r\n", reply.status, reply.body.len());
    for (name, value) in &reply.headers {
        let _ = write!(head, "{name}: {value}\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).await?;
    if !head_only {
        stream.write_all(&reply.body).await?;
    }
    stream.flush().await
}
