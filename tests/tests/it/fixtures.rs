//! The fixtures themselves: a search that finds nothing must be able to find something.

use e2e::api::Api;
use e2e::server::{Server, Storage};
use e2e::{cli, forms};
use serde_json::json;

#[tokio::test]
async fn data_survives_a_restart_on_raft_and_the_audit_log_is_on() {
    let mut server = Server::start(Storage::Raft).await;
    let api = server.api();
    api.write("sys/mounts/kv", json!({ "type": "kv" })).await.ok();
    let secret = forms::canary();
    api.write("kv/a", json!({ "value": secret })).await.ok();
    server.restart().await;
    assert_eq!(api.read("kv/a").await.ok().data()["value"], secret.as_str());

    let hits = |name: &str| {
        let traces = server.traces().into_iter();
        traces.filter(|(path, _)| path.ends_with(name)).map(|(_, bytes)| bytes).next().unwrap()
    };
    let audit = hits("audit.log");
    assert!(String::from_utf8_lossy(&audit).contains("\"path\":\"kv/a\""));
    // Vault writes strings as HMACs; a key is a key.
    assert!(forms::found(&audit, &secret).is_empty());
    api.write("kv/b", json!({ secret.as_str(): "x" })).await.ok();
    assert_eq!(forms::found(&hits("audit.log"), &secret), ["as it is"]);
}

#[tokio::test]
async fn the_command_line_and_the_api_proxy_reach_the_server() {
    let server = Server::start(Storage::Memory).await;
    let api = server.api();
    api.write("sys/mounts/kv", json!({ "type": "kv" })).await.ok();
    let output = cli::run(&api, &["write", "kv/a", "x=1"]).await;
    assert!(output.status.success(), "{output:?}");
    let proxy = cli::Proxy::start(&server).await;
    assert_eq!(proxy.api(&api).read("kv/a").await.ok().data()["x"], "1");
    let stranger = Api::new(proxy.api(&api).address(), "");
    assert_eq!(stranger.read("kv/a").await.status, 403);
}
