//! Takes this machine's credential away: from Vault if it may, from the disk in any case.

use mcp_bridge_tpm::{Credential, CredentialError, CredentialFile};

use crate::cli;
use crate::config::Enrolled;
use crate::enrolled::{self, EnrolledError};
use crate::error::{CommandError, Exit};
use crate::process;

/// How long another process may hold the credential's lock.
const LOCK: std::time::Duration = std::time::Duration::from_secs(60);

/// Destroys the secret_id if this machine may, and deletes the file.
///
/// # Errors
///
/// [`CommandError`] if the file can't be deleted; a Vault that can't be reached or refuses is told,
/// with the command for an operator.
pub(crate) fn run(settings: &cli::Settings) -> Result<Exit, CommandError> {
    let place = super::rotate::place(settings)?;
    super::block_on(async move {
        let file = CredentialFile::new(place.file.clone());
        if place.file.symlink_metadata().is_err() {
            let text = format!("nothing to forget: {} isn't there\n", place.file.display());
            process::output(text.as_bytes())?;
            return Ok(Exit::Success);
        }
        let locked = file.lock(LOCK).await.map_err(error)?;
        let text = match credential(&place, &file).await {
            Ok(credential) => match enrolled::destroy(&place, &credential).await {
                Ok(()) => "the secret_id is destroyed in Vault".to_owned(),
                Err(why) => format!(
                    "the secret_id lives on in Vault ({}); an operator ends it: mcp-bridge \
                     deprovision AGENT, or by its accessor {}",
                    reason(&why),
                    credential.secret_id_accessor
                ),
            },
            // A mistyped PIN must not lose the accessor.
            Err(error) if error.is_about_a_try() => return Err(error.into()),
            Err(error) => format!(
                "the secret_id lives on in Vault, and its accessor can't be read here ({error}); \
                 an operator ends it: mcp-bridge deprovision AGENT"
            ),
        };
        locked.remove().map_err(error)?;
        enrolled::remove_copies(&place.file);
        let text = format!("{} is deleted; {text}\n", place.file.display());
        process::output(text.as_bytes())?;
        Ok(Exit::Success)
    })
}

async fn credential(place: &Enrolled, file: &CredentialFile) -> Result<Credential, EnrolledError> {
    let sealed = file.read().map_err(CredentialError::from)?;
    enrolled::unseal_at(place, &sealed, &*enrolled::sealer(place)?).await
}

fn reason(error: &EnrolledError) -> String {
    if matches!(error, EnrolledError::NotSelfRotating) {
        "this machine may not destroy it".to_owned()
    } else {
        error.to_string()
    }
}

fn error(error: mcp_bridge_tpm::FileError) -> CommandError {
    EnrolledError::from(CredentialError::from(error)).into()
}
