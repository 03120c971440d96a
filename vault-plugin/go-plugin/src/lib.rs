//! Be a plugin of any [go-plugin](https://github.com/hashicorp/go-plugin) host.
//!
//! go-plugin is how HashiCorp's and many other Go programs are extended: the host starts the
//! plugin as a process, the two agree over the environment and one line on standard output, and
//! then speak gRPC on a unix socket. This crate is the plugin's half of that. It knows nothing of
//! any host in particular. For a secrets engine of Vault or OpenBao, take `vault-sdk`, which is built
//! on it.
//!
//! # A plugin
//!
//! Three things come from the host: the cookie and the protocol version of its `HandshakeConfig`, and
//! the `.proto` of the services that it calls. `Greeter` stands for such a service, as `tonic`
//! generates and serves it:
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
//! # The life of a plugin
//!
//! What [`run`] does, in this order: logs as hclog ([`hclog`]); turns core dumps off; checks the
//! magic cookie and the protocol version; makes a certificate and a socket that only the owner
//! can reach; writes the handshake line; serves. It ends when the host asks for it, when the host
//! is gone, and on SIGTERM; it ignores SIGINT. Calls in flight then have a second.
//!
//! Hosts may start a plugin only to ask what it is, and end it at once; many start one process for
//! many uses. So do in a call what costs time, not before [`run`].
//!
//! # Calling the host
//!
//! Services that the host serves for its plugin are reached by a number, which comes in some call of
//! the application's own: [`Broker::connect`] gives a channel for a `tonic` client. It is dialled
//! under the same pinned TLS. A number can be connected to once: keep the channel and clone it.
//!
//! # Logging
//!
//! Use `tracing`. Events become lines of the host's log, with their fields; a panic becomes a line
//! too, without a message that was formatted. The host drops what is below its own level.
//!
//! # Variables that are read
//!
//! | variable | what |
//! |---|---|
//! | the cookie's own | whether a host started this process |
//! | `PLUGIN_PROTOCOL_VERSIONS` | which versions of the application's protocol the host offers |
//! | `PLUGIN_CLIENT_CERT` | the certificate that the host will show |
//! | `PLUGIN_UNIX_SOCKET_DIR`, else `TMPDIR` | where the socket lies; `/tmp` without either |
//! | `PLUGIN_UNIX_SOCKET_GROUP` | a group that may connect, too |
//! | `PLUGIN_MULTIPLEX_GRPC` | whether the host wants its broker on the main socket |
//! | the one given to [`ServeConfig::log_variable`] | what is logged |
//!
//! # Testing
//!
//! [`serve_with`] takes any [`Environment`], so a test can be the host: it offers a certificate,
//! reads the handshake line of the spawned program, and connects. A plugin's services are plain
//! `tonic` services, which need no host to be tested.
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
mod batched;
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
#[doc(hidden)]
pub use handshake::answer;
pub use serve::{run, serve, serve_with};
