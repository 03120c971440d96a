//! The plugin process: Vault or OpenBao starts it, and nobody else.

use std::process::ExitCode;

use vault_plugin::engine::Engine;

fn main() -> ExitCode {
    // Before any thread runs.
    vault_plugin::memory::give_large_bodies_back();
    vault_plugin::open_files::raise_limit();
    serve()
}

// Two workers: one more than none, so that a search through a large answer doesn't hold the others
// up, and no more, since a server has better uses for its cores.
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn serve() -> ExitCode {
    vault_sdk::serve::<Engine>("MCP_PROXY_LOG").await
}
