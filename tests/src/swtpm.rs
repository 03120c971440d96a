//! A TPM in software, with a state and ports of its own; gone when dropped.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::wait;

/// A running TPM 2.0.
#[derive(Debug)]
pub struct Swtpm {
    process: Child,
    state: TempDir,
    port: u16,
}

impl Swtpm {
    /// Starts a new TPM.
    ///
    /// # Panics
    /// When swtpm isn't installed or doesn't come up.
    pub async fn start() -> Self {
        let state = tempfile::tempdir().expect("a temporary directory");
        // A pair of ports that is free now may be taken when the TPM wants it: then it exits.
        for _ in 0..5 {
            let port = free_pair().0.local_addr().expect("an address").port();
            let mut process = spawn(state.path(), port);
            if ready(&mut process, port).await {
                return Self { process, state, port };
            }
        }
        panic!("swtpm doesn't start; is it installed (apt install swtpm)?");
    }

    /// The way to it.
    pub fn tcti(&self) -> String {
        tcti(self.port)
    }

    /// The port of its data channel; the control channel is the next.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Runs one of the tpm2-tools, which must succeed: something else that changes this TPM.
    ///
    /// # Panics
    /// When the tool fails or isn't installed.
    pub fn tool(&self, program: &str, arguments: &[&str]) {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.state.path())
            .env("TPM2TOOLS_TCTI", self.tcti())
            .stdin(Stdio::null())
            .output()
            .unwrap_or_else(|_| panic!("{program} is missing; run: scripts/setup tpm"));
        assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    }

    /// Stops and starts it with the same state, as a machine does that boots again.
    pub async fn reboot(&mut self) {
        self.stop();
        self.process = spawn(self.state.path(), self.port);
        assert!(ready(&mut self.process, self.port).await, "swtpm doesn't come back");
    }

    /// Stops it; [`Swtpm::reboot`] starts it again.
    pub fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        self.stop();
    }
}

fn spawn(state: &Path, port: u16) -> Child {
    let control = port + 1;
    Command::new("swtpm")
        .args(["socket", "--tpm2", "--tpmstate"])
        .arg(format!("dir={}", state.display()))
        .arg("--server")
        .arg(format!("type=tcp,port={port},bindaddr=127.0.0.1"))
        .arg("--ctrl")
        .arg(format!("type=tcp,port={control},bindaddr=127.0.0.1"))
        .args(["--flags", "not-need-init,startup-clear"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("swtpm is missing: apt install swtpm")
}

/// Waits until the control channel listens (asking the other would take the one client's place).
async fn ready(process: &mut Child, port: u16) -> bool {
    wait::until("swtpm to listen", async || {
        if process.try_wait().expect("a status").is_some() {
            return Some(false);
        }
        TcpStream::connect((Ipv4Addr::LOCALHOST, port + 1)).is_ok().then_some(true)
    })
    .await
}

/// The transport's name for a port.
pub(crate) fn tcti(port: u16) -> String {
    format!("swtpm:host=127.0.0.1,port={port}")
}

/// Two neighbouring ports of loopback that are free: the library wants the control channel beside
/// the data channel.
pub(crate) fn free_pair() -> (TcpListener, TcpListener) {
    for _ in 0..100 {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let next = first.local_addr().expect("an address").port().checked_add(1);
        let next = next.map(|next| TcpListener::bind((Ipv4Addr::LOCALHOST, next)));
        if let Some(Ok(second)) = next {
            return (first, second);
        }
    }
    panic!("no two neighbouring ports are free");
}
