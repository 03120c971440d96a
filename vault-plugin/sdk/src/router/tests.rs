//! The router's promises, on a small engine.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;
use crate::backend::{Setup, SpecialPaths};
use crate::field::{Field, FieldType, Given};
use crate::spec::Spec;
use crate::storage::InMemoryStorage;
use crate::system_view::{ReplicationState, StaticSystemView};

#[derive(Default)]
struct Toy {
    ran: AtomicUsize,
}

impl Backend for Toy {
    const VERSION: &'static str = "v0.0.1";
    const HELP: &'static str = "A toy.";

    fn new(_setup: Setup) -> Self {
        Self::default()
    }

    fn special_paths() -> SpecialPaths {
        SpecialPaths::default()
    }

    fn paths() -> Vec<Path<Self>> {
        vec![
            Path::new("things", "All things").operation(Operation::List, Effect::Pure, "Lists", |_, _| async {
                Ok(Response::list(vec!["a".into()], serde_json::Map::new()))
            }),
            Path::new("things/:name", "One thing")
                .fields([
                    Field::new("name", FieldType::Str, "The thing."),
                    Field::new("base_url", FieldType::Str, "Where.").default("nowhere"),
                ])
                .exists(|_, call: Call| async move { Ok(call.fields.text("name") == "old") })
                .write(Effect::MayWrite, "Writes", |toy: Arc<Self>, call| async move {
                    toy.ran.fetch_add(1, Ordering::SeqCst);
                    Response::data(serde_json::json!({ "name": call.fields.text("name"), "base_url": call.fields.text("base_url") }))
                })
                .operation(Operation::Read, Effect::Pure, "Reads", |_, _| async { Ok(Response::empty()) }),
            Path::new("call", "Calls").operation(Operation::Update, Effect::CallsOut, "Calls", |toy: Arc<Self>, _| async move {
                toy.ran.fetch_add(1, Ordering::SeqCst);
                panic!("a defect")
            }),
            Path::new("declared", "Answers as it is told to")
                .fields([Field::new("answer", FieldType::Json, "What to answer.")])
                .operation(Operation::Update, Effect::Pure, declared(), |_, mut call: Call| async move {
                    match call.fields.str("answer").and_then(Given::value) {
                        Some(text) => Response::data(serde_json::from_str::<serde_json::Value>(&text).unwrap()),
                        None => Ok(Response::empty()),
                    }
                }),
            Path::new("hang", "Hangs").operation(Operation::Update, Effect::CallsOut, "Hangs", |_, _| async {
                std::future::pending().await
            }),
        ]
    }
}

fn declared() -> Spec {
    let part = [Field::new("deep", FieldType::Int, "A number.")];
    Spec::new("Answers.").data(
        "What was asked for.",
        [
            Field::new("text", FieldType::Str, "A text."),
            Field::new("wait", FieldType::Duration, "Seconds.").optional(),
            Field::new("codes", FieldType::Ints, "Numbers.").optional(),
            Field::new("one", FieldType::Json, "One.").of(part.clone()).optional(),
            Field::new("some", FieldType::List, "Some.").of(part.clone()).optional(),
            Field::new("named", FieldType::Pairs, "By name.").of(part).optional(),
        ],
    )
}

fn incoming(path: &str, data: &str) -> Incoming {
    Incoming {
        id: "r-1".into(),
        path: path.into(),
        data: data.into(),
        caller: Caller::default(),
        wrap_ttl: None,
        mount_point: "toy/".into(),
        storage: Arc::new(InMemoryStorage::default()),
    }
}

async fn handle(
    state: u32,
    operation: Operation,
    path: &str,
    data: &str,
) -> (usize, Result<Response, Error>) {
    let toy = Arc::new(Toy::default());
    let system = StaticSystemView { state: ReplicationState(state), local: false };
    let result = Router::default().handle(&toy, &system, operation, incoming(path, data)).await;
    (toy.ran.load(Ordering::SeqCst), result)
}

const STANDALONE: u32 = 12_288;
const STANDBY: u32 = 24_576;

