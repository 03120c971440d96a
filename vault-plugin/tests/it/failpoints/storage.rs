//! Storage with a fault at one access.

use std::sync::{Mutex, PoisonError};

use super::InMemoryStorage;
use async_trait::async_trait;
use tokio::sync::Notify;
use vault_sdk::{Storage, StorageError};

/// What happens at the access that a plan names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The write isn't done, and fails.
    NotDone,
    /// The write is done, and its answer lost.
    Unanswered,
    /// This write fails, and so does every later one.
    Down,
    /// The process ends before the write.
    CrashBefore,
    /// The process ends after the write.
    CrashAfter,
    /// A read or list fails.
    Unreadable,
}

pub(super) const FAULTS: &[Fault] = &[
    Fault::NotDone,
    Fault::Unanswered,
    Fault::Down,
    Fault::CrashBefore,
    Fault::CrashAfter,
    Fault::Unreadable,
];

#[derive(Default)]
pub(super) struct Faulty {
    pub(super) inner: InMemoryStorage,
    plan: Mutex<Plan>,
    crash: Notify,
}

#[derive(Default)]
struct Plan {
    /// The accesses before it, and what then happens.
    fault: Option<(u64, Fault)>,
    happened: bool,
}

impl Faulty {
    pub(super) fn plan(&self, fault: Option<(u64, Fault)>) {
        *self.lock() = Plan { fault, happened: false };
    }

    /// Ends the plan; tells whether it came to pass.
    pub(super) fn heal(&self) -> bool {
        std::mem::take(&mut *self.lock()).happened
    }

    /// Ends when the process does.
    pub(super) async fn crashed(&self) {
        self.crash.notified().await;
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Plan> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn fault(&self, reading: bool) -> Option<Fault> {
        let mut plan = self.lock();
        let (left, fault) = plan.fault.as_mut()?;
        if reading != (*fault == Fault::Unreadable) {
            return None;
        }
        if *left > 0 {
            *left -= 1;
            return None;
        }
        let fault = *fault;
        if fault != Fault::Down {
            plan.fault = None;
        }
        plan.happened = true;
        Some(fault)
    }

    fn readable(&self) -> Result<(), StorageError> {
        self.fault(true).map_or(Ok(()), |_| Err(failed()))
    }

    async fn write(
        &self,
        write: impl Future<Output = Result<(), StorageError>> + Send,
    ) -> Result<(), StorageError> {
        match self.fault(false) {
            None => write.await,
            Some(Fault::NotDone | Fault::Down | Fault::Unreadable) => Err(failed()),
            Some(Fault::Unanswered) => write.await.and(Err(failed())),
            Some(fault @ (Fault::CrashBefore | Fault::CrashAfter)) => {
                if fault == Fault::CrashAfter {
                    write.await?;
                }
                self.crash.notify_one();
                std::future::pending().await
            }
        }
    }
}

fn failed() -> StorageError {
    StorageError::Failed("as planned".into())
}

#[async_trait]
impl Storage for Faulty {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        self.readable()?;
        self.inner.list(prefix).await
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        self.readable()?;
        self.inner.get(key).await
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        self.write(self.inner.put(key, value)).await
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.write(self.inner.delete(key)).await
    }
}
