//! Writing and deleting services: checked as a whole, committed by one put.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vault_sdk::Storage;

use super::credentials::{commit_material, complete};
use super::{Engine, binding, check_and_set, definition};
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::proxy::binding::Binding;
use crate::proxy::egress::Upstream;
use crate::proxy::material::Material;
use crate::proxy::service::Service;
use crate::storage::{
    self, CREDENTIALS, CredentialEntry, Definition, MATERIAL, MaterialEntry, OwnCredential, Owner,
    SERVICES, ServiceEntry, USAGE, now,
};

/// A write of a service, beside the changes of its definition.
#[derive(Debug)]
pub struct ServiceWrite {
    /// Which.
    pub name: Name,
    /// Must equal the version there is; 0 is "must not exist".
    pub cas: Option<u64>,
    /// Fail when it exists.
    pub create_only: bool,
    /// Fail when it doesn't.
    pub update_only: bool,
    /// The secret values given for its own credential.
    pub material: Material,
    /// Remembered with the secret.
    pub author: String,
}

/// What a write ended with.
#[derive(Debug)]
pub struct WrittenService {
    /// The service's version, for check-and-set.
    pub version: u64,
    /// The version of its own credential, when this write made one.
    pub credential_version: Option<u64>,
    /// What the operator should know.
    pub warnings: Vec<String>,
}

impl Engine {
    /// Writes a service.
    ///
    /// # Errors
    /// `invalid_request`, `address_forbidden`, `binding_changed` and `check_and_set_failed`, with
    /// nothing changed; storage's own, after which a sweep clears up.
    pub async fn write_service(
        &self,
        storage: &dyn Storage,
        mut write: ServiceWrite,
        change: impl FnOnce(&mut Definition) -> Result<(), Failure>,
    ) -> Result<WrittenService, Error> {
        let _one = self.writes.lock().await;
        let key = format!("{SERVICES}{}", write.name);
        let before: Option<ServiceEntry> = storage::load(storage, &key).await?;
        let mount = self.mount(storage).await?;
        check_presence(&write, before.as_ref())?;
        let version = before.as_ref().map_or(0, |entry| entry.version);
        check_and_set(write.cas, version, mount.entry.cas_required)?;
        let mut definition =
            before.as_ref().map(|entry| entry.definition.clone()).unwrap_or_default();
        change(&mut definition)?;
        if definition.credential.as_deref() == Some(write.name.as_str())
            && before.as_ref().is_some_and(|entry| entry.own.is_some())
        {
            // A read shows the own credential under this name; written back, it means the same.
            definition.credential = None;
        }
        let (service, destination) =
            definition::parse(&write.name, &definition, &mount.entry, &mount.ceilings)?;
        Upstream::new(destination, Arc::clone(&self.resolver))
            .map_err(|error| Failure::invalid(error.to_string()))?;

        let own_before = before.as_ref().and_then(|entry| entry.own.clone());
        let material = std::mem::take(&mut write.material);
        let plan =
            plan(storage, &write, &service, &definition, own_before.as_ref(), material).await?;
        let entry = ServiceEntry {
            id: match &before {
                Some(entry) => entry.id.clone(),
                None => storage::random_id()?,
            },
            version: before.as_ref().map_or(1, |entry| entry.version + 1),
            created: before.as_ref().map_or_else(now, |entry| entry.created),
            updated: now(),
            own: plan.own_after(),
            definition,
        };
        let mut warnings = plan.warnings(&write.name, own_before.as_ref(), &entry);
        let nothing = Definition::default();
        let previous = before.as_ref().map_or(&nothing, |entry| &entry.definition);
        weakened(previous, &entry.definition, &mut warnings);
        local_name(&entry.definition, &mut warnings);

        let outcome = self.commit(storage, &key, &write, &plan, &entry, own_before.is_some()).await;
        self.forget(&key);
        self.forget(&format!("{CREDENTIALS}{}", write.name));
        if outcome.is_err() {
            self.needs_sweep.store(true, Ordering::Release);
        }
        outcome?;
        Ok(WrittenService { version: entry.version, credential_version: plan.made(), warnings })
    }

