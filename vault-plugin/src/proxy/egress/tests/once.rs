//! A request is sent once; connections are kept, reused, and closed when they should be.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::super::pool::Keep;
use super::super::{
    Destination, EgressError, OutboundRequest, OutcomeUnknown, TlsTrust, Unreachable, Upstream,
};
use super::fixtures::*;
use crate::proxy::origin::{Host, Origin, Scheme};

const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi";

fn unknown(kind: OutcomeUnknown) -> EgressError {
    EgressError::OutcomeUnknown { kind }
}

fn keeping(server: &Server, idle: Duration, age: Duration) -> Upstream {
    let destination = Destination {
        origin: Origin {
            scheme: Scheme::Http,
            host: Host::Address(server.address.ip()),
            port: server.address.port(),
        },
        address: None,
        guard: open(),
        trust: TlsTrust::default(),
        proxy: None,
    };
    Upstream::with_keep(destination, no_names(), Keep { idle, age }).unwrap()
}

#[tokio::test]
async fn a_reset_after_the_request_is_one_execution() {
    let server = Server::start(|mut stream, notes| async move {
        notes.request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let error = server.upstream().send(post("pay"), &generous()).await.unwrap_err();
    assert_eq!(error, unknown(OutcomeUnknown::ConnectionLost));
    assert!(error.sent());
    assert_eq!((server.connections(), server.requests()), (1, 1));
}

#[tokio::test]
async fn a_reset_of_a_kept_connection_after_the_request_is_one_execution() {
    let server = Server::start(|mut stream, notes| async move {
        notes.request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        notes.request(&mut stream).await;
        stream.set_zero_linger().unwrap();
    })
    .await;
    let upstream = server.upstream();
    assert_ok(&upstream.send(post("one"), &generous()).await.unwrap(), "hi");
    let error = upstream.send(post("two"), &generous()).await.unwrap_err();
    assert_eq!(error, unknown(OutcomeUnknown::ConnectionLost));
    assert_eq!((server.connections(), server.requests()), (1, 2));
}

#[tokio::test]
async fn a_connection_reset_before_the_request_is_not_repeated_after_a_byte_was_written() {
    let server = Server::start(|stream, _| async move { stream.set_zero_linger().unwrap() }).await;
    let error = server.upstream().send(post("pay"), &generous()).await.unwrap_err();
    let unsent = EgressError::Unreachable { kind: Unreachable::ConnectionLost };
    assert!(error == unknown(OutcomeUnknown::ConnectionLost) || error == unsent, "{error}");
    assert_eq!((server.connections(), server.requests()), (1, 0));
}

#[tokio::test]
async fn a_stall_is_unknown_at_the_deadline_and_one_execution() {
    let server = Server::start(|mut stream, notes| async move {
        notes.request(&mut stream).await;
        std::future::pending::<()>().await;
    })
    .await;
    let error = server.upstream().send(post("pay"), &soon()).await.unwrap_err();
    assert_eq!(error, unknown(OutcomeUnknown::NoAnswer));
    assert!(error.sent());
    assert_eq!((server.connections(), server.requests()), (1, 1));
}

#[tokio::test]
async fn a_503_is_an_answer() {
    let server =
        Server::answering("HTTP/1.1 503 Later\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n")
            .await;
    let answer = server.upstream().send(post("pay"), &generous()).await.unwrap();
    assert_eq!(answer.status, 503);
    assert_eq!(server.requests(), 1);
}

#[tokio::test]
async fn nobody_there_is_refused_and_nothing_sent() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address: SocketAddr = listener.local_addr().unwrap();
    drop(listener);
    let upstream = upstream(
        Scheme::Http,
        Host::Address(address.ip()),
        address.port(),
        TlsTrust::default(),
        no_names(),
    );
    let error = call(&upstream).await.unwrap_err();
    assert_eq!(error, EgressError::Unreachable { kind: Unreachable::Refused });
    assert!(!error.sent());
    assert!(!error.to_string().contains("127"));
}

#[tokio::test]
async fn connections_are_reused_and_bounded() {
    let server = Server::answering(OK).await;
    let upstream = server.upstream();
    for _ in 0..20 {
        assert_ok(&call(&upstream).await.unwrap(), "hi");
    }
    assert_eq!((server.connections(), server.requests()), (1, 20));
    // Twenty at once may open as many, which serve the next twenty.
    for _ in 0..2 {
        let calls = (0..20).map(|_| call(&upstream));
        for answer in futures_util::future::join_all(calls).await {
            assert_ok(&answer.unwrap(), "hi");
        }
        assert!(server.connections() <= 20);
    }
    let calls = (0..80).map(|_| call(&upstream));
    for answer in futures_util::future::join_all(calls).await {
        assert_ok(&answer.unwrap(), "hi");
    }
    assert!(upstream.pool.idle() <= 64);
}

#[tokio::test]
async fn two_upstreams_share_no_connection() {
    let server = Server::answering(OK).await;
    call(&server.upstream()).await.unwrap();
    call(&server.upstream()).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_not_used() {
    let server = Server::start(|mut stream, notes| async move {
        notes.request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let upstream = server.upstream();
    for round in 1..=20 {
        assert_ok(&upstream.send(post("x"), &generous()).await.unwrap(), "hi");
        assert_eq!((server.connections(), server.requests()), (round, round));
        eventually("the end is noticed", || upstream.pool.idle() == 0).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_closes_after_each_answer_executes_each_request_at_most_once() {
    let server = Server::start(|mut stream, notes| async move {
        notes.request(&mut stream).await;
        let _ = stream.write_all(OK.as_bytes()).await;
    })
    .await;
    let upstream = server.upstream();
    let mut answered = 0;
    for _ in 0..300 {
        match upstream.send(post("x"), &generous()).await {
            Ok(_) => answered += 1,
            // Never "unsent": such a request went out again on a new connection.
            Err(error) => assert!(error.sent(), "{error}"),
        }
    }
    // Whoever lost the race was told that the outcome is unknown; nobody was executed twice.
    assert!(server.requests() <= 300 && server.requests() >= answered);
    assert!(answered >= 100, "{answered}");
}

#[tokio::test]
async fn surplus_bytes_poison_the_connection() {
    let server =
        Server::answering(format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil")).await;
    let upstream = server.upstream();
    for _ in 0..3 {
        assert_ok(&call(&upstream).await.unwrap(), "hi");
    }
    assert_eq!(server.connections(), 3);
}

#[tokio::test]
async fn a_caller_who_leaves_closes_the_connection() {
    let server = Server::start(|mut stream, notes| async move {
        notes.request(&mut stream).await;
        if matches!(stream.read(&mut [0; 1]).await, Ok(0)) {
            notes.saw("closed");
        }
    })
    .await;
    let upstream = server.upstream();
    {
        let request = get("/");
        let limits = generous();
        let mut sending = Box::pin(upstream.send(request, &limits));
        let arrived = eventually("the request arrives", || server.requests() == 1);
        tokio::select! {
            _ = &mut sending => panic!("an answer came from nowhere"),
            () = arrived => {}
        }
    }
    eventually("the server sees the end", || server.seen().last().unwrap() == "closed").await;
}

/// Answers one request, then notes when the client closes.
async fn watching() -> Server {
    Server::start(|mut stream, notes| async move {
        notes.request(&mut stream).await;
        stream.write_all(OK.as_bytes()).await.unwrap();
        if matches!(stream.read(&mut [0; 1]).await, Ok(0)) {
            notes.saw("closed");
        }
    })
    .await
}

#[tokio::test]
async fn dropping_the_upstream_closes_its_connections_and_ends_its_tasks() {
    let server = watching().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    let upstream = server.upstream();
    call(&upstream).await.unwrap();
    assert!(tasks() > before);
    drop(upstream);
    eventually("the server sees the end", || server.seen().last().unwrap() == "closed").await;
    eventually("the tasks end", || tasks() == before).await;
}

#[tokio::test]
async fn a_peer_that_reads_nothing_keeps_no_task() {
    let server = Server::start(|stream, _| async move {
        let _held = stream;
        std::future::pending::<()>().await;
    })
    .await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let upstream = server.upstream();
    // The server's own task for this connection stays.
    let before = tasks() + 1;
    let body = Bytes::from(vec![b'x'; 32 << 20]);
    let request = OutboundRequest::new(Method::POST, "/", HeaderMap::new(), body).unwrap();
    let error = upstream.send(request, &soon()).await.unwrap_err();
    assert_eq!(error, unknown(OutcomeUnknown::NoAnswer));
    eventually("the client's tasks end", || tasks() == before).await;
}

#[tokio::test]
async fn idle_connections_end_by_themselves() {
    let server = watching().await;
    let upstream = keeping(&server, Duration::from_millis(50), LIMIT);
    call(&upstream).await.unwrap();
    eventually("the server sees the end", || server.seen().last().unwrap() == "closed").await;
    assert_eq!(upstream.pool.idle(), 0);
}

#[tokio::test]
async fn old_connections_are_not_used() {
    let server = Server::answering(OK).await;
    let upstream = keeping(&server, LIMIT, Duration::ZERO);
    call(&upstream).await.unwrap();
    call(&upstream).await.unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn concurrent_calls_get_their_own_answers() {
    let server = Server::start(|mut stream, notes| async move {
        while let Some(request) = notes.request(&mut stream).await {
            let path = request.split(' ').nth(1).unwrap().to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{path}", path.len());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let upstream = Arc::new(server.upstream());
    let calls = (0..100).map(|number| {
        let upstream = Arc::clone(&upstream);
        tokio::spawn(async move {
            let path = format!("/{number}");
            let answer = upstream.send(get(&path), &generous()).await.unwrap();
            assert_ok(&answer, &path);
        })
    });
    let calls = futures_util::future::try_join_all(calls);
    timeout(LIMIT, calls).await.expect("calls hang").unwrap();
    assert_eq!(server.requests(), 100);
}
