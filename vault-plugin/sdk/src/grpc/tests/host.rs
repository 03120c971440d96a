//! A host's services for one mount, and a record of what a plugin asked them.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};

use proto::pb::storage_server::StorageServer;
use proto::pb::system_view_server::SystemViewServer;
use proto::{logical, pb};
use tokio::task::JoinHandle;
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic::{Request, Response, Status};

use super::{PIPE, connect_over, serve, within};
use crate::storage::{InMemoryStorage, Storage as _};

/// How a host's storage behaves.
#[derive(Clone, Debug)]
pub(super) enum Mode {
    Works,
    /// Every reply carries this error text, as a host reports what its storage said.
    Says(&'static str),
    /// Reads work; every write is answered with this error text.
    Refuses(&'static str),
    /// As at registration: there is no storage and no system view.
    Missing,
}

#[derive(Clone)]
pub(super) struct Host(Arc<State>);

struct State {
    storage: InMemoryStorage,
    mode: Mutex<Mode>,
    replication: AtomicI32,
    local: AtomicBool,
    calls: Mutex<Vec<(&'static str, Vec<String>)>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

/// What a server that stands alone reports.
pub(super) const STANDALONE: i32 = 12_288;
pub(super) const ACTIVE: i32 = 8_224;
pub(super) const STANDBY: i32 = 24_576;
pub(super) const PERFORMANCE_SECONDARY: i32 = 0x40;

impl Default for Host {
    fn default() -> Self {
        Self::new(Mode::Works, STANDALONE)
    }
}

impl Host {
    pub(super) fn new(mode: Mode, replication: i32) -> Self {
        Self(Arc::new(State {
            storage: InMemoryStorage::default(),
            mode: Mutex::new(mode),
            replication: AtomicI32::new(replication),
            local: AtomicBool::new(false),
            calls: Mutex::default(),
            connections: Mutex::default(),
        }))
    }

    pub(super) fn set_mode(&self, mode: Mode) {
        *self.0.mode.lock().unwrap() = mode;
    }

    pub(super) fn set_local(&self) {
        self.0.local.store(true, Ordering::SeqCst);
    }

    pub(super) fn storage(&self) -> &InMemoryStorage {
        &self.0.storage
    }

    /// The names of the calls so far.
    pub(super) fn calls(&self) -> Vec<&'static str> {
        self.0.calls.lock().unwrap().iter().map(|(name, _)| *name).collect()
    }

    /// The metadata keys of every call so far.
    pub(super) fn metadata(&self) -> Vec<String> {
        let calls = self.0.calls.lock().unwrap();
        calls.iter().flat_map(|(_, keys)| keys.iter().cloned()).collect()
    }

    /// Serves one connection.
    pub(super) async fn connect(&self) -> Channel {
        let (ours, mut near) = tokio::io::duplex(PIPE);
        let (mut far, theirs) = tokio::io::duplex(PIPE);
        let relay = tokio::spawn(async move {
            // Ends when both sides have closed.
            let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
        });
        self.0.connections.lock().unwrap().push(relay);
        serve(
            Routes::new(StorageServer::new(self.clone()).max_decoding_message_size(usize::MAX))
                .add_service(SystemViewServer::new(self.clone())),
            theirs,
        );
        connect_over(ours).await
    }

    pub(super) fn connections(&self) -> usize {
        self.0.connections.lock().unwrap().iter().filter(|relay| !relay.is_finished()).count()
    }

    /// Waits until the plugin has closed every connection.
    pub(super) async fn closed(&self) {
        let connections: Vec<_> = self.0.connections.lock().unwrap().drain(..).collect();
        for connection in connections {
            within("the end of a connection", connection).await.unwrap();
        }
    }

    fn mode(&self) -> Mode {
        self.0.mode.lock().unwrap().clone()
    }

    /// The error text of a storage reply, or the status of a host that has none.
    fn storage_error(&self, writes: bool) -> Result<String, Status> {
        match self.mode() {
            Mode::Works => Ok(String::new()),
            Mode::Says(text) => Ok(text.to_owned()),
            Mode::Refuses(text) => Ok(if writes { text.to_owned() } else { String::new() }),
            Mode::Missing => Err(Status::internal("missing storage implementation")),
        }
    }

    fn has_system_view(&self) -> Result<(), Status> {
        match self.mode() {
            Mode::Works | Mode::Says(_) | Mode::Refuses(_) => Ok(()),
            Mode::Missing => Err(Status::internal("missing system view implementation")),
        }
    }

    async fn list(&self, args: pb::StorageListArgs) -> Result<pb::StorageListReply, Status> {
        let err = self.storage_error(false)?;
        Ok(pb::StorageListReply { keys: self.0.storage.list(&args.prefix).await.unwrap(), err })
    }

    async fn get(&self, args: pb::StorageGetArgs) -> Result<pb::StorageGetReply, Status> {
        let err = self.storage_error(false)?;
        let value =
            if err.is_empty() { self.0.storage.get(&args.key).await.unwrap() } else { None };
        let entry = value.map(|value| pb::StorageEntry { key: args.key, value, seal_wrap: false });
        Ok(pb::StorageGetReply { entry, err })
    }

    async fn put(&self, args: pb::StoragePutArgs) -> Result<pb::StoragePutReply, Status> {
        let err = self.storage_error(true)?;
        if err.is_empty() {
            let entry = args.entry.unwrap();
            self.0.storage.put(&entry.key, entry.value).await.unwrap();
        }
        Ok(pb::StoragePutReply { err })
    }

    async fn delete(&self, args: pb::StorageDeleteArgs) -> Result<pb::StorageDeleteReply, Status> {
        let err = self.storage_error(true)?;
        if err.is_empty() {
            self.0.storage.delete(&args.key).await.unwrap();
        }
        Ok(pb::StorageDeleteReply { err })
    }

    async fn replication_state(&self, _: pb::Empty) -> Result<pb::ReplicationStateReply, Status> {
        self.has_system_view()?;
        Ok(pb::ReplicationStateReply { state: self.0.replication.load(Ordering::SeqCst) })
    }

    async fn local_mount(&self, _: pb::Empty) -> Result<pb::LocalMountReply, Status> {
        self.has_system_view()?;
        Ok(pb::LocalMountReply { local: self.0.local.load(Ordering::SeqCst) })
    }

    async fn plugin_env(&self, _: pb::Empty) -> Result<pb::PluginEnvReply, Status> {
        let environment =
            logical::PluginEnvironment { vault_version: "2.7.2".into(), ..Default::default() };
        Ok(pb::PluginEnvReply { plugin_environment: Some(environment), err: String::new() })
    }

    async fn entity_info(&self, args: pb::EntityInfoArgs) -> Result<pb::EntityInfoReply, Status> {
        let entity = (args.entity_id == "entity-1").then(|| logical::Entity {
            id: args.entity_id,
            name: "agent-7".into(),
            metadata: [("team".to_owned(), "search".to_owned())].into(),
            ..Default::default()
        });
        Ok(pb::EntityInfoReply { entity, err: String::new() })
    }

    async fn password(
        &self,
        args: pb::GeneratePasswordFromPolicyRequest,
    ) -> Result<pb::GeneratePasswordFromPolicyReply, Status> {
        if args.policy_name == "strong" {
            Ok(pb::GeneratePasswordFromPolicyReply { password: "made-by-policy".into() })
        } else {
            Err(Status::internal("failed to generate password"))
        }
    }

    async fn absent<A, R>(&self, _: A) -> Result<R, Status> {
        Err(Status::unimplemented("not on this host"))
    }
}

/// Implements a service by methods of [`Host`], recording each call with its metadata's keys.
macro_rules! serve_by {
    ($service:path { $($rpc:ident($args:ty) -> $reply:ty = $method:ident;)* }) => {
        #[tonic::async_trait]
        impl $service for Host {
            $(
                async fn $rpc(&self, request: Request<$args>) -> Result<Response<$reply>, Status> {
                    let keys = request.metadata().keys().map(|key| match key {
                        tonic::metadata::KeyRef::Ascii(key) => key.as_str().to_owned(),
                        tonic::metadata::KeyRef::Binary(key) => key.as_str().to_owned(),
                    });
                    self.0.calls.lock().unwrap().push((stringify!($rpc), keys.collect()));
                    self.$method(request.into_inner()).await.map(Response::new)
                }
            )*
        }
    };
}

serve_by!(pb::storage_server::Storage {
    list(pb::StorageListArgs) -> pb::StorageListReply = list;
    get(pb::StorageGetArgs) -> pb::StorageGetReply = get;
    put(pb::StoragePutArgs) -> pb::StoragePutReply = put;
    delete(pb::StorageDeleteArgs) -> pb::StorageDeleteReply = delete;
    list_page(pb::StorageListPageArgs) -> pb::StorageListReply = absent;
    is_transactional(pb::Empty) -> pb::StorageIsTransactionalReply = absent;
    begin_read_only_tx(pb::Empty) -> pb::StorageBeginTxReply = absent;
    begin_tx(pb::Empty) -> pb::StorageBeginTxReply = absent;
    commit(pb::StorageCommitTxArgs) -> pb::StorageCommitTxReply = absent;
    rollback(pb::StorageRollbackTxArgs) -> pb::StorageRollbackTxReply = absent;
});

serve_by!(pb::system_view_server::SystemView {
    replication_state(pb::Empty) -> pb::ReplicationStateReply = replication_state;
    local_mount(pb::Empty) -> pb::LocalMountReply = local_mount;
    plugin_env(pb::Empty) -> pb::PluginEnvReply = plugin_env;
    entity_info(pb::EntityInfoArgs) -> pb::EntityInfoReply = entity_info;
    generate_password_from_policy(pb::GeneratePasswordFromPolicyRequest)
        -> pb::GeneratePasswordFromPolicyReply = password;
    default_lease_ttl(pb::Empty) -> pb::TtlReply = absent;
    max_lease_ttl(pb::Empty) -> pb::TtlReply = absent;
    tainted(pb::Empty) -> pb::TaintedReply = absent;
    caching_disabled(pb::Empty) -> pb::CachingDisabledReply = absent;
    response_wrap_data(pb::ResponseWrapDataArgs) -> pb::ResponseWrapDataReply = absent;
    mlock_enabled(pb::Empty) -> pb::MlockEnabledReply = absent;
    groups_for_entity(pb::EntityInfoArgs) -> pb::GroupsForEntityReply = absent;
    cluster_info(pb::Empty) -> pb::ClusterInfoReply = absent;
});
