//! The confused deputy: who may define services, but not enter secrets, moves no secret anywhere.

use e2e::api::Api;
use e2e::certificates::Authority;
use e2e::upstream::Upstream;
use e2e::world::{World, binding, definition};
use serde_json::{Value, json};

const DEFINER: &str = r#"
path "mcp-proxy/services" { capabilities = ["create", "update", "list"] }
path "mcp-proxy/services/*" { capabilities = ["create", "read", "update", "patch", "delete", "list"] }
path "mcp-proxy/proxy/+" { capabilities = ["update"] }
path "mcp-proxy/proxy/+/+" { capabilities = ["update"] }
"#;

/// A shared credential for `good`, and everything that wants it elsewhere.
struct Scene {
    world: World,
    definer: Api,
    good: Upstream,
    evil: Upstream,
}

impl Scene {
    async fn set() -> Self {
        let world = World::start().await;
        let token = world.secret();
        let good = Upstream::start().await.demanding("authorization", &format!("Bearer {token}"));
        let evil = Upstream::start().await;
        let mut credential = binding(&good);
        credential["auth"] = json!("bearer");
        credential["token"] = json!(token);
        world.root.write("mcp-proxy/credentials/shared", credential).await.ok();
        let definer = world.client(DEFINER).await;
        Self { world, definer, good, evil }
    }

    /// A definition that fits the credential in every part.
    fn fitting(&self) -> Value {
        let mut fields = definition(&self.good);
        fields["auth"] = json!("bearer");
        fields["credential"] = json!("shared");
        fields
    }

    /// Writes and calls; nothing may arrive anywhere.
    async fn attempt(&self, what: &str, fields: Value) {
        let written = self.definer.write("mcp-proxy/services/attempt", fields).await;
        let called = self.call("attempt").await;
        assert!(matches!(written.status, 200 | 204 | 400), "{what}: {}", written.text);
        assert!(matches!(called.status, 400 | 404 | 424), "{what}: {}", called.text);
        assert!(self.good.seen().is_empty(), "{what}: {:?}", self.good.seen());
        assert!(self.evil.seen().is_empty(), "{what}: {:?}", self.evil.seen());
        let _ = self.definer.delete("mcp-proxy/services/attempt").await;
    }

    async fn call(&self, service: &str) -> e2e::api::Answer {
        let path = format!("mcp-proxy/proxy/{service}/POST");
        self.definer.write(&path, json!({ "path": "/headers" })).await
    }

    /// The control: the same credential, where it belongs, works.
    async fn holds(self) {
        self.definer.write("mcp-proxy/services/fits", self.fitting()).await.ok();
        let answer = self.call("fits").await.ok();
        assert_eq!(answer.data()["status"], 200, "{}", answer.text);
        assert_eq!(self.good.seen().len(), 1);
        drop(self.world);
    }
}

#[tokio::test]
async fn by_another_origin() {
    let scene = Scene::set().await;
    let port = scene.good.port();
    for base_url in [
        scene.evil.url(),
        format!("https://localhost:{port}"),
        format!("https://[::1]:{port}"),
        format!("http://127.0.0.1:{port}"),
        format!("https://127.0.0.1:{}", port ^ 1),
        format!("https://127.0.0.1.:{port}"),
        format!("https://good@127.0.0.1:{}", scene.evil.port()),
    ] {
        let mut fields = scene.fitting();
        fields["base_url"] = json!(base_url);
        scene.attempt(&base_url, fields.clone()).await;
        fields["ca_cert"] = json!(scene.evil.ca());
        scene.attempt(&base_url, fields).await;
    }
    scene.holds().await;
}

#[tokio::test]
async fn by_another_placement() {
    let scene = Scene::set().await;
    for (part, changes) in [
        ("header", json!({ "auth": "header", "header_name": "User-Agent" })),
        ("same header, no prefix", json!({ "auth": "header", "header_name": "Authorization" })),
        ("query", json!({ "auth": "query_param", "param_name": "q" })),
        ("cookie", json!({ "auth": "cookie", "cookie_name": "c" })),
        ("basic", json!({ "auth": "basic", "username": "u" })),
        ("prefix", json!({ "auth": "bearer", "prefix": "Token " })),
    ] {
        let mut fields = scene.fitting();
        merge(&mut fields, changes);
        scene.attempt(part, fields).await;
    }
    scene.holds().await;
}

#[tokio::test]
async fn by_weaker_trust() {
    let scene = Scene::set().await;
    // Even where the operator permits danger on this mount, the credential's own binding rules.
    let danger = json!({ "allow_danger": "danger_insecure_tls,danger_allow_plaintext" });
    scene.world.root.write("mcp-proxy/config", danger).await.ok();
    let both = format!("{}{}", scene.good.ca(), scene.evil.ca());
    for (part, changes) in [
        ("another CA", json!({ "ca_cert": scene.evil.ca() })),
        ("one more CA", json!({ "ca_cert": both })),
        ("the public CAs", json!({ "ca_cert": "" })),
        ("another name", json!({ "tls_server_name": "api.example.test" })),
        ("a pin", json!({ "tls_pin_sha256": "00".repeat(32) })),
        ("no verification", json!({ "danger_insecure_tls": true })),
        ("plaintext", {
            let plain = scene.good.url().replace("https", "http");
            json!({ "danger_allow_plaintext": true, "base_url": plain })
        }),
    ] {
        let mut fields = scene.fitting();
        merge(&mut fields, changes);
        scene.attempt(part, fields).await;
    }
    scene.holds().await;
}

