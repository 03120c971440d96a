//! A kill between any two storage writes: either the old state holds or the new one, whole, and
//! nothing stays behind.

use std::sync::Arc;

use serde_json::{Value, json};
use vault_plugin::name::Name;
use vault_sdk::{Operation, Storage};

use crate::mount::{Mount, refusal};

/// Runs `change` with every number of writes that may succeed before a kill, and hands the mount as
/// it is after the restart to `check`, with whether the change was acknowledged.
async fn at_every_write(
    before: &[(&str, Value)],
    change: (Operation, &str, Value),
    check: impl AsyncFn(&Mount, bool),
) {
    for writes in 0..20 {
        let mount = Mount::new();
        for (path, data) in before {
            mount.write(path, data.clone()).await.unwrap();
        }
        mount.storage.fail_after(writes);
        let (operation, path, data) = &change;
        let acknowledged = mount.handle(*operation, path, data.clone()).await.is_ok();
        mount.storage.heal();

        let restarted = Mount::on(Arc::clone(&mount.storage));
        check(&restarted, acknowledged).await;
        // The engine that saw the failure, without a restart, is as good.
        check(&mount, acknowledged).await;
        // What takes secrets away begins with them, and is repeated until it has come to its end.
        let takes_away = *operation == Operation::Delete || path.ends_with("/destroy");
        if takes_away && !acknowledged {
            restarted.handle(*operation, path, data.clone()).await.unwrap();
        }
        restarted.engine.sweep(restarted.storage.as_ref()).await.unwrap();
        check(&restarted, acknowledged || takes_away).await;
        assert_nothing_left(&restarted).await;
        if acknowledged && writes > 6 {
            return;
        }
    }
    panic!("the change never succeeded");
}

/// After a sweep, every credential entry is visible, and every material belongs to a version that
/// isn't destroyed.
async fn assert_nothing_left(mount: &Mount) {
    let mut versions = 0;
    let names = mount.list("credentials/").await;
    assert_eq!(names.len(), mount.count("credential/"), "a credential that nothing refers to");
    for name in names {
        let data = mount.read(&format!("credentials/{name}")).await.unwrap();
        let shown = data["versions"].as_object().unwrap().values();
        versions += shown.filter(|version| version["destroyed"] == false).count();
    }
    assert_eq!(mount.count("material/"), versions, "{:?}", mount.storage.keys());
}

/// Base URL and credential version of a service that is usable: its binding matches.
async fn usable(mount: &Mount, name: &str) -> Option<(String, u64)> {
    let name = Name::parse(name).unwrap();
    let storage: &dyn Storage = mount.storage.as_ref();
    let snapshot = mount.engine.snapshot(storage, &name).await.ok()?;
    let credential = snapshot.credential.as_ref().expect("a credential");
    assert_eq!(credential.binding.difference(&snapshot.service.binding()), None, "half-written");
    Some((snapshot.service.base.to_string(), credential.version))
}

/// Name and version of the credential that a service's next call sends.
async fn sent(mount: &Mount, name: &str) -> (String, u64) {
    usable(mount, name).await.expect("the service");
    let name = Name::parse(name).unwrap();
    let snapshot = mount.engine.snapshot(mount.storage.as_ref(), &name).await.unwrap();
    let credential = snapshot.credential.as_ref().unwrap();
    (credential.name.to_string(), credential.version)
}

const OLD: &str = "https://old.example";
const NEW: &str = "https://new.example";

fn definition(base_url: &str) -> Value {
    json!({ "base_url": base_url, "auth": "bearer", "token": format!("secret-of-{base_url}") })
}

#[tokio::test]
async fn moving_a_service_with_a_new_secret() {
    let before = [("services/x", definition(OLD))];
    let change = (Operation::Update, "services/x", definition(NEW));
    at_every_write(&before, change, async |mount, acknowledged| {
        let state = usable(mount, "x").await.expect("the service");
        let expected = [(OLD.to_owned(), 1), (NEW.to_owned(), 2)];
        assert!(expected.contains(&state), "{state:?}");
        assert!(!acknowledged || state.0 == NEW, "an acknowledged write is lost");
    })
    .await;
}

#[tokio::test]
async fn creating_a_service_with_a_secret() {
    let change = (Operation::Create, "services/x", definition(NEW));
    at_every_write(&[], change, async |mount, acknowledged| {
        let state = usable(mount, "x").await;
        assert!(!acknowledged || state.is_some(), "an acknowledged write is lost");
    })
    .await;
}

