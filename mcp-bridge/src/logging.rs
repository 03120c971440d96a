//! Sends the bridge's log to stderr and a file: quiet by default, never coloured, never a secret.

use std::sync::Mutex;

use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, fmt};

use crate::config::{ConfigError, Log, names};
use crate::private;

/// What stderr gets when nothing is set: hosts show it as errors, so little.
const DEFAULT_FILTER: &str = "off,mcp_bridge=warn";

/// What a log file gets when no filter is set.
const FILE_FILTER: &str = "off,mcp_bridge=info";

/// Stands after the user's filter, and so wins: below this the HTTP libraries write request lines.
const CEILING: &str = "hyper=info,hyper_util=info,reqwest=info,rustls=info";

/// Starts logging. Without a file the filter is stderr's; with one it is the file's, and stderr
/// keeps to warnings.
///
/// # Errors
///
/// [`ConfigError::Invalid`] when the filter can't be read or the file not written.
pub(crate) fn start(log: &Log) -> Result<(), ConfigError> {
    let asked = log.filter.as_deref();
    let (for_stderr, file) = match &log.file {
        None => (asked.unwrap_or(DEFAULT_FILTER), None),
        Some(path) => {
            let file = private::append(path).map_err(|_| ConfigError::Invalid {
                name: names::LOG_FILE.both(),
                problem: "names a file that can't be written",
            })?;
            let filter = filter(asked.unwrap_or(FILE_FILTER))?;
            let layer = fmt::layer().with_writer(Mutex::new(file)).with_ansi(false);
            (DEFAULT_FILTER, Some(layer.with_filter(filter)))
        }
    };
    let stderr =
        fmt::layer().with_writer(std::io::stderr).with_ansi(false).with_filter(filter(for_stderr)?);
    // A second start, as in tests, keeps the first.
    let _ = Registry::default().with(stderr).with(file).try_init();
    Ok(())
}

fn filter(text: &str) -> Result<EnvFilter, ConfigError> {
    EnvFilter::try_new(format!("{text},{CEILING}")).map_err(|_| ConfigError::Invalid {
        name: names::LOG.both(),
        problem: "isn't a log filter, for example: info, or mcp_bridge=debug",
    })
}
