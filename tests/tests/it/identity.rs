//! Whoever the token is: kinds of tokens, ids in the body, a token that is revoked between two calls.

use e2e::world::World;
use serde_json::json;

const RULES: &str = r#"path "mcp-proxy/proxy/demo/GET" { capabilities = ["update"] }"#;

#[tokio::test]
async fn every_kind_of_token_calls_by_its_policy_alone() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let api = &world.root;
    api.write("sys/policies/acl/caller", json!({ "policy": RULES })).await.ok();
    let call = json!({ "path": "/a" });
    for kind in ["service", "batch"] {
        // Made by root directly: a token without an entity.
        let wish = json!({ "type": kind, "policies": ["caller"], "ttl": "10m" });
        let made = api.write("auth/token/create", wish).await.ok();
        let token = made.body["auth"]["client_token"].as_str().unwrap();
        let caller = api.with_token(token);
        assert_eq!(
            caller.write("mcp-proxy/proxy/demo/GET", call.clone()).await.ok().data()["status"],
            200
        );
        assert_eq!(caller.write("mcp-proxy/proxy/demo/POST", call.clone()).await.status, 403);
        assert_eq!(caller.write("mcp-proxy/proxy/other/GET", call.clone()).await.status, 403);
    }
    assert_eq!(upstream.seen().len(), 2);
}

#[tokio::test]
async fn a_token_revoked_between_two_calls_makes_no_second_one() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let caller = world.client(RULES).await;
    let call = json!({ "path": "/a" });
    caller.write("mcp-proxy/proxy/demo/GET", call.clone()).await.ok();
    world.root.write("auth/token/revoke", json!({ "token": caller.token() })).await.ok();
    assert_eq!(caller.write("mcp-proxy/proxy/demo/GET", call).await.status, 403);
    assert_eq!(upstream.seen().len(), 1);
}

#[tokio::test]
async fn ids_in_the_body_are_nobodys() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    let caller = world.client(RULES).await;
    for field in ["entity_id", "caller", "client_token", "display_name", "mount_point"] {
        let call = json!({ "path": "/a", field: "somebody-else" });
        let answer = caller.write("mcp-proxy/proxy/demo/GET", call).await;
        answer.refused(400, "invalid_request");
    }
    assert!(upstream.seen().is_empty());
}
