//! How a plugin lives and ends.

use std::time::Duration;

use rustix::process::Signal;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};
use tonic_health::pb::{
    HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient,
};

use crate::host::{Ended, Plugin, SOON};

/// When a host kills.
const KILL: Duration = Duration::from_secs(2);

/// Checks that a plugin ended of itself and left nothing.
fn check_clean(ended: &Ended) {
    assert!(ended.status.success(), "{:?} {:?}", ended.status, ended.stderr);
    assert_eq!(ended.files, 0, "the socket is still there");
}

#[tokio::test]
async fn shutdown_is_answered_and_ends_everything() {
    let plugin = Plugin::start();
    let mut connection = plugin.connect().await;
    connection.shutdown().await.unwrap();
    assert!(connection.announced.message().await.is_ok_and(|message| message.is_none()));
    assert!(connection.stdio.message().await.is_ok_and(|message| message.is_none()));
    let ended = plugin.ended(KILL).await;
    check_clean(&ended);
    assert!(ended.stderr.concat().contains(r#""reason":"Shutdown""#), "{:?}", ended.stderr);
}

#[tokio::test]
async fn shutdown_does_not_wait_for_calls_without_end() {
    let plugin = Plugin::start();
    let connection = plugin.connect().await;
    let waiting = tokio::spawn(connection.ask("do", "wait"));
    plugin.logged("waiting").await;
    connection.shutdown().await.unwrap();
    check_clean(&plugin.ended(KILL).await);
    waiting.await.unwrap().unwrap_err();
}

#[tokio::test]
async fn end_of_the_broker_stream_ends_the_plugin() {
    let plugin = Plugin::start();
    let connection = plugin.connect().await;
    drop(connection.announce);
    let ended = plugin.ended(SOON).await;
    check_clean(&ended);
    assert!(ended.stderr.concat().contains(r#""reason":"HostGone""#), "{:?}", ended.stderr);
}

#[tokio::test]
async fn loss_of_the_connection_ends_the_plugin() {
    let plugin = Plugin::start();
    let host = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
    let host = host.unwrap();
    let handshake = plugin.handshake().await;
    let identity = plugin.host.clone();
    // A runtime of its own takes the connection's sockets with it, as a dying host does.
    let connection = host
        .spawn(async move { crate::host::connect_to(&handshake, &identity).await })
        .await
        .unwrap();
    assert_eq!(connection.ask("do", "").await.unwrap(), "v1.2.3");
    host.shutdown_background();
    check_clean(&plugin.ended(SOON).await);
    drop(connection);
}

#[tokio::test]
async fn host_that_never_comes_is_not_waited_for() {
    let plugin = Plugin::start_with(|env| {
        env.insert("PROBE_HOST_TIMEOUT_MS", "300".to_owned());
    });
    plugin.handshake().await;
    let ended = plugin.ended(SOON).await;
    check_clean(&ended);
    assert!(ended.stderr.concat().contains(r#""reason":"HostSilent""#), "{:?}", ended.stderr);
}

#[tokio::test]
async fn host_that_came_in_time_stays() {
    let mut plugin = Plugin::start_with(|env| {
        env.insert("PROBE_HOST_TIMEOUT_MS", "3000".to_owned());
    });
    let connection = plugin.connect().await;
    // Outlives the limit: the probe answers this one after the broker's five seconds.
    connection.ask("broker-id", 99).await.unwrap_err();
    assert!(plugin.is_running());
}

#[tokio::test]
async fn interrupts_are_ignored() {
    let mut plugin = Plugin::start();
    let connection = plugin.connect().await;
    for _ in 0..3 {
        plugin.signal(Signal::INT);
        assert_eq!(connection.ask("do", "").await.unwrap(), "v1.2.3");
    }
    assert!(plugin.is_running());
}

#[tokio::test]
async fn termination_is_clean() {
    let plugin = Plugin::start();
    let _connection = plugin.connect().await;
    plugin.signal(Signal::TERM);
    let ended = plugin.ended(KILL).await;
    check_clean(&ended);
    assert!(ended.stderr.concat().contains(r#""reason":"Terminated""#), "{:?}", ended.stderr);
}

#[tokio::test]
async fn health_is_told() {
    let plugin = Plugin::start();
    let connection = plugin.connect().await;
    let mut health = HealthClient::new(connection.channel.clone());
    let request = |service: &str| HealthCheckRequest { service: service.to_owned() };
    let reply = health.check(request("plugin")).await.unwrap().into_inner();
    assert_eq!(reply.status(), ServingStatus::Serving);
    let unknown = health.check(request("another")).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::NotFound);
}

#[tokio::test]
async fn callers_hanging_up_in_a_burst_do_not_cost_the_connection() {
    const HEADERS: u8 = 1;
    const RST_STREAM: u8 = 3;
    const SETTINGS: u8 = 4;
    const PING: u8 = 6;
    const GOAWAY: u8 = 7;
    /// A frame of HTTP/2 (RFC 9113, section 4.1).
    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags][..], &stream.to_be_bytes(), payload].concat()
    }

    let plugin = Plugin::start();
    let handshake = plugin.handshake().await;
    let config = plugin.host.client(&handshake.certificate);
    let mut stream = crate::host::tls(&handshake.socket, config).await.unwrap();
    // All in one write, so that the plugin sees the cancellations with the calls.
    let mut burst = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    burst.extend(frame(SETTINGS, 0, 0, &[]));
    for call in 0..500 {
        // `:method POST`, `:scheme http`, `:path /` of the static table (RFC 7541, appendix A).
        burst.extend(frame(HEADERS, 4, 2 * call + 1, &[0x83, 0x86, 0x84]));
        burst.extend(frame(RST_STREAM, 0, 2 * call + 1, &[0, 0, 0, 8]));
    }
    burst.extend(frame(PING, 0, 0, &[7; 8]));
    stream.write_all(&burst).await.unwrap();

    let answered = async {
        loop {
            let mut header = [0; 9];
            stream.read_exact(&mut header).await.unwrap();
            let [a, b, c, kind, ..] = header;
            let length = u32::from_be_bytes([0, a, b, c]);
            let mut payload = vec![0; length.try_into().unwrap()];
            stream.read_exact(&mut payload).await.unwrap();
            assert_ne!(kind, GOAWAY, "{payload:?}");
            if kind == PING {
                break payload;
            }
        }
    };
    assert_eq!(timeout(SOON, answered).await.unwrap(), [7; 8]);
}