#[tokio::test]
async fn a_standby_refuses_a_write_before_the_handler_runs() {
    let (ran, result) = handle(STANDBY, Operation::Update, "things/a", "null").await;
    assert!(matches!(result, Err(Error::ReadOnly)), "{result:?}");
    assert_eq!(ran, 0);
    let (ran, result) = handle(STANDALONE, Operation::Update, "things/a", "null").await;
    assert!(result.is_ok());
    assert_eq!(ran, 1);
}

#[tokio::test]
async fn a_panic_in_a_call_is_an_unknown_outcome_that_no_client_repeats() {
    let (ran, result) = handle(STANDBY, Operation::Update, "call", "null").await;
    let Err(Error::Coded { status: 424, message }) = result else { panic!("{result:?}") };
    assert_eq!(ran, 1, "a call runs on a standby too");
    assert!(message.starts_with("outcome_unknown: "), "{message}");
    assert!(message.ends_with("(request_id r-1)"), "{message}");
}

#[tokio::test(start_paused = true)]
async fn what_hangs_ends_before_the_hosts_limit() {
    let started = tokio::time::Instant::now();
    let (_, result) = handle(STANDALONE, Operation::Update, "hang", "null").await;
    assert!(matches!(result, Err(Error::Coded { status: 424, .. })), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(90));
}

