//! Reads, locks and replaces the file that keeps the credential: nothing else touches it.

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::fs::{FlockOperation, OFlags, flock};
use tokio::time::Instant;
use zeroize::Zeroizing;

use crate::sealed::{MAX_FILE_BYTES, SealedCredential};

/// How often a taken lock is tried again.
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// What the name of a file ends in that is to take the credential's place.
const NEW: &str = ".new";

/// A failure of the file that keeps the credential, or of what is in it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// There is none.
    #[error("{path} doesn't exist: no credential is kept here. Run mcp-bridge enroll")]
    Missing {
        /// The file.
        path: String,
    },
    /// It is a link, or no file at all.
    #[error("{path} must be a plain file with one name: no link, device or folder")]
    NotPlain {
        /// The file.
        path: String,
    },
    /// It belongs to somebody else.
    #[error("{path} belongs to uid {owner}, and this is uid {user}: run as its owner")]
    ForeignOwner {
        /// The file or its folder.
        path: String,
        /// Its owner.
        owner: u32,
        /// The user who tried.
        user: u32,
    },
    /// Others may read or replace it.
    #[error("{path} is open to others (mode {mode:04o}): chmod go= {path}")]
    OpenToOthers {
        /// The file or its folder.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// It is larger than any that this program writes.
    #[error("the credential's file has more than {MAX_FILE_BYTES} bytes: it isn't ours")]
    TooLarge,
    /// It was written by a later version of this program.
    #[error("the credential's file has version {version}, this program reads 1: update it")]
    UnknownVersion {
        /// The file's version.
        version: u32,
    },
    /// A byte of it isn't the one that was written.
    #[error(
        "the credential's file is damaged or was edited. The credential can be issued again: have \
         a new wrapping token made and run mcp-bridge enroll"
    )]
    Corrupt,
    /// The cipher or the system's randomness failed.
    #[error("the credential can't be encrypted on this system")]
    Cipher,
    /// Another program holds the lock.
    #[error("{path} is locked by another mcp-bridge for too long: is one stopped or hanging?")]
    Locked {
        /// The lock's file.
        path: String,
    },
    /// The system refused.
    #[error("{path} can't be {action}")]
    Io {
        /// The file or its folder.
        path: String,
        /// What was tried, as a participle.
        action: &'static str,
        /// The system's reason.
        source: io::Error,
    },
}

impl FileError {
    /// Gives the exit code of a command that ends with this: 16, a file that can't be used, or 2
    /// where there is none.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Missing { .. } => 2,
            Self::NotPlain { .. }
            | Self::ForeignOwner { .. }
            | Self::OpenToOthers { .. }
            | Self::TooLarge
            | Self::UnknownVersion { .. }
            | Self::Corrupt
            | Self::Cipher
            | Self::Locked { .. }
            | Self::Io { .. } => 16,
        }
    }
}

/// The place of a kept credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CredentialFile {
    path: PathBuf,
}

impl CredentialFile {
    /// Names the file; nothing is opened.
    #[must_use]
    pub const fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// Gives the file's path.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Tells whether anything of a credential is there: the file, or a new one that was never put in
    /// its place.
    #[must_use]
    pub fn is_there(&self) -> bool {
        self.path.symlink_metadata().is_ok() || self.beside(NEW).symlink_metadata().is_ok()
    }

