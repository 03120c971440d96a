//! An engine that does what a test tells it, and a journal of what it was made to do.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, Weak};

use serde_json::json;
use tokio::sync::{Semaphore, watch};

use super::within;
use crate::backend::{Backend, Setup, SpecialPaths};
use crate::error::Error;
use crate::field::{Field, FieldType, Given};
use crate::operation::{Effect, Operation};
use crate::path::Path;
use crate::request::Call;
use crate::response::Response;
use crate::storage::{Storage, StorageError};
use crate::system_view::SystemView;

/// What one instance did, found by the mount's `backend_uuid`.
pub(super) struct Journal {
    uuid: String,
    events: watch::Sender<Vec<String>>,
    gate: Semaphore,
}

static JOURNALS: LazyLock<Mutex<HashMap<String, Weak<Journal>>>> = LazyLock::new(Mutex::default);

impl Journal {
    pub(super) fn new() -> Arc<Self> {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        let uuid = format!("uuid-{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let journal = Arc::new(Self {
            uuid: uuid.clone(),
            events: watch::Sender::default(),
            gate: Semaphore::new(0),
        });
        JOURNALS.lock().unwrap().insert(uuid, Arc::downgrade(&journal));
        journal
    }

    pub(super) fn uuid(&self) -> &str {
        &self.uuid
    }

    pub(super) fn events(&self) -> Vec<String> {
        self.events.borrow().clone()
    }

    pub(super) fn has(&self, event: &str) -> bool {
        self.events.borrow().iter().any(|seen| seen == event)
    }

    pub(super) async fn wait(&self, event: &str) {
        let mut events = self.events.subscribe();
        let seen = events.wait_for(|events| events.iter().any(|seen| seen == event));
        within(event, seen).await.unwrap();
    }

    /// Lets what waits at the gate, and what comes later, pass.
    pub(super) fn open(&self) {
        self.gate.add_permits(1000);
    }

    fn note(&self, event: impl Into<String>) {
        self.events.send_modify(|events| events.push(event.into()));
    }

    async fn gate(&self) {
        self.gate.acquire().await.unwrap().forget();
    }
}

/// Notes when a handler is dropped before its end.
struct Unfinished<'a>(&'a Journal, &'a str);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        self.0.note(format!("{} dropped", self.1));
    }
}

/// The length of the answer that holds something: more than all buffers on the way.
pub(super) const HELD: usize = 16 << 20;

/// Notes when it is let go.
struct LetGo(Arc<Journal>);

impl Drop for LetGo {
    fn drop(&mut self) {
        self.0.note("let go");
    }
}

pub(super) struct Probe {
    journal: Arc<Journal>,
    system: Arc<dyn SystemView>,
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.journal.note("engine dropped");
    }
}

impl Backend for Probe {
    const VERSION: &'static str = "v1.2.3-rc.1+build";
    const HELP: &'static str = "Does what a test tells it.";

    fn new(setup: Setup) -> Self {
        let journal = JOURNALS.lock().unwrap().get(&setup.backend_uuid).and_then(Weak::upgrade);
        Self { journal: journal.unwrap_or_else(Journal::new), system: setup.system }
    }

    fn special_paths() -> SpecialPaths {
        SpecialPaths {
            root: vec!["config".into()],
            unauthenticated: vec!["open/*".into()],
            local_storage: vec!["local/".into()],
            seal_wrap_storage: vec!["material/".into()],
        }
    }

    async fn initialize(&self, storage: Arc<dyn Storage>) -> Result<(), Error> {
        self.journal.note("initialize");
        if storage.get("refuse").await?.is_some() {
            return Err(Error::invalid("config: this mount can't be served"));
        }
        storage.put("schema", b"1".to_vec()).await?;
        Ok(())
    }

    async fn invalidate(&self, key: &str) {
        self.journal.note(format!("invalidate {key}"));
    }

    async fn periodic(&self, storage: Arc<dyn Storage>) -> Result<(), Error> {
        assert!(storage.get("panic").await?.is_none(), "a defect");
        two_writes(&self.journal, "periodic", storage.as_ref()).await
    }

