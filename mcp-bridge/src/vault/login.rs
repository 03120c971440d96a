//! Turns the configured credential into a token.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::Deserialize;

use super::{Client, Lost, Reply, Request, Unavailable, WrappingError, refusal, wrapping};
use crate::config::{CredentialSource, Delivered, Enrolled, Mount, PinSource, VaultServer};
use crate::secret::{RoleId, SecretError, SecretId, VaultToken, WrappingToken, login_body};

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
    /// What keeps the credential doesn't answer now: a TPM that is busy, or away for a moment.
    #[error("the TPM that keeps the credential doesn't answer")]
    TpmAway,
    /// The TPM refused the credential's PIN, and has counted it: not again with the same PIN.
    #[error("the credential's PIN is wrong")]
    WrongPin,
    /// The token died again so soon after a login that logging in can't be the cure.
    #[error("the token was ended again within a minute")]
    TooSoon,
}

/// A token and what Vault said of its life.
#[derive(Debug)]
pub(crate) struct Login {
    /// The server that issued the token: it goes nowhere else.
    pub(crate) client: Arc<Client>,
    /// The token.
    pub(crate) token: VaultToken,
    /// How long it lives; none means for ever.
    pub(crate) lease: Option<Duration>,
    /// Whether it can be renewed (batch tokens can't).
    pub(crate) renewable: bool,
    /// What an enrolled credential said of itself.
    pub(crate) kept: Option<Kept>,
}

/// What an enrolled credential says of itself, without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Kept {
    /// When the secret_id was issued, in seconds since 1970.
    pub(crate) issued_at: u64,
    /// When it expires, in seconds since 1970; none if never.
    pub(crate) expires_at: Option<u64>,
    /// Whether this machine may replace it.
    pub(crate) self_rotating: bool,
    /// Whether the one before it is still to be destroyed.
    pub(crate) has_previous: bool,
}

/// A credential with the server that it is for, ready for one login.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The one server that may see it.
    pub(crate) server: VaultServer,
    /// Where AppRole is mounted.
    pub(crate) mount: Mount,
    /// One half.
    pub(crate) role_id: RoleId,
    /// The other.
    pub(crate) secret_id: SecretId,
    /// What else it says of itself.
    pub(crate) kept: Kept,
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
/// `client` speaks with the server of the settings, or with the one of an enrolled credential's last
/// login: it is used again, with its connections, while the credential names the same server.
///
/// # Errors
///
/// [`LoginError`]; details that only an operator may see go to the log.
pub(crate) async fn login(
    client: Option<&Arc<Client>>,
    source: &CredentialSource,
) -> Result<Login, LoginError> {
    let known = || client.ok_or(LoginError::Unreadable);
    match source {
        CredentialSource::AppRole { mount, role_id, secret_id } => {
            let role = RoleId::from_file(role_id).map_err(|error| unreadable(role_id, error))?;
            let secret =
                SecretId::from_file(secret_id).map_err(|error| unreadable(secret_id, error))?;
            approle(known()?, mount, &role, &secret).await
        }
        CredentialSource::Enrolled(place) => {
            let opened = open(place).await?;
            let client = match client.filter(|client| *client.server() == opened.server) {
                Some(client) => Arc::clone(client),
                None => Arc::new(Client::new(opened.server)),
            };
            // The secret_id ends here, with this login; the next one unseals it again.
            let login = approle(&client, &opened.mount, &opened.role_id, &opened.secret_id).await?;
            Ok(Login { kept: Some(opened.kept), ..login })
        }
        CredentialSource::Delivered(delivered) => self::delivered(known()?, delivered).await,
        CredentialSource::TokenFile(path) => {
            let token = VaultToken::from_file(path).map_err(|error| unreadable(path, error))?;
            given(known()?, token).await
        }
        CredentialSource::Environment(token) => given(known()?, token.copy()).await,
    }
}

#[cfg(unix)]
async fn open(place: &Enrolled) -> Result<Opened, LoginError> {
    crate::enrolled::open(place).await.map_err(|error| {
        tracing::error!(path = %place.file.display(), "the credential can't be opened: {error}");
        if error.is_wrong_pin() {
            LoginError::WrongPin
        } else if error.is_passing() {
            LoginError::TpmAway
        } else {
            LoginError::Unreadable
        }
    })
}

#[cfg(not(unix))]
async fn open(place: &Enrolled) -> Result<Opened, LoginError> {
    let path = place.file.display();
    tracing::error!(%path, "enrolled credentials are for Linux and other Unix systems");
    Err(LoginError::Unreadable)
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
        CredentialSource::Enrolled(place) => {
            let pin = match &place.pin {
                PinSource::File(path) => stamp(path),
                #[cfg(unix)]
                PinSource::Typed(_) => None,
                PinSource::None => None,
            };
            vec![stamp(&place.file), pin]
        }
        CredentialSource::Delivered(delivered) => {
            vec![stamp(&delivered.role_id), stamp(&delivered.token)]
        }
        CredentialSource::TokenFile(path) => vec![stamp(path)],
        CredentialSource::Environment(_) => Vec::new(),
    }
}

