//! The plugin's side of the wire: what the host calls, translated to an engine's terms and back.

mod reply;
mod sending;
mod storage;
mod system_view;

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use proto::logical::plugin_version_server::PluginVersion;
use proto::multiplexing::plugin_multiplexing_server::PluginMultiplexing;
use proto::{logical, multiplexing, pb};
use tonic::transport::Channel;
use tonic::{Request, Response as GrpcResponse, Status};

use crate::backend::{Backend, Setup};
use crate::error::Error;
use crate::operation::{Dispatch, Effect, dispatch};
use crate::request::Caller;
use crate::router::{Incoming, Router, run};
use crate::storage::StorageError;
pub(crate) use sending::hold;
use storage::GrpcStorage;
use system_view::GrpcSystemView;

/// The gRPC metadata that tells the mounts of one process apart
/// (OpenBao `sdk/helper/pluginutil/multiplexing.go`).
const MULTIPLEX_ID: &str = "multiplex_id";

type ConnectFuture = Pin<Box<dyn Future<Output = Result<Channel, String>> + Send>>;

/// How the host's services for one mount are reached, by the broker id that `Setup` names.
pub(crate) type Connect = Arc<dyn Fn(u32) -> ConnectFuture + Send + Sync>;

/// One mount.
struct Instance<B> {
    engine: Arc<B>,
    storage: Arc<GrpcStorage>,
    system: Arc<GrpcSystemView>,
}

/// Serves every mount of this process.
pub(crate) struct BackendService<B> {
    router: Arc<Router<B>>,
    instances: Arc<RwLock<HashMap<String, Arc<Instance<B>>>>>,
    connect: Connect,
}

impl<B> Clone for BackendService<B> {
    fn clone(&self) -> Self {
        Self {
            router: Arc::clone(&self.router),
            instances: Arc::clone(&self.instances),
            connect: Arc::clone(&self.connect),
        }
    }
}

impl<B: Backend> BackendService<B> {
    pub(crate) fn new(connect: Connect) -> Self {
        Self { router: Arc::default(), instances: Arc::default(), connect }
    }

    fn instance<T>(&self, request: &Request<T>) -> Result<Arc<Instance<B>>, Status> {
        self.instances
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&multiplex_id(request)?)
            .cloned()
            .ok_or_else(|| Status::failed_precondition("no such instance: Setup comes first"))
    }
}

fn multiplex_id<T>(request: &Request<T>) -> Result<String, Status> {
    match request.metadata().get(MULTIPLEX_ID) {
        None => Ok(String::new()),
        Some(id) => id
            .to_str()
            .map(str::to_owned)
            .map_err(|_| Status::invalid_argument("multiplex_id is not text")),
    }
}

/// What the ids of the mount's operations begin with in the host's document: the engine's name in the
/// host's catalog (OpenBao `sdk/framework/backend.go`, `handleRootHelp`).
fn prefix(data: &str) -> String {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Help {
        #[serde(default)]
        request_response_prefix: String,
    }
    serde_json::from_str(data)
        .map_or_else(|_| String::new(), |help: Help| help.request_response_prefix)
}

/// Takes over what an engine may see of a request. Headers, the token's hash and lease data stay
/// behind.
fn incoming<B>(request: pb::Request, instance: &Instance<B>) -> Incoming {
    let remote_address =
        request.connection.map(|connection| connection.remote_addr).unwrap_or_default();
    Incoming {
        id: request.id,
        path: request.path,
        data: request.data,
        caller: Caller {
            entity_id: request.entity_id,
            display_name: request.display_name,
            token_accessor: request.client_token_accessor,
            remote_address,
        },
        wrap_ttl: request
            .wrap_info
            .and_then(|wrap| u64::try_from(wrap.ttl).ok())
            .filter(|ttl| *ttl > 0)
            .map(Duration::from_nanos),
        mount_point: request.mount_point,
        storage: Arc::clone(&instance.storage) as _,
    }
}

#[tonic::async_trait]
impl<B: Backend> pb::backend_server::Backend for BackendService<B> {
    async fn handle_request(
        &self,
        request: Request<pb::HandleRequestArgs>,
    ) -> Result<GrpcResponse<pb::HandleRequestReply>, Status> {
        let operation =
            request.get_ref().request.as_ref().map_or("", |request| request.operation.as_str());
        // Before the instance is looked up and before the data is touched: anybody, without a
        // token, can cause `resolve-path` with a body of any size.
        let dispatched = dispatch(operation);
        if dispatched == Dispatch::Unsupported {
            return Ok(GrpcResponse::new(reply::error(&Error::UnsupportedOperation)));
        }
        let instance = self.instance(&request)?;
        let Some(request) = request.into_inner().request else {
            return Err(Status::invalid_argument("no request"));
        };
        let mut held: Option<sending::Held> = None;
        let reply = match dispatched {
            Dispatch::Path(operation) => {
                let incoming = incoming(request, &instance);
                let result = self
                    .router
                    .handle(&instance.engine, instance.system.as_ref(), operation, incoming)
                    .await;
                held = result.as_ref().ok().and_then(|response| response.held.clone());
                reply::result(result)
            }
            Dispatch::Help => match self.router.help(&request.path) {
                // The host makes its OpenAPI document of what the mount's own help brings along.
                Ok(text) if request.path.is_empty() => {
                    let openapi = self.router.openapi(&prefix(&request.data));
                    reply::help(text, Some(openapi))
                }
                Ok(text) => reply::help(text, None),
                Err(error) => reply::error(&error),
            },
            Dispatch::Periodic => {
                let id = request.id;
                let periodic = async move {
                    instance.engine.periodic(Arc::clone(&instance.storage) as _).await
                };
                match run(Effect::MayWrite, &id, periodic).await {
                    Ok(()) => pb::HandleRequestReply::default(),
                    Err(error) => reply::error(&error),
                }
            }
            Dispatch::Unsupported => reply::error(&Error::UnsupportedOperation),
        };
        let mut response = GrpcResponse::new(reply);
        if let Some(held) = held {
            response.extensions_mut().insert(held);
        }
        Ok(response)
    }

