//! One message to an MCP server and its answer (Streamable HTTP), on the same way out as every other
//! call.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use serde_json::json;
use tokio::time::Instant;

use super::era::{Era, Hello, Remembered};
use super::headers::{self, SESSION_ID};
pub use super::listing::{Listing, list_all};
use super::message::{self, Asks, FromServer, Message, Request, Revision};
use super::parting::{ASIDE, Parting, send_aside};
use super::session::{self, Session, Sessions, Slot};
use super::sse::{Events, TooLarge};
use super::trouble::{HttpRefusal, Trouble};
use crate::bounds;
use crate::engine::Snapshot;
use crate::error::Failure;
use crate::proxy::answer;
use crate::proxy::credential::{self, Credential};
use crate::proxy::egress::{Answering, EgressError, Limits, OutboundRequest, Undecodable};
use crate::proxy::injector::{self, Message as Outgoing};
use crate::proxy::policy::{self, Passage};
use crate::proxy::service::Kind;

/// What a server says that it is.
#[derive(Clone, Debug, Default)]
pub struct Server {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// What it tells models about itself, unsanitised.
    pub instructions: Option<String>,
}

/// What is remembered of one MCP server, in its snapshot.
#[derive(Debug, Default)]
pub struct State {
    pub(super) era: Remembered,
    pub(super) sessions: Sessions,
}

/// How often a server's own requests are refused on one stream; further ones are passed over.
const MAX_REFUSALS: usize = 16;
/// How much of a refusal in HTTP is read, and handed on, in bytes.
const REFUSAL_READ: usize = 64 << 10;
/// The least that an answer may have on the wire, in bytes: room for lists.
const LEAST_WIRE: usize = 8 << 20;

/// One call's way to a server.
pub(super) struct Client<'c> {
    pub(super) snapshot: &'c Arc<Snapshot>,
    pub(super) passage: &'c Passage,
    pub(super) credential: Option<&'c Credential>,
    /// Stands in the requests, unless it is empty.
    pub(super) request_id: &'c str,
    pub(super) deadline: Instant,
}

/// What a message goes with: a revision, a session, headers of its own.
#[derive(Clone, Default)]
pub(super) struct Framing {
    /// `None` before one is agreed on.
    pub(super) revision: Option<Revision>,
    pub(super) session: Option<Arc<Session>>,
    pub(super) headers: HeaderMap,
}

impl Framing {
    pub(super) fn of(revision: Revision) -> Self {
        Self { revision: Some(revision), ..Self::default() }
    }

    fn in_session(session: Arc<Session>) -> Self {
        Self { revision: Some(session.revision), session: Some(session), ..Self::default() }
    }
}

/// The server's answer to a request.
#[derive(Debug)]
pub(super) enum Reply {
    /// The JSON of the result, not searched yet.
    Result(String),
    /// The JSON of the error, not searched yet.
    Error(String),
}

/// An answer with what came beside it.
pub(super) struct Answered {
    pub(super) reply: Reply,
    /// Whether the server knew which request it answered.
    pub(super) names_request: bool,
    pub(super) status: StatusCode,
    pub(super) session_id: Option<HeaderValue>,
}

/// How a call goes: with which framing, and in which slot's session if it is kept in one.
pub(super) struct Opened {
    pub(super) framing: Framing,
    pub(super) revision: Revision,
    pub(super) hello: Arc<Hello>,
    pub(super) slot: Option<Arc<Slot>>,
    /// Ends a session that is for one call alone.
    _parting: Option<Parting>,
}

