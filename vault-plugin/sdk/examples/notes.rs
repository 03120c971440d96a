//! A secrets engine in some forty lines: it keeps notes.

use std::{process::ExitCode, sync::Arc};

use serde_json::{Map, json};
use vault_sdk::{Backend, Call, Effect, Error, Field, FieldType, Operation, Path, Response, Setup};

/// One mount. What it remembers from one request to the next would stand here.
struct Notes;

impl Backend for Notes {
    const VERSION: &'static str = "v1.0.0";
    const HELP: &'static str = "Keeps notes: vault write notes/today text=rain";

    fn new(_setup: Setup) -> Self {
        Self
    }

    fn paths() -> Vec<Path<Self>> {
        let name = Field::new("name", FieldType::Str, "Which note.");
        let text = Field::new("text", FieldType::Str, "What it says.");
        vec![
            Path::new("", "All notes.").operation(Operation::List, Effect::Pure, "Names.", list),
            Path::new(":name", "One note.")
                .fields([name, text])
                .operation(Operation::Read, Effect::Pure, "Reads it.", read)
                .operation(Operation::Update, Effect::MayWrite, "Writes it.", write)
                .operation(Operation::Delete, Effect::MayWrite, "Deletes it.", delete),
        ]
    }
}

async fn list(_: Arc<Notes>, call: Call) -> Result<Response, Error> {
    Ok(Response::list(call.storage.list("").await?, Map::new()))
}

async fn read(_: Arc<Notes>, call: Call) -> Result<Response, Error> {
    let note: Option<String> = call.storage.get_json(call.fields.text("name")).await?;
    note.map_or(Ok(Response::empty()), |text| Response::data(json!({ "text": text })))
}

async fn write(_: Arc<Notes>, call: Call) -> Result<Response, Error> {
    call.storage.put_json(call.fields.text("name"), &call.fields.text("text")).await?;
    Ok(Response::empty())
}

async fn delete(_: Arc<Notes>, call: Call) -> Result<Response, Error> {
    call.storage.delete(call.fields.text("name")).await?;
    Ok(Response::empty())
}

#[tokio::main]
async fn main() -> ExitCode {
    vault_sdk::serve::<Notes>("NOTES_LOG").await
}