    /// Material, credential, service: the last put is the commit.
    async fn commit(
        &self,
        storage: &dyn Storage,
        key: &str,
        write: &ServiceWrite,
        plan: &Plan,
        entry: &ServiceEntry,
        had_own: bool,
    ) -> Result<(), Error> {
        let own_key = format!("{CREDENTIALS}{}", write.name);
        let mut outdated: &[String] = &[];
        if let Plan::New(new) = plan {
            commit_material(storage, &own_key, &new.credential, &new.material_id, &new.material)
                .await?;
            outdated = &new.outdated;
        }
        let stored = storage::store(storage, key, entry).await;
        // At once: calls must not go on by the old definition while the rest is cleared up.
        self.forget(key);
        self.forget(&own_key);
        stored?;
        // Committed. What follows clears up, and is repeated by the sweep if it fails.
        let cleared: Result<(), Error> = async {
            for material_id in outdated {
                storage.delete(&format!("{MATERIAL}{material_id}")).await?;
            }
            if had_own && entry.own.is_none() {
                delete_own(storage, &own_key).await?;
            }
            Ok(self.renew_revision(storage).await?)
        }
        .await;
        if let Err(error) = cleared {
            tracing::warn!(service = %write.name, %error, "written; clearing up is left to the sweep");
            self.needs_sweep.store(true, Ordering::Release);
        }
        Ok(())
    }

    /// Deletes a service with its own credential; nothing there is no error.
    ///
    /// # Errors
    /// Storage's own.
    pub async fn delete_service(&self, storage: &dyn Storage, name: &Name) -> Result<(), Error> {
        let _one = self.writes.lock().await;
        let key = format!("{SERVICES}{name}");
        let own_key = format!("{CREDENTIALS}{name}");
        let Some(entry): Option<ServiceEntry> = storage::load(storage, &key).await? else {
            return Ok(());
        };
        let deleted: Result<(), Error> = async {
            let gone = storage.delete(&key).await;
            self.forget(&key);
            gone?;
            delete_own(storage, &own_key).await?;
            Ok(self.renew_revision(storage).await?)
        }
        .await;
        self.forget(&key);
        self.forget(&own_key);
        self.health.forget(&entry.id);
        if deleted.is_err() {
            self.needs_sweep.store(true, Ordering::Release);
        }
        deleted
    }
}

fn check_presence(write: &ServiceWrite, before: Option<&ServiceEntry>) -> Result<(), Failure> {
    if write.create_only && before.is_some() {
        return Err(Failure::invalid(format!(
            "a service named \"{name}\" exists. Nothing was changed. To change it: vault write \
             <mount>/services/{name} …",
            name = write.name
        )));
    }
    if write.update_only && before.is_none() {
        return Err(Failure::new(
            Code::UnknownService,
            format!("there is no service named \"{}\" to change", write.name),
        ));
    }
    Ok(())
}

/// What a write does with the service's credential.
enum Plan {
    /// It has none, or names a shared one.
    None,
    /// It keeps its own as it is.
    Keep(Option<OwnCredential>),
    /// A new version of its own.
    New(Box<NewVersion>),
}

struct NewVersion {
    credential: CredentialEntry,
    material_id: String,
    material: MaterialEntry,
    /// Material that nothing refers to once this is committed.
    outdated: Vec<String>,
}

impl Plan {
    fn own_after(&self) -> Option<OwnCredential> {
        match self {
            Self::None => None,
            Self::Keep(own) => own.clone(),
            Self::New(new) => Some(OwnCredential {
                version: new.material.version,
                material_id: new.material_id.clone(),
            }),
        }
    }

    fn made(&self) -> Option<u64> {
        match self {
            Self::None | Self::Keep(_) => None,
            Self::New(new) => Some(new.material.version),
        }
    }

