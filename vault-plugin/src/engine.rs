//! One mount's instance: what it remembers between requests.

mod binding;
mod config;
mod credentials;
mod definition;
mod health;
mod kept;
mod places;
mod refusals;
mod services;
mod snapshot;
mod sweep;
mod tools;
mod usage;
mod versions;

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use vault_sdk::{Storage, StorageError};

use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::proxy::egress::Resolver;
use crate::proxy::sent::SentLog;
use crate::storage::{self, ConfigEntry, SERVICES, ServiceEntry};

pub use config::{Ceilings, DANGER_FIELDS};
pub use credentials::{CredentialWrite, WrittenCredential};
pub use definition::in_force;
pub use health::{Health, Outcome};
use kept::Kept;
pub use services::{ServiceWrite, WrittenService};
pub use snapshot::Snapshot;
pub use tools::{Approval, Count, Selection, Stale, Tools, is_mcp, rules, trust};
pub(crate) use tools::{aside, parsed};
pub use usage::Usage;

/// One mount. Everything that holds a secret or a connection is inside, and is dropped with it.
pub struct Engine {
    /// One write at a time: each is read, checked and committed as a whole.
    writes: tokio::sync::Mutex<()>,
    cache: Mutex<Cache>,
    places: places::PlacesBook,
    /// One load at a time of services whose names fall together: a burst of callers of a service that
    /// isn't cached compiles its redactor once.
    loading: [tokio::sync::Mutex<()>; LOADERS],
    resolver: Arc<Resolver>,
    sent: Arc<SentLog>,
    health: health::HealthBook,
    refusals: refusals::RefusalBook,
    usage: usage::UsageBook,
    tools: tools::ToolsBook,
    /// Set when a write ended half-way: something may lie about that nothing refers to.
    needs_sweep: AtomicBool,
    /// Seconds since 1970.
    clock: Clock,
}

type Clock = Box<dyn Fn() -> u64 + Send + Sync>;

#[derive(Default)]
struct Cache {
    /// Counts changes, so that what was read before one isn't cached after it.
    generation: u64,
    config: Option<Arc<Mount>>,
    revision: Option<Arc<str>>,
    services: Kept,
    /// Every service's entry, for the catalog.
    catalog: Option<Arc<Vec<(String, ServiceEntry)>>>,
}

/// The mount-wide settings, parsed, and the mount's places.
#[derive(Debug)]
pub struct Mount {
    /// As stored.
    pub entry: ConfigEntry,
    /// Parsed bounds.
    pub ceilings: Ceilings,
    in_flight: Arc<Semaphore>,
}

/// Loads at one time, at most.
const LOADERS: usize = 16;

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Engine")
    }
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            writes: tokio::sync::Mutex::default(),
            cache: Mutex::default(),
            places: places::PlacesBook::default(),
            loading: std::array::from_fn(|_| tokio::sync::Mutex::default()),
            resolver: Arc::new(Resolver::system()),
            sent: Arc::default(),
            health: health::HealthBook::default(),
            refusals: refusals::RefusalBook::default(),
            usage: usage::UsageBook::default(),
            tools: tools::ToolsBook::default(),
            // What a kill left behind is found by the first round after a start.
            needs_sweep: AtomicBool::new(true),
            clock: Box::new(storage::now),
        }
    }
}

impl Engine {
    /// An instance in a process that a host started, which may be killed under a call.
    pub fn in_process() -> Self {
        Self { sent: SentLog::of_this_process(), ..Self::default() }
    }

    /// An instance that tells the health of services by another clock, in seconds since 1970.
    pub fn with_clock(clock: impl Fn() -> u64 + Send + Sync + 'static) -> Self {
        Self { clock: Box::new(clock), ..Self::default() }
    }

    /// The requests that were sent, by this process and those before it.
    pub fn sent(&self) -> &SentLog {
        &self.sent
    }

