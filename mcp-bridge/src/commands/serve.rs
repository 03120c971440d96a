//! Serves MCP on stdio until the client leaves or a signal comes.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::ServiceExt as _;
use rmcp::service::ServerInitializeError;

use crate::catalog::Store;
use crate::cli;
use crate::config::OperatorToken;
use crate::error::{CommandError, Exit};
use crate::process;
use crate::server::{Gate, Server, Stopping, stdio};

/// How long calls in flight may still finish after the client has closed its side.
const GRACE: Duration = Duration::from_millis(500);

/// Serves until stdin ends, or SIGTERM or SIGINT comes.
///
/// # Errors
///
/// [`CommandError`] if the settings can't be used or the client's handshake fails. A Vault that is
/// down is no error: each call tells of it.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Serve) -> Result<Exit, CommandError> {
    let config = super::prepare(settings, OperatorToken::Ignored)?;
    let structured = arguments.structured_results || config.structured_results;
    super::block_on(async move {
        let stopping = Stopping::default();
        watch_signals(&stopping)?;
        watch_end(&stopping);
        let store = Arc::new(Store::new(config));
        let login = Arc::clone(&store);
        tokio::spawn(async move { login.session().maintain().await });
        let catalog = Arc::clone(&store);
        tokio::spawn(async move { catalog.maintain().await });
        let outcome = serve(Arc::clone(&store), structured, &stopping).await;
        store.session().revoke().await;
        outcome.map(|()| Exit::Success)
    })
}

async fn serve(
    store: Arc<Store>,
    structured: bool,
    stopping: &Stopping,
) -> Result<(), CommandError> {
    let open = Arc::new(AtomicBool::new(false));
    let transport = Gate::new(stdio(), Arc::clone(&open), stopping.closed.clone());
    let server = Server::new(store, structured, stopping.clone());
    match server.serve_with_ct(transport, stopping.now.clone()).await {
        Ok(running) => {
            open.store(true, Ordering::Relaxed);
            let reason = running.waiting().await;
            tracing::info!(?reason, "stopped serving");
            Ok(())
        }
        Err(ServerInitializeError::ConnectionClosed(_) | ServerInitializeError::Cancelled) => {
            Ok(())
        }
        Err(_) => Err(CommandError::Handshake),
    }
}

/// Stops everything at once on SIGTERM or SIGINT.
fn watch_signals(stopping: &Stopping) -> Result<(), CommandError> {
    let signal = process::end_signal()?;
    let stopping = stopping.clone();
    tokio::spawn(async move {
        signal.await;
        stopping.closed.cancel();
        stopping.now.cancel();
    });
    Ok(())
}

/// Ends calls in flight soon after stdin has ended: rmcp alone would wait for five seconds.
fn watch_end(stopping: &Stopping) {
    let stopping = stopping.clone();
    tokio::spawn(async move {
        stopping.closed.cancelled().await;
        tokio::time::sleep(GRACE).await;
        stopping.now.cancel();
    });
}