    fn warnings(
        &self,
        name: &Name,
        own_before: Option<&OwnCredential>,
        entry: &ServiceEntry,
    ) -> Vec<String> {
        let mut warnings = Vec::new();
        match self {
            Self::None if own_before.is_some() => warnings.push(format!(
                "\"{name}\" no longer uses its own credential, which was deleted with all its versions"
            )),
            Self::Keep(None) => warnings.push(format!(
                "\"{name}\" has no credential yet, so calls answer credential_missing. Store it: \
                 vault write <mount>/services/{name} token=-"
            )),
            Self::None | Self::Keep(Some(_)) | Self::New(_) => {}
        }
        if entry.definition.credential.is_none() && entry.definition.auth.is_none() {
            warnings.push("auth isn't set, so calls are sent without a credential".to_owned());
        }
        warnings
    }
}

async fn plan(
    storage: &dyn Storage,
    write: &ServiceWrite,
    service: &Service,
    definition: &Definition,
    own: Option<&OwnCredential>,
    material: Material,
) -> Result<Plan, Error> {
    if let Some(shared) = &definition.credential {
        if !material.is_empty() {
            return Err(Failure::invalid(format!(
                "\"{}\" uses the shared credential \"{shared}\". Write the secret there: vault \
                 write <mount>/credentials/{shared} token=-. Nothing was changed",
                write.name
            ))
            .into());
        }
        check_shared(storage, shared, &service.binding()).await?;
        return Ok(Plan::None);
    }
    if material.is_empty() {
        if !service.placement.wants_secret() {
            return Ok(Plan::None);
        }
        if let Some(own) = own {
            check_own(storage, own, service).await?;
        }
        return Ok(Plan::Keep(own.cloned()));
    }
    new_own(storage, write, service, own, material).await
}

/// A service without a new secret must go on matching what its own credential was stored for.
async fn check_own(
    storage: &dyn Storage,
    own: &OwnCredential,
    service: &Service,
) -> Result<(), Error> {
    let material: Option<MaterialEntry> =
        storage::load(storage, &format!("{MATERIAL}{}", own.material_id)).await?;
    let Some(material) = material else { return Ok(()) };
    let bound = binding::from_entry(&material.binding)?;
    match bound.difference(&service.binding()) {
        None => Ok(()),
        Some(difference) => Err(Failure::new(
            Code::BindingChanged,
            format!(
                "{difference}. A stored secret never moves. Nothing was changed. To allow this, \
                 write the secret in the same command: vault write <mount>/services/{} … token=-",
                service.name
            ),
        )
        .into()),
    }
}

/// A service may name a shared credential only if it matches its binding in every part.
async fn check_shared(storage: &dyn Storage, shared: &str, service: &Binding) -> Result<(), Error> {
    let name =
        Name::parse(shared).map_err(|error| Failure::invalid(format!("credential: {error}")))?;
    let entry: Option<CredentialEntry> =
        storage::load(storage, &format!("{CREDENTIALS}{name}")).await?;
    let Some(entry) = entry else {
        return Err(Failure::invalid(format!(
            "there is no credential named \"{name}\". Nothing was changed. Make it first: vault \
             write <mount>/credentials/{name} origin={} auth={} token=-",
            service.origin,
            service.placement.kind()
        ))
        .into());
    };
    if entry.owner == Owner::Service {
        return Err(Failure::invalid(format!(
            "credential \"{name}\" is the service \"{name}\"'s own and can't be shared. Make a \
             shared one at credentials/. Nothing was changed"
        ))
        .into());
    }
    let material: Option<MaterialEntry> = match entry.current_version() {
        None => None,
        Some(version) => {
            storage::load(storage, &format!("{MATERIAL}{}", version.material_id)).await?
        }
    };
    let Some(material) = material else {
        return Err(Failure::new(
            Code::CredentialMissing,
            format!("credential \"{name}\" has no usable version. Nothing was changed"),
        )
        .into());
    };
    match binding::from_entry(&material.binding)?.difference(service) {
        None => Ok(()),
        Some(difference) => Err(Failure::new(
            Code::BindingChanged,
            format!(
                "{difference} (credential \"{name}\"). A credential goes only where it was stored \
                 for. Nothing was changed. Match it, or have the credential stored for this use \
                 under another name"
            ),
        )
        .into()),
    }
}

