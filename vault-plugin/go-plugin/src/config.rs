//! What a plugin tells about itself before it serves.

use std::time::Duration;

/// Names the plugin to its host and sets how it is run.
#[derive(Clone, Debug)]
pub struct ServeConfig {
    pub(crate) cookie_key: &'static str,
    pub(crate) cookie_value: &'static str,
    pub(crate) protocol_version: u32,
    pub(crate) log_variable: Option<&'static str>,
    pub(crate) host_timeout: Duration,
    pub(crate) core_dumps: bool,
}

impl ServeConfig {
    /// Describes a plugin whose host sets the environment variable `cookie_key` to `cookie_value`
    /// and offers `protocol_version` of the application's own protocol.
    ///
    /// The cookie isn't a secret: it tells a start by a host from a start by hand.
    pub const fn new(
        cookie_key: &'static str,
        cookie_value: &'static str,
        protocol_version: u32,
    ) -> Self {
        Self {
            cookie_key,
            cookie_value,
            protocol_version,
            log_variable: None,
            host_timeout: Duration::from_secs(60),
            core_dumps: false,
        }
    }

    /// Lets the environment variable `name` choose what is logged, in the syntax of
    /// [`EnvFilter`](tracing_subscriber::EnvFilter). Without one, and by default, `info`.
    #[must_use]
    pub const fn log_variable(mut self, name: &'static str) -> Self {
        self.log_variable = Some(name);
        self
    }

    /// Sets how long the host may take to connect; 60 s by default, as long as go-plugin itself
    /// waits for a start. A plugin whose host died before connecting ends after that.
    #[must_use]
    pub const fn host_timeout(mut self, limit: Duration) -> Self {
        self.host_timeout = limit;
        self
    }

    /// Lets the kernel write core dumps and debuggers attach. Both are off by default, because
    /// the memory of a plugin often holds secrets.
    #[must_use]
    pub const fn danger_allow_core_dumps(mut self) -> Self {
        self.core_dumps = true;
        self
    }
}
