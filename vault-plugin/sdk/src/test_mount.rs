//! One mount without a host, for tests of an engine's paths.

use std::sync::Arc;

use serde_json::{Map, Value};

use crate::backend::{Backend, Setup};
use crate::error::Error;
use crate::operation::Operation;
use crate::request::Caller;
use crate::response::Response;
use crate::router::{Incoming, Router};
use crate::storage::{InMemoryStorage, Storage};
use crate::system_view::{ReplicationState, StaticSystemView};

/// An engine with storage in memory. A request goes the way that a host's does: routed, parsed,
/// refused where the node may not write, run by the rules of its effect.
pub struct TestMount<B> {
    engine: Arc<B>,
    router: Router<B>,
    storage: Arc<InMemoryStorage>,
    system: Arc<StaticSystemView>,
    /// Who asks, from now on.
    pub caller: Caller,
}

impl<B> std::fmt::Debug for TestMount<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TestMount").field("storage", &self.storage).finish_non_exhaustive()
    }
}

impl<B: Backend> Default for TestMount<B> {
    fn default() -> Self {
        Self::new()
    }
}

impl<B: Backend> TestMount<B> {
    /// A fresh mount on a node that may write.
    pub fn new() -> Self {
        Self::on(Arc::default(), StaticSystemView::default())
    }

    /// A mount on `storage`: after a restart, what another one has left there.
    pub fn on(storage: Arc<InMemoryStorage>, system: StaticSystemView) -> Self {
        let system = Arc::new(system);
        let setup = Setup { backend_uuid: "test".into(), system: Arc::clone(&system) as Arc<_> };
        let (engine, router) = (Arc::new(B::new(setup)), Router::default());
        Self { engine, router, storage, system, caller: Caller::default() }
    }

    /// The same storage on a standby, which may not write.
    #[must_use]
    pub fn standby(&self) -> Self {
        let system = StaticSystemView { state: ReplicationState::STANDBY_NODE, local: false };
        Self::on(Arc::clone(&self.storage), system)
    }

    /// The engine, for calls of [`Backend::invalidate`] and the like.
    pub fn engine(&self) -> &Arc<B> {
        &self.engine
    }

    /// The storage, for a look at what lies there.
    pub fn storage(&self) -> &Arc<InMemoryStorage> {
        &self.storage
    }

    /// Runs one operation. A write is a `create` where the path's existence check finds nothing,
    /// as on a host; so ask for [`Operation::Update`] to write.
    ///
    /// # Errors
    /// Those of [`Router::handle`].
    pub async fn request(
        &self,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Result<Response, Error> {
        let operation = match operation {
            Operation::Update => {
                match self.router.exists(&self.engine, self.incoming(path, &data)).await? {
                    Some(false) => Operation::Create,
                    Some(true) | None => Operation::Update,
                }
            }
            Operation::Create
            | Operation::Read
            | Operation::Patch
            | Operation::Delete
            | Operation::List => operation,
        };
        let incoming = self.incoming(path, &data);
        self.router.handle(&self.engine, self.system.as_ref(), operation, incoming).await
    }

    /// Writes; the data of the answer.
    ///
    /// # Errors
    /// Those of [`Router::handle`].
    pub async fn write(
        &self,
        path: &str,
        data: Value,
    ) -> Result<Option<Map<String, Value>>, Error> {
        self.request(Operation::Update, path, data).await.map(|answer| answer.data)
    }

    /// Reads; `None` is the host's 404.
    ///
    /// # Errors
    /// Those of [`Router::handle`].
    pub async fn read(&self, path: &str) -> Result<Option<Map<String, Value>>, Error> {
        self.request(Operation::Read, path, Value::Null).await.map(|answer| answer.data)
    }

    /// Lists the names at `path`, with or without its slash.
    ///
    /// # Errors
    /// Those of [`Router::handle`].
    pub async fn list(&self, path: &str) -> Result<Vec<String>, Error> {
        let answer = self.request(Operation::List, path, Value::Null).await?;
        let keys = answer.data.and_then(|mut data| data.remove("keys"));
        let Some(Value::Array(keys)) = keys else { return Ok(Vec::new()) };
        Ok(keys.into_iter().filter_map(|key| key.as_str().map(str::to_owned)).collect())
    }

    /// Deletes.
    ///
    /// # Errors
    /// Those of [`Router::handle`].
    pub async fn delete(&self, path: &str) -> Result<(), Error> {
        self.request(Operation::Delete, path, Value::Null).await.map(|_| ())
    }

    /// The help of a path, or of the mount for an empty one.
    ///
    /// # Errors
    /// [`Error::UnsupportedPath`] when no path matches.
    pub fn help(&self, path: &str) -> Result<String, Error> {
        self.router.help(path)
    }

    fn incoming(&self, path: &str, data: &Value) -> Incoming {
        Incoming {
            id: "00000000-0000-0000-0000-000000000001".into(),
            path: path.into(),
            data: data.to_string(),
            caller: self.caller.clone(),
            wrap_ttl: None,
            mount_point: "test/".into(),
            storage: Arc::clone(&self.storage) as Arc<dyn Storage>,
        }
    }
}
