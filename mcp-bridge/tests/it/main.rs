//! Drives the real program over its real pipes, beside a Vault that tests can script.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests end the test, with the place and the log"
)]

mod bridge;
mod client_config;
mod commands;
mod doctor;
mod eras;
mod errors;
mod failover;
mod lifecycle;
mod listing;
mod results;
mod session;
mod tls;
mod traps;
mod upstream;
mod vault;
