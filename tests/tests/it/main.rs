//! End-to-end cases on a real server; one binary, because linking is what takes long.
#![expect(clippy::unwrap_used, reason = "a helper that fails, fails its test")]

mod addresses;
mod agent;
mod attribution;
mod check;
mod cluster;
mod cluster_life;
mod deputy;
mod engine;
mod explain;
mod faults;
mod fixtures;
mod hcl;
mod hostile;
mod identity;
mod leak;
mod leak_kinds;
mod leak_panic;
mod lifecycle;
mod load;
mod nginx;
mod once;
mod openapi;
mod operations;
mod pause;
mod policy;
mod rebinding;
mod requests;
mod sdk_example;
mod tenants;
mod terraform;
mod tls;
mod upgrade;
mod versions;
