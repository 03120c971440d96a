//! The host: starts the plugin, reads its handshake, connects, and serves on brokered sockets.

use std::{
    collections::BTreeMap,
    io,
    path::{Path, PathBuf},
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use hyper_util::rt::TokioIo;
use proto::{
    goplugin::grpc_stdio_client::GrpcStdioClient,
    goplugin::{ConnInfo, StdioData, grpc_broker_client::GrpcBrokerClient},
    goplugin::{Empty as PluginEmpty, grpc_controller_client::GrpcControllerClient},
    logical::{
        Empty, VersionReply,
        plugin_version_client::PluginVersionClient,
        plugin_version_server::{PluginVersion, PluginVersionServer},
    },
};
use rustix::process::{Pid, Signal, kill_process};
use rustls::{ClientConfig, ServerConfig, pki_types::CertificateDer};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    net::{UnixListener, UnixStream},
    process::{Child, Command},
    sync::{mpsc, watch},
    time::timeout,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, Streaming,
    transport::{Channel, Endpoint, Server},
};

use crate::identity::Identity;

/// How long anything may take that should be immediate.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Lines that a stream of the child has written so far.
type Lines = watch::Receiver<Vec<String>>;

/// A plugin process that was started as a host starts one.
pub(crate) struct Plugin {
    child: Child,
    pub(crate) host: Identity,
    pub(crate) directory: tempfile::TempDir,
    stdout: Lines,
    stderr: Lines,
}

impl Plugin {
    /// Starts the probe with a new identity and the environment that go-plugin sets.
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    /// Starts the probe with a changed environment.
    pub(crate) fn start_with(change: impl FnOnce(&mut BTreeMap<&str, String>)) -> Self {
        let host = Identity::new();
        let directory = tempfile::tempdir().unwrap();
        let mut env = BTreeMap::from([
            ("PROBE_PLUGIN", "5c2f2a0e".to_owned()),
            ("PLUGIN_PROTOCOL_VERSIONS", "5".to_owned()),
            ("PLUGIN_CLIENT_CERT", host.pem()),
            ("PLUGIN_MIN_PORT", "10000".to_owned()),
            ("PLUGIN_MAX_PORT", "25000".to_owned()),
            ("TMPDIR", directory.path().to_str().unwrap().to_owned()),
        ]);
        change(&mut env);
        let mut child = Command::new(probe())
            .env_clear()
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let stdout = collect(child.stdout.take().unwrap());
        let stderr = collect(child.stderr.take().unwrap());
        Self { child, host, directory, stdout, stderr }
    }

    /// Waits for the handshake line.
    pub(crate) async fn handshake(&self) -> Handshake {
        Handshake::parse(&line(&self.stdout, |_| true).await)
    }

    /// Waits for a line on standard error that contains `text`.
    pub(crate) async fn logged(&self, text: &str) -> String {
        line(&self.stderr, |line| line.contains(text)).await
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id().unwrap()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    pub(crate) fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id().unwrap())).unwrap()
    }

    pub(crate) fn is_running(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Waits for the process to end, and returns how, with all that it wrote.
    pub(crate) async fn ended(mut self, limit: Duration) -> Ended {
        let status =
            timeout(limit, self.child.wait()).await.expect("the plugin still runs").unwrap();
        Ended {
            status,
            stdout: all(self.stdout).await,
            stderr: all(self.stderr).await,
            files: std::fs::read_dir(self.directory.path()).unwrap().count(),
        }
    }

    /// Connects and opens the streams, as a host does first of all.
    pub(crate) async fn connect(&self) -> Connection {
        connect_to(&self.handshake().await, &self.host).await
    }

    /// Serves the question of the probe on a further socket, as the broker does.
    pub(crate) async fn serve(&self, id: u32, host: &Identity, reply: &str) -> ConnInfo {
        let tls = host.server(&self.handshake().await.certificate);
        let path = self.directory.path().join(format!("host{id}"));
        serve(&path, tls, reply.to_owned());
        ConnInfo {
            service_id: id,
            network: "unix".to_owned(),
            address: path.to_str().unwrap().to_owned(),
            knock: None,
        }
    }
}

/// Connects to a plugin and opens the streams.
pub(crate) async fn connect_to(handshake: &Handshake, host: &Identity) -> Connection {
    let tls = host.client(&handshake.certificate);
    Connection::open(channel(&handshake.socket, tls).await.unwrap()).await
}

/// What a plugin left behind.
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: Vec<String>,
    pub(crate) stderr: Vec<String>,
    /// Number of files in its temporary directory.
    pub(crate) files: usize,
}

/// The handshake line in its parts.
pub(crate) struct Handshake {
    pub(crate) line: String,
    pub(crate) fields: Vec<String>,
    pub(crate) socket: PathBuf,
    pub(crate) certificate: CertificateDer<'static>,
}

