//! What an answer holds, kept until the host has been sent all of it.

use std::any::Any;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::codegen::http;

/// Stands beside an answer, in its extensions.
pub(super) type Held = Arc<dyn Any + Send + Sync>;

/// A piece of an answer.
struct Piece {
    data: Bytes,
    _held: Held,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.data
    }
}

/// Ties what an answer holds to its bytes. Not to its body: that ends as soon as its last piece is in
/// the connection's queue, where it may lie for as long as the host reads others.
pub(crate) fn hold(mut response: http::Response<Body>) -> http::Response<Body> {
    let Some(held) = response.extensions_mut().remove::<Held>() else { return response };
    response.map(|body| {
        Body::new(body.map_frame(move |frame| {
            frame.map_data(|data| Bytes::from_owner(Piece { data, _held: held.clone() }))
        }))
    })
}
