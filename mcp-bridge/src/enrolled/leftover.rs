//! Names a secret_id that lives on in Vault, why, and the command that ends it.

use std::fmt;

use mcp_bridge_tpm::Credential;

use super::EnrolledError;

/// A secret_id that logs in still, though nothing of ours is to use it any more.
#[derive(Debug)]
pub(crate) struct Leftover {
    /// Its name, by which it can be destroyed.
    accessor: String,
    /// Why it wasn't destroyed.
    why: String,
    /// The command with which an operator ends it.
    command: String,
}

impl Leftover {
    /// A secret_id of a credential's role. `role` is for where the credential doesn't know its name.
    pub(super) fn new(
        credential: &Credential,
        role: Option<&str>,
        accessor: &str,
        why: String,
    ) -> Self {
        let role = credential.role_name.as_deref().or(role).unwrap_or("ROLE");
        let command = destroy_command(&credential.vault.auth_mount, role, accessor);
        Self { accessor: accessor.to_owned(), why, command }
    }
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { accessor, why, command } = self;
        write!(
            f,
            "the secret_id with accessor {accessor} lives on in Vault ({why}); an operator ends \
             it: {command}"
        )
    }
}

/// The command that destroys a secret_id by its accessor.
pub(crate) fn destroy_command(mount: &str, role: &str, accessor: &str) -> String {
    format!(
        "vault write auth/{mount}/role/{role}/secret-id-accessor/destroy \
         secret_id_accessor={accessor}"
    )
}

/// Every secret_id that a credential knows of, the oldest first.
pub(super) fn accessors(credential: &Credential) -> impl Iterator<Item = &str> {
    let previous = credential.previous_accessor.as_deref();
    previous.into_iter().chain([credential.secret_id_accessor.as_str()])
}

/// Why a secret_id wasn't destroyed: what became of the kept credential is for others to say.
pub(super) fn why(error: &EnrolledError) -> String {
    if let EnrolledError::NotSelfRotating | EnrolledError::Refused { status: 403, .. } = error {
        "this machine may not destroy it".to_owned()
    } else if let EnrolledError::Refused { status, .. } = error {
        format!("Vault refuses to destroy it, HTTP {status}")
    } else if let EnrolledError::Lost(lost) = error {
        lost.to_string()
    } else {
        error.to_string()
    }
}
