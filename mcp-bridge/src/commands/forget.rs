//! Takes this machine's credential away: from Vault if it may, from the disk in any case.

use mcp_bridge_tpm::{Credential, CredentialError, CredentialFile, LockedFile};

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
/// [`CommandError`] if the file can't be deleted, or could be opened once something is mended; a
/// Vault that can't be reached or refuses is told, with the command for an operator.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Forget) -> Result<Exit, CommandError> {
    let place = super::rotate::place(settings)?;
    super::block_on(async move {
        let file = CredentialFile::new(place.file.clone());
        if !file.is_there() {
            let text = format!("nothing to forget: {} isn't there\n", place.file.display());
            process::output(text.as_bytes())?;
            return Ok(Exit::Success);
        }
        let locked = file.lock(LOCK).await.map_err(error)?;
        let rest = match credential(&place, &file).await {
            Ok(credential) => enrolled::destroy(&place, &credential).await,
            // What can be mended must not lose the accessor.
            Err(error) if error.is_mendable() && !arguments.force => {
                return Err(EnrolledError::NotForgotten(Box::new(error)).into());
            }
            Err(error) => {
                deleted(&place, &locked)?;
                let text = format!(
                    "the secret_id lives on in Vault, and its accessor can't be read here \
                     ({error}); an operator ends it: mcp-bridge deprovision AGENT\n{RUNNING}"
                );
                process::output(text.as_bytes())?;
                return Ok(Exit::Success);
            }
        };
        deleted(&place, &locked)?;
        let text = match rest.as_slice() {
            [] => "the secret_id is destroyed in Vault\n".to_owned(),
            rest => rest.iter().map(|leftover| format!("{leftover}\n")).collect(),
        };
        process::output(format!("{text}{RUNNING}").as_bytes())?;
        Ok(Exit::Success)
    })
}

/// Deletes what is kept, and says so.
fn deleted(place: &Enrolled, locked: &LockedFile) -> Result<(), CommandError> {
    locked.remove().map_err(error)?;
    enrolled::remove_copies(&place.file);
    process::output(format!("{} is deleted\n", place.file.display()).as_bytes())
}

async fn credential(place: &Enrolled, file: &CredentialFile) -> Result<Credential, EnrolledError> {
    let sealed = file.read().map_err(CredentialError::from)?;
    enrolled::unseal_at(place, &sealed, &*enrolled::sealer(place)?).await
}

fn error(error: mcp_bridge_tpm::FileError) -> CommandError {
    EnrolledError::from(CredentialError::from(error)).into()
}

/// What no destroyed secret_id ends.
const RUNNING: &str = "Bridges that run still have a token each, until they end: stop them\n";
