//! Tests of the file: who may have put it there, and that it is replaced whole.

use std::fs::Permissions;
use std::os::unix::fs::{PermissionsExt as _, symlink};

use super::*;
use crate::object::Blob;
use crate::sealed::{Header, Store};

const LIMIT: Duration = Duration::from_secs(20);

fn container(host: &str) -> SealedCredential {
    let header = Header { store: Store::PlainFile, created: 1, host: host.into(), tpm2: None };
    SealedCredential::in_clear(header, Zeroizing::new("{}".into())).unwrap()
}

fn place() -> (tempfile::TempDir, CredentialFile) {
    let folder = tempfile::tempdir().unwrap();
    let file = CredentialFile::new(folder.path().join("credential.sealed"));
    (folder, file)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().mode() & 0o7777
}

#[tokio::test]
async fn what_is_written_is_read_and_nobody_else_may() {
    let folder = tempfile::tempdir().unwrap();
    let file = CredentialFile::new(folder.path().join("a/b/credential.sealed"));
    assert!(matches!(file.read(), Err(FileError::Missing { .. })));
    let lock = file.lock(LIMIT).await.unwrap();
    lock.write(&container("one")).unwrap();
    lock.write(&container("two")).unwrap();
    assert_eq!(lock.read().unwrap().header().host, "two");
    assert_eq!(mode(file.path()), 0o600);
    assert_eq!(mode(&folder.path().join("a/b")), 0o700);
    assert!(!file.beside(".new").exists());
    lock.remove().unwrap();
    lock.remove().unwrap();
    assert!(matches!(file.read(), Err(FileError::Missing { .. })));
}

#[tokio::test]
async fn a_half_written_file_of_a_killed_program_is_no_obstacle() {
    let (_folder, file) = place();
    let lock = file.lock(LIMIT).await.unwrap();
    lock.write(&container("old")).unwrap();
    fs::write(file.beside(".new"), "half").unwrap();
    assert_eq!(file.read().unwrap().header().host, "old");
    lock.write(&container("new")).unwrap();
    assert_eq!(file.read().unwrap().header().host, "new");
}

#[tokio::test]
async fn a_failed_write_keeps_the_old_file() {
    let (_folder, file) = place();
    let lock = file.lock(LIMIT).await.unwrap();
    lock.write(&container("old")).unwrap();
    // A folder in the new file's place can't be removed as a file.
    fs::create_dir(file.beside(".new")).unwrap();
    assert!(matches!(lock.write(&container("new")), Err(FileError::Io { .. })));
    assert_eq!(file.read().unwrap().header().host, "old");
}

#[tokio::test]
async fn links_and_what_others_may_touch_are_refused() {
    let (folder, file) = place();
    file.lock(LIMIT).await.unwrap().write(&container("one")).unwrap();
    let other = folder.path().join("other");

    fs::set_permissions(file.path(), Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(file.read(), Err(FileError::OpenToOthers { mode: 0o640, .. })));
    fs::set_permissions(file.path(), Permissions::from_mode(0o600)).unwrap();

    fs::set_permissions(folder.path(), Permissions::from_mode(0o770)).unwrap();
    assert!(matches!(file.read(), Err(FileError::OpenToOthers { mode: 0o770, .. })));
    fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).unwrap();

    fs::hard_link(file.path(), &other).unwrap();
    assert!(matches!(file.read(), Err(FileError::NotPlain { .. })));
    fs::remove_file(file.path()).unwrap();
    symlink(&other, file.path()).unwrap();
    assert!(matches!(file.read(), Err(FileError::NotPlain { .. })));
    fs::remove_file(file.path()).unwrap();
    fs::create_dir(file.path()).unwrap();
    assert!(matches!(file.read(), Err(FileError::NotPlain { .. })));
}

#[tokio::test]
async fn another_users_file_is_refused() {
    let (_folder, file) = place();
    file.lock(LIMIT).await.unwrap().write(&container("one")).unwrap();
    let user = rustix::process::geteuid().as_raw();
    if user == 0 {
        std::os::unix::fs::chown(file.path(), Some(65534), None).unwrap();
        let error = file.read().unwrap_err();
        assert!(matches!(error, FileError::ForeignOwner { owner: 65534, .. }), "{error:?}");
        assert_eq!(error.exit_code(), 16);
    } else {
        // Who isn't root can't give files away, but finds root's.
        let data = fs::metadata("/etc/passwd").unwrap();
        let refused = check_owner(Path::new("/etc/passwd"), &data);
        assert!(matches!(refused, Err(FileError::ForeignOwner { owner: 0, .. })));
    }
}

#[tokio::test]
async fn an_oversized_file_is_refused_unread() {
    let (_folder, file) = place();
    let lock = file.lock(LIMIT).await.unwrap();
    lock.write(&container("one")).unwrap();
    let mut bytes = fs::read(file.path()).unwrap();
    bytes.resize(MAX_FILE_BYTES + 1, b' ');
    fs::write(file.path(), &bytes).unwrap();
    assert!(matches!(file.read(), Err(FileError::TooLarge)));
    bytes.truncate(MAX_FILE_BYTES);
    fs::write(file.path(), &bytes).unwrap();
    file.read().unwrap();
}

#[tokio::test]
async fn a_second_writer_waits_for_the_first() {
    let (_folder, file) = place();
    let first = file.lock(LIMIT).await.unwrap();
    let hasty = file.lock(Duration::ZERO).await;
    assert!(matches!(hasty, Err(FileError::Locked { .. })));
    let patient = {
        let file = file.clone();
        tokio::spawn(async move { file.lock(LIMIT).await.map(drop) })
    };
    first.write(&container("one")).unwrap();
    drop(first);
    patient.await.unwrap().unwrap();
}

#[test]
fn an_error_of_the_system_is_told_without_its_source() {
    let source = io::Error::other("canary");
    let error = failed(Path::new("/x"), "read", source);
    assert_eq!(error.to_string(), "/x can't be read");
    // The other half of the file's content is checked where it is read.
    assert_eq!(String::from(Blob(vec![0xff])), "_w");
}
