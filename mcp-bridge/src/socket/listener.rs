//! Listens for the processes of certain users, and tells all others why not.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::admission::{Refusals, Rooms};
use super::{AllowedUsers, Greeting, SocketError, access, users, way};

/// How long a greeting may take: the buffer of a new connection has room for it.
const GREET: Duration = Duration::from_secs(1);
/// The pause after a connection that couldn't be taken, as when no file descriptor is left.
const PAUSE: Duration = Duration::from_millis(100);

/// A holder's socket; its file goes when it is dropped.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: UnixListener,
    rooms: Rooms,
    refusals: Refusals,
    /// The file, as long as it is this process's.
    file: File,
}

/// A socket's file, by what tells it from one that another process has put in its place.
#[derive(Debug)]
struct File {
    path: PathBuf,
    identity: (u64, u64),
}

impl Listener {
    /// Listens at a path. What a process that is gone has left there is replaced.
    ///
    /// # Errors
    ///
    /// [`SocketError`] if somebody else could replace it in turn, or something that lives or isn't
    /// a socket is there.
    pub(crate) async fn bind(path: &Path, allowed: &AllowedUsers) -> Result<Self, SocketError> {
        let path = &way::follow(path, users::own())?;
        clear(path).await?;
        let listener = UnixListener::bind(path).map_err(SocketError::system(path))?;
        access::restrict(path, allowed.uids()).map_err(SocketError::system(path))?;
        let identity = identity(path).map_err(SocketError::system(path))?;
        let file = File { path: path.to_owned(), identity };
        Ok(Self { listener, rooms: Rooms::new(allowed), refusals: Refusals::default(), file })
    }

    /// Serves every connection of an allowed user until `closed`; the file is gone then. Returns
    /// when the last connection has ended, too.
    pub(crate) async fn serve<F>(
        mut self,
        closed: &CancellationToken,
        serve: impl Fn(UnixStream) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                Some(_) = connections.join_next() => continue,
                () = closed.cancelled() => break,
            };
            let mut stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(kind = %error.kind(), "a connection can't be taken");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            match self.admit(&stream) {
                Err(refusal) => {
                    greet(&mut stream, &Greeting::refused(refusal)).await;
                }
                Ok(permit) if greet(&mut stream, &Greeting::ready()).await => {
                    let session = serve(stream);
                    connections.spawn(async move {
                        session.await;
                        drop(permit);
                    });
                }
                Ok(_) => {}
            }
        }
        // Whoever comes now finds no socket, and tries again until the next holder has made one.
        let Self { listener, rooms: _, refusals: _, file } = self;
        drop(file);
        drop(listener);
        while connections.join_next().await.is_some() {}
    }

    /// Gives the process at the other end a place, if it may have one: by the uid that the kernel
    /// gives (`unix(7)`, `SO_PEERCRED`), before a byte of it is read.
    fn admit(&mut self, stream: &UnixStream) -> Result<OwnedSemaphorePermit, String> {
        let Ok(peer) = stream.peer_cred() else {
            return Err("not_permitted: the system doesn't say whose process this is".to_owned());
        };
        let (uid, pid) = (peer.uid(), peer.pid());
        match self.rooms.enter(uid) {
            Ok(permit) => {
                tracing::info!(uid, pid, "an MCP client has connected");
                Ok(permit)
            }
            Err(denial) => {
                if let Some(count) = self.refusals.count(uid, Instant::now()) {
                    tracing::warn!(uid, pid, count, "refused a connection: {denial}");
                }
                Err(denial.to_string())
            }
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|data| (data.dev(), data.ino()))
}

/// Removes a socket on which nobody listens any more.
async fn clear(path: &Path) -> Result<(), SocketError> {
    match path.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(SocketError::system(path)(error)),
        Ok(data) if !data.file_type().is_socket() => {
            return Err(SocketError::Other(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(SocketError::system(path))
        }
        Ok(_) | Err(_) => Err(SocketError::Taken(path.to_owned())),
    }
}

/// Whether the other end takes the greeting.
async fn greet(stream: &mut UnixStream, greeting: &Greeting) -> bool {
    let line = greeting.line();
    tokio::time::timeout(GREET, stream.write_all(&line)).await.is_ok_and(|sent| sent.is_ok())
}
