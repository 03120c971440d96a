//! Opens the credential that `enroll` kept: with the one server that it is for.

mod authority;
mod enrol;
mod error;
mod keep;
mod leftover;
pub(crate) mod life;
pub(crate) mod pin;
mod rotate;
mod update;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mcp_bridge_tpm::sealer::helper::HelperSealer;
use mcp_bridge_tpm::{
    Credential, CredentialError, CredentialFile, SealedCredential, Sealer, Tcti, TpmError,
    UnsealOptions,
};

use crate::config::{Enrolled, Mount, VaultServer, addresses, is_server_name, names};
use crate::secret::{RoleId, SecretId};
use crate::vault::{Kept, Opened, jitter};

pub(crate) use authority::remove_copies;
pub(crate) use enrol::{Enrolment, enrol};
pub(crate) use error::EnrolledError;
pub(crate) use keep::{Protection, check_place};
pub(crate) use leftover::{Leftover, destroy_command};
pub(crate) use life::WARN;
pub(crate) use rotate::{Asked, destroy, rotate};
pub(crate) use update::{Change, PinChange, update};

/// Opens the credential for one login.
///
/// # Errors
///
/// [`EnrolledError`], whose text says what to do.
pub(crate) async fn open(place: &Enrolled) -> Result<Opened, EnrolledError> {
    let sealed = CredentialFile::new(place.file.clone()).read().map_err(CredentialError::from)?;
    let sealer = sealer(place)?;
    let credential = unseal_at(place, &sealed, &*sealer).await?;
    opened(place, &credential)
}

/// The TPM behind the helper program.
///
/// # Errors
///
/// [`EnrolledError::Kept`] if the way to it can't be read.
pub(crate) fn sealer(place: &Enrolled) -> Result<Box<dyn Sealer>, EnrolledError> {
    let tcti = match &place.tcti {
        Some(text) => text.parse().map_err(CredentialError::from)?,
        None => Tcti::default(),
    };
    let sealer = HelperSealer::beside_this_program(tcti).map_err(CredentialError::from)?;
    Ok(Box::new(sealer))
}

/// Opens the container of a place, with the PIN that the settings lead to.
///
/// # Errors
///
/// [`EnrolledError`]; nothing is tried twice, since the TPM counts wrong PINs.
pub(crate) async fn unseal_at(
    place: &Enrolled,
    sealed: &SealedCredential,
    sealer: &dyn Sealer,
) -> Result<Credential, EnrolledError> {
    unseal(sealed, sealer, &pin::options(place, sealed.header())?).await
}

/// Opens a container, and says so if it takes long: slow TPMs need seconds, and one without a
/// resource manager has few slots for all who use it at once.
async fn unseal(
    sealed: &SealedCredential,
    sealer: &dyn Sealer,
    options: &UnsealOptions,
) -> Result<Credential, EnrolledError> {
    let patiently = async {
        let mut pause = BUSY_PAUSE;
        loop {
            match sealed.open(sealer, options).await {
                // No PIN was tried: the TPM had no room for the question.
                Err(CredentialError::Tpm(TpmError::Busy { .. })) if pause < BUSY_LIMIT => {
                    tokio::time::sleep(jitter(pause, 50)).await;
                    pause *= 2;
                }
                outcome => return outcome,
            }
        }
    };
    let mut opening = std::pin::pin!(patiently);
    let credential = tokio::select! {
        credential = &mut opening => credential,
        () = tokio::time::sleep(SLOW) => {
            tracing::warn!("waiting for the TPM to unseal the credential");
            opening.await
        }
    };
    Ok(credential?)
}

/// Joins a credential with the server that it names; what the settings say of another is named in
/// the log and not followed.
fn opened(place: &Enrolled, credential: &Credential) -> Result<Opened, EnrolledError> {
    let server = server_of(place, credential)?;
    if let Some(ignored) = ignored(place, &server) {
        tracing::warn!("{ignored}");
    }
    let unusable = |_| EnrolledError::Unusable("its role_id or secret_id is no text of one line");
    Ok(Opened {
        mount: Mount::parse(&credential.vault.auth_mount)
            .ok_or(EnrolledError::Unusable("its auth mount isn't a path"))?,
        role_id: RoleId::new(&credential.role_id).map_err(unusable)?,
        secret_id: SecretId::new(&credential.secret_id).map_err(unusable)?,
        kept: kept(credential),
        server,
    })
}

fn kept(credential: &Credential) -> Kept {
    Kept {
        issued_at: credential.issued_at,
        expires_at: credential.expires_at,
        self_rotating: credential.role_name.is_some(),
        has_previous: credential.previous_accessor.is_some(),
    }
}

/// The one server that a credential is for.
///
/// # Errors
///
/// [`EnrolledError::Unusable`] or [`EnrolledError::Authority`].
pub(crate) fn server_of(
    place: &Enrolled,
    credential: &Credential,
) -> Result<VaultServer, EnrolledError> {
    let binding = &credential.vault;
    let pinned = match &binding.ca_sha256 {
        Some(digest) => Some(authority::read(&place.file, digest)?),
        None => None,
    };
    let server_name = &binding.tls_server_name;
    if server_name.as_ref().is_some_and(|name| !is_server_name(name)) {
        return Err(EnrolledError::Unusable("the name in Vault's certificate isn't one"));
    }
    Ok(VaultServer {
        addresses: addresses(&binding.address)
            .ok_or(EnrolledError::Unusable("its Vault address isn't one"))?,
        namespace: binding.namespace.clone(),
        ca_cert: None,
        pinned,
        identity: place.identity.clone(),
        server_name: server_name.clone(),
    })
}

/// Says which settings name another server than the credential's own.
pub(crate) fn ignored(place: &Enrolled, server: &VaultServer) -> Option<String> {
    let told = &place.told;
    let mut ignored = Vec::new();
    if let Some(urls) = &told.addresses
        && urls.iter().any(|url| !server.addresses.contains(url))
    {
        let shown = urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        ignored.push(format!("{} ({shown})", told.named_by));
    }
    if told.namespace.is_some() && told.namespace != server.namespace {
        ignored.push(names::NAMESPACE.both());
    }
    let trusted = |path| std::fs::read(path).ok().as_deref() == server.pinned.as_deref();
    if told.ca_cert.as_ref().is_some_and(|path| !trusted(path)) {
        ignored.push(names::CA_CERT.both());
    }
    if told.server_name.is_some() && told.server_name != server.server_name {
        ignored.push(names::TLS_SERVER_NAME.both());
    }
    (!ignored.is_empty()).then(|| {
        format!(
            "this machine's credential is kept for {} alone and goes nowhere else; ignored: {}",
            server.names(),
            ignored.join(", ")
        )
    })
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The first pause after the TPM was busy; each further one is twice as long.
const BUSY_PAUSE: Duration = Duration::from_millis(100);
/// No pause is as long: some seven seconds in all.
const BUSY_LIMIT: Duration = Duration::from_secs(5);
/// An unsealing that takes longer is told.
const SLOW: Duration = Duration::from_secs(2);
