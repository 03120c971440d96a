//! What a hostile MCP server may answer: messages, results, errors and definitions.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use arbitrary::{Result, Unstructured};
use secrecy::SecretString;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use vault_plugin::mcp::cut::{Shape, shortened};
use vault_plugin::mcp::definition::{Definition, Kind};
use vault_plugin::mcp::flags::{flags, tool_names};
use vault_plugin::mcp::hidden::{is_hidden, is_orthographic};
use vault_plugin::mcp::message::{Message, ResultKind, answer_to, parse};
use vault_plugin::mcp::raw::{Build, few_fields, items};
use vault_plugin::mcp::{result, sanitise};
use vault_plugin::proxy::redact::{Bounds, Redactor};

use crate::text_of;

/// The id of the request that is answered.
const ID: u64 = 7;
const SECRET: &str = "sk-live-4f9Zq8Rt2LmX";

const TEXTS: &[&str] = &[
    SECRET,
    "a",
    "text",
    "name",
    "inputSchema",
    "\"",
    "\\",
    "\\\"",
    "\n",
    "\u{0}",
    "\u{1b}[31m",
    "\u{e9}",
    "\u{1f600}",
    "\u{200b}",
    "\u{200d}",
    "\u{e0041}",
    "\u{202e}",
    "\u{feff}",
    "\u{2028}",
    "[",
    "}",
    "/",
    "..",
];

/// Fields that mean something to a reader of messages, results or definitions.
const NAMES: &[&str] = &[
    "jsonrpc",
    "id",
    "method",
    "params",
    "result",
    "error",
    "code",
    "message",
    "data",
    "content",
    "contents",
    "messages",
    "role",
    "type",
    "text",
    "uri",
    "uriTemplate",
    "isError",
    "structuredContent",
    "_meta",
    "resultType",
    "inputRequests",
    "tools",
    "nextCursor",
    "name",
    "title",
    "description",
    "inputSchema",
    "outputSchema",
    "properties",
    "$defs",
    "enum",
    "required",
    "pattern",
    "x-mcp-header",
    "annotations",
    "arguments",
    "execution",
    "taskSupport",
    "icons",
];

/// Nothing panics, and what is handed on is what it should be.
pub(crate) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    match u.int_in_range(0..=4)? {
        0 => anything(u),
        1 => message(u),
        2 | 3 => tool_result(u),
        _ => definition(u),
    }
}

/// Text that is JSON, or nearly.
fn anything(u: &mut Unstructured<'_>) -> Result<()> {
    let mut text = value(u, 4)?.to_string();
    if u.ratio(1, 4)? {
        let levels = u.int_in_range(1..=2_000)?;
        let deep = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert_eq!(Build::of(&deep), Build { levels, values: levels + 1 });
        text = format!("{{\"result\":{deep},\"id\":{ID},\"content\":[{text}]}}");
        // As long as nobody makes a tree of it, depth is no matter.
        assert_eq!(parse(text.as_bytes(), ID), Ok(vec![Message::Result(deep)]));
    }
    let mut bytes = text.into_bytes();
    for _ in 0..u.int_in_range(0..=2)? {
        let at = u.choose_index(bytes.len() + 1)?;
        match u.int_in_range(0..=2)? {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, u.arbitrary()?),
            _ => {
                bytes.splice(at..at, u.choose(&["{", "\"", ",", ":", "]", "\\u0000"])?.bytes());
            }
        }
    }
    let _ = parse(&bytes, ID);
    let Ok(text) = str::from_utf8(&bytes) else { return Ok(()) };
    let tree: Option<Value> = serde_json::from_str(text).ok();
    let _ = ResultKind::of(text);
    let build = Build::of(text);
    if let Some(tree) = &tree {
        assert_eq!(build, built(tree, build.values), "{text}");
    }
    let mut found = Vec::new();
    let read = items(text, |item| {
        // A number may be too large for a tree, of which there is none then.
        found.extend(serde_json::from_str::<Value>(item.get()).ok());
        std::ops::ControlFlow::Continue(())
    });
    if let Some(tree) = &tree {
        assert_eq!(read.map(|()| &found), tree.as_array(), "{text}");
        let fields = few_fields(text).is_some();
        assert_eq!(fields, tree.as_object().is_some(), "{text}");
    }
    let (error, _) = result::error(text);
    assert!(error["message"].as_str().unwrap().chars().count() <= 4096);
    assert!(error["code"].is_i64());
    for shape in [Shape::Tool, Shape::Resource, Shape::Prompt] {
        let most = u.int_in_range(0..=4096)?;
        if let Some(cut) = shortened(text, shape, most) {
            assert!(cut.len() <= most);
            assert!(serde_json::from_str::<&RawValue>(&cut).is_ok(), "{text} became {cut}");
        }
    }
    Ok(())
}

