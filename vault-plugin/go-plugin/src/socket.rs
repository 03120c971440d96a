//! The unix socket that the plugin listens on, for its owner alone.
//!
//! Protocol: go-plugin `server.go` (`serverListener_unix`, `setGroupWritable`).

use std::{
    fs, io,
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
};

use rustix::{fs::Mode, process::umask};
use tempfile::TempPath;
use tokio::net::UnixListener;

use crate::{Environment, ServeError};

/// A listening socket; dropping the path removes it from the file system.
pub(crate) struct Socket {
    pub(crate) listener: UnixListener,
    pub(crate) path: TempPath,
}

impl Socket {
    pub(crate) fn bind(env: &impl Environment) -> Result<Self, ServeError> {
        let var = |name| env.var(name).filter(|value| !value.is_empty());
        let directory = var("PLUGIN_UNIX_SOCKET_DIR")
            .or_else(|| var("TMPDIR"))
            .map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
        let group = match var("PLUGIN_UNIX_SOCKET_GROUP") {
            Some(group) => Some(group_id(&group).ok_or_else(|| ServeError::SocketGroup { group })?),
            None => None,
        };
        let fail = |source| ServeError::Socket { directory: directory.clone(), source };

        let (listener, path) = bind_private(&directory).map_err(fail)?.into_parts();
        if let Some(group) = group {
            share(&path, group).map_err(fail)?;
        }
        Ok(Self { listener, path })
    }
}

/// Binds a socket of a new name. It is never, not for a moment, open to others: the mode comes
/// from the umask.
fn bind_private(directory: &Path) -> io::Result<tempfile::NamedTempFile<UnixListener>> {
    let before = umask(Mode::RWXG | Mode::RWXO | Mode::XUSR);
    let bound = tempfile::Builder::new()
        .prefix("plugin")
        .make_in(directory, |path| UnixListener::bind(path));
    umask(before);
    bound
}

/// Lets a group connect as well.
fn share(path: &Path, group: u32) -> io::Result<()> {
    chown(path, None, Some(group))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o660))
}

/// Finds the id of a group that was given as a number or a name.
fn group_id(group: &str) -> Option<u32> {
    group.parse().ok().or_else(|| {
        // Hosts set a group only for containers, whose groups stand in this file.
        fs::read_to_string("/etc/group").ok()?.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next() == Some(group)).then(|| fields.nth(1)?.parse().ok())?
        })
    })
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, os::unix::fs::MetadataExt};

    use super::*;

    fn environment(dir: &Path, group: &str) -> BTreeMap<String, String> {
        [("PLUGIN_UNIX_SOCKET_DIR", dir.to_str().unwrap()), ("PLUGIN_UNIX_SOCKET_GROUP", group)]
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .into()
    }

    #[tokio::test]
    async fn socket_is_the_owners_and_goes_with_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let socket = Socket::bind(&environment(dir.path(), "")).unwrap();
        let path = socket.path.to_path_buf();
        assert_eq!(path.parent(), Some(dir.path()));
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn socket_is_shared_with_the_group_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        // The one group that every user may give a file to.
        let own = fs::metadata(dir.path()).unwrap().gid();
        let socket = Socket::bind(&environment(dir.path(), &own.to_string())).unwrap();
        let metadata = fs::metadata(&socket.path).unwrap();
        assert_eq!((metadata.mode() & 0o777, metadata.gid()), (0o660, own));
    }

    #[tokio::test]
    async fn unknown_group_and_directory_are_errors() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(
            Socket::bind(&environment(dir.path(), "no such group")),
            Err(ServeError::SocketGroup { .. })
        ));
        assert!(matches!(
            Socket::bind(&environment(&dir.path().join("absent"), "")),
            Err(ServeError::Socket { .. })
        ));
    }

    #[test]
    fn groups_are_found_by_name() {
        assert_eq!(group_id("root"), Some(0));
        assert_eq!(group_id("17"), Some(17));
        assert_eq!(group_id(""), None);
    }
}
