//! Keeps account of what the client has asked and what the holder has answered.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use rmcp::model::RequestId;
use tokio::time::Instant;

use super::answer::{self, Unreachable};
use super::message::{Ask, Kind, Message};

/// How long a client waits for a first answer when there is no holder: clients give few seconds.
const WAIT: Duration = Duration::from_secs(2);
/// How long a call waits for the next holder.
const CALL_WAIT: Duration = Duration::from_secs(10);

/// What is asked and not answered.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    /// What a holder has got.
    asked: HashMap<RequestId, Asked>,
    /// What the next holder is to get, in order.
    waiting: VecDeque<Waiting>,
    handshake: Option<Handshake>,
    /// Whether the client has a list of tools of this session.
    listed: bool,
    /// Whether there was a holder before.
    reconnecting: bool,
}

/// The client's part of the older revisions' handshake, for the next holder.
#[derive(Clone, Debug)]
pub(super) struct Handshake {
    /// The id of `initialize`.
    pub(super) id: RequestId,
    /// The line with `initialize`.
    pub(super) hello: Vec<u8>,
    /// The line with `notifications/initialized`, once the client has sent it.
    pub(super) done: Option<Vec<u8>>,
}

#[derive(Debug)]
struct Asked {
    ask: Ask,
    /// The line, of what may be asked again.
    line: Vec<u8>,
    /// Whether the client knows that its subscription has begun.
    acknowledged: bool,
}

#[derive(Debug)]
struct Waiting {
    line: Vec<u8>,
    asks: Vec<Asked>,
    until: Option<Instant>,
}

impl Ledger {
    /// Takes a line from the client; it waits until [`Ledger::take_waiting`]. What asks for nothing
    /// is dropped if there is no holder: it was of what is over.
    pub(super) fn client_said(&mut self, line: Vec<u8>, connected: bool) {
        let members = Message::batch(&line);
        let texts = members.as_ref().map(|members| members.iter().map(|m| m.get().as_bytes()));
        let texts: Vec<&[u8]> = texts.map_or_else(|| vec![line.as_slice()], Iterator::collect);
        let mut asks = Vec::new();
        let mut kept = connected;
        for text in texts {
            let Some(message) = Message::read(text) else { continue };
            if let Some(id) = message.withdraws() {
                self.withdraw(&id);
            }
            if message.method.as_deref() == Some("notifications/initialized")
                && let Some(handshake) = &mut self.handshake
            {
                handshake.done = Some(text.to_vec());
                kept = true;
            }
            asks.extend(message.ask().map(|ask| Asked::new(ask, text)));
        }
        if kept || !asks.is_empty() {
            self.wait(line, asks);
        }
    }

    /// Gives what waits; from now on it counts as asked.
    pub(super) fn take_waiting(&mut self) -> impl Iterator<Item = Vec<u8>> + use<> {
        let mut lines = Vec::new();
        for waiting in std::mem::take(&mut self.waiting) {
            for asked in waiting.asks {
                self.asked.insert(asked.ask.id.clone(), asked);
            }
            lines.push(waiting.line);
        }
        lines.into_iter()
    }

    /// Takes a line from the holder; gives what the client gets.
    pub(super) fn holder_said(&mut self, line: Vec<u8>) -> Option<Vec<u8>> {
        if let Some(members) = Message::batch(&line) {
            for member in members {
                let answered =
                    Message::read(member.get().as_bytes()).and_then(|message| message.id);
                answered.map(|id| self.asked.remove(&id));
            }
            return Some(line);
        }
        let Some(message) = Message::read(&line) else { return Some(line) };
        if let Some(id) = message.acknowledges() {
            let asked = self.asked.get_mut(&id);
            let again = asked.is_some_and(|asked| std::mem::replace(&mut asked.acknowledged, true));
            // It goes on at another holder, whose tools may be others.
            return if again { Some(answer::tools_changed(Some(&id))) } else { Some(line) };
        }
        if message.method.is_some() {
            return Some(line);
        }
        let Some(asked) = message.id.as_ref().and_then(|id| self.asked.remove(id)) else {
            return Some(line);
        };
        let succeeded = message.has_result();
        match asked.ask.kind {
            Kind::Initialize if succeeded => {
                self.handshake =
                    Some(Handshake { id: asked.ask.id, hello: asked.line, done: None });
            }
            // A holder that stops ends its subscriptions so; at the next one they go on.
            Kind::Listen if succeeded => {
                self.asked.insert(asked.ask.id.clone(), asked);
                return None;
            }
            Kind::ListTools => self.listed |= succeeded,
            Kind::Call { .. } | Kind::Initialize | Kind::Listen | Kind::Other => {}
        }
        Some(line)
    }

