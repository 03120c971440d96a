//! Knows the users that a holder serves.

use nix::unistd::{Uid, User, geteuid};

use super::SocketError;

/// The users whose processes may use a holder's socket.
#[derive(Clone, Debug)]
pub(crate) struct AllowedUsers(Vec<u32>);

impl AllowedUsers {
    /// Looks names up; a number counts as a uid, as with `chown` where no user is named so.
    ///
    /// # Errors
    ///
    /// [`SocketError::NoUser`] for the first that is neither.
    pub(crate) fn parse(users: &[String]) -> Result<Self, SocketError> {
        let uid = |text: &String| {
            let named = User::from_name(text).ok().flatten().map(|user| user.uid.as_raw());
            named.or_else(|| text.parse().ok()).ok_or_else(|| SocketError::NoUser(text.to_owned()))
        };
        users.iter().map(uid).collect::<Result<_, _>>().map(Self)
    }

    /// Their uids.
    pub(super) fn uids(&self) -> impl Iterator<Item = u32> {
        self.0.iter().copied()
    }

    /// What is said of users from whom the holder's own files aren't separate.
    pub(crate) fn unseparated(&self) -> Vec<String> {
        let own = geteuid().as_raw();
        let text = |uid: &u32| match *uid {
            0 => Some("no separation: --allow-user root, who may read every file".to_owned()),
            uid if uid == own => Some(format!(
                "no separation: --allow-user {uid} is the user that this holder runs as, who can \
                 read the credential"
            )),
            _ => None,
        };
        self.0.iter().filter_map(text).collect()
    }
}

/// The name of the user that this process runs as.
pub(super) fn own_name() -> Option<String> {
    User::from_uid(Uid::effective()).ok().flatten().map(|user| user.name)
}

/// The uid that this process runs as.
pub(super) fn own() -> u32 {
    geteuid().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_given_by_name_or_number() {
        let parse = |users: &[&str]| {
            AllowedUsers::parse(&users.iter().map(|user| (*user).to_owned()).collect::<Vec<_>>())
        };
        let users = parse(&["root", "4242"]).unwrap();
        assert_eq!(users.uids().collect::<Vec<_>>(), [0, 4242]);
        assert!(users.unseparated()[0].contains("root"));
        assert!(matches!(parse(&["no such user"]), Err(SocketError::NoUser(_))));
        let own = parse(&[&own().to_string()]).unwrap();
        assert_eq!(own.unseparated().len(), 1);
        assert!(parse(&["4242"]).unwrap().unseparated().is_empty());
    }
}
