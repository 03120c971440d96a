//! Connects to the holder, again and again, and says why it can't.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::OwnedReadHalf;
use tokio::sync::{mpsc, watch};

use super::ledger::Handshake;
use super::message::Message;
use crate::socket::{self, Greeting, SocketError};
use crate::vault::jitter;

/// The first pause after a failure.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest pause: looking for a socket costs next to nothing.
const MAX_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause after the holder itself has refused, which it logs each time.
const MAX_REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// How long the holder may take to greet, and to answer the client's handshake when it is repeated.
const GREETING: Duration = Duration::from_secs(5);
/// The longest greeting, in bytes.
const MAX_GREETING: u64 = 4096;

/// Why there is no connection to the holder. Reads as the start of a sentence.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum Fault {
    /// The first attempt isn't over.
    #[error("the bridge's service doesn't answer")]
    Untried,
    /// There is no socket.
    #[error("the bridge's service isn't running (there is no socket)")]
    Missing,
    /// Nobody listens on the socket.
    #[error("the bridge's service isn't running (nobody listens on its socket)")]
    Abandoned,
    /// This user may not even look.
    #[error("the socket of the bridge's service isn't for this user (--allow-user)")]
    Forbidden,
    /// The socket could be somebody else's.
    #[error("the socket of the bridge's service isn't to be trusted: {0}")]
    Untrusted(String),
    /// The holder refuses this user.
    #[error("the bridge's service refuses: {0}")]
    Refused(String),
    /// Whatever listens there isn't a holder, or hangs.
    #[error("what listens on the socket of the bridge's service doesn't answer")]
    Silent,
}

impl From<SocketError> for Fault {
    fn from(error: SocketError) -> Self {
        match error {
            SocketError::System { kind: io::ErrorKind::NotFound, .. } => Self::Missing,
            SocketError::System { kind: io::ErrorKind::ConnectionRefused, .. } => Self::Abandoned,
            SocketError::System { kind: io::ErrorKind::PermissionDenied, .. } => Self::Forbidden,
            SocketError::System { .. } => Self::Silent,
            error @ (SocketError::Exposed { .. }
            | SocketError::Stranger { .. }
            | SocketError::NoUser(_)
            | SocketError::Taken(_)
            | SocketError::Other(_)) => Self::Untrusted(error.to_string()),
        }
    }
}

impl From<io::Error> for Fault {
    fn from(_: io::Error) -> Self {
        Self::Silent
    }
}

/// Makes connections to the holder at one socket.
pub(super) struct Connector {
    path: PathBuf,
    fault: watch::Sender<Fault>,
}

/// A connection on which the holder speaks MCP.
pub(super) struct Connection {
    reader: BufReader<OwnedReadHalf>,
    /// The line that is being read.
    line: Vec<u8>,
    writer: mpsc::UnboundedSender<Vec<u8>>,
}

impl Connector {
    /// Tells of each failure through `fault`.
    pub(super) fn new(path: PathBuf, fault: watch::Sender<Fault>) -> Self {
        Self { path, fault }
    }

    /// The socket.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Connects, sooner or later; the holder knows of the client's handshake then.
    pub(super) fn connect(
        &self,
        handshake: Option<Handshake>,
    ) -> impl Future<Output = Connection> + Send + use<> {
        let path = self.path.clone();
        let fault = self.fault.clone();
        async move {
            let mut pause = PAUSE;
            loop {
                let attempt = tokio::time::timeout(GREETING, attempt(&path, handshake.as_ref()));
                let why = match attempt.await {
                    Ok(Ok(connection)) => return connection,
                    Ok(Err(why)) => why,
                    Err(_) => Fault::Silent,
                };
                tracing::debug!("{why}");
                let longest = match &why {
                    Fault::Refused(_) => MAX_REFUSED_PAUSE,
                    Fault::Untried
                    | Fault::Missing
                    | Fault::Abandoned
                    | Fault::Forbidden
                    | Fault::Untrusted(_)
                    | Fault::Silent => MAX_PAUSE,
                };
                fault.send_replace(why);
                tokio::time::sleep(jitter(pause, 20)).await;
                pause = (pause * 2).min(longest);
            }
        }
    }
}

async fn attempt(path: &Path, handshake: Option<&Handshake>) -> Result<Connection, Fault> {
    let mut connection = Connection::new(socket::connect(path).await?).await?;
    if let Some(handshake) = handshake {
        connection.send(handshake.hello.clone());
        loop {
            let line = connection.next().await.ok_or(Fault::Silent)?;
            let message = Message::read(&line);
            if message.as_ref().is_some_and(|message| message.answers(&handshake.id)) {
                break;
            }
        }
        if let Some(done) = &handshake.done {
            connection.send(done.clone());
        }
    }
    Ok(connection)
}

impl Connection {
    async fn new(stream: UnixStream) -> Result<Self, Fault> {
        let (reader, mut writing) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let mut line = Vec::new();
        (&mut reader).take(MAX_GREETING).read_until(b'\n', &mut line).await?;
        match serde_json::from_slice(&line) {
            Ok(Greeting::Ready { method, .. }) if method == socket::READY => {}
            Ok(Greeting::Refused { error, .. }) => return Err(Fault::Refused(error.message)),
            Ok(Greeting::Ready { .. }) | Err(_) => return Err(Fault::Silent),
        }
        let (writer, mut lines) = mpsc::unbounded_channel::<Vec<u8>>();
        // A task of its own: a holder that reads nothing must not keep the client's end from being
        // noticed. A failure shows at the reader.
        tokio::spawn(async move {
            while let Some(mut line) = lines.recv().await {
                line.push(b'\n');
                if writing.write_all(&line).await.is_err() {
                    return;
                }
            }
        });
        Ok(Self { reader, line: Vec::new(), writer })
    }

    /// Sends a line, given without its end.
    pub(super) fn send(&self, line: Vec<u8>) {
        // Without a writer, the reader has ended or is about to.
        let _ = self.writer.send(line);
    }

    /// The next line without its end; none when the holder is gone. A line without an end is part of
    /// one. May be dropped and asked again at any time: nothing is lost.
    pub(super) async fn next(&mut self) -> Option<Vec<u8>> {
        let read = self.reader.read_until(b'\n', &mut self.line).await;
        if read.is_err() || self.line.pop() != Some(b'\n') {
            return None;
        }
        Some(std::mem::take(&mut self.line))
    }
}
