//! What reaches the wire, and which answers are taken.

use std::time::Duration;

use async_compression::tokio::write::{BrotliEncoder, GzipEncoder, ZstdEncoder};
use async_compression::zstd::CParameter;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method};
use tokio::io::AsyncWriteExt;
use tokio::time::interval;

use super::super::{EgressError, OutboundRequest, OutcomeUnknown, RequestError, Undecodable};
use super::fixtures::*;

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

async fn answer(bytes: &str) -> Result<super::super::UpstreamResponse, EgressError> {
    call(&Server::answering_once(bytes).await.upstream()).await
}

fn unknown(kind: OutcomeUnknown) -> Option<EgressError> {
    Some(EgressError::OutcomeUnknown { kind })
}

#[tokio::test]
async fn the_wire_carries_exactly_the_request_and_our_framing() {
    let server = Server::answering(OK).await;
    let upstream = server.upstream();
    let mut headers = HeaderMap::new();
    headers.insert("authorization", HeaderValue::from_static("Bearer x"));
    let target = "/a//b/%2e%2e/%7Ec;p=1?q=%20&&r=a+b";
    let request = OutboundRequest::new(Method::POST, target, headers, Bytes::new()).unwrap();
    assert_ok(&upstream.send(request, &generous()).await.unwrap(), "hi");
    upstream.send(post("body"), &generous()).await.unwrap();
    upstream.send(get("/"), &generous()).await.unwrap();
    let address = server.address;
    let seen = server.seen();
    assert_eq!(
        seen[0],
        format!(
            "POST {target} HTTP/1.1\r\nauthorization: Bearer x\r\n\
             accept-encoding: gzip, br, zstd\r\ncontent-length: 0\r\nhost: {address}\r\n\r\n"
        )
    );
    assert!(seen[1].contains("content-length: 4\r\n") && seen[1].ends_with("\r\n\r\nbody"));
    assert!(!seen[2].contains("content-length"), "{}", seen[2]);
}

#[test]
fn requests_that_would_change_on_the_wire_are_refused() {
    let new = |method: Method, target: &str, header: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        if let Some(header) = header {
            headers.insert(header, HeaderValue::from_static("x"));
        }
        OutboundRequest::new(method, target, headers, Bytes::new()).map(|_| ())
    };
    for target in ["", "*", "a", "?a", "/a#b", "/a b", "http://evil/", "/a\r\nX: y", "@evil"] {
        assert_eq!(new(Method::GET, target, None), Err(RequestError::Target), "{target:?}");
    }
    assert_eq!(new(Method::CONNECT, "/", None), Err(RequestError::Method));
    for header in ["host", "content-length", "transfer-encoding", "connection", "expect", "te"] {
        assert_eq!(new(Method::GET, "/", Some(header)), Err(RequestError::Header(header)));
    }
    let request = get("/secret?token=abc");
    assert_eq!(format!("{request:?}"), "OutboundRequest");
}

#[tokio::test]
async fn bodies_end_where_they_should() {
    let read = answer(
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nx-trailer: t\r\n\r\n",
    );
    let read = read.await.unwrap();
    assert_ok(&read, "hi");
    assert!(read.headers.is_empty() && !read.ended_by_close);
    let read = answer("HTTP/1.1 200 OK\r\nx-a: 1\r\n\r\nto the end").await.unwrap();
    assert_ok(&read, "to the end");
    assert!(read.ended_by_close);
    for status in ["204 No Content", "304 Not Modified"] {
        let read = answer(&format!("HTTP/1.1 {status}\r\ncontent-encoding: gzip\r\n\r\n")).await;
        let read = read.unwrap();
        assert!(read.body.is_empty() && !read.ended_by_close);
    }
    let server = Server::answering(
        "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\ncontent-encoding: gzip\r\n\r\n",
    )
    .await;
    let head = OutboundRequest::new(Method::HEAD, "/", HeaderMap::new(), Bytes::new()).unwrap();
    let read = server.upstream().send(head, &generous()).await.unwrap();
    assert!(read.body.is_empty() && !read.ended_by_close);
}

