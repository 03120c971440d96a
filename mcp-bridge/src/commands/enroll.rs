//! Gives this machine its credential, out of a wrapping token that serves once.

mod update;

use std::io::{BufReader, IsTerminal as _};

use mcp_bridge_tpm::{
    Credential, CredentialError, CredentialFile, PcrSet, Pin, SealOptions, Sealer, Store,
};
use secrecy::SecretString;

use crate::cli::{self, EnrollStore};
use crate::config::{Enrolled, Enrolling, Environment, Mount, PinSource, names};
use crate::enrolled::{self, EnrolledError, Enrolment, Leftover, Protection};
use crate::error::{CommandError, Exit};
use crate::process;
use crate::secret::{SecretError, WrappingToken};

/// Enrols this machine, or keeps what it has in another way.
///
/// # Errors
///
/// [`CommandError`]; its text says whether the wrapping token was spent.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Enroll) -> Result<Exit, CommandError> {
    if arguments.update {
        return update::run(settings, arguments);
    }
    let enrolling = Enrolling::load(settings, &Environment::of_process())?;
    super::start(&enrolling.log, Some(&enrolling.vault))?;
    if enrolling.vault.is_plain_and_far() {
        return Err(CommandError::Argument(
            "Vault's address is plain http to another machine: whoever listens would read the \
             wrapping token and the secret_id, so neither is sent. Give Vault's listener a \
             certificate, and use https://"
                .to_owned(),
        ));
    }
    let role_id = role_id(arguments.role_id.as_deref().unwrap_or_default())?;
    let protection = match arguments.store.unwrap_or(EnrollStore::Tpm2) {
        EnrollStore::Tpm2 => Protection::Tpm2(SealOptions {
            pcrs: pcrs(arguments)?.unwrap_or_default(),
            pin: new_pin(arguments, &enrolling.place)?,
        }),
        EnrollStore::PlainFile => plain_file(arguments)?,
        EnrollStore::External => return external(&enrolling),
    };
    super::block_on(async move {
        let place = &enrolling.place;
        let sealer = enrolled::sealer(place)?;
        let locked =
            enrolled::check_place(&place.file, &protection, &*sealer, arguments.force).await?;
        let (former, unknown) = former(place, arguments, &*sealer).await;
        let token = token(&enrolling)?;
        let enrolment = Enrolment {
            server: enrolling.vault.clone(),
            mount: enrolling.auth_mount.clone(),
            role: enrolling.role.clone(),
            role_id,
            accessor: arguments.accessor.clone(),
            self_rotate: arguments.self_rotate,
            protection,
            former,
        };
        let done = enrolled::enrol(&enrolment, &locked, &place.file, &*sealer, &token).await?;
        drop(locked);
        let label = label(&enrolment.protection, &*sealer).await?;
        let end = match done.expires_at {
            Some(at) => format!("expires in {} days", at.saturating_sub(enrolled::now()) / 86400),
            None => "never expires".to_owned(),
        };
        let before = done.former.map(|former| told(&former)).or(unknown);
        let text = format!(
            "enrolled: {} ({label}; {end})\nVault: {}\n{}next: mcp-bridge doctor; mcp-bridge \
             client-config CLIENT --install\n",
            place.file.display(),
            enrolment.server.names(),
            before.unwrap_or_default()
        );
        process::output(text.as_bytes())?;
        Ok(Exit::Success)
    })
}

/// Opens the credential that is to be replaced; where that fails, says what therefore lives on.
async fn former(
    place: &Enrolled,
    arguments: &cli::Enroll,
    sealer: &dyn Sealer,
) -> (Option<Credential>, Option<String>) {
    if place.file.symlink_metadata().is_err() {
        return (None, None);
    }
    let opened = async {
        // The file's PIN is the one to set: as a wrong one for the old credential it would count.
        if arguments.pin && arguments.new_pin_file.is_none() && enrolled::pin::is_set(place) {
            return Err(EnrolledError::Unfit(
                "its PIN isn't known: --pin-file gives it where --new-pin-file gives the new one",
            ));
        }
        let sealed =
            CredentialFile::new(place.file.clone()).read().map_err(CredentialError::from)?;
        enrolled::unseal_at(place, &sealed, sealer).await
    };
    match opened.await {
        Ok(former) => (Some(former), None),
        Err(error) => {
            tracing::warn!("the credential before can't be opened: {error}");
            let text = "the secret_id before lives on in Vault, and its accessor can't be read \
                        here: an operator finds it with vault list \
                        auth/approle/role/ROLE/secret-id, or ends all with mcp-bridge deprovision \
                        AGENT\n";
            (None, Some(text.to_owned()))
        }
    }
}