async fn new_own(
    storage: &dyn Storage,
    write: &ServiceWrite,
    service: &Service,
    own: Option<&OwnCredential>,
    mut material: Material,
) -> Result<Plan, Error> {
    let stored: Option<CredentialEntry> =
        storage::load(storage, &format!("{CREDENTIALS}{}", write.name)).await?;
    let mut credential = match (stored, own) {
        (Some(entry), _) if entry.owner == Owner::Operator => {
            return Err(Failure::invalid(format!(
                "a shared credential named \"{name}\" exists. Use it with credential={name}, or \
                 choose another name for the service. Nothing was changed",
                name = write.name
            ))
            .into());
        }
        (Some(entry), Some(_)) => entry,
        // What a deleted service of this name left behind, if anything, isn't taken over.
        (Some(_), None) | (None, _) => CredentialEntry::new(Owner::Service)?,
    };
    if let Some(own) = own {
        complete(storage, &mut material, &own.material_id, &service.binding()).await?;
    }
    service.placement.check(&material)?;
    let committed = own.map_or(0, |own| own.version);
    let (material_id, version, outdated) = credential.push(committed, write.author.clone())?;
    let material = MaterialEntry {
        credential_id: credential.id.clone(),
        version,
        binding: binding::to_entry(&service.binding()),
        secret: material.into_map(),
    };
    Ok(Plan::New(Box::new(NewVersion { credential, material_id, material, outdated })))
}

/// Material first, then what names it.
async fn delete_own(storage: &dyn Storage, key: &str) -> Result<(), Error> {
    let entry: Option<CredentialEntry> = storage::load(storage, key).await?;
    match entry {
        Some(entry) if entry.owner == Owner::Service => {
            for version in &entry.versions {
                storage.delete(&format!("{MATERIAL}{}", version.material_id)).await?;
            }
            storage.delete(&format!("{USAGE}{}", entry.id)).await?;
            Ok(storage.delete(key).await?)
        }
        Some(_) | None => Ok(()),
    }
}

/// Names that nobody but their own network resolves.
fn local_name(definition: &Definition, warnings: &mut Vec<String>) {
    let host = definition.base_url.split('/').nth(2).unwrap_or_default();
    let name = host.split(':').next().unwrap_or_default();
    if name.to_ascii_lowercase().ends_with(".local") && definition.address.is_none() {
        warnings.push(format!(
            "{name} is an mDNS name, which only its own network answers for: Vault asks DNS and the \
             hosts file. If calls end in upstream_unreachable, give its address too: address=<IP>"
        ));
    }
}

/// Says what a write opened.
fn weakened(before: &Definition, after: &Definition, warnings: &mut Vec<String>) {
    if after.rules.is_empty() && !before.rules.is_empty() {
        warnings.push("rules were cleared: every method and path is allowed now".to_owned());
    }
    let widened: Vec<&str> = after
        .upstream_cidrs
        .iter()
        .filter(|network| !before.upstream_cidrs.contains(network))
        .map(String::as_str)
        .collect();
    if !widened.is_empty() {
        warnings.push(format!(
            "this service may now reach {}, outside the public internet",
            widened.join(", ")
        ));
    }
    if after.danger_allow_plaintext && !before.danger_allow_plaintext {
        warnings.push(
            "danger_allow_plaintext: the credential travels in clear, and whoever is on the way \
             can read and keep it"
                .to_owned(),
        );
    }
    if after.danger_insecure_tls && !before.danger_insecure_tls {
        warnings.push(
            "danger_insecure_tls: the upstream's certificate isn't checked, so whoever answers gets \
             the credential. tls_pin_sha256 is as easy, and safe"
                .to_owned(),
        );
    }
}
