//! The plugin's side of the wire, driven by a host over pipes: what is served and what is asked.

mod cancellation;
mod effects;
mod engine;
mod errors;
mod fields;
mod host;
mod lifecycle;
mod mounts;
mod operations;
mod size;
mod storage;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hyper_util::rt::TokioIo;
use proto::pb;
use proto::pb::backend_client::BackendClient;
use tokio::io::DuplexStream;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Status};

use super::{Connect, MULTIPLEX_ID};
use crate::serve::routes;
use engine::{Journal, Probe};
use host::Host;

/// How long a test waits for what must come. Nothing waits that long unless it is broken.
const LIMIT: Duration = Duration::from_secs(20);

const PIPE: usize = 256 << 10;

/// The services of one plugin process, and the hosts' services it can be told to connect to.
struct Plugin {
    channel: Channel,
    hosts: Arc<Mutex<HashMap<u32, Host>>>,
    next: AtomicU32,
}

impl Plugin {
    async fn start() -> Self {
        let hosts: Arc<Mutex<HashMap<u32, Host>>> = Arc::default();
        let known = Arc::clone(&hosts);
        let connect: Connect = Arc::new(move |id| {
            let host = known.lock().unwrap().get(&id).cloned();
            Box::pin(async move {
                match host {
                    Some(host) => Ok(host.connect().await),
                    None => Err(format!("no connection information for {id}")),
                }
            })
        });
        let (ours, theirs) = tokio::io::duplex(PIPE);
        serve(routes::<Probe>(<Probe as crate::Backend>::VERSION, connect), theirs);
        Self { channel: connect_over(ours).await, hosts, next: AtomicU32::new(1) }
    }

    fn backend(&self) -> BackendClient<Channel> {
        BackendClient::new(self.channel.clone()).max_decoding_message_size(usize::MAX)
    }

    /// Offers a host's services to `Setup`, under the id that is returned.
    fn offer(&self, host: &Host) -> u32 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        self.hosts.lock().unwrap().insert(id, host.clone());
        id
    }

    async fn setup(&self, multiplex_id: &str, broker_id: u32, uuid: &str) -> pb::SetupReply {
        let args =
            pb::SetupArgs { broker_id, backend_uuid: uuid.to_owned(), config: HashMap::default() };
        self.backend().setup(tagged(multiplex_id, args)).await.unwrap().into_inner()
    }

    async fn mount(&self, multiplex_id: &str, host: &Host) -> Mount {
        let journal = Journal::new();
        let reply = self.setup(multiplex_id, self.offer(host), journal.uuid()).await;
        assert_eq!(reply.err, "");
        Mount { id: multiplex_id.to_owned(), backend: self.backend(), journal }
    }
}

/// One plugin with one mount on a host where all works.
async fn mounted() -> (Host, Mount) {
    let host = Host::default();
    let mount = Plugin::start().await.mount("mount-1", &host).await;
    (host, mount)
}

/// A mount as its host sees it.
#[derive(Clone)]
struct Mount {
    id: String,
    backend: BackendClient<Channel>,
    journal: Arc<Journal>,
}

impl Mount {
    async fn send(&self, request: pb::Request) -> Result<pb::HandleRequestReply, Status> {
        let args = pb::HandleRequestArgs { request: Some(request), ..Default::default() };
        let reply = self.backend.clone().handle_request(tagged(&self.id, args)).await?;
        Ok(reply.into_inner())
    }

    /// What a handler does never shows as a gRPC status, which is why this may unwrap.
    async fn call(&self, operation: &str, path: &str, data: &str) -> pb::HandleRequestReply {
        self.send(request(operation, path, data)).await.unwrap()
    }

    async fn exists(&self, path: &str, data: &str) -> pb::HandleExistenceCheckReply {
        let request = Some(request("update", path, data));
        let args = pb::HandleExistenceCheckArgs { request, ..Default::default() };
        self.backend
            .clone()
            .handle_existence_check(tagged(&self.id, args))
            .await
            .unwrap()
            .into_inner()
    }

    async fn initialize(&self) -> Option<pb::ProtoError> {
        let args = tagged(&self.id, pb::InitializeArgs {});
        self.backend.clone().initialize(args).await.unwrap().into_inner().err
    }

    async fn cleanup(&self) {
        self.backend.clone().cleanup(tagged(&self.id, pb::Empty {})).await.unwrap();
    }
}

/// A request with all that hosts fill in.
fn request(operation: &str, path: &str, data: &str) -> pb::Request {
    pb::Request {
        id: "r-1".into(),
        operation: operation.into(),
        path: path.into(),
        data: data.into(),
        client_token: "0123456789abcdef0123456789abcdef01234567".into(),
        client_token_accessor: "accessor-1".into(),
        display_name: "approle".into(),
        mount_point: "ns1/probe/".into(),
        mount_type: "probe".into(),
        entity_id: "entity-1".into(),
        connection: Some(pb::Connection { remote_addr: "192.0.2.7".into(), ..Default::default() }),
        ..Default::default()
    }
}

/// A message with the metadata that says which mount it is for, and some that is nobody's business.
fn tagged<T>(multiplex_id: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.insert(MULTIPLEX_ID, multiplex_id.parse().unwrap());
    metadata.insert("snapshot_id", "snapshot-1".parse().unwrap());
    metadata.insert("index_state_cluster_id", "cluster-1".parse().unwrap());
    request
}

fn data(reply: &pb::HandleRequestReply) -> serde_json::Value {
    assert!(reply.err.is_none(), "{:?}", reply.err);
    serde_json::from_str(&reply.response.as_ref().expect("a response").data).unwrap()
}

#[track_caller]
fn err_type(reply: &pb::HandleRequestReply) -> u32 {
    reply.err.as_ref().expect("an error").err_type
}

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.unwrap_or_else(|_| panic!("{what} never came"))
}

fn serve(routes: Routes, io: DuplexStream) {
    let incoming = futures_util::stream::iter([Ok::<_, std::io::Error>(io)]);
    // The connection outlives the stream of connections, which ends after this one.
    tokio::spawn(async move {
        Server::builder().add_routes(routes).serve_with_incoming(incoming).await.unwrap();
    });
}

async fn connect_over(io: DuplexStream) -> Channel {
    let mut io = Some(io);
    let once = tower::service_fn(move |_| {
        let io = io.take().map(TokioIo::new).ok_or_else(|| std::io::Error::other("closed"));
        std::future::ready(io)
    });
    Endpoint::from_static("http://pipe").connect_with_connector(once).await.unwrap()
}
