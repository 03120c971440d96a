//! Relays MCP between a client's stdin and stdout and the holder's socket, and outlives the holder.
//!
//! A call that was handed to a holder which then vanished is answered `outcome_unknown` and never
//! repeated. Everything else is asked again of the next holder, which learns of the client's
//! handshake first; the client needn't notice.

mod answer;
mod connection;
mod ledger;
mod message;

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use rmcp::transport::stdio_pipes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

use crate::server::lines::{Line, Lines};

use self::answer::Unreachable;
use self::connection::{Connection, Connector, Fault};
use self::ledger::Ledger;

/// How long what the client has asked may still be answered after it has closed its side.
const GRACE: Duration = Duration::from_millis(500);
/// How long the last line may take to leave.
const LAST_LINE: Duration = Duration::from_millis(500);

/// Relays until stdin ends or stdout can't be written.
pub(crate) async fn run(path: PathBuf) {
    let (input, output) = stdio_pipes();
    let (to_client, lines) = mpsc::unbounded_channel();
    let writing = tokio::spawn(write(output, lines));
    let (fault, faults) = watch::channel(Fault::Untried);
    let connector = Connector::new(path, fault);
    let mut relay =
        Relay { ledger: Ledger::default(), to_client, connector, faults, link: Link::Down };
    relay.run(Lines::new(input)).await;
    drop(relay);
    // A client that reads no more must not keep the process.
    let _ = tokio::time::timeout(LAST_LINE, writing).await;
}

struct Relay {
    ledger: Ledger,
    to_client: mpsc::UnboundedSender<Vec<u8>>,
    connector: Connector,
    /// Why the last attempt to connect failed.
    faults: watch::Receiver<Fault>,
    link: Link,
}

/// The way to the holder.
enum Link {
    /// There is none, and nobody tries.
    Down,
    /// An attempt is under way, and others follow until one succeeds.
    Connecting(Pin<Box<dyn Future<Output = Connection> + Send>>),
    Up(Connection),
}

/// What happens next.
enum Event {
    Client(Line),
    Holder(Option<Vec<u8>>),
    Connected(Connection),
    Overdue,
    Over,
}

impl Relay {
    async fn run(&mut self, mut input: Lines<impl AsyncRead + Unpin>) {
        // When everything ends, once the client has closed its side.
        let mut end: Option<Instant> = None;
        loop {
            if matches!(self.link, Link::Down) {
                let connecting = self.connector.connect(self.ledger.handshake());
                self.link = Link::Connecting(Box::pin(connecting));
            }
            if end.is_some() && self.ledger.is_settled() {
                return;
            }
            let deadline = self.ledger.deadline();
            let event = tokio::select! {
                line = input.next(), if end.is_none() => Event::Client(line),
                event = self.link.next() => event,
                () = until(deadline) => Event::Overdue,
                () = until(end) => Event::Over,
                () = self.to_client.closed() => Event::Over,
            };
            match event {
                Event::Client(Line::End) => end = Some(Instant::now() + GRACE),
                Event::Client(Line::Whole(line)) => self.client_said(line),
                Event::Client(Line::TooLong(id)) => self.answer(answer::too_long(id)),
                Event::Holder(Some(line)) => {
                    if let Some(line) = self.ledger.holder_said(line) {
                        self.answer(line);
                    }
                }
                Event::Holder(None) => {
                    tracing::warn!("the connection to the holder is gone; connecting again");
                    self.link = Link::Down;
                    self.ledger.lost().into_iter().for_each(|line| self.answer(line));
                }
                Event::Connected(connection) => {
                    tracing::info!("connected to the holder");
                    if let Some(line) = self.ledger.connected() {
                        self.answer(line);
                    }
                    self.link = Link::Up(connection);
                    self.send_waiting();
                }
                Event::Overdue => {
                    let why = self.faults.borrow().clone();
                    let why = Unreachable { path: self.connector.path(), fault: &why };
                    let answers = self.ledger.overdue(&why);
                    answers.into_iter().for_each(|line| self.answer(line));
                }
                Event::Over => return,
            }
        }
    }

    fn client_said(&mut self, line: Vec<u8>) {
        self.ledger.client_said(line, matches!(self.link, Link::Up(_)));
        self.send_waiting();
    }

    fn send_waiting(&mut self) {
        if let Link::Up(connection) = &self.link {
            self.ledger.take_waiting().for_each(|line| connection.send(line));
        }
    }

    fn answer(&self, line: Vec<u8>) {
        // Without a client the loop ends.
        let _ = self.to_client.send(line);
    }
}

impl Link {
    async fn next(&mut self) -> Event {
        match self {
            Self::Down => std::future::pending().await,
            Self::Connecting(connecting) => Event::Connected(connecting.await),
            Self::Up(connection) => Event::Holder(connection.next().await),
        }
    }
}

async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep_until(moment).await,
        None => std::future::pending().await,
    }
}

/// Writes whole lines until nobody has another, or they can't be written.
async fn write(mut writer: impl AsyncWrite + Unpin, mut lines: mpsc::UnboundedReceiver<Vec<u8>>) {
    while let Some(mut line) = lines.recv().await {
        line.push(b'\n');
        if writer.write_all(&line).await.is_err() || writer.flush().await.is_err() {
            return;
        }
    }
}
