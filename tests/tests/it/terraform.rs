//! What Terraform does with an engine that it knows nothing of: writes, reads back, compares.

use std::collections::HashMap;

use e2e::api::Api;
use e2e::world::World;
use serde_json::{Map, Value, json};

/// A `vault_generic_endpoint`, as far as the engine sees one.
#[derive(Debug)]
struct Endpoint {
    path: String,
    ignore_absent_fields: bool,
    disable_read: bool,
    write_fields: Vec<String>,
    data: Map<String, Value>,
}

impl Endpoint {
    /// Writes `data_json`; what `write_fields` takes of the answer.
    async fn apply(&self, api: &Api) -> Map<String, Value> {
        let answer = api.write(&self.path, self.data.clone().into()).await.ok();
        let written = answer.data().as_object().cloned().unwrap_or_default();
        written.into_iter().filter(|(name, _)| self.write_fields.contains(name)).collect()
    }

    /// What the state holds after a refresh; Terraform plans a change where it isn't what is wanted.
    async fn refreshed(&self, api: &Api) -> Map<String, Value> {
        if self.disable_read {
            return self.data.clone();
        }
        let read = api.read(&self.path).await.ok();
        let read = read.data().as_object().unwrap().clone();
        if !self.ignore_absent_fields {
            return read;
        }
        let kept = |name: &String, wanted: &Value| read.get(name).unwrap_or(wanted).clone();
        self.data.iter().map(|(name, wanted)| (name.clone(), kept(name, wanted))).collect()
    }
}

#[tokio::test]
async fn the_shipped_example_is_applied_and_then_at_rest() {
    let world = World::start().await;
    let api = &world.root;
    let endpoints = shipped(&[
        ("vault_mount.apis.path", "mcp-proxy"),
        ("var.github_token", &world.secret()),
        ("var.weather_key", &world.secret()),
    ]);
    assert_eq!(endpoints.len(), 4, "{endpoints:?}");
    for endpoint in &endpoints {
        let written = endpoint.apply(api).await;
        assert_eq!(written.len(), endpoint.write_fields.len(), "{}", endpoint.path);
    }
    let mut states = HashMap::new();
    for endpoint in &endpoints {
        assert_eq!(endpoint.refreshed(api).await, endpoint.data, "{}: a difference", endpoint.path);
        states.insert(&endpoint.path, api.read(&endpoint.path).await.ok().body);
    }
    let revision = revision(api).await;
    // Applied once more: who writes no secret changes nothing.
    for endpoint in endpoints.iter().filter(|endpoint| !endpoint.data.contains_key("token")) {
        endpoint.apply(api).await;
        let after = api.read(&endpoint.path).await.ok().body;
        assert_eq!(after["data"], states[&endpoint.path]["data"], "{}", endpoint.path);
    }
    assert_eq!(self::revision(api).await, revision, "nothing was stored");
    // A change by somebody else is seen, and set right by the next apply.
    let github = endpoints.iter().find(|endpoint| endpoint.path.ends_with("github-api")).unwrap();
    api.write(&github.path, json!({ "timeout": 7, "usage": "Not Terraform's." })).await.ok();
    assert_eq!(github.refreshed(api).await["timeout"], 7);
    github.apply(api).await;
    assert_eq!(github.refreshed(api).await, github.data);
    assert_eq!(api.read(&github.path).await.ok().data()["usage"], "Not Terraform's.");
    // Destroyed in the other order.
    for endpoint in endpoints.iter().rev().filter(|endpoint| !endpoint.path.ends_with("config")) {
        api.delete(&endpoint.path).await.ok();
        assert_eq!(api.read(&endpoint.path).await.status, 404, "{}", endpoint.path);
    }
}

#[tokio::test]
async fn what_is_read_is_written_back_and_changes_nothing() {
    let world = World::start().await;
    let api = &world.root;
    let config = "mcp-proxy/config";
    api.write(config, json!({ "allow_danger": "danger_insecure_tls,danger_allow_plaintext" }))
        .await
        .ok();
    let upstream = e2e::upstream::Upstream::start().await;
    let shared = "mcp-proxy/credentials/shared";
    let bound = json!({
        "origin": upstream.url(), "ca_cert": upstream.ca(), "auth": "header",
        "header_name": "X-Key", "prefix": "Key ", "tls_server_name": "upstream.example",
        "token": world.secret(),
    });
    api.write(shared, bound).await.ok();
    let appliance = "mcp-proxy/credentials/appliance";
    let bound = json!({
        "origin": "https://127.0.0.1:8443", "auth": "basic", "address": "127.0.0.1",
        "danger_insecure_tls": true, "username": "admin-of-it", "password": world.secret(),
    });
    api.write(appliance, bound).await.ok();
    let mut paths = vec![config.to_owned(), shared.to_owned(), appliance.to_owned()];
    for (name, fields) in services(&world, &upstream) {
        let path = format!("mcp-proxy/services/{name}");
        api.write(&path, fields).await.ok();
        paths.push(path);
    }
    let revision = revision(api).await;
    for path in &paths {
        let before = api.read(path).await.ok();
        let written = api.write(path, before.data().clone()).await.ok();
        let after = api.read(path).await.ok();
        assert_eq!(after.data(), before.data(), "{path}");
        // A part of it as well, and as the command line sends it: every value a text.
        for (name, value) in before.data().as_object().unwrap() {
            api.write(path, with_its_company(before.data(), name, value.clone())).await.ok();
            if let Value::Number(_) | Value::Bool(_) | Value::Object(_) | Value::Array(_) = value {
                let text = Value::String(value.to_string());
                api.write(path, with_its_company(before.data(), name, text)).await.ok();
            }
        }
        assert_eq!(api.read(path).await.ok().data(), before.data(), "{path}");
        assert_eq!(written.data()["credential_version"], Value::Null, "{path}: {}", written.text);
    }
    assert_eq!(self::revision(api).await, revision, "nothing was stored");
    // What isn't the same is a change still.
    for path in paths.iter().filter(|path| path.contains("services/")) {
        let before = api.read(path).await.ok();
        let mut changed = before.data().clone();
        changed["timeout"] = json!(11);
        api.write(path, changed).await.ok();
        let after = api.read(path).await.ok();
        assert_eq!(after.data()["timeout"], 11, "{path}");
        assert_eq!(
            after.data()["version"].as_u64(),
            before.data()["version"].as_u64().map(|version| version + 1),
            "{path}"
        );
    }
    let mut moved = api.read(shared).await.ok().data().clone();
    moved["ca_sha256"] = json!("00".repeat(32));
    api.write(shared, moved).await.refused(400, "binding_changed");
}

