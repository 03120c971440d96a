//! An upstream of our own: TLS, a demanded credential, misbehaviour by path, and a memory.

use std::fmt::Debug;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::certificates::Authority;
use crate::wait;

mod connection;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// `GET`, ….
    pub method: String,
    /// Path and query, byte for byte.
    pub target: String,
    /// Names in lower case, in the order of arrival.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Seen {
    /// The value of the only header called `name`; none when it came twice, too.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(key, _)| key == name);
        match (values.next(), values.next()) {
            (Some((_, value)), None) => Some(value),
            _ => None,
        }
    }

    /// Everything in one piece, for searches.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = format!("{} {}\n", self.method, self.target).into_bytes();
        for (name, value) in &self.headers {
            bytes.extend_from_slice(format!("{name}: {value}\n").as_bytes());
        }
        bytes.extend_from_slice(&self.body);
        bytes
    }
}

/// An HTTPS server on loopback; it stops when dropped.
///
/// | path | answer |
/// |---|---|
/// | `/headers…` | the request, headers and all, as JSON |
/// | `/echo/<form>` | the credential in that form: `base64` (`-1` and `-2` bytes further), `base64url`, `percent` (`-upper`), `html`, `hex`, `json`, `header` |
/// | `/status/<n>` | that status |
/// | `/redirect/<n>` | that status with the `Location` of [`Upstream::redirect_to`] |
/// | `/reset` | reads the request, then resets the connection |
/// | `/stall` | reads the request, then says nothing |
/// | `/hold` | answers once [`Upstream::release`] was called |
/// | `/size/<n>` | n bytes |
/// | `/angles/<n>` | n times `<`, which JSON may escape, and 60,000 in a header |
/// | `/endless`, `/endless-head` | a body, a head without an end |
/// | `/huge`, `/short` | less than the ten gigabytes, the hundred bytes that it announces |
/// | any other | `{"ok":true}` |
#[derive(Debug)]
pub struct Upstream {
    address: SocketAddr,
    ca: String,
    state: Arc<State>,
    server: JoinHandle<()>,
}

#[derive(Debug)]
struct State {
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    demanded: Mutex<Option<(String, String)>>,
    location: Mutex<String>,
    released: watch::Sender<bool>,
}

impl Upstream {
    /// Starts one with a private CA of its own.
    pub async fn start() -> Self {
        Self::start_with(&Authority::new()).await
    }

    /// Starts one with a certificate by `authority`.
    pub async fn start_with(authority: &Authority) -> Self {
        Self::start_at([127, 0, 0, 1], 0, authority).await
    }

    /// Starts one at a given address; port 0 is any.
    pub async fn start_at(address: [u8; 4], port: u16, authority: &Authority) -> Self {
        let address = Ipv4Addr::from(address);
        let listener = TcpListener::bind((address, port)).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(authority.server_config()));
        let state = Arc::new(State {
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            demanded: Mutex::default(),
            location: Mutex::default(),
            released: watch::Sender::new(false),
        });
        let shared = Arc::clone(&state);
        let server = tokio::spawn(async move {
            // Dropped with this task: an upstream that is gone answers on no connection.
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                shared.connections.fetch_add(1, Ordering::SeqCst);
                connections.spawn(connection::serve(stream, acceptor.clone(), Arc::clone(&shared)));
            }
        });
        Self { address, ca: authority.pem(), state, server }
    }

    /// Answers 401 from now on unless `header` has `value`.
    #[must_use]
    pub fn demanding(self, header: &str, value: &str) -> Self {
        *self.state.demanded.lock().unwrap() = Some((header.to_owned(), value.to_owned()));
        self
    }

    /// Where `/redirect/<n>` leads.
    pub fn redirect_to(&self, location: &str) {
        location.clone_into(&mut self.state.location.lock().unwrap());
    }

    /// Lets every `/hold` answer, now and later.
    pub fn release(&self) {
        self.state.released.send_replace(true);
    }

    /// `https://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// The certificate to trust, in PEM.
    pub fn ca(&self) -> &str {
        &self.ca
    }

    /// All requests so far, in the order in which they were complete.
    pub fn seen(&self) -> Vec<Seen> {
        self.state.seen.lock().unwrap().clone()
    }

    /// How many TCP connections were made, with or without a request.
    pub fn connections(&self) -> usize {
        self.state.connections.load(Ordering::SeqCst)
    }

    /// Waits until there were `count` requests.
    pub async fn saw(&self, count: usize) {
        let what = format!("{count} requests at the upstream");
        wait::until(&what, async || (self.seen().len() >= count).then_some(())).await;
    }

    /// The one request there was.
    ///
    /// # Panics
    /// When there was none, or more than one.
    #[track_caller]
    pub fn only(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "{seen:#?}");
        seen.remove(0)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.server.abort();
    }
}
