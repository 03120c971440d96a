//! Tests what answers look like.

use serde_json::json;

use super::*;
use crate::catalog::{Method, ServiceName};
use crate::proxy::Payload;

fn show(answer: Value, shape: &Shape) -> String {
    let result = render(&call(), &serde_json::from_value(answer).unwrap(), shape, false);
    assert_eq!((result.is_error, result.structured_content), (Some(false), None));
    assert_eq!(result.content.len(), 1);
    result.content[0].as_text().unwrap().text.clone()
}

fn call() -> ProxyRequest {
    ProxyRequest {
        service: ServiceName::parse("sonarr").unwrap(),
        method: Method::Get,
        path: "/series".to_owned(),
        query: serde_json::Map::new(),
        headers: serde_json::Map::new(),
        payload: Payload::None,
    }
}

fn json_answer(body: &str) -> Value {
    json!({ "status": 200, "headers": { "content-type": "application/json; charset=utf-8" },
            "body": body, "duration_ms": 42 })
}

#[test]
fn a_result_is_a_status_line_and_the_body_as_it_is() {
    assert_eq!(
        show(json_answer("[{\"id\":1}]"), &Shape::default()),
        "200 OK · sonarr · GET /series · application/json · 10 B · 42 ms\n[{\"id\":1}]"
    );
    assert_eq!(
        show(json!({ "status": 204, "duration_ms": 7 }), &Shape::default()),
        "204 No Content · sonarr · GET /series · 0 B · 7 ms"
    );
}

#[test]
fn useful_headers_become_lines_and_waiting_is_advised() {
    let answer = json!({
        "status": 429, "duration_ms": 1, "body": "slow",
        "headers": { "retry-after": "37", "set-cookie": "a=b", "link": "<x?page=2>; rel=\"next\"" },
    });
    assert_eq!(
        show(answer, &Shape::default()),
        "429 Too Many Requests · sonarr · GET /series · 4 B · 1 ms\n\
         link: <x?page=2>; rel=\"next\"\nretry-after: 37\n\
         Wait 37 s before the next call to this service.\nslow"
    );
    let answer = json!({ "status": 302, "headers": { "location": "/new\r\nx: y" } });
    assert_eq!(
        show(answer, &Shape::default()),
        "302 Found · sonarr · GET /series · 0 B · 0 ms\nlocation: /new  x: y\n\
         Redirects aren't followed, so that the credential goes nowhere else. If location is on \
         the same service, call that path."
    );
}

#[test]
fn a_cut_says_how_to_get_the_rest() {
    let body =
        serde_json::to_string(&vec![json!({ "id": 1, "title": "x".repeat(90) }); 200]).unwrap();
    let shown = show(json_answer(&body), &Shape { select: None, max_chars: 1_000 });
    assert!(
        shown.ends_with(&format!(
            "\n[cut after 1,000 of {} characters. Narrow it with select (top-level: array of 200 \
             objects with keys id, title) or query parameters.]",
            thousands(body.chars().count())
        )),
        "{shown}"
    );
    let text = "\u{20ac}".repeat(1_500);
    let shown = show(json_answer(&text), &Shape { select: None, max_chars: 1_000 });
    assert!(
        shown.contains("[cut after 1,000 of 1,500 characters. Narrow it with query"),
        "{shown}"
    );
}

#[test]
fn select_narrows_and_tells_when_it_cannot() {
    let select = |expression: &str| Shape { select: Some(expression.to_owned()), max_chars: 9_000 };
    let shown = show(json_answer("[{\"id\":1,\"b\":2}]"), &select("[].id"));
    assert!(shown.ends_with("42 ms\n[1]"), "{shown}");
    let shown = show(json_answer("{\"a\":1}"), &select("b"));
    assert!(shown.ends_with("null\n[select found nothing (top-level: object with keys a).]"));
    let shown = show(json_answer("{\"a\":1}"), &select("[["));
    assert!(shown.starts_with("select wasn't applied: the JMESPath expression has an error"));
    assert!(shown.ends_with("\n{\"a\":1}"), "{shown}");
}

#[test]
fn images_are_shown_and_other_bytes_are_named() {
    let answer = |kind: &str, bytes: usize| {
        serde_json::from_value::<Answer>(json!({
            "status": 200, "headers": { "content-type": kind },
            "body_base64": STANDARD.encode(vec![0; bytes]),
        }))
        .unwrap()
    };
    let image = render(&call(), &answer("image/png", 30), &Shape::default(), false);
    assert_eq!(image.content.len(), 2);
    assert_eq!(image.content[1].as_image().unwrap().mime_type, "image/png");
    for (kind, bytes, size) in
        [("application/pdf", 2_100_000, "2.1 MB"), ("image/png", 1_100_000, "1.1 MB")]
    {
        let result = render(&call(), &answer(kind, bytes), &Shape::default(), false);
        let text = &result.content[0].as_text().unwrap().text;
        assert!(text.ends_with(&format!("binary, {size}, {kind}: not shown")), "{text}");
    }
}

#[test]
fn sizes_and_thousands_read_well() {
    for (bytes, text) in [(0, "0 B"), (999, "999 B"), (18_400, "18.4 kB"), (999_960, "1.0 MB")] {
        assert_eq!(size(bytes), text);
    }
    for (number, text) in
        [(7, "7"), (1_000, "1,000"), (812_345, "812,345"), (1_000_000, "1,000,000")]
    {
        assert_eq!(thousands(number), text);
    }
}

#[test]
fn programs_can_have_the_answer_as_data() {
    let answer = serde_json::from_value(json_answer("{}")).unwrap();
    let result = render(&call(), &answer, &Shape::default(), true);
    assert_eq!(result.structured_content.unwrap()["status"], 200);
}
