//! Follows the way to a socket, link by link, and refuses it where somebody else could change it.

use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

use super::{Exposure, SocketError};

/// As many links as Linux follows (`path_resolution(7)`).
const MAX_LINKS: usize = 40;

/// Follows a path as the kernel does, and gives the one without links that it leads to: what is
/// done there is done where it was checked.
///
/// Nobody but root and `owner` may be able to change a folder or a link on the way, also of those
/// that a link leads through. A sticky folder such as `/tmp` doesn't do: whoever comes first there
/// makes the socket. The socket itself isn't looked at.
///
/// # Errors
///
/// [`SocketError::Exposed`], [`SocketError::System`], or [`SocketError::Other`] for a path that
/// ends in no name.
pub(super) fn follow(path: &Path, owner: u32) -> Result<PathBuf, SocketError> {
    let whole = std::path::absolute(path).map_err(SocketError::system(path))?;
    let (Some(folder), Some(name)) = (whole.parent(), whole.file_name()) else {
        return Err(SocketError::Other(path.to_owned()));
    };
    let mut reached = PathBuf::new();
    let mut ahead = steps(folder);
    let mut links = 0;
    while let Some(step) = ahead.pop() {
        if step == ".." {
            reached.pop();
            continue;
        }
        let next = reached.join(&step);
        let data = next.symlink_metadata().map_err(SocketError::system(&next))?;
        let exposed = |problem| {
            let (path, folder) = (path.to_owned(), next.clone());
            Err(SocketError::Exposed { path, folder, problem })
        };
        if data.uid() != 0 && data.uid() != owner {
            return exposed(Exposure::Owner(data.uid()));
        }
        if data.is_symlink() {
            links += 1;
            if links > MAX_LINKS {
                return Err(SocketError::system(&next)(Errno::LOOP.into()));
            }
            let target = next.read_link().map_err(SocketError::system(&next))?;
            // One that begins at the root replaces what was reached.
            ahead.extend(steps(&target));
        } else if data.mode() & 0o022 != 0 {
            return exposed(Exposure::Mode(data.mode() & 0o777));
        } else {
            reached = next;
        }
    }
    Ok(reached.join(name))
}

/// The steps of a path, the first one last.
fn steps(path: &Path) -> Vec<OsString> {
    path.components().rev().map(|step| step.as_os_str().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_is_followed_as_the_kernel_does() {
        // Folders that are root's on every system.
        for path in ["/usr/bin/../lib/s", "/usr//./lib/s", "/usr/lib/s"] {
            assert_eq!(follow(Path::new(path), 0).unwrap(), Path::new("/usr/lib/s"));
        }
        if cfg!(target_os = "linux") {
            let linked = follow(Path::new("/proc/self/s"), super::super::users::own()).unwrap();
            assert_eq!(linked, Path::new("/proc").join(std::process::id().to_string()).join("s"));
        }
        let sticky = follow(Path::new("/tmp/s"), 0);
        assert!(
            matches!(sticky, Err(SocketError::Exposed { problem: Exposure::Mode(_), .. })),
            "{sticky:?}"
        );
        for path in ["/", "/usr/.."] {
            assert!(matches!(follow(Path::new(path), 0), Err(SocketError::Other(_))), "{path}");
        }
    }
}