    /// The calls of a service that are under way.
    pub fn in_flight(&self, name: &Name) -> usize {
        self.places.in_flight(name)
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, Cache> {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops what was cached of a storage key.
    pub fn forget(&self, key: &str) {
        if let Some(id) = key.strip_prefix(storage::TOOLS) {
            return self.tools.forget(id);
        }
        let mut cache = self.cache();
        cache.generation += 1;
        if key == storage::CONFIG {
            cache.config = None;
            // Every service's bounds hang on it.
            cache.services.clear();
        } else if key == storage::REVISION {
            cache.revision = None;
        } else if let Some(name) = key.strip_prefix(storage::SERVICES) {
            cache.services.retain(|service, _| service.as_str() != name);
            cache.catalog = None;
        } else if let Some(name) = key.strip_prefix(storage::CREDENTIALS) {
            cache.services.retain(|_, snapshot| !snapshot.uses_credential(name));
        }
    }

    /// Drops everything cached; idle connections end with it.
    pub fn forget_all(&self) {
        self.tools.forget_all();
        let mut cache = self.cache();
        *cache = Cache { generation: cache.generation + 1, ..Cache::default() };
    }

    /// The mount's settings.
    ///
    /// # Errors
    /// When storage can't be read, or holds settings that don't parse.
    pub async fn mount(&self, storage: &dyn Storage) -> Result<Arc<Mount>, Error> {
        if let Some(mount) = &self.cache().config {
            return Ok(Arc::clone(mount));
        }
        let generation = self.generation();
        let entry: ConfigEntry = storage::load(storage, storage::CONFIG).await?.unwrap_or_default();
        let ceilings = Ceilings::parse(&entry)
            .map_err(|failure| Error::Internal(format!("stored config: {}", failure.text)))?;
        let in_flight = self.places.of_mount(ceilings.max_in_flight);
        let mount = Arc::new(Mount { entry, ceilings, in_flight });
        self.remember(generation, |cache| cache.config = Some(Arc::clone(&mount)));
        Ok(mount)
    }

    /// The catalog's revision: another text whenever a service may look different to an agent.
    ///
    /// # Errors
    /// When storage can't be read.
    pub async fn revision(&self, storage: &dyn Storage) -> Result<Arc<str>, StorageError> {
        if let Some(revision) = &self.cache().revision {
            return Ok(Arc::clone(revision));
        }
        let generation = self.generation();
        let stored: Option<Revision> = storage::load(storage, storage::REVISION).await?;
        let revision: Arc<str> = stored.map_or("0".into(), |stored| stored.revision.into());
        self.remember(generation, |cache| cache.revision = Some(Arc::clone(&revision)));
        Ok(revision)
    }

    /// Stores the mount's settings after checking them.
    ///
    /// # Errors
    /// `invalid_request` for a field that doesn't fit; storage's own.
    pub async fn write_config(
        &self,
        storage: &dyn Storage,
        change: impl FnOnce(&mut ConfigEntry) -> Result<(), Failure>,
    ) -> Result<(), Error> {
        let _one = self.writes.lock().await;
        let mut entry: ConfigEntry =
            storage::load(storage, storage::CONFIG).await?.unwrap_or_default();
        let before = entry.clone();
        change(&mut entry)?;
        Ceilings::parse(&entry)?;
        if config::in_force(&entry) == config::in_force(&before) {
            // Nothing is opened anew for it.
            return Ok(());
        }
        let stored = storage::store(storage, storage::CONFIG, &entry).await;
        self.forget(storage::CONFIG);
        Ok(stored?)
    }

    /// Makes agents' bridges look at the catalog again.
    async fn renew_revision(&self, storage: &dyn Storage) -> Result<(), StorageError> {
        let revision = Revision { revision: storage::random_id()? };
        let stored = storage::store(storage, storage::REVISION, &revision).await;
        self.forget(storage::REVISION);
        stored
    }

    /// Every service's entry, by name.
    ///
    /// # Errors
    /// When storage can't be read.
    pub async fn catalog(
        &self,
        storage: &dyn Storage,
    ) -> Result<Arc<Vec<(String, ServiceEntry)>>, Error> {
        if let Some(catalog) = &self.cache().catalog {
            return Ok(Arc::clone(catalog));
        }
        let generation = self.generation();
        let mut entries = Vec::new();
        for name in storage.list(SERVICES).await? {
            if let Some(entry) = storage::load(storage, &format!("{SERVICES}{name}")).await? {
                entries.push((name, entry));
            }
        }
        let catalog = Arc::new(entries);
        self.remember(generation, |cache| cache.catalog = Some(Arc::clone(&catalog)));
        Ok(catalog)
    }

    /// To be asked before anything is read that is to be cached, the mount's settings included.
    fn generation(&self) -> u64 {
        self.cache().generation
    }

    /// Caches what was read, unless something changed since reading began.
    fn remember(&self, generation: u64, insert: impl FnOnce(&mut Cache)) {
        let mut cache = self.cache();
        if cache.generation == generation {
            insert(&mut cache);
        }
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Revision {
    revision: String,
}

/// Compares a write's `cas` with the version there is; 0 is "must not exist". Without it, the mount
/// must not demand one.
///
/// # Errors
/// `check_and_set_failed`, in the words of the hosts' own engines
/// (`builtin/logical/kv/path_data.go`).
fn check_and_set(cas: Option<u64>, version: u64, required: bool) -> Result<(), Failure> {
    match cas {
        None if required => Err(Failure::new(
            Code::CheckAndSetFailed,
            format!(
                "check-and-set parameter required for this call. The current version is {version}: \
                 cas={version}. Nothing was changed"
            ),
        )),
        Some(cas) if cas != version => Err(Failure::new(
            Code::CheckAndSetFailed,
            format!(
                "check-and-set parameter did not match the current version. The current version is \
                 {version}. Nothing was changed; read it again before you write"
            ),
        )),
        Some(_) | None => Ok(()),
    }
}

/// The name under which a write's author is remembered.
pub fn author(caller: &vault_sdk::Caller) -> String {
    if caller.entity_id.is_empty() {
        caller.display_name.clone()
    } else {
        format!("entity {}", caller.entity_id)
    }
}