    /// Reads the container. A reader needs no lock: the file is replaced whole.
    ///
    /// # Errors
    ///
    /// [`FileError::Missing`]; [`FileError::NotPlain`], [`FileError::ForeignOwner`] or
    /// [`FileError::OpenToOthers`] if others could have put it there or read it; else what is wrong
    /// with its content.
    pub fn read(&self) -> Result<SealedCredential, FileError> {
        let mut file = OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits().cast_signed())
            .open(&self.path)
            .map_err(|error| self.not_opened(error))?;
        let data = file.metadata().map_err(|error| failed(&self.path, "read", error))?;
        if !data.is_file() || data.nlink() != 1 {
            return Err(FileError::NotPlain { path: shown(&self.path) });
        }
        check_owner(&self.path, &data)?;
        check_mode(&self.path, &data, 0o077)?;
        check_folder(folder_of(&self.path))?;

        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_FILE_BYTES + 1));
        (&mut file)
            .take(MAX_FILE_BYTES as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| failed(&self.path, "read", error))?;
        SealedCredential::from_bytes(&bytes)
    }

    /// Takes the lock that whoever replaces the file must hold, and waits for it up to `limit`.
    ///
    /// The folder is made, mode 0700, if it isn't there.
    ///
    /// # Errors
    ///
    /// [`FileError::Locked`] when the time is up; else why the lock's file can't be used.
    pub async fn lock(&self, limit: Duration) -> Result<LockedFile, FileError> {
        let folder = folder_of(&self.path);
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(folder)
            .map_err(|error| failed(folder, "made", error))?;
        check_folder(folder)?;

        let path = self.beside(".lock");
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(OFlags::NOFOLLOW.bits().cast_signed())
            .open(&path)
            .map_err(|error| failed(&path, "locked", error))?;
        let end = Instant::now() + limit;
        loop {
            match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(LockedFile { file: self.clone(), _lock: lock }),
                Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() < end => {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                Err(rustix::io::Errno::WOULDBLOCK) => {
                    return Err(FileError::Locked { path: shown(&path) });
                }
                Err(errno) => return Err(failed(&path, "locked", errno.into())),
            }
        }
    }

    fn not_opened(&self, error: io::Error) -> FileError {
        // open(2): ELOOP for a symbolic link with O_NOFOLLOW.
        if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
            return FileError::NotPlain { path: shown(&self.path) };
        }
        if error.kind() == ErrorKind::NotFound {
            return FileError::Missing { path: shown(&self.path) };
        }
        failed(&self.path, "read", error)
    }

    fn beside(&self, ending: &str) -> PathBuf {
        let mut name = self.path.file_name().map_or_else(OsString::new, OsString::from);
        name.push(ending);
        self.path.with_file_name(name)
    }
}

/// The right to replace the file, until it is dropped.
#[derive(Debug)]
pub struct LockedFile {
    file: CredentialFile,
    _lock: File,
}

impl LockedFile {
    /// Reads the container, which another program may have replaced before the lock was given.
    ///
    /// # Errors
    ///
    /// As [`CredentialFile::read`].
    pub fn read(&self) -> Result<SealedCredential, FileError> {
        self.file.read()
    }

    /// Replaces the file whole, or not at all: after a crash the old or the new one is there.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`].
    pub fn write(&self, credential: &SealedCredential) -> Result<(), FileError> {
        let new = self.file.beside(NEW);
        let write = || -> io::Result<()> {
            // Left by a program that was killed in the middle; the lock says that it is gone.
            remove_if_there(&new)?;
            let mut file =
                OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
            file.write_all(&credential.to_bytes())?;
            file.sync_all()?;
            fs::rename(&new, &self.file.path)
        };
        if let Err(error) = write() {
            let _ = remove_if_there(&new);
            return Err(failed(&self.file.path, "written", error));
        }
        self.sync_folder()
    }

    /// Deletes the file, and what a program that was killed left beside it, as far as they are there.
    ///
    /// # Errors
    ///
    /// [`FileError::Io`].
    pub fn remove(&self) -> Result<(), FileError> {
        for path in [&self.file.path, &self.file.beside(NEW)] {
            remove_if_there(path).map_err(|error| failed(path, "deleted", error))?;
        }
        self.sync_folder()
    }

    /// The name's change is on the disk only when the folder is.
    fn sync_folder(&self) -> Result<(), FileError> {
        let folder = folder_of(&self.file.path);
        File::open(folder)
            .and_then(|folder| folder.sync_all())
            .map_err(|error| failed(folder, "written", error))
    }
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Refuses a folder in which others could replace the file. Root's may be: root can do all.
fn check_folder(folder: &Path) -> Result<(), FileError> {
    let data = fs::metadata(folder).map_err(|error| failed(folder, "read", error))?;
    if data.uid() != 0 {
        check_owner(folder, &data)?;
    }
    check_mode(folder, &data, 0o022)
}

fn check_owner(path: &Path, data: &fs::Metadata) -> Result<(), FileError> {
    let (owner, user) = (data.uid(), rustix::process::geteuid().as_raw());
    if owner == user {
        return Ok(());
    }
    Err(FileError::ForeignOwner { path: shown(path), owner, user })
}

fn check_mode(path: &Path, data: &fs::Metadata, forbidden: u32) -> Result<(), FileError> {
    let mode = data.mode() & 0o7777;
    if mode & forbidden == 0 {
        return Ok(());
    }
    Err(FileError::OpenToOthers { path: shown(path), mode })
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn failed(path: &Path, action: &'static str, source: io::Error) -> FileError {
    FileError::Io { path: shown(path), action, source }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests;
