//! From an engine's result to the wire. The one place that knows the host's error kinds.

use proto::pb;

use crate::error::{Error, READ_ONLY};
use crate::response::Response;
use crate::storage::StorageError;

// pb.ProtoError.err_type (OpenBao sdk/plugin/pb/translation.go). Types of 11 and more decode to "no
// error": never send one.
const UNKNOWN: u32 = 0;
const INTERNAL: u32 = 2;
const CODED: u32 = 3;
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
pub(super) fn help(text: String) -> pb::HandleRequestReply {
    with_data(&serde_json::json!({ "help": text }))
}

fn ok(response: Response) -> pb::HandleRequestReply {
    if response.data.is_none() && response.warnings.is_empty() {
        return pb::HandleRequestReply::default();
    }
    // The host parses it as JSON whenever there is a response, also one of warnings alone.
    let data = response.data.map_or_else(
        || "null".to_owned(),
        |data| serde_json::Value::Object(data).to_string(),
    );
    pb::HandleRequestReply {
        response: Some(pb::Response { data, warnings: response.warnings, ..Default::default() }),
        err: None,
    }
}

fn with_data(data: &serde_json::Value) -> pb::HandleRequestReply {
    pb::HandleRequestReply {
        response: Some(pb::Response { data: data.to_string(), ..Default::default() }),
        err: None,
    }
}

/// Translates a failure; details that aren't the client's business go to the log here.
pub(super) fn error(error: &Error) -> pb::HandleRequestReply {
    let coded = |err_type, err_code, err_msg: String| pb::HandleRequestReply {
        response: None,
        err: Some(pb::ProtoError { err_type, err_msg, err_code }),
    };
    match error {
        // The nicest form: the client sees the text as it is, with 400.
        Error::Invalid(message) => with_data(&serde_json::json!({ "error": message })),
        Error::Coded { status, message } => {
            // Code 0 would drop the client's connection without an answer.
            coded(CODED, i64::from((*status).clamp(400, 599)), message.clone())
        }
        Error::UnsupportedOperation => coded(UNSUPPORTED_OPERATION, 0, error.to_string()),
        Error::UnsupportedPath => coded(UNSUPPORTED_PATH, 0, error.to_string()),
        Error::ReadOnly | Error::Storage(StorageError::ReadOnly) => {
            coded(UNKNOWN, 0, READ_ONLY.to_owned())
        }
        Error::Storage(cause @ (StorageError::Failed(_) | StorageError::Undecodable { .. })) => {
            tracing::error!(%cause, "storage failed");
            coded(INTERNAL, 0, error.to_string())
        }
        Error::Internal(cause) => {
            tracing::error!(%cause, "internal error");
            coded(INTERNAL, 0, error.to_string())
        }
    }
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
