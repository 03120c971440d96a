//! Drives the real program over its real pipes, beside a Vault that tests can script.

mod bridge;
mod commands;
mod eras;
mod errors;
mod lifecycle;
mod listing;
mod results;
mod session;
mod vault;
