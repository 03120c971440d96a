//! What an engine implements.

use std::future::Future;
use std::sync::Arc;

use crate::error::Error;
use crate::path::Path;
use crate::storage::Storage;
use crate::system_view::SystemView;

/// What is fixed when a mount's instance is made.
#[derive(Clone)]
pub struct Setup {
    /// Names the mount for good, across reloads and moves.
    pub backend_uuid: String,
    /// What the host tells about itself. Not usable before [`Backend::initialize`].
    pub system: Arc<dyn SystemView>,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("backend_uuid", &self.backend_uuid).finish_non_exhaustive()
    }
}

/// Paths that the host treats specially. Read at mount, reload and unseal only.
///
/// `*` counts as the last character alone, as a prefix.
#[derive(Clone, Debug, Default)]
pub struct SpecialPaths {
    /// Wants the `sudo` capability.
    pub root: Vec<String>,
    /// Answered without a token. Best left empty.
    pub unauthenticated: Vec<String>,
    /// Storage keys that aren't replicated.
    pub local_storage: Vec<String>,
    /// Storage keys that are wrapped by the seal a second time.
    pub seal_wrap_storage: Vec<String>,
}

/// A secrets engine. One instance serves one mount; one process serves all mounts of all
/// namespaces, so whatever holds a secret or a connection belongs into the instance.
pub trait Backend: Sized + Send + Sync + 'static {
    /// The semantic version that the host's catalog shows, with its `v`.
    const VERSION: &'static str;
    /// The first lines of `path-help` on the mount.
    const HELP: &'static str;

    /// Makes an instance. It must work without storage: registration does that much and no more.
    fn new(setup: Setup) -> Self;

    /// Declares every path.
    fn paths() -> Vec<Path<Self>>;

    /// Declares the special paths.
    fn special_paths() -> SpecialPaths {
        SpecialPaths::default()
    }

    /// Prepares a mount whose storage is there. It also runs on nodes that may not write; a
    /// read-only error from here is no failure. Once begun it runs to its end.
    fn initialize(
        &self,
        _storage: Arc<dyn Storage>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Drops what was cached of one storage entry, changed by another node.
    fn invalidate(&self, _key: &str) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// Runs about once a minute on the node that may write. Once begun it runs to its end.
    fn periodic(
        &self,
        _storage: Arc<dyn Storage>,
    ) -> impl Future<Output = Result<(), Error>> + Send {
        async { Ok(()) }
    }

    /// Ends what the instance has open. May be called twice.
    fn cleanup(&self) -> impl Future<Output = ()> + Send {
        async {}
    }
}
