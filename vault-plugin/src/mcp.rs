//! The client of MCP servers: what an agent asks of a tool, a resource or a prompt becomes one
//! request over Streamable HTTP, by the same steps as every other call.
//!
//! | room | knows |
//! |---|---|
//! | [`call`] | the pipeline of a call |
//! | [`client`], [`era`], [`session`] | one request and its answer; in which revision, in which session |
//! | `parting` | the last word, when nobody waits any more |
//! | [`message`], `headers`, [`sse`] | what stands on the wire |
//! | [`raw`] | JSON taken apart without a tree of it |
//! | [`result`], [`cut`], `trouble` | what the caller gets of an answer, or of its absence |
//! | [`listing`] | all that a server offers |
//! | [`definition`], [`digest`] | one definition as the server gave it |
//! | [`sanitise`], [`hidden`], [`schema`] | a definition as agents may see it |
//! | [`flags`] | what an approver should look at |
//! | [`mirror`] | which arguments are repeated in headers |
//! | [`seen`] | what one look at a server found |
//! | [`offer`] | what is offered, waits or is withheld |
//! | [`segment`] | what a name is in a path |
//! | [`trust`], `template` | which tools may be called, and resources read |

pub mod call;
pub mod client;
pub mod cut;
pub mod definition;
pub mod digest;
pub mod era;
pub mod flags;
pub(crate) mod greet;
mod headers;
pub mod hidden;
pub mod listing;
pub mod message;
pub mod mirror;
pub mod offer;
mod parting;
pub mod raw;
pub mod result;
pub mod sanitise;
pub mod schema;
pub mod seen;
pub mod segment;
pub mod session;
pub mod sse;
mod template;
mod trouble;
pub mod trust;
