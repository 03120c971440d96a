//! A kill between any two storage writes: either the old state holds or the new one, whole, and
//! nothing stays behind.

use std::sync::Arc;

use serde_json::{Value, json};
use vault_plugin::name::Name;
use vault_sdk::{Operation, Storage};

use crate::mount::Mount;

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
        restarted.engine.sweep(restarted.storage.as_ref()).await.unwrap();
        check(&restarted, acknowledged).await;
        assert_nothing_left(&restarted).await;
        // The engine that saw the failure, without a restart, is as good.
        check(&mount, acknowledged).await;
        if acknowledged && writes > 6 {
            return;
        }
    }
    panic!("the change never succeeded");
}

/// After a sweep, every credential entry is visible, and every material belongs to a version.
async fn assert_nothing_left(mount: &Mount) {
    let mut versions = 0;
    let names = mount.list("credentials/").await;
    assert_eq!(names.len(), mount.count("credential/"), "a credential that nothing refers to");
    for name in names {
        let data = mount.read(&format!("credentials/{name}")).await.unwrap();
        versions += data["versions"].as_object().unwrap().len();
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
async fn a_write_after_a_half_finished_one_reuses_no_number() {
    let mount = Mount::new();
    mount.write("services/x", definition(OLD)).await.unwrap();
    mount.storage.fail_after(2);
    mount.write("services/x", json!({ "token": "lost-second-secret" })).await.unwrap_err();
    mount.storage.heal();
    assert_eq!(usable(&mount, "x").await.unwrap().1, 1);
    mount.write("services/x", json!({ "token": "third-secret-value" })).await.unwrap();
    assert_eq!(usable(&mount, "x").await.unwrap().1, 3);
    mount.engine.sweep(mount.storage.as_ref()).await.unwrap();
    assert_nothing_left(&mount).await;
}
