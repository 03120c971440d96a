//! Gives this machine its credential, out of a wrapping token that serves once.

use std::io::{BufReader, IsTerminal as _};

use mcp_bridge_tpm::SealOptions;
use mcp_bridge_tpm::sealed::Store;
use secrecy::SecretString;

use crate::cli::{self, EnrollStore};
use crate::config::{Enrolling, Environment, names};
use crate::enrolled::{self, EnrolledError, Enrolment, Protection};
use crate::error::{CommandError, Exit};
use crate::process;
use crate::secret::{SecretError, WrappingToken};

/// Enrols this machine.
///
/// # Errors
///
/// [`CommandError`]; its text says whether the wrapping token was spent.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Enroll) -> Result<Exit, CommandError> {
    let enrolling = Enrolling::load(settings, &Environment::of_process())?;
    super::start(&enrolling.log, Some(&enrolling.vault))?;
    let role_id = role_id(&arguments.role_id)?;
    let protection = match arguments.store {
        EnrollStore::Tpm2 => {
            let pcrs = match &arguments.pcrs {
                Some(text) => text.parse().map_err(|_| {
                    CommandError::Argument("--pcrs takes numbers from 0 to 23, like 7".to_owned())
                })?,
                None => mcp_bridge_tpm::PcrSet::default(),
            };
            Protection::Tpm2(SealOptions { pcrs, pin: None })
        }
        EnrollStore::PlainFile if arguments.i_understand_this_is_not_protected => {
            Protection::PlainFile
        }
        EnrollStore::PlainFile => {
            return Err(CommandError::Argument(format!(
                "--store plain-file is {}. If that is understood: \
                 --i-understand-this-is-not-protected",
                Store::PlainFile.label()
            )));
        }
        EnrollStore::External => return external(&enrolling),
    };
    super::block_on(async move {
        let place = &enrolling.place;
        let sealer = enrolled::sealer(place)?;
        let locked =
            enrolled::check_place(&place.file, &protection, &*sealer, arguments.force).await?;
        let token = token(&enrolling)?;
        let enrolment = Enrolment {
            server: enrolling.vault.clone(),
            mount: enrolling.auth_mount.clone(),
            role: enrolling.role.clone(),
            role_id,
            accessor: arguments.accessor.clone(),
            self_rotate: arguments.self_rotate,
            protection,
        };
        let expires_at =
            enrolled::enrol(&enrolment, &locked, &place.file, &*sealer, &token).await?;
        drop(locked);
        let label = label(&enrolment.protection, &*sealer).await?;
        let end = match expires_at {
            Some(at) => format!("expires in {} days", at.saturating_sub(enrolled::now()) / 86400),
            None => "never expires".to_owned(),
        };
        let text = format!(
            "enrolled: {} ({label}; {end})\nVault: {}\nnext: mcp-bridge doctor; mcp-bridge \
             client-config CLIENT --install\n",
            place.file.display(),
            enrolment.server.names()
        );
        process::output(text.as_bytes())?;
        Ok(Exit::Success)
    })
}

/// What the store is worth, in words.
async fn label(
    protection: &Protection,
    sealer: &dyn mcp_bridge_tpm::Sealer,
) -> Result<&'static str, EnrolledError> {
    Ok(match protection {
        Protection::Tpm2(_) => {
            let info = sealer.info().await.map_err(mcp_bridge_tpm::CredentialError::from)?;
            info.maker.label()
        }
        Protection::PlainFile => Store::PlainFile.label(),
    })
}

/// Says what to set where a wrapping token comes at each start; keeps nothing.
fn external(enrolling: &Enrolling) -> Result<Exit, CommandError> {
    let address = enrolling.vault.names();
    let text = format!(
        "Nothing is stored. At each start of the bridge, deliver a fresh wrapping token of role {} \
         in a file, and set for it:\n\n  {}={}\n  {}={}\n  {}=FILE with the role_id\n  \
         {}=FILE with the wrapping token\n\nEach token serves one start: a second bridge needs \
         another one. The secret_id stays in the bridge's memory while it runs.\n",
        enrolling.role,
        names::ADDRESS.variable,
        address,
        names::ROLE.variable,
        enrolling.role,
        names::ROLE_ID_FILE.variable,
        names::WRAPPING_TOKEN_FILE.variable,
    );
    process::output(text.as_bytes())?;
    Ok(Exit::Success)
}

fn role_id(text: &str) -> Result<SecretString, CommandError> {
    let text = match text.strip_prefix('@') {
        None => text.to_owned(),
        Some(path) => std::fs::read_to_string(path).map_err(|error| {
            CommandError::Argument(format!("--role-id @{path}: {}", error.kind()))
        })?,
    };
    let id = text.trim();
    if id.is_empty() || !id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(CommandError::Argument("--role-id isn't a role's id".to_owned()));
    }
    Ok(SecretString::from(id))
}

/// Reads the wrapping token: from its file, or the first line of stdin.
fn token(enrolling: &Enrolling) -> Result<WrappingToken, CommandError> {
    let (place, token) = match &enrolling.token {
        Some(path) => (path.display().to_string(), WrappingToken::from_file(path)),
        None => {
            if std::io::stdin().is_terminal() {
                process::note("wrapping token (then Enter):");
            }
            let mut stdin = BufReader::new(std::io::stdin().lock());
            ("stdin".to_owned(), WrappingToken::from_stream(&mut stdin))
        }
    };
    token.map_err(|error: SecretError| {
        CommandError::Argument(format!("no wrapping token in {place}: {error}"))
    })
}
