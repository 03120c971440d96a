//! How large a request may be, and what happens to a larger one.

use super::{data, mounted, request};
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
