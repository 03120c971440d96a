//! Asks a TPM through the helper program: one process, one request, one answer.

use std::io;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use async_trait::async_trait;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{Child, Command};
use zeroize::Zeroizing;

use crate::error::TpmError;
use crate::key::DataKey;
use crate::object::{ObjectPolicy, TpmInfo, TpmObject};
use crate::pcr::PcrDrift;
use crate::precheck;
use crate::protocol::{self, Answer, Operation, Reply, Request, WireSecret};
use crate::sealer::{SealOptions, Sealer, UnsealOptions};
use crate::tcti::Tcti;

/// The name of the helper program.
const PROGRAM: &str = "mcp-bridge-tpm";

/// How long a request may take unless said otherwise: slow chips need seconds for each command.
const LIMIT: Duration = Duration::from_secs(30);

/// The variables that the helper inherits: where libraries are, and where D-Bus is for `tabrmd`.
const INHERITED: [&str; 3] =
    ["LD_LIBRARY_PATH", "DBUS_SYSTEM_BUS_ADDRESS", "DBUS_SESSION_BUS_ADDRESS"];

/// A TPM behind the helper program `mcp-bridge-tpm`.
///
/// Nothing runs between two requests. A request that is dropped, or takes too long, has its process
/// killed; the kernel's resource manager then frees what it held in the TPM.
#[derive(Debug, Clone)]
pub struct HelperSealer {
    program: PathBuf,
    tcti: Tcti,
    limit: Duration,
}

impl HelperSealer {
    /// Uses the helper beside this program's own file.
    ///
    /// # Errors
    ///
    /// [`TpmError::HelperMissing`] if the system doesn't tell where this program's file is.
    pub fn beside_this_program(tcti: Tcti) -> Result<Self, TpmError> {
        let own = std::env::current_exe()
            .map_err(|_| TpmError::HelperMissing { path: PROGRAM.into() })?;
        Ok(Self::with_program(own.with_file_name(PROGRAM), tcti))
    }

    /// Uses the helper at a path.
    #[must_use]
    pub fn with_program(program: PathBuf, tcti: Tcti) -> Self {
        Self { program, tcti, limit: LIMIT }
    }

    /// Sets how long a request may take; 30 s unless set.
    #[must_use]
    pub const fn with_limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    async fn ask(&self, operation: Operation<'_>) -> Result<Reply, TpmError> {
        precheck::check(&self.tcti)?;
        let request = Request { version: protocol::VERSION, tcti: self.tcti.clone(), operation };
        let request = protocol::encode(&request)?;
        let child = self.start()?;
        tokio::time::timeout(self.limit, converse(child, &request))
            .await
            .map_err(|_| TpmError::Timeout { seconds: self.limit.as_secs() })?
    }

    fn start(&self) -> Result<Child, TpmError> {
        let mut command = Command::new(&self.program);
        command
            .env_clear()
            .envs(INHERITED.iter().filter_map(|name| Some((name, std::env::var_os(name)?))))
            // The C library writes lines of its own to stderr (tpm2-tss, doc/logging.md).
            .env("TSS2_LOG", "all+NONE")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        command.spawn().map_err(|error| self.not_started(&error))
    }

    fn not_started(&self, error: &io::Error) -> TpmError {
        if error.kind() == io::ErrorKind::NotFound {
            return TpmError::HelperMissing { path: self.program.display().to_string() };
        }
        TpmError::Helper { what: format!("it can't be started ({})", error.kind()) }
    }
}

#[async_trait]
impl Sealer for HelperSealer {
    async fn info(&self) -> Result<TpmInfo, TpmError> {
        match self.ask(Operation::Info).await? {
            Reply::Info(info) => Ok(info),
            Reply::Sealed(_) | Reply::Key(_) | Reply::Drift(_) => Err(mixed_up()),
        }
    }

    async fn seal(&self, key: &DataKey, options: &SealOptions) -> Result<TpmObject, TpmError> {
        let operation = Operation::Seal {
            key: WireSecret::key(key),
            pcrs: options.pcrs.clone(),
            pin: options.pin.as_ref().map(WireSecret::pin),
        };
        match self.ask(operation).await? {
            Reply::Sealed(object) => Ok(*object),
            Reply::Info(_) | Reply::Key(_) | Reply::Drift(_) => Err(mixed_up()),
        }
    }

    async fn unseal(
        &self,
        object: &TpmObject,
        options: &UnsealOptions,
    ) -> Result<DataKey, TpmError> {
        let operation = Operation::Unseal {
            object: Box::new(object.clone()),
            pin: options.pin.as_ref().map(WireSecret::pin),
            force: options.force,
        };
        match self.ask(operation).await? {
            Reply::Key(key) => key.to_key().ok_or_else(mixed_up),
            Reply::Info(_) | Reply::Sealed(_) | Reply::Drift(_) => Err(mixed_up()),
        }
    }

