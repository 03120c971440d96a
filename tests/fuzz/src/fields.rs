//! The typed fields of a request's body, through the router as a host calls it.

use std::sync::Arc;

use arbitrary::{Result, Unstructured};
use secrecy::ExposeSecret as _;
use serde_json::{Map, Value, json};
use tokio::runtime::{Builder, Runtime};
use vault_sdk::{
    Backend, Call, Caller, Effect, Error, Field, FieldType, Given, InMemoryStorage, Incoming,
    Operation, Path, Response, Router, Setup, SpecialPaths, StaticSystemView,
};

use crate::text_of;

const KINDS: &[(&str, FieldType)] = &[
    ("str", FieldType::Str),
    ("secret", FieldType::Secret),
    ("int", FieldType::Int),
    ("ints", FieldType::Ints),
    ("bool", FieldType::Bool),
    ("duration", FieldType::Duration),
    ("list", FieldType::List),
    ("items", FieldType::Items),
    ("pairs", FieldType::Pairs),
    ("text", FieldType::Text),
    ("json", FieldType::Json),
];

/// Stands in values where an operator could have put a secret by mistake.
const CANARY: &str = "canary-7f3a91";

const TEXTS: &[&str] = &[
    CANARY,
    CANARY,
    "1",
    "0",
    "-1",
    "30",
    "1.5",
    "s",
    "m",
    "h",
    "d",
    "ms",
    "1h",
    "18446744073709551616",
    "99999999999999999999999d",
    "true",
    "TRUE",
    "f",
    ",",
    ", ",
    "\n",
    " ",
    "=",
    "a=b",
    "a=b,c=d",
    "[",
    "]",
    "[1,\"a\"]",
    "{",
    "}",
    "{\"a\":\"b\"}",
    "\"",
    "null",
    "\\",
    "\u{e9}",
    "\u{0}",
    ".",
];

struct Echo;

impl Backend for Echo {
    const VERSION: &'static str = "v0.0.0";
    const HELP: &'static str = "Answers with what it understood.";

    fn new(_setup: Setup) -> Self {
        Self
    }

    fn special_paths() -> SpecialPaths {
        SpecialPaths::default()
    }

    fn paths() -> Vec<Path<Self>> {
        let fields = KINDS.iter().map(|(name, kind)| Field::new(name, *kind, "A field."));
        vec![
            Path::new("echo", "Every type")
                .fields(fields)
                .operation(Operation::Patch, Effect::Pure, "Patches", |_, call| async {
                    echo(call)
                })
                .write(Effect::Pure, "Writes", |_, call| async { echo(call) }),
        ]
    }
}

#[expect(clippy::disallowed_methods, reason = "the target's own values, made here")]
fn echo(mut call: Call) -> std::result::Result<Response, Error> {
    let mut seen = Map::new();
    for (name, kind) in KINDS {
        if !call.fields.has(name) {
            continue;
        }
        let fields = &mut call.fields;
        let understood = match kind {
            FieldType::Str | FieldType::Text | FieldType::Json => format!("{:?}", fields.str(name)),
            FieldType::Secret => {
                let secret = fields.secret(name).map(Given::value);
                format!("{:?}", secret.map(|secret| secret.map(|it| it.expose_secret().to_owned())))
            }
            FieldType::Int => format!("{:?}", fields.int(name)),
            FieldType::Ints => format!("{:?}", fields.ints(name)),
            FieldType::Bool => format!("{:?}", fields.bool(name)),
            FieldType::Duration => format!("{:?}", fields.duration(name)),
            FieldType::List | FieldType::Items => format!("{:?}", fields.list(name)),
            FieldType::Pairs => {
                let current = [("kept".to_owned(), "1".to_owned())];
                format!("{:?}", fields.pairs_over(name, current))
            }
        };
        // A field that was given has a value of its declared type.
        assert_ne!(understood, "None", "{name}");
        seen.insert((*name).to_owned(), Value::from(understood));
    }
    Response::data(Value::Object(seen))
}

thread_local! {
    static HOST: (Runtime, Router<Echo>, Arc<Echo>) = (
        Builder::new_current_thread().enable_time().build().unwrap(),
        Router::default(),
        Arc::new(Echo),
    );
}

