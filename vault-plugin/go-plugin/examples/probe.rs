//! A small plugin that the tests drive: one service, whose request metadata says what to do.

use std::{process::ExitCode, time::Duration};

use go_plugin::{Broker, ServeConfig};
use proto::logical::{
    Empty, VersionReply,
    plugin_version_client::PluginVersionClient,
    plugin_version_server::{PluginVersion, PluginVersionServer},
};
use tonic::{Request, Response, Status, service::Routes};

/// Enough for every message of the tests.
const MAX_MESSAGE_BYTES: usize = 64 << 20;

struct Probe(Broker);

impl Probe {
    /// Asks the same question of the host, on the connection it brokered.
    async fn ask_host(&self, id: u32) -> Result<VersionReply, Status> {
        tracing::info!(id, "connecting to the host");
        let channel =
            self.0.connect(id).await.map_err(|error| Status::unknown(error.to_string()))?;
        let mut host =
            PluginVersionClient::new(channel).max_decoding_message_size(MAX_MESSAGE_BYTES);
        Ok(host.version(Empty {}).await?.into_inner())
    }
}

#[tonic::async_trait]
impl PluginVersion for Probe {
    async fn version(&self, request: Request<Empty>) -> Result<Response<VersionReply>, Status> {
        let told = |name| request.metadata().get(name).and_then(|value| value.to_str().ok());
        let number = |name| told(name).and_then(|value| value.parse::<u32>().ok());
        if let Some(id) = number("broker-id") {
            return self.ask_host(id).await.map(Response::new);
        }
        if let Some(bytes) = number("reply-bytes") {
            let plugin_version = "x".repeat(bytes as usize);
            return Ok(Response::new(VersionReply { plugin_version }));
        }
        if let Some(bytes) = number("log-bytes") {
            let long = "x".repeat(bytes as usize);
            tracing::info!("@level" = 3, long, "logged as asked");
        }
        match told("do") {
            Some("log everything") => {
                tracing::trace!("trace of the probe");
                tracing::debug!("debug of the probe");
                tracing::error!(quote = "\"", newline = "\n", number = 1, "two\nlines");
            }
            Some("wait") => {
                tracing::info!("waiting");
                std::future::pending::<()>().await;
            }
            #[expect(clippy::panic, reason = "the test wants to see one")]
            Some("panic") => panic!("a value: {}", "c4n4ry".to_owned()),
            Some(_) | None => {}
        }
        Ok(Response::new(VersionReply { plugin_version: "v1.2.3".to_owned() }))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let mut config = ServeConfig::new("PROBE_PLUGIN", "5c2f2a0e", 5).log_variable("PROBE_LOG");
    if let Some(limit) = std::env::var("PROBE_HOST_TIMEOUT_MS").ok().and_then(|ms| ms.parse().ok())
    {
        config = config.host_timeout(Duration::from_millis(limit));
    }
    go_plugin::run(config, |broker| Routes::new(PluginVersionServer::new(Probe(broker)))).await
}
