//! One HTTP connection: the sender, and the task that drives it, which ends with the last holder.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::{http1, http2};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;

use super::dial::Socket;
use super::error::{EgressError, Unreachable};

/// The largest response head: count and bytes. hyper's own bound on bytes is about 400 kB.
pub(super) const MAX_HEADERS: usize = 100;
pub(super) const MAX_HEAD_BYTES: u16 = u16::MAX;

/// How long an abandoned connection may take to say goodbye.
const CLOSE_GRACE: Duration = Duration::from_secs(1);
/// A connection with calls on it that is silent for this long is asked for a sign of life.
const PING_INTERVAL: Duration = Duration::from_secs(10);
const PING_TIMEOUT: Duration = Duration::from_secs(5);

/// How much of one HTTP/2 answer the upstream may send before it is read.
const STREAM_WINDOW: u32 = 256 << 10;
/// The same of all answers of a connection together: as many as a service has calls in flight by default,
/// so that those which nobody reads for a while, since their calls wait for room, don't hold up the
/// others. Not more: h2 takes for a flood what comes in tiny frames only beyond half of it, and each of
/// them costs a hundred times its bytes.
const CONNECTION_WINDOW: u32 = 64 * STREAM_WINDOW;

/// What hyper sends: a body of known length, so that nothing is chunked.
pub(super) type Body = Full<Bytes>;

/// Keeps a connection's task alive; when the last one goes, the task ends within [`CLOSE_GRACE`].
pub(super) struct Lifeline {
    _held: watch::Sender<()>,
    /// When the connection was opened.
    pub(super) born: Instant,
}

/// A connection that is held for one call.
pub(super) enum Connection {
    Http1(Http1),
    Http2(Http2),
}

/// HTTP/1.1: one call at a time.
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<Body>,
    pub(super) life: Lifeline,
}

/// HTTP/2: shared by many calls.
#[derive(Clone)]
pub(super) struct Http2 {
    pub(super) sender: http2::SendRequest<Body>,
    pub(super) life: Arc<Lifeline>,
}

impl Connection {
    /// Starts HTTP on an open socket.
    pub(super) async fn start(socket: Socket) -> Result<Self, EgressError> {
        let started = match socket {
            Socket::Plain(stream) => http1(stream).await,
            Socket::Http1(stream) => http1(stream).await,
            Socket::Http2(stream) => http2(stream).await,
        };
        started.map_err(|_| Unreachable::ConnectionLost.into())
    }
}

async fn http1<S>(stream: S) -> hyper::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (life, watched) = lifeline();
    let (sender, connection) = http1::Builder::new()
        .max_headers(MAX_HEADERS)
        .max_header_size(MAX_HEAD_BYTES.into())
        .handshake(TokioIo::new(stream))
        .await?;
    watched.execute(connection);
    Ok(Connection::Http1(Http1 { sender, life }))
}

async fn http2<S>(stream: S) -> hyper::Result<Connection>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let (life, watched) = lifeline();
    let (sender, connection) = http2::Builder::new(watched.clone())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .max_header_list_size(MAX_HEAD_BYTES.into())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .handshake(TokioIo::new(stream))
        .await?;
    watched.execute(connection);
    Ok(Connection::Http2(Http2 { sender, life: Arc::new(life) }))
}

fn lifeline() -> (Lifeline, Watched) {
    let (held, watched) = watch::channel(());
    (Lifeline { _held: held, born: Instant::now() }, Watched(watched))
}

/// Runs a connection's tasks for as long as its [`Lifeline`] is held.
#[derive(Clone)]
struct Watched(watch::Receiver<()>);

impl<F> Executor<F> for Watched
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, task: F) {
        let mut held = self.0.clone();
        tokio::spawn(async move {
            // Nothing is ever sent: this resolves when the lifeline is dropped.
            let abandoned = async {
                while held.changed().await.is_ok() {}
                // hyper closes by itself now, unless the peer doesn't take the goodbye.
                tokio::time::sleep(CLOSE_GRACE).await;
            };
            tokio::select! {
                // An error of the connection also reaches the call on it.
                _ = task => {}
                () = abandoned => {}
            }
        });
    }
}
