//! From an engine's result to the wire. The one place that knows the host's error kinds.

use proto::pb;
use serde_json::{Map, Value};

use crate::apart::apart;
use crate::error::Error;
use crate::response::Response;
use crate::storage::StorageError;

// pb.ProtoError.err_type (OpenBao sdk/plugin/pb/translation.go). Types of 11 and more decode to "no
// error": never send one.
const UNKNOWN: u32 = 0;
const INTERNAL: u32 = 2;
const CODED: u32 = 3;
const BAD_REQUEST: u32 = 4;
const UNSUPPORTED_OPERATION: u32 = 5;
const UNSUPPORTED_PATH: u32 = 6;

/// Translates a handler's result.
pub(super) fn result(result: Result<Response, Error>) -> pb::HandleRequestReply {
    match result {
        Ok(response) => ok(response),
        Err(error) => self::error(&error),
    }
}

/// The answer to a help request.
pub(super) fn help(text: String, openapi: Option<serde_json::Value>) -> pb::HandleRequestReply {
    let mut data = serde_json::json!({ "help": text });
    if let (Some(openapi), Some(data)) = (openapi, data.as_object_mut()) {
        data.insert("openapi".to_owned(), openapi);
    }
    with_data(&data)
}

fn ok(response: Response) -> pb::HandleRequestReply {
    if response.data.is_none() && response.warnings.is_empty() {
        return pb::HandleRequestReply::default();
    }
    // The host parses it as JSON whenever there is a response, also one of warnings alone.
    let data = match response.data.map_or_else(|| Ok("null".to_owned()), |data| json(&data)) {
        Ok(data) => data,
        Err(error) => return self::error(&error),
    };
    pb::HandleRequestReply {
        response: Some(pb::Response { data, warnings: response.warnings, ..Default::default() }),
        err: None,
    }
}

/// Not by way of `Display`, which hands every piece of a large text through the machinery of formats.
fn json(data: &Map<String, Value>) -> Result<String, Error> {
    let text: usize = data.values().filter_map(Value::as_str).map(str::len).sum();
    apart(text, || serde_json::to_string(data))
        .map_err(|error| Error::Internal(format!("response data: {error}")))
}

fn with_data(data: &serde_json::Value) -> pb::HandleRequestReply {
    pb::HandleRequestReply {
        response: Some(pb::Response { data: data.to_string(), ..Default::default() }),
        err: None,
    }
}

/// Translates a failure of an operation.
pub(super) fn error(error: &Error) -> pb::HandleRequestReply {
    if let Error::Invalid(message) = error {
        // The nicest form: the client sees the text as it is, with 400.
        return with_data(&serde_json::json!({ "error": message }));
    }
    pb::HandleRequestReply { response: None, err: Some(proto_error(error)) }
}

/// Translates a failure where there is no response to put a text in; details that aren't the
/// client's business go to the log here.
pub(super) fn proto_error(error: &Error) -> pb::ProtoError {
    let (err_type, err_code) = match error {
        Error::Invalid(_) => (BAD_REQUEST, 0),
        // Code 0 would drop the client's connection without an answer.
        Error::Coded { status, .. } => (CODED, i64::from((*status).clamp(400, 599))),
        Error::UnsupportedOperation => (UNSUPPORTED_OPERATION, 0),
        Error::UnsupportedPath => (UNSUPPORTED_PATH, 0),
        Error::ReadOnly => (UNKNOWN, 0),
        Error::Storage(StorageError::ReadOnly) => return proto_error(&Error::ReadOnly),
        Error::Storage(cause @ (StorageError::Failed(_) | StorageError::Undecodable { .. })) => {
            tracing::error!(%cause, "storage failed");
            (INTERNAL, 0)
        }
        Error::Internal(cause) => {
            tracing::error!(%cause, "internal error");
            (INTERNAL, 0)
        }
    };
    pb::ProtoError { err_type, err_msg: error.to_string(), err_code }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_alone_come_with_data_that_parses() {
        let reply = ok(Response::empty().warn("mind this"));
        let response = reply.response.unwrap();
        assert_eq!((response.data.as_str(), response.warnings.len()), ("null", 1));
        assert!(ok(Response::empty()).response.is_none(), "nothing to say is no response at all");
    }
}
