//! The AppRole credential that is kept, with the one server it is for.

use std::time::{SystemTime, UNIX_EPOCH};

use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::error::TpmError;
use crate::file::FileError;
use crate::key::DataKey;
use crate::sealed::{Header, SealedCredential, Store};
use crate::sealer::{SealOptions, Sealer, UnsealOptions};

/// The largest payload in bytes, well below what the file's limit leaves room for.
const MAX_PAYLOAD_BYTES: usize = 16 * 1024;

/// An AppRole credential and where it may be sent.
#[derive(Debug)]
pub struct Credential {
    /// The role's id: treated as a secret, since a login needs both halves.
    pub role_id: SecretString,
    /// The secret half.
    pub secret_id: SecretString,
    /// The name by which the secret_id can be looked up and destroyed.
    pub secret_id_accessor: String,
    /// The role's name, if the bridge may issue itself new secret_ids.
    pub role_name: Option<String>,
    /// When the secret_id was issued, in seconds since 1970.
    pub issued_at: u64,
    /// When it expires, in seconds since 1970; `None` if never.
    pub expires_at: Option<u64>,
    /// How many logins it is good for; 0 means any number.
    pub num_uses: u32,
    /// The server it is for. Sealed with it, so that an edited configuration can't send it to
    /// another.
    pub vault: VaultBinding,
    /// The accessor of the secret_id before this one, still to be destroyed.
    pub previous_accessor: Option<String>,
}

/// The one server that a credential is for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaultBinding {
    /// The server's address.
    pub address: String,
    /// The namespace, if not the root.
    pub namespace: Option<String>,
    /// Where AppRole is mounted, such as `approle`.
    pub auth_mount: String,
    /// The SHA-256 of the file with the server's authority, hexadecimal, if it is pinned.
    pub ca_sha256: Option<String>,
    /// The name that the server's certificate must carry, if not the address's. Written only where
    /// there is one, so that a file without it can be read by versions that don't know the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls_server_name: Option<String>,
}

/// A failure to keep a credential, or to get it back.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// At the TPM, or on the way to it.
    #[error(transparent)]
    Tpm(#[from] TpmError),
    /// In the file.
    #[error(transparent)]
    File(#[from] FileError),
}

impl CredentialError {
    /// Gives the exit code of a command that ends with this.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Tpm(error) => error.exit_code(),
            Self::File(error) => error.exit_code(),
        }
    }
}

impl SealedCredential {
    /// Seals a credential to a TPM, under a key made for this once.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Tpm`] if the TPM can't be used, [`CredentialError::File`] if a field is
    /// too large.
    pub async fn seal(
        credential: &Credential,
        sealer: &dyn Sealer,
        options: &SealOptions,
    ) -> Result<Self, CredentialError> {
        let payload = encode(credential)?;
        let key = DataKey::generate()?;
        let object = sealer.seal(&key, options).await?;
        Ok(Self::encrypt(header(Store::Tpm2, Some(object)), &key, payload.as_bytes())?)
    }

    /// Keeps a credential in clear: for who has said that this is understood.
    ///
    /// # Errors
    ///
    /// [`CredentialError::File`] if a field is too large.
    pub fn danger_in_clear(credential: &Credential) -> Result<Self, CredentialError> {
        Ok(Self::in_clear(header(Store::PlainFile, None), encode(credential)?)?)
    }

    /// Gets the credential back. For [`Store::PlainFile`] the sealer isn't asked.
    ///
    /// # Errors
    ///
    /// [`CredentialError::Tpm`] if the TPM can't be used or refuses, [`CredentialError::File`] if
    /// a byte of the file was changed.
    pub async fn open(
        &self,
        sealer: &dyn Sealer,
        options: &UnsealOptions,
    ) -> Result<Credential, CredentialError> {
        if let Some(payload) = self.clear_payload() {
            return Ok(decode(payload.as_bytes())?);
        }
        let object = self.header().tpm2.as_ref().ok_or(FileError::Corrupt)?;
        let key = sealer.unseal(object, options).await?;
        Ok(decode(&self.decrypt(&key)?)?)
    }
}

fn header(store: Store, tpm2: Option<crate::TpmObject>) -> Header {
    let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    Header { store, created, host, tpm2 }
}

/// The payload's JSON on the way into the container.
#[derive(Serialize)]
struct PayloadOut<'a> {
    role_id: &'a str,
    secret_id: &'a str,
    secret_id_accessor: &'a str,
    role_name: Option<&'a str>,
    issued_at: u64,
    expires_at: Option<u64>,
    num_uses: u32,
    vault: &'a VaultBinding,
    previous_accessor: Option<&'a str>,
}

/// The payload's JSON on the way out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PayloadIn {
    role_id: Zeroizing<String>,
    secret_id: Zeroizing<String>,
    secret_id_accessor: String,
    role_name: Option<String>,
    issued_at: u64,
    expires_at: Option<u64>,
    num_uses: u32,
    vault: VaultBinding,
    previous_accessor: Option<String>,
}

fn encode(credential: &Credential) -> Result<Zeroizing<String>, FileError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the kept credential's way to disk: into the payload that is sealed"
    )]
    let (role_id, secret_id) =
        (credential.role_id.expose_secret(), credential.secret_id.expose_secret());
    let payload = PayloadOut {
        role_id,
        secret_id,
        secret_id_accessor: &credential.secret_id_accessor,
        role_name: credential.role_name.as_deref(),
        issued_at: credential.issued_at,
        expires_at: credential.expires_at,
        num_uses: credential.num_uses,
        vault: &credential.vault,
        previous_accessor: credential.previous_accessor.as_deref(),
    };
    // Large enough from the start, so that growing leaves no copies behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(2 * MAX_PAYLOAD_BYTES));
    serde_json::to_writer(&mut *bytes, &payload).map_err(|_| FileError::Cipher)?;
    if bytes.len() > MAX_PAYLOAD_BYTES {
        return Err(FileError::TooLarge);
    }
    let text = std::str::from_utf8(&bytes).map_err(|_| FileError::Cipher)?;
    Ok(Zeroizing::new(text.to_owned()))
}

fn decode(payload: &[u8]) -> Result<Credential, FileError> {
    let payload: PayloadIn = serde_json::from_slice(payload).map_err(|_| FileError::Corrupt)?;
    Ok(Credential {
        role_id: SecretString::from(payload.role_id.as_str()),
        secret_id: SecretString::from(payload.secret_id.as_str()),
        secret_id_accessor: payload.secret_id_accessor,
        role_name: payload.role_name,
        issued_at: payload.issued_at,
        expires_at: payload.expires_at,
        num_uses: payload.num_uses,
        vault: payload.vault,
        previous_accessor: payload.previous_accessor,
    })
}

#[cfg(test)]
mod tests;