impl<'c> Client<'c> {
    /// Finds out how the server is spoken to, and opens a session if it wants one: `who`'s, or without
    /// one and when there are too many, one for this call alone, which ends with what this gives.
    pub(super) async fn open(&self, who: Option<&str>) -> Result<Opened, Trouble> {
        let (era, is_news) = self.era().await?;
        if let Era::Stateless(hello) = era {
            let revision = Revision::STATELESS;
            let framing = Framing::of(revision);
            return Ok(Opened { framing, revision, hello, slot: None, _parting: None });
        }
        let slot = who.and_then(|who| self.snapshot.mcp.sessions.slot(who, self.snapshot));
        let (session, parting) = match &slot {
            None => {
                let (session, parting) = self.handshake().await?;
                (Arc::new(session), parting)
            }
            Some(slot) => (self.session(slot).await?, None),
        };
        if is_news {
            // Also with a session of before: it isn't asked for again with each call.
            self.snapshot.mcp.era.set(Era::Handshake);
        }
        let (revision, hello) = (session.revision, Arc::clone(&session.hello));
        let framing = Framing::in_session(session);
        Ok(Opened { framing, revision, hello, slot, _parting: parting })
    }

    /// Sends a request and reads on until its answer.
    pub(super) async fn ask(
        &self,
        request: &Request,
        framing: &Framing,
    ) -> Result<Answered, Trouble> {
        self.ask_until(request, framing, self.deadline).await
    }

    pub(super) async fn ask_until(
        &self,
        request: &Request,
        framing: &Framing,
        deadline: Instant,
    ) -> Result<Answered, Trouble> {
        let body = request.body(framing.revision);
        let name = request.name.as_deref();
        let outbound = self.outbound(Method::POST, request.method, name, framing, body)?;
        let mut answering = self.snapshot.upstream.open(outbound, deadline).await?;
        let status = answering.status();
        let session_id = answering.headers().get(SESSION_ID).cloned().map(|mut id| {
            id.set_sensitive(true);
            id
        });
        let (reply, names_request) = if status.is_success() && is_event_stream(answering.headers())
        {
            let mut asks = Vec::new();
            let read = self.stream(&mut answering, request, framing, deadline, &mut asks).await;
            match read {
                Ok(reply) => {
                    answering.done();
                    (reply, true)
                }
                // Whatever became of the stream, this is why.
                Err(_) if !asks.is_empty() => return Err(Trouble::Asked(asks)),
                Err(trouble) => return Err(trouble),
            }
        } else {
            self.whole(answering, request, deadline).await?
        };
        Ok(Answered { reply, names_request, status, session_id })
    }

    /// Sends a message that wants no answer.
    pub(super) async fn tell(
        &self,
        body: Bytes,
        method: &str,
        session: &Session,
    ) -> Result<(), Trouble> {
        let framing = Framing { revision: Some(session.revision), ..Framing::default() };
        let outbound =
            self.message(Method::POST, method, None, &framing, session.id.as_ref(), body)?;
        let answering = self.snapshot.upstream.open(outbound, self.deadline).await?;
        let status = answering.status();
        answering.done();
        if status.is_success() {
            return Ok(());
        }
        let refusal = HttpRefusal { status, body: None, retry_after: None, names_request: true };
        Err(Trouble::Status(refusal))
    }

    /// Takes the credential out of a text of the server's that isn't the answer itself.
    pub(super) async fn cleaned(&self, text: String) -> Result<String, Failure> {
        Ok(self.redacted(text).await?.0)
    }

    /// Takes the credential out of a text of the server's; gives the number of places too.
    pub(super) async fn redacted(&self, text: String) -> Result<(String, u32), Failure> {
        let reservation = self.passage.reservation();
        answer::redact_json(text, self.snapshot, self.deadline, reservation).await
    }

    /// The time is up before anything of the call is sent.
    pub(super) fn no_time(&self) -> Failure {
        answer::no_time(&self.snapshot.service)
    }

    /// The message by which a session's server learns that nobody waits for an answer any more
    /// (MCP 2025-11-25, cancellation). To others, the end of the connection says it.
    pub(super) fn farewell(
        &self,
        request: &Request,
        framing: &Framing,
    ) -> Result<Option<OutboundRequest>, Failure> {
        if framing.session.as_ref().is_none_or(|session| session.id.is_none()) {
            return Ok(None);
        }
        let params = json!({ "requestId": request.id, "reason": "the caller left" });
        let body = message::notification("notifications/cancelled", params);
        self.outbound(Method::POST, "notifications/cancelled", None, framing, body).map(Some)
    }

