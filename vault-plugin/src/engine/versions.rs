//! Versions of a credential: going back to an earlier one, destroying old ones.

use std::sync::atomic::Ordering;

use vault_sdk::Storage;

use super::credentials::commit_material;
use super::{Engine, binding, check_and_set, definition};
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::storage::{
    self, CREDENTIALS, CredentialEntry, MATERIAL, MaterialEntry, OwnCredential, Owner, SERVICES,
    ServiceEntry, VersionEntry, now,
};

impl Engine {
    /// Makes a new version with an earlier one's material and binding; gives its number. With `cas`
    /// that must be the current version's.
    ///
    /// # Errors
    /// `invalid_request` for a version that isn't there, `check_and_set_failed`, `binding_changed`
    /// when the service whose own credential it is no longer matches that version's binding;
    /// storage's own.
    pub async fn rollback(
        &self,
        storage: &dyn Storage,
        name: &Name,
        version: u64,
        cas: Option<u64>,
        author: String,
    ) -> Result<u64, Error> {
        let _one = self.writes.lock().await;
        let key = format!("{CREDENTIALS}{name}");
        let Committed { mut entry, current, service } = committed_entry(storage, name).await?;
        let mount = self.mount(storage).await?;
        check_and_set(cas, current, mount.entry.cas_required)?;
        let earlier = live(&entry, current, version)?;
        let earlier: MaterialEntry =
            storage::load(storage, &format!("{MATERIAL}{}", earlier.material_id))
                .await?
                .ok_or_else(|| gone(version))?;
        if let Some(service) = &service {
            let (parsed, _) =
                definition::parse(name, &service.definition, &mount.entry, &mount.ceilings)?;
            if let Some(difference) =
                binding::from_entry(&earlier.binding)?.difference(&parsed.binding())
            {
                return Err(Failure::new(
                    Code::BindingChanged,
                    format!(
                        "{difference} (version {version}). A credential goes only where it was \
                         stored for. Nothing was changed"
                    ),
                )
                .into());
            }
        }
        let (material_id, number, outdated) =
            entry.push(current, mount.ceilings.max_versions, author)?;
        if let Some(made) = entry.versions.last_mut() {
            made.source = format!("rollback of {version}");
        }
        let material = MaterialEntry {
            credential_id: entry.id.clone(),
            version: number,
            binding: earlier.binding,
            secret: earlier.secret,
        };
        let outcome: Result<(), Error> = async {
            commit_material(storage, &key, &entry, &material_id, &material).await?;
            if let Some(mut service) = service {
                service.own = Some(OwnCredential { version: number, material_id });
                service.version += 1;
                service.updated = now();
                storage::store(storage, &format!("{SERVICES}{name}"), &service).await?;
            }
            Ok(())
        }
        .await;
        self.forget(&key);
        self.forget(&format!("{SERVICES}{name}"));
        if outcome.is_err() {
            self.needs_sweep.store(true, Ordering::Release);
        }
        outcome?;
        for material_id in outdated {
            if storage.delete(&format!("{MATERIAL}{material_id}")).await.is_err() {
                self.needs_sweep.store(true, Ordering::Release);
            }
        }
        Ok(number)
    }

    /// Deletes the material of old versions for good; what there was remains listed. With `cas` that
    /// must be the current version's number.
    ///
    /// # Errors
    /// `invalid_request` for the version in use and for versions that aren't there, and
    /// `check_and_set_failed`, with nothing changed; storage's own.
    pub async fn destroy(
        &self,
        storage: &dyn Storage,
        name: &Name,
        versions: &[u64],
        cas: Option<u64>,
    ) -> Result<(), Error> {
        let _one = self.writes.lock().await;
        let key = format!("{CREDENTIALS}{name}");
        let Committed { mut entry, current, .. } = committed_entry(storage, name).await?;
        check_and_set(cas, current, self.mount(storage).await?.entry.cas_required)?;
        let mut materials = Vec::with_capacity(versions.len());
        for version in versions {
            if *version == current {
                return Err(Failure::invalid(format!(
                    "version {version} is in use. Write another secret first, or delete the whole. \
                     Nothing was destroyed"
                ))
                .into());
            }
            materials.push(live(&entry, current, *version)?.material_id.clone());
        }
        // Material first: a kill in between leaves a version listed that can't be used.
        let outcome: Result<(), Error> = async {
            for material_id in &materials {
                storage.delete(&format!("{MATERIAL}{material_id}")).await?;
            }
            for version in &mut entry.versions {
                version.destroyed |= versions.contains(&version.version);
            }
            Ok(storage::store(storage, &key, &entry).await?)
        }
        .await;
        self.forget(&key);
        outcome
    }
}

/// A credential as stored: the versions after the current one were never committed, but their
/// numbers are taken.
struct Committed {
    entry: CredentialEntry,
    current: u64,
    /// The service that it belongs to, if it is a service's own.
    service: Option<ServiceEntry>,
}

async fn committed_entry(storage: &dyn Storage, name: &Name) -> Result<Committed, Error> {
    let none = || {
        Failure::invalid(format!("there is no credential named \"{name}\". Nothing was changed"))
    };
    let entry: CredentialEntry =
        storage::load(storage, &format!("{CREDENTIALS}{name}")).await?.ok_or_else(none)?;
    if entry.owner == Owner::Operator {
        return Ok(Committed { current: entry.current, entry, service: None });
    }
    let service: Option<ServiceEntry> =
        storage::load(storage, &format!("{SERVICES}{name}")).await?;
    let own = service.as_ref().and_then(|service| service.own.as_ref());
    let current = own.ok_or_else(none)?.version;
    Ok(Committed { entry, current, service })
}

fn live(entry: &CredentialEntry, current: u64, version: u64) -> Result<&VersionEntry, Failure> {
    let committed = entry.versions.iter().filter(|found| found.version <= current);
    let mut live = committed.filter(|found| !found.destroyed);
    live.find(|found| found.version == version).ok_or_else(|| gone(version))
}

fn gone(version: u64) -> Failure {
    Failure::invalid(format!(
        "there is no version {version}, or it was destroyed. The list: read …/versions. Nothing was \
         changed"
    ))
}