/// What became of the secret_id before, in words.
fn told(leftovers: &[Leftover]) -> String {
    match leftovers {
        [] => "the secret_id before is destroyed in Vault\n".to_owned(),
        leftovers => leftovers.iter().map(|one| format!("what was before: {one}\n")).collect(),
    }
}

/// The registers that are asked for, if any are named.
fn pcrs(arguments: &cli::Enroll) -> Result<Option<PcrSet>, CommandError> {
    match arguments.pcrs.as_deref() {
        None => Ok(None),
        Some("none") => Ok(Some(PcrSet::default())),
        Some(text) => text.parse().map(Some).map_err(|_| {
            CommandError::Argument("--pcrs takes numbers from 0 to 23, like 7, or none".to_owned())
        }),
    }
}

/// The PIN that is to be set, if one is asked for: from its file, else typed.
fn new_pin(arguments: &cli::Enroll, place: &Enrolled) -> Result<Option<Pin>, CommandError> {
    if !arguments.pin {
        return Ok(None);
    }
    let pin = match (&arguments.new_pin_file, &place.pin) {
        (Some(path), _) | (None, PinSource::File(path)) => enrolled::pin::from_file(path),
        (None, PinSource::None | PinSource::Typed(_)) => enrolled::pin::ask_new(),
    };
    Ok(Some(pin?))
}

/// A plain file, if somebody has said that this is understood.
fn plain_file(arguments: &cli::Enroll) -> Result<Protection, CommandError> {
    if !arguments.i_understand_this_is_not_protected {
        return Err(CommandError::Argument(format!(
            "--store plain-file is {}. If that is understood: \
             --i-understand-this-is-not-protected",
            Store::PlainFile.label()
        )));
    }
    if arguments.pin || arguments.pcrs.is_some() {
        return Err(EnrolledError::Unfit(
            "--pin and --pcrs are the TPM's: a plain file has neither",
        )
        .into());
    }
    Ok(Protection::PlainFile)
}

/// What the store is worth, in words.
async fn label(
    protection: &Protection,
    sealer: &dyn Sealer,
) -> Result<&'static str, EnrolledError> {
    Ok(match protection {
        Protection::Tpm2(_) => {
            let info = sealer.info().await.map_err(CredentialError::from)?;
            info.maker.label()
        }
        Protection::PlainFile => Store::PlainFile.label(),
    })
}

/// Says what to set where a wrapping token comes at each start; keeps nothing.
fn external(enrolling: &Enrolling) -> Result<Exit, CommandError> {
    let vault = &enrolling.vault;
    let mut text = format!(
        "Nothing is stored. At each start of the bridge, deliver a fresh wrapping token of role {} \
         in a file, and set for it:\n\n",
        enrolling.role
    );
    let ca_cert = vault.ca_cert.as_ref().map(|path| path.display().to_string());
    let auth_mount = enrolling.auth_mount.as_str();
    for (name, value) in [
        (names::ADDRESS, Some(vault.names().replace(", ", ","))),
        (names::NAMESPACE, vault.namespace.clone()),
        (names::CA_CERT, ca_cert),
        (names::TLS_SERVER_NAME, vault.server_name.clone()),
        (names::AUTH_MOUNT, (auth_mount != Mount::APPROLE).then(|| auth_mount.to_owned())),
        (names::ROLE, Some(enrolling.role.clone())),
        (names::ROLE_ID_FILE, Some("FILE with the role_id".to_owned())),
        (names::WRAPPING_TOKEN_FILE, Some("FILE with the wrapping token".to_owned())),
    ] {
        if let Some(value) = value {
            text.push_str(&format!("  {}={value}\n", name.variable));
        }
    }
    text.push_str(
        "\nEach token serves one start: a second bridge needs another one, and mcp-bridge call uses \
         one up too. The secret_id stays in the bridge's memory while it runs.\n",
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
