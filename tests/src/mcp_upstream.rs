//! MCP servers of others, as people run them, each on a port of loopback.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

use crate::{programs, server, wait};

/// Which revisions a FastMCP server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Revisions {
    /// The stateless one, and those before it.
    All,
    /// Those with a handshake, and sessions, alone.
    WithHandshake,
}

/// A running server; it ends when dropped.
#[derive(Debug)]
pub struct Running {
    process: Child,
    port: u16,
    folder: TempDir,
    how: How,
}

#[derive(Debug)]
enum How {
    FastMcp { header: String, value: String, revisions: Revisions },
    Everything,
}

/// Starts a FastMCP server (`tests/clients/mcp_upstream.py`) that demands `value` in `header`; none,
/// and a word about it, where it isn't installed.
///
/// # Panics
/// When it doesn't start.
pub async fn fastmcp(revisions: Revisions, header: &str, value: &str) -> Option<Running> {
    let (header, value) = (header.to_owned(), value.to_owned());
    Running::start(How::FastMcp { header, value, revisions }).await
}

/// Starts the reference server, which has sessions and demands nothing; none, and a word about it,
/// where it isn't installed.
///
/// # Panics
/// When it doesn't start.
pub async fn everything() -> Option<Running> {
    Running::start(How::Everything).await
}

impl Running {
    async fn start(how: How) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let port = match how {
            How::FastMcp { .. } => 0,
            // It can't tell which port it got.
            How::Everything => server::free_port(),
        };
        let (process, port) = spawn(&how, port, &folder).await?;
        Some(Self { process, port, folder, how })
    }

    /// Its endpoint.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}/mcp", self.port)
    }

    /// Ends it at once, as a crash would, with all its sessions.
    pub async fn kill(&mut self) {
        self.process.kill().await.expect("an end");
    }

    /// Starts it again where it was.
    pub async fn start_again(&mut self) {
        let started = spawn(&self.how, self.port, &self.folder).await;
        (self.process, self.port) = started.expect("it is installed");
    }

    /// What was executed, in order: the tool's name, and of some a word more.
    pub fn executed(&self) -> Vec<String> {
        let book = fs::read_to_string(self.folder.path().join("executed")).unwrap_or_default();
        book.lines().map(str::to_owned).collect()
    }

    /// How often this was executed.
    pub fn count(&self, what: &str) -> usize {
        self.executed().iter().filter(|line| *line == what).count()
    }

    /// Waits until this was executed.
    pub async fn has_executed(&self, what: &str) {
        wait::until(what, async || (self.count(what) > 0).then_some(())).await;
    }

    /// Changes the description of its tool `add`, on its own.
    pub fn poison(&self, description: &str) {
        fs::write(self.folder.path().join("poison"), description).expect("a file");
    }
}

async fn spawn(how: &How, port: u16, folder: &TempDir) -> Option<(Child, u16)> {
    let mut command = match how {
        How::FastMcp { header, value, revisions } => {
            let mut command = Command::new(fetched("python/bin/python")?);
            let era = match revisions {
                Revisions::All => "modern",
                Revisions::WithHandshake => "legacy",
            };
            command
                .arg(programs::root().join("tests/clients/mcp_upstream.py"))
                .arg(port.to_string())
                .arg(folder.path())
                .env_clear()
                .envs([("HEADER", header.as_str()), ("VALUE", value), ("ERA", era)])
                .env("FASTMCP_CHECK_FOR_UPDATES", "off")
                // Words about what clients do wrong on purpose.
                .stderr(fs::File::create(folder.path().join("log")).expect("a file"));
            command
        }
        How::Everything => {
            let script = "@modelcontextprotocol/server-everything/dist/index.js";
            let mut command = Command::new(fetched("bin/node")?);
            command
                .arg(fetched(&format!("upstreams/node_modules/{script}"))?)
                .arg("streamableHttp")
                .env_clear()
                .env("PORT", port.to_string())
                .stderr(Stdio::piped());
            command
        }
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut process = command.spawn().expect("a program that starts");
    let stdout = process.stdout.take().expect("its output");
    let port = match process.stderr.take() {
        None => line(stdout).await.trim().parse().expect("a port"),
        Some(stderr) => {
            // What it says there is of no interest, and must not fill the pipe.
            tokio::spawn(drain(stdout));
            let said = line(stderr).await;
            assert!(said.contains("listening on port"), "{said}");
            port
        }
    };
    let address = (std::net::Ipv4Addr::LOCALHOST, port);
    wait::until("the MCP server to listen", async || {
        tokio::net::TcpStream::connect(address).await.ok()
    })
    .await;
    Some((process, port))
}

/// The first line; the rest is read and thrown away.
async fn line(output: impl tokio::io::AsyncRead + Unpin + Send + 'static) -> String {
    let mut lines = BufReader::new(output).lines();
    let line = tokio::time::timeout(wait::LIMIT, lines.next_line()).await.expect("a line in time");
    let line = line.expect("its output").expect("a line before it ends");
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    line
}

async fn drain(mut output: impl tokio::io::AsyncRead + Unpin) {
    let _ = tokio::io::copy(&mut output, &mut tokio::io::sink()).await;
}

/// The folder with what `scripts/setup clients` fetches.
pub fn clients() -> PathBuf {
    programs::root().join(".cache/clients")
}

/// A program that it fetches; none, and a word about it, where it isn't there.
#[expect(clippy::print_stdout, reason = "says what is passed over")]
pub fn fetched(path: &str) -> Option<PathBuf> {
    let path = clients().join(path);
    if path.exists() {
        return Some(path);
    }
    println!("SKIPPED: {} is missing; run: scripts/setup clients", path.display());
    None
}
