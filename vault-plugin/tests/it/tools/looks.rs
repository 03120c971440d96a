//! Looks at MCP servers in the background: started by use, waited for by nobody, never an approval.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use vault_plugin::engine::Engine;
use vault_plugin::name::Name;
use vault_sdk::Operation;

use super::{Shelf, are, catalog, define, done, offered, refresh, refusal, states, tool, update};
use crate::mcp::server::{Answer, McpServer, Then};
use crate::mount::Mount;

const PERIOD: u64 = 13 * 60;

struct Timed {
    mount: Mount,
    now: Arc<AtomicU64>,
}

async fn timed(server: &McpServer) -> Timed {
    let now = Arc::new(AtomicU64::new(1_800_000_000));
    let mut mount = Mount::new();
    let clock = Arc::clone(&now);
    mount.engine = Arc::new(Engine::with_clock(move || clock.load(Ordering::SeqCst)));
    define(&mount, &server.base_url, json!({})).await;
    Timed { mount, now }
}

impl Timed {
    fn later(&self, seconds: u64) {
        self.now.fetch_add(seconds, Ordering::SeqCst);
    }

    /// Reads the catalog until agents see these.
    async fn until_offered(&self, expected: &[&str]) {
        let offered = async {
            while offered(&self.mount).await != expected {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), offered).await.unwrap();
    }

    async fn until_stale(&self, stale: bool) {
        let changed = async {
            while catalog(&self.mount).await["stale"] != stale {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), changed).await.unwrap();
    }
}

