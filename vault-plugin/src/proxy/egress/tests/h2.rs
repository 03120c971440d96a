//! HTTP/2: one connection for many calls, chosen by ALPN alone.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{CertificateParams, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use super::super::{EgressError, Limits, OutcomeUnknown, TlsTrust, Upstream};
use super::fixtures::*;

const NAME: &str = "api.test";

/// A server that speaks HTTP/2 alone; what it does depends on the path. `/held` waits for a
/// notification.
async fn serving() -> (Server, Upstream, Arc<Notify>) {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new([NAME.to_owned()]).unwrap().self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    let server = Server::start(move |stream, notes| {
        let (acceptor, released) = (acceptor.clone(), Arc::clone(&released));
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service =
                service_fn(|request| answer(request, notes.clone(), Arc::clone(&released)));
            let connection = http2::Builder::new(TokioExecutor::new());
            let _ = connection.serve_connection(TokioIo::new(stream), service).await;
            notes.saw("connection over");
        }
    })
    .await;
    let trust = TlsTrust { ca_cert: Some(certificate.pem()), ..TlsTrust::default() };
    let upstream = server.tls_upstream(NAME, trust);
    (server, upstream, release)
}

/// Tells of a request whose answer was never finished.
struct Unfinished(Notes, bool);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if !self.1 {
            self.0.saw("cancelled");
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    notes: Notes,
    released: Arc<Notify>,
) -> Result<Response<Full<Bytes>>, io::Error> {
    assert_eq!(request.version(), Version::HTTP_2);
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    notes.executed();
    notes.saw(format!("{} {} {:?} {}", head.method, head.uri, head.headers, body.len()));
    let mut unfinished = Unfinished(notes, false);
    let answer = match head.uri.path() {
        "/held" => {
            released.notified().await;
            Ok(Response::new(Full::from("held")))
        }
        "/reset" => Err(io::Error::other("reset the stream")),
        "/large" => Ok(Response::new(Full::from(vec![b'x'; 4 << 20]))),
        "/big" => Ok(Response::new(Full::from(vec![b'x'; 1_000_000]))),
        "/headers" => {
            let mut answer = Response::new(Full::default());
            answer.headers_mut().insert("x", "y".repeat(100_000).parse().unwrap());
            Ok(answer)
        }
        _ => Ok(Response::new(Full::from("hi"))),
    };
    unfinished.1 = true;
    answer
}

fn unknown(kind: OutcomeUnknown) -> EgressError {
    EgressError::OutcomeUnknown { kind }
}

#[tokio::test]
async fn a_burst_shares_one_connection() {
    let (server, upstream, _) = serving().await;
    let calls = (0..50).map(|_| call(&upstream));
    for answer in futures_util::future::join_all(calls).await {
        assert_ok(&answer.unwrap(), "hi");
    }
    assert_ok(&upstream.send(post("body"), &generous()).await.unwrap(), "hi");
    assert_eq!((server.connections(), server.requests()), (1, 51));
    let port = server.address.port();
    let seen = server.seen();
    assert!(seen[0].starts_with(&format!("GET https://api.test:{port}/ ")), "{}", seen[0]);
    assert!(!seen[0].contains("\"host\""), "{}", seen[0]);
    assert!(seen[50].ends_with(" 4"), "{}", seen[50]);
}

#[tokio::test]
async fn two_upstreams_of_one_origin_share_no_connection() {
    let (server, upstream, _) = serving().await;
    let trust = TlsTrust { insecure: true, ..TlsTrust::default() };
    let other = server.tls_upstream(NAME, trust);
    let calls = (0..20).map(|number| call(if number % 2 == 0 { &upstream } else { &other }));
    for answer in futures_util::future::join_all(calls).await {
        assert_ok(&answer.unwrap(), "hi");
    }
    assert_eq!((server.connections(), server.requests()), (2, 20));
}

#[tokio::test]
async fn a_connection_opened_ahead_is_shared_by_the_calls() {
    let (server, upstream, _) = serving().await;
    upstream.connect(generous().deadline).await.unwrap();
    let calls = (0..20).map(|_| call(&upstream));
    for answer in futures_util::future::join_all(calls).await {
        assert_ok(&answer.unwrap(), "hi");
    }
    assert_eq!((server.connections(), server.requests()), (1, 20));
}

