//! Searches an answer for the credential, within the call's time and memory.

use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use bytes::Bytes;
use http::{HeaderMap, header};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::Body;
use crate::error::{Code, Failure};
use crate::proxy::limits::Reservation;
use crate::proxy::redact::{Bounds, OutOfTime, Redactor, is_json};
use crate::proxy::service::Service;

/// Answers that take more bytes, times the passes over each, are searched off the event loop. So many
/// take some 3 ms.
const INLINE: usize = 1 << 20;

/// Searches off the event loop that run at one time: one core is left for everything else.
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = available_parallelism().map_or(1, usize::from);
    Arc::new(Semaphore::new(cores.saturating_sub(1).max(1)))
});

/// An answer to be searched, and what that may take.
pub(super) struct Search {
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    pub(super) redactor: Arc<Redactor>,
    pub(super) max_bytes: usize,
    pub(super) deadline: Instant,
    /// The call's places are held until the search is over, also when nobody waits for it any more.
    pub(super) reservation: Arc<Reservation>,
}

/// What may be handed out.
pub(super) struct Redacted {
    pub(super) headers: Map<String, Value>,
    pub(super) body: Body,
    pub(super) hits: u32,
}

/// Why nothing may.
enum Withheld {
    OutOfTime,
    BinaryWithSecret,
}

impl From<OutOfTime> for Withheld {
    fn from(OutOfTime: OutOfTime) -> Self {
        Self::OutOfTime
    }
}

impl Search {
    /// Searches headers and body.
    ///
    /// # Errors
    /// `outcome_unknown` when the call's time is up before it is over; `response_undecodable` for a
    /// binary body that contains the credential: it can't be cut out there without breaking what is
    /// around it.
    pub(super) async fn run(self, service: &Service) -> Result<Redacted, Failure> {
        let deadline = self.deadline;
        let found = if self.passed_bytes() <= INLINE {
            self.search()
        } else {
            // Who waits for a turn leaves at the deadline; the search itself ends soon after it.
            let searching = async {
                let turn = Arc::clone(&TURNS).acquire_owned().await;
                tokio::task::spawn_blocking(move || {
                    let _turn = turn;
                    self.search()
                })
                .await
            };
            match timeout_at(deadline, searching).await {
                Ok(Ok(found)) => found,
                Ok(Err(_)) => return Err(unsearched()),
                Err(_) => Err(Withheld::OutOfTime),
            }
        };
        found.map_err(|withheld| match withheld {
            Withheld::OutOfTime => late(service),
            Withheld::BinaryWithSecret => binary(service),
        })
    }

    fn passed_bytes(&self) -> usize {
        let headers: usize =
            self.headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
        self.redactor.work(headers + self.body.len())
    }

    fn search(self) -> Result<Redacted, Withheld> {
        let is_json = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(is_json);
        let (headers, header_hits) = self.headers()?;
        let (body, body_hits) = self.body(is_json)?;
        Ok(Redacted { headers, body, hits: header_hits.saturating_add(body_hits) })
    }

    fn headers(&self) -> Result<(Map<String, Value>, u32), OutOfTime> {
        let deadline = self.deadline.into_std();
        let mut headers = Map::new();
        let mut hits = 0_u32;
        for name in self.headers.keys() {
            if self.redactor.is_in_header_name(name.as_str(), deadline)? {
                // No mark could stand for it: it would be another header's name.
                hits = hits.saturating_add(1);
                continue;
            }
            let mut values = Vec::new();
            for value in self.headers.get_all(name) {
                let (value, found) =
                    self.redactor.redact_header_value(value.as_bytes(), deadline)?;
                hits = hits.saturating_add(found);
                values.push(value);
            }
            // Repeated fields mean the list of their values (RFC 9110, section 5.3).
            headers.insert(name.as_str().to_owned(), Value::String(values.join(", ")));
        }
        Ok((headers, hits))
    }

    fn body(self, is_json: bool) -> Result<(Body, u32), Withheld> {
        let deadline = self.deadline.into_std();
        if std::str::from_utf8(&self.body).is_err() {
            return match self.redactor.contains(&self.body, deadline)? {
                true => Err(Withheld::BinaryWithSecret),
                false => Ok((Body::Binary(self.body), 0)),
            };
        }
        let reservation = &self.reservation;
        let bounds = Bounds {
            max_bytes: self.max_bytes,
            deadline,
            cover: &|bytes| reservation.cover_marks(bytes),
        };
        let (clean, hits) = self.redactor.redact_body(self.body, is_json, &bounds)?;
        match String::from_utf8(clean.into()) {
            Ok(text) => Ok((Body::Text(text), hits)),
            Err(error) => Ok((Body::Binary(error.into_bytes().into()), hits)),
        }
    }
}

fn late(service: &Service) -> Failure {
    Failure::new(
        Code::OutcomeUnknown,
        format!(
            "the request to \"{}\" was sent and answered, but the time for this call ({} s) was up \
             before the answer was searched for the credential, so it is withheld, and the request \
             may have taken effect. Don't repeat it; look first whether it happened, or ask for less",
            service.name,
            service.timeout.as_secs()
        ),
    )
}

fn binary(service: &Service) -> Failure {
    Failure::new(
        Code::ResponseUndecodable,
        format!(
            "the answer of \"{}\" is binary and contains the stored credential, so it is withheld. \
             The request was sent. Tell the user that an operator should look at this upstream",
            service.name
        ),
    )
}

fn unsearched() -> Failure {
    Failure::new(
        Code::ResponseUndecodable,
        "the answer couldn't be searched for the credential, so it is withheld. The request was sent",
    )
}
