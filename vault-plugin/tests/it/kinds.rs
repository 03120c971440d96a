//! The auth kinds: where the secret goes, and that nobody else puts anything there.

use serde_json::json;
use vault_sdk::Operation;

use crate::mount::{Mount, refusal};
use crate::proxy::{call, mount};
use crate::upstream::{Seen, Upstream, echo, text};

#[tokio::test]
async fn basic_sends_user_and_password_and_no_form_of_them_comes_back() {
    let upstream = Upstream::start(echo).await;
    let own = json!({ "auth": "basic", "token": null, "username": "kim", "password": "pa:ss" });
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let mut service = json!({ "base_url": upstream.base_url, "ca_cert": upstream.ca });
    service.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
    refusal(mount.write("services/demo", service.clone()).await);
    service.as_object_mut().unwrap().remove("token");
    mount.write("services/demo", service).await.unwrap();
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    assert_eq!(upstream.seen()[0].headers["authorization"], "Basic a2ltOnBhOnNz");
    assert!(!data["body"].as_str().unwrap().contains("a2ltOnBhOnNz"), "{data:?}");
    // A new password keeps the user name.
    mount.write("services/demo", json!({ "password": "another-one" })).await.unwrap();
    call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    assert_eq!(upstream.seen()[1].headers["authorization"], "Basic a2ltOmFub3RoZXItb25l");
    let shown = serde_json::to_string(&mount.read("services/demo").await.unwrap()).unwrap();
    assert!(!shown.contains("another-one") && !shown.contains("kim"), "{shown}");
    for number in 0..10 {
        mount
            .write("services/demo", json!({ "password": format!("password-{number}") }))
            .await
            .unwrap();
    }
    call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
}

#[tokio::test]
async fn a_query_parameter_is_set_by_vault_alone() {
    let upstream = Upstream::start(|seen: &Seen| text("text/plain", seen.target.clone())).await;
    let mount = mount(
        &upstream,
        json!({ "auth": "query_param", "param_name": "api_key", "token": "a b&c=secret" }),
    )
    .await;
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/x", "query": { "q": "1" } })).await;
    assert_eq!(upstream.seen()[0].target, "/api/v3/x?q=1&api_key=a%20b%26c%3Dsecret");
    assert_eq!(data["body"], "/api/v3/x?q=1&api_key=[redacted: credential of \"demo\"]");
    call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    assert_eq!(upstream.seen()[1].target, "/api/v3/x?api_key=a%20b%26c%3Dsecret");
    for name in ["api_key", "API_KEY", "api%5Fkey", "api_key[]", "api-key", "api.key"] {
        let text = refusal(
            mount
                .handle(
                    Operation::Update,
                    "proxy/demo/GET",
                    json!({ "path": "/x", "query": { name: "mine" } }),
                )
                .await,
        );
        assert!(text.starts_with("invalid_request: "), "{name}: {text}");
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_cookie_is_set_by_vault_alone() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(
        &upstream,
        json!({ "auth": "cookie", "cookie_name": "SID", "token": "session-secret-1" }),
    )
    .await;
    call(&mount, "proxy/demo/GET", json!({ "path": "/x" })).await;
    assert_eq!(upstream.seen()[0].headers["cookie"], "SID=session-secret-1");
    refusal(
        mount
            .handle(
                Operation::Update,
                "proxy/demo/GET",
                json!({ "path": "/x", "headers": { "Cookie": "SID=mine" } }),
            )
            .await,
    );
    let text = refusal(mount.write("services/demo", json!({ "cookie_name": "other" })).await);
    assert!(text.starts_with("binding_changed: "), "{text}");
}

#[tokio::test]
async fn a_services_own_headers_are_sent_and_stand_against_the_callers() {
    let upstream = Upstream::start(echo).await;
    let mount = mount(
        &upstream,
        json!({ "headers": { "X-Api-Version": "7", "Accept": "application/vnd.own+json" } }),
    )
    .await;
    let asked = json!({ "path": "/x", "headers": { "accept": "text/html", "prefer": "a" } });
    call(&mount, "proxy/demo/GET", asked).await;
    let headers = upstream.seen()[0].headers.clone();
    assert_eq!(headers["x-api-version"], "7");
    assert_eq!(headers.get_all("accept").iter().collect::<Vec<_>>(), ["application/vnd.own+json"]);
    assert_eq!(headers["prefer"], "a");
    // A credential's place is nobody's to fill.
    for name in ["Authorization", "Cookie"] {
        let own = json!({ "headers": { name: "mine" } });
        refusal(mount.write("services/demo", own).await);
    }
}

#[tokio::test]
async fn a_user_name_moves_no_further_than_its_password() {
    let upstream =
        Upstream::start(|_: &Seen| text("text/plain", "Invalid key: sk_live_0123456789abcdef"))
            .await;
    let mount = Mount::new();
    mount.write("config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.unwrap();
    let service = json!({
        "base_url": upstream.base_url, "ca_cert": upstream.ca, "auth": "basic",
        "username": "sk_live_0123456789abcdef", "password": "unused-password",
    });
    mount.write("services/demo", service).await.unwrap();
    let moved = json!({ "base_url": "https://evil.example", "password": "mine-mine-mine" });
    let text = refusal(mount.write("services/demo", moved).await);
    assert!(text.contains("username is missing"), "{text}");
    // Some upstreams take the key as the user name: one as long as a key isn't shown either.
    let data = call(&mount, "proxy/demo/GET", json!({ "path": "/" })).await;
    assert_eq!(data["body"], "Invalid key: [redacted: credential of \"demo\"]");
}
