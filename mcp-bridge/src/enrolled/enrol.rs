//! Turns a wrapping token into a kept credential: check first, spend last, believe nothing unread.

use std::sync::Arc;
use std::time::Duration;

use mcp_bridge_tpm::credential::VaultBinding;
use mcp_bridge_tpm::{Credential, LockedFile, Sealer};
use secrecy::SecretString;

use super::keep::{Protection, put, same_role};
use super::leftover::{Leftover, accessors, destroy_command, why};
use super::rotate::destroy_one;
use super::{EnrolledError, authority, now};
use crate::config::{Mount, VaultServer};
use crate::secret::{RoleId, SecretId, WrappingToken};
use crate::vault::{
    Client, Login, LoginError, Request, Unwrapped, approle, check, issuing_path, unwrap,
};

/// What to enrol.
#[derive(Debug)]
pub(crate) struct Enrolment {
    /// The server that the credential will be for.
    pub(crate) server: VaultServer,
    /// Where AppRole is mounted.
    pub(crate) mount: Mount,
    /// The role that the wrapping token must be of.
    pub(crate) role: String,
    /// The role's id.
    pub(crate) role_id: SecretString,
    /// The accessor of the secret_id that was issued, if it is known.
    pub(crate) accessor: Option<String>,
    /// Whether the machine may replace its own secret_id.
    pub(crate) self_rotate: bool,
    /// What is to protect it.
    pub(crate) protection: Protection,
    /// The credential that it replaces, if that could be opened.
    pub(crate) former: Option<Credential>,
}

/// What enrolling left.
#[derive(Debug)]
pub(crate) struct Done {
    /// When the secret_id expires, in seconds since 1970; none if never.
    pub(crate) expires_at: Option<u64>,
    /// What lives on of the secret_ids before; none if it isn't known what was there.
    pub(crate) former: Option<Vec<Leftover>>,
}

/// Checks the wrapping token, unwraps, logs in once, and keeps the credential.
///
/// The place must have been tried out before: see [`check_place`](super::check_place). The secret_id
/// that is replaced is destroyed last, if the new credential may do so.
///
/// # Errors
///
/// [`EnrolledError`]. Up to [`EnrolledError::Wrapping`] nothing is spent;
/// [`EnrolledError::Spent`] names the accessor of what was.
pub(crate) async fn enrol(
    enrolment: &Enrolment,
    place: &LockedFile,
    credential_path: &std::path::Path,
    sealer: &dyn Sealer,
    token: &WrappingToken,
) -> Result<Done, EnrolledError> {
    let client = Arc::new(Client::new(enrolment.server.clone()));
    let path = issuing_path(&enrolment.mount, &enrolment.role);
    let accessor = enrolment.accessor.as_deref();
    let tampered = |error| EnrolledError::wrapping(error, &path, accessor);
    check(&client, token, &path).await.map_err(tampered)?;
    let pinned = match &enrolment.server.ca_cert {
        Some(ca) => {
            let pem = std::fs::read(ca)
                .map_err(|_| EnrolledError::Unusable("the CA certificate file can't be read"))?;
            Some(authority::write(credential_path, &pem)?)
        }
        None => None,
    };
    let issued_at = now();
    let unwrapped = unwrap(&client, token, accessor).await.map_err(tampered)?;
    let role = (enrolment.mount.as_str(), enrolment.role.as_str());
    let command = destroy_command(role.0, role.1, &unwrapped.accessor);
    keep(enrolment, place, sealer, &client, (unwrapped, issued_at, pinned))
        .await
        .map_err(|error| EnrolledError::Spent { error: Box::new(error), command })
}

