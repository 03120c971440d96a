//! The seam between what is sealed and what seals it.

use std::fmt;

use async_trait::async_trait;

use crate::error::TpmError;
use crate::key::{DataKey, Pin};
use crate::object::{ObjectPolicy, TpmInfo, TpmObject};
use crate::pcr::{PcrDrift, PcrSet};

#[cfg(any(test, feature = "fake"))]
pub mod fake;
pub mod helper;

/// What a data key is bound to besides the TPM: nothing, by default.
#[derive(Debug, Default)]
pub struct SealOptions {
    /// Registers whose values must stay as they are now.
    pub pcrs: PcrSet,
    /// A PIN to ask for at every unsealing.
    pub pin: Option<Pin>,
}

/// What goes with an unsealing.
#[derive(Debug, Default)]
pub struct UnsealOptions {
    /// The PIN, if the object asks for one.
    pub pin: Option<Pin>,
    /// Whether to spend the last try before the TPM locks for all its users.
    pub force: bool,
}

/// Seals data keys, by a TPM or by something that behaves like one.
#[async_trait]
pub trait Sealer: fmt::Debug + Send + Sync {
    /// Tells about the TPM.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if it can't be reached.
    async fn info(&self) -> Result<TpmInfo, TpmError>;

    /// Seals a key, bound as `options` say.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM can't be reached or refuses.
    async fn seal(&self, key: &DataKey, options: &SealOptions) -> Result<TpmObject, TpmError>;

    /// Unseals the key of an object.
    ///
    /// # Errors
    ///
    /// [`TpmError`], sorted by what is to be done about it.
    async fn unseal(
        &self,
        object: &TpmObject,
        options: &UnsealOptions,
    ) -> Result<DataKey, TpmError>;

    /// Tells which registers differ from their values at sealing.
    ///
    /// # Errors
    ///
    /// [`TpmError`] if the TPM can't be reached.
    async fn pcr_diff(&self, policy: &ObjectPolicy) -> Result<Vec<PcrDrift>, TpmError>;
}

/// Seals and unseals a key that nobody needs, before a one-time wrapping token is spent on a TPM
/// that can't.
///
/// # Errors
///
/// What sealing or unsealing ends with; [`TpmError::Helper`] if another key comes back.
pub async fn trial(sealer: &dyn Sealer, options: &SealOptions) -> Result<(), TpmError> {
    let key = DataKey::generate()?;
    let object = sealer.seal(&key, options).await?;
    let pin = options.pin.as_ref().map(Pin::copy);
    // The PIN is the one that was just set: it can't be wrong, so no try is at stake.
    let back = sealer.unseal(&object, &UnsealOptions { pin, force: true }).await?;
    if !back.matches(&key) {
        return Err(TpmError::Helper { what: "the TPM gave another key back".into() });
    }
    Ok(())
}
