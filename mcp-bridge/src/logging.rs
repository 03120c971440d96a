//! Sends the bridge's log to stderr: quiet by default, never coloured, never a header's value.

use tracing_subscriber::EnvFilter;

use crate::config::{ConfigError, names};

/// What is logged when nothing is set: hosts show stderr as errors, so little.
const DEFAULT_FILTER: &str = "off,mcp_bridge=warn";

/// Stands after the user's filter, and so wins: below this the HTTP libraries write request lines.
const CEILING: &str = "hyper=info,hyper_util=info,reqwest=info,rustls=info";

/// Starts logging with the filter of `--log` or `MCP_BRIDGE_LOG`.
///
/// # Errors
///
/// [`ConfigError::Invalid`] when the filter can't be read.
pub(crate) fn start(filter: Option<&str>) -> Result<(), ConfigError> {
    let filter = filter.unwrap_or(DEFAULT_FILTER);
    let filter =
        EnvFilter::try_new(format!("{filter},{CEILING}")).map_err(|_| ConfigError::Invalid {
            name: names::LOG.both(),
            problem: "isn't a log filter, for example: info, or mcp_bridge=debug",
        })?;
    // A second start, as in tests, keeps the first.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .with_target(true)
        .try_init();
    Ok(())
}
