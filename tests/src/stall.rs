//! A relay in front of a server that holds, fails or loses one request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What is done to a request, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Before the server sees the request.
    Request,
    /// After the server has done it, before the caller hears of it.
    Answer,
    /// The server never sees it: a failure of its own is answered at once.
    Failure,
    /// The server has done it, and the connection breaks at once.
    Loss,
}

/// What to hold: the count-th request whose path ends so, counted from 1.
#[derive(Clone, Debug)]
struct Hold {
    path: String,
    left: usize,
    side: Side,
}

/// A relay; gone when dropped.
#[derive(Debug)]
pub struct Stall {
    address: String,
    hold: Arc<Mutex<Option<Hold>>>,
    held: watch::Receiver<usize>,
}

impl Stall {
    /// Starts a relay to a server at `http://host:port`. It takes one request for each connection.
    pub async fn start(server: &str) -> Self {
        let target: SocketAddr = server.trim_start_matches("http://").parse().expect("an address");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = format!("http://{}", listener.local_addr().expect("an address"));
        let hold = Arc::new(Mutex::new(None));
        let (sender, held) = watch::channel(0);
        let (holding, sender) = (Arc::clone(&hold), Arc::new(sender));
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                let (holding, sender) = (Arc::clone(&holding), Arc::clone(&sender));
                tokio::spawn(async move { relay(caller, target, &holding, &sender).await });
            }
        });
        Self { address, hold, held }
    }

    /// `http://127.0.0.1:port`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Holds the `count`-th request from now on whose path ends with `path`.
    pub fn hold(&self, path: &str, count: usize, side: Side) {
        *self.hold.lock().unwrap() = Some(Hold { path: path.to_owned(), left: count, side });
    }

    /// Waits until something is held, for the `count`-th time.
    pub async fn held(&self, count: usize) {
        let mut held = self.held.clone();
        let waiting = held.wait_for(|now| *now >= count);
        tokio::time::timeout(crate::wait::LIMIT, waiting).await.expect("in time").expect("a relay");
    }
}

/// Passes one request and its answer on; a held one stays until the caller leaves.
async fn relay(
    mut caller: TcpStream,
    target: SocketAddr,
    hold: &Mutex<Option<Hold>>,
    held: &watch::Sender<usize>,
) -> Option<()> {
    let request = message(&mut caller).await?;
    let side = matching(&request, hold);
    if side == Some(Side::Request) {
        held.send_modify(|count| *count += 1);
        return gone(&mut caller).await;
    }
    if side == Some(Side::Failure) {
        caller.write_all(FAILURE).await.ok()?;
        return caller.shutdown().await.ok();
    }
    let mut server = TcpStream::connect(target).await.ok()?;
    server.write_all(&closing(&request)).await.ok()?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer).await.ok()?;
    match side {
        Some(Side::Answer) => {
            held.send_modify(|count| *count += 1);
            return gone(&mut caller).await;
        }
        Some(Side::Loss) => return None,
        Some(Side::Request | Side::Failure) | None => {}
    }
    caller.write_all(&answer).await.ok()?;
    caller.shutdown().await.ok()
}

async fn gone(caller: &mut TcpStream) -> Option<()> {
    let mut rest = [0; 1];
    while caller.read(&mut rest).await.ok()? > 0 {}
    None
}

fn matching(request: &[u8], hold: &Mutex<Option<Hold>>) -> Option<Side> {
    let text = String::from_utf8_lossy(request);
    let path = text.split(' ').nth(1)?.to_owned();
    let mut hold = hold.lock().unwrap();
    let wanted = hold.as_mut().filter(|hold| path.ends_with(&hold.path))?;
    wanted.left -= 1;
    if wanted.left > 0 {
        return None;
    }
    let side = wanted.side;
    *hold = None;
    Some(side)
}

/// What a server answers that can't do its work.
const FAILURE: &[u8] = b"HTTP/1.1 500 Internal Server Error\r\nConnection: close\r\n\
    Content-Length: 32\r\n\r\n{\"errors\":[\"an internal failure\"]}";

/// Reads one HTTP/1.1 message with a `Content-Length` or without a body (RFC 9112, section 6).
async fn message(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let count = stream.read(&mut buffer).await.ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&buffer[..count]);
        let text = String::from_utf8_lossy(&bytes).to_lowercase();
        let Some(end) = text.find("\r\n\r\n") else { continue };
        let length = text[..end]
            .lines()
            .find_map(|line| line.strip_prefix("content-length:")?.trim().parse::<usize>().ok());
        if bytes.len() >= end + 4 + length.unwrap_or(0) {
            return Some(bytes);
        }
    }
}

/// The same request, after which the server closes the connection.
fn closing(request: &[u8]) -> Vec<u8> {
    let line = request.windows(2).position(|two| two == b"\r\n").unwrap_or(0) + 2;
    let (first, rest) = request.split_at(line);
    [first, b"Connection: close\r\n", rest].concat()
}
