//! A dry run says what a call does: the same URL, the same verdict.

use proptest::prelude::*;
use serde_json::{Value, json};
use vault_sdk::Operation;

use crate::mount::Mount;
use crate::upstream::{Upstream, echo};

const SECRET: &str = "explained-s3cret";

async fn mount(upstream: &Upstream) -> Mount {
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let service = json!({
        "base_url": format!("{}/api", upstream.base_url), "ca_cert": upstream.ca,
        "auth": "header", "header_name": "X-Api-Key", "token": SECRET,
        "rules": "deny * /b/**, allow GET /**, allow POST /c*?dry=1",
    });
    mount.write("services/demo", service).await.unwrap();
    mount
}

async fn explain(mount: &Mount, data: Value) -> serde_json::Map<String, Value> {
    let answer = mount.handle(Operation::Update, "explain/demo", data).await.unwrap();
    answer.as_data().unwrap().clone()
}

#[tokio::test]
async fn it_shows_all_but_the_secret_and_sends_nothing() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(&upstream).await;
    let shown = explain(&mount, json!({ "path": "/%61/x", "query": { "q": "1 2" } })).await;
    assert_eq!(shown["verdict"], "allowed");
    assert_eq!(shown["url"], format!("{}/api/a/x?q=1%202", upstream.base_url));
    assert_eq!(shown["path"], "/a/x");
    assert_eq!(shown["rule"], "allow GET /**");
    assert_eq!(
        shown["credential"],
        json!({ "name": "demo", "version": 1, "auth": "header", "header_name": "x-api-key" })
    );
    assert_eq!(shown["address_class"], json!(["loopback"]));
    let shown = explain(&mount, json!({ "path": "/b/x" })).await;
    assert_eq!((&shown["verdict"], &shown["code"]), (&json!("refused"), &json!("denied_by_rule")));
    let shown = explain(&mount, json!({ "path": "/../x" })).await;
    assert_eq!((&shown["verdict"], &shown["code"]), (&json!("refused"), &json!("invalid_request")));
    mount.write("config", json!({ "upstream_cidrs": "" })).await.unwrap();
    let shown = explain(&mount, json!({ "path": "/a" })).await;
    assert_eq!(
        (&shown["verdict"], &shown["code"]),
        (&json!("refused"), &json!("address_forbidden"))
    );
    assert!(upstream.seen().is_empty());
    assert!(!format!("{shown:?}").contains(SECRET));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Whatever is asked: what the upstream saw is what the dry run said, or neither happens.
    #[test]
    fn its_url_and_verdict_are_those_of_the_call(
        path in "(/(a|b|c|%62|%2e%2e|\\.|x%20y|;p|c:d|é|%C3%A9)){0,4}/?",
        query in proptest::collection::vec(("[a-c]|dry", "[0-2 &=]{0,3}"), 0..3),
        post in any::<bool>(),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let upstream = Upstream::start(echo).await;
            let mount = mount(&upstream).await;
            let method = if post { "POST" } else { "GET" };
            let query: serde_json::Map<String, Value> =
                query.into_iter().map(|(name, value)| (name, value.into())).collect();
            let data = json!({ "path": path, "query": query });
            let mut asked = data.clone();
            asked["method"] = json!(method);
            let shown = explain(&mount, asked).await;
            let called = mount.handle(Operation::Update, &format!("proxy/demo/{method}"), data).await;
            let seen = upstream.seen();
            match (shown["verdict"].as_str(), called) {
                (Some("allowed"), Ok(answer)) => {
                    let url = format!("{}{}", upstream.base_url, seen[0].target);
                    assert_eq!(shown["url"], url);
                    assert_eq!(shown["rule"], answer.as_data().unwrap()["rule"]);
                }
                (Some("refused"), Err(error)) => {
                    assert!(seen.is_empty());
                    assert!(error.to_string().starts_with(shown["code"].as_str().unwrap()));
                }
                other => panic!("they differ: {other:?}"),
            }
        });
    }
}
