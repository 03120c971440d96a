//! Puts a credential away, and believes it only once it has been read back.

use std::path::Path;
use std::time::Duration;

use mcp_bridge_tpm::sealed::Header;
use mcp_bridge_tpm::sealer::trial;
use mcp_bridge_tpm::{
    Credential, CredentialError, CredentialFile, LockedFile, Pin, SealOptions, SealedCredential,
    Sealer, Store, UnsealOptions,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{EnrolledError, pin, unseal};
use crate::config::Enrolled;

/// What is to protect a credential.
#[derive(Debug)]
pub(crate) enum Protection {
    /// This machine's TPM.
    Tpm2(SealOptions),
    /// Nothing.
    PlainFile,
}

impl Protection {
    /// What protects a credential that is kept already, its PIN included.
    ///
    /// # Errors
    ///
    /// [`EnrolledError::PinFile`].
    pub(super) fn of(header: &Header, place: &Enrolled) -> Result<Self, EnrolledError> {
        Ok(match (header.store, &header.tpm2) {
            (Store::Tpm2, Some(object)) => {
                let pin = pin::options(place, header)?.pin;
                Self::Tpm2(SealOptions { pcrs: object.policy.pcrs.clone(), pin })
            }
            (Store::Tpm2, None) => Self::Tpm2(SealOptions::default()),
            (Store::PlainFile, _) => Self::PlainFile,
        })
    }

    /// What opens a credential that has just been kept so: its PIN can't be wrong, so no try is at
    /// stake.
    fn opening(&self) -> UnsealOptions {
        let pin = match self {
            Self::Tpm2(options) => options.pin.as_ref().map(Pin::copy),
            Self::PlainFile => None,
        };
        UnsealOptions { pin, force: true }
    }
}

/// Takes the lock of the place for a credential, and tries the store out, before a one-time token
/// is spent on a place that can't keep what it gives.
///
/// # Errors
///
/// [`EnrolledError::Exists`] unless `force` is set; else why the place can't be used.
pub(crate) async fn check_place(
    path: &Path,
    protection: &Protection,
    sealer: &dyn Sealer,
    force: bool,
) -> Result<LockedFile, EnrolledError> {
    if !force && path.symlink_metadata().is_ok() {
        return Err(EnrolledError::Exists(path.display().to_string()));
    }
    if let Protection::Tpm2(options) = protection {
        trial(sealer, options).await.map_err(|error| EnrolledError::NoTpm(error.into()))?;
    }
    let file = CredentialFile::new(path.to_owned());
    Ok(file.lock(LOCK).await.map_err(CredentialError::from)?)
}

/// Seals a credential, writes it, reads it back, opens it and compares.
///
/// # Errors
///
/// [`EnrolledError`]; [`EnrolledError::Mismatch`] if another credential came back.
pub(super) async fn put(
    place: &LockedFile,
    credential: &Credential,
    protection: &Protection,
    sealer: &dyn Sealer,
) -> Result<(), EnrolledError> {
    let sealed = match protection {
        Protection::Tpm2(options) => SealedCredential::seal(credential, sealer, options).await?,
        Protection::PlainFile => SealedCredential::danger_in_clear(credential)?,
    };
    // What can't be opened must not take the place of what can.
    if !same(credential, &unseal(&sealed, sealer, &protection.opening()).await?) {
        return Err(EnrolledError::Mismatch);
    }
    place.write(&sealed).map_err(CredentialError::from)?;
    if place.read().map_err(CredentialError::from)? != sealed {
        return Err(EnrolledError::Mismatch);
    }
    Ok(())
}

/// Whether two credentials are the same in all that a login needs.
fn same(one: &Credential, other: &Credential) -> bool {
    same_secret(&one.role_id, &other.role_id)
        && same_secret(&one.secret_id, &other.secret_id)
        && one.vault == other.vault
        && one.secret_id_accessor == other.secret_id_accessor
}

/// Whether two credentials are of the same role of the same server.
pub(super) fn same_role(one: &Credential, other: &Credential) -> bool {
    same_secret(&one.role_id, &other.role_id)
        && one.vault.address == other.vault.address
        && one.vault.namespace == other.vault.namespace
        && one.vault.auth_mount == other.vault.auth_mount
}

fn same_secret(one: &SecretString, other: &SecretString) -> bool {
    let digest = |secret: &SecretString| {
        #[expect(
            clippy::disallowed_methods,
            reason = "no exit: two secrets are compared by their digests, in no telling time"
        )]
        let digest = ring::digest::digest(&ring::digest::SHA256, secret.expose_secret().as_bytes());
        digest.as_ref().to_vec()
    };
    digest(one) == digest(other)
}