    async fn handle_existence_check(
        &self,
        request: Request<pb::HandleExistenceCheckArgs>,
    ) -> Result<GrpcResponse<pb::HandleExistenceCheckReply>, Status> {
        let instance = self.instance(&request)?;
        let Some(request) = request.into_inner().request else {
            return Err(Status::invalid_argument("no request"));
        };
        let incoming = incoming(request, &instance);
        let reply = match self.router.exists(&instance.engine, incoming).await {
            Ok(exists) => pb::HandleExistenceCheckReply {
                check_found: exists.is_some(),
                exists: exists.unwrap_or(false),
                err: None,
            },
            Err(error) => pb::HandleExistenceCheckReply {
                err: Some(reply::proto_error(&error)),
                ..Default::default()
            },
        };
        Ok(GrpcResponse::new(reply))
    }

    async fn special_paths(
        &self,
        _request: Request<pb::Empty>,
    ) -> Result<GrpcResponse<pb::SpecialPathsReply>, Status> {
        // The host reads an error here as "no special paths": there must be no way to fail.
        let special = B::special_paths();
        Ok(GrpcResponse::new(pb::SpecialPathsReply {
            paths: Some(pb::Paths {
                root: special.root,
                unauthenticated: special.unauthenticated,
                local_storage: special.local_storage,
                seal_wrap_storage: special.seal_wrap_storage,
                ..Default::default()
            }),
        }))
    }

    async fn setup(
        &self,
        request: Request<pb::SetupArgs>,
    ) -> Result<GrpcResponse<pb::SetupReply>, Status> {
        let id = multiplex_id(&request)?;
        let args = request.into_inner();
        let channel = match (self.connect)(args.broker_id).await {
            Ok(channel) => channel,
            Err(err) => return Ok(GrpcResponse::new(pb::SetupReply { err })),
        };
        let system = Arc::new(GrpcSystemView::new(channel.clone()));
        let engine =
            B::new(Setup { backend_uuid: args.backend_uuid, system: Arc::clone(&system) as _ });
        let instance = Arc::new(Instance {
            engine: Arc::new(engine),
            storage: Arc::new(GrpcStorage::new(channel)),
            system,
        });
        self.instances.write().unwrap_or_else(PoisonError::into_inner).insert(id, instance);
        Ok(GrpcResponse::new(pb::SetupReply::default()))
    }

    async fn initialize(
        &self,
        request: Request<pb::InitializeArgs>,
    ) -> Result<GrpcResponse<pb::InitializeReply>, Status> {
        let instance = self.instance(&request)?;
        let initialize =
            async move { instance.engine.initialize(Arc::clone(&instance.storage) as _).await };
        let err = match run(Effect::MayWrite, "initialize", initialize).await {
            // A node that may not write is served what the active one has prepared.
            Ok(()) | Err(Error::ReadOnly | Error::Storage(StorageError::ReadOnly)) => None,
            Err(error) => Some(reply::proto_error(&error)),
        };
        Ok(GrpcResponse::new(pb::InitializeReply { err }))
    }

    async fn invalidate_key(
        &self,
        request: Request<pb::InvalidateKeyArgs>,
    ) -> Result<GrpcResponse<pb::Empty>, Status> {
        let instance = self.instance(&request)?;
        instance.engine.invalidate(&request.get_ref().key).await;
        Ok(GrpcResponse::new(pb::Empty {}))
    }

    async fn cleanup(
        &self,
        request: Request<pb::Empty>,
    ) -> Result<GrpcResponse<pb::Empty>, Status> {
        // May come twice for one instance: the second finds nothing.
        let removed = self
            .instances
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&multiplex_id(&request)?);
        if let Some(instance) = removed {
            instance.engine.cleanup().await;
        }
        Ok(GrpcResponse::new(pb::Empty {}))
    }

    async fn r#type(
        &self,
        _request: Request<pb::Empty>,
    ) -> Result<GrpcResponse<pb::TypeReply>, Status> {
        const SECRETS_ENGINE: u32 = 1;
        Ok(GrpcResponse::new(pb::TypeReply { r#type: SECRETS_ENGINE }))
    }
}

/// Tells the host that one process can serve many mounts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Multiplexing;

#[tonic::async_trait]
impl PluginMultiplexing for Multiplexing {
    async fn multiplexing_support(
        &self,
        _request: Request<multiplexing::MultiplexingSupportRequest>,
    ) -> Result<GrpcResponse<multiplexing::MultiplexingSupportResponse>, Status> {
        Ok(GrpcResponse::new(multiplexing::MultiplexingSupportResponse { supported: true }))
    }
}

/// Tells the host the engine's version.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Version(pub(crate) &'static str);

#[tonic::async_trait]
impl PluginVersion for Version {
    async fn version(
        &self,
        _request: Request<logical::Empty>,
    ) -> Result<GrpcResponse<logical::VersionReply>, Status> {
        Ok(GrpcResponse::new(logical::VersionReply { plugin_version: self.0.to_owned() }))
    }
}

#[cfg(test)]
mod tests;
