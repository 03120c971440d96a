//! Keeps a copy of Vault's authority beside the credential, which knows its digest.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::EnrolledError;
use crate::private;

/// Digests an authority's file as the credential keeps it: SHA-256, hexadecimal.
pub(crate) fn digest(pem: &[u8]) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, pem);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes the copy; gives its digest.
pub(crate) fn write(credential: &Path, pem: &[u8]) -> Result<String, EnrolledError> {
    let digest = digest(pem);
    private::replace(&copy(credential, &digest), pem).map_err(|_| EnrolledError::AuthorityWrite)?;
    Ok(digest)
}

/// Reads the copy, if it is the one that was pinned.
pub(crate) fn read(credential: &Path, expected: &str) -> Result<Arc<[u8]>, EnrolledError> {
    let path = copy(credential, expected);
    let fault = |problem| EnrolledError::Authority { path: path.display().to_string(), problem };
    let pem = std::fs::read(&path).map_err(|_| fault("it can't be read"))?;
    if digest(&pem) == expected { Ok(pem.into()) } else { Err(fault("its content was changed")) }
}

/// Removes every copy beside a credential.
pub(crate) fn remove_copies(credential: &Path) {
    let (Some(folder), Some(name)) = (credential.parent(), credential.file_name()) else { return };
    let start = format!("{}.ca-", name.to_string_lossy());
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(&start) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// The copy's file: named by its content, so that no new one spoils an old credential.
fn copy(credential: &Path, digest: &str) -> PathBuf {
    let mut name = credential.file_name().unwrap_or_default().to_owned();
    name.push(format!(".ca-{}.pem", digest.get(..16).unwrap_or_default()));
    credential.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_copy_is_refused_and_forgetting_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let credential = dir.path().join("credential.sealed");
        let digest = write(&credential, b"PEM").unwrap();
        assert_eq!(digest.len(), 64);
        assert_eq!(&*read(&credential, &digest).unwrap(), b"PEM");
        std::fs::write(copy(&credential, &digest), b"another").unwrap();
        assert!(matches!(read(&credential, &digest), Err(EnrolledError::Authority { .. })));
        remove_copies(&credential);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert!(read(&credential, &digest).is_err());
    }
}