#[tokio::test]
async fn redirects_are_answers() {
    let evil = Server::answering(OK).await;
    for status in [301, 302, 303, 307, 308] {
        let location = format!("http://{}/", evil.address);
        let text =
            format!("HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n");
        let read = answer(&text).await.unwrap();
        assert_eq!(
            (read.status.as_u16(), &read.headers["location"]),
            (status, &HeaderValue::try_from(&location).unwrap())
        );
    }
    assert_eq!(evil.connections(), 0);
}

#[tokio::test]
async fn connection_headers_are_dropped() {
    let read = answer("HTTP/1.1 200 OK\r\nconnection: close, x-hop\r\nx-hop: 1\r\nkeep-alive: 5\r\nx-keep: 1\r\ncontent-length: 2\r\n\r\nhi").await.unwrap();
    assert_eq!(read.headers.len(), 1);
    assert!(read.headers.contains_key("x-keep"));
}

#[tokio::test]
async fn answers_that_can_be_read_in_two_ways_are_refused() {
    for head in [
        "200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked",
        "200 OK\r\ntransfer-encoding: gzip",
        "200 OK\r\ntransfer-encoding: gzip, chunked",
        "200 OK\r\ntransfer-encoding: xchunked",
        "200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked",
        "200 OK\r\ncontent-length: 2\r\ncontent-length: 3",
        "200 OK\r\ncontent-length: +2",
        "101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade",
        "600 What\r\ncontent-length: 2",
        "999 What\r\ncontent-length: 2",
        "200 OK\r\nx : 1\r\ncontent-length: 2",
    ] {
        let answer = answer(&format!("HTTP/1.1 {head}\r\n\r\n2\r\nhi\r\n0\r\n\r\n")).await;
        assert_eq!(answer.err(), unknown(OutcomeUnknown::Malformed), "{head}");
    }
    assert_eq!(answer("SSH-2.0-OpenSSH_9\r\n").await.err(), unknown(OutcomeUnknown::Malformed));
}

#[tokio::test]
async fn a_part_is_never_handed_out_as_the_whole() {
    for text in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\nhi\r\n",
    ] {
        let error = answer(text).await.unwrap_err();
        assert_eq!(Some(error), unknown(OutcomeUnknown::Truncated), "{text}");
        assert!(error.sent());
    }
}

#[tokio::test]
async fn sizes_are_bounded() {
    let limit = generous().max_response_bytes;
    let too_large = Some(EgressError::ResponseTooLarge { limit });
    let announced = answer("HTTP/1.1 200 OK\r\ncontent-length: 10000000000\r\n\r\nhi").await;
    assert_eq!(announced.err(), too_large);
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
    let text = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}", chunk.repeat(20));
    assert_eq!(answer(&text).await.err(), too_large);
    let exact = format!("HTTP/1.1 200 OK\r\ncontent-length: {limit}\r\n\r\n{}", "x".repeat(limit));
    assert_eq!(answer(&exact).await.unwrap().body.len(), limit);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: 1\r\n".repeat(101));
    assert_eq!(answer(&many).await.err(), unknown(OutcomeUnknown::HeadTooLarge));
    let long = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "x".repeat(70_000));
    assert_eq!(answer(&long).await.err(), unknown(OutcomeUnknown::HeadTooLarge));
}

