//! Be a plugin of any [go-plugin](https://github.com/hashicorp/go-plugin) host.
//!
//! go-plugin is how HashiCorp's and many other Go programs are extended: the host starts the
//! plugin as a process, the two agree over the environment and one line on standard output, and
//! then speak gRPC on a unix socket. This crate is the plugin's half of that. It knows nothing of
//! any host in particular.
//!
//! ```no_run
//! use std::process::ExitCode;
//!
//! use go_plugin::ServeConfig;
//! use tonic::service::Routes;
//! # use tonic::{Request, Response, Status};
//! # use proto::logical::{Empty, VersionReply};
//! # use proto::logical::plugin_version_server::{PluginVersion, PluginVersionServer};
//! # struct Greeter;
//! # #[tonic::async_trait]
//! # impl PluginVersion for Greeter {
//! #     async fn version(&self, _: Request<Empty>) -> Result<Response<VersionReply>, Status> {
//! #         Ok(Response::new(VersionReply::default()))
//! #     }
//! # }
//!
//! #[tokio::main]
//! async fn main() -> ExitCode {
//!     // What the host's `HandshakeConfig` says.
//!     let config = ServeConfig::new("GREETER_PLUGIN", "c3a5e6e2", 1).log_variable("GREETER_LOG");
//!     go_plugin::run(config, |broker| {
//!         // `broker.connect(id)` reaches services that the host serves for the plugin.
//!         # let _ = broker;
//!         Routes::new(PluginVersionServer::new(Greeter))
//!     })
//!     .await
//! }
//! ```
//!
//! [`serve`] is the same with the errors returned, [`serve_with`] leaves logging to the caller and
//! takes any [`Environment`].
//!
//! What [`run`] does, in this order: logs as hclog ([`hclog`]); turns core dumps off; checks the
//! magic cookie and the protocol version; makes a certificate and a socket that only the owner
//! can reach; writes the handshake line; serves. It ends when the host asks for it, when the host
//! is gone, and on SIGTERM; it ignores SIGINT.
//!
//! # What holds
//!
//! - Only protocol `grpc` on unix sockets, only with AutoMTLS: a host that offers no certificate
//!   is refused. Both sides pin the other's certificate byte for byte, and prove their keys anew
//!   on every connection.
//! - Standard output belongs to the handshake and standard error to [`hclog`]. Print nothing;
//!   capture what child processes print: a malformed line on standard error can crash the host.
//! - The process inherits its host's environment, secrets included. Give children an environment
//!   of your own choice.
//! - Multiplexing the broker over the main socket isn't done; a host that asks for it
//!   (`PLUGIN_MULTIPLEX_GRPC`) is told so and refuses the plugin.
//!
//! The caller owns the tokio runtime; one thread is enough, more aren't needed.

mod accept;
mod broker;
mod config;
mod controller;
mod core_dumps;
mod environment;
mod error;
mod handshake;
pub mod hclog;
mod p521;
mod serve;
mod socket;
mod stop;
mod tls;

pub use broker::Broker;
pub use config::ServeConfig;
pub use environment::{Environment, ProcessEnvironment};
pub use error::{BrokerError, ServeError};
pub use serve::{run, serve, serve_with};