/// Any body is understood or refused, a refusal quotes no value, and a value means the same as
/// the text that a command line sends for it.
pub(crate) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let operation = *u.choose(&[Operation::Update, Operation::Create, Operation::Patch])?;
    let request = |body: &str| request(operation, body);
    if u.ratio(1, 4)? {
        let _ = request(&text_of(u, TEXTS, 12)?);
        return Ok(());
    }
    let mut body = Map::new();
    for _ in 0..u.int_in_range(1..=3)? {
        let name = if u.ratio(1, 8)? {
            text_of(u, &["str", "nam", "_"], 2)?
        } else {
            u.choose(KINDS)?.0.to_owned()
        };
        body.insert(name, value(u, 3)?);
    }
    let _ = request(&Value::Object(body).to_string());

    let (name, kind) = *u.choose(KINDS)?;
    let value = value(u, 3)?;
    let given = request(&json!({ name: value }).to_string());
    let text = Value::from(value.to_string());
    let spelt = request(&json!({ name: text }).to_string());
    let means_the_same = match (kind, &value) {
        (FieldType::Secret | FieldType::Text, _) => false,
        (FieldType::Json | FieldType::Pairs, Value::Object(_)) => true,
        (FieldType::List | FieldType::Items | FieldType::Ints, Value::Array(_)) => true,
        (FieldType::Json | FieldType::Pairs, _) => false,
        (_, Value::Bool(_) | Value::Number(_)) => true,
        (_, Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_)) => false,
    };
    if means_the_same {
        assert_eq!(given, spelt, "{name}: {value}");
    }
    if kind == FieldType::Secret && !matches!(value, Value::String(_) | Value::Null) {
        assert!(given.is_none(), "a secret that stands in clear in the audit log was taken");
    }
    if let (FieldType::Str, Value::String(text), Some(given)) = (kind, &value, &given) {
        let wanted =
            if text.is_empty() { "Some(Reset)".to_owned() } else { format!("Some(Set({text:?}))") };
        assert_eq!(given["str"], wanted);
    }
    Ok(())
}

/// What was understood; `None` where it was refused.
fn request(operation: Operation, body: &str) -> Option<Map<String, Value>> {
    let incoming = Incoming {
        id: "r-1".into(),
        path: "echo".into(),
        data: body.into(),
        caller: Caller::default(),
        wrap_ttl: None,
        mount_point: "echo/".into(),
        storage: Arc::new(InMemoryStorage::default()),
    };
    let system = StaticSystemView::default();
    let answer = HOST.with(|(runtime, router, engine)| {
        runtime.block_on(router.handle(engine, &system, operation, incoming))
    });
    match answer {
        Ok(response) => response.as_data().cloned(),
        Err(Error::Invalid(message)) => {
            assert!(!message.contains(CANARY) || unknown_field(&message), "quoted: {message}");
            None
        }
        Err(other) => panic!("{body:?}: {other:?}"),
    }
}

/// Names of fields stand in clear in the audit log anyway.
fn unknown_field(message: &str) -> bool {
    message.contains("no field is called")
}

fn value(u: &mut Unstructured<'_>, depth: u32) -> Result<Value> {
    Ok(match u.int_in_range(0..=if depth == 0 { 5 } else { 7 })? {
        0 => Value::Null,
        1 => Value::from(u.arbitrary::<bool>()?),
        2 => Value::from(u.arbitrary::<i64>()?),
        3 => match u.int_in_range(0..=2)? {
            0 => Value::from(u.arbitrary::<u64>()?),
            1 => Value::from(u.int_in_range(-2..=3)?),
            _ => Value::from(u.arbitrary::<f64>()?),
        },
        4 | 5 => Value::from(text_of(u, TEXTS, 5)?),
        6 => {
            let mut items = Vec::new();
            for _ in 0..u.int_in_range(0..=3)? {
                items.push(value(u, depth - 1)?);
            }
            Value::from(items)
        }
        _ => {
            let mut object = Map::new();
            for _ in 0..u.int_in_range(0..=3)? {
                let name = (*u.choose(&["a", "b", "c=d", "", "kept"])?).to_owned();
                object.insert(name, value(u, depth - 1)?);
            }
            Value::Object(object)
        }
    })
}
