//! What a mount shows, and what each change makes of it.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use vault_sdk::Operation;

/// SplitMix64 (Steele, Lea, Flood: "Fast splittable pseudorandom number generators").
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub(super) fn choose<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        let at = self.below(from.len().try_into().unwrap());
        &from[usize::try_from(at).unwrap()]
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) max_versions: u64,
    pub(super) paused: bool,
    pub(super) services: BTreeMap<String, Service>,
    pub(super) credentials: BTreeMap<String, Credential>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) base: String,
    pub(super) description: String,
    /// The credential, version and secret that its next call sends.
    pub(super) uses: Option<(String, u64, String)>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Credential {
    pub(super) owner: String,
    pub(super) current: u64,
    /// Whether each is destroyed.
    pub(super) versions: BTreeMap<u64, bool>,
}

impl Seen {
    /// What agents are told of services.
    pub(super) fn described(&self) -> BTreeMap<String, Service> {
        let told = |service: &Service| Service { uses: None, ..service.clone() };
        self.services.iter().map(|(name, service)| (name.clone(), told(service))).collect()
    }

    /// The version of a credential that there wasn't before.
    pub(super) fn newer(&self, name: &str, before: &Self) -> Option<u64> {
        let current = |seen: &Self| seen.credentials.get(name).map(|shown| shown.current);
        current(self).filter(|now| Some(*now) > current(before))
    }

    fn push(&mut self, name: &str, owner: &str, version: u64, secret: &str) {
        let keep = self.keep();
        let credential = self.credentials.entry(name.to_owned()).or_default();
        owner.clone_into(&mut credential.owner);
        credential.current = version;
        credential.versions.insert(version, false);
        while credential.versions.len() > keep {
            credential.versions.pop_first();
        }
        for service in self.services.values_mut() {
            if service.uses.as_ref().is_some_and(|(used, ..)| used == name) {
                service.uses = Some((name.to_owned(), version, secret.to_owned()));
            }
        }
    }

    /// How many versions of a credential are kept.
    fn keep(&self) -> usize {
        self.max_versions.clamp(2, 10).try_into().unwrap()
    }

    fn owns(&self, name: &str) -> bool {
        self.credentials.get(name).is_some_and(|credential| credential.owner == "service")
    }
}

impl Credential {
    /// The versions whose material is kept.
    pub(super) fn live(&self) -> usize {
        self.versions.values().filter(|destroyed| !**destroyed).count()
    }
}

/// Some of these are services, some shared credentials, and one name may be either.
const SERVICES: &[&str] = &["a", "b", "c"];
const SHARED: &[&str] = &["c", "d"];
const ORIGINS: &[&str] = &["https://one.example", "https://two.example"];

