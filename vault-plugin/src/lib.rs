//! A secrets engine for HashiCorp Vault and OpenBao that uses the secrets it keeps: agents ask it
//! for upstream requests, it performs them with the credential injected, and hands back the answer
//! without the credential.
//!
//! # The map
//!
//! | room | knows | must not know |
//! |---|---|---|
//! | [`engine`] | what one mount remembers; reading, checking and committing writes | HTTP, encodings |
//! | `path` | operations, fields, help | storage keys, the network |
//! | [`proxy`] | the pipeline of one request, room by room | storage |
//! | [`mcp`] | messages to MCP servers, and their answers | storage keys |
//! | [`storage`] | keys, entries, versions of their form | requests, HTTP |
//! | [`error`] | every failure: code, status, text | – |
//!
//! # What holds
//!
//! 1. A caller names a service, never a URL: scheme, host, port and credential come from the
//!    definition alone ([`proxy::service`]).
//! 2. A credential version goes only to the origin, the place in the request and over the TLS trust
//!    that it was stored with; no write without the secret changes that ([`proxy::binding`]).
//! 3. Policy, wire and log see one canonical request ([`proxy::canonical`]).
//! 4. Only judged addresses are dialled, and what was judged is what is dialled ([`proxy::egress`],
//!    [`proxy::address`]). No redirects, no proxy from the environment.
//! 5. A request is sent once. After sending, nothing can touch storage, and no status of ours makes a
//!    client of Vault repeat it ([`error::Code::status`]).
//! 6. No answer is handed out unsearched for the credential ([`proxy::redact`]). This is a net under
//!    the design, not the design: an upstream may do with what it is sent as it likes.
//! 7. Secrets have types without `Display`, `Serialize` or readable `Debug`; every exit is marked with
//!    `#[expect(clippy::disallowed_methods, …)]`, and that list is the audit.

mod backend;
pub mod bounds;
pub mod engine;
pub mod error;
pub mod mcp;
pub mod memory;
pub mod name;
pub mod open_files;
mod path;
pub mod proxy;
pub mod storage;