/// How a tree is built. Empty arrays and objects are counted as if they held one value, and every
/// object's values once: `values` bounds from above, so it is only compared.
fn built(tree: &Value, values: usize) -> Build {
    fn walk(tree: &Value) -> (usize, usize) {
        let inner: Vec<(usize, usize)> = match tree {
            Value::Array(inner) => inner.iter().map(walk).collect(),
            Value::Object(inner) => inner.values().map(walk).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return (0, 1),
        };
        let levels = inner.iter().map(|(levels, _)| *levels).max().unwrap_or(0);
        (levels + 1, 1 + inner.iter().map(|(_, values)| values).sum::<usize>())
    }
    let (levels, counted) = walk(tree);
    assert!(counted <= values, "{counted} values were taken for {values}: {tree}");
    Build { levels, values }
}

/// A message, or a batch of them.
fn message(u: &mut Unstructured<'_>) -> Result<()> {
    let mut sent = Vec::new();
    for _ in 0..u.int_in_range(1..=3)? {
        let mut message = Map::new();
        for (name, odds) in [("id", 4), ("method", 1), ("result", 2), ("error", 1), ("params", 1)] {
            if u.ratio(odds, 5)? {
                let value = match (name, u.int_in_range(0..=3)?) {
                    ("id", 0..=2) => json!(ID),
                    ("id", _) => json!(text_of(u, TEXTS, 100)?),
                    ("method", 0..=2) => json!(u.choose(&["ping", "roots/list", "x\"y"])?),
                    _ => value(u, 3)?,
                };
                message.insert(name.to_owned(), value);
            }
        }
        sent.push(message);
    }
    let is_batch = u.arbitrary()? || sent.len() > 1;
    let tree = if is_batch { json!(sent) } else { json!(sent[0]) };
    let text = if u.arbitrary()? {
        tree.to_string()
    } else {
        serde_json::to_string_pretty(&tree).unwrap()
    };
    let Ok(messages) = parse(text.as_bytes(), ID) else {
        let is_answer = |message: &Map<String, Value>| {
            message.get("id") == Some(&json!(ID))
                && !message.contains_key("method")
                && message.get("error").is_none_or(Value::is_null)
                && message.get("result").is_some_and(|result| !result.is_null())
        };
        assert!(!sent.iter().all(is_answer), "an answer was refused: {text}");
        return Ok(());
    };
    assert_eq!(messages.len(), sent.len());
    for (message, sent) in messages.iter().zip(&sent) {
        let is = |text: &str, name: &str| {
            assert_eq!(serde_json::from_str::<Value>(text).unwrap(), sent[name]);
        };
        match message {
            Message::Result(text) => {
                is(text, "result");
                assert_eq!(sent["id"], ID);
            }
            Message::Error(text) => {
                is(text, "error");
                assert_eq!(sent["id"], ID);
                let _ = result::error(text);
            }
            Message::Unread(text) => {
                is(text, "error");
                assert!(sent.get("id").is_none_or(Value::is_null));
            }
            Message::Request(request) => {
                if let Some(answer) = answer_to(request) {
                    let answer: Value = serde_json::from_slice(&answer).unwrap();
                    assert_eq!(answer["id"], sent["id"]);
                    assert!(answer.to_string().len() < 1024, "an answer of any length");
                }
            }
            Message::Other => {}
        }
    }
    Ok(())
}

