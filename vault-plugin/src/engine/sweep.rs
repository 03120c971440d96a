//! Clears up what a write left that never came to its end.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use vault_sdk::Storage;

use super::Engine;
use crate::error::Error;
use crate::storage::{
    self, CREDENTIALS, CredentialEntry, MATERIAL, Owner, SERVICES, ServiceEntry, USAGE,
};

impl Engine {
    /// Deletes material, credentials and definitions of tools that nothing refers to, once after a start and once after
    /// each failed write.
    ///
    /// # Errors
    /// Storage's own; the next round tries again.
    pub async fn sweep(&self, storage: &dyn Storage) -> Result<(), Error> {
        if !self.needs_sweep.load(Ordering::Acquire) {
            return Ok(());
        }
        let _one = self.writes.lock().await;
        let mut referenced = BTreeSet::new();
        let mut credentials = BTreeSet::new();
        let mut swept = 0_usize;
        for name in storage.list(CREDENTIALS).await? {
            let key = format!("{CREDENTIALS}{name}");
            let Some(entry): Option<CredentialEntry> = storage::load(storage, &key).await? else {
                continue;
            };
            match self.committed(storage, &name, &entry).await? {
                None => {
                    for version in &entry.versions {
                        storage.delete(&format!("{MATERIAL}{}", version.material_id)).await?;
                    }
                    storage.delete(&key).await?;
                    self.forget(&key);
                    swept += 1;
                }
                Some(committed) => {
                    credentials.insert(entry.id.clone());
                    let live = entry.versions.iter().filter(|version| version.version <= committed);
                    referenced.extend(live.map(|version| version.material_id.clone()));
                }
            }
        }
        for id in storage.list(USAGE).await? {
            if !credentials.contains(&id) {
                storage.delete(&format!("{USAGE}{id}")).await?;
            }
        }
        for id in storage.list(MATERIAL).await? {
            if !referenced.contains(&id) {
                storage.delete(&format!("{MATERIAL}{id}")).await?;
                swept += 1;
            }
        }
        let mut services = BTreeSet::new();
        for name in storage.list(SERVICES).await? {
            let entry: Option<ServiceEntry> =
                storage::load(storage, &format!("{SERVICES}{name}")).await?;
            services.extend(entry.map(|entry| entry.id));
        }
        swept += self.sweep_tools(storage, &services).await?;
        if swept > 0 {
            tracing::info!(entries = swept, "swept what unfinished writes had left");
        }
        // A write may have been committed just before it could tell the bridges. It need have left
        // nothing else by which that could be known.
        self.renew_revision(storage).await?;
        self.needs_sweep.store(false, Ordering::Release);
        Ok(())
    }

    /// The newest version that counts; `None` when nothing refers to the credential.
    async fn committed(
        &self,
        storage: &dyn Storage,
        name: &str,
        entry: &CredentialEntry,
    ) -> Result<Option<u64>, Error> {
        match entry.owner {
            Owner::Operator => Ok(Some(entry.current)),
            Owner::Service => {
                let service: Option<ServiceEntry> =
                    storage::load(storage, &format!("{SERVICES}{name}")).await?;
                Ok(service.and_then(|service| service.own).map(|own| own.version))
            }
        }
    }
}
