//! The plugin as a later version of it would be, for the tests that upgrade and downgrade: the same
//! engine under another version, which keeps its entries in a form that this version doesn't know.

use std::process::ExitCode;

use vault_plugin::engine::Engine;
use vault_plugin::storage::Form;

const LATER: Form = Form { schema: Form::BUILT.schema + 1, version: "0.99.0" };

#[tokio::main]
async fn main() -> ExitCode {
    LATER.pretend();
    vault_sdk::serve_as::<Engine>("v0.99.0", "MCP_PROXY_LOG").await
}
