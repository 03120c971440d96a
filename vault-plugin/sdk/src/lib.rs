//! Write a secrets engine for HashiCorp Vault or OpenBao in Rust.
//!
//! An engine implements [`Backend`]: it declares its [`Path`]s once, with typed [`Field`]s,
//! operations and help, and [`serve`] does the rest: the protocol, routing, parsing, storage,
//! many mounts in one process, and the rules that keep an operation from running twice.
//!
//! # A secrets engine in some forty lines
//!
//! This is `examples/notes.rs`; a test runs it on a real server.
//!
//! ```no_run
#![doc = include_str!("../examples/notes.rs")]
//! ```
//!
//! Build it, copy it into the server's `plugin_directory`, and use it like any other engine
//! (`bao` takes the same commands):
//!
//! ```sh
//! cargo build --release --example notes
//! install target/release/examples/notes /etc/vault.d/plugins/notes-1.0.0
//! SHA256=$(sha256sum /etc/vault.d/plugins/notes-1.0.0 | cut -d' ' -f1)
//! vault plugin register -sha256=$SHA256 -command=notes-1.0.0 -version=v1.0.0 secret notes
//! vault secrets enable notes
//! vault write notes/today text=rain
//! vault read notes/today
//! vault path-help notes/today
//! ```
//!
//! The version that is registered must be [`Backend::VERSION`]. Vault 1.12 and later, and every
//! OpenBao, speak the protocol.
//!
//! # Paths and fields
//!
//! A [`Path`] is a pattern, fields, and operations, each with its handler. A segment `:name` becomes
//! a field, so a name never holds a slash. What is declared is what `path-help` and the server's
//! OpenAPI document show. Values are taken as people type them: `30`, `"30"` and `"30s"` are the same
//! [`FieldType::Duration`]; a list may be `a,b`. A field that no path declares is refused on a write,
//! with the nearest name that is; a read, a list and a delete take fields from the query
//! ([`Spec::query`]).
//!
//! [`Fields`] gives a declared field once, by type. `None` means that it wasn't given,
//! [`Given::Reset`] that it was given empty: "back to the default". With [`Path::exists`] a write is
//! `create` or `update`, which policies tell apart; [`Path::write`] declares both with one handler.
//!
//! An operation wants a sentence for its help, or a [`Spec`], which declares its answers too. They are
//! shown in the OpenAPI document, and a debug build compares what the handler answers with them:
//!
//! ```
//! use vault_sdk::{Field, FieldType, Spec};
//!
//! let read = Spec::new("Reads it.")
//!     .data("The note.", [Field::new("text", FieldType::Str, "What it says.")])
//!     .empty("There is no such note.");
//! # let _ = read;
//! ```
//!
//! # What a handler is given
//!
//! The instance and a [`Call`]: request id, path, fields, storage, the mount's path with its
//! namespace ([`Call::mount_point`]) and the [`Caller`]: entity id, display name, token accessor,
//! client address. The token, the request's headers and its cookies are not there. For what the
//! server knows beyond that, keep [`Setup::system`]: the entity's name and metadata
//! ([`SystemView::entity`]), a password by the operator's policy ([`SystemView::password`]), whether
//! this node may write.
//!
//! There is one instance for each mount, and one process for all mounts of all namespaces: keep what
//! holds a secret or a connection in the instance, never in a `static`. Key nothing by
//! [`Call::mount_point`], which changes when the mount is moved, but by [`Setup::backend_uuid`].
//!
//! # Effects, standbys and repeated requests
//!
//! Each operation declares what running it may do, and the SDK acts on it:
//!
//! | [`Effect`] | on a node that may not write | when the client goes away |
//! |---|---|---|
//! | [`Effect::Pure`] | runs | is cancelled |
//! | [`Effect::MayWrite`] | is refused before the handler runs; the host forwards it | runs to its end |
//! | [`Effect::CallsOut`] | runs | is cancelled |
//!
//! A standby may answer reads itself, so what is cached must go when another node changes it:
//! [`Backend::invalidate`] tells the key.
//!
//! # Storage
//!
//! [`Storage`] lists, reads, writes and deletes whole entries by key; `get_json` and `put_json` do it
//! with types. An entry is at most 1 MiB on integrated storage, and there are no transactions: write
//! what others refer to first, and what commits it last. Put a number of its form into every entry,
//! and refuse a higher one than you know: operators do go back to an older version. Name the prefix of
//! secrets in [`SpecialPaths::seal_wrap_storage`].
//!
//! # Errors
//!
//! [`Error`] is told as the hosts' own engines do: [`Error::invalid`] is a 400 with your text,
//! [`Response::empty`] a 404 to a read and a 204 to a write. [`Error::Internal`] goes to the server's
//! log; the client hears of an internal error and no more. Clients of Vault repeat 412, 429 and 5xx
//! by themselves.
//!
//! # Secrets
//!
//! Declare them as [`FieldType::Secret`]: a JSON string only, because a server writes numbers and
//! booleans into its audit log in clear, and a [`SecretString`] from there on.
//! No value of any field is ever in help, errors or `Debug`.
//!
//! # Logging
//!
//! Use `tracing`; events become lines of the server's log. Without the variable that [`serve`] is
//! given, `info` and above is logged. Print nothing: standard output and standard error belong to the
//! protocol.
//!
//! # Testing
//!
//! [`TestMount`] runs an engine's paths without a server:
//!
//! ```
//! # use std::sync::Arc;
//! # use vault_sdk::{Backend, Call, Effect, Error, Operation, Path, Response, Setup};
//! use serde_json::{Value, json};
//! use vault_sdk::TestMount;
//! # struct Notes;
//! # impl Backend for Notes {
//! #     const VERSION: &'static str = "v1.0.0";
//! #     const HELP: &'static str = "Keeps notes.";
//! #     fn new(_setup: Setup) -> Self { Self }
//! #     fn paths() -> Vec<Path<Self>> {
//! #         vec![Path::new(":name", "One note.")
//! #             .fields([
//! #                 vault_sdk::Field::new("name", vault_sdk::FieldType::Str, "Which."),
//! #                 vault_sdk::Field::new("text", vault_sdk::FieldType::Str, "What."),
//! #             ])
//! #             .operation(Operation::Read, Effect::Pure, "", |_: Arc<Self>, call: Call| async move {
//! #                 match call.storage.get_json::<String>(call.fields.text("name")).await? {
//! #                     Some(text) => Response::data(json!({ "text": text })),
//! #                     None => Ok(Response::empty()),
//! #                 }
//! #             })
//! #             .operation(Operation::Update, Effect::MayWrite, "", |_, call| async move {
//! #                 let text = call.fields.text("text");
//! #                 call.storage.put_json(call.fields.text("name"), &text).await?;
//! #                 Ok::<_, Error>(Response::empty())
//! #             })]
//! #     }
//! # }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Error> {
//! let mount = TestMount::<Notes>::new();
//! mount.write("today", json!({ "text": "rain" })).await?;
//! assert_eq!(mount.read("today").await?.unwrap()["text"], "rain");
//! assert!(mount.read("tomorrow").await?.is_none());
//! // A kill between two writes, and a node that may not write:
//! mount.storage().fail_after(0);
//! assert!(mount.write("today", json!({ "text": "sun" })).await.is_err());
//! let refused = mount.standby().write("today", json!({ "text": "sun" })).await;
//! assert!(matches!(refused, Err(Error::ReadOnly)));
//! # Ok(())
//! # }
//! ```
//!
//! # What holds
//!
//! Whatever a handler does:
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

mod apart;
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
mod spec;
mod storage;
mod system_view;
mod test_mount;

pub use backend::{Backend, Setup, SpecialPaths};
pub use error::{Error, READ_ONLY};
pub use field::{Field, FieldError, FieldType, FieldValue, Fields, Given};
pub use operation::{Effect, Operation};
pub use path::Path;
pub use request::{Call, Caller};
pub use response::Response;
pub use router::{Incoming, Router};
/// Of the crate `secrecy`: wiped when dropped, and read only by who asks for it by name.
#[doc(no_inline)]
pub use secrecy::SecretString;
pub use serve::{serve, serve_as};
pub use spec::Spec;
pub use storage::{InMemoryStorage, Storage, StorageError};
pub use system_view::{Entity, ReplicationState, StaticSystemView, SystemView, SystemViewError};
pub use test_mount::TestMount;
