//! Upstreams that misbehave on demand, certificates, and name servers, all on loopback.

use std::future::{Future, ready};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Method, StatusCode};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use super::super::{
    Destination, EgressError, Limits, OutboundRequest, Resolver, TlsTrust, Upstream,
};
use super::super::{Room, UpstreamResponse};
use crate::proxy::address::{AddressGuard, Cidrs};
use crate::proxy::origin::{Host, Origin, Scheme};

/// Far longer than anything here takes.
pub(super) const LIMIT: Duration = Duration::from_secs(20);

/// A server whose every connection is handled by a closure; counts connections.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

/// What a handler may note.
#[derive(Clone)]
pub(super) struct Notes {
    requests: Arc<AtomicUsize>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Notes {
    /// Counts a request, and tells which number it has.
    pub(super) fn executed(&self) -> usize {
        self.requests.fetch_add(1, SeqCst) + 1
    }

    pub(super) fn saw(&self, text: impl Into<String>) {
        self.seen.lock().unwrap().push(text.into());
    }

    /// Reads one request, head and body, and counts it; `None` at the end of the connection.
    pub(super) async fn request(&self, stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\n") {
            match stream.read_u8().await {
                Ok(byte) => text.push(byte),
                Err(_) => return None,
            }
        }
        let head = String::from_utf8(text).unwrap();
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await.ok()?;
        let whole = head + &String::from_utf8(body).unwrap();
        self.executed();
        self.saw(whole.clone());
        Some(whole)
    }
}

impl Server {
    pub(super) async fn start<F, Fut>(handle: F) -> Self
    where
        F: Fn(TcpStream, Notes) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Self::start_on(Ipv4Addr::LOCALHOST, handle).await
    }

    pub(super) async fn start_on<F, Fut>(address: Ipv4Addr, handle: F) -> Self
    where
        F: Fn(TcpStream, Notes) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind((address, 0)).await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            requests: Arc::default(),
            seen: Arc::default(),
        };
        let connections = Arc::clone(&server.connections);
        let notes =
            Notes { requests: Arc::clone(&server.requests), seen: Arc::clone(&server.seen) };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                connections.fetch_add(1, SeqCst);
                tokio::spawn(handle(stream, notes.clone()));
            }
        });
        server
    }

    /// Answers every request on a connection with the same bytes.
    pub(super) async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream, notes| {
            let answer = Arc::clone(&answer);
            async move {
                while notes.request(&mut stream).await.is_some() {
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Answers one request per connection with these bytes, then closes.
    pub(super) async fn answering_once(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream, notes| {
            let answer = Arc::clone(&answer);
            async move {
                if notes.request(&mut stream).await.is_some() {
                    let _ = stream.write_all(&answer).await;
                    let _ = stream.shutdown().await;
                    // Reading on, so that closing doesn't become a reset that overtakes the bytes.
                    let _ = stream.read_u8().await;
                }
            }
        })
        .await
    }

    pub(super) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }

    pub(super) fn requests(&self) -> usize {
        self.requests.load(SeqCst)
    }

    pub(super) fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    /// A plaintext upstream at this server's address.
    pub(super) fn upstream(&self) -> Upstream {
        let host = Host::Address(self.address.ip());
        upstream(Scheme::Http, host, self.address.port(), TlsTrust::default(), no_names())
    }

    /// A TLS upstream under a name that is dialled at this server's address.
    pub(super) fn tls_upstream(&self, name: &str, trust: TlsTrust) -> Upstream {
        let destination = Destination {
            origin: Origin {
                scheme: Scheme::Https,
                host: Host::Name(name.to_owned()),
                port: self.address.port(),
            },
            address: Some(self.address.ip()),
            guard: open(),
            trust,
            proxy: None,
        };
        Upstream::new(destination, no_names()).unwrap()
    }
}

/// Opens 127.0.0.0/8 alone.
pub(super) fn open() -> AddressGuard {
    let list = Cidrs::opening(["127.0.0.0/8"]).unwrap();
    AddressGuard { mount: list.clone(), service: list, denied: Cidrs::default() }
}

/// A resolver that can resolve nothing.
pub(super) fn no_names() -> Arc<Resolver> {
    Arc::new(Resolver::fixed([], ""))
}

pub(super) fn upstream(
    scheme: Scheme,
    host: Host,
    port: u16,
    trust: TlsTrust,
    resolver: Arc<Resolver>,
) -> Upstream {
    let destination = Destination {
        origin: Origin { scheme, host, port },
        address: None,
        guard: open(),
        trust,
        proxy: None,
    };
    Upstream::new(destination, resolver).unwrap()
}

pub(super) fn get(target: &str) -> OutboundRequest {
    OutboundRequest::new(Method::GET, target, HeaderMap::new(), Bytes::new()).unwrap()
}

pub(super) fn post(body: &'static str) -> OutboundRequest {
    OutboundRequest::new(Method::POST, "/do", HeaderMap::new(), Bytes::from_static(body.as_bytes()))
        .unwrap()
}

/// A call with plenty of time and 64 KiB of room.
struct Endless;

impl Room for Endless {
    fn cover(&self, _bytes: usize) -> bool {
        true
    }

    fn wait(&self, _bytes: usize) -> BoxFuture<'_, bool> {
        Box::pin(ready(true))
    }
}

/// Room for 64 KiB, and for all that is wanted once it is opened.
pub(super) struct Gate(watch::Sender<bool>);

impl Gate {
    pub(super) fn closed() -> Self {
        Self(watch::Sender::new(false))
    }

    pub(super) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Time and bytes enough for anything here.
    pub(super) fn limits(&self) -> Limits<'_> {
        Limits { deadline: Instant::now() + LIMIT, max_response_bytes: 64 << 20, room: self }
    }
}

impl Room for Gate {
    fn cover(&self, bytes: usize) -> bool {
        bytes <= 64 * 1024 || *self.0.borrow()
    }

    fn wait(&self, _bytes: usize) -> BoxFuture<'_, bool> {
        let mut opened = self.0.subscribe();
        Box::pin(async move { opened.wait_for(|open| *open).await.is_ok() })
    }
}

pub(super) fn generous() -> Limits<'static> {
    within(LIMIT)
}

pub(super) fn within(time: Duration) -> Limits<'static> {
    Limits { deadline: Instant::now() + time, max_response_bytes: 64 * 1024, room: &Endless }
}

/// A deadline that a test waits out.
pub(super) fn soon() -> Limits<'static> {
    within(Duration::from_secs(1))
}

pub(super) async fn call(upstream: &Upstream) -> Result<UpstreamResponse, EgressError> {
    timeout(LIMIT, upstream.send(get("/"), &generous())).await.expect("the call hangs")
}

/// Waits for a condition, and fails loudly when it doesn't come.
pub(super) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let limit = Instant::now() + LIMIT;
    while !condition() {
        assert!(Instant::now() < limit, "never: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

pub(super) fn assert_ok(answer: &UpstreamResponse, body: &str) {
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(answer.body, body);
}