    async fn cleanup(&self) {
        self.journal.note("cleanup");
    }

    fn paths() -> Vec<Path<Self>> {
        vec![
            things(),
            thing(),
            Path::new("fail/:kind", "Fails")
                .exists(
                    |_, call: Call| async move { fail(call.fields.text("kind")).map(|()| true) },
                )
                .operation(Operation::Read, Effect::Pure, "Fails", failing)
                .operation(Operation::Delete, Effect::MayWrite, "Fails", failing)
                .operation(Operation::Update, Effect::CallsOut, "Fails", failing),
            Path::new("hang", "Waits for the test")
                .operation(
                    Operation::Read,
                    Effect::Pure,
                    "Waits",
                    |probe: Arc<Self>, _| async move { hang(&probe.journal, "read").await },
                )
                .operation(
                    Operation::Update,
                    Effect::CallsOut,
                    "Waits",
                    |probe: Arc<Self>, _| async move { hang(&probe.journal, "call").await },
                )
                .operation(
                    Operation::Delete,
                    Effect::MayWrite,
                    "Waits",
                    |probe: Arc<Self>, call| async move {
                        two_writes(&probe.journal, "write", call.storage.as_ref()).await?;
                        Ok(Response::empty())
                    },
                ),
            Path::new("whoami", "Shows the request")
                .operation(Operation::Read, Effect::Pure, "Shows", whoami)
                .operation(Operation::Update, Effect::Pure, "Shows", whoami),
            Path::new("size", "Measures")
                .fields([Field::new("body", FieldType::Text, "Anything.")])
                .operation(Operation::Update, Effect::Pure, "Measures", |_, call| async move {
                    Response::data(json!({ "length": call.fields.text("body").len() }))
                }),
            Path::new("held", "Answers at length, and holds something").operation(
                Operation::Read,
                Effect::Pure,
                "Answers",
                |probe: Arc<Self>, _| async move {
                    let held = Arc::new(LetGo(Arc::clone(&probe.journal)));
                    Ok(Response::data(json!({ "value": "x".repeat(HELD) }))?.holding(Some(held)))
                },
            ),
            Path::new("host/:policy", "Shows the host").operation(
                Operation::Read,
                Effect::Pure,
                "Shows",
                host,
            ),
            Path::new("warn", "Warns").operation(
                Operation::Update,
                Effect::Pure,
                "Warns",
                |_, _| async { Ok(Response::empty().warn("look out")) },
            ),
            Path::new("path", "Answers with a path").operation(
                Operation::Read,
                Effect::Pure,
                "Answers",
                |probe: Arc<Self>, _| async move {
                    probe.journal.note("path");
                    Response::data(json!({ "path": "elsewhere" }))
                },
            ),
        ]
    }
}

fn things() -> Path<Probe> {
    Path::new("things", "All things").operation(
        Operation::List,
        Effect::Pure,
        "Lists",
        |probe: Arc<Probe>, call| async move {
            probe.journal.note(format!("list {}", call.path));
            Ok(Response::list(call.storage.list("things/").await?, serde_json::Map::new()))
        },
    )
}

fn thing() -> Path<Probe> {
    Path::new("things/:name", "One thing")
        .fields([
            Field::new("name", FieldType::Str, "The thing's name."),
            Field::new("value", FieldType::Text, "What is kept."),
            Field::new("size", FieldType::Int, "Keep so many bytes instead."),
        ])
        .exists(|_, call: Call| async move {
            let key = format!("things/{}", call.fields.text("name"));
            Ok(call.storage.get(&key).await?.is_some())
        })
        .write(Effect::MayWrite, "Writes", |probe: Arc<Probe>, mut call: Call| async move {
            probe.journal.note("wrote");
            let key = format!("things/{}", call.fields.text("name"));
            let value = match call.fields.int("size").and_then(Given::value) {
                Some(size) => vec![b'x'; usize::try_from(size).unwrap()],
                None => call.fields.text("value").as_bytes().to_vec(),
            };
            call.storage.put(&key, value).await?;
            Ok(Response::empty())
        })
        .operation(Operation::Read, Effect::Pure, "Reads", |probe: Arc<Probe>, call| async move {
            probe.journal.note("read");
            let key = format!("things/{}", call.fields.text("name"));
            let Some(value) = call.storage.get(&key).await? else { return Ok(Response::empty()) };
            let text =
                (value.len() < 6 << 20).then(|| String::from_utf8_lossy(&value).into_owned());
            Response::data(json!({ "length": value.len(), "value": text }))
        })
        .operation(Operation::Delete, Effect::MayWrite, "Deletes", |_, call| async move {
            call.storage.delete(&format!("things/{}", call.fields.text("name"))).await?;
            Ok(Response::empty())
        })
}

