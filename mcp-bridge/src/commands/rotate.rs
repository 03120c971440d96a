//! Replaces this machine's secret_id by a new one, now.

use crate::cli;
use crate::config::{CredentialSource, Enrolled, OperatorToken};
use crate::enrolled;
use crate::error::{CommandError, Exit};
use crate::process;

/// Replaces the secret_id.
///
/// # Errors
///
/// [`CommandError`]; the kept credential is as it was then.
pub(crate) fn run(settings: &cli::Settings) -> Result<Exit, CommandError> {
    let place = place(settings)?;
    super::block_on(async move {
        let sealer = enrolled::sealer(&place)?;
        let rotated = enrolled::rotate(&place, &*sealer, enrolled::now()).await?;
        let text = match (rotated.is_new, rotated.kept.expires_at) {
            (false, _) => "another process has just replaced it".to_owned(),
            (true, None) => "replaced; the new one never expires".to_owned(),
            (true, Some(at)) => {
                let days = at.saturating_sub(enrolled::now()) / 86400;
                format!("replaced; the new one expires in {days} days")
            }
        };
        process::output(format!("{text}\n").as_bytes())?;
        Ok(Exit::Success)
    })
}

/// The enrolled credential that the settings lead to.
///
/// # Errors
///
/// [`CommandError::Argument`] if they lead to another kind.
pub(super) fn place(settings: &cli::Settings) -> Result<Enrolled, CommandError> {
    match super::prepare(settings, OperatorToken::Ignored)?.credential {
        CredentialSource::Enrolled(mut place) => {
            enrolled::pin::complete(&mut place)?;
            Ok(place)
        }
        CredentialSource::AppRole { .. }
        | CredentialSource::Delivered(_)
        | CredentialSource::TokenFile(_)
        | CredentialSource::Environment(_) => Err(CommandError::Argument(
            "the settings lead to a credential that wasn't enrolled: name its file with \
             --credential"
                .to_owned(),
        )),
    }
}
