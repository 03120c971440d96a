//! The SDK's own example, as somebody who wrote it would use it.

use e2e::api::Api;
use e2e::programs;
use e2e::server::{Server, Storage};
use serde_json::{Value, json};

#[tokio::test]
async fn an_engine_in_forty_lines_is_an_engine_like_any_other() {
    let server = Server::start(Storage::Memory).await;
    let api = server.api();
    let program = programs::plugin().with_file_name("examples").join("notes");
    assert!(program.is_file(), "{} isn't built; run: make test", program.display());
    let sum = server.install(&program, "notes-1.0.0");
    let entry = json!({ "sha256": sum, "command": "notes-1.0.0", "version": "v1.0.0" });
    api.write("sys/plugins/catalog/secret/notes", entry).await.ok();
    api.write("sys/mounts/notes", json!({ "type": "notes" })).await.ok();
    let mounts = api.read("sys/mounts").await.ok();
    assert_eq!(mounts.data()["notes/"]["running_plugin_version"], "v1.0.0");

    assert_eq!(api.list("notes").await.status, 404, "nothing there");
    api.write("notes/today", json!({ "text": "rain" })).await.ok();
    api.write("notes/tomorrow", json!({ "text": "sun" })).await.ok();
    assert_eq!(api.read("notes/today").await.ok().data(), &json!({ "text": "rain" }));
    assert_eq!(api.list("notes").await.ok().keys(), ["today", "tomorrow"]);
    assert_eq!(api.read("notes/yesterday").await.status, 404);
    assert_eq!(api.delete("notes/today").await.ok().status, 204);
    assert_eq!(api.list("notes").await.ok().keys(), ["tomorrow"]);

    let mistyped = api.write("notes/today", json!({ "texts": "rain" })).await;
    assert_eq!(mistyped.status, 400, "{}", mistyped.text);
    assert!(mistyped.errors().contains("text"), "names the nearest: {}", mistyped.text);

    let help = |answer: &Value| answer["help"].as_str().unwrap_or_default().to_owned();
    let mount = help(&read(&api, "notes/?help=1").await);
    assert!(mount.contains("Keeps notes") && mount.contains("All notes."), "{mount}");
    let path = help(&read(&api, "notes/today?help=1").await);
    assert!(path.contains("One note.") && path.contains("What it says."), "{path}");
    let openapi = read(&api, "sys/internal/specs/openapi").await;
    assert!(openapi["paths"]["/notes/{name}"]["post"].is_object(), "{}", openapi["paths"]);

    // What it keeps outlives its process.
    let before = server.plugins();
    api.write("sys/plugins/reload/backend", json!({ "plugin": "notes" })).await.ok();
    assert_eq!(api.read("notes/tomorrow").await.ok().data()["text"], "sun");
    assert_ne!(server.plugins(), before);
}

async fn read(api: &Api, path: &str) -> Value {
    api.read(path).await.ok().body
}
