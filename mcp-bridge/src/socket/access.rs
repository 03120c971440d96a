//! Has the kernel keep everybody but the allowed users from a socket.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Lets certain users connect, and nobody else but root and the owner.
///
/// Where the file system has no access control lists, everybody may connect, and the uid that the
/// kernel gives for the other end decides alone: the agents' users share no group with this one, so
/// a mode couldn't tell them from others.
///
/// # Errors
///
/// The system's, if neither can be set.
pub(super) fn restrict(path: &Path, users: impl Iterator<Item = u32>) -> io::Result<()> {
    match set_list(path, users) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            tracing::info!(
                "the socket's file system has no access control lists: every user can connect, \
                 and is refused only then"
            );
            std::fs::set_permissions(path, Permissions::from_mode(0o666))
        }
        outcome => outcome,
    }
}

#[cfg(target_os = "linux")]
fn set_list(path: &Path, users: impl Iterator<Item = u32>) -> io::Result<()> {
    use rustix::fs::{XattrFlags, lsetxattr};
    let list = encode(users);
    // Follows no link. A socket is connected to by whoever may write to its file (unix(7)).
    Ok(lsetxattr(path, "system.posix_acl_access", &list, XattrFlags::empty())?)
}

#[cfg(not(target_os = "linux"))]
fn set_list(_path: &Path, _users: impl Iterator<Item = u32>) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// An access control list as the kernel takes it (`linux/posix_acl_xattr.h`): a version, then tag,
/// permissions and id of each entry, all little-endian, in the order of `acl(5)`.
#[cfg(target_os = "linux")]
fn encode(users: impl Iterator<Item = u32>) -> Vec<u8> {
    const VERSION: u32 = 2;
    const NO_ID: u32 = u32::MAX;
    const NONE: u16 = 0;
    const READ_WRITE: u16 = 6;
    let (owner, user, group, mask, other) = (0x01, 0x02, 0x04, 0x10, 0x20);
    let mut users = users.collect::<Vec<_>>();
    users.sort_unstable();
    users.dedup();
    let entries = std::iter::once((owner, READ_WRITE, NO_ID))
        .chain(users.into_iter().map(|uid| (user, READ_WRITE, uid)))
        .chain([(group, NONE, NO_ID), (mask, READ_WRITE, NO_ID), (other, NONE, NO_ID)]);
    let mut list = VERSION.to_le_bytes().to_vec();
    for (tag, permissions, id) in entries {
        let (tag, permissions): (u16, u16) = (tag, permissions);
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(id.to_le_bytes());
    }
    list
}