/// A result with the credential in it: redacted, then cut.
fn tool_result(u: &mut Unstructured<'_>) -> Result<()> {
    let (shape, list, other) = *u.choose(&[
        (Shape::Tool, "content", "text"),
        (Shape::Resource, "contents", "text"),
        (Shape::Prompt, "messages", "content"),
    ])?;
    let mut given = Vec::new();
    for _ in 0..u.int_in_range(0..=6)? {
        let text = text_of(u, TEXTS, 6)?.repeat(u.int_in_range(1..=200)?);
        let block = match u.int_in_range(0..=4)? {
            0 => json!({ "type": "image", "data": "QUJD".repeat(text.len() / 3) }),
            1 => value(u, 2)?,
            2 => json!({ "type": "text", "text": text, "_meta": value(u, 2)? }),
            _ => json!({ "type": "text", "text": text }),
        };
        given.push(match shape {
            Shape::Prompt => json!({ "role": text_of(u, TEXTS, 3)?, "content": block }),
            Shape::Tool | Shape::Resource => block,
        });
    }
    let mut whole = Map::from_iter([(list.to_owned(), json!(given))]);
    for _ in 0..u.int_in_range(0..=2)? {
        let name = *u.choose(&["structuredContent", "isError", "_meta", "x", "resultType"])?;
        whole.insert(name.to_owned(), value(u, 3)?);
    }
    let text = Value::Object(whole).to_string();

    let redacted = redacted(&text);
    let tree: Value = serde_json::from_str(&redacted)
        .unwrap_or_else(|error| panic!("{text} became {redacted}: {error}"));
    assert!(!redacted.contains(SECRET), "{redacted}");
    assert_eq!(redacted.contains("[redacted"), text.contains(SECRET), "{text}: {redacted}");
    let _ = ResultKind::of(&redacted);

    let most = u.int_in_range(0..=16_384)?;
    let Some(cut) = shortened(&redacted, shape, most) else {
        let rest = redacted.len() - tree[list].to_string().len();
        // What stands beside the list may alone be too much.
        assert!(most < 4096 + 4 * rest + TEXTS.len() * 16, "not cut to {most}: {redacted}");
        return Ok(());
    };
    assert!(cut.len() <= most, "{} bytes, not {most}", cut.len());
    assert!(!cut.contains(SECRET));
    let cut: Value = serde_json::from_str(&cut).unwrap_or_else(|error| panic!("{cut}: {error}"));
    let given = tree[list].as_array().unwrap();
    let kept = cut[list].as_array().unwrap();
    let (notice, kept) = kept.split_last().unwrap();
    let text_in = |item: &Value| {
        let item = if shape == Shape::Prompt { &item[other] } else { item };
        item["text"].as_str().unwrap_or_default().to_owned()
    };
    assert!(text_in(notice).starts_with("[Vault cut this"), "{notice}");
    assert!(kept.len() <= given.len());
    for (at, (kept, given)) in kept.iter().zip(given).enumerate() {
        let is_left_out = text_in(kept).starts_with("[left out: ");
        let is_cut = !text_in(kept).is_empty() && text_in(given).starts_with(&text_in(kept));
        assert!(kept == given || is_left_out || is_cut, "item {at}: {kept} of {given}");
    }
    if tree.get("structuredContent").is_some() {
        assert_eq!((cut.get("structuredContent"), &cut["isError"]), (None, &json!(true)));
    }
    Ok(())
}

