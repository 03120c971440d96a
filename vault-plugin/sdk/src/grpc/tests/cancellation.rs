//! Clients that leave and handlers that hang: calls and reads end, writes go on.

use super::{Mount, mounted};
use crate::storage::Storage as _;

/// Begins a request and waits until its handler runs.
async fn begin(mount: &Mount, operation: &'static str, began: &str) -> tokio::task::JoinHandle<()> {
    let task = tokio::spawn({
        let mount = mount.clone();
        async move {
            mount.call(operation, "hang", "null").await;
        }
    });
    mount.journal.wait(began).await;
    task
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_read_and_its_call() {
    let (_, mount) = mounted().await;
    for (operation, what) in [("read", "read"), ("update", "call")] {
        let task = begin(&mount, operation, &format!("{what} began")).await;
        assert!(!mount.journal.has(&format!("{what} dropped")));
        task.abort();
        mount.journal.wait(&format!("{what} dropped")).await;
    }
    mount.journal.open();
    assert_eq!(mount.call("read", "hang", "null").await.err, None, "the connection still works");
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_a_write_between_two_entries() {
    for (operation, what) in [("delete", "write"), ("rollback", "periodic")] {
        let (host, mount) = mounted().await;
        let path = if operation == "rollback" { "" } else { "hang" };
        let write = tokio::spawn({
            let mount = mount.clone();
            async move { mount.call(operation, path, "null").await }
        });
        mount.journal.wait(&format!("{what} began")).await;
        let read = begin(&mount, "read", "read began").await;
        write.abort();
        read.abort();
        // The plugin has seen both leave once it has dropped the later one.
        mount.journal.wait("read dropped").await;
        assert!(!mount.journal.has(&format!("{what} dropped")));
        mount.journal.open();
        mount.journal.wait(&format!("{what} complete")).await;
        assert_eq!(host.storage().keys(), ["first", "second"]);
    }
}

#[tokio::test(start_paused = true)]
async fn what_hangs_is_answered_before_the_hosts_limit() {
    let (_, mount) = mounted().await;
    let started = tokio::time::Instant::now();
    let reply = mount.call("update", "hang", "null").await;
    let error = reply.err.expect("an error");
    assert_eq!((error.err_type, error.err_code), (3, 424));
    assert!(error.err_msg.starts_with("outcome_unknown: "), "{}", error.err_msg);
    assert!(mount.journal.has("call dropped"));
    let reply = mount.call("read", "hang", "null").await;
    assert_eq!(reply.err.expect("an error").err_type, 2);
    assert!(mount.journal.has("read dropped"));
    assert!(started.elapsed().as_secs() < 2 * 90, "{:?}", started.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_write_that_takes_too_long_is_answered_and_goes_on_to_its_end() {
    let (host, mount) = mounted().await;
    let started = tokio::time::Instant::now();
    let reply = mount.call("delete", "hang", "null").await;
    assert_eq!(reply.err.expect("an error").err_type, 2);
    assert!(started.elapsed().as_secs() < 90);
    assert!(!mount.journal.has("write dropped"), "it was cut between two entries");
    assert_eq!(host.storage().get("second").await.unwrap(), None);
    mount.journal.open();
    mount.journal.wait("write complete").await;
    assert_eq!(host.storage().keys(), ["first", "second"]);
}