    /// The message that ends a session (MCP 2025-11-25, session management), by its name.
    pub(super) fn closing(
        &self,
        id: &HeaderValue,
        revision: Option<Revision>,
    ) -> Result<OutboundRequest, Failure> {
        let framing = Framing { revision, ..Framing::default() };
        self.message(Method::DELETE, "", None, &framing, Some(id), Bytes::new())
    }

    /// A last word in this call's place.
    pub(super) fn parting(&self, message: OutboundRequest) -> Parting {
        Parting::new(message, self.snapshot, self.passage.reservation())
    }

    fn outbound(
        &self,
        method: Method,
        asked: &str,
        name: Option<&str>,
        framing: &Framing,
        body: Bytes,
    ) -> Result<OutboundRequest, Failure> {
        let session_id = framing.session.as_ref().and_then(|session| session.id.as_ref());
        self.message(method, asked, name, framing, session_id, body)
    }

    fn message(
        &self,
        method: Method,
        asked: &str,
        name: Option<&str>,
        framing: &Framing,
        session_id: Option<&HeaderValue>,
        body: Bytes,
    ) -> Result<OutboundRequest, Failure> {
        let mut headers = headers::standard(framing.revision, asked, name);
        headers.extend(framing.headers.clone());
        if let Some(id) = session_id {
            headers.insert(SESSION_ID, id.clone());
        }
        let message = Outgoing { method, headers, body };
        let service = &self.snapshot.service;
        injector::inject_message(self.passage, message, service, self.credential, self.request_id)
    }

    /// The bytes that one answer may have on the wire: more than what is handed out, since a result
    /// that is too long is cut, and a stream holds more than the result.
    fn wire_bytes(&self, request: &Request) -> usize {
        let most = usize::try_from(bounds::MAX_RESPONSE).unwrap_or(usize::MAX);
        let service = self.snapshot.service.max_response_bytes;
        request.most.unwrap_or_else(|| service.saturating_mul(4).clamp(LEAST_WIRE, most))
    }

