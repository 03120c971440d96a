//! The end of the plugin: who may ask for it, and how everybody hears of it.

use std::{io, sync::Arc};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Why the plugin ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The host called `GRPCController.Shutdown`.
    Shutdown,
    /// The broker stream ended without that: the host died.
    HostGone,
    /// The host never opened the broker stream.
    HostSilent,
    /// SIGTERM.
    Terminated,
}

/// Carries the first reason to end to everybody who waits for one.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<watch::Sender<Option<Reason>>>);

impl Stop {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }

    /// Asks for the end. Only the first reason counts: after a shutdown the host goes, too.
    pub(crate) fn request(&self, reason: Reason) {
        let first = self.0.send_if_modified(|stopped| {
            let first = stopped.is_none();
            stopped.get_or_insert(reason);
            first
        });
        if first {
            tracing::info!(?reason, "stopping");
        }
    }

    /// Waits for the end.
    pub(crate) async fn requested(&self) {
        // Can't fail: the sender lives in `self`.
        let _ = self.0.subscribe().wait_for(Option::is_some).await;
    }

    /// Ends on SIGTERM and ignores SIGINT: Ctrl-C in the host's terminal reaches its whole
    /// process group, and ending is the host's to decide (go-plugin `server.go`, `Serve`).
    pub(crate) fn on_signals(&self) -> io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let stop = self.clone();
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = terminate.recv() => stop.request(Reason::Terminated),
                    _ = interrupt.recv() => {}
                }
            }
        });
        Ok(())
    }
}
