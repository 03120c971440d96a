//! The ways between a cluster's nodes: relays before their cluster ports, which can be cut.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Which ways are cut, each from one node to another, and how.
#[derive(Clone, Debug, Default)]
struct Cuts {
    ways: HashSet<(usize, usize)>,
    closing: bool,
}

/// All ways of a cluster. Its tasks end with the runtime.
#[derive(Clone, Debug)]
pub struct Network {
    cuts: watch::Sender<Cuts>,
    /// The nodes' configurations, which stand in their command lines: so is found who connects.
    nodes: Arc<Mutex<BTreeMap<usize, PathBuf>>>,
}

impl Default for Network {
    fn default() -> Self {
        Self { cuts: watch::Sender::new(Cuts::default()), nodes: Arc::default() }
    }
}

impl Network {
    /// Starts a relay before the cluster port of the node `to`, whose directory this is; its own
    /// port.
    ///
    /// # Panics
    /// When there is no port.
    pub fn before(&self, to: usize, directory: &Path, port: u16) -> u16 {
        self.nodes.lock().unwrap().insert(to, directory.to_owned());
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let own = listener.local_addr().expect("an address").port();
        listener.set_nonblocking(true).expect("a listener for the runtime");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let network = self.clone();
        tokio::spawn(async move {
            while let Ok((caller, address)) = listener.accept().await {
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await else {
                    continue;
                };
                let Some(from) = network.owner(address, own) else { continue };
                for stream in [&caller, &server] {
                    let _ = stream.set_nodelay(true);
                }
                let ((from_caller, to_caller), (from_server, to_server)) =
                    (caller.into_split(), server.into_split());
                let cuts = network.cuts.subscribe();
                tokio::spawn(pass(from_caller, to_server, (from, to), cuts.clone()));
                tokio::spawn(pass(from_server, to_caller, (from, to), cuts));
            }
        });
        own
    }

    /// Cuts the connections that the first node of each pair makes to the second: what is sent on
    /// them waits, as on a network that loses packets, or they are closed.
    pub fn cut(&self, ways: impl IntoIterator<Item = (usize, usize)>, closing: bool) {
        self.cuts.send_replace(Cuts { ways: ways.into_iter().collect(), closing });
    }

    /// Makes all ways whole.
    pub fn heal(&self) {
        self.cuts.send_replace(Cuts::default());
    }

    /// The node whose process has the other end of a connection, by the kernel's tables
    /// (proc(5): `/proc/net/tcp`, `/proc/<pid>/fd`).
    fn owner(&self, peer: SocketAddr, own: u16) -> Option<usize> {
        let (local, remote) = (format!(":{:04X}", peer.port()), format!(":{own:04X}"));
        let tables = ["tcp", "tcp6"].map(|name| fs::read_to_string(format!("/proc/net/{name}")));
        let tables = tables.into_iter().flatten().collect::<String>();
        let inode = tables.lines().find_map(|line| {
            let fields: Vec<_> = line.split_whitespace().collect();
            let matches = fields.get(1)?.ends_with(&local) && fields.get(2)?.ends_with(&remote);
            matches.then(|| fields.get(9).map(|inode| format!("socket:[{inode}]")))?
        })?;
        let nodes = self.nodes.lock().unwrap().clone();
        let processes = fs::read_dir("/proc").ok()?.flatten();
        processes.map(|process| process.path()).find_map(|process| {
            let line = fs::read(process.join("cmdline")).ok()?;
            let line = String::from_utf8_lossy(&line).into_owned();
            let has = |directory: &Path| line.contains(&*directory.to_string_lossy());
            let (&node, _) = nodes.iter().find(|(_, directory)| has(directory))?;
            let mut files = fs::read_dir(process.join("fd")).ok()?.flatten();
            let is_it = |file: &Path| fs::read_link(file).is_ok_and(|to| to.as_os_str() == &*inode);
            files.any(|file| is_it(&file.path())).then_some(node)
        })
    }
}

/// Passes one direction of a connection on while its way is whole.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    way: (usize, usize),
    mut cuts: watch::Receiver<Cuts>,
) {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let whole = cuts.wait_for(|cuts| cuts.closing || !cuts.ways.contains(&way)).await;
        // Closing all of a cut's ways: the rest go on.
        if !whole.is_ok_and(|cuts| !cuts.ways.contains(&way)) {
            break;
        }
        tokio::select! {
            count = from.read(&mut buffer) => {
                let Ok(count @ 1..) = count else { break };
                // A cut may have come meanwhile: then this waits too.
                let whole = cuts.wait_for(|cuts| cuts.closing || !cuts.ways.contains(&way)).await;
                if !whole.is_ok_and(|cuts| !cuts.ways.contains(&way)) {
                    break;
                }
                if to.write_all(&buffer[..count]).await.is_err() {
                    break;
                }
            }
            changed = cuts.changed() => {
                if changed.is_err() {
                    break;
                }
            }
        }
    }
    let _ = to.shutdown().await;
}