/// Unwraps the secret_id at the first login, and logs in with it; a refused one makes room for the
/// next that is delivered.
async fn delivered(client: &Arc<Client>, delivered: &Delivered) -> Result<Login, LoginError> {
    let role_id = RoleId::from_file(&delivered.role_id)
        .map_err(|error| unreadable(&delivered.role_id, error))?;
    let mut unwrapped = delivered.unwrapped.lock().await;
    let secret_id = match unwrapped.take() {
        Some(secret_id) => secret_id,
        None => {
            let token = WrappingToken::from_file(&delivered.token)
                .map_err(|error| unreadable(&delivered.token, error))?;
            let path = wrapping::issuing_path(&delivered.mount, &delivered.role);
            let found = async {
                wrapping::check(client, &token, &path).await?;
                wrapping::unwrap(client, &token, None).await
            };
            let found = found.await.map_err(unwrapping)?;
            SecretId::new(&found.secret_id).map_err(|error| unreadable(&delivered.token, error))?
        }
    };
    let login = approle(client, &delivered.mount, &role_id, &secret_id).await;
    if !matches!(login, Err(LoginError::Refused)) {
        *unwrapped = Some(secret_id);
    }
    login
}

fn unwrapping(error: WrappingError) -> LoginError {
    match error {
        WrappingError::Unavailable(why) | WrappingError::Lost(why) => LoginError::Unavailable(why),
        WrappingError::NoVault(status) => LoginError::Unavailable(Unavailable::Failing(status)),
        WrappingError::Spent
        | WrappingError::Rewrapped
        | WrappingError::Custom
        | WrappingError::OtherPath { .. }
        | WrappingError::OtherAccessor
        | WrappingError::NoSecretId => {
            tracing::error!("the delivered credential can't be used: {error}");
            LoginError::Unreadable
        }
    }
}

/// Logs in by AppRole.
///
/// # Errors
///
/// [`LoginError`].
pub(crate) async fn approle(
    client: &Arc<Client>,
    mount: &Mount,
    role_id: &RoleId,
    secret_id: &SecretId,
) -> Result<Login, LoginError> {
    let body = login_body(role_id, secret_id);
    let request = Request::post(format!("auth/{mount}/login"), body).asking_on();
    let reply = client
        .send(&request, None)
        .await
        .map_err(|lost| LoginError::Unavailable(unanswered(lost)))?;
    if reply.status != 200 {
        return Err(refused(&reply));
    }
    let Some(issued) = issued(&reply) else {
        return Err(LoginError::Unavailable(Unavailable::Failing(reply.status)));
    };
    let Issue { token, lease, renewable } = issued;
    tracing::info!(?lease, renewable, "logged in by AppRole");
    Ok(Login { client: Arc::clone(client), token, lease, renewable, kept: None })
}

/// Asks Vault about a token that wasn't made by a login of ours.
async fn given(client: &Arc<Client>, token: VaultToken) -> Result<Login, LoginError> {
    let reply = client
        .send(&look_up(), Some(&token))
        .await
        .map_err(|lost| LoginError::Unavailable(unanswered(lost)))?;
    if reply.status != 200 {
        return Err(refused(&reply));
    }
    let lookup = super::data::<Lookup>(&reply.body);
    let (ttl, renewable) = lookup.map_or((0, false), |lookup| (lookup.ttl, lookup.renewable));
    let client = Arc::clone(client);
    Ok(Login { client, token, lease: seconds(ttl), renewable, kept: None })
}

/// The request that tells whether a token lives.
pub(crate) fn look_up() -> Request {
    Request::get("auth/token/lookup-self")
}

/// Reads the token's life out of the answer to a renewal: what is left of it, and whether it can
/// be renewed once more.
pub(crate) fn renewed(reply: &Reply) -> Option<(Option<Duration>, bool)> {
    issued(reply).map(|issue| (issue.lease, issue.renewable))
}

/// A token as Vault issued or renewed it.
struct Issue {
    token: VaultToken,
    lease: Option<Duration>,
    renewable: bool,
}

fn issued(reply: &Reply) -> Option<Issue> {
    let AuthAnswer { auth } = serde_json::from_slice(&reply.body).ok()?;
    let client_token = zeroize::Zeroizing::new(auth.client_token);
    let token = VaultToken::new(&client_token).ok()?;
    Some(Issue { token, lease: seconds(auth.lease_duration), renewable: auth.renewable })
}

fn seconds(count: u64) -> Option<Duration> {
    (count > 0).then(|| Duration::from_secs(count))
}

fn unreadable(path: &Path, error: SecretError) -> LoginError {
    tracing::error!(path = %path.display(), problem = %error, "the credential can't be read");
    LoginError::Unreadable
}

/// Says of a lost answer why Vault can't be asked.
pub(super) fn unanswered(lost: Lost) -> Unavailable {
    match lost {
        Lost::NeverSent(why) => why,
        Lost::TimedOut => Unavailable::NoConnection(super::ConnectFault::Timeout),
        Lost::Broken | Lost::TooLarge => Unavailable::NoConnection(super::ConnectFault::Other),
    }
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
