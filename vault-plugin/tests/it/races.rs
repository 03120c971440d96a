//! What changes while something else is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use serde_json::json;
use vault_plugin::engine::Engine;
use vault_sdk::{InMemoryStorage, Operation, Storage, StorageError};

use crate::mount::{Mount, refusal};
use crate::upstream::{Upstream, echo};

/// Storage that closes the mount's networks while a service's entry is being read.
struct Closing {
    inner: Arc<InMemoryStorage>,
    engine: Arc<Engine>,
    armed: AtomicBool,
}

#[async_trait]
impl Storage for Closing {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.inner.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        if key.starts_with("service/") && self.armed.swap(false, Ordering::SeqCst) {
            let close = |config: &mut vault_plugin::storage::ConfigEntry| {
                config.upstream_cidrs.clear();
                Ok(())
            };
            self.engine.write_config(self.inner.as_ref(), close).await.unwrap();
        }
        self.inner.get(key).await
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        self.inner.put(key, value).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.inner.delete(key).await
    }
}

#[tokio::test]
async fn a_closed_network_stays_closed_although_a_call_was_reading_the_old_settings() {
    let upstream = Upstream::start(echo).await;
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    mount
        .write("services/demo", json!({ "base_url": upstream.base_url, "ca_cert": upstream.ca }))
        .await
        .unwrap();
    let closing = Closing {
        inner: Arc::clone(&mount.storage),
        engine: Arc::clone(&mount.engine),
        armed: AtomicBool::new(true),
    };
    let name = vault_plugin::name::Name::parse("demo").unwrap();
    // The call that was under way goes by what held when it began.
    mount.engine.snapshot(&closing, &name).await.unwrap();
    for _ in 0..2 {
        let call = mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/" })).await;
        assert!(refusal(call).starts_with("address_forbidden: "));
    }
    assert!(upstream.seen().is_empty());
}

#[tokio::test]
async fn a_burst_of_callers_shares_one_snapshot() {
    let upstream = Upstream::start(echo).await;
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let service = json!({ "base_url": upstream.base_url, "ca_cert": upstream.ca, "auth": "bearer", "token": "x".repeat(400) });
    mount.write("services/demo", service).await.unwrap();
    let name = vault_plugin::name::Name::parse("demo").unwrap();
    let storage: &dyn Storage = mount.storage.as_ref();
    let (first, second, third) = tokio::join!(
        mount.engine.snapshot(storage, &name),
        mount.engine.snapshot(storage, &name),
        mount.engine.snapshot(storage, &name)
    );
    let first = first.unwrap();
    assert!(Arc::ptr_eq(&first, &second.unwrap()) && Arc::ptr_eq(&first, &third.unwrap()));
}

#[tokio::test]
async fn of_writers_with_the_same_version_exactly_one_wins() {
    let mount = Mount::new();
    mount.write("services/demo", json!({ "base_url": "https://h.example" })).await.unwrap();
    let writes = (0..20).map(|number| {
        mount.write("services/demo", json!({ "cas": 1, "description": format!("by {number}") }))
    });
    let results = futures_util::future::join_all(writes).await;
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1);
    assert_eq!(mount.read("services/demo").await.unwrap()["version"], 2);
}

#[tokio::test]
async fn a_thousand_callers_of_one_service_are_answered_or_told_that_it_is_busy() {
    let upstream = Upstream::start(echo).await;
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let service = json!({
        "base_url": upstream.base_url, "ca_cert": upstream.ca, "max_in_flight": 32,
        "auth": "bearer", "token": "a-much-used-secret",
    });
    mount.write("services/demo", service).await.unwrap();
    let calls = (0..1000)
        .map(|_| mount.handle(Operation::Update, "proxy/demo/GET", json!({ "path": "/" })));
    let results = futures_util::future::join_all(calls).await;
    let answered = results.iter().filter(|result| result.is_ok()).count();
    for result in results {
        if result.is_err() {
            assert!(refusal(result).starts_with("busy: "));
        }
    }
    assert!(answered >= 32, "{answered}");
    assert_eq!(
        upstream.seen().len(),
        answered,
        "each answered call was made once, no other at all"
    );
    // Every place was given back.
    let name = vault_plugin::name::Name::parse("demo").unwrap();
    assert_eq!(mount.engine.in_flight(&name), 0);
}
