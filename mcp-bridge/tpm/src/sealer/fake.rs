//! A sealer in memory, for tests of what is built on sealing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Mutex;

use async_trait::async_trait;

use crate::error::TpmError;
use crate::key::{DataKey, Pin};
use crate::object::{
    BANK, Blob, Lockout, Maker, ObjectPolicy, Parent, SRK_TEMPLATE, TpmInfo, TpmObject,
};
use crate::pcr::PcrDrift;
use crate::sealer::{SealOptions, Sealer, UnsealOptions};

/// A TPM that isn't one: keys lie in memory beside the object's number.
#[derive(Debug, Default)]
pub struct FakeSealer {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: HashMap<Vec<u8>, (DataKey, Option<Pin>)>,
    failure: Option<TpmError>,
    registers: BTreeMap<u8, String>,
    unseals: usize,
}

impl FakeSealer {
    /// Makes every request from now on fail, or none.
    pub fn fail_with(&self, failure: Option<TpmError>) {
        self.with(|state| state.failure = failure);
    }

    /// Changes a register, as a firmware update would.
    pub fn extend(&self, pcr: u8) {
        self.with(|state| state.registers.insert(pcr, "ff".repeat(32)));
    }

    /// Counts the unsealings asked for so far.
    pub fn unseals(&self) -> usize {
        self.with(|state| state.unseals)
    }

    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner))
    }

    fn check(&self) -> Result<(), TpmError> {
        self.with(|state| state.failure.clone().map_or(Ok(()), Err))
    }
}

#[async_trait]
impl Sealer for FakeSealer {
    async fn info(&self) -> Result<TpmInfo, TpmError> {
        self.check()?;
        Ok(TpmInfo {
            maker: maker(),
            lockout: Lockout { counter: 0, max_tries: 3, recovery_seconds: 10, locked: false },
            pcr_banks: vec![BANK.into()],
            parents: vec![parent()],
            owner_password: false,
            lockout_password: false,
        })
    }

    async fn seal(&self, key: &DataKey, options: &SealOptions) -> Result<TpmObject, TpmError> {
        self.check()?;
        let copy = DataKey::from_slice(key.expose()).ok_or(TpmError::Integrity)?;
        let pin = options.pin.as_ref().map(Pin::copy);
        let pinned = pin.is_some();
        Ok(self.with(|state| {
            let private = state.keys.len().to_be_bytes().to_vec();
            state.keys.insert(private.clone(), (copy, pin));
            let values =
                options.pcrs.iter().map(|pcr| (pcr, value(&state.registers, pcr))).collect();
            TpmObject {
                parent: parent(),
                policy: ObjectPolicy {
                    bank: BANK.into(),
                    pcrs: options.pcrs.clone(),
                    pcr_values: values,
                    pin: pinned,
                },
                tpm: maker(),
                public: Blob(vec![0]),
                private: Blob(private),
            }
        }))
    }

    async fn unseal(
        &self,
        object: &TpmObject,
        options: &UnsealOptions,
    ) -> Result<DataKey, TpmError> {
        self.with(|state| state.unseals += 1);
        self.check()?;
        let drift = self.pcr_diff(&object.policy).await?;
        self.with(|state| {
            let (key, pin) = state.keys.get(&object.private.0).ok_or(TpmError::OtherTpm)?;
            if !drift.is_empty() {
                return Err(TpmError::PolicyMismatch { drift });
            }
            match (pin, &options.pin) {
                (Some(_), None) => return Err(TpmError::PinMissing),
                (Some(right), Some(given)) if right.expose() != given.expose() => {
                    return Err(TpmError::WrongPin { tries_left: Some(2) });
                }
                (Some(_), Some(_)) | (None, _) => {}
            }
            DataKey::from_slice(key.expose()).ok_or(TpmError::Integrity)
        })
    }

    async fn pcr_diff(&self, policy: &ObjectPolicy) -> Result<Vec<PcrDrift>, TpmError> {
        self.check()?;
        Ok(self.with(|state| {
            let now = |pcr| value(&state.registers, pcr);
            let changed = policy.pcr_values.iter().filter(|(pcr, sealed)| now(**pcr) != **sealed);
            changed
                .map(|(pcr, sealed)| PcrDrift {
                    pcr: *pcr,
                    sealed: sealed.clone(),
                    now: Some(now(*pcr)),
                })
                .collect()
        }))
    }
}

fn value(registers: &BTreeMap<u8, String>, pcr: u8) -> String {
    registers.get(&pcr).cloned().unwrap_or_else(|| "00".repeat(32))
}

fn maker() -> Maker {
    Maker { manufacturer: "FAKE".into(), vendor: "in memory".into(), firmware: "0".into() }
}

fn parent() -> Parent {
    Parent { name: format!("000b{}", "00".repeat(32)), handle: None, template: SRK_TEMPLATE.into() }
}
