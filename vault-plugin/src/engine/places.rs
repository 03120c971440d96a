//! The places of calls: the same across writes, so that calls under way go on counting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

use crate::name::Name;

/// The places of a mount, and of its services. They stay as long as their number does.
#[derive(Debug, Default)]
pub(super) struct PlacesBook {
    mount: Mutex<Option<(u64, Arc<Semaphore>)>>,
    services: Mutex<HashMap<Name, ServicePlaces>>,
}

/// Kept alive by snapshots and by calls.
#[derive(Debug)]
struct ServicePlaces {
    service_id: String,
    most: usize,
    places: Weak<Semaphore>,
}

impl PlacesBook {
    pub(super) fn of_mount(&self, most: u64) -> Arc<Semaphore> {
        let mut places = self.mount.lock().unwrap_or_else(PoisonError::into_inner);
        match &*places {
            Some((number, semaphore)) if *number == most => Arc::clone(semaphore),
            Some(_) | None => {
                let permits = usize::try_from(most).unwrap_or(usize::MAX);
                let semaphore = Arc::new(Semaphore::new(permits));
                *places = Some((most, Arc::clone(&semaphore)));
                semaphore
            }
        }
    }

    pub(super) fn of_service(&self, name: &Name, service_id: &str, most: usize) -> Arc<Semaphore> {
        let mut services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = services.get(name)
            && (known.service_id == service_id && known.most == most)
            && let Some(semaphore) = known.places.upgrade()
        {
            return semaphore;
        }
        let semaphore = Arc::new(Semaphore::new(most));
        let places = Arc::downgrade(&semaphore);
        let service_id = service_id.to_owned();
        services.insert(name.clone(), ServicePlaces { service_id, most, places });
        semaphore
    }

    /// The calls of a service that are under way.
    pub(super) fn in_flight(&self, name: &Name) -> usize {
        let services = self.services.lock().unwrap_or_else(PoisonError::into_inner);
        services.get(name).map_or(0, |known| {
            let free = known.places.upgrade().map_or(known.most, |it| it.available_permits());
            known.most.saturating_sub(free)
        })
    }
}
