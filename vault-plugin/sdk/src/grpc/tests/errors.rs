//! How each failure is told to the host.

use proto::pb;

use super::host::Mode;
use super::{data, mounted};
use crate::error::READ_ONLY;

const KINDS: [&str; 16] = [
    "invalid",
    "operation",
    "path",
    "read-only",
    "storage-read-only",
    "storage",
    "undecodable",
    "internal",
    "panic",
    "early-panic",
    "0",
    "200",
    "412",
    "418",
    "503",
    "999",
];

fn error(reply: &pb::HandleRequestReply) -> (u32, i64, &str) {
    let error = reply.err.as_ref().expect("an error");
    assert_eq!(reply.response, None, "a response beside an error changes the status");
    (error.err_type, error.err_code, &error.err_msg)
}

#[tokio::test]
async fn a_wrong_request_is_told_in_the_response() {
    let (_, mount) = mounted().await;
    for operation in ["read", "update", "delete"] {
        let reply = mount.call(operation, "fail/invalid", "null").await;
        let text = "invalid_request: \"it\" <is> wrong. (request_id r-1)";
        assert_eq!(data(&reply), serde_json::json!({ "error": text }), "{operation}");
    }
}

#[tokio::test]
async fn a_coded_error_keeps_its_text_and_a_status_that_http_knows() {
    let (_, mount) = mounted().await;
    for (status, sent) in [
        ("418", 418),
        ("404", 404),
        ("599", 599),
        ("0", 400),
        ("200", 400),
        ("301", 400),
        ("999", 599),
    ] {
        let reply = mount.call("read", &format!("fail/{status}"), "null").await;
        assert_eq!(error(&reply), (3, sent, format!("coded: {status}").as_str()));
    }
}

#[tokio::test]
async fn unsupported_and_read_only_have_their_own_kinds() {
    let (_, mount) = mounted().await;
    for operation in ["read", "delete"] {
        for (kind, expected) in [
            ("operation", (5, 0, "unsupported operation")),
            ("path", (6, 0, "unsupported path")),
            ("read-only", (0, 0, "cannot write to readonly storage")),
            ("storage-read-only", (0, 0, "cannot write to readonly storage")),
        ] {
            let reply = mount.call(operation, &format!("fail/{kind}"), "null").await;
            assert_eq!(error(&reply), expected, "{operation} {kind}");
        }
    }
}

#[tokio::test]
async fn what_storage_says_of_read_only_reaches_the_host_verbatim_and_nothing_else_does() {
    let (host, mount) = mounted().await;
    for text in [READ_ONLY, "2 errors: disk INSIDE; cannot write to readonly storage"] {
        host.set_mode(Mode::Says(text));
        let reply = mount.call("update", "things/a", r#"{"value":"x"}"#).await;
        assert_eq!(error(&reply), (0, 0, READ_ONLY));
    }
    host.set_mode(Mode::Says("disk INSIDE is gone"));
    for operation in ["read", "update", "delete"] {
        let reply = mount.call(operation, "things/a", "null").await;
        assert_eq!(error(&reply), (2, 0, "storage failed; the server's log has the reason"));
    }
}

#[tokio::test]
async fn no_failure_is_a_grpc_status_or_a_kind_that_hosts_take_for_success() {
    let (_, mount) = mounted().await;
    for operation in ["read", "delete", "update"] {
        for kind in KINDS {
            // `call` unwraps the gRPC status.
            let reply = mount.call(operation, &format!("fail/{kind}"), "null").await;
            let shown = format!("{reply:?} {:?}", reply.err.as_ref().map(|err| &err.err_msg));
            assert!(!shown.contains("INSIDE"), "{operation} {kind}: {shown}");
            let Some(err) = reply.err else {
                assert_eq!(kind, "invalid", "{operation}");
                continue;
            };
            assert!(err.err_type <= 10, "{operation} {kind}: {}", err.err_type);
            assert!(!err.err_msg.is_empty(), "{operation} {kind}");
            if err.err_type == 3 {
                assert!((400..=599).contains(&err.err_code), "{operation} {kind}");
            }
        }
    }
}

#[tokio::test]
async fn a_panic_ends_its_request_and_no_other() {
    let (_, mount) = mounted().await;
    let waiting = tokio::spawn({
        let mount = mount.clone();
        async move { mount.call("read", "hang", "null").await }
    });
    mount.journal.wait("read began").await;
    for operation in ["read", "delete"] {
        for kind in ["panic", "early-panic"] {
            let reply = mount.call(operation, &format!("fail/{kind}"), "null").await;
            assert_eq!(error(&reply).0, 2, "{operation} {kind}");
        }
    }
    mount.journal.open();
    assert_eq!(waiting.await.unwrap().err, None);
}

#[tokio::test]
async fn a_call_never_ends_in_what_a_client_would_repeat_or_a_host_send_again() {
    let (_, mount) = mounted().await;
    for kind in KINDS.into_iter().chain(["429", "500", "599"]) {
        let reply = mount.call("update", &format!("fail/{kind}"), "null").await;
        let status = match &reply.err {
            None => continue,
            Some(pb::ProtoError { err_type: 3, err_code, .. }) => *err_code,
            Some(pb::ProtoError { err_type: 5, .. }) => 405,
            Some(pb::ProtoError { err_type: 6, .. }) => 404,
            Some(err) => panic!("{kind}: {err:?}"),
        };
        assert!((400..500).contains(&status), "{kind}: {status}");
        assert!(status != 412 && status != 429, "{kind}: {status}");
        assert!(!error(&reply).2.contains(READ_ONLY), "{kind}");
    }
    for kind in ["panic", "early-panic", "internal", "storage", "undecodable", "read-only"] {
        let reply = mount.call("update", &format!("fail/{kind}"), "null").await;
        let (_, status, text) = error(&reply);
        assert_eq!(status, 424, "{kind}");
        assert!(text.starts_with("outcome_unknown: "), "{kind}: {text}");
        assert!(text.ends_with("(request_id r-1)"), "{kind}: {text}");
    }
    // What the engine chose to say is kept.
    let reply = mount.call("update", "fail/503", "null").await;
    assert_eq!(error(&reply), (3, 424, "coded: 503"));
}
