//! Tests what arguments become.

use serde_json::json;

use super::*;

fn parse_with(tool: ToolName, arguments: Value) -> Result<Call, CallError> {
    let catalog = serde_json::from_value(json!({
        "services": [{ "name": "sonarr", "base_url": "http://h:8989/api/v3" }],
    }))
    .unwrap();
    let Value::Object(arguments) = arguments else { panic!("an object") };
    parse(tool, arguments, Some(&catalog))
}

fn read(mut arguments: Value) -> Call {
    arguments["service"] = json!("sonarr");
    parse_with(ToolName::ProxyRead, arguments).unwrap()
}

fn send(mut arguments: Value) -> Result<Call, CallError> {
    for (name, value) in [("service", "sonarr"), ("method", "POST"), ("path", "/x")] {
        if arguments.get(name).is_none() {
            arguments[name] = json!(value);
        }
    }
    parse_with(ToolName::ProxyRequest, arguments)
}

fn refused(tool: ToolName, arguments: Value, expected: &str) {
    let text = parse_with(tool, arguments).unwrap_err().message();
    assert!(text.contains(expected), "{text}");
    assert!(text.starts_with("invalid_request: ") && text.ends_with("Nothing was sent."), "{text}");
}

#[test]
fn a_path_is_put_right_where_it_can_only_mean_one_thing() {
    let check = |path: &str, expected: &str, query: Value| {
        let call = read(json!({ "path": path }));
        assert_eq!((call.path.as_str(), Value::Object(call.query)), (expected, query), "{path}");
    };
    check("/series", "/series", json!({}));
    check("series", "/series", json!({}));
    check("", "/", json!({}));
    check(
        "/series?a=b&c=d%20e&c=f+g&x",
        "/series",
        json!({"a": "b", "c": ["d e", "f g"], "x": ""}),
    );
}

#[test]
fn what_the_engine_has_to_refuse_reaches_it_unchanged() {
    for path in
        ["/../admin", "//evil.com/x", "/\\evil.com", "/%2e%2e/x", "/a#frag", "/a?x=1#f", "/a?x=%zz"]
    {
        assert_eq!(read(json!({ "path": path })).path, path);
    }
    assert_eq!(read(json!({ "path": "@evil.com" })).path, "/@evil.com");
}

#[test]
fn a_full_url_is_answered_with_the_path_that_was_meant() {
    let check = |url: &str, expected: &str| {
        refused(
            ToolName::ProxyRead,
            json!({ "service": "sonarr", "path": url }),
            &format!(
                "path must be below the base URL and start with '/'; you gave a full URL. Use \
                 path=\"{expected}\"."
            ),
        );
    };
    check("http://h:8989/api/v3/series?a=b", "/series");
    check("http://h:8989/api/v3", "/");
    check("https://evil.com/x/y", "/x/y");
    check("https://evil.com", "/");
}

#[test]
fn query_takes_objects_json_text_and_query_strings() {
    let check = |query: Value, expected: Value| {
        let call = read(json!({ "path": "/x?a=1", "query": query }));
        assert_eq!(Value::Object(call.query), expected);
    };
    check(
        json!({ "b": 2, "c": [true, "x"], "d": null }),
        json!({"a":"1","b":"2","c":["true","x"]}),
    );
    check(json!("{\"b\": 2.50}"), json!({ "a": "1", "b": "2.5" }));
    check(json!("b=2&c=%26"), json!({ "a": "1", "b": "2", "c": "&" }));
    check(json!({ "a": "1" }), json!({ "a": "1" }));
    check(json!({ "a": "2" }), json!({ "a": ["2", "1"] }));
    refused(
        ToolName::ProxyRead,
        json!({ "service": "sonarr", "path": "/", "query": { "a": { "b": 1 } } }),
        "query must hold strings or lists of strings",
    );
}

#[test]
fn bodies_are_sent_as_they_were_written() {
    let payload = |arguments: Value| send(arguments).unwrap().payload;
    assert_eq!(payload(json!({})), Payload::None);
    assert_eq!(payload(json!({ "json": {"a": 1} })), Payload::Json("{\"a\":1}".to_owned()));
    let exact = " {\"a\": 12345678901234567890.10} ";
    assert_eq!(payload(json!({ "json": exact })), Payload::Json(exact.trim().to_owned()));
    assert_eq!(payload(json!({ "body": {"a": 1} })), Payload::Json("{\"a\":1}".to_owned()));
    assert_eq!(payload(json!({ "body": " text " })), Payload::Text(" text ".to_owned()));
    let Payload::Form(form) = payload(json!({ "form": {"a": 1} })) else { panic!("a form") };
    assert_eq!(form["a"], "1");
    for (arguments, expected) in [
        (json!({ "json": {}, "body": "x" }), "only one of json, form, body"),
        (json!({ "json": "{a" }), "json isn't valid JSON"),
        (json!({ "method": "TRACE" }), "method must be one of GET, HEAD"),
        (json!({ "qery": {} }), "Did you mean \"query\"?"),
        (json!({ "headers": { "Authorization": "Bearer x" } }), "never send credentials"),
        (json!({ "headers": { " COOKIE ": "x" } }), "never send credentials"),
    ] {
        let text = send(arguments).unwrap_err().message();
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn methods_are_taken_in_any_case_and_reading_stays_reading() {
    assert_eq!(send(json!({ "method": "delete" })).unwrap().method, Method::Delete);
    assert_eq!(read(json!({ "path": "/", "method": "head" })).method, Method::Head);
    let arguments = |method: &str| json!({ "service": "sonarr", "path": "/", "method": method });
    refused(ToolName::ProxyRead, arguments("POST"), "proxy_read only sends GET");
    refused(
        ToolName::ProxyRead,
        json!({ "service": "sonarr", "path": "/", "json": {} }),
        "Use proxy_request",
    );
}

#[test]
fn limits_are_moved_into_their_range() {
    let max = |value: Value| read(json!({ "path": "/", "max_chars": value })).shape.max_chars;
    assert_eq!(max(json!(5_000)), 5_000);
    assert_eq!(max(json!("5000")), 5_000);
    assert_eq!(max(json!(-1)), 1_000);
    assert_eq!(max(json!(1e30)), 200_000);
    assert_eq!(max(Value::Null), 40_000);
}
