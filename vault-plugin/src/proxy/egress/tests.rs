//! Egress against real sockets on loopback.
