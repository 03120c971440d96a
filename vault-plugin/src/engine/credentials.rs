//! Writing and deleting shared credentials.

use std::sync::atomic::Ordering;

use vault_sdk::Storage;

use super::{Engine, binding, check_and_set, definition};
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::proxy::binding::Binding;
use crate::proxy::material::Material;
use crate::proxy::placement::{Placement, USERNAME};
use crate::storage::{
    self, BindingEntry, CREDENTIALS, CredentialEntry, Definition, MATERIAL, MaterialEntry, Owner,
    SERVICES, ServiceEntry, USAGE,
};

/// A write of a shared credential.
#[derive(Debug)]
pub struct CredentialWrite {
    /// Which.
    pub name: Name,
    /// Must equal the current version's number; 0 is "must not exist".
    pub cas: Option<u64>,
    /// What it is bound to, as a definition's fields; `None` keeps the current version's binding.
    pub binding: Option<Definition>,
    /// The binding's certificates by their digest, as they are read: instead of `ca_cert`.
    pub ca_sha256: Option<String>,
    /// The secret values; without one nothing changes.
    pub material: Material,
    /// Remembered with the secret.
    pub author: String,
}

/// What a write ended with.
#[derive(Clone, Copy, Debug)]
pub struct WrittenCredential {
    /// The current version's number.
    pub version: u64,
}

/// A credential as it may be shown: everything but the secret.
#[derive(Debug)]
pub struct CredentialView {
    /// Its versions.
    pub entry: CredentialEntry,
    /// What the current version is bound to.
    pub binding: Option<BindingEntry>,
    /// Since when upstreams have refused the current version, if they have done so for long enough;
    /// in seconds since 1970.
    pub failing_since: Option<u64>,
}

impl Engine {
    /// Writes a new version of a shared credential.
    ///
    /// # Errors
    /// `invalid_request`, `binding_changed` and `check_and_set_failed`, with nothing changed;
    /// storage's own, after which a sweep clears up.
    pub async fn write_credential(
        &self,
        storage: &dyn Storage,
        write: CredentialWrite,
    ) -> Result<WrittenCredential, Error> {
        let _one = self.writes.lock().await;
        let name = write.name;
        let key = format!("{CREDENTIALS}{name}");
        let before: Option<CredentialEntry> = storage::load(storage, &key).await?;
        refuse_own(storage, &name, before.as_ref()).await?;
        let mount = self.mount(storage).await?;
        let version = before.as_ref().map_or(0, |entry| entry.current);
        check_and_set(write.cas, version, mount.entry.cas_required)?;
        let bound = match &before {
            None => None,
            Some(entry) => current_binding(storage, entry).await?,
        };

        let binding = match (&write.binding, &bound) {
            (Some(definition), _) => {
                let (service, _) =
                    definition::parse(&name, definition, &mount.entry, &mount.ceilings)?;
                if !service.placement.wants_secret() {
                    return Err(Failure::invalid(
                        "auth says where the secret goes in a request, such as auth=bearer, or \
                         auth=header header_name=X-Api-Key. Nothing was changed",
                    )
                    .into());
                }
                let mut binding = service.binding();
                trust_by_digest(&mut binding, write.ca_sha256)?;
                binding
            }
            (None, Some(bound)) => binding::from_entry(bound)?,
            (None, None) => {
                return Err(Failure::invalid(format!(
                    "origin and auth are missing: where the secret may go. For instance: vault \
                     write <mount>/credentials/{name} origin=https://api.example.com auth=bearer \
                     token=-"
                ))
                .into());
            }
        };
        let mut material = write.material;
        if material.is_empty() {
            return match (before, bound) {
                (Some(entry), Some(bound)) => unchanged(&entry, &bound, &binding),
                (Some(_) | None, _) => {
                    let wanted = binding.placement.secret_fields().join(" and ");
                    Err(Failure::invalid(format!("{wanted} is missing. Nothing was changed"))
                        .into())
                }
            };
        }
        if let Some(version) = before.as_ref().and_then(CredentialEntry::current_version) {
            complete(storage, &mut material, &version.material_id, &binding).await?;
        }
        binding.placement.check(&material)?;

        let mut entry = match before {
            Some(entry) => entry,
            None => CredentialEntry::new(Owner::Operator)?,
        };
        let committed = entry.current;
        let (material_id, version, pruned) =
            entry.push(committed, mount.ceilings.max_versions, write.author)?;
        let material = MaterialEntry {
            credential_id: entry.id.clone(),
            version,
            binding: binding::to_entry(&binding),
            secret: material.into_map(),
        };
        let outcome = commit_material(storage, &key, &entry, &material_id, &material).await;
        self.forget(&key);
        if outcome.is_err() {
            self.needs_sweep.store(true, Ordering::Release);
        }
        outcome?;
        for material_id in pruned {
            if storage.delete(&format!("{MATERIAL}{material_id}")).await.is_err() {
                self.needs_sweep.store(true, Ordering::Release);
            }
        }
        Ok(WrittenCredential { version })
    }

    /// Reads what may be shown of a credential.
    ///
    /// # Errors
    /// Storage's own.
    pub async fn credential(
        &self,
        storage: &dyn Storage,
        name: &Name,
    ) -> Result<Option<CredentialView>, Error> {
        let entry: Option<CredentialEntry> =
            storage::load(storage, &format!("{CREDENTIALS}{name}")).await?;
        let Some(mut entry) = entry else { return Ok(None) };
        if entry.owner == Owner::Service {
            // The service names the version that counts; without it, there is nothing here.
            let service: Option<ServiceEntry> =
                storage::load(storage, &format!("{SERVICES}{name}")).await?;
            let Some(own) = service.and_then(|service| service.own) else { return Ok(None) };
            entry.current = own.version;
            entry.versions.retain(|version| version.version <= own.version);
        }
        let binding = current_binding(storage, &entry).await?;
        let failing_since = self.refusals.failing_since(&entry.id, entry.current);
        Ok(Some(CredentialView { entry, binding, failing_since }))
    }

