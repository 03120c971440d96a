//! Holds the bridge's secrets, one type for each meaning, and the only ways out of them.

use std::fmt;
use std::io::{BufRead, Read as _};
use std::path::Path;

use bytes::Bytes;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::private;

/// The largest secret file that is read, in bytes: a token or a secret_id is far below.
const MAX_FILE_BYTES: u64 = 16 * 1024;

/// A token that Vault issued to this bridge.
pub(crate) struct VaultToken(SecretString);

/// The secret half of an AppRole credential.
pub(crate) struct SecretId(SecretString);

/// The name half of an AppRole credential: treated as a secret, since a login needs both.
pub(crate) struct RoleId(SecretString);

impl VaultToken {
    /// Reads a token from a file's first and only line.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub(crate) fn from_file(path: &Path) -> Result<Self, SecretError> {
        read(path).map(Self)
    }

    /// Takes a token that came in an answer or from the environment.
    ///
    /// # Errors
    ///
    /// [`SecretError::Malformed`] if it can't stand in an HTTP header.
    pub(crate) fn new(value: &str) -> Result<Self, SecretError> {
        printable(value).map(Self)
    }

    /// Copies the token for a new session: deliberate, so no `Clone`.
    pub(crate) fn copy(&self) -> Self {
        Self(self.0.clone())
    }

    /// Makes the header value that carries the token to Vault, marked so that nothing logs it.
    pub(crate) fn header(&self) -> HeaderValue {
        #[expect(
            clippy::disallowed_methods,
            reason = "the token's one way out: X-Vault-Token of a request to Vault"
        )]
        let value = HeaderValue::from_str(self.0.expose_secret());
        // Every constructor has checked the characters, so the empty value is never used.
        let mut value = value.unwrap_or_else(|_| HeaderValue::from_static(""));
        value.set_sensitive(true);
        value
    }
}

/// A token that gives what it wraps once, to whoever comes first.
pub(crate) struct WrappingToken(VaultToken);

impl WrappingToken {
    /// Reads the token from a file's first and only line.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub(crate) fn from_file(path: &Path) -> Result<Self, SecretError> {
        VaultToken::from_file(path).map(Self)
    }

    /// Reads the token from a stream's first line.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub(crate) fn from_stream(stream: &mut dyn BufRead) -> Result<Self, SecretError> {
        let mut line = Zeroizing::new(String::new());
        stream.take(MAX_FILE_BYTES).read_line(&mut line).map_err(|_| SecretError::Unreadable)?;
        VaultToken::new(line.trim()).map(Self)
    }

    /// Takes a token that came in an answer.
    ///
    /// # Errors
    ///
    /// [`SecretError::Malformed`] if it can't stand in an HTTP header.
    pub(crate) fn new(value: &str) -> Result<Self, SecretError> {
        VaultToken::new(value).map(Self)
    }

    /// The token as the requests that ask about it carry it.
    pub(crate) fn token(&self) -> &VaultToken {
        &self.0
    }

    /// Gives the token to the operator who had it made: it serves once, for minutes.
    pub(crate) fn shown(&self) -> &str {
        #[expect(
            clippy::disallowed_methods,
            reason = "a wrapping token is made to be handed over: provision prints it, and the \
                      body of a look-up names it"
        )]
        self.0.0.expose_secret()
    }
}

impl fmt::Debug for WrappingToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingToken(hidden)")
    }
}

impl SecretId {
    /// Takes a secret_id that was unwrapped or unsealed.
    ///
    /// # Errors
    ///
    /// [`SecretError::Malformed`] if it isn't one line of visible ASCII.
    pub(crate) fn new(secret: &SecretString) -> Result<Self, SecretError> {
        recheck(secret).map(Self)
    }

    /// Reads the secret_id from a file's first and only line.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub(crate) fn from_file(path: &Path) -> Result<Self, SecretError> {
        read(path).map(Self)
    }
}

impl RoleId {
    /// Takes a role_id that was unsealed or given.
    ///
    /// # Errors
    ///
    /// [`SecretError::Malformed`] if it isn't one line of visible ASCII.
    pub(crate) fn new(id: &SecretString) -> Result<Self, SecretError> {
        recheck(id).map(Self)
    }

    /// Reads the role_id from a file's first and only line.
    ///
    /// # Errors
    ///
    /// See [`SecretError`].
    pub(crate) fn from_file(path: &Path) -> Result<Self, SecretError> {
        read(path).map(Self)
    }
}

