//! Who asks and what is asked: taken from where the host put it.

use std::time::Duration;

use proto::pb;
use serde_json::{Value, json};

use super::{data, mounted, request};

fn seen(operation: &str) -> Value {
    json!({
        "id": "r-1",
        "operation": operation,
        "path": "whoami",
        "entity_id": "entity-1",
        "display_name": "approle",
        "token_accessor": "accessor-1",
        "remote_address": "192.0.2.7",
        "mount_point": "ns1/probe/",
        "wrap_ttl": null,
    })
}

#[tokio::test]
async fn a_caller_is_who_the_host_says_and_never_who_the_data_says() {
    let (_, mount) = mounted().await;
    assert_eq!(data(&mount.call("update", "whoami", "null").await), seen("update"));
    let forged = json!({
        "entity_id": "root",
        "display_name": "root",
        "token_accessor": "root",
        "remote_address": "127.0.0.1",
        "mount_point": "sys/",
        "wrap_ttl": 60,
        "id": "r-2",
        "path": "things/a",
    });
    // In a query nothing is refused, since hosts add parameters of their own.
    assert_eq!(data(&mount.call("read", "whoami", &forged.to_string()).await), seen("read"));
    for (name, value) in forged.as_object().unwrap() {
        let body = json!({ name: value }).to_string();
        let refused = data(&mount.call("update", "whoami", &body).await);
        let text = refused["error"].as_str().expect("a refusal");
        assert!(text.contains(&format!("{name:?}")), "{text}");
    }
}

#[tokio::test]
async fn a_caller_without_identity_or_address_is_empty() {
    let (_, mount) = mounted().await;
    let bare =
        pb::Request { operation: "read".into(), path: "whoami".into(), ..Default::default() };
    let reply = data(&mount.send(bare).await.unwrap());
    for name in ["entity_id", "display_name", "token_accessor", "remote_address", "id"] {
        assert_eq!(reply[name], "", "{name}");
    }
}

#[tokio::test]
async fn a_wrapped_answer_is_announced() {
    let (_, mount) = mounted().await;
    let minute = i64::try_from(Duration::from_secs(60).as_nanos()).unwrap();
    for (ttl, expected) in [(minute, json!(60)), (0, Value::Null), (-1, Value::Null)] {
        let mut wrapped = request("read", "whoami", "null");
        wrapped.wrap_info = Some(pb::RequestWrapInfo { ttl, ..Default::default() });
        assert_eq!(data(&mount.send(wrapped).await.unwrap())["wrap_ttl"], expected, "{ttl}");
    }
}

#[tokio::test]
async fn data_that_is_no_object_is_refused() {
    let (host, mount) = mounted().await;
    for body in ["[]", "7", "\"text\"", "{", "{\"value\":1}{}", "no JSON", "\u{0}"] {
        let refused = data(&mount.call("update", "things/a", body).await);
        assert!(refused["error"].as_str().is_some(), "{body}: {refused}");
    }
    assert_eq!(host.storage().keys(), <[&str; 0]>::default());
}