impl Handshake {
    fn parse(line: &str) -> Self {
        let fields: Vec<_> = line.split('|').map(str::to_owned).collect();
        Self {
            line: line.to_owned(),
            socket: PathBuf::from(&fields[3]),
            certificate: BASE64_STANDARD_NO_PAD.decode(&fields[5]).unwrap().into(),
            fields,
        }
    }
}

/// A host's connection with its two streams open.
pub(crate) struct Connection {
    pub(crate) channel: Channel,
    pub(crate) announce: mpsc::Sender<ConnInfo>,
    pub(crate) announced: Streaming<ConnInfo>,
    pub(crate) stdio: Streaming<StdioData>,
}

impl Connection {
    async fn open(channel: Channel) -> Self {
        let (announce, stream) = mpsc::channel(8);
        // Must answer before anything is announced.
        let announced = GrpcBrokerClient::new(channel.clone())
            .start_stream(ReceiverStream::new(stream))
            .await
            .unwrap()
            .into_inner();
        let stdio =
            GrpcStdioClient::new(channel.clone()).stream_stdio(()).await.unwrap().into_inner();
        Self { channel, announce, announced, stdio }
    }

    /// Asks the probe, with metadata that says what to do.
    pub(crate) fn ask(
        &self,
        name: &'static str,
        value: impl ToString,
    ) -> impl Future<Output = Result<String, Status>> + Send + 'static {
        let mut request = Request::new(Empty {});
        request.metadata_mut().insert(name, value.to_string().parse().unwrap());
        let mut client =
            PluginVersionClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        async move { Ok(client.version(request).await?.into_inner().plugin_version) }
    }

    pub(crate) async fn shutdown(&self) -> Result<(), Status> {
        GrpcControllerClient::new(self.channel.clone()).shutdown(PluginEmpty {}).await?;
        Ok(())
    }
}

/// Connects over TLS, without gRPC.
pub(crate) async fn tls(socket: &Path, config: ClientConfig) -> io::Result<TlsStream<UnixStream>> {
    let connector = TlsConnector::from(Arc::new(config));
    connector.connect("localhost".try_into().unwrap(), UnixStream::connect(socket).await?).await
}

async fn channel(socket: &Path, config: ClientConfig) -> Result<Channel, tonic::transport::Error> {
    let socket = socket.to_owned();
    Endpoint::from_static("http://localhost")
        .connect_with_connector(tower::service_fn(move |_| {
            let (socket, config) = (socket.clone(), config.clone());
            async move { tls(&socket, config).await.map(TokioIo::new) }
        }))
        .await
}

fn serve(path: &Path, config: ServerConfig, reply: String) {
    let listener = UnixListener::bind(path).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let (accepted, incoming) = mpsc::channel(1);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            if let Ok(stream) = acceptor.accept(stream).await {
                accepted.send(Ok::<_, io::Error>(stream)).await.unwrap();
            }
        }
    });
    tokio::spawn(
        Server::builder()
            .add_service(PluginVersionServer::new(Answer(reply)))
            .serve_with_incoming(ReceiverStream::new(incoming)),
    );
}

struct Answer(String);

#[tonic::async_trait]
impl PluginVersion for Answer {
    async fn version(&self, _request: Request<Empty>) -> Result<Response<VersionReply>, Status> {
        Ok(Response::new(VersionReply { plugin_version: self.0.clone() }))
    }
}

/// Finds the probe, which cargo builds beside the tests.
fn probe() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let probe = tests.ancestors().nth(2).unwrap().join("examples/probe");
    assert!(probe.exists(), "no {}: `cargo test -p go-plugin` builds it", probe.display());
    probe
}

fn collect(stream: impl AsyncRead + Send + Unpin + 'static) -> Lines {
    let (sender, lines) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let mut stream = BufReader::new(stream).lines();
        while let Ok(Some(line)) = stream.next_line().await {
            sender.send_modify(|lines| lines.push(line));
        }
    });
    lines
}

async fn line(lines: &Lines, matches: impl Fn(&str) -> bool) -> String {
    let found = Mutex::new(None);
    let wait = async {
        let _ = lines
            .clone()
            .wait_for(|lines| {
                *found.lock().unwrap() = lines.iter().find(|line| matches(line)).cloned();
                found.lock().unwrap().is_some()
            })
            .await;
    };
    let waited = timeout(SOON, wait).await;
    let found = found.into_inner().unwrap();
    found.unwrap_or_else(|| panic!("no such line ({waited:?}) in {:?}", *lines.borrow()))
}

/// Waits for the stream's end and returns all its lines.
async fn all(mut lines: Lines) -> Vec<String> {
    while lines.changed().await.is_ok() {}
    lines.borrow().clone()
}