#[tokio::test]
async fn by_dialling_another_address() {
    let scene = Scene::set().await;
    // The same port on another address, by a server with a certificate of its own.
    let authority = Authority::new();
    let double = Upstream::start_at([127, 0, 0, 2], scene.good.port(), &authority).await;
    let mut fields = scene.fitting();
    fields["address"] = json!("127.0.0.2");
    scene.attempt("address", fields).await;
    assert!(double.seen().is_empty(), "TLS stands in the way: {:?}", double.seen());
    scene.holds().await;
}

#[tokio::test]
async fn by_changing_a_service_that_fits() {
    let scene = Scene::set().await;
    scene.definer.write("mcp-proxy/services/fits", scene.fitting()).await.ok();
    for changes in [
        json!({ "base_url": scene.evil.url() }),
        json!({ "base_url": scene.evil.url(), "ca_cert": scene.evil.ca() }),
        json!({ "auth": "header", "header_name": "User-Agent" }),
        json!({ "ca_cert": scene.evil.ca() }),
        json!({ "ca_cert": null }),
        json!({ "tls_server_name": "api.example.test" }),
    ] {
        let path = "mcp-proxy/services/fits";
        let written = scene.definer.write(path, changes.clone()).await;
        written.refused(400, "binding_changed");
        // PATCH is the same write under another name, if it is there at all.
        let patched = scene.definer.send("PATCH", path, Some(&changes)).await.unwrap();
        assert!(patched.status >= 400, "{changes}: {}", patched.text);
    }
    assert!(scene.good.seen().is_empty() && scene.evil.seen().is_empty());
    scene.holds().await;
}

#[tokio::test]
async fn by_a_service_of_the_credentials_name() {
    let scene = Scene::set().await;
    let before = scene.world.root.read("mcp-proxy/credentials/shared").await.ok();
    for changes in [
        json!({ "base_url": scene.evil.url(), "ca_cert": scene.evil.ca(), "auth": "bearer" }),
        json!({ "base_url": scene.evil.url(), "ca_cert": scene.evil.ca(), "auth": "bearer",
                "token": "the-attackers-own" }),
        json!({ "base_url": scene.good.url(), "ca_cert": scene.good.ca(), "auth": "bearer",
                "token": "the-attackers-own" }),
    ] {
        let _ = scene.definer.write("mcp-proxy/services/shared", changes).await;
        let _ = scene.call("shared").await;
        assert!(scene.good.seen().is_empty() && scene.evil.seen().is_empty());
        let _ = scene.definer.delete("mcp-proxy/services/shared").await;
    }
    let after = scene.world.root.read("mcp-proxy/credentials/shared").await.ok();
    assert_eq!(before.data(), after.data(), "neither replaced nor deleted");
    scene.holds().await;
}

#[tokio::test]
async fn by_taking_over_a_services_own_credential() {
    let scene = Scene::set().await;
    let (own, _) = scene.world.service("own").await;
    let path = "mcp-proxy/services/own";
    let theft = json!({ "base_url": scene.evil.url(), "ca_cert": scene.evil.ca() });
    scene.definer.write(path, theft.clone()).await.refused(400, "binding_changed");

    // Another service that names it; one that is made anew under the same name.
    let mut fields = theft.clone();
    merge(&mut fields, json!({ "auth": "bearer", "credential": "own" }));
    scene.attempt("by its name", fields).await;
    scene.definer.delete(path).await.ok();
    let mut fields = theft;
    fields["auth"] = json!("bearer");
    let _ = scene.definer.write(path, fields).await;
    let called = scene.call("own").await;
    assert!(matches!(called.status, 400 | 404), "{}", called.text);
    assert!(own.seen().is_empty() && scene.evil.seen().is_empty());
    scene.holds().await;
}

#[tokio::test]
async fn by_a_redirect_of_the_upstream() {
    let scene = Scene::set().await;
    scene.definer.write("mcp-proxy/services/fits", scene.fitting()).await.ok();
    let evil = scene.evil.url();
    let same_origin = scene.good.url();
    for location in
        [&evil, &evil.replace("https:", ""), &evil.replace("https", "http"), &same_origin]
    {
        scene.good.redirect_to(location);
        for status in [301, 302, 303, 307, 308] {
            let call = json!({ "path": format!("/redirect/{status}") });
            let answer = scene.definer.write("mcp-proxy/proxy/fits/POST", call).await.ok();
            assert_eq!(answer.data()["status"], status, "{}", answer.text);
        }
    }
    assert_eq!(scene.evil.connections(), 0);
    assert_eq!(scene.good.seen().len(), 20, "none was followed, on the same origin neither");
}

fn merge(fields: &mut Value, changes: Value) {
    let changes = changes.as_object().unwrap().clone();
    fields.as_object_mut().unwrap().extend(changes);
}