fn redacted(text: &str) -> String {
    static REDACTOR: LazyLock<Redactor> =
        LazyLock::new(|| Redactor::new("api", [&SecretString::from(SECRET)]).unwrap());
    let deadline = Instant::now() + Duration::from_secs(60);
    let bounds = Bounds { max_bytes: 1 << 24, deadline, cover: &|_| true };
    let (bytes, _) = REDACTOR.redact_body(text.to_owned().into(), true, &bounds).unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A definition: as agents see it, it hides nothing, and what is shown is shown the same again.
fn definition(u: &mut Unstructured<'_>) -> Result<()> {
    let kind = *u.choose(&[
        Kind::Tool,
        Kind::Tool,
        Kind::Tool,
        Kind::Prompt,
        Kind::Resource,
        Kind::ResourceTemplate,
        Kind::Instructions,
    ])?;
    let mut tree = Map::new();
    tree.insert(kind.key_field().to_owned(), json!(text_of(u, TEXTS, 3)?));
    for name in ["title", "description"] {
        if u.arbitrary()? {
            let text = text_of(u, TEXTS, 5)?.repeat(u.int_in_range(1..=2_000)?);
            tree.insert(name.to_owned(), json!(text));
        }
    }
    for name in ["inputSchema", "outputSchema", "arguments", "_meta"] {
        if u.arbitrary()? {
            let mut schema = value(u, 4)?;
            if let (true, Some(schema)) = (name == "inputSchema", schema.as_object_mut()) {
                schema.insert("type".to_owned(), json!("object"));
            }
            tree.insert(name.to_owned(), schema);
        }
    }
    if u.arbitrary()? {
        tree.insert(text_of(u, NAMES, 2)?, value(u, 3)?);
    }
    let Some(definition) = Definition::new(kind, &Value::Object(tree)) else { return Ok(()) };
    let problem = definition.problem();
    let _ = flags(&definition, &tool_names(std::slice::from_ref(&definition)));
    let shown = definition.shown();
    let again = sanitise::shown(kind, shown.as_object().unwrap());
    assert_eq!(again, shown, "shown again");
    let bound = |name: &str, most: usize| {
        let length = shown[name].as_str().unwrap_or_default().chars().count();
        assert!(length <= most, "{name} has {length} characters");
    };
    bound("name", sanitise::NAME);
    bound("title", sanitise::TITLE);
    bound("description", sanitise::TEXT);
    bound("instructions", sanitise::TEXT);
    for (name, value) in shown.as_object().unwrap() {
        assert!(sanitise::size(value) <= sanitise::SCHEMA, "{name}");
    }
    if problem.is_none() {
        hides_nothing(&shown, &shown);
    }
    Ok(())
}

fn hides_nothing(value: &Value, whole: &Value) {
    let hides = |text: &str| text.chars().any(|c| is_hidden(c) && !is_orthographic(c));
    match value {
        Value::String(text) => assert!(!hides(text), "{text:?} in {whole}"),
        Value::Array(values) => values.iter().for_each(|value| hides_nothing(value, whole)),
        Value::Object(fields) => {
            for (name, value) in fields {
                assert!(!hides(name), "{name:?} in {whole}");
                hides_nothing(value, whole);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// Any JSON, with the names that matter.
fn value(u: &mut Unstructured<'_>, depth: u32) -> Result<Value> {
    Ok(match u.int_in_range(0..=if depth == 0 { 4 } else { 8 })? {
        0 => Value::Null,
        1 => Value::from(u.arbitrary::<bool>()?),
        2 => match u.int_in_range(0..=2)? {
            0 => Value::from(u.arbitrary::<i64>()?),
            1 => Value::from(u.arbitrary::<f64>()?),
            _ => Value::from(ID),
        },
        3 | 4 => Value::from(text_of(u, TEXTS, 4)?),
        5 | 6 => {
            let mut items = Vec::new();
            for _ in 0..u.int_in_range(0..=3)? {
                items.push(value(u, depth - 1)?);
            }
            Value::from(items)
        }
        _ => {
            let mut object = Map::new();
            for _ in 0..u.int_in_range(0..=4)? {
                let name = if u.ratio(1, 5)? {
                    text_of(u, TEXTS, 2)?
                } else {
                    (*u.choose(NAMES)?).to_owned()
                };
                object.insert(name, value(u, depth - 1)?);
            }
            Value::Object(object)
        }
    })
}
