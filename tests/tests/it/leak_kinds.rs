//! The leak scan for every auth kind, and in places of its own: a raft snapshot, the processes.

use std::fs;
use std::process::Command;

use e2e::server::Storage;
use e2e::upstream::{Seen, Upstream};
use e2e::world::{World, definition};
use e2e::{cli, forms};
use serde_json::{Value, json};

#[tokio::test]
async fn no_kind_of_secret_leaves_the_engine_but_to_its_upstream() {
    let world = World::start_on(Storage::Raft).await;
    let api = &world.root;
    api.write("mcp-proxy/config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.ok();
    let kinds: [(&str, Value); 5] = [
        ("bearer", json!({})),
        ("header", json!({ "header_name": "X-Api-Key", "prefix": "Token " })),
        ("query_param", json!({ "param_name": "api_key" })),
        ("basic", json!({ "username": "agent" })),
        ("cookie", json!({ "cookie_name": "sid" })),
    ];
    let (mut texts, mut secrets) = (Vec::new(), Vec::new());
    let upstream = Upstream::start().await;
    for (kind, parameters) in kinds {
        let name = kind.replace('_', "-");
        let field = if kind == "basic" { "password" } else { "token" };
        // An older version, a newer one, and one that is refused.
        let (old, new, refused) = (world.secret(), world.secret(), world.secret());
        let mut fields = definition(&upstream);
        fields["auth"] = json!(kind);
        fields.as_object_mut().unwrap().extend(parameters.as_object().unwrap().clone());
        fields["probe_path"] = json!("/headers");
        for secret in [&old, &new] {
            fields[field] = json!(secret);
            let path = format!("mcp-proxy/services/{name}");
            texts.push(api.write(&path, fields.clone()).await.ok().text);
            for path in ["/headers", "/echo/base64", "/status/401", "/reset"] {
                // With the credential's name spelt in the answer, too: the upstream echoes all.
                let call = json!({ "path": path, "query": { "q": "1" } });
                texts.push(api.write(&format!("mcp-proxy/proxy/{name}/GET"), call).await.text);
            }
        }
        fields[field] = json!(refused);
        fields["no_such_field"] = json!(1);
        let path = format!("mcp-proxy/services/{name}");
        texts.push(api.write(&path, fields).await.text);
        for path in ["check", "explain"] {
            let path = format!("mcp-proxy/{path}/{name}");
            texts.push(api.write(&path, json!({})).await.ok().text);
        }
        for path in ["services", "credentials", "catalog"] {
            texts.push(api.read(&format!("mcp-proxy/{path}/{name}")).await.ok().text);
        }
        texts.push(api.read(&format!("mcp-proxy/credentials/{name}/versions")).await.ok().text);
        for (secret, sent) in [(old, true), (new, true), (refused, false)] {
            secrets.push((kind, secret, sent));
        }
    }
    texts.push(api.read("mcp-proxy/health").await.ok().text);
    for path in ["", "services/x", "credentials/x", "credentials/x/rollback", "proxy/x/GET"] {
        texts.push(api.read(&format!("mcp-proxy/{path}?help=1")).await.ok().text);
    }
    texts.push(api.read("sys/internal/specs/openapi").await.ok().text);
    let plugins = world.server.plugins();
    assert!(!plugins.is_empty());
    for pid in plugins {
        for file in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{pid}/{file}")).unwrap();
            assert!(!bytes.is_empty(), "{file} has something to search");
            texts.push(String::from_utf8_lossy(&bytes).into_owned());
        }
    }
    let snapshot = snapshot(&world).await;

    let everything = texts.join("\n");
    let arrived: Vec<u8> = upstream.seen().iter().flat_map(Seen::bytes).collect();
    for (kind, secret, was_sent) in &secrets {
        assert_eq!(forms::found(everything.as_bytes(), secret), [""; 0], "{kind}");
        assert_eq!(forms::found(&snapshot, secret), [""; 0], "{kind}");
        // The control: the same search finds what was sent, in the form in which it was.
        let form = match *kind {
            "query_param" => "percent-encoded",
            "basic" => "base64",
            _ => "as it is",
        };
        let found = forms::found(&arrived, secret);
        assert_eq!(found.contains(&form), *was_sent, "{kind}: {found:?}");
    }
    // Dropping the world searches storage, logs and audit log.
}

/// What `operator raft snapshot save` writes, unpacked: a gzipped tar with the storage in it.
async fn snapshot(world: &World) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let archive = directory.path().join("raft.snap");
    let words = ["operator", "raft", "snapshot", "save", archive.to_str().unwrap()];
    let output = cli::run(&world.root, &words).await;
    assert!(output.status.success(), "{output:?}");
    let unpacked =
        Command::new("tar").arg("xzf").arg(&archive).arg("-C").arg(directory.path()).status();
    assert!(unpacked.unwrap().success());
    let mut bytes = Vec::new();
    for entry in fs::read_dir(directory.path()).unwrap() {
        bytes.append(&mut fs::read(entry.unwrap().path()).unwrap());
    }
    // The control: names of storage entries stand there in the clear.
    let text = String::from_utf8_lossy(&bytes);
    assert!(
        text.contains("core/mounts") && text.contains("logical/"),
        "no storage in the snapshot"
    );
    bytes
}
