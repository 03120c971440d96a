//! A TPM in software with a state of its own, and the tools that change it behind our back.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use mcp_bridge_tpm::sealer::helper::HelperSealer;
use mcp_bridge_tpm::{
    DataKey, PcrSet, Pin, SealOptions, Sealer as _, TpmError, TpmObject, UnsealOptions,
};
use tempfile::TempDir;

/// How long anything may take on a busy machine before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The attributes of the storage key that Linux tools agree on.
pub(crate) const SRK_ATTRIBUTES: &str =
    "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|restricted|decrypt";

/// A running `swtpm`; killed when dropped.
pub(crate) struct Swtpm {
    /// What the TPM remembers.
    state: TempDir,
    /// Where the tools keep their files.
    work: TempDir,
    process: Child,
    port: u16,
}

impl Swtpm {
    /// Starts one, or says loudly that a test is skipped; where tests must not be, it fails.
    pub(crate) fn start() -> Option<Self> {
        for program in ["swtpm", "tpm2_getcap"] {
            if !is_installed(program) {
                let required = ["CI", "E2E_REQUIRE_TPM"]
                    .iter()
                    .any(|name| std::env::var_os(name).is_some_and(|value| !value.is_empty()));
                assert!(!required, "{program} is missing: scripts/setup tpm");
                // Written past the test harness, which would capture it.
                let _ = writeln!(
                    std::io::stderr(),
                    "SKIPPED: {program} is missing, so nothing was tried at a TPM: scripts/setup tpm"
                );
                return None;
            }
        }
        let state = tempfile::tempdir().unwrap();
        let (process, port) = launch(state.path());
        Some(Self { state, work: tempfile::tempdir().unwrap(), process, port })
    }

    /// Restarts it on the same state: an orderly reboot.
    pub(crate) fn reboot(&mut self) {
        self.tool("tpm2_shutdown", &["--clear"]);
        self.cut_power();
    }

    /// Restarts it on the same state without a word to the TPM.
    pub(crate) fn cut_power(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
        (self.process, self.port) = launch(self.state.path());
    }

    /// The port of its data channel; the control channel is the next.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// The helper, pointed at this TPM.
    pub(crate) fn sealer(&self) -> HelperSealer {
        sealer_at(self.port)
    }

    /// Runs one of the tpm2-tools, which must succeed, and gives its output.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> String {
        self.tool_at(self.port, program, arguments)
    }

    /// The same through another port.
    pub(crate) fn tool_at(&self, port: u16, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.work.path())
            .env("TPM2TOOLS_TCTI", tcti(port))
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A file of the tools.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }

    /// Extends a register, as a boot with other software does.
    pub(crate) fn extend(&self, pcr: u8) {
        self.tool("tpm2_pcrextend", &[&format!("{pcr}:sha256={}", "5a".repeat(32))]);
    }

    /// Makes a primary key and keeps it at a handle. `owner` is the owner's password.
    pub(crate) fn persist(&self, owner: &str, arguments: &[&str], handle: &str) {
        let all = [&["-Q", "-C", "o", "-P", owner, "-c", "primary"], arguments].concat();
        self.tool("tpm2_createprimary", &all);
        let evict = ["-Q", "-C", "o", "-P", owner, "-c", "primary", handle];
        self.tool("tpm2_evictcontrol", &evict);
        self.tool("tpm2_flushcontext", &["-t"]);
    }

    /// Frees a persistent handle.
    pub(crate) fn evict(&self, handle: &str) {
        self.tool("tpm2_evictcontrol", &["-Q", "-C", "o", "-c", handle]);
    }

    /// Asserts that nothing of ours stays in the TPM's few slots.
    pub(crate) fn assert_empty(&self) {
        for list in ["handles-transient", "handles-loaded-session", "handles-saved-session"] {
            assert_eq!(self.tool("tpm2_getcap", &[list]).trim(), "", "{list}");
        }
    }
}

