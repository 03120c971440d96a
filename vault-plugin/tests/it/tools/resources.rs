//! Which resources of an MCP server agents read.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use serde_json::json;
use vault_sdk::{Error, Response};

use super::{Shelf, done, mount, refresh, update};
use crate::mcp::server::{McpServer, result};
use crate::mount::{Mount, refusal};

async fn read(mount: &Mount, uri: &str) -> Result<Response, Error> {
    update(mount, "resources/docs", json!({ "uri": uri })).await
}

async fn refused(mount: &Mount, uri: &str, code: &str) {
    let text = refusal(read(mount, uri).await);
    assert!(text.starts_with(&format!("{code}: ")), "{uri}: {text}");
    assert!(!text.contains(uri), "{text}");
}

#[tokio::test]
async fn only_what_is_approved_or_given_by_an_approved_template_is_read() {
    const UNAPPROVED: &str = "tool_not_approved";
    let shelf = Shelf::default();
    let descriptions = Arc::new(AtomicU8::new(0));
    let described = Arc::clone(&descriptions);
    let server = McpServer::start(move |seen| {
        let templates = match (seen.method(), described.load(Ordering::SeqCst)) {
            ("resources/templates/list", 0) => json!([]),
            ("resources/templates/list", number) => json!([
                { "name": "t", "uriTemplate": "docs://{t}", "description": number.to_string() }
            ]),
            (_, _) => return shelf.answer(seen),
        };
        result(seen, json!({ "resultType": "complete", "resourceTemplates": templates }))
    })
    .await;
    let mount = mount(&server, json!({})).await;
    for seen in [false, true] {
        if seen {
            refresh(&mount).await;
        }
        for uri in ["docs://r", "docs://x"] {
            refused(&mount, uri, UNAPPROVED).await;
        }
    }
    assert_eq!(server.count("resources/read"), 0);
    done(&mount, "tools/docs/approve", json!({})).await;
    read(&mount, "docs://r").await.unwrap();
    refused(&mount, "docs://x", UNAPPROVED).await;

    descriptions.store(1, Ordering::SeqCst);
    refresh(&mount).await;
    refused(&mount, "docs://x", UNAPPROVED).await;
    done(&mount, "tools/docs/approve", json!({})).await;
    read(&mount, "docs://x").await.unwrap();
    for uri in ["docs://x/y", "docs://r/", "file:///etc/passwd", "prefix+docs://x"] {
        refused(&mount, uri, UNAPPROVED).await;
    }
    descriptions.store(2, Ordering::SeqCst);
    refresh(&mount).await;
    refused(&mount, "docs://x", UNAPPROVED).await;
    read(&mount, "docs://r").await.unwrap();
    assert_eq!(server.count("resources/read"), 3);
    mount.write("services/docs", json!({ "trust": "allow" })).await.unwrap();
    read(&mount, "file:///etc/passwd").await.unwrap();
}

#[tokio::test]
async fn what_is_listed_goes_by_its_own_state_and_not_by_a_template() {
    const UNAPPROVED: &str = "tool_not_approved";
    let shelf = Shelf::default();
    let listed = Arc::new(AtomicU8::new(0));
    let number = Arc::clone(&listed);
    let server = McpServer::start(move |seen| {
        let resources = match (seen.method(), number.load(Ordering::SeqCst)) {
            ("resources/list", 0) => json!([{ "name": "a", "uri": "docs://admin" }]),
            ("resources/list", 1) => json!([
                { "name": "a", "uri": "docs://admin" }, { "name": "b", "uri": "docs://late" },
            ]),
            ("resources/list", _) => json!([]),
            (_, _) => return shelf.answer(seen),
        };
        result(seen, json!({ "resultType": "complete", "resources": resources }))
    })
    .await;
    let mount = mount(&server, json!({})).await;
    done(&mount, "tools/docs/approve", json!({})).await;
    for uri in ["docs://admin", "docs://late"] {
        read(&mount, uri).await.unwrap();
    }
    done(&mount, "tools/docs/revoke", json!({ "resources": "docs://admin" })).await;
    listed.store(1, Ordering::SeqCst);
    refresh(&mount).await;
    for uri in ["docs://admin", "docs://late", "docs://%61dmin", "docs://Admin", "DOCS://late"] {
        refused(&mount, uri, UNAPPROVED).await;
    }
    read(&mount, "docs://other").await.unwrap();
    // What isn't listed any more is one of many that the template gives.
    listed.store(2, Ordering::SeqCst);
    refresh(&mount).await;
    read(&mount, "docs://admin").await.unwrap();
    assert_eq!(server.count("resources/read"), 4);
}

#[tokio::test]
async fn a_uri_has_one_reading_or_is_refused() {
    let shelf = Shelf::default();
    let server = shelf.serve().await;
    let mount = mount(&server, json!({ "trust": "allow" })).await;
    for uri in [
        "docs://public/../secret",
        "docs://public/%2e%2E/secret",
        "docs://public/..%2fsecret",
        "docs://public/..;x/secret",
        "docs:../secret",
        "docs://public/\\..\\secret",
        "docs://public/%5C..%5Csecret",
        "docs://public/a b",
        "docs://public/\u{2028}",
        "docs://public/\tx",
        "docs://public/%00",
        "docs://public/%C0%AE%C0%AE/secret",
    ] {
        refused(&mount, uri, "invalid_request").await;
    }
    let spelled = [
        "DOCS://public/x",
        "docs://public//x",
        "docs://public/%73ecret",
        "docs://public%2Fsecret",
        "docs://public/%252e%252e",
    ];
    for uri in spelled {
        read(&mount, uri).await.unwrap();
    }
    // Where something is denied by its spelling, another spelling is no way to it.
    let rules = json!({ "rules": "deny resource docs://public/secret, allow resource **" });
    mount.write("services/docs", rules).await.unwrap();
    for uri in spelled {
        refused(&mount, uri, "invalid_request").await;
    }
    let text = refusal(read(&mount, "docs://public/secret").await);
    assert!(text.starts_with("denied_by_rule: "), "{text}");
    for uri in ["docs://public/", "docs://é/%C3%A9", "web:a?q=http://x%2Fy", "file:///a%20b"] {
        read(&mount, uri).await.unwrap();
    }
    assert_eq!(server.count("resources/read"), 9);
}
