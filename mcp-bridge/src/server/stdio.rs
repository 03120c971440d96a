//! Connects the server to stdin and stdout: a JSON-RPC message, or a batch of them, on each line.

mod batch;
pub(crate) mod lines;

use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rmcp::RoleServer;
use rmcp::model::{
    ClientNotification, ErrorData, JsonRpcMessage, ProtocolVersion, RequestId, ServerResult,
};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::{StdioReader, Transport, stdio_pipes};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use self::batch::{Batches, Taken};
use self::lines::{Line, Lines, MAX_LINE};

type Incoming = RxJsonRpcMessage<RoleServer>;
type Outgoing = TxJsonRpcMessage<RoleServer>;

/// How long the last line may take to leave when the server stops.
const LAST_LINE: Duration = Duration::from_millis(500);

/// Makes the transport over stdin and stdout. Nothing else writes to stdout while it serves.
///
/// Must be called within the runtime that serves.
pub(crate) fn stdio() -> Stdio<StdioReader> {
    let (reader, writer) = stdio_pipes();
    Stdio::new(reader, writer)
}

/// Makes the transport over any other pair of streams, such as a socket's halves.
///
/// Must be called within the runtime that serves.
#[cfg(unix)]
pub(crate) fn streams<R: AsyncRead + Unpin>(
    reader: R,
    writer: impl AsyncWrite + Send + Unpin + 'static,
) -> Stdio<R> {
    Stdio::new(reader, writer)
}

/// A transport of lines.
///
/// It differs from rmcp's own in what it tells a client whose line can't be taken: rmcp drops a
/// line that is too long, so that the client waits for ever, and refuses every batch, which a
/// server of revision 2025-03-26 must take (basic, "Batching").
#[derive(Debug)]
pub(crate) struct Stdio<R> {
    lines: Lines<R>,
    queue: VecDeque<Incoming>,
    out: Out,
    writing: Option<JoinHandle<()>>,
}

/// The way to stdout. Lines leave in the order of the calls, and always whole.
#[derive(Clone, Debug)]
struct Out {
    lines: Option<mpsc::UnboundedSender<Written>>,
    batches: Arc<Mutex<Batches>>,
    /// Whether the client's revision has batches.
    batching: Arc<AtomicBool>,
}

/// A line, and who wants to know that it left.
type Written = (Vec<u8>, oneshot::Sender<io::Result<()>>);

/// What can be told of a message that is none.
#[derive(Deserialize)]
struct Shape {
    #[serde(default)]
    id: Option<serde_json::Value>,
    #[serde(default)]
    method: Option<serde_json::Value>,
}

impl<R: AsyncRead + Unpin> Stdio<R> {
    fn new(reader: R, writer: impl AsyncWrite + Send + Unpin + 'static) -> Self {
        let (lines, written) = mpsc::unbounded_channel();
        let writing = tokio::spawn(write(writer, written));
        let out = Out { lines: Some(lines), batches: Arc::default(), batching: Arc::default() };
        Self { lines: Lines::new(reader), queue: VecDeque::new(), out, writing: Some(writing) }
    }

    fn take_line(&mut self, line: &[u8]) {
        // RFC 8259, section 8.1: a byte order mark may be ignored.
        let line = line.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(line).trim_ascii();
        if line.is_empty() {
            return;
        }
        if line.first() == Some(&b'[') {
            return self.take_batch(line);
        }
        match parse(line) {
            Ok(Some(message)) => {
                self.withdrawn(&message);
                self.queue.push_back(message);
            }
            Ok(None) => {}
            Err(invalid) => drop(self.out.send(&invalid.refusal())),
        }
    }

    fn take_batch(&mut self, line: &[u8]) {
        let Ok(members) = serde_json::from_slice::<Vec<&RawValue>>(line) else {
            tracing::debug!("dropped a line that isn't JSON");
            return;
        };
        if !self.out.batching.load(Ordering::Relaxed) {
            let text = "This revision of MCP has no batches. Send one message on each line.";
            return drop(self.out.send(&refusal(text, None)));
        }
        if members.is_empty() {
            return drop(self.out.send(&refusal("The batch is empty.", None)));
        }
        let mut messages = Vec::new();
        let mut answers = Vec::new();
        for member in members {
            match parse(member.get().as_bytes()) {
                Ok(Some(message)) => messages.push(message),
                Ok(None) => {}
                Err(invalid) => answers.push(line_of(&invalid.refusal())),
            }
        }
        let ids = messages.iter().filter_map(|message| match message {
            JsonRpcMessage::Request(request) => Some(request.id.clone()),
            JsonRpcMessage::Response(_)
            | JsonRpcMessage::Notification(_)
            | JsonRpcMessage::Error(_) => None,
        });
        let complete = self.out.batches().begin(ids.collect(), answers);
        if let Some(line) = complete {
            drop(self.out.write(line));
        }
        for message in &messages {
            self.withdrawn(message);
        }
        self.queue.extend(messages);
    }

