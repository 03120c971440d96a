//! MCP servers as services: their fields, and what they refuse.

mod memory;
mod messages;
pub(crate) mod server;
mod sessions;

use serde_json::{Value, json};
use vault_sdk::Operation;

use crate::mount::{Mount, refusal};

async fn with_linear(more: Value) -> Mount {
    let mount = Mount::new();
    let mut fields = json!({
        "type": "mcp", "base_url": "https://mcp.example.com/mcp/", "auth": "bearer",
        "token": "s3cret-token-of-linear",
    });
    fields.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap_or_default());
    mount.write("services/linear", fields).await.unwrap();
    mount
}

#[tokio::test]
async fn what_is_read_can_be_written_back_and_the_kind_stays() {
    let mount = with_linear(json!({ "rules": "allow tool get_*, deny tool delete_*" })).await;
    let before = mount.read("services/linear").await.unwrap();
    assert_eq!((&before["type"], &before["trust"]), (&json!("mcp"), &json!("pin")));
    assert_eq!(before["base_url"], "https://mcp.example.com/mcp/");
    mount.write("services/linear", before.clone().into()).await.unwrap();
    assert_eq!(mount.read("services/linear").await.unwrap(), before);
    for kind in [json!("http"), json!(""), json!("grpc")] {
        let text = refusal(mount.write("services/linear", json!({ "type": kind })).await);
        assert!(text.contains("type is fixed"), "{text}");
    }
    let http = json!({ "base_url": "https://api.example.com" });
    mount.write("services/plain", http).await.unwrap();
    let plain = mount.read("services/plain").await.unwrap();
    assert_eq!((&plain["type"], plain.get("trust")), (&json!("http"), None));
}

#[tokio::test]
async fn fields_and_rules_of_the_other_kind_are_refused() {
    let mount = with_linear(json!({})).await;
    mount.write("services/plain", json!({ "base_url": "https://api.example.com" })).await.unwrap();
    for (service, fields, says) in [
        ("linear", json!({ "rules": "allow GET /a" }), "allow tool get_*"),
        ("linear", json!({ "probe_path": "/user" }), "probe_path has no meaning"),
        ("linear", json!({ "safe_methods": "GET" }), "safe_methods has no meaning"),
        ("linear", json!({ "trust": "blind" }), "trust is pin"),
        ("linear", json!({ "headers": { "Mcp-Session-Id": "1" } }), "belongs to the protocol"),
        ("linear", json!({ "headers": { "mcp_method": "1" } }), "belongs to the protocol"),
        ("plain", json!({ "rules": "allow tool get_*" }), "type=mcp"),
        ("plain", json!({ "trust": "pin" }), "this service is http"),
        ("other", json!({ "base_url": "https://h.example", "type": "soap" }), "http (the default)"),
    ] {
        let text = refusal(mount.write(&format!("services/{service}"), fields.clone()).await);
        assert!(text.contains(says), "{fields}: {text}");
    }
    let written = mount.write("services/linear", json!({ "trust": "allow" })).await.unwrap();
    assert!(written.warnings().iter().any(|text| text.starts_with("trust=allow")));
}

#[tokio::test]
async fn proxy_is_not_for_mcp_servers() {
    let mount = with_linear(json!({})).await;
    let text =
        refusal(mount.handle(Operation::Update, "proxy/linear/GET", json!({ "path": "/" })).await);
    assert!(text.contains("call/linear/<tool>"), "{text}");
}
