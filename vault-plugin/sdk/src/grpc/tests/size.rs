//! How large a request may be, and what happens to a larger one.

use std::sync::Arc;
use std::time::Duration;

use proto::pb::backend_client::BackendClient;
use proto::pb::{HandleRequestArgs, HandleRequestReply};
use tokio::sync::Semaphore;
use tonic::Status;
use tower::ServiceExt as _;

use super::engine::HELD;
use super::host::Host;
use super::{Mount, Plugin, data, mounted, request, tagged, within};
use crate::serve::MAX_REQUEST;

fn body(length: usize) -> String {
    format!(r#"{{"body":"{}"}}"#, "x".repeat(length))
}

#[tokio::test]
async fn a_request_of_what_listeners_let_through_arrives() {
    let (_, mount) = mounted().await;
    let length = 32 << 20;
    assert_eq!(data(&mount.call("update", "size", &body(length)).await)["length"], length);
}

#[tokio::test]
async fn a_larger_request_is_refused_without_harm_to_the_next() {
    let (_, mount) = mounted().await;
    let too_large = body(MAX_REQUEST);
    for _ in 0..3 {
        assert!(mount.send(request("update", "size", &too_large)).await.is_err());
        assert_eq!(data(&mount.call("update", "size", &body(5 << 20)).await)["length"], 5 << 20);
    }
}

#[tokio::test]
async fn a_large_answer_passes() {
    let (_, mount) = mounted().await;
    let length = 5 << 20;
    mount.call("update", "things/a", &format!(r#"{{"size":{length}}}"#)).await;
    let reply = data(&mount.call("read", "things/a", "null").await);
    assert_eq!(reply["value"].as_str().unwrap().len(), length);
}

/// Asks for the answer that holds something; nothing of it is read before the gate is open.
async fn held(
    plugin: &Plugin,
    mount: &Mount,
    gate: Arc<Semaphore>,
) -> Result<HandleRequestReply, Status> {
    let channel = plugin.channel.clone();
    let gated = tower::service_fn(move |request| {
        let (channel, gate) = (channel.clone(), Arc::clone(&gate));
        async move {
            let response = channel.oneshot(request).await;
            let _ = gate.acquire().await;
            response
        }
    });
    let mut backend = BackendClient::new(gated).max_decoding_message_size(usize::MAX);
    let args =
        HandleRequestArgs { request: Some(request("read", "held", "null")), ..Default::default() };
    Ok(backend.handle_request(tagged(&mount.id, args)).await?.into_inner())
}

#[tokio::test]
async fn what_an_answer_holds_is_let_go_once_the_host_has_it() {
    let plugin = Plugin::start().await;
    let mount = plugin.mount("mount-1", &Host::default()).await;
    let gate = Arc::new(Semaphore::new(0));
    let asking = held(&plugin, &mount, Arc::clone(&gate));
    let mut asking = std::pin::pin!(asking);
    let unread = tokio::time::timeout(Duration::from_millis(500), &mut asking).await;
    assert!(unread.is_err() && !mount.journal.has("let go"), "it is on its way");
    gate.close();
    let reply = within("the answer", asking).await.unwrap();
    assert_eq!(data(&reply)["value"].as_str().unwrap().len(), HELD);
    mount.journal.wait("let go").await;
}

#[tokio::test]
async fn what_an_answer_holds_is_let_go_when_the_host_gives_up() {
    let plugin = Plugin::start().await;
    let mount = plugin.mount("mount-1", &Host::default()).await;
    let asking = held(&plugin, &mount, Arc::new(Semaphore::new(0)));
    let unread = tokio::time::timeout(Duration::from_millis(500), asking).await;
    assert!(unread.is_err());
    mount.journal.wait("let go").await;
}
