//! Keeps odd beginnings from ending the server, and tells of the client's end.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rmcp::RoleServer;
use rmcp::model::JsonRpcMessage;
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use tokio_util::sync::CancellationToken;

/// A transport that lets only requests in until the server has begun, and tells of the end.
///
/// rmcp ends the server when anything but a request comes before the client has chosen an era, as
/// a client does that withdraws its first probe.
#[derive(Debug)]
pub(crate) struct Gate<T> {
    inner: T,
    open: Arc<AtomicBool>,
    ended: CancellationToken,
}

impl<T> Gate<T> {
    /// Wraps a transport. `open` is to be set once the server has begun; `ended` is cancelled
    /// when the client closes its side.
    pub(crate) fn new(inner: T, open: Arc<AtomicBool>, ended: CancellationToken) -> Self {
        Self { inner, open, ended }
    }
}

impl<T: Transport<RoleServer>> Transport<RoleServer> for Gate<T> {
    type Error = T::Error;

    fn send(
        &mut self,
        item: TxJsonRpcMessage<RoleServer>,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send + 'static {
        self.inner.send(item)
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleServer>> {
        loop {
            match self.inner.receive().await {
                None => {
                    self.ended.cancel();
                    return None;
                }
                Some(message) => {
                    let request = matches!(message, JsonRpcMessage::Request(_));
                    if request || self.open.load(Ordering::Relaxed) {
                        return Some(message);
                    }
                    tracing::debug!("dropped what came before the first request");
                }
            }
        }
    }

    async fn close(&mut self) -> Result<(), Self::Error> {
        self.inner.close().await
    }
}
