//! Holds the newest catalog, gets fresh ones, and tells who waits for a change.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, Notify, watch};

use super::capabilities::Capabilities;
use super::offers::Offers;
use super::saved::Saved;
use super::{Catalog, Details, Kind, Method, ServiceName, Use};
use crate::config::{Config, CredentialSource, Mount, ToolLimits, VaultServer};
use crate::error::CallError;
use crate::vault::{self, Lost, Request, Session, SessionError, Unavailable, jitter};

/// The newest catalog that is known, and how it is renewed.
#[derive(Debug)]
pub(crate) struct Store {
    session: Session,
    mount: Mount,
    named: Vec<ServiceName>,
    tool_limits: ToolLimits,
    saved: Option<Saved>,
    current: watch::Sender<Snapshot>,
    /// Held while refreshing, so that many callers make one request.
    refreshing: Mutex<Learned>,
    /// How many clients want to hear of changes.
    interest: watch::Sender<usize>,
    stale: Notify,
    /// Rung when a refresh couldn't read what every MCP server offers.
    unread: Notify,
}

/// What refreshing has learned of this token and of MCP servers.
#[derive(Debug, Default)]
struct Learned {
    capabilities: Capabilities,
    offers: Offers,
}

/// What is known at a moment.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshot {
    /// The catalog, if any was ever seen.
    pub(crate) catalog: Option<Arc<Catalog>>,
    /// Whether it came from Vault in this process's life.
    pub(crate) fresh: bool,
    /// Whether Vault was asked and couldn't answer, so that waiting is of no use.
    pub(crate) failed: bool,
}

/// Counts as one client that wants to hear of changes, until it is dropped.
#[derive(Debug)]
pub(crate) struct Interest(watch::Sender<usize>);

impl Drop for Interest {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.saturating_sub(1));
    }
}

impl Store {
    /// Makes a store that begins with the saved catalog, if there is one.
    pub(crate) fn new(config: Config) -> Self {
        let credential = match &config.credential {
            CredentialSource::Enrolled(place) => place.file.display().to_string(),
            source @ (CredentialSource::AppRole { .. }
            | CredentialSource::Delivered(_)
            | CredentialSource::TokenFile(_)
            | CredentialSource::Environment(_)) => format!("{source:?}"),
        };
        let saved = config.cache_dir.as_deref().map(|dir| {
            // An enrolled credential's file stands for the server that it names.
            let server = config.vault.as_ref();
            let addresses = server.map(VaultServer::names).unwrap_or_default();
            let namespace = server.and_then(|server| server.namespace.as_deref());
            let namespace = namespace.unwrap_or_default();
            Saved::new(dir, &[&addresses, namespace, config.mount.as_str(), &credential])
        });
        let session = Session::new(config.vault, config.credential);
        let catalog = saved.as_ref().and_then(Saved::load).map(Arc::new);
        Self {
            session,
            mount: config.mount,
            named: config.services,
            tool_limits: config.tool_limits,
            saved,
            current: watch::Sender::new(Snapshot { catalog, ..Snapshot::default() }),
            refreshing: Mutex::default(),
            interest: watch::Sender::new(0),
            stale: Notify::new(),
            unread: Notify::new(),
        }
    }

    /// How many tools of MCP servers are listed one by one.
    pub(crate) fn tool_limits(&self) -> &ToolLimits {
        &self.tool_limits
    }

    /// The session that the store asks with.
    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// Where the engine is mounted.
    pub(crate) fn mount(&self) -> &Mount {
        &self.mount
    }

