//! Every call that was made, how it ended, and who has been served since a fault.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// How a call ended for its caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With an answer, and what the upstream said in it: which call, with which credential.
    Done {
        /// The id.
        id: String,
        /// The credential's tag.
        tag: String,
    },
    /// With an answer that the upstream can't have given.
    Odd(String),
    /// With an error that says that nothing was sent: its code.
    Refused(String),
    /// With an error that leaves open whether it was executed: its code.
    Unknown(String),
    /// Not at all, within [`LIMIT`].
    Hung,
}

/// How long a call may take at most: longer than any of the engine's and the bridge's own limits.
pub(super) const LIMIT: Duration = Duration::from_secs(100);

/// One call.
#[derive(Clone, Debug)]
pub struct Call {
    /// Its id, unlike all others'.
    pub id: String,
    /// The number of the caller.
    pub caller: usize,
    /// The service that was called.
    pub service: String,
    /// Whether the service's rules forbid it.
    pub forbidden: bool,
    /// Whether the client repeats what fails.
    pub repeats: bool,
    /// When it began.
    pub begun: Instant,
    /// When it ended.
    pub ended: Instant,
    /// How.
    pub outcome: Outcome,
}

/// All calls, shared by those who make them.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    calls: Vec<Call>,
    since: Option<Instant>,
    served: BTreeMap<usize, Instant>,
}

impl Ledger {
    /// Writes a call down.
    pub fn add(&self, call: Call) {
        let mut book = self.0.lock().unwrap();
        // A command line takes seconds to begin on a busy machine, which isn't the cluster's doing.
        let counts = !call.repeats && book.since.is_some_and(|since| call.begun >= since);
        if counts && matches!(call.outcome, Outcome::Done { .. }) {
            book.served.entry(call.caller).or_insert(call.ended);
        }
        book.calls.push(call);
    }

    /// Asks from now on who is served, by calls that begin from now on, of those who repeat nothing.
    pub fn watch(&self) -> Instant {
        let now = Instant::now();
        let mut book = self.0.lock().unwrap();
        book.since = Some(now);
        book.served.clear();
        now
    }

    /// Who was served since [`Ledger::watch`], and when first.
    pub fn served(&self) -> BTreeMap<usize, Instant> {
        self.0.lock().unwrap().served.clone()
    }

    /// How many calls there were, and of how many nobody knows whether they were executed.
    pub fn counts(&self) -> (usize, usize) {
        let book = self.0.lock().unwrap();
        let unknown = |call: &&Call| matches!(call.outcome, Outcome::Unknown(_));
        (book.calls.len(), book.calls.iter().filter(unknown).count())
    }

    /// Everything.
    pub fn calls(&self) -> Vec<Call> {
        self.0.lock().unwrap().calls.clone()
    }
}
