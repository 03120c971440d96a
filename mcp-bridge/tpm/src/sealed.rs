//! The container of a kept credential: a public header, and the payload it authenticates.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::digest::{Context, SHA256};
use ring::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::file::FileError;
use crate::key::DataKey;
use crate::object::{Blob, TpmObject};

/// What the file says it is.
const FORMAT: &str = "mcp-bridge-sealed";

/// The version that this program writes, and the only one it reads.
const VERSION: u32 = 1;

/// Goes before the header into the digest that the cipher authenticates.
const CONTEXT: &str = "mcp-bridge-sealed/1";

/// The largest file that is read, in bytes: a sealed one has about 1,200.
pub const MAX_FILE_BYTES: usize = 64 * 1024;

/// Where the key of a credential is: what protects the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Store {
    /// In this machine's TPM.
    Tpm2,
    /// Nowhere: the payload is in clear.
    PlainFile,
}

impl Store {
    /// Says in words what the store protects against.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Tpm2 => "bound to this machine's TPM",
            Self::PlainFile => "NOT PROTECTED: whoever copies this file has the credential",
        }
    }
}

/// What anybody who has the file may read: no role, no address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// What protects the payload.
    pub store: Store,
    /// When it was made, in seconds since 1970.
    pub created: u64,
    /// The host it was made on: a hint for people, never compared.
    pub host: String,
    /// The sealed key, for [`Store::Tpm2`] alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tpm2: Option<TpmObject>,
}

/// A container that was read or is about to be written, not opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedCredential {
    header: Header,
    /// The header's bytes as stored: they are authenticated, not what they mean.
    raw_header: Vec<u8>,
    body: Body,
}

#[derive(Clone, PartialEq, Eq)]
enum Body {
    Sealed { nonce: [u8; NONCE_LEN], ciphertext: Vec<u8> },
    Plain(Zeroizing<String>),
}

impl std::fmt::Debug for Body {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Sealed { .. } => "Sealed",
            Self::Plain(_) => "Plain([redacted])",
        })
    }
}

/// The file's JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Container {
    format: String,
    version: u32,
    header: Blob,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nonce: Option<Blob>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ciphertext: Option<Blob>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payload: Option<Zeroizing<String>>,
}

/// The first two fields alone, so that a later version is told from a damaged file.
#[derive(Deserialize)]
struct Kind {
    format: String,
    version: u32,
}

