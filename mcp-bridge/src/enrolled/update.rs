//! Keeps the same credential another way: other registers, another PIN, another store.

use mcp_bridge_tpm::sealed::Header;
use mcp_bridge_tpm::{CredentialError, CredentialFile, PcrSet, Pin, SealOptions, Sealer, Store};

use super::keep::{LOCK, Protection, put};
use super::{EnrolledError, pin, unseal_at};
use crate::config::Enrolled;

/// What is to change; the rest stays as it is.
#[derive(Debug)]
pub(crate) struct Change {
    /// What keeps the credential.
    pub(crate) store: Option<Store>,
    /// The registers that it is bound to, at their present values.
    pub(crate) pcrs: Option<PcrSet>,
    /// The PIN.
    pub(crate) pin: PinChange,
}

/// What is to become of the PIN.
#[derive(Debug)]
pub(crate) enum PinChange {
    /// It stays, or there is none.
    Keep,
    /// This one is set.
    Set(Pin),
    /// None is asked for any more.
    Remove,
}

/// Opens the credential, keeps it anew and reads it back; the old file is good until then.
///
/// Gives what protects it now, and whether nothing did before.
///
/// # Errors
///
/// [`EnrolledError`]; the kept credential is as it was then.
pub(crate) async fn update(
    place: &Enrolled,
    sealer: &dyn Sealer,
    change: Change,
) -> Result<(Protection, bool), EnrolledError> {
    let file = CredentialFile::new(place.file.clone());
    // Looked at before the lock, which would make the folder.
    file.read().map_err(CredentialError::from)?;
    let locked = file.lock(LOCK).await.map_err(CredentialError::from)?;
    let sealed = locked.read().map_err(CredentialError::from)?;
    let protection = change.of(sealed.header(), place)?;
    let credential = unseal_at(place, &sealed, sealer).await?;
    put(&locked, &credential, &protection, sealer).await?;
    Ok((protection, sealed.header().store == Store::PlainFile))
}

impl Change {
    /// What protects a credential with this header after the change.
    fn of(self, header: &Header, place: &Enrolled) -> Result<Protection, EnrolledError> {
        match self.store.unwrap_or(header.store) {
            Store::PlainFile => {
                if self.pcrs.is_some() || matches!(self.pin, PinChange::Set(_)) {
                    return Err(EnrolledError::Unfit(
                        "registers and PIN are the TPM's: add --store tpm2",
                    ));
                }
                Ok(Protection::PlainFile)
            }
            Store::Tpm2 => {
                let policy = header.tpm2.as_ref().map(|object| &object.policy);
                let pcrs = self.pcrs.or_else(|| policy.map(|policy| policy.pcrs.clone()));
                let pin = match self.pin {
                    PinChange::Set(pin) => Some(pin),
                    // Without the PIN that is set, the credential can't be opened either.
                    PinChange::Keep => pin::options(place, header)?.pin,
                    PinChange::Remove => None,
                };
                Ok(Protection::Tpm2(SealOptions { pcrs: pcrs.unwrap_or_default(), pin }))
            }
        }
    }
}
