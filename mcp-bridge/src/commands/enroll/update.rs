//! Keeps this machine's credential another way, without Vault and without a wrapping token.

use mcp_bridge_tpm::Store;

use crate::cli::{self, EnrollStore};
use crate::config::{Enrolled, PinSource};
use crate::enrolled::{self, Change, PinChange};
use crate::error::{CommandError, Exit};
use crate::process;

/// Keeps the credential as the arguments say; what they don't name stays.
///
/// # Errors
///
/// [`CommandError`]; the kept credential is as it was then.
pub(super) fn run(settings: &cli::Settings, arguments: &cli::Enroll) -> Result<Exit, CommandError> {
    let place = super::super::rotate::place(settings)?;
    let place = Enrolled { last_try: arguments.force, ..place };
    let store = match arguments.store {
        None => None,
        Some(EnrollStore::Tpm2) => Some(Store::Tpm2),
        Some(EnrollStore::PlainFile) => {
            super::plain_file(arguments)?;
            Some(Store::PlainFile)
        }
        Some(EnrollStore::External) => {
            return Err(CommandError::Argument(
                "--store external keeps nothing: mcp-bridge forget, and enroll with it".to_owned(),
            ));
        }
    };
    let pin = match (arguments.no_pin, pin(arguments, &place)?) {
        (true, _) => PinChange::Remove,
        (false, Some(pin)) => PinChange::Set(pin),
        (false, None) => PinChange::Keep,
    };
    let change = Change { store, pcrs: super::pcrs(arguments)?, pin };
    super::super::block_on(async move {
        let sealer = enrolled::sealer(&place)?;
        let (protection, was_plain) = enrolled::update(&place, &*sealer, change).await?;
        let label = super::label(&protection, &*sealer).await?;
        let mut text = format!("kept anew: {} ({label})\n", place.file.display());
        if was_plain && !matches!(protection, enrolled::Protection::PlainFile) {
            text.push_str(
                "it stood in clear until now. If somebody may have a copy, have an operator run \
                 mcp-bridge deprovision AGENT, which ends it and every token made with it, then \
                 provision, and run enroll --force; else mcp-bridge rotate, where it may, is \
                 enough\n",
            );
        }
        process::output(text.as_bytes())?;
        Ok(Exit::Success)
    })
}

/// The PIN to set, which may not be the one that is set unless a person types it.
fn pin(
    arguments: &cli::Enroll,
    place: &Enrolled,
) -> Result<Option<mcp_bridge_tpm::Pin>, CommandError> {
    let is_set = enrolled::pin::is_set(place);
    if arguments.pin
        && is_set
        && arguments.new_pin_file.is_none()
        && matches!(place.pin, PinSource::File(_))
    {
        // Else --pin-file would have to name both.
        return Ok(Some(enrolled::pin::ask_new()?));
    }
    super::new_pin(arguments, place)
}