impl SealedCredential {
    /// Reads a container from a file's bytes.
    ///
    /// # Errors
    ///
    /// [`FileError::TooLarge`], [`FileError::UnknownVersion`], or [`FileError::Corrupt`] for
    /// anything that isn't exactly what this version writes.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, FileError> {
        if bytes.len() > MAX_FILE_BYTES {
            return Err(FileError::TooLarge);
        }
        let kind: Kind = serde_json::from_slice(bytes).map_err(|_| FileError::Corrupt)?;
        if kind.format != FORMAT {
            return Err(FileError::Corrupt);
        }
        if kind.version != VERSION {
            return Err(FileError::UnknownVersion { version: kind.version });
        }
        let container: Container = serde_json::from_slice(bytes).map_err(|_| FileError::Corrupt)?;
        let raw_header = container.header.0;
        let header: Header = serde_json::from_slice(&raw_header).map_err(|_| FileError::Corrupt)?;
        let body = match (container.nonce, container.ciphertext, container.payload) {
            (Some(nonce), Some(ciphertext), None) => Body::Sealed {
                nonce: nonce.0.try_into().map_err(|_| FileError::Corrupt)?,
                ciphertext: ciphertext.0,
            },
            (None, None, Some(payload)) => Body::Plain(payload),
            _ => return Err(FileError::Corrupt),
        };
        match (header.store, &header.tpm2, &body) {
            (Store::Tpm2, Some(_), Body::Sealed { .. })
            | (Store::PlainFile, None, Body::Plain(_)) => Ok(Self { header, raw_header, body }),
            (Store::Tpm2 | Store::PlainFile, _, _) => Err(FileError::Corrupt),
        }
    }

    /// Writes the container as a file's bytes.
    #[must_use]
    pub fn to_bytes(&self) -> Zeroizing<Vec<u8>> {
        let (nonce, ciphertext, payload) = match &self.body {
            Body::Sealed { nonce, ciphertext } => {
                (Some(Blob(nonce.to_vec())), Some(Blob(ciphertext.clone())), None)
            }
            Body::Plain(payload) => (None, None, Some(payload.clone())),
        };
        let container = Container {
            format: FORMAT.into(),
            version: VERSION,
            header: Blob(self.raw_header.clone()),
            nonce,
            ciphertext,
            payload,
        };
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES));
        // Strings and numbers alone: writing them to memory can't fail.
        let _ = serde_json::to_writer(&mut *bytes, &container);
        bytes.push(b'\n');
        bytes
    }

    /// Gives what anybody may read of it.
    #[must_use]
    pub const fn header(&self) -> &Header {
        &self.header
    }

    /// Encrypts a payload under a data key that is used for nothing else.
    pub(crate) fn encrypt(
        header: Header,
        key: &DataKey,
        payload: &[u8],
    ) -> Result<Self, FileError> {
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| FileError::Cipher)?;
        Self::encrypt_with(header, key, nonce, payload)
    }

    fn encrypt_with(
        header: Header,
        key: &DataKey,
        nonce: [u8; NONCE_LEN],
        payload: &[u8],
    ) -> Result<Self, FileError> {
        let raw_header = serde_json::to_vec(&header).map_err(|_| FileError::Corrupt)?;
        let mut ciphertext = Vec::with_capacity(payload.len() + AES_256_GCM.tag_len());
        ciphertext.extend_from_slice(payload);
        cipher(key)?
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated_data(&raw_header)),
                &mut ciphertext,
            )
            .map_err(|_| FileError::Cipher)?;
        Ok(Self { header, raw_header, body: Body::Sealed { nonce, ciphertext } })
    }

    /// Decrypts the payload.
    ///
    /// # Errors
    ///
    /// [`FileError::Corrupt`] if a byte of the header, the nonce or the ciphertext isn't the one
    /// that was written, or the key is another.
    pub(crate) fn decrypt(&self, key: &DataKey) -> Result<Zeroizing<Vec<u8>>, FileError> {
        let Body::Sealed { nonce, ciphertext } = &self.body else {
            return Err(FileError::Corrupt);
        };
        let mut bytes = Zeroizing::new(ciphertext.clone());
        let length = cipher(key)?
            .open_in_place(
                Nonce::assume_unique_for_key(*nonce),
                Aad::from(associated_data(&self.raw_header)),
                &mut bytes,
            )
            .map_err(|_| FileError::Corrupt)?
            .len();
        bytes.truncate(length);
        Ok(bytes)
    }

    /// Keeps a payload in clear.
    pub(crate) fn in_clear(header: Header, payload: Zeroizing<String>) -> Result<Self, FileError> {
        let raw_header = serde_json::to_vec(&header).map_err(|_| FileError::Corrupt)?;
        Ok(Self { header, raw_header, body: Body::Plain(payload) })
    }

    /// Gives a payload that is kept in clear; `None` if it is sealed.
    pub(crate) fn clear_payload(&self) -> Option<&str> {
        match &self.body {
            Body::Sealed { .. } => None,
            Body::Plain(payload) => Some(payload),
        }
    }
}

fn cipher(key: &DataKey) -> Result<LessSafeKey, FileError> {
    let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| FileError::Cipher)?;
    Ok(LessSafeKey::new(key))
}

/// Digests the context and the header's stored bytes; never JSON that was written again.
fn associated_data(raw_header: &[u8]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(CONTEXT.as_bytes());
    context.update(raw_header);
    let mut data = [0; 32];
    data.copy_from_slice(context.finish().as_ref());
    data
}

#[cfg(test)]
mod tests;
