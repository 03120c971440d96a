//! Holds one request to Vault and its answer, or why there is none.

use std::time::Duration;

use bytes::Bytes;

use crate::vault::Unavailable;

/// One request. Nobody repeats it unless it is certain that it never left.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// What to do.
    pub(crate) verb: Verb,
    /// The path below `/v1/`, of characters that need no encoding.
    pub(crate) path: String,
    /// The JSON body of a post.
    pub(crate) body: Bytes,
    /// The most that connecting, sending and reading may take.
    pub(crate) timeout: Duration,
    /// Whether another node may be asked after one has answered that it can't serve. Never for a
    /// call: an answer came, so the request was sent.
    pub(crate) ask_on: bool,
    /// How long the answer is to wait, wrapped, for the one who unwraps it; none: it comes as it is.
    pub(crate) wrap: Option<Duration>,
}

/// The verbs of Vault's API that the bridge uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    /// Read.
    Get,
    /// Update.
    Post,
    /// Delete.
    Delete,
}

impl Request {
    /// A read with the usual limit.
    pub(crate) fn get(path: impl Into<String>) -> Self {
        let (body, path) = (Bytes::new(), path.into());
        Self { verb: Verb::Get, path, body, timeout: SHORT, ask_on: true, wrap: None }
    }

    /// An update with the usual limit.
    pub(crate) fn post(path: impl Into<String>, body: impl Into<Bytes>) -> Self {
        let (body, path) = (body.into(), path.into());
        Self { verb: Verb::Post, path, body, timeout: SHORT, ask_on: false, wrap: None }
    }

    /// A deletion with the usual limit.
    pub(crate) fn delete(path: impl Into<String>) -> Self {
        Self { verb: Verb::Delete, ..Self::get(path) }
    }

    /// The same request with its answer wrapped (developer.hashicorp.com/vault, "Response
    /// wrapping").
    pub(crate) fn wrapped(self, lifetime: Duration) -> Self {
        Self { wrap: Some(lifetime), ..self }
    }

    /// The same request with another limit.
    pub(crate) fn with_timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// The same request, for one that may come twice without harm.
    pub(crate) fn asking_on(self) -> Self {
        Self { ask_on: true, ..self }
    }
}

/// Vault's answer, whatever its status.
#[derive(Debug)]
pub(crate) struct Reply {
    /// The HTTP status.
    pub(crate) status: u16,
    /// The body as it came.
    pub(crate) body: Bytes,
    /// Seconds to wait, if Vault said so.
    pub(crate) retry_after: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Lost {
    /// The request never left this machine.
    #[error("{0}")]
    NeverSent(Unavailable),
    /// The limit passed after the request may have left.
    #[error("Vault gave no answer in time")]
    TimedOut,
    /// The connection broke after the request may have left.
    #[error("the connection to Vault broke")]
    Broken,
    /// The answer is larger than the bridge takes.
    #[error("Vault's answer is too large")]
    TooLarge,
}

/// The limit of requests that Vault answers by itself.
const SHORT: Duration = Duration::from_secs(10);
