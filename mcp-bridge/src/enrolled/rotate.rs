//! Replaces the secret_id by a new one, so that a crash at any step leaves one that works.

use std::sync::Arc;

use mcp_bridge_tpm::{Credential, CredentialError, CredentialFile, Sealer};

use super::enrol::{check_uses, end};
use super::keep::{LOCK, Protection, put};
use super::leftover::{Leftover, accessors, why};
use super::{EnrolledError, kept, now, opened, unseal_at};
use crate::config::{Enrolled, Mount};
use crate::secret::SecretId;
use crate::vault::{
    Client, Kept, Login, LoginError, Request, WRAPPED_FOR, approle, check, issuing_path, unwrap,
    wrapped,
};

/// Who asks for a rotation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asked {
    /// A bridge that has seen the secret_id issued then, in seconds since 1970. Others may be about
    /// to log in with it, so it is destroyed later.
    ByBridge {
        /// When it was issued.
        seen: u64,
    },
    /// A person, at this time in seconds since 1970, who wants the old one gone at once: others read
    /// the file anew when it is refused.
    ByPerson {
        /// The time.
        at: u64,
    },
}

impl Asked {
    /// Whether somebody else was there first, and issued the kept secret_id then. A time that is
    /// still to come says that the clock was wrong, and nothing else.
    fn is_done(self, issued_at: u64) -> bool {
        match self {
            Self::ByBridge { seen } => issued_at != seen,
            Self::ByPerson { at } => issued_at > at && issued_at <= now(),
        }
    }
}

/// What became of a rotation, or of what one before left behind.
#[derive(Debug)]
pub(crate) struct Rotated {
    /// Whether this process made it: else another one was there first.
    pub(crate) is_new: bool,
    /// What the credential says of itself now.
    pub(crate) kept: Kept,
    /// What should be destroyed by now, and isn't.
    pub(crate) leftovers: Vec<Leftover>,
}

