//! HTTP/2 servers that refuse streams and go away, written frame by frame (RFC 9113, section 6).

use std::pin::pin;
use std::sync::Arc;

use futures_util::future::join_all;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::server::TlsStream;

use super::super::{EgressError, OutcomeUnknown, Upstream};
use super::fixtures::*;
use super::identity::*;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// The flag that a frame acknowledges, or that it is the stream's last: the same bit.
const ACK_OR_END: u8 = 1;
const END_HEADERS: u8 = 4;
/// Error codes (section 7).
const NO_ERROR: u32 = 0;
const REFUSED_STREAM: u32 = 7;
const ENHANCE_YOUR_CALM: u32 = 11;

/// What a server does about a request that has arrived whole.
enum Step {
    /// Writes a frame.
    Send(Vec<u8>),
    /// Makes sure that the client has read all that was sent so far.
    Ping,
    /// Waits until the test goes on.
    Hold,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// `:status 200` and no body; 0x88 is its entry in HPACK's static table (RFC 7541, appendix A).
fn answered(stream: u32) -> Step {
    Step::Send(frame(HEADERS, END_HEADERS | ACK_OR_END, stream, &[0x88]))
}

fn refused(stream: u32) -> Step {
    Step::Send(frame(RST_STREAM, 0, stream, &REFUSED_STREAM.to_be_bytes()))
}

fn goes_away(last: u32, code: u32) -> Step {
    Step::Send(frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat()))
}

/// A server that counts whole requests, and takes the steps that their number and stream call for.
async fn serving(
    steps: impl Fn(usize, u32) -> Vec<Step> + Send + Sync + 'static,
) -> (Server, Upstream, Arc<Notify>) {
    let identity = appliance();
    let acceptor = acceptor(&identity, &identity.key, "h2", true);
    let release = Arc::new(Notify::new());
    let released = Arc::clone(&release);
    let steps = Arc::new(steps);
    let server = Server::start(move |stream, notes| {
        let (acceptor, released, steps) =
            (acceptor.clone(), Arc::clone(&released), Arc::clone(&steps));
        async move {
            let Ok(mut stream) = acceptor.accept(stream).await else { return };
            // The client's preface (section 3.4).
            let mut preface = [0; 24];
            stream.read_exact(&mut preface).await.unwrap();
            write(&mut stream, &frame(SETTINGS, 0, 0, &[])).await;
            'connection: while let Some((kind, flags, id)) = next(&mut stream).await {
                if !matches!(kind, HEADERS | DATA) || flags & ACK_OR_END == 0 {
                    continue;
                }
                for step in steps(notes.executed(), id) {
                    match step {
                        Step::Send(frame) => {
                            if !write(&mut stream, &frame).await {
                                break 'connection;
                            }
                        }
                        Step::Hold => released.notified().await,
                        Step::Ping => {
                            write(&mut stream, &frame(PING, 0, 0, &[0; 8])).await;
                            while next(&mut stream).await.is_some_and(|(kind, ..)| kind != PING) {}
                            notes.saw("read by the client");
                        }
                    }
                }
            }
            notes.saw("over");
        }
    })
    .await;
    let upstream = server.tls_upstream(NAME, trusting(&identity.pem));
    (server, upstream, release)
}

/// False when the client is gone.
async fn write(stream: &mut TlsStream<TcpStream>, frame: &[u8]) -> bool {
    stream.write_all(frame).await.is_ok() && stream.flush().await.is_ok()
}

/// Reads a frame: kind, flags and stream; acknowledges settings.
async fn next(stream: &mut TlsStream<TcpStream>) -> Option<(u8, u8, u32)> {
    let mut head = [0; 9];
    stream.read_exact(&mut head).await.ok()?;
    let [l2, l1, l0, kind, flags, id @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, l2, l1, l0]) as usize];
    stream.read_exact(&mut payload).await.ok()?;
    if kind == SETTINGS && flags & ACK_OR_END == 0 {
        write(stream, &frame(SETTINGS, ACK_OR_END, 0, &[])).await;
    }
    Some((kind, flags, u32::from_be_bytes(id)))
}

fn lost() -> EgressError {
    EgressError::OutcomeUnknown { kind: OutcomeUnknown::ConnectionLost }
}

