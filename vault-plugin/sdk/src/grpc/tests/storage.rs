//! What the plugin asks of its host: storage and system view.

use proto::pb;

use super::host::Mode;
use super::{data, mounted};
use crate::error::READ_ONLY;
use crate::grpc::storage::GrpcStorage;
use crate::storage::{Storage, StorageError};

use super::host::Host;

#[tokio::test]
async fn entries_are_written_read_listed_and_deleted() {
    let host = Host::default();
    let storage = GrpcStorage::new(host.connect().await);
    assert_eq!(storage.get("a/1").await, Ok(None));
    storage.put("a/1", b"one".to_vec()).await.unwrap();
    storage.put("a/b/1", vec![]).await.unwrap();
    storage.put("c", vec![0, 255]).await.unwrap();
    assert_eq!(storage.get("a/1").await, Ok(Some(b"one".to_vec())));
    assert_eq!(storage.get("a/b/1").await, Ok(Some(vec![])), "empty is there");
    assert_eq!(storage.list("a/").await.unwrap(), ["1", "b/"]);
    assert_eq!(storage.list("").await.unwrap(), ["a/", "c"]);
    assert_eq!(storage.list("none/").await.unwrap(), <[&str; 0]>::default());
    storage.delete("a/1").await.unwrap();
    storage.delete("a/1").await.unwrap();
    assert_eq!(storage.get("a/1").await, Ok(None));
    assert_eq!(host.storage().keys(), ["a/b/1", "c"]);
}

async fn every_call(storage: &GrpcStorage) -> [StorageError; 4] {
    [
        storage.list("").await.unwrap_err(),
        storage.get("a").await.unwrap_err(),
        storage.put("a", vec![]).await.unwrap_err(),
        storage.delete("a").await.unwrap_err(),
    ]
}

#[tokio::test]
async fn error_texts_and_statuses_are_errors_of_every_call() {
    let host = Host::new(Mode::Says("disk is gone"), 0);
    let storage = GrpcStorage::new(host.connect().await);
    for error in every_call(&storage).await {
        assert_eq!(error, StorageError::Failed("disk is gone".into()));
    }
    for text in [READ_ONLY, "1 error occurred:\n\t* cannot write to readonly storage\n\n"] {
        host.set_mode(Mode::Says(text));
        for error in every_call(&storage).await {
            assert_eq!(error, StorageError::ReadOnly);
        }
    }
    host.set_mode(Mode::Missing);
    for error in every_call(&storage).await {
        assert!(matches!(error, StorageError::Failed(_)), "{error:?}");
    }
}

#[tokio::test]
async fn a_host_that_is_gone_is_an_error_and_no_hang() {
    let (near, far) = tokio::io::duplex(1024);
    let storage = GrpcStorage::new(super::connect_over(near).await);
    drop(far);
    for error in super::within("an answer", every_call(&storage)).await {
        assert!(matches!(error, StorageError::Failed(_)), "{error:?}");
    }
}

#[tokio::test]
async fn large_entries_pass() {
    let (_, mount) = mounted().await;
    for size in [(1 << 20) + 1, 8 << 20, 32 << 20] {
        let written = mount.call("update", "things/a", &format!(r#"{{"size":{size}}}"#)).await;
        assert_eq!(written, pb::HandleRequestReply::default());
        assert_eq!(data(&mount.call("read", "things/a", "null").await)["length"], size);
    }
}

#[tokio::test]
async fn no_metadata_of_a_request_travels_on_to_the_host() {
    // Every request here carries a multiplex_id and two keys that newer hosts read.
    let (host, mount) = mounted().await;
    mount.call("update", "things/a", "null").await;
    mount.call("read", "things/a", "null").await;
    mount.call("list", "things/", "null").await;
    mount.call("delete", "things/a", "null").await;
    mount.call("read", "host/strong", "null").await;
    mount.initialize().await;
    for call in ["put", "get", "list", "delete", "replication_state", "entity_info"] {
        assert!(host.calls().contains(&call), "{call}");
    }
    for key in host.metadata() {
        assert!(["content-type", "te", "user-agent"].contains(&key.as_str()), "{key}");
    }
}

#[tokio::test]
async fn the_host_tells_version_entities_and_passwords() {
    let (_, mount) = mounted().await;
    assert_eq!(
        data(&mount.call("read", "host/strong", "null").await),
        serde_json::json!({
            "version": "2.7.2",
            "entity": "agent-7",
            "team": "search",
            "password": "made-by-policy",
        })
    );
    let refused = data(&mount.call("read", "host/none", "null").await);
    assert!(refused["error"].as_str().unwrap().contains("failed to generate"), "{refused}");
    let mut nobody = super::request("read", "host/strong", "null");
    nobody.entity_id = "entity-2".into();
    assert_eq!(data(&mount.send(nobody).await.unwrap())["entity"], serde_json::Value::Null);
}
