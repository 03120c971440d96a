//! Egress against real sockets on loopback: what the upstream sees, and what comes of its answers.

mod answers;
mod apart;
mod fixtures;
mod frames;
mod h2;
mod identity;
mod looks;
mod names;
mod once;
mod trust;
mod tunnel;
mod waiting;
