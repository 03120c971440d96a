//! What a call costs once its service is known: no storage.

use serde_json::json;
use vault_sdk::Operation;

use crate::proxy::mount;
use crate::upstream::{Upstream, echo};

#[tokio::test]
async fn a_warm_call_asks_storage_for_nothing() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream, json!({})).await;
    let get = json!({ "path": "/items", "query": { "page": "1" } });
    let post = json!({ "path": "/items", "json": { "title": "x" } });
    let calls = [("proxy/demo/GET", get.clone()), ("proxy/demo", get), ("proxy/demo/POST", post)];
    mount.engine.forget_all();
    let before = mount.storage.reads();
    // As a host does it, with the existence check.
    mount.write("proxy/demo/GET", json!({ "path": "/items" })).await.unwrap();
    let cold = mount.storage.reads() - before;
    // Settings, revision, service, credential, and its one version's material.
    assert_eq!(cold, 5, "reads of the first call");
    for (path, data) in calls {
        mount.write(path, data).await.unwrap();
        assert_eq!(mount.storage.reads() - before, cold, "{path}");
    }
    // Whatever the agent asks that isn't allowed or doesn't exist in the definition.
    let refused = json!({ "path": "no slash" });
    mount.handle(Operation::Update, "proxy/demo/GET", refused).await.unwrap_err();
    assert_eq!(mount.storage.reads() - before, cold, "a refusal");
    assert_eq!(upstream.seen().len(), 4);
}

#[test]
fn a_calls_future_is_small() {
    // It is moved into its box with every call; what only a new connection or a cold service needs
    // has a box of its own.
    fn bytes<A, B, F>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }
    let size = bytes(vault_plugin::proxy::proxy);
    assert!(size < 6 << 10, "{size} bytes");
}
