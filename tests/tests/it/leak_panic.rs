//! The leak scan over what a plugin says when it panics.

use e2e::world::World;
use e2e::{forms, programs};
use serde_json::json;

#[tokio::test]
async fn a_panic_that_quotes_a_secret_shows_its_place_alone() {
    let world = World::start().await;
    let api = &world.root;
    let program = programs::plugin().with_file_name("examples").join("panics");
    assert!(program.is_file(), "{} isn't built; run: make test", program.display());
    let entry = json!({ "sha256": world.server.install(&program, "panics"), "command": "panics" });
    api.write("sys/plugins/catalog/secret/panics", entry).await.ok();
    api.write("sys/mounts/panics", json!({ "type": "panics" })).await.ok();

    let secret = world.secret();
    let answer = api.write("panics/now", json!({ "secret": secret })).await;
    assert_eq!(answer.status, 500, "{}", answer.text);
    assert_eq!(forms::found(answer.text.as_bytes(), &secret), [""; 0], "{}", answer.text);
    let log = world.server.log();
    assert!(log.contains("(message withheld)"), "the panic is logged");
    assert!(log.contains("panics.rs:"), "with its place");
    // What the server wrote is searched when the world ends.
}
