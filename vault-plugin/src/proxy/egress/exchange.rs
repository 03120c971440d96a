//! One request on one connection: sent once, its answer's head checked, its body read and decoded.

use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap, HeaderName};
use http::{Request, Response, StatusCode, Version};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout_at};

use super::connection::{Body, Connection};
use super::decode;
use super::error::{EgressError, OutcomeUnknown, Unreachable};
use super::request::{Limits, OutboundRequest, UpstreamResponse};
use crate::proxy::origin::Origin;

/// Why there is no answer.
pub(super) enum Failure {
    /// Not one byte was written: the only case in which a request may be sent again.
    NotWritten,
    /// All else.
    Final(EgressError),
}

impl<E: Into<EgressError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

/// An answer of which the head is there, and the body still on its way.
pub(super) struct Started {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Incoming,
    ended_by_close: bool,
}

/// Sends a request once and reads the head of its answer.
pub(super) async fn start(
    connection: &mut Connection,
    request: OutboundRequest,
    origin: &Origin,
    deadline: Instant,
) -> Result<Started, Failure> {
    let is_head = request.is_head();
    let version = match connection {
        Connection::Http1(_) => Version::HTTP_11,
        Connection::Http2(_) => Version::HTTP_2,
    };
    // `OutboundRequest::new` has checked the parts, and `Origin` is parsed.
    let request = request.into_http(origin, version).map_err(|_| Unreachable::Other)?;
    let response = timeout_at(deadline, send(connection, request))
        .await
        .map_err(|_| OutcomeUnknown::NoAnswer)??;
    check_head(&response)?;
    let (head, body) = response.into_parts();
    let no_body =
        is_head || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let ended_by_close = version == Version::HTTP_11 && !no_body && !has_framing(&head.headers);
    Ok(Started { status: head.status, headers: head.headers, body, ended_by_close })
}

/// Reads the rest of an answer, and decodes it.
pub(super) async fn finish(
    started: Started,
    limits: &Limits<'_>,
) -> Result<UpstreamResponse, EgressError> {
    let Started { status, mut headers, body, ended_by_close } = started;
    let read = async {
        let encoded = read(body, declared_length(&headers), limits).await?;
        decode::decode(&headers, encoded, limits).await
    };
    let body =
        timeout_at(limits.deadline, read).await.map_err(|_| OutcomeUnknown::BodyTimeout)??;
    strip(&mut headers);
    Ok(UpstreamResponse { status, headers, body, ended_by_close })
}

async fn send(
    connection: &mut Connection,
    request: Request<Body>,
) -> Result<Response<Incoming>, Failure> {
    let sent = match connection {
        Connection::Http1(http1) => http1.sender.try_send_request(request).await,
        Connection::Http2(http2) => http2.sender.try_send_request(request).await,
    };
    sent.map_err(|mut failed| {
        // hyper gives a request back only if it was still in its queue.
        if failed.take_message().is_some() {
            return Failure::NotWritten;
        }
        let error = failed.into_error();
        Failure::Final(EgressError::from(if error.is_parse_too_large() {
            OutcomeUnknown::HeadTooLarge
        } else if error.is_parse() {
            OutcomeUnknown::Malformed
        } else {
            OutcomeUnknown::ConnectionLost
        }))
    })
}

/// Refuses what hyper lets pass: answers that another reader could frame in another way
/// (RFC 9112, section 6.3), and status codes that aren't final answers.
fn check_head(response: &Response<Incoming>) -> Result<(), OutcomeUnknown> {
    let headers = response.headers();
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let sound = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => {
            coding.as_bytes().eq_ignore_ascii_case(b"chunked")
                && !headers.contains_key(header::CONTENT_LENGTH)
        }
        (Some(_), Some(_)) => false,
    };
    let is_final = (200..600).contains(&response.status().as_u16());
    if sound && is_final { Ok(()) } else { Err(OutcomeUnknown::Malformed) }
}

fn has_framing(headers: &HeaderMap) -> bool {
    headers.contains_key(header::CONTENT_LENGTH) || headers.contains_key(header::TRANSFER_ENCODING)
}

fn declared_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

async fn read(
    mut body: Incoming,
    declared: Option<u64>,
    limits: &Limits<'_>,
) -> Result<Bytes, EgressError> {
    let limit = limits.max_response_bytes;
    let too_large = EgressError::ResponseTooLarge { limit };
    // Only a first look, so that nothing is read for nothing; the frames are counted anyway.
    let announced = match declared {
        Some(length) if !body.is_end_stream() => usize::try_from(length).map_err(|_| too_large)?,
        Some(_) | None => 0,
    };
    if announced > limit {
        return Err(too_large);
    }
    // All of it at once: while it waits, it holds no part that another call waits for.
    limits.cover(announced).await?;
    let mut whole = BytesMut::new();
    let mut only = Bytes::new();
    while let Some(frame) = body.frame().await {
        // Trailers are dropped: nobody would look for secrets in them.
        let Ok(data) = frame.map_err(|_| OutcomeUnknown::Truncated)?.into_data() else {
            continue;
        };
        let length = only.len() + whole.len() + data.len();
        if length > limit {
            return Err(too_large);
        }
        limits.cover(length).await?;
        // One frame is handed on as it is; only a second one makes a copy necessary.
        if whole.is_empty() && only.is_empty() {
            only = data;
        } else {
            if whole.is_empty() {
                whole.reserve(announced.max(length));
                whole.extend_from_slice(&std::mem::take(&mut only));
            }
            whole.extend_from_slice(&data);
        }
    }
    Ok(if whole.is_empty() { only } else { whole.freeze() })
}

/// Drops what described the connection and the encoded body (RFC 9110, section 7.6.1).
fn strip(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in &named {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        header::CONTENT_ENCODING,
        header::CONTENT_LENGTH,
        header::TRANSFER_ENCODING,
        header::TE,
        header::TRAILER,
        header::UPGRADE,
        header::PROXY_AUTHENTICATE,
        HeaderName::from_static("keep-alive"),
        HeaderName::from_static("proxy-connection"),
    ] {
        headers.remove(name);
    }
}
