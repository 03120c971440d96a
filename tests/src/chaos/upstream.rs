//! Upstreams as processes of their own, which may be killed and leave a book of what they executed.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

mod serve;

pub use serve::serve;

/// A running upstream; it ends when dropped.
#[derive(Debug)]
pub struct Upstream {
    program: PathBuf,
    process: Child,
    port: u16,
    folder: TempDir,
}

/// One execution, as the upstream saw it.
#[derive(Clone, Debug)]
pub struct Execution {
    /// Which call.
    pub id: String,
    /// Which credential came with it: what [`tag`] makes of the header.
    pub tag: String,
    /// The `X-Request-Id` that came with it.
    pub request_id: String,
}

impl Upstream {
    /// Starts one: `program upstream PORT BOOK` calls [`serve`].
    ///
    /// # Panics
    /// When it doesn't start.
    pub async fn start(program: &Path) -> Self {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let (process, port) = spawn(program, 0, folder.path()).await;
        Self { program: program.to_owned(), process, port, folder }
    }

    /// `http://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.id().expect("a running upstream")
    }

    /// Ends it at once, as a crash would, with all its sessions.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("an end");
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) {
        (self.process, self.port) = spawn(&self.program, self.port, self.folder.path()).await;
    }

    /// All executions so far, in order.
    pub fn executions(&self) -> Vec<Execution> {
        let book = fs::read_to_string(self.folder.path().join(BOOK)).unwrap_or_default();
        let read = |line: &str| {
            let mut words = line.split(' ').map(str::to_owned);
            let (id, tag, request_id) = (words.next()?, words.next()?, words.next()?);
            Some(Execution { id, tag, request_id })
        };
        book.lines().map(|line| read(line).expect("a whole line")).collect()
    }
}

/// A credential's name for books and answers: it tells two apart and gives neither away.
pub(super) fn tag(authorization: &str) -> String {
    let mut hasher = DefaultHasher::new();
    authorization.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

const BOOK: &str = "executed";

async fn spawn(program: &Path, port: u16, folder: &Path) -> (Child, u16) {
    let mut process = Command::new(program)
        .arg("upstream")
        .arg(port.to_string())
        .arg(folder.join(BOOK))
        // It ends when this closes, whatever becomes of who started it.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the upstream's program");
    let stdout = process.stdout.take().expect("its output");
    let mut line = String::new();
    BufReader::new(stdout).read_line(&mut line).await.expect("a line");
    (process, line.trim().parse().expect("a port"))
}