impl Drop for Swtpm {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The helper, pointed at a port.
pub(crate) fn sealer_at(port: u16) -> HelperSealer {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_mcp-bridge-tpm"));
    HelperSealer::with_program(program, tcti(port).parse().unwrap()).with_limit(PATIENCE)
}

/// The transport's name for a port.
pub(crate) fn tcti(port: u16) -> String {
    format!("swtpm:host=127.0.0.1,port={port}")
}

/// Finds two free ports in a row: the library wants the control channel beside the data channel.
pub(crate) fn port_pair() -> (TcpListener, TcpListener) {
    for _ in 0..1000 {
        let first = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = first.local_addr().unwrap().port();
        if let Some(next) = port.checked_add(1)
            && let Ok(second) = TcpListener::bind(("127.0.0.1", next))
        {
            return (first, second);
        }
    }
    panic!("no two free ports in a row")
}

/// A key that is easy to find in a trace.
pub(crate) fn key() -> DataKey {
    DataKey::from_slice(b"canary-canary-canary-canary-1234").unwrap()
}

/// Options with registers and a PIN, in their shortest form.
pub(crate) fn bound(pcrs: &str, pin: Option<&str>) -> SealOptions {
    let pcrs = if pcrs.is_empty() { PcrSet::default() } else { pcrs.parse().unwrap() };
    SealOptions { pcrs, pin: pin.map(|pin| Pin::new(pin).unwrap()) }
}

/// Options with a PIN.
pub(crate) fn with_pin(pin: &str) -> UnsealOptions {
    UnsealOptions { pin: Some(Pin::new(pin).unwrap()), force: false }
}

/// Options with a PIN that may spend the last try.
pub(crate) fn forced(pin: &str) -> UnsealOptions {
    UnsealOptions { force: true, ..with_pin(pin) }
}

/// Seals the key that is easy to find, bound to nothing.
pub(crate) async fn sealed(tpm: &Swtpm) -> TpmObject {
    tpm.sealer().seal(&key(), &SealOptions::default()).await.unwrap()
}

/// Asserts that an object unseals to the key.
pub(crate) async fn assert_unseals(tpm: &Swtpm, object: &TpmObject) {
    let back = tpm.sealer().unseal(object, &UnsealOptions::default()).await.unwrap();
    assert!(back.matches(&key()));
}

/// Unseals what must not be unsealed.
pub(crate) async fn refusal(tpm: &Swtpm, object: &TpmObject) -> TpmError {
    tpm.sealer().unseal(object, &UnsealOptions::default()).await.unwrap_err()
}

fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok()
}

fn launch(state: &Path) -> (Child, u16) {
    // One after the other, so that no two tests choose the same ports; another program may still
    // take one between choosing and using it.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..10 {
        let port = port_pair().0.local_addr().unwrap().port();
        let mut process = Command::new("swtpm")
            .args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"])
            .args(["--tpmstate", &format!("dir={}", state.display())])
            .args(["--server", &format!("type=tcp,port={port},bindaddr=127.0.0.1")])
            .args(["--ctrl", &format!("type=tcp,port={},bindaddr=127.0.0.1", port + 1)])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let end = Instant::now() + PATIENCE;
        while process.try_wait().unwrap().is_none() {
            if answers(port + 1) {
                return (process, port);
            }
            assert!(Instant::now() < end, "swtpm doesn't listen");
            std::thread::yield_now();
        }
    }
    panic!("swtpm doesn't start")
}

/// Tells whether a TPM in software listens on a control channel, and not a test that tries for a
/// free port: `CMD_GET_CAPABILITY` is answered with a result of zero (swtpm_ioctls(3)).
fn answers(port: u16) -> bool {
    let ask = || {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        stream.write_all(&[0, 0, 0, 1])?;
        let mut result = [1; 4];
        stream.read_exact(&mut result)?;
        std::io::Result::Ok(result == [0; 4])
    };
    ask().unwrap_or(false)
}
