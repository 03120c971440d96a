//! Takes a wrapped secret_id out of its token, and tells when somebody else was there first.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;
use serde_json::json;
use zeroize::Zeroizing;

use super::login::{unanswered, unavailable};
use super::{Client, Reply, Request, Unavailable, data, refusal};
use crate::config::Mount;
use crate::secret::WrappingToken;

/// How long a wrapping token serves: long enough to carry it to the agent's machine.
pub(crate) const WRAPPED_FOR: Duration = Duration::from_secs(300);

/// A secret_id that waits to be unwrapped.
#[derive(Debug)]
pub(crate) struct Issued {
    /// Gives it, once.
    pub(crate) token: WrappingToken,
    /// Its name, by which it can be destroyed.
    pub(crate) accessor: Option<String>,
}

/// A secret_id that was unwrapped.
#[derive(Debug)]
pub(crate) struct Unwrapped {
    /// The secret.
    pub(crate) secret_id: SecretString,
    /// Its name, by which it can be destroyed.
    pub(crate) accessor: String,
    /// How long it serves from now; none means for ever.
    pub(crate) lifetime: Option<Duration>,
    /// For how many logins; 0 means any number.
    pub(crate) num_uses: u32,
}

/// Why a wrapping token gives no secret_id that can be trusted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WrappingError {
    /// Vault can't be asked.
    #[error("{0}")]
    Unavailable(Unavailable),
    /// What answered isn't Vault, or doesn't serve wrapping tokens there.
    #[error("what answers at Vault's address (HTTP {0}) isn't Vault, or has no such namespace.")]
    NoVault(u16),
    /// Vault knows no such token: it was used, it expired, or it never was one.
    #[error(
        "the wrapping token is not valid: it was used already, its minutes have passed, or it is \
         no wrapping token. If nobody here has used it, somebody else may have: don't just ask for \
         another"
    )]
    Spent,
    /// The answer to the unwrapping is lost: it may have been used up.
    #[error("{0}, in the middle of unwrapping: the wrapping token may have been used")]
    Lost(Unavailable),
    /// The token wraps something that was taken out of another one.
    #[error(
        "the wrapping token was made anew by whoever unwrapped the first one: somebody has read \
         the secret_id on its way. Don't use it"
    )]
    Rewrapped,
    /// The secret_id was chosen by whoever wrote it, so they know it.
    #[error(
        "the wrapping token holds a secret_id that somebody chose (custom-secret-id), and so \
         knows. Don't use it"
    )]
    Custom,
    /// The token was made by another request than the one expected.
    #[error("the wrapping token was made at {found}, not at {expected}. Don't use it")]
    OtherPath {
        /// Where it was made.
        found: String,
        /// Where it should have been made.
        expected: String,
    },
    /// What was unwrapped isn't the secret_id that was issued.
    #[error(
        "the wrapping token held another secret_id than the one that was issued (its accessor \
         differs). Don't use it"
    )]
    OtherAccessor,
    /// What was unwrapped is no secret_id.
    #[error("the wrapping token holds no secret_id")]
    NoSecretId,
}

/// The path below `/v1/` that issues secret_ids of a role.
pub(crate) fn issuing_path(mount: &Mount, role: &str) -> String {
    format!("auth/{mount}/role/{role}/secret-id")
}

/// Reads what Vault answers in place of a secret_id that was asked for wrapped; none if it isn't
/// wrapped.
pub(crate) fn wrapped(reply: &Reply) -> Option<Issued> {
    #[derive(Deserialize)]
    struct Answer {
        wrap_info: WrapInfo,
    }
    #[derive(Deserialize)]
    struct WrapInfo {
        token: Zeroizing<String>,
        #[serde(default)]
        wrapped_accessor: Option<String>,
    }
    let info = serde_json::from_slice::<Answer>(&reply.body).ok()?.wrap_info;
    let accessor = info.wrapped_accessor.filter(|accessor| !accessor.is_empty());
    Some(Issued { token: WrappingToken::new(&info.token).ok()?, accessor })
}

