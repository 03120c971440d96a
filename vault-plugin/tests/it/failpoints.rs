//! Rounds of random writes, each with a fault at one access to storage, beside a model of what may
//! be seen after it: the old state or the new one, whole; what was acknowledged, always.
//!
//! The faults come from the storage that the engine is given, so the engine has no part in it.
//! `FAILPOINT_ROUNDS=n` runs more than the usual number; a failure prints the `FAILPOINT_SEED=n`
//! that repeats it.
#![expect(
    clippy::print_stdout,
    reason = "what was tried, and what repeats a failure, is for people"
)]

mod model;
mod storage;

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::ExposeSecret as _;
use serde_json::{Map, Value};
use tokio::runtime::{Builder, Runtime};
use vault_plugin::engine::Engine;
use vault_plugin::name::Name;
use vault_sdk::{
    Caller, Error, InMemoryStorage, Incoming, Operation, Router, StaticSystemView, Storage,
};

use model::{Change, Credential, Random, Seen, Service};
use storage::{FAULTS, Faulty};

const ROUNDS: u64 = 500;
/// After so many, a mount starts empty again.
const ROUNDS_PER_MOUNT: u64 = 50;

#[test]
fn a_fault_at_any_access_to_storage_leaves_the_old_state_or_the_new_one() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("FAILPOINT_SEED") {
        Rounds::new(seed).run();
        return;
    }
    let first = getrandom::u64().unwrap();
    let (mut acknowledged, mut faults) = (0, 0);
    let rounds = number("FAILPOINT_ROUNDS").unwrap_or(ROUNDS);
    for mount in 0..rounds.div_ceil(ROUNDS_PER_MOUNT) {
        let mut rounds = Rounds::new(first.wrapping_add(mount));
        rounds.run();
        acknowledged += rounds.acknowledged;
        faults += rounds.faults;
    }
    println!("{rounds} rounds, {acknowledged} acknowledged, {faults} with a fault");
    // Else nothing was tried.
    assert!(acknowledged > rounds / 4 && faults > rounds / 8, "too few of either");
}

/// How an attempt ended.
#[derive(Debug)]
enum Outcome {
    Acknowledged(Map<String, Value>),
    Refused(String),
    Failed,
    Crashed,
}

/// One mount and the model beside it.
struct Rounds {
    seed: u64,
    random: Random,
    storage: Arc<Faulty>,
    process: Process,
    /// Another process, which forgets all before it looks.
    reader: Process,
    seen: Seen,
    /// What each version of a credential was written with.
    secrets: BTreeMap<(String, u64), String>,
    /// The catalog's revision, and the services there were when it was asked for.
    told: (Arc<str>, BTreeMap<String, Service>),
    acknowledged: u64,
    faults: u64,
    history: Vec<String>,
}

/// The plugin's process: a crash ends all that runs in it.
struct Process {
    runtime: Runtime,
    engine: Arc<Engine>,
    router: Router<Engine>,
}

impl Process {
    fn start() -> Self {
        let runtime = Builder::new_current_thread().enable_time().build().unwrap();
        Self { runtime, engine: Arc::default(), router: Router::default() }
    }

