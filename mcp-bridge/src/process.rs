//! Hardens this process and writes what a command has to say to its two streams.

use std::io::Write as _;

use crate::error::CommandError;

/// Keeps the memory of this process, which holds a Vault token, out of core dumps and away from
/// debuggers of the same user (`prctl(2)`, `PR_SET_DUMPABLE`; `setrlimit(2)`, `RLIMIT_CORE`).
///
/// Best effort: a kernel that refuses is no reason not to serve.
pub(crate) fn harden() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, setrlimit};
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    }
}

/// Whether this process runs as the system's administrator, whom no file permission stops.
pub(crate) fn is_root() -> bool {
    #[cfg(unix)]
    {
        rustix::process::geteuid().is_root()
    }
    #[cfg(not(unix))]
    {
        false
    }
}

/// Waits for the signal that ends a process: SIGTERM or SIGINT, or Ctrl-C where there are no
/// signals.
///
/// # Errors
///
/// [`CommandError::Start`] when the operating system delivers none.
pub(crate) fn end_signal() -> Result<impl Future<Output = ()>, CommandError> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let refused = |_| CommandError::Start("the operating system delivers no signals");
        let mut terminate = signal(SignalKind::terminate()).map_err(refused)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(refused)?;
        Ok(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    {
        Ok(async {
            if tokio::signal::ctrl_c().await.is_err() {
                std::future::pending::<()>().await;
            }
        })
    }
}

/// Names the one TLS provider of this program, before the first client is built.
pub(crate) fn install_tls_provider() {
    // An error means that a provider is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Writes a failed command's message to stderr: one line for each thing that is wrong.
pub(crate) fn report(error: &CommandError) {
    note(&format!("mcp-bridge: {error}"));
}

/// Writes one line to stderr.
pub(crate) fn note(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes the result of a command to stdout.
///
/// # Errors
///
/// [`CommandError::Output`] when stdout can't be written, for example a closed pipe.
pub(crate) fn output(bytes: &[u8]) -> Result<(), CommandError> {
    let mut stdout = std::io::stdout().lock();
    stdout.write_all(bytes).and_then(|()| stdout.flush()).map_err(|_| CommandError::Output)
}
