//! The client of MCP servers: what an agent asks of a tool, a resource or a prompt becomes one
//! request over Streamable HTTP, by the same steps as every other call.
//!
//! | room | knows |
//! |---|---|
//! | [`client`] | one request and its answer, on the pipeline's way out |
//! | [`trust`] | which tools may be called |

pub mod client;
pub mod trust;
