//! Writes files that only this user may read, whole or not at all.

use std::fs::{DirBuilder, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

/// Makes a directory and those above it, for this user alone where the system has such modes.
///
/// # Errors
///
/// The operating system's.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// Opens a file for this user alone, to write at its end.
///
/// # Errors
///
/// The operating system's.
pub(crate) fn append(path: &Path) -> io::Result<File> {
    open(OpenOptions::new().append(true).create(true), path)
}

/// Replaces a file: whoever reads it sees the old content or the new, never a part. A file that was
/// there keeps its permissions; a new one is for this user alone.
///
/// # Errors
///
/// The operating system's; the file is as it was then.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let before = std::fs::metadata(path).ok();
    // Several processes may write at once: each has a file of its own until the rename.
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let _ = std::fs::remove_file(&temporary);
    let mut file = open(OpenOptions::new().write(true).create_new(true), &temporary)?;
    let written = file
        .write_all(content)
        .and_then(|()| file.sync_all())
        .and_then(|()| match &before {
            Some(before) => std::fs::set_permissions(&temporary, before.permissions()),
            None => Ok(()),
        })
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

/// Whether other users may read or write a file, as far as the system's modes tell.
pub(crate) fn is_shared(data: &Metadata) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        data.permissions().mode() & 0o077 != 0
    }
    #[cfg(not(unix))]
    {
        let _ = data;
        false
    }
}

fn open(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(options, 0o600);
    options.open(path)
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_new_file_is_private_and_an_old_one_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        make_dir(&inner).unwrap();
        let file = inner.join("file");
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        replace(&file, b"one").unwrap();
        assert_eq!((mode(&inner), mode(&file)), (0o700, 0o600));
        assert!(!is_shared(&std::fs::metadata(&file).unwrap()));
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
        replace(&file, b"two").unwrap();
        assert_eq!(mode(&file), 0o644);
        assert!(is_shared(&std::fs::metadata(&file).unwrap()));
        assert_eq!(std::fs::read(&file).unwrap(), b"two");
        assert_eq!(std::fs::read_dir(&inner).unwrap().count(), 1, "nothing is left over");
    }
}
