//! Which operations reach a handler, help, lists, existence checks.

use proto::pb;

use super::host::{Host, Mode, STANDALONE};
use super::{Plugin, data, err_type, mounted, request};
use crate::storage::Storage as _;

/// Operations of hosts, old and new, that are none of a secrets engine's paths.
const NOT_OURS: [&str; 12] = [
    "resolve-path",
    "resolve-role",
    "alias-lookahead",
    "header",
    "scan",
    "renew",
    "revoke",
    "made-up",
    "",
    "Read",
    "read ",
    "help\0",
];

fn unsupported(reply: &pb::HandleRequestReply, name: &str) {
    assert_eq!(err_type(reply), 5, "{name:?}");
    // A `path` in the answer to resolve-path would replace the path that the policy is checked on.
    assert_eq!(reply.response, None, "{name:?}");
}

#[tokio::test]
async fn what_is_not_ours_is_unsupported_and_nothing_runs() {
    let (host, mount) = mounted().await;
    for name in NOT_OURS {
        for path in ["path", "things/a", "things/", "", "nowhere", "fail/panic"] {
            for data in ["null", "{\"path\":\"elsewhere\"}", "no JSON"] {
                unsupported(&mount.call(name, path, data).await, name);
            }
        }
    }
    assert_eq!(mount.journal.events(), <[&str; 0]>::default());
    assert_eq!(host.calls(), <[&str; 0]>::default());
    // The same path does answer a read, with the key in question.
    assert_eq!(data(&mount.call("read", "path", "null").await)["path"], "elsewhere");
}

#[tokio::test]
async fn what_is_not_ours_is_unsupported_also_before_setup() {
    let plugin = Plugin::start().await;
    for name in NOT_OURS {
        let args = pb::HandleRequestArgs {
            request: Some(request(name, "things/a", "null")),
            ..Default::default()
        };
        unsupported(&plugin.backend().handle_request(args).await.unwrap().into_inner(), name);
    }
    let nothing = pb::HandleRequestArgs::default();
    unsupported(&plugin.backend().handle_request(nothing).await.unwrap().into_inner(), "none");
}

#[tokio::test]
async fn resolve_path_with_a_large_body_that_is_no_json_is_unsupported_at_once() {
    let (host, mount) = mounted().await;
    let body = "{\"path\":".repeat(30 * 128 * 1024);
    assert_eq!(body.len(), 30 << 20);
    unsupported(&mount.call("resolve-path", "path", &body).await, "resolve-path");
    assert_eq!(host.calls(), <[&str; 0]>::default());
}

