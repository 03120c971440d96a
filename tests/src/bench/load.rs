//! Sends one request over and over on a number of kept connections, and tells how long each took.
//!
//! The client is as plain as it can be: on a machine whose cores it shares with what it measures,
//! each of its microseconds would be counted as theirs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::certificates;

/// One kind of request, and where it goes.
#[derive(Clone, Debug)]
pub struct Load {
    address: SocketAddr,
    tls: Option<Arc<ClientConfig>>,
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    status: u16,
}

/// What one pass measured.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    /// Answers for each second.
    pub per_second: f64,
    /// The median of the times from request to whole answer, in milliseconds.
    pub p50_ms: f64,
    /// Their 99th percentile.
    pub p99_ms: f64,
    /// Answers in all, those of the warm-up too.
    pub all_answers: usize,
}

/// Answers that each loop waits for at least, however long they take.
const LEAST: usize = 2;

impl Load {
    /// A `GET` of `url` (`http://127.0.0.1:port/path`, or https with [`Load::trusting`]).
    pub fn get(url: &str) -> Self {
        let (_, rest) = url.split_once("://").expect("a scheme");
        let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
        Self {
            address: host.parse().expect("an address with a port"),
            tls: None,
            method: "GET",
            path: format!("/{path}"),
            headers: vec![("host", host.to_owned())],
            body: Bytes::new(),
            status: 200,
        }
    }

    /// A `POST` of JSON to `url`.
    pub fn post(url: &str, json: &serde_json::Value) -> Self {
        let load = Self { method: "POST", body: json.to_string().into(), ..Self::get(url) };
        load.header("content-type", "application/json")
    }

    /// The same at another address, `ip:port`.
    #[must_use]
    pub fn to(self, address: &str) -> Self {
        Self { address: address.parse().expect("an address with a port"), ..self }
    }

    /// The same over TLS, with the authority whose certificate is `ca`, in PEM.
    #[must_use]
    pub fn trusting(mut self, ca: &str) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(ca.as_bytes()).expect("PEM")).expect("a root");
        let config = ClientConfig::builder_with_provider(certificates::provider())
            .with_safe_default_protocol_versions()
            .expect("TLS versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        self.tls = Some(Arc::new(config));
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// The same with a Vault token.
    #[must_use]
    pub fn token(self, token: &str) -> Self {
        self.header("x-vault-token", token)
    }

    /// The same where every answer must have this status, not 200.
    #[must_use]
    pub fn expecting(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// Sends once, on a connection of its own: the body of the answer, if one came with the status
    /// that is expected.
    pub async fn once(&self) -> Option<Bytes> {
        let mut sender = self.connect().await?;
        let answer = sender.send_request(self.request()).await.ok()?;
        let expected = answer.status() == self.status;
        let body = answer.into_body().collect().await.ok()?.to_bytes();
        expected.then_some(body)
    }

    /// Sends so many times, one after another, on one connection.
    ///
    /// # Panics
    /// When an answer fails or has another status.
    pub async fn times(&self, count: usize) {
        let mut sender = self.connect().await.expect("a connection");
        for _ in 0..count {
            self.send(&mut sender).await;
        }
    }

    /// Sends from `concurrency` loops, each on a connection of its own, for `time`, after a warm-up
    /// of a tenth of it.
    ///
    /// # Panics
    /// When an answer fails or has another status.
    pub async fn run(&self, concurrency: usize, time: Duration) -> Pass {
        let warm = Instant::now() + time / 10;
        let end = warm + time;
        let loops: Vec<_> = (0..concurrency)
            .map(|_| {
                let load = self.clone();
                tokio::spawn(async move { load.repeat(warm, end).await })
            })
            .collect();
        let (mut times, mut all_answers) = (Vec::new(), 0);
        for one in loops {
            let (mut own, all) = one.await.expect("a loop that ends");
            times.append(&mut own);
            all_answers += all;
        }
        // The last answers of slow requests come after the end.
        let took = warm.elapsed();
        times.sort_unstable();
        let ms = |part: f64| {
            let at = (times.len() as f64 * part) as usize;
            times.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e3)
        };
        Pass {
            per_second: times.len() as f64 / took.as_secs_f64(),
            p50_ms: ms(0.5),
            p99_ms: ms(0.99),
            all_answers,
        }
    }

    /// The times of the answers after the warm-up, and the number of all.
    async fn repeat(&self, warm: Instant, end: Instant) -> (Vec<Duration>, usize) {
        let mut sender = self.connect().await.expect("a connection");
        let (mut times, mut all) = (Vec::new(), 0);
        loop {
            let started = Instant::now();
            // Of slow answers, too, there are some to take the median of.
            if started >= end && times.len() >= LEAST {
                return (times, all);
            }
            self.send(&mut sender).await;
            all += 1;
            if started >= warm {
                times.push(started.elapsed());
            }
        }
    }

    /// Sends once, and drops the answer's body as it comes.
    async fn send(&self, sender: &mut SendRequest<Full<Bytes>>) {
        let answer = sender.send_request(self.request()).await.expect("an answer");
        assert_eq!(answer.status(), self.status, "{} {}", self.method, self.path);
        let mut body = answer.into_body();
        while let Some(frame) = body.frame().await {
            frame.expect("the whole body");
        }
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let request = Request::builder().method(self.method).uri(&self.path);
        let add = |request: hyper::http::request::Builder, (name, value): &(&str, String)| {
            request.header(*name, value)
        };
        let request = self.headers.iter().fold(request, add);
        request.body(Full::new(self.body.clone())).expect("a request")
    }

    async fn connect(&self) -> Option<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(self.address).await.ok()?;
        stream.set_nodelay(true).expect("a socket");
        let Some(tls) = &self.tls else { return Self::handshake(stream).await };
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::clone(tls)).connect(name, stream).await;
        Self::handshake(stream.expect("a server that is trusted")).await
    }

    async fn handshake<S>(stream: S) -> Option<SendRequest<Full<Bytes>>>
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        // Its errors reach the request on it.
        tokio::spawn(async move { drop(connection.await) });
        Some(sender)
    }
}
