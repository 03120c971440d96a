//! Replaces the secret_id by a new one, so that a crash at any step leaves one that works.

use std::sync::Arc;

use mcp_bridge_tpm::{Credential, CredentialError, CredentialFile, Sealer};

use super::enrol::{check_uses, end};
use super::keep::{LOCK, Protection, put};
use super::{EnrolledError, kept, now, opened, unseal_at};
use crate::config::{Enrolled, Mount};
use crate::secret::SecretId;
use crate::vault::{
    Client, Kept, Login, LoginError, Request, WRAPPED_FOR, approle, check, issuing_path, unwrap,
    wrapped,
};

/// What became of a rotation.
#[derive(Debug)]
pub(crate) struct Rotated {
    /// Whether this process made it: else another one was there first.
    pub(crate) is_new: bool,
    /// What the credential says of itself now.
    pub(crate) kept: Kept,
}

/// Issues, checks and keeps a new secret_id, if the kept one was issued before `older_than`, in
/// seconds since 1970.
///
/// Before the file is renamed the old secret_id works, and a new one is an orphan that expires;
/// after it the new one works, and the old one is destroyed later, when no process may still be
/// about to use it.
///
/// # Errors
///
/// [`EnrolledError`]; the kept credential is as it was then.
pub(crate) async fn rotate(
    place: &Enrolled,
    sealer: &dyn Sealer,
    older_than: u64,
) -> Result<Rotated, EnrolledError> {
    let file = CredentialFile::new(place.file.clone());
    let locked = file.lock(LOCK).await.map_err(CredentialError::from)?;
    let sealed = locked.read().map_err(CredentialError::from)?;
    let old = unseal_at(place, &sealed, sealer).await?;
    if old.issued_at > older_than {
        return Ok(Rotated { is_new: false, kept: kept(&old) });
    }
    let role = old.role_name.clone().ok_or(EnrolledError::NotSelfRotating)?;
    let opened = opened(place, &old)?;
    let client = Arc::new(Client::new(opened.server));
    let login = approle(&client, &opened.mount, &opened.role_id, &opened.secret_id)
        .await
        .map_err(|error| EnrolledError::Login { error, advice: "" })?;
    let outcome = async {
        if let Some(previous) = &old.previous_accessor {
            // The process that should have destroyed it didn't live to do so.
            destroy_one(&login, &opened.mount, &role, previous).await?;
        }
        let new = issue(&login, &opened.mount, &role, &old).await?;
        let secret_id = SecretId::new(&new.secret_id)
            .map_err(|_| EnrolledError::Unusable("the new secret_id is no text of one line"))?;
        let proof = approle(&client, &opened.mount, &opened.role_id, &secret_id)
            .await
            .map_err(|error| EnrolledError::Login { error, advice: "" })?;
        end(proof).await;
        put(&locked, &new, &Protection::of(sealed.header(), place)?, sealer).await?;
        Ok(Rotated { is_new: true, kept: kept(&new) })
    };
    let outcome = outcome.await;
    end(login).await;
    outcome
}

/// Gets a new secret_id, wrapped, so that it stands in no answer that somebody might log.
async fn issue(
    login: &Login,
    mount: &Mount,
    role: &str,
    old: &Credential,
) -> Result<Credential, EnrolledError> {
    let path = issuing_path(mount, role);
    let request = Request::post(path.as_str(), "{}").wrapped(WRAPPED_FOR);
    let reply =
        login.client.send(&request, Some(&login.token)).await.map_err(EnrolledError::Lost)?;
    let refused = EnrolledError::Refused { what: "issue a new secret_id", status: reply.status };
    let issued = wrapped(&reply).filter(|_| reply.status == 200).ok_or(refused)?;
    let accessor = issued.accessor.as_deref();
    let tampered = |error| EnrolledError::wrapping(error, &path, accessor);
    check(&login.client, &issued.token, &path).await.map_err(tampered)?;
    let issued_at = now();
    let new = unwrap(&login.client, &issued.token, accessor).await.map_err(tampered)?;
    check_uses(&new)?;
    Ok(Credential {
        role_id: old.role_id.clone(),
        secret_id: new.secret_id,
        secret_id_accessor: new.accessor,
        role_name: old.role_name.clone(),
        issued_at,
        expires_at: new.lifetime.map(|lifetime| issued_at + lifetime.as_secs()),
        num_uses: new.num_uses,
        vault: old.vault.clone(),
        previous_accessor: Some(old.secret_id_accessor.clone()),
    })
}