/// How long another program may hold the lock: a rotation with a slow TPM and a slow Vault.
pub(super) const LOCK: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use mcp_bridge_tpm::TpmError;
    use mcp_bridge_tpm::credential::VaultBinding;
    use mcp_bridge_tpm::sealer::fake::FakeSealer;

    use super::*;

    fn credential() -> Credential {
        Credential {
            role_id: SecretString::from("role"),
            secret_id: SecretString::from("secret"),
            secret_id_accessor: "accessor".to_owned(),
            role_name: None,
            issued_at: 1,
            expires_at: None,
            num_uses: 0,
            vault: VaultBinding {
                address: "https://vault/".to_owned(),
                namespace: None,
                auth_mount: "approle".to_owned(),
                ca_sha256: None,
                tls_server_name: None,
            },
            previous_accessor: None,
        }
    }

    #[tokio::test]
    async fn nothing_is_touched_when_the_store_cant_keep() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/credential.sealed");
        let protection = Protection::Tpm2(SealOptions::default());
        let sealer = FakeSealer::default();
        sealer.fail_with(Some(TpmError::NoDevice { path: "/dev/tpmrm0".to_owned() }));
        let error = check_place(&path, &protection, &sealer, false).await.unwrap_err();
        assert!(matches!(error, EnrolledError::NoTpm(_)), "{error}");
        assert_eq!(error.exit(), crate::error::Exit::Store(10));
        let text = error.to_string();
        assert!(text.contains("--store external") && text.contains("NOT PROTECTED"), "{text}");
        assert!(!path.parent().unwrap().exists());
    }

    #[tokio::test]
    async fn what_was_put_can_be_opened_and_isnt_replaced_unasked() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/credential.sealed");
        let sealer = FakeSealer::default();
        let with_pin = SealOptions { pin: Some(Pin::new("2580").unwrap()), ..Default::default() };
        for protection in [
            Protection::Tpm2(SealOptions::default()),
            Protection::Tpm2(with_pin),
            Protection::PlainFile,
        ] {
            let force = path.exists();
            let place = check_place(&path, &protection, &sealer, force).await.unwrap();
            put(&place, &credential(), &protection, &sealer).await.unwrap();
            let sealed = place.read().unwrap();
            let back = unseal(&sealed, &sealer, &protection.opening()).await.unwrap();
            assert!(same(&back, &credential()));
            drop(place);
            let error = check_place(&path, &protection, &sealer, false).await.unwrap_err();
            assert!(matches!(error, EnrolledError::Exists(_)), "{error}");
        }
    }

    #[tokio::test]
    async fn a_store_that_fails_while_sealing_leaves_the_old_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/credential.sealed");
        let sealer = FakeSealer::default();
        let protection = Protection::Tpm2(SealOptions::default());
        let place = check_place(&path, &protection, &sealer, false).await.unwrap();
        put(&place, &credential(), &protection, &sealer).await.unwrap();
        let before = std::fs::read(&path).unwrap();
        sealer.fail_with(Some(TpmError::Timeout { seconds: 30 }));
        let other = Credential { secret_id: SecretString::from("other"), ..credential() };
        assert!(put(&place, &other, &protection, &sealer).await.is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }
}