    async fn pcr_diff(&self, policy: &ObjectPolicy) -> Result<Vec<PcrDrift>, TpmError> {
        match self.ask(Operation::PcrDiff { policy: Box::new(policy.clone()) }).await? {
            Reply::Drift(drift) => Ok(drift),
            Reply::Info(_) | Reply::Sealed(_) | Reply::Key(_) => Err(mixed_up()),
        }
    }
}

fn mixed_up() -> TpmError {
    TpmError::Helper { what: "it answered something else".into() }
}

async fn converse(mut child: Child, request: &[u8]) -> Result<Reply, TpmError> {
    let broken = |_| TpmError::Helper { what: "its pipes broke".into() };
    if let Some(mut stdin) = child.stdin.take() {
        // A helper that can't start reads nothing: its exit status says more than this error.
        let _ = stdin.write_all(request).await;
    }
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let (answer, complaint, status) =
        tokio::try_join!(read(stdout), read(stderr), child.wait()).map_err(broken)?;
    // The answer is all that counts: a helper that gave one may end as it likes.
    match serde_json::from_slice::<Answer>(&answer) {
        Ok(answer) => answer,
        Err(_) => Err(explain(status, &String::from_utf8_lossy(&complaint))),
    }
}

/// Reads at most as much as an answer may have into a buffer that is wiped and doesn't grow.
async fn read(pipe: Option<impl AsyncRead + Unpin>) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(protocol::MAX_BYTES));
    if let Some(pipe) = pipe {
        pipe.take(protocol::MAX_BYTES as u64).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
}

/// Says why a helper gave no answer. Its stderr is read for the loader's message alone and never
/// passed on.
fn explain(status: ExitStatus, complaint: &str) -> TpmError {
    // ld.so(8): "PROGRAM: error while loading shared libraries: LIBRARY: cannot open …"; musl:
    // "Error loading shared library LIBRARY: No such file …". Both end with status 127.
    let library = ["error while loading shared libraries: ", "Error loading shared library "]
        .iter()
        .find_map(|message| complaint.split_once(message)?.1.split(':').next());
    if status.code() == Some(127)
        && let Some(library) = library
    {
        return TpmError::LibraryMissing { library: library.trim().into() };
    }
    TpmError::Helper { what: format!("it gave no answer ({status})") }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::time::Instant;

    use super::*;

    /// A shell script in the helper's place.
    fn script(directory: &Path, body: &str) -> HelperSealer {
        let path = directory.join("helper");
        // Written by another process: one of ours could be forked while it is open for writing, and
        // a file that somebody has open can't be started (execve(2), ETXTBSY).
        let written = std::process::Command::new("sh")
            .args(["-c", r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod 700 "$0""#])
            .args([path.as_os_str(), body.as_ref()])
            .status();
        assert!(written.unwrap().success());
        HelperSealer::with_program(path, "swtpm:host=127.0.0.1,port=1".parse().unwrap())
    }

    async fn failure(body: &str) -> TpmError {
        let directory = tempfile::tempdir().unwrap();
        script(directory.path(), body).info().await.unwrap_err()
    }

    #[tokio::test]
    async fn a_missing_library_is_named() {
        let error = failure(
            "echo 'x: error while loading shared libraries: libtss2-esys.so.0: cannot open \
             shared object file: No such file or directory' >&2; exit 127",
        )
        .await;
        assert_eq!(error, TpmError::LibraryMissing { library: "libtss2-esys.so.0".into() });
        assert!(error.to_string().contains("apt install"), "{error}");
    }

    #[tokio::test]
    async fn a_missing_helper_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("none");
        let sealer = HelperSealer::with_program(path, "tabrmd".parse().unwrap());
        assert!(matches!(sealer.info().await, Err(TpmError::HelperMissing { .. })));
    }

    #[tokio::test]
    async fn a_helper_that_hangs_is_killed() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let sealer =
            script(directory.path(), &format!("echo $$ > {}; exec sleep 600", pid.display()))
                .with_limit(Duration::from_secs(2));
        let start = Instant::now();
        assert_eq!(sealer.info().await, Err(TpmError::Timeout { seconds: 2 }));
        assert!(start.elapsed() < Duration::from_secs(60));

        let pid = fs::read_to_string(pid).unwrap().trim().to_owned();
        let end = Instant::now() + Duration::from_secs(10);
        // A zombie has an empty command line.
        while fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty()) {
            assert!(Instant::now() < end, "the helper still runs");
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn its_chatter_and_garbage_are_not_passed_on() {
        let error = failure("echo 'WARNING:esys:canary' >&2; echo canary; exit 3").await;
        assert!(matches!(error, TpmError::Helper { .. }), "{error:?}");
        assert!(!error.to_string().contains("canary"), "{error}");
    }

    #[tokio::test]
    async fn it_gets_a_clean_environment_and_the_request() {
        // Says on which of its three demands it insists.
        let error = failure(
            r#"[ "$TSS2_LOG" = all+NONE ] || exit 1
               [ -z "$CARGO_MANIFEST_DIR" ] || exit 2
               grep -q '"operation":"info"' || exit 3
               printf '{"Err":{"kind":"not_started"}}'"#,
        )
        .await;
        assert_eq!(error, TpmError::NotStarted);
    }
}
