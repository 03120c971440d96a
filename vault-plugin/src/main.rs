//! The plugin process: Vault or OpenBao starts it, and nobody else.

use std::io::Write as _;
use std::process::ExitCode;
use std::thread::available_parallelism;

use vault_plugin::engine::Engine;

/// A server spends some four times as much on a call as the plugin does: its cores are its own. Work
/// that takes long is done elsewhere, so that one thread holds nobody up.
const CORES_FOR_A_WORKER: usize = 4;

fn main() -> ExitCode {
    // Before any thread runs.
    vault_plugin::memory::give_large_bodies_back();
    vault_plugin::open_files::raise_limit();
    let cores = available_parallelism().map_or(1, usize::from);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads((cores / CORES_FOR_A_WORKER).max(1))
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let code = runtime.block_on(vault_sdk::serve::<Engine>("MCP_PROXY_LOG"));
            // Nobody waits for what is still searched: its calls are over.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "can't start threads: {error}");
            ExitCode::FAILURE
        }
    }
}
