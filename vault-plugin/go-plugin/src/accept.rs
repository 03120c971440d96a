//! Takes connections from the socket and lets through those of the host.

use std::{io, sync::Arc, time::Duration};

use rustls::ServerConfig;
use tokio::{
    net::{UnixListener, UnixStream},
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;

use crate::{batched::Batched, error::Chain, tls};

/// How long a TLS handshake may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(5);

/// How long to leave a listener alone that can't accept, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Returns the host's connections, TLS done.
///
/// Each handshake runs in a task of its own, so that a client that says nothing keeps nobody
/// waiting. Dropping the stream ends the listener.
pub(crate) fn accept(
    listener: UnixListener,
    config: Arc<ServerConfig>,
) -> ReceiverStream<io::Result<Batched<TlsStream<UnixStream>>>> {
    let acceptor = TlsAcceptor::from(config);
    let (accepted, stream) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let connection = tokio::select! {
                connection = listener.accept() => connection,
                () = accepted.closed() => break,
            };
            match connection {
                Ok((connection, _)) => {
                    let (acceptor, accepted) = (acceptor.clone(), accepted.clone());
                    tokio::spawn(async move {
                        match handshake(acceptor, connection).await {
                            // Nobody listens any more: the plugin is ending.
                            Ok(connection) => {
                                drop(accepted.send(Ok(Batched::new(connection))).await)
                            }
                            Err(error) => {
                                tracing::warn!(error = %Chain(&error), "refused a connection");
                            }
                        }
                    });
                }
                Err(error) => {
                    tracing::error!(error = %error, "can't accept connections");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    });
    ReceiverStream::new(stream)
}

async fn handshake(
    acceptor: TlsAcceptor,
    connection: UnixStream,
) -> io::Result<TlsStream<UnixStream>> {
    let stream = timeout(HANDSHAKE_LIMIT, acceptor.accept(connection)).await??;
    if stream.get_ref().1.alpn_protocol() == Some(tls::ALPN_HTTP2) {
        Ok(stream)
    } else {
        Err(io::Error::other("the client didn't ask for h2 by ALPN"))
    }
}
