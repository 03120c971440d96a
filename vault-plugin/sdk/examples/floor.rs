//! An engine that does nothing, for benchmarks: its write answers as much as a small proxied call, so
//! what that costs is what the server and the plugin's protocol cost.

use std::{process::ExitCode, sync::Arc};

use serde_json::json;
use vault_sdk::{Backend, Call, Effect, Error, Field, FieldType, Operation, Path, Response, Setup};

struct Floor;

impl Backend for Floor {
    const VERSION: &'static str = "v1.0.0";
    const HELP: &'static str = "Does nothing: vault write floor/a/b path=/a";

    fn new(_setup: Setup) -> Self {
        Self
    }

    fn paths() -> Vec<Path<Self>> {
        let field = |name, help| Field::new(name, FieldType::Str, help);
        vec![
            Path::new(":name/:method", "Answers.")
                .fields([
                    field("name", "A part of the path."),
                    field("method", "Another."),
                    field("path", "Isn't looked at."),
                ])
                .operation(Operation::Update, Effect::Pure, "Answers.", answer),
        ]
    }
}

async fn answer(_: Arc<Floor>, call: Call) -> Result<Response, Error> {
    Response::data(json!({
        "status": 200,
        "headers": {
            "content-type": "text/plain",
            "date": "Sun, 29 Nov 2026 12:00:00 GMT",
        },
        "body": r#"{"id":1,"name":"an item","state":"open","labels":["a","b"]}"#,
        "truncated": false,
        "redacted": 0,
        "duration_ms": 1,
        "request_id": call.id,
        "rule": "",
        "catalog_revision": "0123456789abcdef",
    }))
}

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> ExitCode {
    vault_sdk::serve::<Floor>("FLOOR_LOG").await
}
