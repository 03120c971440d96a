//! Values as people type them, and each operation as Vault's own engines have it.

use std::process::Output;

use e2e::api::Api;
use e2e::cli;
use e2e::upstream::Upstream;
use e2e::world::{World, definition};
use serde_json::{Value, json};

const DEMO: &str = "mcp-proxy/services/demo";

#[tokio::test]
async fn every_type_is_taken_as_people_type_it() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        format!("@{}", path.display())
    };
    let rules = file("rules", "allow GET /a\nallow GET,HEAD /b\n");
    let usage = file("usage", "Two lines,\nwith = and @.\n");
    let object = file("all.json", r#"{"max_in_flight":7,"headers":{"x-a":"1, 2","x-b":"y"}}"#);
    let ca = file("ca.pem", upstream.ca());
    // What is typed after `vault write mcp-proxy/services/demo`, a field, and what it then is.
    for (typed, field, value) in [
        (vec!["timeout=20"], "timeout", json!(20)),
        (vec!["timeout=21s"], "timeout", json!(21)),
        (vec!["timeout=0h0m22s"], "timeout", json!(22)),
        (vec!["timeout=0.5m"], "timeout", json!(30)),
        (vec!["timeout=1m"], "timeout", json!(60)),
        (vec!["timeout="], "timeout", json!(30)),
        (vec!["max_in_flight=5"], "max_in_flight", json!(5)),
        (vec!["send_request_id=false"], "send_request_id", json!(false)),
        (vec!["send_request_id=1"], "send_request_id", json!(true)),
        (vec!["send_request_id=F"], "send_request_id", json!(false)),
        (vec!["safe_methods=GET,POST"], "safe_methods", json!(["GET", "POST"])),
        (vec!["safe_methods=GET", "safe_methods=PUT"], "safe_methods", json!(["GET", "PUT"])),
        (vec![r#"safe_methods=["HEAD","PUT"]"#], "safe_methods", json!(["HEAD", "PUT"])),
        (vec!["probe_status=200,204"], "probe_status", json!([200, 204])),
        (vec!["probe_status=[201]"], "probe_status", json!([201])),
        (
            vec!["rules=allow GET,HEAD /c, deny * /d"],
            "rules",
            json!(["allow GET,HEAD /c", "deny * /d"]),
        ),
        (vec![&*format!("rules={rules}")], "rules", json!(["allow GET /a", "allow GET,HEAD /b"])),
        (vec!["headers=x-a=b"], "headers", json!({ "x-a": "b" })),
        (vec!["headers=x-a=b=,c"], "headers", json!({ "x-a": "b=,c" })),
        (vec!["headers=x-a=1", "headers=x-b=2"], "headers", json!({ "x-a": "1", "x-b": "2" })),
        (vec![r#"headers={"x-a":"b,C=d"}"#], "headers", json!({ "x-a": "b,C=d" })),
        (vec![&*format!("usage={usage}")], "usage", json!("Two lines,\nwith = and @.\n")),
        (vec![&*format!("ca_cert={ca}")], "ca_cert", json!(upstream.ca())),
        (vec![&*object], "headers", json!({ "x-a": "1, 2", "x-b": "y" })),
        (vec![&*object], "max_in_flight", json!(7)),
    ] {
        let mut words = vec!["write", DEMO];
        words.extend(&typed);
        let output = cli::run(&world.root, &words).await;
        assert!(output.status.success(), "{typed:?}: {}", said(&output));
        let read = world.root.read(DEMO).await.ok();
        assert_eq!(read.data()[field], value, "{typed:?}");
    }
    // As JSON, by whoever doesn't use the command line.
    for (timeout, seconds) in [(json!(41), 41), (json!("42"), 42), (json!("43s"), 43)] {
        world.root.write(DEMO, json!({ "timeout": timeout })).await.ok();
        assert_eq!(world.root.read(DEMO).await.ok().data()["timeout"], seconds, "{timeout}");
    }
    for typed in ["timeout=soon", "timeout=1500ms", "timeout=-3s", "max_in_flight=1.5"]
        .into_iter()
        .chain(["send_request_id=maybe", "probe_status=2xx", "headers=x-a", "safe_methods={}"])
    {
        let output = cli::run(&world.root, &["write", DEMO, typed]).await;
        assert!(said(&output).contains("invalid_request: "), "{typed}: {}", said(&output));
    }
}

#[tokio::test]
async fn two_pairs_in_one_value_are_not_taken_for_one() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    for field in ["headers", "custom_metadata"] {
        let before = world.root.read(DEMO).await.ok();
        let pairs = format!("{field}=A=b,C=d");
        let output = cli::run(&world.root, &["write", DEMO, &pairs]).await;
        let text = said(&output);
        assert!(!output.status.success() && text.contains(field), "{text}");
        for spelling in [format!("{field}=A=b {field}=C=d"), r#"{"A":"b","C":"d"}"#.to_owned()] {
            assert!(text.contains(&spelling), "{spelling} isn't in: {text}");
        }
        assert_eq!(world.root.read(DEMO).await.ok().data(), before.data());
        // Both of the spellings that it names do what they say.
        let repeated = [format!("{field}=A=b"), format!("{field}=C=d")];
        run(&world.root, &["write", DEMO, &repeated[0], &repeated[1]]).await;
        let wanted = json!({ "A": "b", "C": "d" });
        assert_eq!(lower(&world.root.read(DEMO).await.ok().data()[field]), lower(&wanted));
        run(&world.root, &["write", DEMO, &format!("{field}={wanted}")]).await;
        assert_eq!(lower(&world.root.read(DEMO).await.ok().data()[field]), lower(&wanted));
    }
}

#[tokio::test]
async fn nested_values_of_a_call_are_json_text_on_the_command_line() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let path = "mcp-proxy/proxy/demo/POST";
    let typed = [r#"query={"a":["1","2"],"b":"x y"}"#, "headers=accept=text/plain", "path=/a"];
    let body = r#"json={"n":9007199254740993}"#;
    run(&world.root, &["write", path, typed[0], typed[1], typed[2], body]).await;
    let seen = upstream.only();
    assert_eq!(seen.target, "/a?a=1&a=2&b=x%20y");
    assert_eq!(seen.header("accept"), Some("text/plain"));
    assert_eq!(seen.body, br#"{"n":9007199254740993}"#);
}

#[tokio::test]
async fn a_create_by_the_name_in_the_body_is_a_create_for_policies() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let one = |capability: &str| {
        format!("path \"mcp-proxy/services\" {{ capabilities = [\"{capability}\"] }}")
    };
    let (creator, updater) =
        (world.client(&one("create")).await, world.client(&one("update")).await);
    let named = |name: &str| {
        let mut fields = definition(&upstream);
        fields["name"] = json!(name);
        fields
    };
    assert_eq!(updater.write("mcp-proxy/services", named("new")).await.status, 403);
    creator.write("mcp-proxy/services", named("new")).await.ok();
    // It exists now: an update, which the one may not, and which creates nothing for the other.
    assert_eq!(creator.write("mcp-proxy/services", named("new")).await.status, 403);
    updater.write("mcp-proxy/services", named("new")).await.refused(400, "invalid_request");
    creator.write("mcp-proxy/services", json!({})).await.refused(400, "invalid_request");
    let shared = world.client(r#"path "mcp-proxy/credentials/*" { capabilities = ["create"] }"#);
    let shared = shared.await;
    let secret = world.secret();
    let fields = json!({ "origin": "https://a.example", "auth": "bearer", "token": secret });
    shared.write("mcp-proxy/credentials/new", fields.clone()).await.ok();
    assert_eq!(shared.write("mcp-proxy/credentials/new", fields).await.status, 403);
}

#[tokio::test]
async fn a_patch_is_a_merge_patch() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    let api = &world.root;
    let fields = json!({ "custom_metadata": { "team": "a", "tier": "1" }, "timeout": 10 });
    api.write(DEMO, fields).await.ok();
    let patch = json!({
        "custom_metadata": { "team": null, "tier": "2", "owner": "b" },
        "timeout": null,
        "description": "Patched",
    });
    let before = api.read(DEMO).await.ok();
    let output = cli::run_line(api, &format!("vault patch {DEMO} -"), &patch.to_string()).await;
    assert!(output.status.success(), "{}", said(&output));
    let mut wanted = before.data().clone();
    wanted["custom_metadata"] = json!({ "tier": "2", "owner": "b" });
    wanted["timeout"] = json!(30);
    wanted["description"] = json!("Patched");
    let mut after = api.read(DEMO).await.ok().data().clone();
    assert_eq!(after["version"].as_u64(), before.data()["version"].as_u64().map(|v| v + 1));
    for counted in ["version", "updated_time"] {
        after[counted] = before.data()[counted].clone();
    }
    assert_eq!(after, wanted);

    // On the command line too, one pair at a time.
    run(api, &["patch", DEMO, "custom_metadata=seat=4", "cas=3"]).await;
    let metadata = api.read(DEMO).await.ok().data()["custom_metadata"].clone();
    assert_eq!(metadata, json!({ "tier": "2", "owner": "b", "seat": "4" }));
    // Its own capability, nothing for what isn't there, and no guess at another content type.
    let client = world
        .client(r#"path "mcp-proxy/services/*" { capabilities = ["create", "update"] }"#)
        .await;
    let refused = cli::run(&client, &["patch", DEMO, "timeout=3"]).await;
    assert!(said(&refused).contains("Code: 403"), "{}", said(&refused));
    let client = world.client(r#"path "mcp-proxy/services/*" { capabilities = ["patch"] }"#).await;
    run(&client, &["patch", DEMO, "timeout=3"]).await;
    let missing = cli::run(&client, &["patch", "mcp-proxy/services/none", "timeout=3"]).await;
    assert!(said(&missing).contains("unknown_service: "), "{}", said(&missing));
    let stale = cli::run(&client, &["patch", DEMO, "timeout=3", "cas=1"]).await;
    assert!(said(&stale).contains("check_and_set_failed: "), "{}", said(&stale));
    let other = client.send("PATCH", DEMO, Some(&json!({ "timeout": 4 }))).await.unwrap();
    assert_eq!(other.status, 415, "{}", other.text);
    assert_eq!(api.read(DEMO).await.ok().data()["timeout"], 3);
}

#[tokio::test]
async fn lists_come_in_pages_and_with_detail() {
    let world = World::start().await;
    let upstream = Upstream::start().await;
    let api = &world.root;
    for path in ["services", "credentials"] {
        assert_eq!(api.list(&format!("mcp-proxy/{path}")).await.status, 404, "{path}");
    }
    for name in ["alpha", "beta", "gamma", "omega"] {
        let mut fields = definition(&upstream);
        fields["description"] = json!(format!("The {name}"));
        fields["auth"] = json!("bearer");
        fields["token"] = json!(world.secret());
        api.write(&format!("mcp-proxy/services/{name}"), fields).await.ok();
    }
    for path in ["services", "credentials"] {
        for (query, wanted) in [
            ("", vec!["alpha", "beta", "gamma", "omega"]),
            ("?limit=2", vec!["alpha", "beta"]),
            ("?after=beta&limit=1", vec!["gamma"]),
            ("?after=between", vec!["gamma", "omega"]),
            ("?limit=-1", vec!["alpha", "beta", "gamma", "omega"]),
            ("?after=omega", vec![]),
        ] {
            let listed = api.list(&format!("mcp-proxy/{path}{query}")).await;
            assert_eq!(listed.keys(), wanted, "{path}{query}");
            assert_eq!(listed.status, if wanted.is_empty() { 404 } else { 200 });
            // The same as a GET, and no detail but of the page.
            let query = query.replace('?', "&");
            let got = api.read(&format!("mcp-proxy/{path}?list=true{query}")).await;
            assert_eq!(got.keys(), wanted, "{path}{query}");
            if path == "services" && !wanted.is_empty() {
                let detail = got.data()["key_info"].as_object().unwrap();
                assert_eq!(detail.keys().collect::<Vec<_>>(), wanted);
            }
        }
    }
    let refused = api.list("mcp-proxy/services?limit=few").await;
    refused.refused(400, "invalid_request");
    let pages = ["list", "-format=json", "-after=alpha", "-limit=2", "mcp-proxy/services"];
    let page: Value = serde_json::from_slice(&run(api, &pages).await.stdout).unwrap();
    assert_eq!(page, json!(["beta", "gamma"]));
    let table = run(api, &["list", "-detailed", "mcp-proxy/services"]).await;
    assert!(said(&table).contains("The gamma"), "{}", said(&table));
}

#[tokio::test]
async fn nothing_there_nothing_to_say_and_warnings() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    let api = &world.root;
    for path in ["services/none", "credentials/none", "credentials/none/versions", "nothing"] {
        assert_eq!(api.read(&format!("mcp-proxy/{path}")).await.status, 404, "{path}");
    }
    api.read("mcp-proxy/catalog/none").await.refused(404, "unknown_service");
    let silent = api.write("mcp-proxy/config", json!({ "pause_reason": "a drill" })).await;
    assert_eq!((silent.status, &*silent.text), (204, ""));
    for path in ["services/none", "credentials/none", "services/demo", "services/demo"] {
        let deleted = api.delete(&format!("mcp-proxy/{path}")).await;
        assert_eq!((deleted.status, &*deleted.text), (204, ""), "{path}");
    }
    let danger = ["write", "mcp-proxy/config", "allow_danger=danger_insecure_tls"];
    let output = run(api, &danger).await;
    assert!(said(&output).contains("services may now set danger_insecure_tls"), "{output:?}");
    // A name with a slash at its end is a list's, and no policy for the one says anything of it.
    assert!(matches!(api.read("mcp-proxy/services/demo/").await.status, 404 | 405));
}

#[tokio::test]
async fn any_answer_can_be_wrapped() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    let api = &world.root;
    for words in [vec!["read", DEMO], vec!["write", DEMO, "description=Of the demo"]] {
        let flags = ["-format=json", "-wrap-ttl=60s"];
        let wrapped = run(api, &[&words[..1], &flags, &words[1..]].concat()).await;
        let wrapped: Value = serde_json::from_slice(&wrapped.stdout).unwrap();
        assert!(wrapped["data"].is_null(), "{wrapped}");
        let token = wrapped["wrap_info"]["token"].as_str().unwrap();
        let wrapping = api.with_token(token);
        let answer = wrapping.write("sys/wrapping/unwrap", json!({})).await.ok();
        assert!(answer.data()["version"].is_number(), "{}", answer.text);
        let again = wrapping.write("sys/wrapping/unwrap", json!({})).await;
        assert!(matches!(again.status, 400 | 403), "once: {}", again.text);
    }
}

#[tokio::test]
async fn check_and_set_is_spelt_as_in_kv_too() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    let api = &world.root;
    let secret = world.secret();
    let shared = "mcp-proxy/credentials/shared";
    let bound = json!({
        "origin": "https://a.example", "auth": "bearer", "token": secret, "options": { "cas": 0 },
    });
    api.write(shared, bound.clone()).await.ok();
    api.write(shared, bound).await.refused(400, "check_and_set_failed");
    for (cas, taken) in [
        (json!({ "options": { "cas": 7 } }), false),
        (json!({ "options": { "cas": 1 } }), true),
        (json!({ "options": r#"{"cas":1}"# }), false),
        (json!({ "options": r#"{"cas":"2"}"# }), true),
        (json!({ "cas": "3", "options": { "cas": 3 } }), true),
        (json!({ "cas": 4 }), true),
    ] {
        let mut fields = cas.clone();
        fields["description"] = json!(format!("after {cas}"));
        let answer = api.write(DEMO, fields).await;
        if taken {
            answer.ok();
        } else {
            answer.refused(400, "check_and_set_failed");
        }
    }
    for options in [json!({ "csa": 5 }), json!("cas=5"), json!({ "cas": "soon" })] {
        let answer = api.write(DEMO, json!({ "options": options, "timeout": 3 })).await;
        answer.refused(400, "invalid_request");
    }
    let both = json!({ "cas": 5, "options": { "cas": 6 }, "timeout": 3 });
    api.write(DEMO, both).await.refused(400, "invalid_request");
    assert_eq!(api.read(DEMO).await.ok().data()["version"], 5);
    // A delete takes it in its query.
    for (path, version) in [(DEMO, 5), (shared, 1)] {
        api.delete(&format!("{path}?cas=9")).await.refused(400, "check_and_set_failed");
        api.read(path).await.ok();
        let cas = format!("cas={version}");
        run(api, &["delete", path, &cas]).await;
        assert_eq!(api.read(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_sealed_server_answers_for_itself_and_comes_back_as_it_was() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    let before = world.root.read(DEMO).await.ok();
    world.server.seal().await;
    for (method, path) in
        [("GET", DEMO), ("POST", DEMO), ("LIST", "mcp-proxy/services"), ("DELETE", DEMO)]
    {
        let body = (method == "POST").then(|| json!({ "timeout": 3 }));
        let answer = world.root.send(method, path, body.as_ref()).await.unwrap();
        assert_eq!(answer.status, 503, "{method} {path}: {}", answer.text);
    }
    world.server.unseal().await;
    assert_eq!(world.root.read(DEMO).await.ok().data(), before.data());
}

async fn run(api: &Api, words: &[&str]) -> Output {
    let output = cli::run(api, words).await;
    assert!(output.status.success(), "{words:?}: {}", said(&output));
    output
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.clone(), output.stderr.clone()].concat()).into_owned()
}

fn lower(value: &Value) -> String {
    value.to_string().to_lowercase()
}