#[tokio::test]
async fn unknown_fields_are_refused_with_the_nearest_name_and_nothing_runs() {
    let (ran, result) =
        handle(STANDALONE, Operation::Update, "things/a", r#"{"base_ulr":"x"}"#).await;
    let Err(Error::Invalid(message)) = result else { panic!("{result:?}") };
    assert!(message.contains(r#"Did you mean "base_url"?"#), "{message}");
    assert_eq!(ran, 0);
    // A query is the host's place too.
    let (_, result) = handle(STANDALONE, Operation::Read, "things/a", r#"{"list":"false"}"#).await;
    assert!(result.is_ok());
}

#[tokio::test]
async fn a_path_parameter_wins_and_a_differing_body_field_is_refused() {
    let (_, result) = handle(STANDALONE, Operation::Update, "things/a", r#"{"name":"a"}"#).await;
    assert_eq!(result.unwrap().as_data().unwrap()["name"], "a");
    for other in [r#"{"name":"b"}"#, r#"{"name":["a"]}"#, r#"{"name":null}"#] {
        let (ran, result) = handle(STANDALONE, Operation::Update, "things/a", other).await;
        assert!(matches!(result, Err(Error::Invalid(_))), "{other}: {result:?}");
        assert_eq!(ran, 0);
    }
}

#[tokio::test]
async fn routes_by_whole_segments() {
    for path in ["", "thing", "things/a/b", "things//a", "/things/a", "things/a//"] {
        let (_, result) = handle(STANDALONE, Operation::Read, path, "null").await;
        assert!(matches!(result, Err(Error::UnsupportedPath)), "{path}: {result:?}");
    }
    let (_, result) = handle(STANDALONE, Operation::List, "things/", "null").await;
    assert!(result.is_ok());
    let (_, result) = handle(STANDALONE, Operation::Delete, "things/a", "null").await;
    assert!(matches!(result, Err(Error::UnsupportedOperation)), "{result:?}");
}

#[tokio::test]
async fn existence_is_answered_only_where_declared() {
    let toy = Arc::new(Toy::default());
    let router = Router::<Toy>::default();
    assert_eq!(router.exists(&toy, incoming("things/old", "null")).await.unwrap(), Some(true));
    assert_eq!(router.exists(&toy, incoming("things/new", "null")).await.unwrap(), Some(false));
    assert_eq!(router.exists(&toy, incoming("call", "null")).await.unwrap(), None);
    assert_eq!(router.exists(&toy, incoming("nowhere", "null")).await.unwrap(), None);
}

#[cfg(debug_assertions)]
#[tokio::test]
async fn an_answer_that_is_not_the_declared_one_fails() {
    for fits in [
        r#"{"text":"a"}"#,
        r#"{"text":"a","wait":3,"codes":[1],"one":{"deep":1},"some":[{"deep":1}],"named":{"x":{"deep":1}}}"#,
        r#"{"text":"a","wait":null,"some":[]}"#,
    ] {
        let (_, result) =
            handle(STANDALONE, Operation::Update, "declared", &format!(r#"{{"answer":{fits}}}"#))
                .await;
        assert!(result.is_ok(), "{fits}: {result:?}");
    }
    for (differs, at) in [
        (r#"{}"#, "/text is missing"),
        (r#"{"text":null}"#, "/text is no string"),
        (r#"{"text":1}"#, "/text is no string"),
        (r#"{"text":"a","more":1}"#, "/more"),
        (r#"{"text":"a","wait":"3s"}"#, "/wait is no duration"),
        (r#"{"text":"a","wait":1.5}"#, "/wait is no duration"),
        (r#"{"text":"a","codes":["1"]}"#, "/codes is no list of integers"),
        (r#"{"text":"a","one":{"deep":"1"}}"#, "/one/deep is no integer"),
        (r#"{"text":"a","one":{}}"#, "/one/deep is missing"),
        (r#"{"text":"a","some":[{"deep":1,"x":1}]}"#, "/some/x"),
        (r#"{"text":"a","named":{"n":1}}"#, "/named/n is no object"),
    ] {
        let (_, result) = handle(
            STANDALONE,
            Operation::Update,
            "declared",
            &format!(r#"{{"answer":{differs}}}"#),
        )
        .await;
        let Err(Error::Internal(text)) = result else { panic!("{differs}: {result:?}") };
        assert!(text.ends_with(at), "{differs}: {text}");
    }
    let (_, result) = handle(STANDALONE, Operation::Update, "declared", "{}").await;
    assert!(matches!(result, Err(Error::Internal(_))), "empty wasn't declared: {result:?}");
}

#[test]
fn help_shows_every_path_and_field() {
    let router = Router::<Toy>::default();
    let mount = router.help("").unwrap();
    for path in ["things\n", "things/<name>", "call"] {
        assert!(mount.contains(path), "{mount}");
    }
    let one = router.help("things/x").unwrap();
    for text in ["One thing", "base_url (string)", "Where. Default: nowhere.", "create", "read"] {
        assert!(one.contains(text), "{one}");
    }
    assert!(router.help("nowhere").is_err());
}

#[test]
fn openapi_has_every_path_with_its_operations_and_fields() {
    let document = Router::<Toy>::default().openapi("toy");
    let paths = document["paths"].as_object().unwrap();
    let names: Vec<&str> = paths.keys().map(String::as_str).collect();
    assert_eq!(names, ["/call", "/declared", "/hang", "/things", "/things/{name}"]);
    let thing = &paths["/things/{name}"];
    assert_eq!(thing["parameters"][0]["name"], "name");
    assert_eq!(thing["x-vault-createSupported"], true);
    let body = &thing["post"]["requestBody"]["content"]["application/json"]["schema"]["properties"];
    assert_eq!(body["base_url"]["type"], "string");
    assert!(body["name"].is_null(), "a path parameter is no field of the body");
    assert_eq!(paths["/things"]["get"]["parameters"][0]["name"], "list");
    assert_eq!(paths["/things"]["get"]["operationId"], "toy-list-things");
    let declared = &paths["/declared"]["post"]["responses"];
    assert!(declared["400"].is_object(), "{declared}");
    let schema = &declared["200"]["content"]["application/json"]["schema"];
    assert_eq!(schema["required"], serde_json::json!(["text"]));
    assert_eq!(schema["properties"]["wait"]["type"], "integer");
    assert_eq!(schema["properties"]["some"]["items"]["properties"]["deep"]["type"], "integer");
    let named = &schema["properties"]["named"]["additionalProperties"];
    assert_eq!(named["properties"]["deep"]["type"], "integer");
}

#[test]
fn response_data_never_becomes_a_raw_answer_or_an_error() {
    for key in ["http_status_code", "error"] {
        assert!(Response::data(serde_json::json!({ key: 200 })).is_err());
    }
    assert!(Response::data([1]).is_err());
}