#[tokio::test]
async fn a_refused_stream_is_not_repeated() {
    let (server, upstream, _) = serving(|number, stream| match number {
        2 => vec![refused(stream)],
        _ => vec![answered(stream)],
    })
    .await;
    assert_ok(&call(&upstream).await.unwrap(), "");
    // The server says that it did nothing; it might be wrong.
    let error = upstream.send(post("pay"), &generous()).await.unwrap_err();
    assert_eq!(error, lost());
    assert_eq!((server.connections(), server.requests()), (1, 2));
    assert_ok(&call(&upstream).await.unwrap(), "");
    assert_eq!((server.connections(), server.requests()), (2, 3));
}

#[tokio::test]
async fn going_away_from_a_request_is_not_an_invitation_to_repeat_it() {
    for code in [NO_ERROR, ENHANCE_YOUR_CALM] {
        for kept in [0, 1] {
            // The stream named as the last one is before the one that has arrived.
            let (server, upstream, _) = serving(move |number, stream| {
                if number == kept + 1 {
                    vec![goes_away(stream.saturating_sub(2), code)]
                } else {
                    vec![answered(stream)]
                }
            })
            .await;
            for _ in 0..kept {
                assert_ok(&call(&upstream).await.unwrap(), "");
            }
            let error = upstream.send(post("pay"), &generous()).await.unwrap_err();
            assert_eq!(error, lost());
            assert_eq!((server.connections(), server.requests()), (1, kept + 1));
            assert_ok(&call(&upstream).await.unwrap(), "");
            assert_eq!((server.connections(), server.requests()), (2, kept + 2));
        }
    }
}

#[tokio::test]
async fn a_server_that_goes_away_finishes_what_it_has_and_gets_no_more() {
    let (server, upstream, release) = serving(|number, stream| match number {
        1 => vec![goes_away(stream, NO_ERROR), Step::Ping, Step::Hold, answered(stream)],
        _ => vec![answered(stream)],
    })
    .await;
    let upstream = Arc::new(upstream);
    let other = Arc::clone(&upstream);
    let patient = tokio::spawn(async move { other.send(post("pay"), &generous()).await });
    eventually("the client knows", || !server.seen().is_empty()).await;
    assert_ok(&upstream.send(post("pay"), &generous()).await.unwrap(), "");
    assert_eq!((server.connections(), server.requests()), (2, 2));
    release.notify_waiters();
    assert_ok(&patient.await.unwrap().unwrap(), "");
    assert_eq!(server.requests(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_goes_away_after_each_answer_executes_each_request_at_most_once() {
    let (server, upstream, _) =
        serving(|_, stream| vec![answered(stream), goes_away(stream, NO_ERROR)]).await;
    let (mut answered, mut unknown) = (0, 0);
    for _ in 0..100 {
        match upstream.send(post("pay"), &generous()).await {
            Ok(_) => answered += 1,
            Err(error) => {
                assert!(error.sent(), "{error}");
                unknown += 1;
            }
        }
    }
    assert_eq!(answered + unknown, 100);
    assert!((answered..=100).contains(&server.requests()), "{}", server.requests());
    assert!(answered >= 30, "{answered}");
}

#[tokio::test]
async fn a_flood_of_tiny_frames_that_nobody_reads_ends_the_connection() {
    // As many as the windows allow; in memory each takes a hundred times its one byte.
    const FRAMES: usize = 256 << 10;
    let (server, upstream, _) = serving(|_, stream| {
        let head = frame(HEADERS, END_HEADERS, stream, &[0x88]);
        let flood = frame(DATA, 0, stream, b"x").repeat(FRAMES);
        vec![Step::Send(head), Step::Send(flood)]
    })
    .await;
    let gate = Gate::closed();
    let limits = gate.limits();
    let calls = (0..16).map(|_| upstream.send(post("pay"), &limits));
    let mut calls = pin!(join_all(calls));
    tokio::select! {
        _ = &mut calls => {}
        () = eventually("the connection is given up", || server.seen().contains(&"over".to_owned())) => {}
    }
    assert!(server.requests() < 4, "soon: after {} floods", server.requests());
    gate.open();
    for answer in calls.await {
        assert!(answer.unwrap_err().sent());
    }
}