/// Destroys the secret_id before the present one, if there is one and the present one is old enough
/// that no process still reads the file from before.
///
/// # Errors
///
/// [`EnrolledError`]; it is tried again later then.
pub(super) async fn settle(place: &Enrolled, sealer: &dyn Sealer) -> Result<Kept, EnrolledError> {
    let file = CredentialFile::new(place.file.clone());
    let locked = file.lock(LOCK).await.map_err(CredentialError::from)?;
    let sealed = locked.read().map_err(CredentialError::from)?;
    let credential = unseal_at(place, &sealed, sealer).await?;
    let (Some(role), Some(previous)) = (&credential.role_name, &credential.previous_accessor)
    else {
        return Ok(kept(&credential));
    };
    if now() < credential.issued_at + super::life::SETTLED.as_secs() {
        return Ok(kept(&credential));
    }
    let opened = opened(place, &credential)?;
    let client = Arc::new(Client::new(opened.server));
    let login = approle(&client, &opened.mount, &opened.role_id, &opened.secret_id)
        .await
        .map_err(|error| EnrolledError::Login { error, advice: "" })?;
    let destroyed = destroy_one(&login, &opened.mount, role, previous).await;
    end(login).await;
    destroyed?;
    let settled = Credential { previous_accessor: None, ..credential };
    put(&locked, &settled, &Protection::of(sealed.header(), place)?, sealer).await?;
    Ok(kept(&settled))
}

/// Destroys the kept secret_id and the one before it, as far as Vault lets this machine do so.
///
/// # Errors
///
/// [`EnrolledError::NotSelfRotating`] if it has no right to; else what Vault refused or why it
/// couldn't be asked.
pub(crate) async fn destroy(
    place: &Enrolled,
    credential: &Credential,
) -> Result<(), EnrolledError> {
    let role = credential.role_name.as_ref().ok_or(EnrolledError::NotSelfRotating)?;
    let opened = opened(place, credential)?;
    let client = Arc::new(Client::new(opened.server));
    let login = approle(&client, &opened.mount, &opened.role_id, &opened.secret_id)
        .await
        .map_err(|error: LoginError| EnrolledError::Login { error, advice: "" })?;
    let accessors = credential.previous_accessor.iter().chain([&credential.secret_id_accessor]);
    let mut outcome = Ok(());
    for accessor in accessors {
        outcome = outcome.and(destroy_one(&login, &opened.mount, role, accessor).await);
    }
    end(login).await;
    outcome
}

/// Destroys one secret_id by its accessor; one that is gone already counts as destroyed.
pub(super) async fn destroy_one(
    login: &Login,
    mount: &Mount,
    role: &str,
    accessor: &str,
) -> Result<(), EnrolledError> {
    let body = serde_json::json!({ "secret_id_accessor": accessor }).to_string();
    let path = format!("auth/{mount}/role/{role}/secret-id-accessor/destroy");
    let request = Request::post(path, body).asking_on();
    let reply =
        login.client.send(&request, Some(&login.token)).await.map_err(EnrolledError::Lost)?;
    // An accessor that is gone already is a server error of AppRole's own (404 since Vault 1.9).
    let (_, text) = crate::vault::refusal(&reply.body);
    let gone = text.contains("failed to find accessor entry");
    match reply.status {
        200 | 204 | 404 => Ok(()),
        500 if gone => Ok(()),
        status => Err(EnrolledError::Refused { what: "destroy the old secret_id", status }),
    }
}