/// Writes the body of an AppRole login: one buffer, which is wiped when the last one who holds it
/// has sent it.
pub(crate) fn login_body(role_id: &RoleId, secret_id: &SecretId) -> Bytes {
    #[derive(Serialize)]
    struct Body<'a> {
        role_id: &'a str,
        secret_id: &'a str,
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "the credential's one way out: the body of the login request to Vault"
    )]
    let body = Body { role_id: role_id.0.expose_secret(), secret_id: secret_id.0.expose_secret() };
    // Large enough from the start, also if each character is escaped, so that growing leaves no
    // copies behind.
    let room = 2 * (body.role_id.len() + body.secret_id.len()) + 64;
    let mut json = Zeroizing::new(Vec::with_capacity(room));
    // Texts can't fail to be written to memory; a body cut short would be refused by Vault.
    let _ = serde_json::to_writer(&mut *json, &body);
    Bytes::from_owner(json)
}

impl fmt::Debug for RoleId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RoleId(hidden)")
    }
}

impl fmt::Debug for SecretId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretId(hidden)")
    }
}

impl fmt::Debug for VaultToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VaultToken(hidden)")
    }
}

/// Why a secret can't be used. Names the fault, never the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SecretError {
    /// The file isn't there.
    #[error("the file isn't there")]
    Missing,
    /// The file exists but this user may not read it, or reading failed.
    #[error("the file can't be read")]
    Unreadable,
    /// The file is empty.
    #[error("the file is empty")]
    Empty,
    /// The content is no token or identifier: too long, or not one line of visible ASCII.
    #[error("the content isn't one line of visible ASCII")]
    Malformed,
}

fn read(path: &Path) -> Result<SecretString, SecretError> {
    let file = std::fs::File::open(path).map_err(|error| {
        let missing = error.kind() == std::io::ErrorKind::NotFound;
        if missing { SecretError::Missing } else { SecretError::Unreadable }
    })?;
    warn_if_shared(path, &file);
    let mut text = Zeroizing::new(String::new());
    let read = file.take(MAX_FILE_BYTES + 1).read_to_string(&mut text);
    match read {
        Ok(length) if length as u64 > MAX_FILE_BYTES => Err(SecretError::Malformed),
        Ok(_) if text.trim().is_empty() => Err(SecretError::Empty),
        Ok(_) => printable(text.trim()),
        Err(_) => Err(SecretError::Unreadable),
    }
}

fn recheck(secret: &SecretString) -> Result<SecretString, SecretError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "no exit: the characters are checked on the way from one keeper to another"
    )]
    printable(secret.expose_secret())
}

fn printable(value: &str) -> Result<SecretString, SecretError> {
    if value.is_empty() {
        return Err(SecretError::Empty);
    }
    if value.bytes().all(|byte| byte.is_ascii_graphic()) {
        Ok(SecretString::from(value))
    } else {
        Err(SecretError::Malformed)
    }
}

fn warn_if_shared(path: &Path, file: &std::fs::File) {
    if file.metadata().is_ok_and(|data| private::is_shared(&data)) {
        tracing::warn!(path = %path.display(), "other users may read this secret file: chmod 600");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_gives_its_line_without_the_newline() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        std::fs::write(&path, "hvs.abc\n").unwrap();
        assert_eq!(VaultToken::from_file(&path).unwrap().header(), "hvs.abc");
        assert!(VaultToken::from_file(&path).unwrap().header().is_sensitive());
    }

    #[test]
    fn what_is_no_secret_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        let check = |content: &[u8], expected| {
            std::fs::write(&path, content).unwrap();
            assert_eq!(VaultToken::from_file(&path).unwrap_err(), expected);
        };
        check(b"", SecretError::Empty);
        check(b"\n", SecretError::Empty);
        check(b"two\nlines", SecretError::Malformed);
        check("schl\u{fc}ssel".as_bytes(), SecretError::Malformed);
        check(&vec![b'a'; 20_000], SecretError::Malformed);
        assert_eq!(
            VaultToken::from_file(&dir.path().join("absent")).unwrap_err(),
            SecretError::Missing
        );
    }

    #[test]
    fn debug_hides_the_token() {
        assert_eq!(format!("{:?}", VaultToken::new("hvs.abc").unwrap()), "VaultToken(hidden)");
    }
}
