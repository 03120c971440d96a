//! Which nodes run what: writes only where they may be, calls everywhere.

use super::host::{ACTIVE, Host, Mode, PERFORMANCE_SECONDARY, STANDALONE, STANDBY};
use super::{Mount, Plugin, err_type};
use crate::storage::Storage as _;

async fn mounted_on(replication: i32, local: bool) -> (Host, Mount) {
    let host = Host::new(Mode::Works, replication);
    if local {
        host.set_local();
    }
    let mount = Plugin::start().await.mount("mount-1", &host).await;
    (host, mount)
}

#[tokio::test]
async fn writes_where_the_node_may_write() {
    for (replication, local) in [
        (STANDALONE, false),
        (ACTIVE, false),
        (ACTIVE, true),
        (PERFORMANCE_SECONDARY, true),
        (i32::MIN, false),
    ] {
        let (host, mount) = mounted_on(replication, local).await;
        let reply = mount.call("update", "things/a", r#"{"value":"x"}"#).await;
        assert_eq!(reply.err, None, "{replication} {local}");
        assert_eq!(host.storage().keys(), ["things/a"], "{replication} {local}");
    }
}

#[tokio::test]
async fn elsewhere_a_write_is_refused_before_anything_happens() {
    for (replication, local) in [
        (STANDBY, false),
        (STANDBY, true),
        (PERFORMANCE_SECONDARY, false),
        (0x200, false),
        (0x200, true),
        (i32::MIN | 0x4000, true),
    ] {
        let (host, mount) = mounted_on(replication, local).await;
        host.storage().put("things/a", vec![]).await.unwrap();
        for (operation, path) in
            [("create", "things/b"), ("update", "things/a"), ("delete", "hang")]
        {
            let reply = mount.call(operation, path, r#"{"value":"x"}"#).await;
            let error = reply.err.expect("an error");
            assert_eq!(error.err_type, 0, "{replication} {local}");
            // The host looks for exactly this and sends the request to the active node.
            assert_eq!(error.err_msg, "cannot write to readonly storage");
        }
        assert_eq!(mount.journal.events(), <[&str; 0]>::default());
        assert_eq!(host.storage().keys(), ["things/a"]);
        for call in ["get", "put", "delete", "list"] {
            assert!(!host.calls().contains(&call), "{call}");
        }
    }
}

#[tokio::test]
async fn reads_and_calls_run_on_every_node() {
    for replication in [STANDALONE, ACTIVE, STANDBY, PERFORMANCE_SECONDARY, 0x200] {
        let (host, mount) = mounted_on(replication, false).await;
        mount.journal.open();
        assert_eq!(mount.call("read", "hang", "null").await.err, None);
        assert_eq!(mount.call("update", "hang", "null").await.err, None);
        assert!(mount.journal.has("read ended") && mount.journal.has("call ended"));
        assert_eq!(host.calls(), <[&str; 0]>::default(), "the host isn't even asked");
    }
}

#[tokio::test]
async fn a_node_that_cannot_say_what_it_is_writes_nothing() {
    let (host, mount) = mounted_on(STANDALONE, false).await;
    host.set_mode(Mode::Missing);
    assert_eq!(err_type(&mount.call("update", "things/a", "null").await), 2);
    assert_eq!(mount.journal.events(), <[&str; 0]>::default());
}
