//! A mount's life: registration, setup, initialisation, invalidation, periodic work.

use proto::logical;
use proto::logical::plugin_version_client::PluginVersionClient;
use proto::multiplexing::MultiplexingSupportRequest;
use proto::multiplexing::plugin_multiplexing_client::PluginMultiplexingClient;
use proto::pb;

use super::host::{Host, Mode, STANDALONE, STANDBY};
use super::{Plugin, err_type, mounted, tagged};
use crate::error::READ_ONLY;
use crate::storage::Storage as _;

#[tokio::test]
async fn registers_with_a_host_that_has_no_storage() {
    let plugin = Plugin::start().await;
    let host = Host::new(Mode::Missing, STANDALONE);
    let mount = plugin.mount("registration", &host).await;
    let mut version = PluginVersionClient::new(plugin.channel.clone());
    let version = version.version(logical::Empty {}).await.unwrap().into_inner();
    assert_eq!(version.plugin_version, "v1.2.3-rc.1+build");
    mount.cleanup().await;
    assert_eq!(host.calls(), <[&str; 0]>::default());
}

#[tokio::test]
async fn tells_what_it_is_without_an_instance() {
    let plugin = Plugin::start().await;
    let reply = plugin.backend().r#type(pb::Empty {}).await.unwrap().into_inner();
    assert_eq!(reply.r#type, 1, "a secrets engine");
    let reply = plugin.backend().special_paths(pb::Empty {}).await.unwrap().into_inner();
    let paths = reply.paths.unwrap();
    assert_eq!(paths.root, ["config"]);
    assert_eq!(paths.unauthenticated, ["open/*"]);
    assert_eq!(paths.local_storage, ["local/"]);
    assert_eq!(paths.seal_wrap_storage, ["material/"]);
    let mut multiplexing = PluginMultiplexingClient::new(plugin.channel.clone());
    let reply = multiplexing.multiplexing_support(MultiplexingSupportRequest {}).await.unwrap();
    assert!(reply.into_inner().supported);
}

#[tokio::test]
async fn setup_reports_a_host_that_cannot_be_reached_and_leaves_no_instance() {
    let plugin = Plugin::start().await;
    let reply = plugin.setup("mount-1", 99, "uuid").await;
    assert!(reply.err.contains("99"), "{}", reply.err);
    let args = tagged("mount-1", pb::InvalidateKeyArgs::default());
    assert!(plugin.backend().invalidate_key(args).await.is_err());
}

#[tokio::test]
async fn initialize_prepares_the_mount() {
    let (host, mount) = mounted().await;
    assert_eq!(mount.initialize().await, None);
    assert_eq!(host.storage().keys(), ["schema"]);
}

#[tokio::test]
async fn initialize_on_a_node_that_may_not_write_is_no_failure() {
    for text in [READ_ONLY, "1 error occurred:\n\t* cannot write to readonly storage\n\n"] {
        let host = Host::new(Mode::Works, STANDBY);
        let mount = Plugin::start().await.mount("mount-1", &host).await;
        host.set_mode(Mode::Refuses(text));
        assert_eq!(mount.initialize().await, None);
        assert!(mount.journal.has("initialize"));
    }
}

#[tokio::test]
async fn initialize_reports_every_other_failure() {
    let host = Host::new(Mode::Says("disk INSIDE is gone"), STANDALONE);
    let mount = Plugin::start().await.mount("mount-1", &host).await;
    let error = mount.initialize().await.expect("an error");
    assert_eq!(error.err_type, 2);
    assert!(!error.err_msg.contains("INSIDE"), "{}", error.err_msg);

    // A refusal in the engine's own words is no success either.
    host.set_mode(Mode::Works);
    host.storage().put("refuse", vec![]).await.unwrap();
    let error = mount.initialize().await.expect("an error");
    assert_eq!(error.err_type, 4);
    assert_eq!(error.err_msg, "config: this mount can't be served");
}

#[tokio::test]
async fn an_entry_changed_elsewhere_is_told_to_its_mount_alone() {
    let plugin = Plugin::start().await;
    let host = Host::default();
    let one = plugin.mount("mount-1", &host).await;
    let two = plugin.mount("mount-2", &host).await;
    let args = pb::InvalidateKeyArgs { key: "services/github".into() };
    plugin.backend().invalidate_key(tagged("mount-1", args)).await.unwrap();
    assert!(one.journal.has("invalidate services/github"));
    assert_eq!(two.journal.events(), <[&str; 0]>::default());
}

#[tokio::test]
async fn rollback_runs_the_periodic_work_which_may_write() {
    let (host, mount) = mounted().await;
    mount.journal.open();
    let reply = mount.call("rollback", "", "null").await;
    assert_eq!(reply, pb::HandleRequestReply::default());
    assert_eq!(host.storage().keys(), ["first", "second"]);
}

#[tokio::test]
async fn periodic_work_that_fails_or_panics_answers_and_harms_nothing() {
    let (host, mount) = mounted().await;
    host.storage().put("panic", vec![]).await.unwrap();
    assert_eq!(err_type(&mount.call("rollback", "", "null").await), 2);
    host.set_mode(Mode::Says("disk INSIDE is gone"));
    let reply = mount.call("rollback", "", "null").await;
    assert_eq!(err_type(&reply), 2);
    assert!(!reply.err.unwrap().err_msg.contains("INSIDE"));
    host.set_mode(Mode::Works);
    host.storage().delete("panic").await.unwrap();
    mount.journal.open();
    assert_eq!(mount.call("rollback", "", "null").await.err, None);
}
