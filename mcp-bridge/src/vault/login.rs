//! Turns the configured credential into a token.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::{Client, Lost, Reply, Request, Unavailable, refusal};
use crate::config::{CredentialSource, Mount};
use crate::secret::{RoleId, SecretError, SecretId, VaultToken, login_body};

/// Why there is no token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LoginError {
    /// Vault can't be asked.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// Vault refused the credential.
    #[error("Vault refused the credential")]
    Refused,
    /// The credential's file can't be used.
    #[error("the credential can't be read")]
    Unreadable,
    /// The token died again so soon after a login that logging in can't be the cure.
    #[error("the token was ended again within a minute")]
    TooSoon,
}

/// A token and what Vault said of its life.
#[derive(Debug)]
pub(crate) struct Login {
    /// The token.
    pub(crate) token: VaultToken,
    /// How long it lives; none means for ever.
    pub(crate) lease: Option<Duration>,
    /// Whether it can be renewed (batch tokens can't).
    pub(crate) renewable: bool,
}

#[derive(Deserialize)]
struct AuthAnswer {
    auth: Auth,
}

/// What Vault says of a token that it issued or renewed.
#[derive(Deserialize)]
struct Auth {
    client_token: String,
    lease_duration: u64,
    #[serde(default)]
    renewable: bool,
}

#[derive(Deserialize)]
struct Lookup {
    #[serde(default)]
    ttl: u64,
    #[serde(default)]
    renewable: bool,
}

/// Logs in once.
///
/// # Errors
///
/// [`LoginError`]; details that only an operator may see go to the log.
pub(crate) async fn login(client: &Client, source: &CredentialSource) -> Result<Login, LoginError> {
    match source {
        CredentialSource::AppRole { mount, role_id, secret_id } => {
            approle(client, mount, role_id, secret_id).await
        }
        CredentialSource::TokenFile(path) => {
            let token = VaultToken::from_file(path).map_err(|error| unreadable(path, error))?;
            given(client, token).await
        }
        CredentialSource::Environment(token) => given(client, token.copy()).await,
    }
}

/// Reads what identifies the credential's present state: it changes when somebody replaces it.
pub(crate) fn fingerprint(source: &CredentialSource) -> Vec<Option<(SystemTime, u64)>> {
    let stamp = |path: &Path| {
        let data = std::fs::metadata(path).ok()?;
        Some((data.modified().ok()?, data.len()))
    };
    match source {
        CredentialSource::AppRole { role_id, secret_id, .. } => {
            vec![stamp(role_id), stamp(secret_id)]
        }
        CredentialSource::TokenFile(path) => vec![stamp(path)],
        CredentialSource::Environment(_) => Vec::new(),
    }
}

async fn approle(
    client: &Client,
    mount: &Mount,
    role_id: &Path,
    secret_id: &Path,
) -> Result<Login, LoginError> {
    let body = {
        let role = RoleId::from_file(role_id).map_err(|error| unreadable(role_id, error))?;
        let secret =
            SecretId::from_file(secret_id).map_err(|error| unreadable(secret_id, error))?;
        login_body(&role, &secret)
    };
    let request = Request::post(format!("auth/{mount}/login"), body).asking_on();
    let reply = client.send(&request, None).await.map_err(unanswered)?;
    if reply.status != 200 {
        return Err(refused(&reply));
    }
    let Some(login) = issued(&reply) else {
        return Err(LoginError::Unavailable(Unavailable::Failing(reply.status)));
    };
    tracing::info!(lease = ?login.lease, renewable = login.renewable, "logged in by AppRole");
    Ok(login)
}

/// Asks Vault about a token that wasn't made by a login of ours.
async fn given(client: &Client, token: VaultToken) -> Result<Login, LoginError> {
    let reply = client.send(&look_up(), Some(&token)).await.map_err(unanswered)?;
    if reply.status != 200 {
        return Err(refused(&reply));
    }
    let lookup = super::data::<Lookup>(&reply.body);
    let (ttl, renewable) = lookup.map_or((0, false), |lookup| (lookup.ttl, lookup.renewable));
    Ok(Login { token, lease: seconds(ttl), renewable })
}

/// The request that tells whether a token lives.
pub(crate) fn look_up() -> Request {
    Request::get("auth/token/lookup-self")
}

/// Reads the token's life out of the answer to a renewal: what is left of it, and whether it can
/// be renewed once more.
pub(crate) fn renewed(reply: &Reply) -> Option<(Option<Duration>, bool)> {
    issued(reply).map(|login| (login.lease, login.renewable))
}

fn issued(reply: &Reply) -> Option<Login> {
    let AuthAnswer { auth } = serde_json::from_slice(&reply.body).ok()?;
    let client_token = zeroize::Zeroizing::new(auth.client_token);
    let token = VaultToken::new(&client_token).ok()?;
    Some(Login { token, lease: seconds(auth.lease_duration), renewable: auth.renewable })
}

fn seconds(count: u64) -> Option<Duration> {
    (count > 0).then(|| Duration::from_secs(count))
}

fn unreadable(path: &Path, error: SecretError) -> LoginError {
    tracing::error!(path = %path.display(), problem = %error, "the credential can't be read");
    LoginError::Unreadable
}

fn unanswered(lost: Lost) -> LoginError {
    LoginError::Unavailable(match lost {
        Lost::NeverSent(why) => why,
        Lost::TimedOut => Unavailable::NoConnection(super::ConnectFault::Timeout),
        Lost::Broken | Lost::TooLarge => Unavailable::NoConnection(super::ConnectFault::Other),
    })
}

/// Vault answers 400 to a wrong role_id or secret_id and to a forbidden source address, 403 to a
/// wrong mount or a dead token.
fn refused(reply: &Reply) -> LoginError {
    match reply.status {
        400..=404 => {
            let (_, text) = refusal(&reply.body);
            tracing::error!(status = reply.status, answer = text, "Vault refused the login");
            LoginError::Refused
        }
        _ => LoginError::Unavailable(unavailable(reply)),
    }
}

/// Says what an answer means that Vault gives in place of the one that was asked for.
pub(crate) fn unavailable(reply: &Reply) -> Unavailable {
    let (_, text) = refusal(&reply.body);
    if reply.status == 503 && text.contains("sealed") {
        Unavailable::Sealed
    } else if is_standby(reply.status, &text) {
        Unavailable::Standby
    } else {
        Unavailable::Failing(reply.status)
    }
}

/// Whether a node answered that it can't serve anybody now: it is sealed, or a standby without a way
/// to the active node.
pub(crate) fn cannot_serve(reply: &Reply) -> bool {
    // What most answers are isn't looked into.
    reply.status >= 300
        && reply.status != 403
        && matches!(unavailable(reply), Unavailable::Sealed | Unavailable::Standby)
}

/// Whether an answer is a standby's, which has done nothing: the codes of `sys/health` for
/// standbys, a redirection to the active node, or the text for a missing one.
pub(crate) fn is_standby(status: u16, text: &str) -> bool {
    matches!(status, 307 | 412 | 472 | 473) || text.contains("active cluster node not found")
}