#[tokio::test]
async fn help_needs_no_storage() {
    let host = Host::new(Mode::Missing, STANDALONE);
    let mount = Plugin::start().await.mount("mount-1", &host).await;
    let overview = mount.call("help", "", "null").await;
    let text = data(&overview)["help"].as_str().unwrap().to_owned();
    for part in ["Does what a test tells it.", "things/<name>", "All things", "hang"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let one = data(&mount.call("help", "things/any", "null").await);
    let text = one["help"].as_str().unwrap();
    for part in ["One thing", "What is kept.", "create", "delete"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert_eq!(err_type(&mount.call("help", "nowhere", "null").await), 6);
    assert_eq!(host.calls(), <[&str; 0]>::default());
}

#[tokio::test]
async fn lists_at_a_path_with_a_slash() {
    let (host, mount) = mounted().await;
    let empty = mount.call("list", "things/", "null").await;
    assert_eq!(empty, pb::HandleRequestReply::default(), "the host makes it a 404");
    for key in ["things/b", "things/a", "things/a/below", "other"] {
        host.storage().put(key, vec![]).await.unwrap();
    }
    let reply = mount.call("list", "things/", r#"{"list":"true"}"#).await;
    assert_eq!(data(&reply), serde_json::json!({ "keys": ["a", "a/", "b"] }));
    assert!(mount.journal.has("list things/"));
}

#[tokio::test]
async fn only_a_list_may_end_in_a_slash() {
    let (host, mount) = mounted().await;
    host.storage().put("things/a", b"kept".to_vec()).await.unwrap();
    // A policy on `things/a` says nothing about `things/a/`: it must not be the same thing.
    for operation in ["read", "delete", "update", "create", "patch"] {
        let reply = mount.call(operation, "things/a/", "null").await;
        assert_eq!(err_type(&reply), 6, "{operation}");
    }
    assert_eq!(host.storage().keys(), ["things/a"]);
    assert!(!mount.exists("things/a/", "null").await.check_found);
}

#[tokio::test]
async fn an_undeclared_operation_or_path_is_told_apart() {
    let (_, mount) = mounted().await;
    assert_eq!(err_type(&mount.call("patch", "things/a", "null").await), 5);
    assert_eq!(err_type(&mount.call("list", "things/a/", "null").await), 5);
    for path in ["nowhere", "things/a/b", "/things/a", "things//", ""] {
        assert_eq!(err_type(&mount.call("read", path, "null").await), 6, "{path:?}");
    }
}

#[tokio::test]
async fn nothing_there_is_an_empty_reply() {
    let (_, mount) = mounted().await;
    assert_eq!(mount.call("read", "things/a", "null").await, pb::HandleRequestReply::default());
    assert_eq!(mount.call("update", "things/a", "").await, pb::HandleRequestReply::default());
    assert!(mount.call("read", "things/a", "null").await.response.is_some());
}

#[tokio::test]
async fn a_warning_alone_is_a_response_that_hosts_can_decode() {
    let (_, mount) = mounted().await;
    let reply = mount.call("update", "warn", "null").await;
    // Hosts decode `data` as JSON whenever there is a response
    // (OpenBao sdk/plugin/pb/translation.go, ProtoResponseToLogicalResponse).
    assert_eq!(data(&reply), serde_json::Value::Null);
    assert_eq!(reply.response.unwrap().warnings, ["look out"]);
}

#[tokio::test]
async fn existence_tells_create_from_update() {
    let (host, mount) = mounted().await;
    host.storage().put("things/old", vec![]).await.unwrap();
    let answer =
        |check_found, exists| pb::HandleExistenceCheckReply { check_found, exists, err: None };
    assert_eq!(mount.exists("things/old", "null").await, answer(true, true));
    assert_eq!(mount.exists("things/new", r#"{"value":"x"}"#).await, answer(true, false));
    assert_eq!(mount.exists("whoami", "null").await, answer(false, false), "has no check");
    assert_eq!(mount.exists("nowhere", "null").await, answer(false, false));
    assert_eq!(mount.exists("things/old", r#"{"valeu":1}"#).await, answer(false, false));
    assert_eq!(mount.exists("things/old", "no JSON").await, answer(false, false));
    // Any error here would be a 500: the operation that follows tells what is wrong, with 400.
    assert_eq!(mount.exists("fail/invalid", "null").await, answer(false, false));
}

#[tokio::test]
async fn an_existence_check_that_fails_never_looks_like_an_answer() {
    let (host, mount) = mounted().await;
    for (kind, err_type) in [("internal", 2), ("panic", 2), ("418", 3)] {
        let reply = mount.exists(&format!("fail/{kind}"), "null").await;
        let error = reply.err.expect("an error");
        assert_eq!(error.err_type, err_type, "{kind}");
        assert!(!error.err_msg.contains("INSIDE"), "{}", error.err_msg);
        assert!(!reply.check_found && !reply.exists, "{kind}");
    }
    host.set_mode(Mode::Says("disk INSIDE is gone"));
    let error = mount.exists("things/old", "null").await.err.expect("an error");
    assert_eq!(error.err_type, 2);
    assert!(!error.err_msg.contains("INSIDE"), "{}", error.err_msg);
}