/// Logs in once with what was unwrapped, and keeps it.
async fn keep(
    enrolment: &Enrolment,
    place: &LockedFile,
    sealer: &dyn Sealer,
    client: &Arc<Client>,
    (unwrapped, issued_at, ca_sha256): (Unwrapped, u64, Option<String>),
) -> Result<Done, EnrolledError> {
    check_uses(&unwrapped)?;
    let login = log_in_once(client, enrolment, &unwrapped).await?;
    let expires_at = unwrapped.lifetime.map(|lifetime| issued_at + lifetime.as_secs());
    let addresses = enrolment.server.addresses.iter().map(ToString::to_string);
    let credential = Credential {
        role_id: enrolment.role_id.clone(),
        secret_id: unwrapped.secret_id,
        secret_id_accessor: unwrapped.accessor,
        role_name: enrolment.self_rotate.then(|| enrolment.role.clone()),
        issued_at,
        expires_at,
        num_uses: unwrapped.num_uses,
        vault: VaultBinding {
            address: addresses.collect::<Vec<_>>().join(","),
            namespace: enrolment.server.namespace.clone(),
            auth_mount: enrolment.mount.to_string(),
            ca_sha256,
            tls_server_name: enrolment.server.server_name.clone(),
        },
        previous_accessor: None,
    };
    let kept = put(place, &credential, &enrolment.protection, sealer).await;
    let former = match &enrolment.former {
        Some(former) if kept.is_ok() => {
            Some(destroy_former(&login, enrolment, &credential, former).await)
        }
        Some(_) | None => None,
    };
    end(login).await;
    kept.map(|()| Done { expires_at, former })
}

/// Destroys what was replaced, if it is of the same role; gives what lives on.
async fn destroy_former(
    login: &Login,
    enrolment: &Enrolment,
    new: &Credential,
    former: &Credential,
) -> Vec<Leftover> {
    let mut leftovers = Vec::new();
    for accessor in accessors(former) {
        if !same_role(new, former) {
            let why = format!("it is of another role or server, {}", former.vault.address);
            leftovers.push(Leftover::new(former, None, accessor, why));
            continue;
        }
        let role = &enrolment.role;
        if let Err(error) = destroy_one(login, &enrolment.mount, role, accessor).await {
            leftovers.push(Leftover::new(former, Some(role), accessor, why(&error)));
        }
    }
    leftovers
}

/// Refuses a secret_id that can't be kept, and tells of one that won't last.
///
/// # Errors
///
/// [`EnrolledError::OneUse`].
pub(super) fn check_uses(unwrapped: &Unwrapped) -> Result<(), EnrolledError> {
    match unwrapped.num_uses {
        0 => Ok(()),
        1 => Err(EnrolledError::OneUse { accessor: unwrapped.accessor.clone() }),
        uses => {
            tracing::warn!(
                "the secret_id serves for {} more logins, and each start of a bridge is one: set \
                 the role's secret_id_num_uses to 0",
                uses - 1
            );
            Ok(())
        }
    }
}

/// Proves that Vault takes the credential; a Vault that is away for a moment is asked again, since
/// the wrapping token is spent.
async fn log_in_once(
    client: &Arc<Client>,
    enrolment: &Enrolment,
    unwrapped: &Unwrapped,
) -> Result<Login, EnrolledError> {
    let unusable = |_| EnrolledError::Unusable("role_id or secret_id is no text of one line");
    let role_id = RoleId::new(&enrolment.role_id).map_err(unusable)?;
    let secret_id = SecretId::new(&unwrapped.secret_id).map_err(unusable)?;
    let mut pauses = LOGIN_PAUSES.into_iter();
    loop {
        match (approle(client, &enrolment.mount, &role_id, &secret_id).await, pauses.next()) {
            (Ok(login), _) => return Ok(login),
            (Err(LoginError::Unavailable(why)), Some(pause)) => {
                tracing::warn!("{why}; trying again");
                tokio::time::sleep(pause).await;
            }
            (Err(error), _) => {
                let advice = if error == LoginError::Refused { WRONG_ROLE } else { "" };
                return Err(EnrolledError::Login { error, advice });
            }
        }
    }
}

/// Ends a token that only proved something.
pub(super) async fn end(login: Login) {
    let request = Request::post("auth/token/revoke-self", "{}");
    if login.client.send(&request, Some(&login.token)).await.is_err() {
        tracing::debug!("a token couldn't be revoked; it ends by itself");
    }
}

/// Between the logins that prove the credential.
const LOGIN_PAUSES: [Duration; 3] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(3)];
const WRONG_ROLE: &str = ". Is --role-id this role's, and may it log in from this machine's \
                          network? Run mcp-bridge provision for another wrapping token";