#[tokio::test]
async fn the_use_of_a_service_finds_what_has_changed() {
    let shelf = Shelf::of(&[("a", "x"), ("b", "y")]);
    let server = shelf.serve().await;
    let timed = timed(&server).await;
    let mount = &timed.mount;
    // The first use of all looks; what it finds waits.
    catalog(mount).await;
    let waiting = async {
        while catalog(mount).await["waiting"] != 2 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap();
    done(mount, "tools/docs/approve", json!({})).await;
    assert_eq!(offered(mount).await, ["a", "b"]);

    shelf.set(vec![tool("a", "poisoned"), tool("b", "y"), tool("c", "z")]);
    timed.later(7 * 60);
    for _ in 0..20 {
        assert_eq!(offered(mount).await, ["a", "b"]);
        tokio::task::yield_now().await;
    }
    assert_eq!(server.count("tools/list"), 1);
    timed.later(PERIOD);
    // A call starts it as well, and goes by what is known when it is made.
    done(mount, "call/docs/b", json!({})).await;
    timed.until_offered(&["b"]).await;
    assert_eq!(server.count("tools/list"), 2);
    are(&states(mount).await, &[("a", "changed"), ("b", "approved"), ("c", "new")]);
    refusal(update(mount, "call/docs/a", json!({})).await);
    // Explaining a call sends nothing, not even this.
    timed.later(PERIOD);
    mount.handle(Operation::Read, "tools/docs", Value::Null).await.unwrap();
    mount.read("tools/docs/diff").await.unwrap();
    mount.read("catalog").await.unwrap();
    let count = server.seen().len();
    tokio::task::yield_now().await;
    assert_eq!(server.seen().len(), count);
}

#[tokio::test]
async fn while_a_server_is_down_what_was_approved_stays_and_is_marked() {
    let shelf = Shelf::of(&[("a", "x")]);
    // No connection outlives an answer, so that nothing answers once it is down.
    let answers = shelf.clone();
    let server =
        McpServer::start(move |seen| answers.answer(seen).with("connection", "close")).await;
    let timed = timed(&server).await;
    let mount = &timed.mount;
    done(mount, "tools/docs/approve", json!({})).await;
    drop(server);
    timed.later(PERIOD);
    timed.until_stale(true).await;
    let seen = catalog(mount).await;
    assert_eq!(seen["tools"][0]["name"], "a");
    assert!(seen["stale_since"].as_str().unwrap().starts_with("2027-01-15T08:"), "{seen:?}");
    let text = refusal(update(mount, "tools/docs/refresh", json!({})).await);
    assert!(text.starts_with("upstream_unreachable: "), "{text}");
    assert_eq!(offered(mount).await, ["a"]);
    are(&states(mount).await, &[("a", "approved")]);
    // It comes up elsewhere, changed: the operator's change of address makes a look due at once.
    shelf.set(vec![tool("a", "poisoned")]);
    let server = shelf.serve().await;
    define(mount, &server.base_url, json!({})).await;
    timed.until_offered(&[]).await;
    assert_eq!(catalog(mount).await["stale"], false);
}

#[tokio::test]
async fn no_reader_waits_for_a_server_that_says_nothing() {
    let shelf = Shelf::of(&[("a", "x")]);
    let silent = Arc::new(AtomicU64::new(0));
    let (answers, is_silent) = (shelf.clone(), Arc::clone(&silent));
    let server = McpServer::start(move |seen| {
        if is_silent.load(Ordering::SeqCst) == 1 {
            return Answer::events("").then(Then::Silence);
        }
        answers.answer(seen)
    })
    .await;
    let timed = timed(&server).await;
    done(&timed.mount, "tools/docs/approve", json!({})).await;
    silent.store(1, Ordering::SeqCst);
    timed.later(PERIOD);
    let lists = server.seen().len();
    let reads = async {
        // The look is under way all the while, and is the only one.
        while server.seen().len() == lists {
            assert_eq!(offered(&timed.mount).await, ["a"]);
            tokio::task::yield_now().await;
        }
        for _ in 0..50 {
            timed.later(PERIOD);
            assert_eq!(offered(&timed.mount).await, ["a"]);
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), reads).await.unwrap();
    assert_eq!(server.seen().len(), lists + 1);
}

#[tokio::test]
async fn a_node_that_may_not_write_withholds_what_has_changed_and_stores_nothing() {
    let shelf = Shelf::of(&[("a", "x"), ("b", "y")]);
    let server = shelf.serve().await;
    let active = timed(&server).await;
    done(&active.mount, "tools/docs/approve", json!({})).await;
    let mut standby =
        Timed { mount: Mount::on(Arc::clone(&active.mount.storage)), now: Arc::clone(&active.now) };
    let clock = Arc::clone(&active.now);
    standby.mount.engine = Arc::new(Engine::with_clock(move || clock.load(Ordering::SeqCst)));
    // Or the first use would begin a look in the background, whose end the clock could overtake.
    let name = Name::parse("docs").unwrap();
    standby.mount.engine.look(standby.mount.storage.as_ref(), &name, "r-0").await.unwrap();
    assert_eq!(offered(&standby.mount).await, ["a", "b"]);
    let keys = active.mount.storage.keys();
    active.mount.storage.set_read_only(true);
    shelf.set(vec![tool("a", "poisoned"), tool("b", "y"), tool("c", "z")]);
    active.later(PERIOD);
    standby.until_offered(&["b"]).await;
    assert_eq!(catalog(&standby.mount).await["waiting"], 2);
    refusal(update(&standby.mount, "call/docs/a", json!({})).await);
    assert_eq!(active.mount.storage.keys(), keys);
    active.mount.storage.set_read_only(false);
    // Approved on the active node, where it was looked at: the host tells this node of the write.
    active.later(1);
    refresh(&active.mount).await;
    done(&active.mount, "tools/docs/approve", json!({})).await;
    for key in active.mount.storage.keys() {
        standby.mount.engine.forget(&key);
    }
    assert_eq!(offered(&standby.mount).await, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_paused_mount_looks_at_nothing() {
    let shelf = Shelf::of(&[("a", "x")]);
    let server = shelf.serve().await;
    let timed = timed(&server).await;
    let mount = &timed.mount;
    done(mount, "tools/docs/approve", json!({})).await;
    mount.write("config", json!({ "paused": true })).await.unwrap();
    let count = server.seen().len();
    timed.later(PERIOD);
    let text = refusal(update(mount, "tools/docs/refresh", json!({})).await);
    assert!(text.starts_with("paused: "), "{text}");
    for _ in 0..20 {
        assert_eq!(offered(mount).await, ["a"]);
        tokio::task::yield_now().await;
    }
    assert_eq!((server.seen().len(), &catalog(mount).await["stale"]), (count, &json!(false)));
}