/// Services that set every field at least once, with and without credentials.
fn services(world: &World, upstream: &e2e::upstream::Upstream) -> Vec<(&'static str, Value)> {
    vec![
        ("plain", json!({ "base_url": "https://a.example" })),
        ("none", json!({ "base_url": "https://a.example/v1/", "auth": "none", "enabled": false })),
        (
            "own",
            json!({ "base_url": "https://a.example", "auth": "bearer", "token": world.secret() }),
        ),
        ("later", json!({ "base_url": "https://a.example", "auth": "basic" })),
        (
            "cookie",
            json!({
                "base_url": "https://a.example", "auth": "cookie", "cookie_name": "sid",
                "token": world.secret(), "safe_methods": [], "probe_method": "HEAD",
                "probe_path": "/me", "probe_status": "200,204", "send_request_id": false,
            }),
        ),
        (
            "shared-one",
            json!({
                "base_url": format!("{}/v2", upstream.url()), "auth": "header",
                "header_name": "X-Key", "prefix": "Key ", "credential": "shared",
                "ca_cert": upstream.ca(), "tls_server_name": "upstream.example",
                "description": "With everything", "usage": "Two\nlines",
                "rules": "allow GET /a, deny * /b", "safe_methods": "GET,POST",
                "headers": { "Accept": "a/b, c/d", "x-two": "2" },
                "allowed_request_headers": "x-a,x-b", "allowed_response_headers": ["x-c"],
                "allow_encoded_slash": true, "allow_path_params": "true", "timeout": "45s",
                "max_request_bytes": "2048", "max_response_bytes": 4096, "max_in_flight": 3,
                "upstream_cidrs": "127.0.0.0/8", "custom_metadata": { "team": "a" },
            }),
        ),
        (
            "appliance-one",
            json!({
                "base_url": "https://127.0.0.1:8443", "auth": "basic", "credential": "appliance",
                "address": "127.0.0.1", "danger_insecure_tls": true,
                "tls_pin_sha256": "",
            }),
        ),
        (
            "in-clear",
            json!({
                "base_url": "http://127.0.0.1:8080", "danger_allow_plaintext": true,
                "auth": "query_param", "param_name": "key", "token": world.secret(),
            }),
        ),
    ]
}

/// One field as a write of it alone needs it: a binding is written as a whole.
fn with_its_company(all: &Value, name: &str, value: Value) -> Value {
    let mut fields = if all["origin"].is_null() { json!({}) } else { all.clone() };
    fields[name] = value;
    fields
}

async fn revision(api: &Api) -> Value {
    api.read("mcp-proxy/catalog").await.ok().data()["revision"].clone()
}

/// The endpoints in the example, in its order, with its references replaced.
fn shipped(references: &[(&str, &str)]) -> Vec<Endpoint> {
    let file = e2e::programs::root().join("hcl/terraform.tf");
    let mut text = std::fs::read_to_string(file).unwrap();
    for (name, value) in references {
        text = text.replace(&format!("${{{name}}}"), value);
    }
    let blocks = text.split("resource \"vault_generic_endpoint\"").skip(1);
    let blocks = blocks.map(|block| block.split("\n}\n").next().unwrap());
    blocks
        .map(|block| {
            let value = |name: &str| {
                let line = block.lines().find(|line| line.trim_start().starts_with(name))?;
                line.split_once('=').map(|(_, value)| value.trim().to_owned())
            };
            let list = value("write_fields").unwrap_or_else(|| "[]".to_owned());
            let json = block.split("<<-JSON").nth(1).unwrap().split("\n  JSON").next().unwrap();
            Endpoint {
                path: value("path ").unwrap().trim_matches('"').to_owned(),
                ignore_absent_fields: value("ignore_absent_fields").as_deref() == Some("true"),
                disable_read: value("disable_read").as_deref() == Some("true"),
                write_fields: serde_json::from_str(&list).unwrap(),
                data: serde_json::from_str(json).unwrap(),
            }
        })
        .collect()
}
