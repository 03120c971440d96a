//! How a plugin introduces itself, and whom it refuses to.

use std::os::unix::fs::{FileTypeExt, MetadataExt};

use crate::host::{Ended, Plugin, SOON};

#[tokio::test]
async fn handshake_is_the_one_line_on_stdout() {
    let plugin = Plugin::start();
    let handshake = plugin.handshake().await;
    assert_eq!(handshake.fields.len(), 6);
    assert_eq!(&handshake.fields[..3], ["1", "5", "unix"]);
    assert_eq!(handshake.fields[4], "grpc");
    assert!(!handshake.line.contains('='), "padded: {}", handshake.line);

    let socket = std::fs::metadata(&handshake.socket).unwrap();
    assert!(socket.file_type().is_socket());
    assert_eq!(socket.mode() & 0o777, 0o600);
    assert_eq!(handshake.socket.parent().unwrap(), plugin.directory.path());

    let connection = plugin.connect().await;
    connection.ask("do", "log everything").await.unwrap();
    connection.shutdown().await.unwrap();
    assert_eq!(plugin.ended(SOON).await.stdout, [handshake.line]);
}

#[tokio::test]
async fn socket_goes_where_the_host_wants_it() {
    let directory = tempfile::tempdir().unwrap();
    let wanted = directory.path().to_str().unwrap().to_owned();
    let plugin = Plugin::start_with(|env| {
        env.insert("PLUGIN_UNIX_SOCKET_DIR", wanted);
        env.insert(
            "PLUGIN_UNIX_SOCKET_GROUP",
            directory.path().metadata().unwrap().gid().to_string(),
        );
    });
    let socket = plugin.handshake().await.socket;
    assert_eq!(socket.parent().unwrap(), directory.path());
    assert_eq!(socket.metadata().unwrap().mode() & 0o777, 0o660);
}

#[tokio::test]
async fn broker_multiplexing_is_declined_only_when_asked_for() {
    let plugin = Plugin::start_with(|env| {
        env.insert("PLUGIN_MULTIPLEX_GRPC", "true".to_owned());
    });
    assert_eq!(plugin.handshake().await.fields[6..], ["false"]);
}

#[tokio::test]
async fn start_by_hand_is_explained() {
    for change in [None, Some("wrong")] {
        let ended =
            refused(change.map_or(Change::Without("PROBE_PLUGIN"), |value| {
                Change::With("PROBE_PLUGIN", value)
            }))
            .await;
        assert!(ended.stderr[0].starts_with("This program is a plugin."), "{:?}", ended.stderr);
        assert!(ended.stderr.concat().contains("PROBE_PLUGIN"));
    }
}

#[tokio::test]
async fn other_protocol_versions_are_refused() {
    for offered in ["4", "3,6", ""] {
        let ended = refused(Change::With("PLUGIN_PROTOCOL_VERSIONS", offered)).await;
        assert!(ended.stderr[0].starts_with("[ERROR] "), "{:?}", ended.stderr);
        assert!(ended.stderr[0].contains("protocol version 5"), "{:?}", ended.stderr);
    }
}

#[tokio::test]
async fn nothing_is_served_without_tls() {
    let ended = refused(Change::Without("PLUGIN_CLIENT_CERT")).await;
    assert!(ended.stderr[0].contains("PLUGIN_CLIENT_CERT"), "{:?}", ended.stderr);
    let ended = refused(Change::With("PLUGIN_CLIENT_CERT", "c4n4ry")).await;
    assert!(ended.stderr[0].contains("PLUGIN_CLIENT_CERT"), "{:?}", ended.stderr);
    assert!(!ended.stderr.concat().contains("c4n4ry"));
}

#[tokio::test]
async fn core_dumps_are_off() {
    let plugin = Plugin::start();
    plugin.handshake().await;
    let limits = plugin.proc("limits");
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().collect::<Vec<_>>()[4..6], ["0", "0"], "{core}");
}

enum Change {
    With(&'static str, &'static str),
    Without(&'static str),
}

/// Starts the probe with a changed environment and expects it to refuse.
async fn refused(change: Change) -> Ended {
    let plugin = Plugin::start_with(|env| match change {
        Change::With(name, value) => drop(env.insert(name, value.to_owned())),
        Change::Without(name) => drop(env.remove(name)),
    });
    let ended = plugin.ended(SOON).await;
    assert_eq!(ended.status.code(), Some(1));
    assert!(ended.stdout.is_empty(), "{:?}", ended.stdout);
    assert_eq!(ended.files, 0);
    ended
}