    /// The holder is gone: gives the answers to the calls that it had got, and has the rest wait for
    /// the next one.
    pub(super) fn lost(&mut self) -> Vec<Vec<u8>> {
        let mut answers = Vec::new();
        for asked in std::mem::take(&mut self.asked).into_values() {
            match answer::lost(&asked.ask) {
                Some(answer) => answers.push(answer),
                None => self.wait(asked.line.clone(), vec![asked]),
            }
        }
        answers
    }

    /// A holder is there, and knows of the handshake. Gives what the client is told.
    pub(super) fn connected(&mut self) -> Option<Vec<u8>> {
        let again = std::mem::replace(&mut self.reconnecting, true);
        (again && self.listed && self.handshake.is_some()).then(|| answer::tools_changed(None))
    }

    /// What the next holder is to know of the client first.
    pub(super) fn handshake(&self) -> Option<Handshake> {
        self.handshake.clone()
    }

    /// When something has waited too long.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.waiting.iter().filter_map(|waiting| waiting.until).min()
    }

    /// Gives up what has waited too long; gives the answers.
    pub(super) fn overdue(&mut self, why: &Unreachable<'_>) -> Vec<Vec<u8>> {
        let now = Instant::now();
        let mut answers = Vec::new();
        self.waiting.retain(|waiting| {
            let overdue = waiting.until.is_some_and(|until| until <= now);
            if overdue {
                answers
                    .extend(waiting.asks.iter().map(|asked| answer::unreachable(&asked.ask, why)));
            }
            !overdue
        });
        answers
    }

    /// Whether the client waits for no answer. A subscription has none.
    pub(super) fn is_settled(&self) -> bool {
        let waiting = self.waiting.iter().flat_map(|waiting| &waiting.asks);
        self.asked.values().chain(waiting).all(|asked| asked.ask.kind == Kind::Listen)
    }

    fn wait(&mut self, line: Vec<u8>, asks: Vec<Asked>) {
        let limit = |asked: &Asked| match asked.ask.kind {
            // A holder that was there is about to start again.
            Kind::Call { .. } if self.reconnecting => Some(CALL_WAIT),
            Kind::Call { .. } | Kind::Initialize | Kind::ListTools | Kind::Other => Some(WAIT),
            // It promises no answer at any time.
            Kind::Listen => None,
        };
        let limit = asks.iter().filter_map(limit).max();
        self.waiting.push_back(Waiting { line, asks, until: limit.map(|l| Instant::now() + l) });
    }

    /// The client wants no answer any more.
    fn withdraw(&mut self, id: &RequestId) {
        self.asked.remove(id);
        // What is alone on its line needn't be sent at all.
        self.waiting.retain(|waiting| match waiting.asks.as_slice() {
            [asked] => asked.ask.id != *id,
            _ => true,
        });
    }
}

impl Asked {
    fn new(ask: Ask, text: &[u8]) -> Self {
        // A call is never sent twice.
        let again = !matches!(ask.kind, Kind::Call { .. });
        let line = if again { text.to_vec() } else { Vec::new() };
        Self { ask, line, acknowledged: false }
    }
}