    /// What is known now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        self.current.borrow().clone()
    }

    /// What is known once Vault was asked for the first time, or when the limit has passed.
    pub(crate) async fn settled(&self, limit: Duration) -> Snapshot {
        let mut watcher = self.current.subscribe();
        let _ = tokio::time::timeout(limit, watcher.wait_for(|now| now.fresh || now.failed)).await;
        self.snapshot()
    }

    /// Lets a caller wait for every later change.
    pub(crate) fn watch(&self) -> watch::Receiver<Snapshot> {
        self.current.subscribe()
    }

    /// Has the store ask Vault regularly while the guard lives.
    pub(crate) fn interest(&self) -> Interest {
        self.interest.send_modify(|count| *count += 1);
        Interest(self.interest.clone())
    }

    /// Compares the revision that came with an answer, and has the catalog refreshed if it differs.
    pub(crate) fn saw_revision(&self, revision: &str) {
        let known = self.current.borrow().catalog.as_ref().map(|c| c.revision.clone());
        if !revision.is_empty() && known.is_some_and(|known| !known.is_empty() && known != revision)
        {
            self.stale.notify_one();
        }
    }

    /// Has the next refresh ask for the permissions of a service again: Vault decided otherwise
    /// than expected.
    pub(crate) async fn doubt(&self, name: &ServiceName) {
        self.refreshing.lock().await.capabilities.forget(name);
    }

    /// Has the next refresh ask again for services of which nothing was permitted: an agent that
    /// asks what it may call may have been allowed more since.
    pub(crate) async fn doubt_refused(&self) {
        self.refreshing.lock().await.capabilities.forget_refused();
    }

    /// Takes note that Vault let a call pass. If that is news, the operator has changed the policy.
    pub(crate) async fn saw_permitted(&self, name: &ServiceName, one: &Use) {
        let news = self.snapshot().catalog.is_some_and(|catalog| {
            catalog.find(name.as_str()).is_some_and(|service| match one {
                Use::Method(method) => !service.permitted.contains(method),
                Use::Tool(segment) => service
                    .offer
                    .as_ref()
                    .is_some_and(|offer| !offer.tools.iter().any(|tool| tool.segment == *segment)),
                Use::Prompt(_) | Use::Resources => false,
            })
        });
        if news {
            self.doubt(name).await;
            self.stale.notify_one();
        }
    }

    /// Keeps the catalog fresh: until the first is there, after hints, and regularly while anybody
    /// wants to hear of changes. Never returns.
    pub(crate) async fn maintain(&self) {
        let mut pause = Duration::from_secs(1);
        while self.refresh().await.is_err() {
            self.current.send_modify(|snapshot| snapshot.failed = true);
            tokio::time::sleep(jitter(pause, 20)).await;
            pause = (pause * 2).min(Duration::from_secs(30));
        }
        tokio::join!(self.poll(), self.catch_up());
    }

    async fn poll(&self) {
        let mut interest = self.interest.subscribe();
        loop {
            let wanted = *interest.borrow_and_update() > 0;
            let poll = async {
                if wanted {
                    tokio::time::sleep(jitter(POLL, 20)).await;
                } else {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = poll => {}
                () = self.stale.notified() => {}
                _ = interest.changed() => continue,
            }
            if let Err(error) = self.refresh().await {
                tracing::debug!(code = error.code(), "the catalog can't be refreshed");
            }
        }
    }

    /// Reads on what a refresh couldn't read in its time, so that a slow or broken answer about one
    /// MCP server delays nothing about the others. Never returns.
    async fn catch_up(&self) {
        let mut pause = RETRY;
        loop {
            self.unread.notified().await;
            loop {
                let wanted = self.refreshing.lock().await.offers.unread();
                let read = super::offers::read(self, wanted.clone(), LONGEST).await;
                let done = wanted.len() == read.len();
                let came = !read.is_empty();
                self.refreshing.lock().await.offers.keep(read);
                if came && self.refresh().await.is_err() {
                    tracing::debug!("the catalog can't be refreshed");
                }
                if done {
                    pause = RETRY;
                    break;
                }
                tokio::time::sleep(jitter(pause, 20)).await;
                pause = (pause * 2).min(POLL);
            }
        }
    }

    /// Gets a fresh catalog.
    ///
    /// # Errors
    ///
    /// [`CallError`] if there is no session or Vault can't answer.
    pub(crate) async fn refresh(&self) -> Result<Arc<Catalog>, CallError> {
        let mut learned = self.refreshing.lock().await;
        let mut catalog = self.fetch().await?;
        catalog.services.sort_by(|a, b| a.name.cmp(&b.name));
        self.read_offers(&mut learned.offers, &catalog).await;
        let Learned { capabilities, offers } = &mut *learned;
        let http = catalog.services.iter().filter(|service| service.kind == Kind::Http);
        let names = http.map(|service| &service.name);
        capabilities
            .learn(&self.session, &self.mount, names)
            .await
            .map_err(|error| unsent(&error))?;
        capabilities
            .learn_uses(&self.session, &self.mount, offers.uses())
            .await
            .map_err(|error| unsent(&error))?;
        for service in &mut catalog.services {
            service.permitted = capabilities.permitted(&service.name);
            service.offer =
                offers.permitted(&service.name, |one| capabilities.may(&service.name, one));
        }
        let catalog = Arc::new(catalog);
        let changed = self.current.send_if_modified(|snapshot| {
            let changed = !snapshot.fresh || snapshot.catalog.as_ref() != Some(&catalog);
            *snapshot =
                Snapshot { catalog: Some(Arc::clone(&catalog)), fresh: true, failed: false };
            changed
        });
        if changed && let Some(saved) = &self.saved {
            saved.store(&catalog);
        }
        Ok(catalog)
    }

    /// Gets a fresh catalog with all that MCP servers offer, however long that takes.
    ///
    /// # Errors
    ///
    /// As [`Self::refresh`].
    pub(crate) async fn refresh_whole(&self) -> Result<Arc<Catalog>, CallError> {
        let catalog = self.refresh().await?;
        let unread = self.refreshing.lock().await.offers.unread();
        if unread.is_empty() {
            return Ok(catalog);
        }
        let read = super::offers::read(self, unread, LONGEST).await;
        self.refreshing.lock().await.offers.keep(read);
        self.refresh().await
    }

    /// Reads what MCP servers offer, where the catalog has changed since it was read, and waits a
    /// moment at most: what can't be read by then stays as it was.
    async fn read_offers(&self, offers: &mut Offers, catalog: &Catalog) {
        let before = self.snapshot().catalog;
        let wanted = offers.begin(catalog, before.as_deref());
        let reading = super::offers::read(self, wanted, PATIENCE);
        offers.keep(reading.await);
        if !offers.unread().is_empty() {
            self.unread.notify_one();
        }
    }

    /// Gets what the engine tells of one service; none where it may not be read.
    ///
    /// # Errors
    ///
    /// [`CallError`] if there is no session or Vault can't answer.
    pub(crate) async fn details(&self, name: &ServiceName) -> Result<Option<Details>, CallError> {
        let request = Request::get(format!("{}/catalog/{name}", self.mount));
        let reply = self.session.request(&request).await.map_err(|error| unsent(&error))?;
        match reply.status {
            200 => Ok(vault::data(&reply.body)),
            400..=499 => Ok(None),
            _ => Err(CallError::Unavailable(vault::unavailable(&reply))),
        }
    }

    /// The methods that this token may use on a service, as far as is known.
    pub(crate) fn permitted(&self, name: &str) -> Vec<Method> {
        let snapshot = self.current.borrow();
        let service = snapshot.catalog.as_ref().and_then(|catalog| catalog.find(name));
        service.map(|service| service.permitted.clone()).unwrap_or_default()
    }

    async fn fetch(&self) -> Result<Catalog, CallError> {
        let request = Request::get(format!("{}/catalog", self.mount));
        let reply = self.session.request(&request).await.map_err(|error| unsent(&error))?;
        match reply.status {
            200 => vault::data(&reply.body)
                .ok_or(CallError::Unavailable(Unavailable::Failing(reply.status))),
            403 => {
                if self.named.is_empty() {
                    tracing::warn!("the catalog may not be read and no services are configured");
                }
                Ok(Catalog::of_names(&self.named))
            }
            404 => Err(CallError::Unavailable(Unavailable::NotMounted)),
            _ => Err(CallError::Unavailable(vault::unavailable(&reply))),
        }
    }
}

/// The error of a request that changes nothing anywhere.
pub(crate) fn unsent(error: &SessionError) -> CallError {
    match error {
        SessionError::Login(error) => CallError::Login(*error),
        SessionError::Lost(Lost::NeverSent(why)) => CallError::Unavailable(*why),
        SessionError::Lost(Lost::TimedOut) => {
            CallError::Unavailable(Unavailable::NoConnection(vault::ConnectFault::Timeout))
        }
        SessionError::Lost(Lost::Broken | Lost::TooLarge) => {
            CallError::Unavailable(Unavailable::NoConnection(vault::ConnectFault::Other))
        }
    }
}

/// How long a refresh waits for what MCP servers offer: a first list has little time.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long it may take in the background.
const LONGEST: Duration = Duration::from_secs(60);
/// The pause before what couldn't be read is asked for again; it doubles up to [`POLL`].
const RETRY: Duration = Duration::from_secs(2);
/// How often the catalog is asked for while a client wants to hear of changes.
const POLL: Duration = Duration::from_secs(60);