    fn limits(&self, deadline: Instant, max_response_bytes: usize) -> Limits<'_> {
        Limits { deadline, max_response_bytes, room: self.passage.reservation().room() }
    }

    /// Reads a stream of events up to the answer.
    async fn stream(
        &self,
        answering: &mut Answering,
        request: &Request,
        framing: &Framing,
        deadline: Instant,
        asks: &mut Vec<Asks>,
    ) -> Result<Reply, Trouble> {
        let limits = self.limits(deadline, self.wire_bytes(request));
        let mut events = Events::of_at_most(limits.max_response_bytes);
        let too_large = EgressError::ResponseTooLarge { limit: limits.max_response_bytes };
        let mut refused = 0;
        let mut is_over = false;
        while !is_over {
            match answering.chunk(&limits).await? {
                Some(piece) => events.push(&piece).map_err(|TooLarge| too_large)?,
                None => {
                    events.end();
                    is_over = true;
                }
            }
            limits.cover(events.held()).await?;
            for data in events.by_ref() {
                // What isn't JSON-RPC isn't the answer; that may follow.
                for message in message::parse(&data, request.id).unwrap_or_default() {
                    match message {
                        Message::Result(result) => return Ok(Reply::Result(result)),
                        Message::Error(error) | Message::Unread(error) => {
                            return Ok(Reply::Error(error));
                        }
                        Message::Other => {}
                        Message::Request(request) => {
                            if request.asks != Asks::Ping && !asks.contains(&request.asks) {
                                asks.push(request.asks);
                            }
                            refused += 1;
                            if refused <= MAX_REFUSALS {
                                self.refuse(&request, framing).await;
                            }
                        }
                    }
                }
            }
        }
        Err(Trouble::NotMcp("the stream of events ended without the answer"))
    }

    /// Answers a request of the server's, where there is a session by which the server can tell whose
    /// answer that is. If that fails, the server waits, and the answer doesn't come: that is told then.
    async fn refuse(&self, request: &FromServer, framing: &Framing) {
        let Some(session) = framing.session.as_ref().filter(|session| session.id.is_some()) else {
            return;
        };
        if let Some(body) = message::answer_to(request) {
            let _ = self.tell(body, "", session).await;
        }
    }

    /// Reads an answer that is no stream; tells whether it names the request, or may.
    async fn whole(
        &self,
        answering: Answering,
        request: &Request,
        deadline: Instant,
    ) -> Result<(Reply, bool), Trouble> {
        let status = answering.status();
        let retry_after = answering
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let most = if status.is_success() { self.wire_bytes(request) } else { REFUSAL_READ };
        let refusal = |body, names_request| {
            Trouble::Status(HttpRefusal { status, body, retry_after, names_request })
        };
        let body = match answering.whole(&self.limits(deadline, most)).await {
            Ok(response) => response.body,
            Err(
                EgressError::ResponseTooLarge { .. }
                | EgressError::Undecodable {
                    kind: Undecodable::Unknown | Undecodable::Multiple | Undecodable::Broken,
                },
            ) if !status.is_success() => return Err(refusal(None, true)),
            Err(error) => return Err(error.into()),
        };
        let names_request = status.is_success() || message::names(&body, request.id);
        let refusal = |body: Bytes| refusal(String::from_utf8(body.into()).ok(), names_request);
        if status == StatusCode::UNAUTHORIZED {
            // Whatever its form: it is about the credential.
            return Err(refusal(body));
        }
        let parsed = message::parse(&body, request.id);
        let is_json_rpc = parsed.is_ok();
        let answer = parsed.into_iter().flatten().find_map(|message| match message {
            Message::Result(result) => Some(Reply::Result(result)),
            Message::Error(error) => Some(Reply::Error(error)),
            // It may be a gateway's: the server is still at it, or is done.
            Message::Unread(_) if status.is_server_error() => None,
            Message::Unread(error) => Some(Reply::Error(error)),
            Message::Request(_) | Message::Other => None,
        });
        match answer {
            Some(error @ Reply::Error(_)) => Ok((error, names_request)),
            Some(result @ Reply::Result(_)) if status.is_success() => Ok((result, names_request)),
            Some(Reply::Result(_)) | None if !status.is_success() => Err(refusal(body)),
            Some(Reply::Result(_)) | None => Err(Trouble::NotMcp(match is_json_rpc {
                true => "it is no answer to what was asked",
                false if body.is_empty() => "it is empty",
                false => "it isn't JSON-RPC",
            })),
        }
    }
}

impl fmt::Debug for Client<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value
        .and_then(|value| value.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("text/event-stream"))
}

/// Ends a session at the server, if there is a place for it now: a server forgets sessions by itself too.
pub(super) async fn close(snapshot: &Arc<Snapshot>, id: &HeaderValue, revision: Revision) {
    let service = &snapshot.service;
    let Kind::Mcp(mcp) = &service.kind else { return };
    let Ok(passage) = policy::admit(None, 0, service, mcp, &snapshot.places) else { return };
    let Ok(credential) = bound(snapshot) else { return };
    let deadline = Instant::now() + ASIDE;
    let client = Client { snapshot, passage: &passage, credential, request_id: "", deadline };
    if let Ok(outbound) = client.closing(id, Some(revision)) {
        send_aside(snapshot, outbound).await;
    }
}

/// The credential that goes with a service, if it uses one.
///
/// # Errors
/// `credential_missing`, `binding_changed`.
pub(crate) fn bound(snapshot: &Snapshot) -> Result<Option<&Credential>, Failure> {
    if !snapshot.service.placement.wants_secret() {
        return Ok(None);
    }
    credential::bound(&snapshot.service, snapshot.credential.as_ref()).map(Some)
}

/// Forgets the session that a call was in, so that the next one opens another.
pub(super) async fn lost(opened: &Opened) {
    if let (Some(slot), Some(session)) = (&opened.slot, &opened.framing.session) {
        session::forget(slot, session).await;
    }
}
