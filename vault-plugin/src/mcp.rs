//! The client of MCP servers: what an agent asks of a tool, a resource or a prompt becomes one
//! request over Streamable HTTP, by the same steps as every other call.
//!
//! | room | knows |
//! |---|---|
//! | [`client`] | one request and its answer, on the pipeline's way out |
//! | [`definition`], [`digest`] | one definition as the server gave it |
//! | [`sanitise`], [`hidden`], [`schema`] | a definition as agents may see it |
//! | [`flags`] | what an approver should look at |
//! | [`mirror`] | which arguments are repeated in headers |
//! | [`offer`] | what is offered, waits or is withheld |
//! | [`segment`] | what a name is in a path |
//! | [`trust`] | which tools may be called |

pub mod client;
pub mod definition;
pub mod digest;
pub mod flags;
pub mod hidden;
pub mod mirror;
pub mod offer;
pub mod sanitise;
pub mod schema;
pub mod segment;
pub mod trust;
