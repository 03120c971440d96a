//! One service with all that a call needs, read once and kept: definition, credential, connections.

use std::sync::Arc;

use secrecy::SecretString;
use serde_json::{Map, Value};
use tokio::time::Instant;
use vault_sdk::Storage;

use super::{Engine, Mount, binding, definition};
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::proxy::answer;
use crate::proxy::credential::Credential;
use crate::proxy::egress::Upstream;
use crate::proxy::limits::Places;
use crate::proxy::material::Material;
use crate::proxy::redact::Redactor;
use crate::proxy::service::Service;
use crate::storage::{
    self, CREDENTIALS, CredentialEntry, MATERIAL, MaterialEntry, SERVICES, ServiceEntry,
};

/// A service as of one moment. A change of the definition, of its credential or of the mount's
/// settings makes another one, with connections of its own.
#[derive(Debug)]
pub struct Snapshot {
    /// The service's random id.
    pub service_id: String,
    /// The definition.
    pub service: Service,
    /// Whether the operator lets it be called.
    pub enabled: bool,
    /// The version in use, with its secret.
    pub credential: Option<Credential>,
    /// Finds every live version of the secret in answers.
    pub redactor: Arc<Redactor>,
    /// Connections; they end with the snapshot.
    pub upstream: Upstream,
    /// Where calls take their places.
    pub places: Places,
    /// What is remembered of an MCP server.
    pub mcp: crate::mcp::client::State,
    /// The last check, and when it was.
    pub last_check: tokio::sync::Mutex<Option<(Instant, Map<String, Value>)>>,
}

impl Snapshot {
    pub(super) fn uses_credential(&self, name: &str) -> bool {
        self.credential.as_ref().is_some_and(|credential| credential.name.as_str() == name)
            || self.service.name.as_str() == name
            || self.service.placement.wants_secret() && self.credential.is_none()
    }
}

impl Engine {
    /// The present snapshot of a service.
    ///
    /// # Errors
    /// `unknown_service`; what the check of definitions says when the mount's settings no longer allow
    /// what the definition wants; storage's own.
    pub async fn snapshot(
        &self,
        storage: &dyn Storage,
        name: &Name,
    ) -> Result<Arc<Snapshot>, Error> {
        if let Some(snapshot) = self.cache().services.get(name) {
            return Ok(snapshot);
        }
        let _turn = match self.loading.get(stripe(name)) {
            Some(loading) => Some(loading.lock().await),
            None => None,
        };
        if let Some(snapshot) = self.cache().services.get(name) {
            return Ok(snapshot);
        }
        // Before the settings are read: a snapshot of settings that change meanwhile isn't kept.
        let generation = self.generation();
        let mount = self.mount(storage).await?;
        let snapshot = Arc::new(self.load_snapshot(storage, &mount, name).await?);
        self.remember(generation, |cache| {
            cache.services.insert(name.clone(), Arc::clone(&snapshot));
        });
        Ok(snapshot)
    }

    /// Why the mount's settings don't allow what a service is defined as, told to an operator; nothing
    /// if they do.
    ///
    /// # Errors
    /// Storage's own.
    pub async fn definition_refused(
        &self,
        storage: &dyn Storage,
        name: &Name,
    ) -> Result<Option<Failure>, Error> {
        let mount = self.mount(storage).await?;
        let entry: Option<ServiceEntry> =
            storage::load(storage, &format!("{SERVICES}{name}")).await?;
        Ok(entry.and_then(|entry| {
            definition::parse(name, &entry.definition, &mount.entry, &mount.ceilings).err()
        }))
    }

    async fn load_snapshot(
        &self,
        storage: &dyn Storage,
        mount: &Mount,
        name: &Name,
    ) -> Result<Snapshot, Error> {
        let entry: ServiceEntry = storage::load(storage, &format!("{SERVICES}{name}"))
            .await?
            .ok_or_else(|| unknown(name))?;
        let (service, destination) =
            definition::parse(name, &entry.definition, &mount.entry, &mount.ceilings)
                .map_err(|failure| no_longer_allowed(name, &failure))?;
        let upstream = Upstream::new(destination, Arc::clone(&self.resolver))
            .map_err(|error| no_longer_allowed(name, &Failure::invalid(error.to_string())))?;
        let places = self.places.of_service(name, &entry.id, service.max_in_flight);
        let (credential, secrets) = if service.placement.wants_secret() {
            load_credential(storage, name, &entry).await?
        } else {
            (None, Vec::new())
        };
        let redactor = match &credential {
            None => Redactor::none(),
            Some(credential) => compile(credential.name.clone(), secrets).await?,
        };
        Ok(Snapshot {
            service_id: entry.id,
            enabled: entry.definition.enabled.unwrap_or(true),
            places: Places::new(places, Arc::clone(&mount.in_flight)),
            last_check: tokio::sync::Mutex::default(),
            mcp: crate::mcp::client::State::default(),
            credential,
            redactor: Arc::new(redactor),
            upstream,
            service,
        })
    }
}

