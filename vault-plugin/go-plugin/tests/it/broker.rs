//! How the plugin reaches services that the host serves.

use std::time::{Duration, Instant};

use crate::{
    host::{Plugin, SOON},
    identity::Identity,
};

#[tokio::test]
async fn announcement_may_come_first() {
    let plugin = Plugin::start();
    let connection = plugin.connect().await;
    for id in [1, 2] {
        let info = plugin.serve(id, &plugin.host, &format!("host {id}")).await;
        connection.announce.send(info).await.unwrap();
    }
    for id in [2, 1] {
        assert_eq!(connection.ask("broker-id", id).await.unwrap(), format!("host {id}"));
    }
}

#[tokio::test]
async fn announcement_may_come_second() {
    let plugin = Plugin::start();
    let connection = plugin.connect().await;
    let info = plugin.serve(7, &plugin.host, "host 7").await;
    let asked = tokio::spawn(connection.ask("broker-id", 7));
    plugin.logged("connecting to the host").await;
    // Another's announcement isn't the one waited for.
    let other = plugin.serve(8, &plugin.host, "host 8").await;
    connection.announce.send(other).await.unwrap();
    connection.announce.send(info).await.unwrap();
    assert_eq!(asked.await.unwrap().unwrap(), "host 7");
}

#[tokio::test]
async fn id_never_announced_fails_after_five_seconds() {
    let plugin = Plugin::start();
    let connection = plugin.connect().await;
    let began = Instant::now();
    let error = connection.ask("broker-id", 99).await.unwrap_err();
    let took = began.elapsed();
    assert!(error.message().contains("99"), "{error}");
    assert!(took >= Duration::from_secs(5) && took < SOON, "{took:?}");
}

#[tokio::test]
async fn only_the_host_is_dialled() {
    let plugin = Plugin::start();
    let connection = plugin.connect().await;
    let stranger = Identity::new();
    let thief = Identity { key: stranger.key.clone(), ..plugin.host.clone() };
    for (id, impostor) in [(1, stranger), (2, thief)] {
        let info = plugin.serve(id, &impostor, "impostor").await;
        connection.announce.send(info).await.unwrap();
        let error = connection.ask("broker-id", id).await.unwrap_err();
        assert!(error.message().contains("can't be dialled"), "{error}");
    }
}

#[tokio::test]
async fn other_networks_and_dead_sockets_are_errors() {
    let plugin = Plugin::start();
    let connection = plugin.connect().await;
    let mut info = plugin.serve(1, &plugin.host, "never").await;
    info.network = "tcp".to_owned();
    connection.announce.send(info.clone()).await.unwrap();
    let error = connection.ask("broker-id", 1).await.unwrap_err();
    assert!(error.message().contains("network"), "{error}");

    info = proto::goplugin::ConnInfo {
        service_id: 2,
        network: "unix".to_owned(),
        address: plugin.directory.path().join("absent").to_str().unwrap().to_owned(),
        knock: None,
    };
    connection.announce.send(info).await.unwrap();
    let error = connection.ask("broker-id", 2).await.unwrap_err();
    assert!(error.message().contains("can't be dialled"), "{error}");
}

#[tokio::test]
async fn large_messages_pass_both_ways() {
    let plugin = Plugin::start();
    let connection = plugin.connect().await;
    let large = "x".repeat(40 << 20);
    let info = plugin.serve(1, &plugin.host, &large).await;
    connection.announce.send(info).await.unwrap();
    // From the host to the probe over the broker, and back over the main connection.
    assert!(connection.ask("broker-id", 1).await.unwrap() == large);
}
