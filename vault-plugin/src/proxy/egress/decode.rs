//! Undoes the content coding of a body, within a limit: what stays coded could hide a secret.

use async_compression::tokio::bufread::{BrotliDecoder, GzipDecoder, ZstdDecoder};
use async_compression::zstd::DParameter;
use bytes::{Bytes, BytesMut};
use http::header::{self, HeaderMap};
use tokio::io::{AsyncRead, AsyncReadExt};

use super::error::{EgressError, Undecodable};
use super::request::Limits;

/// The largest zstd window, as a power of two: 8 MiB (RFC 8878, section 3.1.1.1.2).
const ZSTD_WINDOW_LOG: u32 = 23;
/// How much is decoded before other tasks get a turn, in bytes.
const TURN: usize = 64 * 1024;

/// Decodes a whole body within the limits of its call.
pub(super) async fn decode(
    headers: &HeaderMap,
    body: Bytes,
    limits: &Limits<'_>,
) -> Result<Bytes, EgressError> {
    // An answer to HEAD, or a 304, names the coding of a body that it doesn't have.
    if body.is_empty() {
        return Ok(body);
    }
    let mut input: &[u8] = &body;
    let decoded = match coding(headers)? {
        None => return Ok(body),
        Some(Coding::Gzip) => {
            let mut decoder = GzipDecoder::new(&mut input);
            // RFC 1952, section 2.2: a file is a series of members.
            decoder.multiple_members(true);
            read(decoder, body.len(), limits).await?
        }
        Some(Coding::Brotli) => read(BrotliDecoder::new(&mut input), body.len(), limits).await?,
        Some(Coding::Zstd) => {
            let window = [DParameter::window_log_max(ZSTD_WINDOW_LOG)];
            let mut decoder = ZstdDecoder::with_params(&mut input, &window);
            decoder.multiple_members(true);
            read(decoder, body.len(), limits).await?
        }
    };
    // Bytes after the end would be a part of the answer that nobody has seen.
    if input.is_empty() { Ok(decoded) } else { Err(Undecodable::Broken.into()) }
}

/// Whether a body that is read as it comes would have to be decoded first.
pub(super) fn is_coded(headers: &HeaderMap) -> Result<bool, Undecodable> {
    coding(headers).map(|coding| coding.is_some())
}

enum Coding {
    Gzip,
    Brotli,
    Zstd,
}

/// The one coding of a body (RFC 9110, section 8.4).
fn coding(headers: &HeaderMap) -> Result<Option<Coding>, Undecodable> {
    let mut only = None;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        let value = value.to_str().map_err(|_| Undecodable::Unknown)?;
        for name in value.split(',').map(|name| name.trim().to_ascii_lowercase()) {
            let coding = match name.as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "br" => Coding::Brotli,
                "zstd" => Coding::Zstd,
                _ => return Err(Undecodable::Unknown),
            };
            if only.replace(coding).is_some() {
                return Err(Undecodable::Multiple);
            }
        }
    }
    Ok(only)
}

/// `encoded` bytes stay in memory beside what is decoded.
async fn read(
    decoder: impl AsyncRead,
    encoded: usize,
    limits: &Limits<'_>,
) -> Result<Bytes, EgressError> {
    let limit = limits.max_response_bytes;
    let mut decoder = std::pin::pin!(decoder);
    let mut decoded = BytesMut::new();
    loop {
        decoded.reserve(TURN);
        match decoder.read_buf(&mut decoded).await {
            Ok(0) => return Ok(decoded.freeze()),
            Ok(_) if decoded.len() > limit => {
                return Err(EgressError::ResponseTooLarge { limit });
            }
            Ok(_) => {
                limits.cover(encoded + decoded.len()).await?;
                tokio::task::yield_now().await;
            }
            Err(_) => return Err(Undecodable::Broken.into()),
        }
    }
}