async fn hang(journal: &Journal, what: &str) -> Result<Response, Error> {
    let unfinished = Unfinished(journal, what);
    journal.note(format!("{what} began"));
    journal.gate().await;
    std::mem::forget(unfinished);
    journal.note(format!("{what} ended"));
    Ok(Response::empty())
}

async fn two_writes(journal: &Journal, what: &str, storage: &dyn Storage) -> Result<(), Error> {
    storage.put("first", b"1".to_vec()).await?;
    hang(journal, what).await?;
    storage.put("second", b"2".to_vec()).await?;
    journal.note(format!("{what} complete"));
    Ok(())
}

/// Not an `async fn`, since a handler may also fail before there is a future.
fn failing(
    _: Arc<Probe>,
    call: Call,
) -> impl Future<Output = Result<Response, Error>> + Send + 'static {
    assert!(call.fields.text("kind") != "early-panic", "a defect");
    async move { fail(call.fields.text("kind")).map(|()| Response::empty()) }
}

/// Texts that must stay inside are marked so.
fn fail(kind: &str) -> Result<(), Error> {
    Err(match kind {
        "invalid" => Error::invalid("invalid_request: \"it\" <is> wrong. (request_id r-1)"),
        "operation" => Error::UnsupportedOperation,
        "path" => Error::UnsupportedPath,
        "read-only" => Error::ReadOnly,
        "storage-read-only" => StorageError::ReadOnly.into(),
        "storage" => StorageError::Failed("disk INSIDE is gone".into()).into(),
        "undecodable" => {
            StorageError::Undecodable { key: "things/INSIDE".into(), reason: "INSIDE".into() }
                .into()
        }
        "internal" => Error::Internal("INSIDE".into()),
        "panic" => panic!("INSIDE"),
        "fine" => return Ok(()),
        status => {
            Error::Coded { status: status.parse().unwrap(), message: format!("coded: {status}") }
        }
    })
}

async fn whoami(_: Arc<Probe>, call: Call) -> Result<Response, Error> {
    Response::data(json!({
        "id": call.id,
        "operation": call.operation.as_str(),
        "path": call.path,
        "entity_id": call.caller.entity_id,
        "display_name": call.caller.display_name,
        "token_accessor": call.caller.token_accessor,
        "remote_address": call.caller.remote_address,
        "mount_point": call.mount_point,
        "wrap_ttl": call.wrap_ttl.map(|ttl| ttl.as_secs()),
    }))
}

async fn host(probe: Arc<Probe>, call: Call) -> Result<Response, Error> {
    use secrecy::ExposeSecret;

    let system = &probe.system;
    let unknown = |error: crate::SystemViewError| Error::invalid(error.to_string());
    let entity = system.entity(&call.caller.entity_id).await.map_err(unknown)?;
    let password = system.password(call.fields.text("policy")).await.map_err(unknown)?;
    #[expect(clippy::disallowed_methods, reason = "a made-up password, to compare")]
    let password = password.expose_secret().to_owned();
    Response::data(json!({
        "version": system.server_version().await.map_err(unknown)?,
        "entity": entity.as_ref().map(|entity| entity.name.clone()),
        "team": entity.and_then(|entity| entity.metadata.get("team").cloned()),
        "password": password,
    }))
}
