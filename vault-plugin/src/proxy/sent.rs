//! Remembers across a crash which requests went out, so that none goes out twice.
//!
//! A host that sees its plugin's process end under a call starts another process and hands it the
//! same request (`builtin/plugin/v5/backend.go`, `HandleRequest`): the request id is the same. So
//! each process writes down the ids before it sends, and looks at what dead processes wrote down.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

/// Files are named by this and a random number.
const PREFIX: &str = "mcp-proxy-sent-";
/// Requests remembered, the latest ones: far more than can be under way.
const SLOTS: u64 = 8192;
/// A UUID and a line feed.
const SLOT: u64 = 37;
/// What a dead process wrote down is removed after this long; a host asks at once.
const KEPT: Duration = Duration::from_secs(60 * 60);

/// The requests that this process sent, and those of the processes before it.
#[derive(Debug, Default)]
pub struct SentLog {
    own: Option<File>,
    next: AtomicU64,
    before: HashSet<String>,
}

/// A process that is gone sent this request already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlreadySent;

impl SentLog {
    /// This process's, opened at the first call.
    ///
    /// It lies where the process's socket does, and holds request ids alone. Where it can't be
    /// written, calls are made without it, and the log says so.
    pub fn of_this_process() -> Arc<Self> {
        static LOG: OnceLock<Arc<SentLog>> = OnceLock::new();
        let open = || {
            let directory = ["PLUGIN_UNIX_SOCKET_DIR", "TMPDIR"]
                .into_iter()
                .filter_map(std::env::var_os)
                .find(|value| !value.is_empty())
                .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
            let log = Self::open(&directory).unwrap_or_else(|error| {
                tracing::warn!(
                    %error,
                    "ids of sent requests can't be written to the temporary directory: if this \
                     process is killed in mid-call, the server may have the call made twice"
                );
                Self::default()
            });
            Arc::new(log)
        };
        Arc::clone(LOG.get_or_init(open))
    }

    fn open(directory: &Path) -> io::Result<Self> {
        let number = getrandom::u64().map_err(|error| io::Error::other(error.to_string()))?;
        let path = directory.join(format!("{PREFIX}{number:016x}"));
        let own =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        // Held until the process ends, however it does.
        flock(&own, FlockOperation::NonBlockingLockExclusive)?;
        let owner = own.metadata()?.uid();
        let before = fs::read_dir(directory)?
            .flatten()
            .filter(|entry| named_so(&entry.file_name()))
            .filter_map(|entry| ids_of_the_dead(&entry.path(), owner).ok())
            .flatten()
            .collect();
        Ok(Self { own: Some(own), next: AtomicU64::new(0), before })
    }

    /// Writes a request down, which is about to be sent.
    ///
    /// # Errors
    /// [`AlreadySent`]: it must not be.
    pub fn note(&self, request_id: &str) -> Result<(), AlreadySent> {
        if self.before.contains(request_id) {
            return Err(AlreadySent);
        }
        if let Some(own) = &self.own
            && request_id.len() as u64 + 1 == SLOT
        {
            let slot = self.next.fetch_add(1, Ordering::Relaxed) % SLOTS;
            let line = format!("{request_id}\n");
            if let Err(error) = own.write_all_at(line.as_bytes(), slot * SLOT) {
                tracing::warn!(%error, "the id of a request that is sent couldn't be written down");
            }
        }
        Ok(())
    }
}

fn named_so(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(PREFIX.as_bytes())
}

/// Reads what a process wrote down that is gone; of a living one, nothing.
fn ids_of_the_dead(path: &Path, owner: u32) -> io::Result<Vec<String>> {
    // The directory may be everybody's: neither a link nor a pipe is followed.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    let gone = flock(&file, FlockOperation::NonBlockingLockShared).is_ok();
    if !metadata.is_file() || metadata.uid() != owner || !gone {
        return Ok(Vec::new());
    }
    let mut text = String::new();
    (&file).take(SLOTS * SLOT).read_to_string(&mut text)?;
    if is_old(&metadata) {
        fs::remove_file(path)?;
    }
    Ok(text.lines().map(str::to_owned).collect())
}

fn is_old(metadata: &Metadata) -> bool {
    metadata.modified().ok().and_then(|time| time.elapsed().ok()).is_some_and(|age| age > KEPT)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::time::SystemTime;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    use super::*;

    fn id(number: u64) -> String {
        format!("00000000-0000-4000-8000-{number:012}")
    }

    #[test]
    fn what_a_dead_process_sent_is_not_sent_again() {
        let directory = tempfile::tempdir().unwrap();
        let first = SentLog::open(directory.path()).unwrap();
        assert_eq!(first.note(&id(1)), Ok(()));
        drop(first);
        let second = SentLog::open(directory.path()).unwrap();
        assert_eq!(second.note(&id(1)), Err(AlreadySent));
        assert_eq!(second.note(&id(2)), Ok(()));
        drop(second);
        let third = SentLog::open(directory.path()).unwrap();
        assert_eq!(third.note(&id(1)), Err(AlreadySent));
        assert_eq!(third.note(&id(2)), Err(AlreadySent));
    }

    #[test]
    fn a_living_process_is_let_alone() {
        let directory = tempfile::tempdir().unwrap();
        let living = SentLog::open(directory.path()).unwrap();
        living.note(&id(1)).unwrap();
        let other = SentLog::open(directory.path()).unwrap();
        assert_eq!(other.note(&id(1)), Ok(()));
    }

    #[test]
    fn the_latest_ones_are_kept_in_bounded_room() {
        let directory = tempfile::tempdir().unwrap();
        let first = SentLog::open(directory.path()).unwrap();
        for number in 0..=SLOTS {
            first.note(&id(number)).unwrap();
        }
        let size = first.own.as_ref().unwrap().metadata().unwrap().len();
        assert_eq!(size, SLOTS * SLOT);
        drop(first);
        let second = SentLog::open(directory.path()).unwrap();
        assert_eq!(second.note(&id(0)), Ok(()));
        assert_eq!(second.note(&id(1)), Err(AlreadySent));
        assert_eq!(second.note(&id(SLOTS)), Err(AlreadySent));
    }

    #[test]
    fn links_pipes_and_garbage_are_passed_over_and_old_files_go() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(format!("{PREFIX}{name}"));
        fs::write(directory.path().join("other"), format!("{}\n", id(1))).unwrap();
        symlink(directory.path().join("other"), at("link")).unwrap();
        mknodat(CWD, at("pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        fs::write(at("garbage"), b"\xff\xfe").unwrap();
        fs::write(at("old"), format!("{}\n", id(2))).unwrap();
        let past = SystemTime::now() - 2 * KEPT;
        File::options().write(true).open(at("old")).unwrap().set_modified(past).unwrap();
        let log = SentLog::open(directory.path()).unwrap();
        assert_eq!(log.note(&id(1)), Ok(()));
        assert!(!at("old").exists());
        assert!(at("link").exists() && at("garbage").exists());
    }

    #[test]
    fn where_nothing_can_be_written_that_is_an_error() {
        let directory = tempfile::tempdir().unwrap();
        assert!(SentLog::open(&directory.path().join("absent")).is_err());
    }

    #[test]
    fn without_a_file_calls_are_made() {
        let log = SentLog::default();
        assert_eq!(log.note(&id(1)), Ok(()));
        assert_eq!(log.note(&id(1)), Ok(()));
    }
}
