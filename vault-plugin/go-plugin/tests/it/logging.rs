//! What the host finds on standard error.

use serde_json::Value;

use crate::host::{Plugin, SOON};

/// Checks one line as go-plugin reads it (`log_entry.go`).
fn parse(line: &str) -> Value {
    assert!(line.len() <= 32 * 1024, "{} bytes", line.len());
    let value: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
    let object = value.as_object().unwrap();
    for key in object.keys().filter(|key| key.starts_with('@')) {
        assert!(object[key].is_string(), "{key} isn't a string: {line}");
    }
    let level = object["@level"].as_str().unwrap();
    assert!(["trace", "debug", "info", "warn", "error"].contains(&level), "{line}");
    assert!(object["@message"].is_string());
    let shape: String = object["@timestamp"]
        .as_str()
        .unwrap()
        .chars()
        .map(|char| if char.is_ascii_digit() { '0' } else { char })
        .collect();
    assert_eq!(shape, "0000-00-00T00:00:00.000000Z");
    value
}

/// Has the probe log in several ways, and returns what came of it.
async fn logged(filter: Option<&str>) -> Vec<Value> {
    let plugin = Plugin::start_with(|env| {
        if let Some(filter) = filter {
            env.insert("PROBE_LOG", filter.to_owned());
        }
    });
    let connection = plugin.connect().await;
    connection.ask("do", "log everything").await.unwrap();
    connection.ask("do", "panic").await.unwrap_err();
    connection.ask("log-bytes", 200_000).await.unwrap();
    let many: Vec<_> = (0..50).map(|_| tokio::spawn(connection.ask("log-bytes", 5_000))).collect();
    for one in many {
        one.await.unwrap().unwrap();
    }
    connection.shutdown().await.unwrap();
    plugin.ended(SOON).await.stderr.iter().map(|line| parse(line)).collect()
}

#[tokio::test]
async fn every_line_is_hclog() {
    let lines = logged(None).await;
    let with = |message: &str| lines.iter().filter(|line| line["@message"] == message).count();
    assert_eq!(with("logged as asked"), 51);
    assert_eq!(lines.iter().filter(|line| line["truncated"] == true).count(), 1);
    let error = lines.iter().find(|line| line["@message"] == "two\nlines").unwrap();
    assert_eq!(error["@level"], "error");
    assert_eq!((&error["newline"], &error["number"]), (&"\n".into(), &1.into()));
    assert_eq!(with("debug of the probe"), 0);
}

#[tokio::test]
async fn panics_are_logged_without_values_and_survived() {
    let lines = logged(None).await;
    let panic = lines
        .iter()
        .find(|line| line["@message"].as_str().unwrap().starts_with("panicked at "))
        .unwrap();
    assert_eq!(panic["@level"], "error");
    assert!(panic["@message"].as_str().unwrap().contains("probe.rs"), "{panic}");
    assert!(!format!("{lines:?}").contains("c4n4ry"));
}

#[tokio::test]
async fn the_filter_variable_chooses_levels() {
    let lines = logged(Some("trace")).await;
    for level in ["trace", "debug"] {
        let message = format!("{level} of the probe");
        let line = lines.iter().find(|line| line["@message"] == message).unwrap();
        assert_eq!(line["@level"], level);
    }
}