    fn handle(
        &self,
        storage: &Arc<Faulty>,
        operation: Operation,
        path: &str,
        data: Value,
    ) -> Outcome {
        let incoming = Incoming {
            id: "r-1".into(),
            path: path.into(),
            data: data.to_string(),
            caller: Caller { entity_id: "e-1".into(), ..Caller::default() },
            wrap_ttl: None,
            mount_point: "mcp-proxy/".into(),
            storage: Arc::clone(storage) as Arc<dyn Storage>,
        };
        let system = StaticSystemView::default();
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = storage.crashed() => Outcome::Crashed,
                result = self.router.handle(&self.engine, &system, operation, incoming) => {
                    match result {
                        Ok(answer) => {
                            Outcome::Acknowledged(answer.as_data().cloned().unwrap_or_default())
                        }
                        Err(error @ (Error::Invalid(_) | Error::Coded { .. })) => {
                            Outcome::Refused(error.to_string())
                        }
                        Err(_) => Outcome::Failed,
                    }
                }
            }
        })
    }

    /// False if it failed or crashed on the way.
    fn sweep(&self, storage: &Arc<Faulty>) -> Option<bool> {
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                () = storage.crashed() => None,
                swept = self.engine.sweep(storage.as_ref()) => Some(swept.is_ok()),
            }
        })
    }

    fn read(&self, storage: &Arc<Faulty>, path: &str) -> Map<String, Value> {
        let read = self.handle(storage, Operation::Read, path, Value::Null);
        let Outcome::Acknowledged(data) = read else { panic!("{path}: {read:?}") };
        data
    }

    fn list(&self, storage: &Arc<Faulty>, path: &str) -> Vec<String> {
        let Outcome::Acknowledged(mut data) =
            self.handle(storage, Operation::List, path, Value::Null)
        else {
            panic!("{path} isn't listed")
        };
        let keys = data.remove("keys").unwrap_or_default();
        serde_json::from_value::<Option<_>>(keys).unwrap().unwrap_or_default()
    }

    /// All that can be seen through the engine.
    fn seen(&self, storage: &Arc<Faulty>) -> Seen {
        let config = self.read(storage, "config");
        let services = self.list(storage, "services").into_iter().map(|name| {
            let shown = self.read(storage, &format!("services/{name}"));
            let service = Service {
                base: text(&shown["base_url"]),
                description: shown.get("description").map(text).unwrap_or_default(),
                uses: self.used(storage, &name),
            };
            (name, service)
        });
        let services = services.collect();
        let credentials = self.list(storage, "credentials").into_iter().map(|name| {
            let shown = self.read(storage, &format!("credentials/{name}"));
            let versions = shown["versions"].as_object().unwrap().iter();
            let versions = versions.map(|(number, version)| {
                (number.parse().unwrap(), version["destroyed"].as_bool().unwrap())
            });
            let credential = Credential {
                owner: text(&shown["owner"]),
                current: shown["current_version"].as_u64().unwrap(),
                versions: versions.collect(),
            };
            (name, credential)
        });
        Seen {
            max_versions: config["max_versions"].as_u64().unwrap(),
            paused: config["paused"].as_bool().unwrap(),
            services,
            credentials: credentials.collect(),
        }
    }

    /// The credential, version and secret that a service's next call sends.
    #[expect(clippy::disallowed_methods, reason = "the test's own secrets")]
    fn used(&self, storage: &Arc<Faulty>, name: &str) -> Option<(String, u64, String)> {
        let name = Name::parse(name).unwrap();
        let loading = self.engine.snapshot(storage.as_ref(), &name);
        let snapshot = self.runtime.block_on(loading).unwrap();
        let credential = snapshot.credential.as_ref()?;
        let difference = credential.binding.difference(&snapshot.service.binding());
        assert_eq!(difference, None, "half-written");
        let secret = credential.material.get("token").unwrap().expose_secret().to_owned();
        Some((credential.name.to_string(), credential.version, secret))
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

impl Rounds {
    fn new(seed: u64) -> Self {
        let storage = Arc::new(Faulty::default());
        let process = Process::start();
        let seen = process.seen(&storage);
        Self {
            seed,
            random: Random(seed),
            storage,
            process,
            reader: Process::start(),
            seen,
            secrets: BTreeMap::new(),
            told: ("0".into(), BTreeMap::new()),
            acknowledged: 0,
            faults: 0,
            history: Vec::new(),
        }
    }

    fn run(&mut self) {
        for round in 0..ROUNDS_PER_MOUNT {
            let change = Change::any(&mut self.random, &self.seen, round);
            self.round(&change);
            if self.random.below(3) == 0 {
                self.sweep();
            }
        }
        self.sweep();
    }

    fn round(&mut self, change: &Change) {
        // Mostly at an access that there will be.
        let fault =
            (self.random.below(6) > 0).then(|| (self.random.below(5), *self.random.choose(FAULTS)));
        self.storage.plan(fault);
        let (operation, path, data) = change.request(&self.seen);
        let outcome = self.process.handle(&self.storage, operation, &path, data);
        self.faults += u64::from(self.storage.heal());
        self.history.push(format!("{change:?} with {fault:?}: {outcome:?}"));
        self.restart_after(matches!(outcome, Outcome::Crashed));

        let now = self.look();
        let made = match &outcome {
            Outcome::Acknowledged(answer) => change.made(answer),
            Outcome::Refused(_) | Outcome::Failed | Outcome::Crashed => {
                change.credential().and_then(|name| now.newer(name, &self.seen))
            }
        };
        let after = change.applied(&self.seen, &self.secrets, made.unwrap_or_default());
        match outcome {
            Outcome::Acknowledged(_) => {
                self.acknowledged += 1;
                assert_eq!(now, after, "an acknowledged write is lost or half-done");
            }
            Outcome::Refused(text) => assert_eq!(now, self.seen, "refused: {text}"),
            Outcome::Failed | Outcome::Crashed => {
                let is_whole = [&self.seen, &after, &change.cut_short(&self.seen)].contains(&&now);
                assert!(is_whole, "half-written: {now:#?}\nbefore: {:#?}", self.seen);
                if change.takes_away() && now != after {
                    // It begins with the secrets, and is to be repeated until it has come to its
                    // end.
                    let (operation, path, data) = change.request(&self.seen);
                    let again = self.process.handle(&self.storage, operation, &path, data);
                    if !matches!(again, Outcome::Refused(_)) {
                        assert!(matches!(again, Outcome::Acknowledged(_)), "{again:?}");
                        self.seen = self.look();
                        assert_eq!(self.seen, after, "repeated in vain");
                    }
                    return;
                }
            }
        }
        if now == after
            && let Some((name, secret)) = change.secret(&self.secrets)
            && let Some(version) = made
        {
            self.secrets.insert((name, version), secret);
        }
        self.seen = now;
    }

    /// What is seen, with and without what the process remembers.
    fn look(&self) -> Seen {
        let seen = self.process.seen(&self.storage);
        self.reader.engine.forget_all();
        assert_eq!(seen, self.reader.seen(&self.storage), "remembered otherwise than stored");
        seen
    }

    fn restart_after(&mut self, crashed: bool) {
        if crashed || self.random.below(16) == 0 {
            self.process = Process::start();
        }
    }

    /// Clears up, with a fault first, and sees that nothing is left and nothing else has changed.
    fn sweep(&mut self) {
        if self.random.below(2) == 0 {
            let fault = (self.random.below(6), *self.random.choose(FAULTS));
            self.storage.plan(Some(fault));
            let swept = self.process.sweep(&self.storage);
            self.storage.heal();
            self.history.push(format!("sweep with {fault:?}: {swept:?}"));
            self.restart_after(swept.is_none());
        }
        self.history.push("sweep".into());
        assert_eq!(self.process.sweep(&self.storage), Some(true));
        assert_eq!(self.look(), self.seen, "swept too much");
        let keys = self.storage.inner.keys();
        let count = |prefix: &str| keys.iter().filter(|key| key.starts_with(prefix)).count();
        let credentials = self.seen.credentials.values();
        let live: usize = credentials.map(Credential::live).sum();
        assert_eq!(count("credential/"), self.seen.credentials.len(), "orphans: {keys:?}");
        assert_eq!(count("material/"), live, "orphans: {keys:?}");

        let revision = self.process.engine.revision(self.storage.as_ref());
        let revision = self.process.runtime.block_on(revision).unwrap();
        if self.told.1 != self.seen.described() {
            assert_ne!(self.told.0, revision, "agents aren't told of a change");
        }
        self.told = (revision, self.seen.described());
    }
}

impl Drop for Rounds {
    fn drop(&mut self) {
        if std::thread::panicking() {
            println!("{}\nagain with FAILPOINT_SEED={}", self.history.join("\n"), self.seed);
        }
    }
}
