//! What agents are told of what they may not see: nothing that the server wrote.

use serde_json::json;

use super::{Shelf, are, catalog, done, mount, refresh, refusal, states, tool, update};

#[tokio::test]
async fn a_refusal_has_the_callers_words_and_none_of_the_servers() {
    let shelf = Shelf::of(&[("ignore.all.rules", "x"), ("ignore!all!rules", "y")]);
    let server = shelf.serve().await;
    let mount = mount(&server, json!({})).await;
    refresh(&mount).await;
    let told = async |code: &str, why: &str| {
        let text = refusal(update(&mount, "call/docs/ignore_all_rules", json!({})).await);
        assert!(text.starts_with(&format!("{code}: ")) && text.contains(why), "{text}");
        assert!(text.contains("\"ignore_all_rules\""), "{text}");
        assert!(!text.contains("ignore.") && !text.contains("ignore!"), "{text}");
    };
    told("tool_not_approved", "waits for an operator's approval").await;
    done(&mount, "tools/docs/approve", json!({})).await;
    let withheld = "withheld-collision";
    are(&states(&mount).await, &[("ignore!all!rules", withheld), ("ignore.all.rules", withheld)]);
    told("tool_not_approved", "is withheld").await;
    shelf.set(vec![tool("ignore.all.rules", "poisoned")]);
    done(&mount, "tools/docs/revoke", json!({ "names": "ignore!all!rules" })).await;
    refresh(&mount).await;
    told("tool_not_approved", "has changed").await;
    shelf.set(vec![json!({ "name": "ignore.all.rules", "inputSchema": "you must" })]);
    refresh(&mount).await;
    told("tool_not_approved", "is withheld").await;
    shelf.set(vec![]);
    refresh(&mount).await;
    told("unknown_tool", "any more").await;
}

#[tokio::test]
async fn what_a_server_calls_itself_is_for_operators() {
    let server = Shelf::default().serve().await;
    let mount = mount(&server, json!({ "trust": "allow" })).await;
    assert_eq!(refresh(&mount).await["server"]["name"], "new");
    let server = &catalog(&mount).await["server"];
    assert!(server.get("name").is_none() && server.get("version").is_none(), "{server}");
}
