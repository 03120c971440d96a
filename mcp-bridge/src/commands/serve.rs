//! Serves MCP until the client leaves or a signal comes: on stdio, or as the holder on a socket.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rmcp::service::ServerInitializeError;
use rmcp::transport::Transport;
use rmcp::{RoleServer, ServiceExt as _};
use tokio_util::sync::CancellationToken;

use crate::catalog::Store;
use crate::cli;
use crate::config::OperatorToken;
use crate::error::{CommandError, Exit};
use crate::process;
use crate::server::{Gate, Server, Stopping, stdio};
#[cfg(unix)]
use crate::socket::{AllowedUsers, Listener};

/// How long calls in flight may still finish after the client has closed its side.
const GRACE: Duration = Duration::from_millis(500);
/// How long calls in flight may still finish after the signal that ends a holder. An MCP client
/// that ends its own bridge waits for none.
#[cfg(unix)]
const DRAIN: Duration = Duration::from_secs(10);

/// Serves until stdin ends, or SIGTERM or SIGINT comes; with a socket until the signal.
///
/// # Errors
///
/// [`CommandError`] if the settings or the socket can't be used or the client's handshake fails. A
/// Vault that is down is no error: each call tells of it.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Serve) -> Result<Exit, CommandError> {
    let config = super::prepare(settings, OperatorToken::Ignored)?;
    let structured = arguments.structured_results || config.structured_results;
    super::block_on(async move {
        #[cfg(unix)]
        let listener = listener(arguments).await?;
        let stopping = Stopping::default();
        #[cfg(unix)]
        watch_signals(&stopping, if listener.is_some() { DRAIN } else { Duration::ZERO })?;
        #[cfg(not(unix))]
        watch_signals(&stopping, Duration::ZERO)?;
        let store = Arc::new(Store::new(config));
        let login = Arc::clone(&store);
        tokio::spawn(async move { login.session().maintain().await });
        #[cfg(unix)]
        {
            let kept = Arc::clone(&store);
            tokio::spawn(async move { crate::enrolled::life::maintain(kept.session()).await });
        }
        let catalog = Arc::clone(&store);
        tokio::spawn(async move { catalog.maintain().await });
        #[cfg(unix)]
        if let Some(listener) = listener {
            hold(listener, &store, structured, &stopping).await;
            store.session().revoke().await;
            return Ok(Exit::Success);
        }
        let outcome = session(stdio(), Arc::clone(&store), structured, stopping).await;
        store.session().revoke().await;
        outcome.map(|()| Exit::Success)
    })
}

#[cfg(unix)]
async fn listener(arguments: &cli::Serve) -> Result<Option<Listener>, CommandError> {
    let Some(path) = &arguments.socket else { return Ok(None) };
    let unusable = |error: crate::socket::SocketError| CommandError::Argument(error.to_string());
    let allowed = AllowedUsers::parse(&arguments.allow_user).map_err(unusable)?;
    for warning in allowed.unseparated() {
        tracing::warn!("{warning}");
    }
    Listener::bind(path, &allowed).await.map(Some).map_err(unusable)
}

/// Serves one session on each connection. All share one login and one catalog.
#[cfg(unix)]
async fn hold(listener: Listener, store: &Arc<Store>, structured: bool, stopping: &Stopping) {
    let closed = stopping.closed.clone();
    let serve = |stream: tokio::net::UnixStream| {
        let (reader, writer) = stream.into_split();
        let store = Arc::clone(store);
        let stopping = stopping.session();
        async move {
            let transport = crate::server::streams(reader, writer);
            if let Err(error) = session(transport, store, structured, stopping).await {
                tracing::warn!("{error}");
            }
        }
    };
    listener.serve(&closed, serve).await;
}

/// Serves one client until it leaves, or `stopping` says so.
async fn session(
    transport: impl Transport<RoleServer> + 'static,
    store: Arc<Store>,
    structured: bool,
    stopping: Stopping,
) -> Result<(), CommandError> {
    let open = Arc::new(AtomicBool::new(false));
    let ended = CancellationToken::new();
    let gate = Gate::new(transport, Arc::clone(&open), ended.clone());
    let server = Server::new(store, structured, stopping.clone());
    let end = async {
        ended.cancelled().await;
        stopping.closed.cancel();
        // Calls in flight end soon: rmcp alone would wait for five seconds.
        tokio::time::sleep(GRACE).await;
        stopping.now.cancel();
        std::future::pending().await
    };
    let serving = async {
        match server.serve_with_ct(gate, stopping.now.clone()).await {
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
    };
    tokio::select! {
        outcome = serving => outcome,
        never = end => never,
    }
}

/// Stops on SIGTERM or SIGINT, with a limit for the calls under way.
fn watch_signals(stopping: &Stopping, limit: Duration) -> Result<(), CommandError> {
    let signal = process::end_signal()?;
    let stopping = stopping.clone();
    tokio::spawn(async move {
        signal.await;
        stopping.stop(limit).await;
    });
    Ok(())
}
