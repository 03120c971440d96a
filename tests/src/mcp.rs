//! An MCP server of our own, of the stateless revision, whose list of tools changes as a test says.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A server on loopback, over plain HTTP; it is gone when dropped, with its connections.
///
/// A call of any tool answers with the tool's name.
#[derive(Debug)]
pub struct McpUpstream {
    address: SocketAddr,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    token: String,
    tools: Mutex<Vec<Value>>,
    methods: Mutex<Vec<String>>,
    called: Mutex<Vec<String>>,
}

impl McpUpstream {
    /// Starts one that demands `token`, without tools.
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn start(token: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            token: token.to_owned(),
            tools: Mutex::default(),
            methods: Mutex::default(),
            called: Mutex::default(),
        });
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            // Dropped with this task: what is gone answers on no connection.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(serve(stream, Arc::clone(&shared)));
            }
        });
        Self { address, state, server }
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Lists these from now on.
    pub fn list(&self, tools: Vec<Value>) {
        *self.state.tools.lock().unwrap() = tools;
    }

    /// The tools that were called, by name, in order.
    pub fn called(&self) -> Vec<String> {
        self.state.called.lock().unwrap().clone()
    }

    /// How often a method was asked for.
    pub fn asked(&self, method: &str) -> usize {
        self.state.methods.lock().unwrap().iter().filter(|asked| *asked == method).count()
    }
}

impl Drop for McpUpstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The definition of a tool with one argument.
pub fn tool(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "description": description,
        "inputSchema": { "type": "object", "properties": { "text": { "type": "string" } } },
    })
}

async fn serve(stream: TcpStream, state: Arc<State>) {
    let _ = stream.set_nodelay(true);
    let mut stream = BufReader::new(stream);
    while let Some((authorized, message)) = read(&mut stream, &state.token).await {
        let (status, body) = match authorized {
            true => (200, answer(&message, &state)),
            false => (401, json!({ "error": "no valid credential" })),
        };
        let body = body.to_string();
        let head = format!(
            "HTTP/1.1 {status} Status\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
            return;
        }
    }
}

/// The next message, and whether it came with the token.
async fn read(stream: &mut BufReader<TcpStream>, token: &str) -> Option<(bool, Value)> {
    let (mut authorized, mut length) = (false, 0);
    let mut line = String::new();
    if stream.read_line(&mut line).await.ok()? == 0 {
        return None;
    }
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await.ok()?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().ok()?,
            "authorization" => authorized = value.trim() == format!("Bearer {token}"),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((authorized, serde_json::from_slice(&body).ok()?))
}

fn answer(message: &Value, state: &State) -> Value {
    let method = message["method"].as_str().unwrap_or_default();
    state.methods.lock().unwrap().push(method.to_owned());
    let mut result = match method {
        "server/discover" => json!({
            "supportedVersions": ["2026-07-28"],
            "capabilities": { "tools": {} },
            "_meta": { "io.modelcontextprotocol/serverInfo": { "name": "shelf", "version": "1" } },
        }),
        "tools/list" => json!({ "tools": *state.tools.lock().unwrap() }),
        "tools/call" => {
            let name = message["params"]["name"].as_str().unwrap_or_default().to_owned();
            state.called.lock().unwrap().push(name.clone());
            json!({ "content": [{ "type": "text", "text": name }], "isError": false })
        }
        _ => {
            let error = json!({ "code": -32601, "message": "no such method" });
            return json!({ "jsonrpc": "2.0", "id": message["id"], "error": error });
        }
    };
    result["resultType"] = "complete".into();
    result["ttlMs"] = 0.into();
    result["cacheScope"] = "private".into();
    json!({ "jsonrpc": "2.0", "id": message["id"], "result": result })
}
