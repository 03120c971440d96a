//! Tests of what stands on the wire.

use super::*;

fn one(text: &str) -> Result<Message, NotJsonRpc> {
    parse(text.as_bytes(), 7).map(|mut messages| messages.remove(0))
}

#[test]
fn answers_are_told_from_all_else_and_left_as_they_are() {
    let result = r#"{"jsonrpc":"2.0","id":7,"result":{ "b":1.50, "a":"\u0041" }}"#;
    assert_eq!(one(result), Ok(Message::Result(r#"{ "b":1.50, "a":"\u0041" }"#.into())));
    let code = r#"{"code":-32700}"#;
    for (id, expected) in [
        (r#""id":7,"#, Message::Error(code.into())),
        (r#""id":null,"#, Message::Unread(code.into())),
        ("", Message::Unread(code.into())),
    ] {
        assert_eq!(one(&format!("{{{id}\"error\":{code}}}")), Ok(expected), "{id}");
    }
    for other in [
        r#"{"jsonrpc":"2.0","id":8,"result":{}}"#,
        r#"{"jsonrpc":"2.0","id":"7","result":{}}"#,
        r#"{"jsonrpc":"2.0","id":8,"error":{"code":1}}"#,
        r#"{"jsonrpc":"2.0","result":{}}"#,
        r#"{"jsonrpc":"2.0","method":"notifications/progress","params":{}}"#,
    ] {
        assert_eq!(one(other), Ok(Message::Other), "{other}");
    }
    for broken in [
        "",
        "{",
        "7",
        "null",
        "{}",
        r#"{"id":7}"#,
        r#"{"id":7,"result":null}"#,
        r#"{"id":7,"result":{},"error":{}}"#,
        r#"{"id":7,"result":{},"result":{}}"#,
        r#"{"error":"invalid_token","error_description":"expired"}"#,
        r#"{"error":{"message":"no"}}"#,
        r#"{"id":7,"error":{"code":"-32600"}}"#,
        r#"{"id":7,"error":[-32600]}"#,
        "{\"id\":7,\"result\":{\"a\":\"\u{0}\"}}",
    ] {
        assert_eq!(one(broken), Err(NotJsonRpc), "{broken}");
    }
    assert_eq!(parse(b"{\"id\":7,\"result\":{\"a\":\"\xff\"}}", 7), Err(NotJsonRpc));
}

#[test]
fn an_answer_names_the_request_in_any_form() {
    for named in [
        r#"{"id":7,"error":{"code":1}}"#,
        r#"{"result":{},"id":"7"}"#,
        r#"{"id":7,"error":"gone","x":"#,
        r#"[{"method":"x"},{"id":"\u0037","result":{}}]"#,
    ] {
        assert!(names(named.as_bytes(), 7), "{named}");
    }
    for other in ["", "7", r#"{"id":null}"#, r#"{"id":"server-error"}"#, r#"{"a":{"id":7}}"#, "[7]"]
    {
        assert!(!names(other.as_bytes(), 7), "{other}");
    }
    assert!(names(b"{\"id\":7,\"result\":\"\xff\"}", 7));
}

#[test]
fn a_batch_is_its_messages() {
    let batch = r#"[{"method":"x"},{"id":7,"result":{"a":1}}]"#;
    let messages = parse(batch.as_bytes(), 7).unwrap();
    assert_eq!(messages, [Message::Other, Message::Result(r#"{"a":1}"#.into())]);
    let long = |count: usize| format!("[{}{batch}", r#"{"method":"x"},"#.repeat(count));
    let long = |count: usize| long(count).replace("[{\"method\":\"x\"},{\"id", "{\"id");
    assert_eq!(parse(long(MAX_BATCH - 1).as_bytes(), 7).map(|all| all.len()), Ok(MAX_BATCH));
    assert_eq!(parse(long(MAX_BATCH).as_bytes(), 7), Err(NotJsonRpc));
    assert_eq!(parse(b"[{\"method\":\"x\"},1]", 7), Err(NotJsonRpc));
}

#[test]
fn requests_of_the_server_are_answered_by_their_own_id() {
    for (id, answered) in [("1", true), (r#""a\"b""#, true), ("[1]", false), (r#"{"a":1}"#, false)]
    {
        let text = format!(r#"{{"id":{id},"method":"elicitation/create"}}"#);
        let Ok(Message::Request(request)) = one(&text) else { panic!("{text}") };
        assert_eq!(request.asks, Asks::Elicitation);
        let answer = answer_to(&request);
        assert_eq!(answer.is_some(), answered, "{id}");
        if let Some(answer) = answer {
            let answer: Value = serde_json::from_slice(&answer).unwrap();
            assert_eq!(answer["id"].to_string(), id);
            assert_eq!(answer["error"]["code"], -32601);
        }
    }
}

#[test]
fn results_say_what_they_are() {
    for (result, kind) in [
        (r#"{"content":[]}"#, ResultKind::Complete),
        (r#"{"resultType":"complete"}"#, ResultKind::Complete),
        (r#"{"resultType":"task"}"#, ResultKind::Unknown),
        ("[]", ResultKind::Unknown),
        (
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":"roots/list"},
                "b":{"method":"roots/list"}}}"#,
            ResultKind::InputRequired(vec![Asks::Roots]),
        ),
        (r#"{"resultType":"input_required"}"#, ResultKind::InputRequired(vec![])),
        (
            r#"{"resultType":"input_required","inputRequests":{"a":{"method":7},"b":1}}"#,
            ResultKind::InputRequired(vec![Asks::Other]),
        ),
        (r#"{"resultType":"input_required","inputRequests":[1]}"#, ResultKind::Unknown),
    ] {
        assert_eq!(ResultKind::of(result), kind, "{result}");
    }
}

#[test]
fn a_request_carries_what_its_revision_wants() {
    let request = Request::new("tools/call")
        .of("name", "add")
        .with_raw("arguments", RawValue::from_string(r#"{"a": 1.0}"#.into()).unwrap());
    let text = String::from_utf8(request.body(Some(Revision::STATELESS)).to_vec()).unwrap();
    assert!(text.contains(r#""arguments":{"a": 1.0}"#), "{text}");
    let message: Value = serde_json::from_str(&text).unwrap();
    let meta = &message["params"]["_meta"];
    assert_eq!(meta["io.modelcontextprotocol/protocolVersion"], "2026-07-28");
    assert!(meta["io.modelcontextprotocol/clientCapabilities"].is_object());
    let old = request.body(Some(Revision::WITH_HANDSHAKE));
    let old: Value = serde_json::from_slice(&old).unwrap();
    assert!(old["params"].get("_meta").is_none());
}
