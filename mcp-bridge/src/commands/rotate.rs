//! Replaces this machine's secret_id by a new one, now.

use crate::cli;
use crate::config::{CredentialSource, Enrolled, OperatorToken};
use crate::enrolled::{self, Asked};
use crate::error::{CommandError, Exit};
use crate::process;

/// Replaces the secret_id, and destroys the one before if Vault lets it.
///
/// # Errors
///
/// [`CommandError`]; the kept credential is as it was then.
pub(crate) fn run(settings: &cli::Settings) -> Result<Exit, CommandError> {
    let place = place(settings)?;
    super::block_on(async move {
        let sealer = enrolled::sealer(&place)?;
        let asked = Asked::ByPerson { at: enrolled::now() };
        let rotated = enrolled::rotate(&place, &*sealer, asked).await?;
        let mut text = match (rotated.is_new, rotated.kept.expires_at) {
            (false, _) => "another process has just replaced it".to_owned(),
            (true, None) => "replaced; the new one never expires".to_owned(),
            (true, Some(at)) => {
                let days = at.saturating_sub(enrolled::now()) / 86400;
                format!("replaced; the new one expires in {days} days")
            }
        };
        text.push_str(match (rotated.is_new, rotated.leftovers.as_slice()) {
            (false, _) if rotated.kept.has_previous => {
                "; the one before logs in for some minutes yet: mcp-bridge status names it"
            }
            (true, []) => "; the one before is destroyed in Vault",
            (false, _) | (true, _) => "",
        });
        text.push('\n');
        for leftover in &rotated.leftovers {
            text.push_str(&format!("STILL VALID: {leftover}\n"));
        }
        process::output(text.as_bytes())?;
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