/// Issues, checks and keeps a new secret_id, unless another process was there first.
///
/// Before the file is renamed the old secret_id works, and a new one is an orphan that expires;
/// after it the new one works. What can't be destroyed keeps nothing from being replaced.
///
/// # Errors
///
/// [`EnrolledError`]; the kept credential is as it was then.
pub(crate) async fn rotate(
    place: &Enrolled,
    sealer: &dyn Sealer,
    asked: Asked,
) -> Result<Rotated, EnrolledError> {
    let file = CredentialFile::new(place.file.clone());
    let locked = file.lock(LOCK).await.map_err(CredentialError::from)?;
    let sealed = locked.read().map_err(CredentialError::from)?;
    let old = unseal_at(place, &sealed, sealer).await?;
    if asked.is_done(old.issued_at) {
        return Ok(Rotated { is_new: false, kept: kept(&old), leftovers: Vec::new() });
    }
    let role = old.role_name.clone().ok_or(EnrolledError::NotSelfRotating)?;
    let protection = Protection::of(sealed.header(), place)?;
    let opened = opened(place, &old)?;
    let client = Arc::new(Client::new(opened.server));
    let login = approle(&client, &opened.mount, &opened.role_id, &opened.secret_id)
        .await
        .map_err(|error| EnrolledError::Login { error, advice: "" })?;
    let mut leftovers = Vec::new();
    let mut end_one = async |accessor: &str| {
        let outcome = destroy_one(&login, &opened.mount, &role, accessor).await;
        let left = outcome.err().map(|error| Leftover::new(&old, None, accessor, why(&error)));
        let is_gone = left.is_none();
        leftovers.extend(left);
        is_gone
    };
    let outcome = async {
        let new = issue(&login, &opened.mount, &role, &old).await?;
        let proven = async {
            let secret_id = SecretId::new(&new.secret_id)
                .map_err(|_| EnrolledError::Unusable("the new secret_id is no text of one line"))?;
            let proof = approle(&client, &opened.mount, &opened.role_id, &secret_id)
                .await
                .map_err(|error| EnrolledError::Login { error, advice: "" })?;
            end(proof).await;
            put(&locked, &new, &protection, sealer).await
        };
        if let Err(error) = proven.await {
            let accessor = &new.secret_id_accessor;
            tracing::warn!(accessor, "a new secret_id was issued and isn't kept");
            return Err(error);
        }
        // Left by a process that didn't live to destroy it, or wasn't let.
        if let Some(previous) = &old.previous_accessor {
            end_one(previous).await;
        }
        match asked {
            Asked::ByBridge { .. } => Ok(kept(&new)),
            Asked::ByPerson { .. } if end_one(&old.secret_id_accessor).await => {
                let settled = Credential { previous_accessor: None, ..new };
                // Else the next process finds that it is gone already.
                if put(&locked, &settled, &protection, sealer).await.is_err() {
                    tracing::debug!("what was destroyed can't be taken note of");
                }
                Ok(kept(&settled))
            }
            Asked::ByPerson { .. } => Ok(kept(&new)),
        }
    };
    let outcome = outcome.await;
    end(login).await;
    Ok(Rotated { is_new: true, kept: outcome?, leftovers })
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
/// [`EnrolledError`] if Vault or the credential can't be asked; a refusal is among the leftovers.
pub(super) async fn settle(
    place: &Enrolled,
    sealer: &dyn Sealer,
) -> Result<Rotated, EnrolledError> {
    let done = |credential: &Credential, leftovers| {
        Ok(Rotated { is_new: false, kept: kept(credential), leftovers })
    };
    let file = CredentialFile::new(place.file.clone());
    let locked = file.lock(LOCK).await.map_err(CredentialError::from)?;
    let sealed = locked.read().map_err(CredentialError::from)?;
    let credential = unseal_at(place, &sealed, sealer).await?;
    let (Some(role), Some(previous)) = (&credential.role_name, &credential.previous_accessor)
    else {
        return done(&credential, Vec::new());
    };
    if now() < credential.issued_at + super::life::SETTLED.as_secs() {
        return done(&credential, Vec::new());
    }
    let opened = opened(place, &credential)?;
    let client = Arc::new(Client::new(opened.server));
    let login = approle(&client, &opened.mount, &opened.role_id, &opened.secret_id)
        .await
        .map_err(|error| EnrolledError::Login { error, advice: "" })?;
    let destroyed = destroy_one(&login, &opened.mount, role, previous).await;
    end(login).await;
    if let Err(error) = destroyed {
        let leftover = Leftover::new(&credential, None, previous, why(&error));
        return done(&credential, vec![leftover]);
    }
    let settled = Credential { previous_accessor: None, ..credential };
    put(&locked, &settled, &Protection::of(sealed.header(), place)?, sealer).await?;
    done(&settled, Vec::new())
}

/// Destroys the kept secret_id and the one before it, as far as Vault lets this machine do so; gives
/// those that live on.
pub(crate) async fn destroy(place: &Enrolled, credential: &Credential) -> Vec<Leftover> {
    let left = |accessor: &str, error: &EnrolledError| {
        Leftover::new(credential, None, accessor, why(error))
    };
    let logging_in = async {
        let role = credential.role_name.as_deref().ok_or(EnrolledError::NotSelfRotating)?;
        let opened = opened(place, credential)?;
        let client = Arc::new(Client::new(opened.server));
        let login = approle(&client, &opened.mount, &opened.role_id, &opened.secret_id)
            .await
            .map_err(|error: LoginError| EnrolledError::Login { error, advice: "" })?;
        Ok((login, opened.mount, role))
    };
    let (login, mount, role) = match logging_in.await {
        Ok(found) => found,
        Err(error) => {
            return accessors(credential).map(|accessor| left(accessor, &error)).collect();
        }
    };
    let mut leftovers = Vec::new();
    for accessor in accessors(credential) {
        let outcome = destroy_one(&login, &mount, role, accessor).await;
        leftovers.extend(outcome.err().map(|error| left(accessor, &error)));
    }
    end(login).await;
    leftovers
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
