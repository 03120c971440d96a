//! Does one request at a TPM: reads it from stdin, writes the answer to stdout, and ends.
//!
//! It is a program of its own so that `mcp-bridge` needn't be linked with libtss2, and so that what
//! the C library leaves in memory ends with each request.

use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;

use mcp_bridge_tpm::TpmError;
use mcp_bridge_tpm::protocol::{self, Answer, MAX_BYTES, Request};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
use zeroize::Zeroizing;

#[cfg(all(feature = "tpm", target_os = "linux"))]
mod tpm;

fn main() -> ExitCode {
    harden();
    let answer = read_request().and_then(|bytes| perform(&bytes));
    let written =
        protocol::encode(&answer).map_err(|_| io::ErrorKind::Other.into()).and_then(|bytes| {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&bytes)?;
            stdout.flush()
        });
    if written.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Keeps the memory of this process, which holds a data key, out of core dumps and away from
/// debuggers of the same user (`prctl(2)`, `PR_SET_DUMPABLE`). Best effort.
fn harden() {
    #[cfg(target_os = "linux")]
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

fn read_request() -> Result<Zeroizing<Vec<u8>>, TpmError> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES + 1));
    io::stdin()
        .lock()
        .take(MAX_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|_| TpmError::usage("the request can't be read"))?;
    Ok(bytes)
}

fn perform(bytes: &[u8]) -> Answer {
    // serde's message could quote the request, which has secrets in it.
    let request: Request<'_> = serde_json::from_slice(bytes).map_err(|_| {
        TpmError::usage("mcp-bridge-tpm is started by mcp-bridge, with one JSON request on stdin")
    })?;
    if request.version != protocol::VERSION {
        return Err(TpmError::Helper { what: "the two speak different versions".into() });
    }
    #[cfg(all(feature = "tpm", target_os = "linux"))]
    return tpm::perform(request);
    #[cfg(not(all(feature = "tpm", target_os = "linux")))]
    return Err(TpmError::Unsupported);
}