    /// A call that is withdrawn gets no answer, so its batch must not wait for one.
    fn withdrawn(&self, message: &Incoming) {
        if let JsonRpcMessage::Notification(notification) = message
            && let ClientNotification::CancelledNotification(cancelled) = &notification.notification
            && let Some(id) = &cancelled.params.request_id
        {
            let complete = self.out.batches().withdraw(id);
            if let Some(line) = complete {
                drop(self.out.write(line));
            }
        }
    }
}

impl<R: AsyncRead + Send + Unpin> Transport<RoleServer> for Stdio<R> {
    type Error = io::Error;

    fn send(
        &mut self,
        item: Outgoing,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.out.send(&item)
    }

    async fn receive(&mut self) -> Option<Incoming> {
        loop {
            if let Some(message) = self.queue.pop_front() {
                return Some(message);
            }
            match self.lines.next().await {
                Line::Whole(line) => self.take_line(&line),
                Line::TooLong(None) => tracing::warn!("dropped a line that is too long"),
                Line::TooLong(id) => {
                    tracing::warn!("refused a line that is too long");
                    let text = format!(
                        "The message is longer than {} MiB, the most that this server takes. \
                         Nothing was sent. Send less at once.",
                        MAX_LINE / (1024 * 1024)
                    );
                    drop(self.out.send(&refusal(&text, id)));
                }
                Line::End => return None,
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.out.lines = None;
        if let Some(writing) = self.writing.take() {
            // A client that reads no more must not keep the process.
            let _ = tokio::time::timeout(LAST_LINE, writing).await;
        }
        Ok(())
    }
}

impl Out {
    /// Sends a message, alone or with the batch it belongs to. The order is that of the calls, not
    /// of the futures, which only tell whether it left.
    fn send(&self, message: &Outgoing) -> impl Future<Output = io::Result<()>> + Send + use<> {
        if let JsonRpcMessage::Response(response) = message
            && let ServerResult::InitializeResult(result) = &response.result
        {
            let batching = result.protocol_version == ProtocolVersion::V_2025_03_26;
            self.batching.store(batching, Ordering::Relaxed);
        }
        let id = match message {
            JsonRpcMessage::Response(response) => Some(&response.id),
            JsonRpcMessage::Error(error) => error.id.as_ref(),
            JsonRpcMessage::Request(_) | JsonRpcMessage::Notification(_) => None,
        };
        let line = line_of(message);
        let line = match id {
            None => Some(line),
            Some(id) => match self.batches().take(id, line) {
                Taken::Alone(line) | Taken::Complete(line) => Some(line),
                Taken::Kept => None,
            },
        };
        let written = line.map(|line| self.write(line));
        async move {
            match written {
                Some(written) => written.await,
                None => Ok(()),
            }
        }
    }

    fn write(&self, mut line: Vec<u8>) -> impl Future<Output = io::Result<()>> + Send + use<> {
        line.push(b'\n');
        let (written, left) = oneshot::channel();
        // Without a writer the other end of the channel is dropped, which is told below.
        let _ = self.lines.as_ref().map(|lines| lines.send((line, written)));
        async move { left.await.unwrap_or_else(|_| Err(io::ErrorKind::NotConnected.into())) }
    }

    fn batches(&self) -> std::sync::MutexGuard<'_, Batches> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Writes whole lines, whoever still waits for them.
async fn write(mut writer: impl AsyncWrite + Unpin, mut lines: mpsc::UnboundedReceiver<Written>) {
    while let Some((line, written)) = lines.recv().await {
        let outcome = match writer.write_all(&line).await {
            Ok(()) => writer.flush().await,
            Err(error) => Err(error),
        };
        let _ = written.send(outcome);
    }
}

/// Reads one message. What isn't JSON, and what is a notification of nobody's, is none: a reply to
/// it might be answered in turn.
fn parse(text: &[u8]) -> Result<Option<Incoming>, Invalid> {
    let error = match serde_json::from_slice::<Incoming>(text) {
        Ok(mut message) => {
            super::raw::keep_arguments(&mut message, text);
            return Ok(Some(message));
        }
        Err(error) => error,
    };
    // Not the line: it may hold what is private.
    tracing::debug!(line = error.line(), column = error.column(), "a line that is no message");
    match serde_json::from_slice::<Shape>(text) {
        Ok(Shape { id: None, method: Some(_) }) => Ok(None),
        Ok(Shape { id, method: _ }) => {
            Err(Invalid(id.and_then(|id| serde_json::from_value::<RequestId>(id).ok())))
        }
        Err(error) if error.is_data() => Err(Invalid(None)),
        Err(_) => Ok(None),
    }
}

/// JSON that is no message, with its id if it has one.
struct Invalid(Option<RequestId>);

impl Invalid {
    fn refusal(self) -> Outgoing {
        refusal("The message isn't JSON-RPC 2.0.", self.0)
    }
}

fn refusal(text: &str, id: Option<RequestId>) -> Outgoing {
    JsonRpcMessage::error(ErrorData::invalid_request(text.to_owned(), None), id)
}

fn line_of(message: &Outgoing) -> Vec<u8> {
    if let Some(line) = super::raw::line(message) {
        return line;
    }
    // Messages are made of texts, numbers and lists, all of which JSON has.
    serde_json::to_vec(message).unwrap_or_default()
}
