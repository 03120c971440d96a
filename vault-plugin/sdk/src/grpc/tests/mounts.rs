//! Many mounts in one process: told apart, kept apart, ended each by itself.

use proto::pb;

use super::host::Host;
use super::{Plugin, data, request, tagged};

#[tokio::test]
async fn mounts_see_their_own_storage_alone() {
    let plugin = Plugin::start().await;
    let (here, there) = (Host::default(), Host::default());
    let one = plugin.mount("mount-1", &here).await;
    let two = plugin.mount("mount-2", &there).await;
    one.call("update", "things/a", r#"{"value":"one"}"#).await;
    two.call("update", "things/a", r#"{"value":"two"}"#).await;
    two.call("update", "things/b", r#"{"value":"two"}"#).await;
    assert_eq!(data(&one.call("read", "things/a", "null").await)["value"], "one");
    assert_eq!(data(&two.call("read", "things/a", "null").await)["value"], "two");
    assert_eq!(one.call("read", "things/b", "null").await.response, None);
    assert_eq!(here.storage().keys(), ["things/a"]);
    assert_eq!(there.storage().keys(), ["things/a", "things/b"]);
}

#[tokio::test]
async fn an_unknown_mount_is_an_error_everywhere() {
    let plugin = Plugin::start().await;
    plugin.mount("mount-1", &Host::default()).await;
    for id in ["mount-2", "", "mount-1 ", "MOUNT-1"] {
        for operation in ["read", "help", "rollback"] {
            let args = pb::HandleRequestArgs {
                request: Some(request(operation, "things/a", "null")),
                ..Default::default()
            };
            let reply = plugin.backend().handle_request(tagged(id, args)).await;
            assert!(reply.is_err(), "{id:?} {operation}");
        }
        let args = pb::HandleExistenceCheckArgs::default();
        assert!(plugin.backend().handle_existence_check(tagged(id, args)).await.is_err());
        assert!(plugin.backend().initialize(tagged(id, pb::InitializeArgs {})).await.is_err());
    }
}

#[tokio::test]
async fn a_host_that_names_no_mount_has_one() {
    let plugin = Plugin::start().await;
    let args = pb::SetupArgs { broker_id: plugin.offer(&Host::default()), ..Default::default() };
    assert_eq!(plugin.backend().setup(args).await.unwrap().into_inner().err, "");
    let args = pb::HandleRequestArgs {
        request: Some(request("read", "whoami", "null")),
        ..Default::default()
    };
    assert!(plugin.backend().handle_request(args).await.unwrap().into_inner().response.is_some());
}

#[tokio::test]
async fn cleanup_ends_one_mount_and_its_connection_and_may_come_twice() {
    let plugin = Plugin::start().await;
    let (here, there) = (Host::default(), Host::default());
    let one = plugin.mount("mount-1", &here).await;
    let two = plugin.mount("mount-2", &there).await;
    one.call("update", "things/a", "null").await;
    one.cleanup().await;
    one.cleanup().await;
    let cleanups = one.journal.events().iter().filter(|event| *event == "cleanup").count();
    assert_eq!(cleanups, 1, "the second finds nothing");
    one.journal.wait("engine dropped").await;
    here.closed().await;
    assert!(one.send(request("read", "things/a", "null")).await.is_err());
    assert_eq!(there.connections(), 1);
    assert_eq!(two.call("update", "things/a", "null").await.err, None);
    assert!(!two.journal.has("cleanup"));
}

#[tokio::test]
async fn a_mount_comes_back_under_its_id_with_nothing_of_before() {
    let plugin = Plugin::start().await;
    let (before, after) = (Host::default(), Host::default());
    let old = plugin.mount("mount-1", &before).await;
    old.call("update", "things/a", "null").await;
    old.cleanup().await;
    let new = plugin.mount("mount-1", &after).await;
    assert_eq!(new.call("read", "things/a", "null").await.response, None);
    assert!(new.journal.has("read"));
    assert!(!old.journal.has("read"));
}

#[tokio::test]
async fn a_call_in_flight_keeps_its_mount_through_cleanup() {
    let plugin = Plugin::start().await;
    let host = Host::default();
    let mount = plugin.mount("mount-1", &host).await;
    let write = tokio::spawn({
        let mount = mount.clone();
        async move { mount.call("delete", "hang", "null").await }
    });
    mount.journal.wait("write began").await;
    mount.cleanup().await;
    mount.journal.open();
    assert_eq!(write.await.unwrap().err, None);
    assert_eq!(host.storage().keys(), ["first", "second"]);
    mount.journal.wait("engine dropped").await;
    host.closed().await;
}