    /// Deletes a shared credential with all its versions; nothing there is no error. With `cas` that
    /// must be its current version.
    ///
    /// # Errors
    /// `invalid_request` while a service names it, `check_and_set_failed`, with nothing changed;
    /// storage's own.
    pub async fn delete_credential(
        &self,
        storage: &dyn Storage,
        name: &Name,
        cas: Option<u64>,
    ) -> Result<(), Error> {
        let _one = self.writes.lock().await;
        let key = format!("{CREDENTIALS}{name}");
        let entry: Option<CredentialEntry> = storage::load(storage, &key).await?;
        refuse_own(storage, name, entry.as_ref()).await?;
        let Some(entry) = entry else { return Ok(()) };
        check_and_set(cas, entry.current, false)?;
        if let Some(user) = user_of(storage, name).await? {
            return Err(Failure::invalid(format!(
                "the service \"{user}\" uses this credential. Nothing was deleted. Change or delete \
                 that service first: vault delete <mount>/services/{user}"
            ))
            .into());
        }
        let deleted: Result<(), Error> = async {
            for version in &entry.versions {
                storage.delete(&format!("{MATERIAL}{}", version.material_id)).await?;
            }
            storage.delete(&format!("{USAGE}{}", entry.id)).await?;
            Ok(storage.delete(&key).await?)
        }
        .await;
        self.forget(&key);
        deleted
    }
}

/// Puts the material, then the credential that names it.
pub(super) async fn commit_material(
    storage: &dyn Storage,
    key: &str,
    credential: &CredentialEntry,
    material_id: &str,
    material: &MaterialEntry,
) -> Result<(), Error> {
    storage::store(storage, &format!("{MATERIAL}{material_id}"), material).await?;
    Ok(storage::store(storage, key, credential).await?)
}

/// A new password alone keeps the user name there was, where the binding stays the same: for some
/// upstreams the user name is the key.
pub(super) async fn complete(
    storage: &dyn Storage,
    material: &mut Material,
    material_id: &str,
    wanted: &Binding,
) -> Result<(), Error> {
    if wanted.placement != Placement::Basic || material.get(USERNAME).is_some() {
        return Ok(());
    }
    let before: Option<MaterialEntry> =
        storage::load(storage, &format!("{MATERIAL}{material_id}")).await?;
    if let Some(before) = before
        && binding::from_entry(&before.binding)? == *wanted
    {
        material.complete(USERNAME, &mut Material::from_map(before.secret));
    }
    Ok(())
}

/// Takes the digest of `ca_cert` for the certificates themselves.
fn trust_by_digest(binding: &mut Binding, digest: Option<String>) -> Result<(), Failure> {
    let Some(digest) = digest.map(|digest| digest.to_ascii_lowercase()) else { return Ok(()) };
    if digest.len() != 64 || !digest.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(Failure::invalid("ca_sha256 is 64 hex digits. Nothing was changed"));
    }
    match &binding.trust.ca_sha256 {
        Some(given) if *given != digest => Err(Failure::invalid(
            "ca_sha256 isn't the digest of ca_cert: give one of them. Nothing was changed",
        )),
        Some(_) | None => {
            binding.trust.ca_sha256 = Some(digest);
            Ok(())
        }
    }
}

/// A write without a secret may only say again what holds.
fn unchanged(
    entry: &CredentialEntry,
    bound: &BindingEntry,
    wanted: &Binding,
) -> Result<WrittenCredential, Error> {
    match binding::from_entry(bound)?.difference(wanted) {
        None => Ok(WrittenCredential { version: entry.current }),
        Some(difference) => Err(Failure::new(
            Code::BindingChanged,
            format!(
                "{difference}. A stored secret never moves. Nothing was changed. To bind elsewhere, \
                 write the secret in the same command:{}",
                wanted.placement.written()
            ),
        )
        .into()),
    }
}

/// A service's own credential is written and deleted with the service.
async fn refuse_own(
    storage: &dyn Storage,
    name: &Name,
    entry: Option<&CredentialEntry>,
) -> Result<(), Error> {
    if entry.is_none_or(|entry| entry.owner == Owner::Operator) {
        let service: Option<ServiceEntry> =
            storage::load(storage, &format!("{SERVICES}{name}")).await?;
        if service.is_none_or(|service| service.own.is_none()) {
            return Ok(());
        }
    }
    Err(Failure::invalid(format!(
        "credential \"{name}\" is the service \"{name}\"'s own. Write it there: vault write \
         <mount>/services/{name} with the fields of its auth. Nothing was changed"
    ))
    .into())
}

async fn current_binding(
    storage: &dyn Storage,
    entry: &CredentialEntry,
) -> Result<Option<BindingEntry>, Error> {
    let Some(version) = entry.current_version() else { return Ok(None) };
    let material: Option<MaterialEntry> =
        storage::load(storage, &format!("{MATERIAL}{}", version.material_id)).await?;
    Ok(material.map(|material| material.binding))
}

async fn user_of(storage: &dyn Storage, name: &Name) -> Result<Option<String>, Error> {
    for service in storage.list(SERVICES).await? {
        let entry: Option<ServiceEntry> =
            storage::load(storage, &format!("{SERVICES}{service}")).await?;
        if entry.is_some_and(|entry| entry.definition.credential.as_deref() == Some(name.as_str()))
        {
            return Ok(Some(service));
        }
    }
    Ok(None)
}