#[tokio::test]
async fn a_reset_stream_is_one_execution() {
    let (server, upstream, _) = serving().await;
    call(&upstream).await.unwrap();
    let error = upstream.send(get("/reset"), &generous()).await.unwrap_err();
    assert_eq!(error, unknown(OutcomeUnknown::ConnectionLost));
    assert_eq!(server.requests(), 2);
}

#[tokio::test]
async fn a_caller_who_leaves_resets_the_stream_and_keeps_the_connection() {
    let (server, upstream, _) = serving().await;
    {
        let limits = generous();
        let mut sending = Box::pin(upstream.send(get("/held"), &limits));
        let arrived = eventually("the request arrives", || server.requests() == 1);
        tokio::select! {
            _ = &mut sending => panic!("an answer came from nowhere"),
            () = arrived => {}
        }
    }
    eventually("the stream is reset", || server.seen().last().unwrap() == "cancelled").await;
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_connection_that_left_a_call_without_answer_gets_no_further_one() {
    let (server, upstream, release) = serving().await;
    let upstream = Arc::new(upstream);
    let other = Arc::clone(&upstream);
    let patient = tokio::spawn(async move { other.send(get("/held"), &generous()).await });
    eventually("the patient request arrives", || server.requests() == 1).await;
    let error = upstream.send(get("/held"), &soon()).await.unwrap_err();
    assert_eq!(error, unknown(OutcomeUnknown::NoAnswer));
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    assert_eq!(server.connections(), 2);
    release.notify_waiters();
    assert_ok(&patient.await.unwrap().unwrap(), "held");
}

#[tokio::test]
async fn sizes_are_bounded() {
    let (server, upstream, _) = serving().await;
    let limits = generous();
    let limit = limits.max_response_bytes;
    let error = upstream.send(get("/big"), &limits).await.unwrap_err();
    assert_eq!(error, EgressError::ResponseTooLarge { limit });
    assert_ok(&call(&upstream).await.unwrap(), "hi");
    assert_eq!(server.connections(), 1);
    let error = upstream.send(get("/headers"), &limits).await.unwrap_err();
    assert!(error.sent() && matches!(error, EgressError::OutcomeUnknown { .. }), "{error}");
}

#[tokio::test]
async fn answers_that_wait_for_room_hold_up_nobody_else() {
    let (server, upstream, _) = serving().await;
    let gate = Gate::closed();
    let limits = gate.limits();
    let waiting = (0..32).map(|_| upstream.send(get("/large"), &limits));
    let mut waiting = pin!(join_all(waiting));
    let others = async {
        eventually("all are sent", || server.requests() == 32).await;
        // More than one stream's window, on the same connection.
        let large = Limits { max_response_bytes: 4 << 20, ..generous() };
        for _ in 0..2 {
            let answer = upstream.send(get("/large"), &large).await.unwrap();
            assert_eq!(answer.body.len(), 4 << 20);
        }
    };
    tokio::select! {
        _ = &mut waiting => panic!("there is no room yet"),
        () = others => {}
    }
    gate.open();
    for answer in waiting.await {
        assert_eq!(answer.unwrap().body.len(), 4 << 20);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn dropping_the_upstream_ends_the_connection() {
    let (server, upstream, _) = serving().await;
    call(&upstream).await.unwrap();
    drop(upstream);
    eventually("the connection ends", || server.seen().last().unwrap() == "connection over").await;
}

#[tokio::test]
async fn a_failed_connect_is_told_to_all_who_waited_for_it() {
    let server = Server::start(|_closed, _| async {}).await;
    let upstream = server.tls_upstream(NAME, TlsTrust::default());
    let calls = (0..50).map(|_| call(&upstream));
    for answer in futures_util::future::join_all(calls).await {
        assert!(matches!(answer, Err(EgressError::TlsFailed { .. })));
    }
    assert!(server.connections() < 50, "{}", server.connections());
}