#[tokio::test]
async fn deleting_a_service() {
    let before = [("services/x", definition(OLD))];
    let change = (Operation::Delete, "services/x", Value::Null);
    at_every_write(&before, change, async |mount, acknowledged| {
        let state = usable(mount, "x").await;
        assert!(!acknowledged || state.is_none(), "an acknowledged delete is undone");
    })
    .await;
}

#[tokio::test]
async fn rotating_a_shared_credential() {
    let before = [
        ("credentials/c", json!({ "origin": OLD, "auth": "bearer", "token": "the-first-secret" })),
        ("services/x", json!({ "base_url": OLD, "auth": "bearer", "credential": "c" })),
    ];
    let change = (Operation::Update, "credentials/c", json!({ "token": "the-second-secret" }));
    at_every_write(&before, change, async |mount, acknowledged| {
        let (_, version) = usable(mount, "x").await.expect("the service");
        assert!(version == 2 || (version == 1 && !acknowledged), "version {version}");
    })
    .await;
}

#[tokio::test]
async fn entering_a_shared_credential() {
    let secret = json!({ "origin": OLD, "auth": "bearer", "token": "the-first-secret" });
    let change = (Operation::Create, "credentials/c", secret);
    at_every_write(&[], change, async |mount, acknowledged| {
        let shown = mount.read("credentials/c").await;
        assert!(!acknowledged || shown.is_some(), "an acknowledged write is lost");
        let Some(shown) = shown else { return };
        assert_eq!((&shown["current_version"], &shown["origin"]), (&json!(1), &json!(OLD)));
    })
    .await;
}

#[tokio::test]
async fn deleting_a_shared_credential() {
    let before = [
        ("credentials/c", json!({ "origin": OLD, "auth": "bearer", "token": "the-first-secret" })),
        ("credentials/c", json!({ "token": "the-second-secret" })),
    ];
    let change = (Operation::Delete, "credentials/c", Value::Null);
    at_every_write(&before, change, async |mount, acknowledged| {
        let shown = mount.read("credentials/c").await;
        assert!(!acknowledged || shown.is_none(), "an acknowledged delete is undone");
        assert_eq!(mount.list("credentials/").await.is_empty(), shown.is_none());
    })
    .await;
}

#[tokio::test]
async fn going_back_to_an_earlier_version() {
    let shared = json!({ "origin": OLD, "auth": "bearer", "token": "the-first-secret" });
    let using = json!({ "base_url": OLD, "auth": "bearer", "credential": "c" });
    let second = json!({ "token": "the-second-secret" });
    for (name, before) in [
        ("x", vec![("services/x", definition(OLD)), ("services/x", second.clone())]),
        ("c", vec![("credentials/c", shared), ("services/x", using), ("credentials/c", second)]),
    ] {
        let path = format!("credentials/{name}/rollback");
        let change = (Operation::Update, &*path, json!({ "version": 1 }));
        at_every_write(&before, change, async |mount, acknowledged| {
            let (used, version) = sent(mount, "x").await;
            assert_eq!(used, name);
            assert!(version == 3 || (version == 2 && !acknowledged), "version {version}");
            let shown = mount.read(&format!("credentials/{name}")).await.unwrap();
            assert_eq!(shown["current_version"], version);
            let source = shown["versions"][version.to_string()]["source"].as_str();
            assert_eq!(source, Some(if version == 3 { "rollback of 1" } else { "write" }));
        })
        .await;
    }
}

#[tokio::test]
async fn destroying_old_versions() {
    let mut before = vec![("services/x", definition(OLD))];
    for secret in ["the-second-secret", "the-third-secret"] {
        before.push(("services/x", json!({ "token": secret })));
    }
    let change = (Operation::Update, "credentials/x/destroy", json!({ "versions": [1, 2] }));
    at_every_write(&before, change, async |mount, acknowledged| {
        assert_eq!(usable(mount, "x").await, Some((OLD.to_owned(), 3)));
        let shown = mount.read("credentials/x").await.unwrap();
        for version in ["1", "2"] {
            let destroyed = shown["versions"][version]["destroyed"] == true;
            assert!(!acknowledged || destroyed, "an acknowledged destruction is undone");
        }
        assert!(!acknowledged || mount.count("material/") == 1, "{:?}", mount.storage.keys());
    })
    .await;
}

