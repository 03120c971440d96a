//! Write a secrets engine for HashiCorp Vault or OpenBao in Rust.
//!
//! An engine implements [`Backend`]: it declares its [`Path`]s once, with typed [`Field`]s,
//! operations and help, and [`serve`] does the rest: the protocol, routing, parsing, storage,
//! many mounts in one process, and the rules that keep an operation from running twice.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use vault_sdk::{
//!     Backend, Call, Effect, Error, Field, FieldType, Operation, Path, Response, Setup, Storage,
//! };
//!
//! /// Keeps notes: `vault write notes/today text=rain`, `vault read notes/today`.
//! struct Notes;
//!
//! impl Backend for Notes {
//!     const VERSION: &'static str = "v1.0.0";
//!     const HELP: &'static str = "Keeps notes.";
//!
//!     fn new(_setup: Setup) -> Self {
//!         Self
//!     }
//!
//!     fn paths() -> Vec<Path<Self>> {
//!         vec![
//!             Path::new(":name", "One note.")
//!                 .fields([
//!                     Field::new("name", FieldType::Str, "Which."),
//!                     Field::new("text", FieldType::Str, "What it says."),
//!                 ])
//!                 .operation(Operation::Read, Effect::Pure, "Reads it.", read)
//!                 .operation(Operation::Update, Effect::MayWrite, "Writes it.", write),
//!         ]
//!     }
//! }
//!
//! async fn read(_notes: Arc<Notes>, call: Call) -> Result<Response, Error> {
//!     let storage: &dyn Storage = call.storage.as_ref();
//!     match storage.get_json::<String>(call.fields.text("name")).await? {
//!         Some(text) => Response::data(serde_json::json!({ "text": text })),
//!         None => Ok(Response::empty()),
//!     }
//! }
//!
//! async fn write(_notes: Arc<Notes>, call: Call) -> Result<Response, Error> {
//!     let text = call.fields.text("text").to_owned();
//!     let storage: &dyn Storage = call.storage.as_ref();
//!     storage.put_json(call.fields.text("name"), &text).await?;
//!     Ok(Response::empty())
//! }
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     vault_sdk::serve::<Notes>("NOTES_LOG").await
//! }
//! ```
//!
//! [`Router`] and [`InMemoryStorage`] run an engine's paths in tests, without a host.
//!
//! What the SDK guarantees, whatever a handler does:
//! - An operation reaches a handler only if a path declares it; everything else, known or not, is
//!   "unsupported operation", decided before the request's data is parsed.
//! - An operation that may write ([`Effect::MayWrite`]) is refused on a node that may not, before
//!   the handler runs; the host then forwards the request. Once begun it runs to its end.
//! - An operation that calls out ([`Effect::CallsOut`]) never ends in what a host or its clients
//!   would answer by sending it again.
//! - A panic ends its request, not the process; what hangs is answered before the host's limit.
//! - Response data can't turn into a raw HTTP answer.
//!
//! The crate knows nothing of any particular engine, and shows neither gRPC nor protobuf types.

mod backend;
mod error;
mod field;
mod grpc;
mod operation;
mod path;
mod request;
mod response;
mod router;
mod serve;
mod storage;
mod system_view;

pub use backend::{Backend, Setup, SpecialPaths};
pub use error::{Error, READ_ONLY};
pub use field::{Field, FieldError, FieldType, FieldValue, Fields, Given};
pub use operation::{Effect, Operation};
pub use path::Path;
pub use request::{Call, Caller};
pub use response::Response;
pub use router::{Incoming, Router};
pub use serve::serve;
pub use storage::{InMemoryStorage, Storage, StorageError};
pub use system_view::{Entity, ReplicationState, StaticSystemView, SystemView, SystemViewError};
