//! What goes out and what comes back: opaque outside the rooms that need them.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{self, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, StatusCode, Uri, Version};
use http_body_util::Full;
use tokio::time::{Instant, timeout_at};

use super::error::EgressError;
use crate::proxy::origin::Origin;

/// Memory set aside for one call's answer.
pub trait Room: Send + Sync {
    /// Makes sure that so many bytes in all are covered; `false` when there is no room for them now.
    fn cover(&self, bytes: usize) -> bool;

    /// Waits until so many bytes in all are covered; `false` when they never will be. Giving up the
    /// wait leaves what is covered as it is.
    fn wait(&self, bytes: usize) -> BoxFuture<'_, bool>;
}

/// The bounds of one call.
#[derive(Clone, Copy)]
pub struct Limits<'r> {
    /// When the call must be over, connecting and reading the body included.
    pub deadline: Instant,
    /// The largest body, in bytes, both as it is received and after decoding.
    pub max_response_bytes: usize,
    /// Asked before an answer is read whose length is told, else as it grows.
    pub room: &'r dyn Room,
}

/// A finished request: everything that goes on the wire but the framing.
///
/// It has no accessors: what it holds is seen by the upstream alone.
#[derive(Clone)]
pub struct OutboundRequest {
    method: Method,
    target: PathAndQuery,
    headers: HeaderMap,
    body: Bytes,
    plain_answer: bool,
}

/// Why a request can't be sent as it is; the request's parts aren't named, they may be secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// `CONNECT` would make a tunnel of the connection.
    #[error("the method can't be proxied")]
    Method,
    /// The target isn't an absolute path with an optional query, or wouldn't be sent as it is.
    #[error("the path or query can't be sent as it is")]
    Target,
    /// A header that decides over framing, routing or the connection; egress sets these itself.
    #[error("the header {0} is set by the proxy alone")]
    Header(&'static str),
}

/// Headers that egress sets itself, or that concern one connection (RFC 9110, section 7.6.1).
const OWN: &[&str] = &[
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "proxy-authorization",
    "keep-alive",
    "proxy-connection",
];

/// Waiting for room ends so long before the call does, so that this is what is told, and not that the
/// upstream was slow.
const BEFORE_THE_END: Duration = Duration::from_millis(5);

/// What bodies may be compressed with, in order of liking; exactly what `decode` undoes.
const ACCEPT_ENCODING: HeaderValue = HeaderValue::from_static("gzip, br, zstd");
/// Bodies as they are (RFC 9110, section 12.5.3).
const IDENTITY: HeaderValue = HeaderValue::from_static("identity");

impl fmt::Debug for Limits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limits")
            .field("deadline", &self.deadline)
            .field("max_response_bytes", &self.max_response_bytes)
            .finish_non_exhaustive()
    }
}

impl Limits<'_> {
    /// Covers so many bytes in all; while there is no room for them, waits until the call's time is up.
    ///
    /// Meanwhile nothing is read: the upstream's own sending comes to a halt.
    ///
    /// # Errors
    ///
    /// [`EgressError::NoRoom`].
    pub(crate) async fn cover(&self, bytes: usize) -> Result<(), EgressError> {
        // Nearly always: nothing is allocated then.
        if self.room.cover(bytes) {
            return Ok(());
        }
        let end = self.deadline.checked_sub(BEFORE_THE_END).unwrap_or(self.deadline);
        match timeout_at(end, self.room.wait(bytes)).await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(EgressError::NoRoom),
        }
    }
}

impl OutboundRequest {
    /// Takes a finished request: `target` is the canonical path and query.
    ///
    /// # Errors
    ///
    /// [`RequestError`] if a part can't be sent exactly as given.
    pub fn new(
        method: Method,
        target: &str,
        headers: HeaderMap,
        body: Bytes,
    ) -> Result<Self, RequestError> {
        if method == Method::CONNECT {
            return Err(RequestError::Method);
        }
        let parsed: PathAndQuery = target.parse().map_err(|_| RequestError::Target)?;
        // The parser cuts a fragment silently, and puts a slash before a bare query.
        if parsed.as_str() != target || !target.starts_with('/') {
            return Err(RequestError::Target);
        }
        if let Some(own) = OWN.iter().find(|own| headers.contains_key(**own)) {
            return Err(RequestError::Header(own));
        }
        Ok(Self { method, target: parsed, headers, body, plain_answer: false })
    }

    /// Asks for an answer without content coding, so that it can be read as it comes.
    #[must_use]
    pub fn plain_answer(self) -> Self {
        Self { plain_answer: true, ..self }
    }

    /// Whether the answer has no body by the method (RFC 9110, section 9.3.2).
    pub(super) fn is_head(&self) -> bool {
        self.method == Method::HEAD
    }

    /// Builds the message for HTTP/1.1 or HTTP/2.
    pub(super) fn into_http(
        self,
        origin: &Origin,
        version: Version,
    ) -> Result<Request<Full<Bytes>>, RequestError> {
        let Self { method, target, mut headers, body, plain_answer } = self;
        let codings = if plain_answer { IDENTITY } else { ACCEPT_ENCODING };
        headers.insert(header::ACCEPT_ENCODING, codings);
        // hyper sends no length for an empty body, and some servers answer 411 to that
        // (RFC 9110, section 8.6: a length SHOULD be sent where the method gives it a meaning).
        let wants_length =
            method == Method::POST || method == Method::PUT || method == Method::PATCH;
        if body.is_empty() && wants_length {
            headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let authority = origin.authority();
        let uri = if version == Version::HTTP_2 {
            Uri::builder()
                .scheme(origin.scheme.as_str())
                .authority(authority)
                .path_and_query(target)
                .build()
                .map_err(|_| RequestError::Target)?
        } else {
            let host =
                HeaderValue::try_from(authority).map_err(|_| RequestError::Header("host"))?;
            headers.insert(header::HOST, host);
            Uri::from(target)
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.version_mut() = version;
        *request.headers_mut() = headers;
        Ok(request)
    }
}

impl fmt::Debug for OutboundRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OutboundRequest")
    }
}

/// A whole answer, decoded, before redaction: it may hold the credential.
pub struct UpstreamResponse {
    /// 200 to 599.
    pub(crate) status: StatusCode,
    /// Without framing, connection and content-coding headers.
    pub(crate) headers: HeaderMap,
    /// Decoded; empty for `HEAD`, 204 and 304.
    pub(crate) body: Bytes,
    /// Whether only the end of the connection marked the body's end, so that a cut can't be told.
    pub(crate) ended_by_close: bool,
}

impl fmt::Debug for UpstreamResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UpstreamResponse")
    }
}