#[tokio::test]
async fn changing_to_a_shared_credential_and_to_one_of_its_own() {
    let shared = json!({ "origin": OLD, "auth": "bearer", "token": "the-shared-secret" });
    let using = json!({ "base_url": OLD, "auth": "bearer", "credential": "c" });
    for (before, change, from, to) in [
        (definition(OLD), json!({ "credential": "c" }), "x", "c"),
        (using, json!({ "credential": "", "token": "its-own-secret" }), "c", "x"),
    ] {
        let before = [("credentials/c", shared.clone()), ("services/x", before)];
        let change = (Operation::Update, "services/x", change);
        at_every_write(&before, change, async |mount, acknowledged| {
            let (name, version) = sent(mount, "x").await;
            assert_eq!(version, 1);
            assert!(name == to || (name == from && !acknowledged), "{name}");
        })
        .await;
    }
}

#[tokio::test]
async fn changing_the_mounts_settings() {
    let change = (Operation::Update, "config", json!({ "max_versions": 3, "paused": true }));
    at_every_write(&[("services/x", definition(OLD))], change, async |mount, acknowledged| {
        let config = mount.read("config").await.unwrap();
        let (versions, paused) = (&config["max_versions"], &config["paused"]);
        let new = (versions, paused) == (&json!(3), &json!(true));
        let old = (versions, paused) == (&json!(10), &json!(false));
        assert!(new || (old && !acknowledged), "{config:?}");
        assert_eq!(usable(mount, "x").await, Some((OLD.to_owned(), 1)));
    })
    .await;
}

#[tokio::test]
async fn a_write_after_a_half_finished_one_reuses_no_number() {
    let secret = || json!({ "token": "third-secret-value" });
    let back = || json!({ "version": 1 });
    // What comes after the half-finished write, and the version that the last of it makes.
    for after in [
        vec![("services/x", secret())],
        vec![("credentials/x/rollback", back())],
        vec![("credentials/x/destroy", json!({ "versions": [1] })), ("services/x", secret())],
        vec![
            ("credentials/x/destroy", json!({ "versions": [1] })),
            ("credentials/x/rollback", json!({ "version": 2 })),
        ],
    ] {
        let mount = Mount::new();
        mount.write("services/x", definition(OLD)).await.unwrap();
        mount.write("services/x", json!({ "token": "second-secret-value" })).await.unwrap();
        mount.storage.fail_after(2);
        mount.write("services/x", json!({ "token": "lost-third-secret" })).await.unwrap_err();
        mount.storage.heal();
        assert_eq!(usable(&mount, "x").await.unwrap().1, 2);
        for (path, data) in &after {
            mount.write(path, data.clone()).await.unwrap();
        }
        assert_eq!(usable(&mount, "x").await.unwrap().1, 4, "{after:?}");
        let shown = mount.read("credentials/x").await.unwrap();
        assert!(shown["versions"].get("3").is_none(), "never committed: {shown:?}");
        mount.engine.sweep(mount.storage.as_ref()).await.unwrap();
        assert_nothing_left(&mount).await;
    }
}

#[tokio::test]
async fn what_was_never_committed_can_not_be_destroyed_nor_gone_back_to() {
    let mount = Mount::new();
    mount.write("services/x", definition(OLD)).await.unwrap();
    mount.storage.fail_after(2);
    mount.write("services/x", json!({ "token": "lost-second-secret" })).await.unwrap_err();
    mount.storage.heal();
    refusal(mount.write("credentials/x/rollback", json!({ "version": 2 })).await);
    refusal(mount.write("credentials/x/destroy", json!({ "versions": [2] })).await);
    assert_eq!(usable(&mount, "x").await.unwrap().1, 1);
}

#[tokio::test]
async fn agents_hear_of_a_change_whose_revision_was_not_written() {
    let mount = Mount::new();
    mount.write("services/x", definition(OLD)).await.unwrap();
    mount.engine.sweep(mount.storage.as_ref()).await.unwrap();
    let before = mount.engine.revision(mount.storage.as_ref()).await.unwrap();
    // The service, then the catalog's revision.
    mount.storage.fail_after(1);
    mount.write("services/x", json!({ "description": "new" })).await.unwrap();
    mount.storage.heal();
    for engine in [Mount::on(Arc::clone(&mount.storage)), mount] {
        let storage: &dyn Storage = engine.storage.as_ref();
        engine.engine.sweep(storage).await.unwrap();
        assert_ne!(engine.engine.revision(storage).await.unwrap(), before);
    }
}
