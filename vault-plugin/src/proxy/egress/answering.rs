//! An answer on its way: read whole, or as it comes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use tokio::time::{timeout, timeout_at};

use super::connection::Connection;
use super::decode;
use super::error::{EgressError, OutcomeUnknown, Undecodable};
use super::exchange::{Started, finish};
use super::pool::Pool;
use super::request::{Limits, UpstreamResponse};

/// What may follow the part of an answer that was wanted, and how long that may take: beyond, the
/// connection isn't worth keeping.
const REST_BYTES: usize = 64 << 10;
const REST_TIME: Duration = Duration::from_secs(1);

/// An answer of which the head is there. Dropping it ends the exchange: an HTTP/1.1 connection is
/// closed, an HTTP/2 stream is reset.
pub struct Answering {
    started: Started,
    connection: Connection,
    pool: Arc<Pool>,
    received: usize,
}

impl Answering {
    pub(super) fn new(started: Started, connection: Connection, pool: Arc<Pool>) -> Self {
        Self { started, connection, pool, received: 0 }
    }

    /// The upstream's status, 200 to 599.
    pub(crate) fn status(&self) -> StatusCode {
        self.started.status
    }

    /// The upstream's headers, as they came: they may hold the credential.
    pub(crate) fn headers(&self) -> &HeaderMap {
        &self.started.headers
    }

    /// Reads the rest, decoded.
    ///
    /// # Errors
    ///
    /// [`EgressError`], as for [`Upstream::send`](super::Upstream::send).
    pub async fn whole(self, limits: &Limits<'_>) -> Result<UpstreamResponse, EgressError> {
        let Self { started, connection, pool, .. } = self;
        let answer = finish(started, limits).await;
        match &answer {
            Ok(_) => pool.give_back(connection).await,
            // The connection is sound: only this answer isn't.
            Err(
                EgressError::ResponseTooLarge { .. }
                | EgressError::NoRoom
                | EgressError::Undecodable { .. },
            ) => {}
            Err(_) => pool.retire(&connection),
        }
        answer
    }

    /// Reads what comes next, as it was sent; `None` after the end.
    ///
    /// The bytes of all pieces together are bounded; of memory, the caller keeps the account.
    ///
    /// # Errors
    ///
    /// [`EgressError::Undecodable`] for a body with a content coding, which was asked for without
    /// one ([`OutboundRequest::plain_answer`](super::OutboundRequest::plain_answer)); else as for
    /// [`Answering::whole`].
    pub(crate) async fn chunk(
        &mut self,
        limits: &Limits<'_>,
    ) -> Result<Option<Bytes>, EgressError> {
        if decode::is_coded(&self.started.headers)? {
            return Err(Undecodable::Unknown.into());
        }
        loop {
            let next = timeout_at(limits.deadline, self.started.body.frame()).await;
            let frame = match next.map_err(|_| OutcomeUnknown::BodyTimeout) {
                Ok(Some(Ok(frame))) => frame,
                Ok(None) => return Ok(None),
                Ok(Some(Err(_))) => {
                    self.pool.retire(&self.connection);
                    return Err(OutcomeUnknown::Truncated.into());
                }
                Err(late) => {
                    self.pool.retire(&self.connection);
                    return Err(late.into());
                }
            };
            // Trailers are dropped, as with whole bodies.
            let Ok(data) = frame.into_data() else { continue };
            self.received += data.len();
            if self.received > limits.max_response_bytes {
                return Err(EgressError::ResponseTooLarge { limit: limits.max_response_bytes });
            }
            return Ok(Some(data));
        }
    }

    /// Is done with the answer, of which the part that was wanted is there. The connection is kept
    /// if the rest is short and comes soon; nobody waits for it.
    pub(crate) fn done(self) {
        let Self { started, connection, pool, .. } = self;
        tokio::spawn(async move {
            if timeout(REST_TIME, drained(started.body)).await == Ok(true) {
                pool.give_back(connection).await;
            }
        });
    }
}

async fn drained(mut body: Incoming) -> bool {
    let mut rest = 0;
    while !body.is_end_stream() {
        match body.frame().await {
            None => return true,
            Some(Err(_)) => return false,
            Some(Ok(frame)) => rest += frame.data_ref().map_or(0, Bytes::len),
        }
        if rest > REST_BYTES {
            return false;
        }
    }
    true
}

impl fmt::Debug for Answering {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Answering")
    }
}
