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
