//! One mount without a host.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use vault_plugin::engine::Engine;
use vault_sdk::{
    Caller, Error, InMemoryStorage, Incoming, Operation, Response, Router, StaticSystemView,
    Storage,
};

pub(crate) struct Mount {
    pub(crate) engine: Arc<Engine>,
    pub(crate) storage: Arc<InMemoryStorage>,
    system: Arc<StaticSystemView>,
    router: Router<Engine>,
    pub(crate) wrap_ttl: Option<Duration>,
    pub(crate) caller: Caller,
}

impl Mount {
    pub(crate) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self::on(Arc::default())
    }

    /// A mount after a restart of the plugin: the same storage, nothing remembered.
    pub(crate) fn on(storage: Arc<InMemoryStorage>) -> Self {
        let system = Arc::new(StaticSystemView::default());
        Self {
            engine: Arc::default(),
            storage,
            system,
            router: Router::default(),
            wrap_ttl: None,
            caller: Caller { entity_id: "e-1".into(), ..Caller::default() },
        }
    }

    pub(crate) async fn handle(
        &self,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Result<Response, Error> {
        self.router
            .handle(&self.engine, self.system.as_ref(), operation, self.incoming(path, data))
            .await
    }

    fn incoming(&self, path: &str, data: Value) -> Incoming {
        Incoming {
            id: "r-1".into(),
            path: path.into(),
            data: data.to_string(),
            caller: self.caller.clone(),
            wrap_ttl: self.wrap_ttl,
            mount_point: "mcp-proxy/".into(),
            storage: Arc::clone(&self.storage) as Arc<dyn Storage>,
        }
    }

    /// As the host does it: asks whether it exists, then creates or updates.
    pub(crate) async fn write(&self, path: &str, data: Value) -> Result<Response, Error> {
        let exists = self.router.exists(&self.engine, self.incoming(path, data.clone())).await?;
        let operation = if exists == Some(false) { Operation::Create } else { Operation::Update };
        self.handle(operation, path, data).await
    }

    pub(crate) async fn read(&self, path: &str) -> Option<Map<String, Value>> {
        self.handle(Operation::Read, path, Value::Null).await.unwrap().as_data().cloned()
    }

    pub(crate) async fn list(&self, path: &str) -> Vec<String> {
        let response = self.handle(Operation::List, path, Value::Null).await.unwrap();
        let keys = response.as_data().and_then(|data| data["keys"].as_array().cloned());
        keys.unwrap_or_default().iter().map(|key| key.as_str().unwrap().to_owned()).collect()
    }

    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.storage.keys().iter().filter(|key| key.starts_with(prefix)).count()
    }
}

/// The text of a refusal.
pub(crate) fn refusal(result: Result<Response, Error>) -> String {
    match result {
        Err(error @ (Error::Invalid(_) | Error::Coded { .. })) => error.to_string(),
        other => panic!("not refused: {other:?}"),
    }
}