/// Checks where a wrapping token was made, without using it up.
///
/// # Errors
///
/// [`WrappingError`], sorted by what it says about who was there.
pub(crate) async fn check(
    client: &Client,
    token: &WrappingToken,
    expected: &str,
) -> Result<(), WrappingError> {
    #[derive(Deserialize)]
    struct LookUp {
        creation_path: String,
    }
    // Asked without a token of our own: the look-up needs none, and doesn't use the token up.
    let body = Zeroizing::new(json!({ "token": token.shown() }).to_string());
    let request = Request::post("sys/wrapping/lookup", body.as_bytes().to_vec()).asking_on();
    let reply = client.send(&request, None).await.map_err(lost)?;
    if reply.status != 200 {
        return Err(match unavailable(&reply) {
            _ if is_spent(&reply) => WrappingError::Spent,
            Unavailable::Failing(status @ ..500) => WrappingError::NoVault(status),
            why @ (Unavailable::Failing(_)
            | Unavailable::NoConnection(_)
            | Unavailable::Sealed
            | Unavailable::Standby
            | Unavailable::NotMounted
            | Unavailable::TlsFiles) => WrappingError::Unavailable(why),
        });
    }
    let Some(LookUp { creation_path }) = data(&reply.body) else {
        return Err(WrappingError::NoVault(reply.status));
    };
    match creation_path.as_str() {
        path if path == expected => Ok(()),
        "sys/wrapping/wrap" | "sys/wrapping/rewrap" => Err(WrappingError::Rewrapped),
        path if path == expected.replace("/secret-id", "/custom-secret-id") => {
            Err(WrappingError::Custom)
        }
        _ => Err(WrappingError::OtherPath { found: creation_path, expected: expected.to_owned() }),
    }
}

/// Takes the secret_id out. The token is used up whatever comes back.
///
/// # Errors
///
/// [`WrappingError`]; [`WrappingError::OtherAccessor`] if `accessor` says which one was issued and
/// it is another.
pub(crate) async fn unwrap(
    client: &Client,
    token: &WrappingToken,
    accessor: Option<&str>,
) -> Result<Unwrapped, WrappingError> {
    #[derive(Deserialize)]
    struct SecretId {
        secret_id: Zeroizing<String>,
        secret_id_accessor: String,
        #[serde(default)]
        secret_id_ttl: u64,
        #[serde(default)]
        secret_id_num_uses: u32,
    }
    // Never sent twice: the second would find it used.
    let request = Request::post("sys/wrapping/unwrap", "{}");
    let reply = client.send(&request, Some(token.token())).await.map_err(|error| match error {
        super::Lost::NeverSent(_) => lost(error),
        super::Lost::TimedOut | super::Lost::Broken | super::Lost::TooLarge => {
            WrappingError::Lost(unanswered(error))
        }
    })?;
    if reply.status != 200 {
        let lost = || WrappingError::Lost(unavailable(&reply));
        return Err(if is_spent(&reply) { WrappingError::Spent } else { lost() });
    }
    let secret: SecretId = data(&reply.body).ok_or(WrappingError::NoSecretId)?;
    if accessor.is_some_and(|accessor| accessor != secret.secret_id_accessor) {
        return Err(WrappingError::OtherAccessor);
    }
    let seconds = secret.secret_id_ttl;
    Ok(Unwrapped {
        secret_id: SecretString::from(secret.secret_id.as_str()),
        accessor: secret.secret_id_accessor,
        lifetime: (seconds > 0).then(|| Duration::from_secs(seconds)),
        num_uses: secret.secret_id_num_uses,
    })
}

fn lost(lost: super::Lost) -> WrappingError {
    WrappingError::Unavailable(unanswered(lost))
}

/// Whether Vault itself says that it doesn't know a wrapping token: 400 with a text of its own, or 403
/// to one that it forgot. Another server at its address, or a wrong namespace, says neither.
fn is_spent(reply: &Reply) -> bool {
    let (_, text) = refusal(&reply.body);
    match reply.status {
        400 => text.contains("wrapping token is not valid"),
        403 => !text.is_empty(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_answer_gives_token_and_accessor_and_a_clear_one_nothing() {
        let reply =
            |body: &'static str| Reply { status: 200, body: body.into(), retry_after: None };
        let answer = r#"{"wrap_info":{"token":"hvs.a","wrapped_accessor":"x"}}"#;
        let issued = wrapped(&reply(answer)).unwrap();
        assert_eq!((issued.token.shown(), issued.accessor.as_deref()), ("hvs.a", Some("x")));
        assert!(wrapped(&reply(r#"{"data":{"secret_id":"in clear"}}"#)).is_none());
        assert!(!format!("{issued:?}").contains("hvs.a"));
    }
}
