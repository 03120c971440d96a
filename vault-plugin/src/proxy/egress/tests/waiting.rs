//! Answers for which there is no room at first.

use std::pin::pin;
use std::time::Duration;

use async_compression::tokio::write::GzipEncoder;
use tokio::io::AsyncWriteExt;
use tokio::time::{Instant, sleep};

use super::super::{EgressError, Limits};
use super::fixtures::*;

/// More than all buffers on the way hold.
const LARGE: usize = 32 << 20;

fn head(rest: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\n{rest}\r\n\r\n").into_bytes()
}

/// Answers whose first 64 KiB have room, and the rest has not: told by length, in chunks, compressed.
async fn answers() -> [Vec<u8>; 3] {
    let body = vec![b'x'; 1 << 20];
    let mut gzip = GzipEncoder::new(Vec::new());
    gzip.write_all(&body).await.unwrap();
    gzip.shutdown().await.unwrap();
    let gzip = gzip.into_inner();
    let coded = format!("content-encoding: gzip\r\ncontent-length: {}", gzip.len());
    [
        [head(&format!("content-length: {}", body.len())), body.clone()].concat(),
        [
            head("transfer-encoding: chunked"),
            b"100000\r\n".to_vec(),
            body,
            b"\r\n0\r\n\r\n".to_vec(),
        ]
        .concat(),
        [head(&coded), gzip].concat(),
    ]
}

#[tokio::test]
async fn it_is_read_once_there_is_room() {
    for answer in answers().await {
        let server = Server::answering_once(answer).await;
        let (upstream, gate) = (server.upstream(), Gate::closed());
        let limits = gate.limits();
        let mut sending = pin!(upstream.send(get("/"), &limits));
        tokio::select! {
            _ = &mut sending => panic!("there is no room yet"),
            () = sleep(Duration::from_millis(50)) => {}
        }
        gate.open();
        assert_eq!(sending.await.unwrap().body.len(), 1 << 20);
        assert_eq!(server.requests(), 1);
    }
}

#[tokio::test]
async fn the_wait_ends_with_the_calls_time_and_says_so() {
    for answer in answers().await {
        let server = Server::answering_once(answer).await;
        let (upstream, gate) = (server.upstream(), Gate::closed());
        let time = Duration::from_millis(300);
        let deadline = Instant::now() + time;
        let limits = Limits { deadline, ..gate.limits() };
        let error = upstream.send(get("/"), &limits).await.unwrap_err();
        assert_eq!(error, EgressError::NoRoom);
        assert!(Instant::now() > deadline - time / 10, "not before");
    }
}

#[tokio::test]
async fn meanwhile_the_upstream_can_send_no_more() {
    let server = Server::start(|mut stream, notes| async move {
        notes.request(&mut stream).await;
        stream.write_all(&head(&format!("content-length: {LARGE}"))).await.unwrap();
        stream.write_all(&vec![b'x'; LARGE]).await.unwrap();
        notes.saw("all sent");
    })
    .await;
    let (upstream, gate) = (server.upstream(), Gate::closed());
    let limits = gate.limits();
    let mut sending = pin!(upstream.send(get("/"), &limits));
    tokio::select! {
        _ = &mut sending => panic!("there is no room yet"),
        () = sleep(Duration::from_millis(500)) => {}
    }
    assert_eq!(server.seen().len(), 1, "the request alone");
    gate.open();
    assert_eq!(sending.await.unwrap().body.len(), LARGE);
    eventually("all is sent", || server.seen().last().unwrap() == "all sent").await;
}

#[tokio::test]
async fn what_is_over_the_limit_is_refused_without_waiting() {
    let server = Server::answering_once(head("content-length: 99999999")).await;
    let gate = Gate::closed();
    let limits = Limits { max_response_bytes: 1 << 20, ..gate.limits() };
    let error = server.upstream().send(get("/"), &limits).await.unwrap_err();
    assert_eq!(error, EgressError::ResponseTooLarge { limit: 1 << 20 });
}