/// One write, by an operator.
#[derive(Clone, Debug)]
pub(super) enum Change {
    Define { name: String, base: &'static str, secret: String },
    Rotate { name: String, secret: String },
    Describe { name: String, description: String },
    Share { name: String, base: &'static str, credential: String },
    Unshare { name: String, secret: String },
    DeleteService { name: String },
    Enter { name: String, origin: &'static str, secret: String },
    Rollback { name: String, version: u64 },
    Destroy { name: String, version: u64 },
    DeleteCredential { name: String },
    Configure { max_versions: u64, paused: bool },
}

impl Change {
    pub(super) fn any(random: &mut Random, seen: &Seen, round: u64) -> Self {
        // Short ones are cheap to search answers for.
        let secret = format!("s{round}");
        let name = (*random.choose(SERVICES)).to_owned();
        let shared = (*random.choose(SHARED)).to_owned();
        let either = if random.below(2) == 0 { name.clone() } else { shared.clone() };
        let version = match seen.credentials.get(&either) {
            Some(credential) => {
                let versions: Vec<u64> = credential.versions.keys().copied().collect();
                *random.choose(&versions)
            }
            None => 1,
        };
        let base = *random.choose(ORIGINS);
        match random.below(16) {
            0..=2 => Self::Define { name, base, secret },
            3 | 4 => Self::Rotate { name, secret },
            5 => Self::Describe { name, description: secret },
            6 | 7 if name != shared => Self::Share { name, base, credential: shared },
            8 => Self::Unshare { name, secret },
            9 => Self::DeleteService { name },
            10 | 11 => Self::Enter { name: shared, origin: base, secret },
            12 => Self::Rollback { name: either, version },
            13 => Self::Destroy { name: either, version },
            14 => Self::DeleteCredential { name: shared },
            _ => {
                Self::Configure { max_versions: 2 + random.below(3), paused: random.below(2) == 0 }
            }
        }
    }

    /// As the host asks for it.
    pub(super) fn request(&self, seen: &Seen) -> (Operation, String, Value) {
        let write = |there: bool| if there { Operation::Update } else { Operation::Create };
        let service = |name: &String, data| {
            (write(seen.services.contains_key(name)), format!("services/{name}"), data)
        };
        match self {
            Self::Define { name, base, secret } => {
                service(name, json!({ "base_url": base, "auth": "bearer", "token": secret }))
            }
            Self::Rotate { name, secret } => service(name, json!({ "token": secret })),
            Self::Describe { name, description } => {
                service(name, json!({ "description": description }))
            }
            Self::Share { name, base, credential } => service(
                name,
                json!({ "base_url": base, "auth": "bearer", "credential": credential }),
            ),
            Self::Unshare { name, secret } => {
                service(name, json!({ "credential": "", "token": secret }))
            }
            Self::DeleteService { name } => {
                (Operation::Delete, format!("services/{name}"), Value::Null)
            }
            Self::Enter { name, origin, secret } => {
                let there = seen.credentials.contains_key(name);
                let data = if there {
                    // Bound as it is: elsewhere, services that use it would be refused.
                    json!({ "token": secret })
                } else {
                    json!({ "origin": origin, "auth": "bearer", "token": secret })
                };
                (write(there), format!("credentials/{name}"), data)
            }
            Self::Rollback { name, version } => (
                Operation::Update,
                format!("credentials/{name}/rollback"),
                json!({ "version": version }),
            ),
            Self::Destroy { name, version } => (
                Operation::Update,
                format!("credentials/{name}/destroy"),
                json!({ "versions": [version] }),
            ),
            Self::DeleteCredential { name } => {
                (Operation::Delete, format!("credentials/{name}"), Value::Null)
            }
            Self::Configure { max_versions, paused } => (
                Operation::Update,
                "config".to_owned(),
                json!({ "max_versions": max_versions, "paused": paused }),
            ),
        }
    }

    /// What is seen once it is done and has made `version`, if it makes one.
    pub(super) fn applied(
        &self,
        before: &Seen,
        secrets: &BTreeMap<(String, u64), String>,
        version: u64,
    ) -> Seen {
        let mut seen = before.clone();
        match self {
            Self::Define { name, secret, .. }
            | Self::Rotate { name, secret }
            | Self::Unshare { name, secret } => {
                let service = seen.services.entry(name.clone()).or_default();
                if let Self::Define { base, .. } = self {
                    (*base).clone_into(&mut service.base);
                }
                service.uses = Some((name.clone(), version, secret.clone()));
                seen.push(name, "service", version, secret);
            }
            Self::Describe { name, description } => {
                seen.services.entry(name.clone()).or_default().description.clone_from(description);
            }
            Self::Share { name, base, credential } => {
                if seen.owns(name) {
                    seen.credentials.remove(name);
                }
                let current = seen.credentials.get(credential).map_or(0, |shared| shared.current);
                let key = (credential.clone(), current);
                let secret = secrets.get(&key).cloned().unwrap_or_default();
                let service = seen.services.entry(name.clone()).or_default();
                (*base).clone_into(&mut service.base);
                service.uses = Some((key.0, current, secret));
            }
            Self::DeleteService { name } => {
                seen.services.remove(name);
                if seen.owns(name) {
                    seen.credentials.remove(name);
                }
            }
            Self::Enter { name, secret, .. } => seen.push(name, "operator", version, secret),
            Self::Rollback { name, version: earlier } => {
                let owner = seen.credentials.get(name).map(|credential| credential.owner.clone());
                let secret = secrets.get(&(name.clone(), *earlier)).cloned().unwrap_or_default();
                seen.push(name, &owner.unwrap_or_default(), version, &secret);
            }
            Self::Destroy { name, version } => {
                let credential = seen.credentials.entry(name.clone()).or_default();
                credential.versions.insert(*version, true);
            }
            Self::DeleteCredential { name } => {
                seen.credentials.remove(name);
            }
            Self::Configure { max_versions, paused } => {
                seen.max_versions = *max_versions;
                seen.paused = *paused;
            }
        }
        seen
    }

    /// What is seen where it ends just before the commit: of a service's own credential, the oldest
    /// version has made room by then.
    pub(super) fn cut_short(&self, before: &Seen) -> Seen {
        let mut seen = before.clone();
        let keep = seen.keep() - 1;
        if let Some(name) = self.credential().filter(|name| before.owns(name))
            && let Some(credential) = seen.credentials.get_mut(name)
        {
            while credential.versions.len() > keep {
                credential.versions.pop_first();
            }
        }
        seen
    }

    /// The version that the answer names.
    pub(super) fn made(&self, answer: &Map<String, Value>) -> Option<u64> {
        let field = match self {
            Self::Define { .. } | Self::Rotate { .. } | Self::Unshare { .. } => {
                "credential_version"
            }
            Self::Enter { .. } | Self::Rollback { .. } => "version",
            Self::Describe { .. }
            | Self::Share { .. }
            | Self::DeleteService { .. }
            | Self::Destroy { .. }
            | Self::DeleteCredential { .. }
            | Self::Configure { .. } => return None,
        };
        answer.get(field).and_then(Value::as_u64)
    }

    /// The credential of which it makes a version.
    pub(super) fn credential(&self) -> Option<&String> {
        match self {
            Self::Define { name, .. }
            | Self::Rotate { name, .. }
            | Self::Unshare { name, .. }
            | Self::Enter { name, .. }
            | Self::Rollback { name, .. } => Some(name),
            Self::Describe { .. }
            | Self::Share { .. }
            | Self::DeleteService { .. }
            | Self::Destroy { .. }
            | Self::DeleteCredential { .. }
            | Self::Configure { .. } => None,
        }
    }

    /// Whose new version holds which secret.
    pub(super) fn secret(
        &self,
        secrets: &BTreeMap<(String, u64), String>,
    ) -> Option<(String, String)> {
        let name = self.credential()?.clone();
        let secret = match self {
            Self::Define { secret, .. }
            | Self::Rotate { secret, .. }
            | Self::Unshare { secret, .. }
            | Self::Enter { secret, .. } => secret.clone(),
            Self::Rollback { version, .. } => secrets.get(&(name.clone(), *version))?.clone(),
            Self::Describe { .. }
            | Self::Share { .. }
            | Self::DeleteService { .. }
            | Self::Destroy { .. }
            | Self::DeleteCredential { .. }
            | Self::Configure { .. } => return None,
        };
        Some((name, secret))
    }

    /// Whether it takes secrets away.
    pub(super) fn takes_away(&self) -> bool {
        matches!(
            self,
            Self::DeleteService { .. } | Self::Destroy { .. } | Self::DeleteCredential { .. }
        )
    }
}
