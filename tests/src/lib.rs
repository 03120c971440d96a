//! Fixtures for the end-to-end tests: real servers and processes, on loopback alone.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a fixture that can't be set up ends its test, and says why"
)]

pub mod api;
pub mod bench;
pub mod bridge;
pub mod certificates;
pub mod chaos;
pub mod cli;
pub mod cluster;
pub mod forms;
pub mod machine;
pub mod mcp;
pub mod mcp_upstream;
pub mod memory;
pub mod nginx;
pub mod plot;
pub mod profile;
pub mod programs;
pub mod scale;
pub mod server;
pub mod soak;
pub mod stall;
pub mod swtpm;
pub mod tap;
pub mod upstream;
pub mod wait;
pub mod world;
