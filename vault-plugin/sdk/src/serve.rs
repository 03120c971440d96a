//! The engine as a process: what `main` calls.

use std::process::ExitCode;
use std::sync::Arc;

use proto::logical::plugin_version_server::PluginVersionServer;
use proto::multiplexing::plugin_multiplexing_server::PluginMultiplexingServer;
use proto::pb::backend_server::BackendServer;
use tonic::service::{LayerExt as _, Routes};
use tower::util::MapResponseLayer;

use crate::backend::Backend;
use crate::grpc::{BackendService, Connect, Multiplexing, Version, hold};

/// The largest request taken, in bytes: a little over what the hosts' listeners let through
/// (32 MiB), since a larger one would be cut off by the host first. tonic's own 4 MiB would turn a
/// large request into a 500. So does this, before a handler runs, for a large body with many `<`,
/// `>` and `&`: each arrives as six characters.
pub(crate) const MAX_REQUEST: usize = 33 << 20;

/// Serves the engine to the host that started this process, until the host ends it.
///
/// Prints one line on stdout, for the host, and logs on stderr; a process that no host started says
/// so there and fails. `log_variable` names an environment variable that sets the log level.
pub async fn serve<B: Backend>(log_variable: &'static str) -> ExitCode {
    serve_as::<B>(B::VERSION, log_variable).await
}

/// Serves as [`serve`] does, under a version other than [`Backend::VERSION`]: one that is found only
/// when the program runs. A semantic version with its `v`.
pub async fn serve_as<B: Backend>(version: &'static str, log_variable: &'static str) -> ExitCode {
    // The same name and value on Vault and OpenBao, and the protocol with pinned mutual TLS and
    // many mounts in one process: Vault 1.12 and later, every OpenBao.
    let config = go_plugin::ServeConfig::new(
        "VAULT_BACKEND_PLUGIN",
        "6669da05-b1c8-4f49-97d9-c8e5bed98e20",
        5,
    )
    .log_variable(log_variable);
    go_plugin::run(config, |broker| {
        let connect: Connect = Arc::new(move |id| {
            let broker = broker.clone();
            Box::pin(async move { broker.connect(id).await.map_err(|error| error.to_string()) })
        });
        routes::<B>(version, connect)
    })
    .await
}

/// The services of a secrets engine, beside those that every plugin has.
pub(crate) fn routes<B: Backend>(version: &'static str, connect: Connect) -> Routes {
    let backend = BackendServer::new(BackendService::<B>::new(connect))
        .max_decoding_message_size(MAX_REQUEST);
    Routes::new(MapResponseLayer::new(hold).named_layer(backend))
        .add_service(PluginMultiplexingServer::new(Multiplexing))
        .add_service(PluginVersionServer::new(Version(version)))
}