#[tokio::test]
async fn an_endless_head_ends() {
    let server = Server::start(|mut stream, notes| async move {
        notes.request(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n").await;
        while stream.write_all(b"x: ").await.is_ok()
            && stream.write_all(&[b'y'; 4096]).await.is_ok()
        {}
    })
    .await;
    assert_eq!(call(&server.upstream()).await.err(), unknown(OutcomeUnknown::HeadTooLarge));
}

/// Writes the first part, then the second again and again, with a pause in between or none.
async fn dripping(first: &'static str, then: &'static str, pause: Option<Duration>) -> Server {
    Server::start(move |mut stream, notes| async move {
        notes.request(&mut stream).await;
        let _ = stream.write_all(first.as_bytes()).await;
        let mut pause = pause.map(interval);
        loop {
            if let Some(pause) = &mut pause {
                pause.tick().await;
            }
            if stream.write_all(then.as_bytes()).await.is_err() {
                return;
            }
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_deadline_bounds_slow_and_babbling_upstreams() {
    let slowly = Some(Duration::from_millis(20));
    for (server, expected) in [
        (dripping("HTTP/1.1 200 OK\r\nx: ", "y", slowly).await, OutcomeUnknown::NoAnswer),
        (dripping("", "HTTP/1.1 103 Early Hints\r\n\r\n", None).await, OutcomeUnknown::NoAnswer),
        (
            dripping("HTTP/1.1 200 OK\r\ncontent-length: 60000\r\n\r\n", "y", slowly).await,
            OutcomeUnknown::BodyTimeout,
        ),
    ] {
        let answer = server.upstream().send(get("/"), &soon()).await;
        assert_eq!(answer.err(), unknown(expected));
        assert_eq!((server.connections(), server.requests()), (1, 1));
    }
}

async fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzipEncoder::new(Vec::new());
    encoder.write_all(plain).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn brotli(plain: &[u8]) -> Vec<u8> {
    let mut encoder = BrotliEncoder::new(Vec::new());
    encoder.write_all(plain).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn zstd(plain: &[u8], window_log: u32) -> Vec<u8> {
    let quality = async_compression::Level::Default;
    let parameters = [CParameter::window_log(window_log), CParameter::content_size_flag(false)];
    let mut encoder = ZstdEncoder::with_quality_and_params(Vec::new(), quality, &parameters);
    encoder.write_all(plain).await.unwrap();
    encoder.shutdown().await.unwrap();
    encoder.into_inner()
}

async fn coded(coding: &str, body: &[u8]) -> Result<super::super::UpstreamResponse, EgressError> {
    let length = body.len();
    let mut bytes = format!(
        "HTTP/1.1 200 OK\r\ncontent-encoding: {coding}\r\ncontent-length: {length}\r\n\r\n"
    )
    .into_bytes();
    bytes.extend_from_slice(body);
    call(&Server::answering_once(bytes).await.upstream()).await
}

#[tokio::test]
async fn content_codings_are_undone() {
    let plain = b"the secret is out".repeat(100);
    for (coding, body) in [
        ("gzip", gzip(&plain).await),
        ("X-GZip", gzip(&plain).await),
        ("identity, gzip", gzip(&plain).await),
        ("gzip", [gzip(&plain[..17]).await, gzip(&plain[17..]).await].concat()),
        ("br", brotli(&plain).await),
        ("zstd", zstd(&plain, 20).await),
        ("identity", plain.clone()),
    ] {
        let read = coded(coding, &body).await.unwrap();
        assert_eq!(read.body, plain, "{coding}");
        assert!(read.headers.is_empty());
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_is_refused() {
    let plain = b"the secret is out".repeat(100);
    let gzipped = gzip(&plain).await;
    for (coding, body, kind) in [
        ("deflate", gzipped.clone(), Undecodable::Unknown),
        ("aes128gcm", gzipped.clone(), Undecodable::Unknown),
        ("gzip, br", gzipped.clone(), Undecodable::Multiple),
        ("gzip, gzip", gzipped.clone(), Undecodable::Multiple),
        ("gzip\r\ncontent-encoding: br", gzipped.clone(), Undecodable::Multiple),
        ("gzip", plain.clone(), Undecodable::Broken),
        ("gzip", gzipped[..gzipped.len() - 4].to_vec(), Undecodable::Broken),
        ("gzip", [gzipped.as_slice(), b"junk"].concat(), Undecodable::Broken),
        ("br", [brotli(&plain).await.as_slice(), b"junk"].concat(), Undecodable::Broken),
        ("zstd", zstd(&plain, 25).await, Undecodable::Broken),
    ] {
        let error = coded(coding, &body).await.unwrap_err();
        assert_eq!(error, EgressError::Undecodable { kind }, "{coding}");
        assert!(error.sent());
    }
}

#[tokio::test]
async fn bombs_are_refused() {
    let plain = vec![0; 2_000_000];
    let limit = generous().max_response_bytes;
    for (coding, body) in [
        ("gzip", gzip(&plain).await),
        ("br", brotli(&plain).await),
        ("zstd", zstd(&plain, 20).await),
    ] {
        assert!(body.len() < limit, "the limit on what is received must not be what refuses it");
        let error = coded(coding, &body).await.unwrap_err();
        assert_eq!(error, EgressError::ResponseTooLarge { limit }, "{coding}");
    }
}
