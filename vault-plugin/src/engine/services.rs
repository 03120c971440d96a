//! Writing and deleting services: checked as a whole, committed by one put.

mod plan;
mod warnings;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use vault_sdk::Storage;

use self::plan::Plan;
use super::credentials::commit_material;
use super::{Engine, check_and_set, definition};
use crate::error::{Code, Error, Failure};
use crate::name::Name;
use crate::proxy::egress::Upstream;
use crate::proxy::material::Material;
use crate::storage::{
    self, CREDENTIALS, CredentialEntry, Definition, MATERIAL, Owner, SERVICES, ServiceEntry, USAGE,
    now,
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
    /// Writes a service. What changes nothing isn't stored, and has the version that there was.
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
        if let Some(before) = &before {
            definition::check_fixed(&write.name, &before.definition, &definition)?;
        }
        let in_force = |definition: &Definition| definition::in_force(definition, &mount.ceilings);
        if let Some(before) = &before
            && in_force(&definition) == in_force(&before.definition)
        {
            // A read writes defaults out; written back, they are the defaults still.
            definition = before.definition.clone();
        }
        let (service, destination) =
            definition::parse(&write.name, &definition, &mount.entry, &mount.ceilings)?;
        Upstream::new(destination, Arc::clone(&self.resolver))
            .map_err(|error| Failure::invalid(error.to_string()))?;

        let own_before = before.as_ref().and_then(|entry| entry.own.clone());
        let material = std::mem::take(&mut write.material);
        let own = own_before.as_ref();
        let keep = mount.ceilings.max_versions;
        let plan = plan::plan(storage, &write, &service, &definition, own, material, keep).await?;
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
        let mut warnings =
            plan.warnings(&write.name, own_before.as_ref(), &entry, &service.placement);
        let nothing = Definition::default();
        let previous = before.as_ref().map_or(&nothing, |entry| &entry.definition);
        warnings::weakened(previous, &entry.definition, &mut warnings);
        warnings::local_name(&entry.definition, &mut warnings);

        if let Some(before) = &before
            && plan.made().is_none()
            && (&before.own, &before.definition) == (&entry.own, &entry.definition)
        {
            let version = before.version;
            return Ok(WrittenService { version, credential_version: None, warnings });
        }
        let outcome = self.commit(storage, &key, &write, &plan, &entry, own_before.is_some()).await;
        self.forget(&key);
        self.forget(&format!("{CREDENTIALS}{}", write.name));
        self.tools.expire(&entry.id);
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

    /// Deletes a service with its own credential; nothing there is no error. With `cas` it must be
    /// of that version.
    ///
    /// # Errors
    /// `check_and_set_failed`, with nothing changed; storage's own.
    pub async fn delete_service(
        &self,
        storage: &dyn Storage,
        name: &Name,
        cas: Option<u64>,
    ) -> Result<(), Error> {
        let _one = self.writes.lock().await;
        let key = format!("{SERVICES}{name}");
        let own_key = format!("{CREDENTIALS}{name}");
        let Some(entry): Option<ServiceEntry> = storage::load(storage, &key).await? else {
            return Ok(());
        };
        check_and_set(cas, entry.version, false)?;
        let deleted: Result<(), Error> = async {
            let gone = storage.delete(&key).await;
            self.forget(&key);
            gone?;
            delete_own(storage, &own_key).await?;
            self.forget_tools(storage, &entry.id).await?;
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
