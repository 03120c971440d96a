//! Egress against real sockets on loopback: what the upstream sees, and what comes of its answers.

mod answers;
mod fixtures;
mod h2;
mod names;
mod once;
mod trust;
