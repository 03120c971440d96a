//! What reaches the host for what is logged.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

use super::*;

/// Returns the lines that `log` made, and checks what holds for each.
fn lines(filter: Option<&str>, log: impl FnOnce()) -> Vec<Value> {
    let written = Arc::new(Mutex::new(Vec::new()));
    let sink = Arc::clone(&written);
    let layer =
        HclogLayer { write: Box::new(move |line| sink.lock().unwrap().push(line.to_owned())) };
    let subscriber = tracing_subscriber::registry().with(layer).with(levels(filter));
    tracing::subscriber::with_default(subscriber, log);
    let written = written.lock().unwrap();
    written
        .iter()
        .map(|line| {
            assert_eq!(line.iter().filter(|&&byte| byte == b'\n').count(), 1);
            assert!(line.ends_with(b"\n"));
            let value: Value = serde_json::from_slice(line).unwrap();
            for (key, value) in value.as_object().unwrap() {
                assert!(!key.starts_with('@') || value.is_string(), "{key}");
            }
            value
        })
        .collect()
}

#[test]
fn fields_become_keys_with_their_types() {
    let lines = lines(None, || {
        tracing::warn!(count = 3, ratio = 0.5, ok = true, name = "x\ny", debug = ?Some(1), "hello {}", 1);
    });
    let line = &lines[0];
    assert_eq!(line["@level"], "warn");
    assert_eq!(line["@message"], "hello 1");
    assert_eq!(line["@module"], module_path!());
    assert_eq!(line["count"], 3);
    assert_eq!(line["ratio"], 0.5);
    assert_eq!(line["ok"], true);
    assert_eq!(line["name"], "x\ny");
    assert_eq!(line["debug"], "Some(1)");
}

#[test]
fn empty_texts_are_left_out() {
    let lines = lines(None, || tracing::info!(rule = "", count = 0, "fine"));
    assert_eq!((lines[0].get("rule"), &lines[0]["count"]), (None, &0.into()));
}

#[test]
fn callers_cannot_reach_the_formats_own_keys() {
    let lines = lines(None, || {
        tracing::info!("@level" = 3, "@message" = false, "@timestamp" = 0, "fine");
    });
    let line = &lines[0];
    assert_eq!((&line["@level"], &line["@message"]), (&"info".into(), &"fine".into()));
    assert_eq!((&line["_@level"], &line["_@message"]), (&3.into(), &false.into()));
}

#[test]
fn spans_lend_their_fields_and_inner_ones_win() {
    let lines = lines(None, || {
        let outer = tracing::info_span!("outer", id = "o", late = tracing::field::Empty);
        outer.record("late", 1);
        let _outer = outer.enter();
        let _inner = tracing::info_span!("inner", id = "i").entered();
        tracing::info!("one");
        tracing::info!(id = "e", "two");
    });
    assert_eq!((&lines[0]["id"], &lines[0]["late"]), (&"i".into(), &1.into()));
    assert_eq!(lines[1]["id"], "e");
}

#[test]
fn errors_come_with_their_sources() {
    let inner = std::io::Error::other("inner");
    let error = crate::ServeError::Handshake(inner);
    let lines = lines(None, || {
        tracing::error!(error = &error as &(dyn std::error::Error + 'static), "failed");
    });
    let text = lines[0]["error"].as_str().unwrap();
    assert!(text.ends_with(": inner"), "{text}");
}

#[test]
fn level_is_info_unless_the_filter_says_otherwise() {
    let log = || {
        tracing::debug!("debug");
        tracing::info!("info");
        tracing::info!(target: "h2", "info of h2");
        tracing::trace!(target: "h2", "frame");
    };
    let messages =
        |filter| lines(filter, log).iter().map(|line| line["@message"].clone()).collect::<Vec<_>>();
    assert_eq!(messages(None), ["info", "info of h2"]);
    assert_eq!(messages(Some("no,such=filter=")), ["info", "info of h2"]);
    assert_eq!(messages(Some("trace")), ["debug", "info", "info of h2"]);
    assert_eq!(messages(Some("trace,h2=trace")), ["debug", "info", "info of h2", "frame"]);
    assert_eq!(messages(Some("error")), Vec::<Value>::new());
}