/// Off the event loop: a long secret takes a good part of a second.
async fn compile(name: Name, secrets: Vec<SecretString>) -> Result<Redactor, Error> {
    let named = name.clone();
    let compiling =
        tokio::task::spawn_blocking(move || Redactor::new(name.as_str(), secrets.iter()));
    match compiling.await {
        Ok(Ok(redactor)) => Ok(redactor),
        Ok(Err(error)) => Err(answer::unsearchable(&named, &error).into()),
        Err(_) => Err(Error::Internal("redactor: compiling it failed".into())),
    }
}

/// Which of the engine's loaders a name falls to.
fn stripe(name: &Name) -> usize {
    name.as_str().bytes().fold(0_usize, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()))
        % super::LOADERS
}

/// The bytes of secrets that one redactor searches for: beyond, versions older than the one in use
/// and the newest few aren't searched for any more.
const SEARCHED_BYTES: usize = 4 << 10;

/// The mount's settings have changed under a definition. What exactly is the operator's business.
fn no_longer_allowed(name: &Name, failure: &Failure) -> Failure {
    tracing::warn!(service = %name, reason = %failure, "the definition isn't allowed any more");
    let code = if failure.code == Code::AddressForbidden {
        Code::AddressForbidden
    } else {
        Code::ServiceDisabled
    };
    Failure::new(
        code,
        format!(
            "config no longer allows what \"{name}\" is defined as. Nothing was sent. This isn't the \
             caller's mistake; an operator finds the reason with: vault write -f \
             <mount>/check/{name}"
        ),
    )
}

fn unknown(name: &Name) -> Failure {
    Failure::new(
        Code::UnknownService,
        format!(
            "there is no service named \"{name}\". Nothing was sent. The list: vault list <mount>/services"
        ),
    )
}

/// The version in use, and the secrets of all live versions, newest first.
async fn load_credential(
    storage: &dyn Storage,
    service: &Name,
    entry: &ServiceEntry,
) -> Result<(Option<Credential>, Vec<SecretString>), Error> {
    let name = match &entry.definition.credential {
        Some(shared) => Name::parse(shared)
            .map_err(|error| Error::Internal(format!("credential of {service}: {error}")))?,
        None => service.clone(),
    };
    let stored: Option<CredentialEntry> =
        storage::load(storage, &format!("{CREDENTIALS}{name}")).await?;
    let Some(stored) = stored else { return Ok((None, Vec::new())) };
    // Of its own credential, the service names the version: what a half-finished write left in
    // the credential's entry doesn't count.
    let current = match &entry.definition.credential {
        None => match &entry.own {
            None => return Ok((None, Vec::new())),
            Some(own) => own.version,
        },
        Some(_) => stored.current,
    };
    let mut credential = None;
    let mut secrets = Vec::new();
    let mut searched = 0;
    for version in stored.versions.iter().rev() {
        let key = format!("{MATERIAL}{}", version.material_id);
        let Some(material): Option<MaterialEntry> = storage::load(storage, &key).await? else {
            continue;
        };
        if material.credential_id != stored.id || material.version != version.version {
            return Err(Error::Internal(format!("material of {name} isn't of its version")));
        }
        let binding = binding::from_entry(&material.binding)
            .map_err(|failure| Error::Internal(failure.text))?;
        let material = Material::from_map(material.secret);
        let patterns = material.patterns(&binding.placement);
        let bytes: usize = patterns.iter().map(secret_bytes).sum();
        if version.version == current || searched + bytes <= SEARCHED_BYTES {
            searched += bytes;
            secrets.extend(patterns);
        }
        if version.version == current {
            credential = Some(Credential {
                id: stored.id.clone(),
                name: name.clone(),
                version: version.version,
                stored: version.created,
                binding,
                material,
            });
        }
    }
    Ok((credential, secrets))
}

fn secret_bytes(secret: &SecretString) -> usize {
    use secrecy::ExposeSecret as _;
    #[expect(clippy::disallowed_methods, reason = "no exit: its length alone")]
    secret.expose_secret().len()
}
