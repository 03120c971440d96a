//! The broker: reaches services that the host serves on further sockets.
//!
//! Protocol: go-plugin `grpc_broker.go`. The host opens one stream for the life of the process
//! and announces on it, under an id, each socket it opens. The id also comes in some call of the
//! application's own; either may be first.

use std::{collections::HashMap, io, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use proto::goplugin::{ConnInfo, grpc_broker_server::GrpcBroker};
use rustls::{ClientConfig, pki_types::ServerName};
use tokio::{net::UnixStream, sync::mpsc, sync::watch, time::timeout};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint},
};

use crate::{
    BrokerError,
    stop::{Reason, Stop},
    tls,
};

/// How long an id may be ahead of its announcement (go-plugin `grpc_broker.go`, `Dial`).
const ANNOUNCEMENT_LIMIT: Duration = Duration::from_secs(5);

/// How long dialling a brokered socket may take, TLS included.
const DIAL_LIMIT: Duration = Duration::from_secs(5);

/// Reaches services that the host serves for this plugin. Clones share one broker.
#[derive(Clone, Debug)]
pub struct Broker {
    announced: Arc<watch::Sender<HashMap<u32, ConnInfo>>>,
    tls: Arc<ClientConfig>,
    stop: Stop,
}

impl Broker {
    pub(crate) fn new(tls: Arc<ClientConfig>, stop: Stop) -> Self {
        Self { announced: Arc::default(), tls, stop }
    }

    /// Connects to the service that the host announced, or is about to announce, under `id`.
    ///
    /// An id can be connected to once; clone the channel to use it in several places. The host
    /// stops serving once every clone is dropped. Limits of message sizes are the client's, which
    /// is made with the channel: tonic decodes 4 MiB unless told otherwise.
    ///
    /// # Errors
    ///
    /// [`BrokerError::NotAnnounced`] if no announcement comes within 5 s,
    /// [`BrokerError::UnsupportedNetwork`] if it names another network than `unix`,
    /// [`BrokerError::Dial`] if the socket can't be connected to within another 5 s or isn't the
    /// host's, [`BrokerError::Stopping`] if the plugin ends meanwhile.
    pub async fn connect(&self, id: u32) -> Result<Channel, BrokerError> {
        let info = tokio::select! {
            info = timeout(ANNOUNCEMENT_LIMIT, self.take(id)) => info.ok().flatten(),
            _ = self.stop.requested() => return Err(BrokerError::Stopping),
        };
        let info = info.ok_or(BrokerError::NotAnnounced { id })?;
        if info.network != "unix" {
            return Err(BrokerError::UnsupportedNetwork { id });
        }
        let connector = tower::service_fn({
            let tls = TlsConnector::from(Arc::clone(&self.tls));
            move |_| dial(tls.clone(), info.address.clone())
        });
        // The name is that of the host's certificate; where to dial is the connector's business.
        Endpoint::from_static("http://localhost")
            .connect_with_connector(connector)
            .await
            .map_err(|source| BrokerError::Dial { id, source })
    }

    /// Waits for the announcement of `id` and takes it out.
    async fn take(&self, id: u32) -> Option<ConnInfo> {
        let mut announced = self.announced.subscribe();
        announced.wait_for(|announced| announced.contains_key(&id)).await.ok()?;
        let mut info = None;
        self.announced.send_if_modified(|announced| {
            info = announced.remove(&id);
            false
        });
        info
    }

    fn announce(&self, info: ConnInfo) {
        // A knock asks for a connection over a multiplexed listener, which no handshake of ours
        // grants.
        if info.knock.is_none() {
            self.announced.send_modify(|announced| {
                announced.insert(info.service_id, info);
            });
        }
    }
}

async fn dial(tls: TlsConnector, path: String) -> io::Result<TokioIo<TlsStream<UnixStream>>> {
    let name = ServerName::try_from(tls::SERVER_NAME).map_err(io::Error::other)?;
    let stream =
        timeout(DIAL_LIMIT, async { tls.connect(name, UnixStream::connect(path).await?).await })
            .await??;
    if stream.get_ref().1.alpn_protocol() == Some(tls::ALPN_HTTP2) {
        Ok(TokioIo::new(stream))
    } else {
        Err(io::Error::other("the host's brokered socket doesn't speak h2"))
    }
}

/// Serves the stream of announcements; its end is the host's.
pub(crate) struct Announcements {
    broker: Broker,
    opened: watch::Sender<bool>,
}

impl Announcements {
    pub(crate) fn new(broker: Broker) -> Self {
        Self { broker, opened: watch::Sender::new(false) }
    }

    /// Returns what turns true once the host has opened the stream.
    pub(crate) fn opened(&self) -> watch::Receiver<bool> {
        self.opened.subscribe()
    }
}

#[tonic::async_trait]
impl GrpcBroker for Announcements {
    type StartStreamStream = ReceiverStream<Result<ConnInfo, Status>>;

    async fn start_stream(
        &self,
        request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<Self::StartStreamStream>, Status> {
        self.opened.send_replace(true);
        let broker = self.broker.clone();
        let mut announcements = request.into_inner();
        // We announce nothing, so nothing is ever sent; dropping the sender ends the stream.
        let (ours, stream) = mpsc::channel(1);
        tokio::spawn(async move {
            loop {
                tokio::select! {
                    message = announcements.message() => match message {
                        Ok(Some(info)) => broker.announce(info),
                        // A dead host leaves no other trace than the end of its connection.
                        Ok(None) | Err(_) => {
                            broker.stop.request(Reason::HostGone);
                            break;
                        }
                    },
                    _ = broker.stop.requested() => break,
                }
            }
            drop(ours);
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }
}
