//! The server's own command line and API proxy: clients with the Go SDK's retry policy.

use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use tempfile::TempDir;

use crate::api::Api;
use crate::server::{Server, free_port};
use crate::{programs, wait};

/// Runs `bao` (or `vault`) with `arguments` and waits; it repeats a failed request twice.
pub async fn run(api: &Api, arguments: &[&str]) -> Output {
    command(api).args(arguments).output().await.expect("the server's command line")
}

/// Runs a line that begins with `vault`, as somebody would who copies it into a shell; `-` is read
/// from `input`.
pub async fn run_line(api: &Api, line: &str, input: &str) -> Output {
    let mut words = line.split(' ');
    assert_eq!(words.next(), Some("vault"), "{line}");
    // The standard input as a file: no write that could block, or come too late.
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(input.as_bytes()).expect("a write");
    file.rewind().expect("a rewind");
    let output = command(api).args(words).stdin(file).output();
    output.await.expect("the server's command line")
}

fn command(api: &Api) -> tokio::process::Command {
    let mut command = tokio::process::Command::new(programs::server());
    command.stdin(Stdio::null()).kill_on_drop(true);
    // The token helper reads ~/.vault-token.
    command.env("HOME", "/nonexistent");
    for prefix in ["BAO", "VAULT"] {
        command
            .env(format!("{prefix}_ADDR"), api.address())
            .env(format!("{prefix}_TOKEN"), api.token())
            .env(format!("{prefix}_MAX_RETRIES"), "2");
    }
    command
}

/// `bao proxy` in front of a server, repeating failed requests; gone when dropped.
#[derive(Debug)]
pub struct Proxy {
    process: Child,
    address: String,
    _directory: TempDir,
}

impl Proxy {
    /// Starts one that sends each caller's own token on.
    pub async fn start(server: &Server) -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let port = free_port();
        let configuration = format!(
            "vault {{\n  address = \"{}\"\n  retry {{\n    num_retries = 3\n  }}\n}}\n\
             api_proxy {{}}\n\
             listener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n  tls_disable = true\n}}\n",
            server.address()
        );
        fs::write(directory.path().join("proxy.hcl"), configuration).expect("a configuration");
        let process = spawn(directory.path());
        let proxy =
            Self { process, address: format!("http://127.0.0.1:{port}"), _directory: directory };
        let api = Api::new(&proxy.address, "");
        wait::until("the API proxy to answer", async || {
            api.send("GET", "sys/health", None).await.is_ok().then_some(())
        })
        .await;
        proxy
    }

    /// A client of the proxy with the token of `api`.
    pub fn api(&self, api: &Api) -> Api {
        Api::new(&self.address, api.token())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(directory: &Path) -> Child {
    let log = fs::File::create(directory.join("proxy.log")).expect("a log");
    Command::new(programs::server())
        .arg("proxy")
        .arg(format!("-config={}", directory.join("proxy.hcl").display()))
        .env("HOME", directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("the log again"))
        .stderr(log)
        .spawn()
        .expect("the server program")
}
