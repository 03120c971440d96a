//! Checks the enrolled credential: its file, what protects it, and how long it serves.

use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use mcp_bridge_tpm::object::Lockout;
use mcp_bridge_tpm::pcr::describe;
use mcp_bridge_tpm::sealed::Store;
use mcp_bridge_tpm::{
    Credential, CredentialError, CredentialFile, FileError, SealedCredential, Sealer, TpmError,
    TpmObject,
};

use crate::config::{Enrolled, VaultServer};
use crate::enrolled::{self, EnrolledError};
use crate::error::Exit;

use super::super::report::{Fault, Report};
use super::Opening;

const LINK: &str = "credential";
const DAY: u64 = 86400;

/// Tells of the credential all that can be known, each fact by itself; gives the server that it is
/// for if it can be opened, none if its PIN wasn't to be tried, else the exit status for what broke
/// first.
pub(super) async fn credential(
    place: &Enrolled,
    opening: Opening,
    report: &mut Report,
) -> Result<Option<VaultServer>, Exit> {
    let shown = place.file.display();
    let file = CredentialFile::new(place.file.clone());
    let sealed = match file.read() {
        Ok(sealed) => sealed,
        Err(error) => {
            let error = EnrolledError::from(CredentialError::from(error));
            report.fail(LINK, error.to_string(), Fault::ThisMachine, mend(&error));
            return Err(broken(&error));
        }
    };
    let sealer = match enrolled::sealer(place) {
        Ok(sealer) => sealer,
        Err(error) => {
            report.fail(LINK, error.to_string(), Fault::ThisMachine, "mend --tcti");
            return Err(broken(&error));
        }
    };
    let age = enrolled::now().saturating_sub(sealed.header().created) / DAY;
    let made = format!("{shown}, kept on {} {age} days ago", sealed.header().host);
    let obstacle = match (&sealed.header().store, &sealed.header().tpm2) {
        (Store::Tpm2, Some(object)) => {
            report.ok(LINK, format!("{made}: {}", object.tpm.label()));
            tpm(object, &*sealer, report).await
        }
        (store @ (Store::Tpm2 | Store::PlainFile), _) => {
            report.warn(
                LINK,
                format!("{made}: {}", store.label()),
                Fault::ThisMachine,
                "where there is a TPM: mcp-bridge enroll --update --store tpm2",
            );
            None
        }
    };
    users(report);
    let has_pin = sealed.header().tpm2.as_ref().is_some_and(|object| object.policy.pin);
    let outcome = match obstacle {
        Some(error) if has_pin && !opening.with_pin => Err(CredentialError::from(error).into()),
        None if has_pin && !opening.with_pin => {
            let text = "it wasn't opened, since that takes its PIN: which Vault it is for and when \
                        it expires isn't known. mcp-bridge status --deep opens it";
            report.ok(LINK, text);
            return Ok(None);
        }
        Some(_) | None => enrolled::unseal_at(place, &sealed, &*sealer).await,
    };
    match outcome {
        Ok(credential) => opened(place, &credential, report).map(Some),
        Err(error) => {
            report.fail(LINK, told(&error, &sealed), Fault::ThisMachine, mend(&error));
            Err(broken(&error))
        }
    }
}

/// What can't be opened, and what therefore can't be known.
fn told(error: &EnrolledError, sealed: &SealedCredential) -> String {
    let unknown = match sealed.header().store {
        Store::Tpm2 => ". Which Vault it is for and when it expires can't be told without the TPM",
        Store::PlainFile => "",
    };
    format!("{error}{unknown}")
}

/// Tells of the TPM: maker, the storage key, registers, lockout; gives what will keep it from
/// unsealing, as far as that can be told without trying.
async fn tpm(object: &TpmObject, sealer: &dyn Sealer, report: &mut Report) -> Option<TpmError> {
    let info = match sealer.info().await {
        Ok(info) => info,
        Err(error) => {
            let text = "the TPM can't be asked: its maker, its storage key, the registers and its \
                        count of wrong PINs aren't known";
            report.warn(LINK, text, Fault::ThisMachine, "see what fails below");
            return Some(error);
        }
    };
    let kind = if info.maker.is_software() { "software or virtual" } else { "hardware" };
    let mut obstacle = (!info.has_parent_of(object)).then_some(TpmError::OtherTpm);
    // Otherwise the obstacle's own line tells.
    let parent = if obstacle.is_none() {
        "holds the storage key that the credential was sealed under; "
    } else {
        ""
    };
    report.ok(
        LINK,
        format!(
            "TPM of {} ({}, {kind}), firmware {}; {parent}PIN: {}",
            info.maker.manufacturer,
            info.maker.vendor.trim(),
            info.maker.firmware,
            if object.policy.pin { "yes" } else { "no" },
        ),
    );
    lockout(info.lockout, object.policy.pin, report);
    if object.policy.pin {
        // One try that is left is a person's to spend.
        obstacle = obstacle.or(info.lockout.permit_try(true).err());
    }
    if object.policy.pcrs.is_empty() {
        return obstacle;
    }
    match sealer.pcr_diff(&object.policy).await {
        Ok(drift) if drift.is_empty() => {
            report.ok(LINK, "every register that it is bound to is as it was");
        }
        Ok(drift) => {
            let changed = drift.iter().map(|one| format!("{} ({})", one.pcr, describe(one.pcr)));
            report.warn(
                LINK,
                format!("changed registers: {}", changed.collect::<Vec<_>>().join(", ")),
                Fault::ThisMachine,
                ENROLL,
            );
            obstacle = obstacle.or(Some(TpmError::PolicyMismatch { drift }));
        }
        Err(error) => {
            let text = format!("the registers can't be read: {error}");
            report.warn(LINK, text, Fault::ThisMachine, "try again");
        }
    }
    obstacle
}

/// Tells how many wrong PINs the TPM has counted, for all its users, where that matters.
fn lockout(lockout: Lockout, pin: bool, report: &mut Report) {
    let Lockout { counter, max_tries, recovery_seconds, locked } = lockout;
    let wait = format!("wait: one is forgotten every {recovery_seconds} s");
    if locked && !pin {
        let text = format!("the TPM is locked after {counter} failures; this needs no PIN");
        report.warn(LINK, text, Fault::ThisMachine, wait);
    } else if locked || (pin && lockout.tries_left() <= 1) {
        let state = if locked { "is locked" } else { "will lock at the next one" };
        let text = format!(
            "the TPM has counted {counter} of {max_tries} wrong PINs or power cuts and {state}"
        );
        report.warn(LINK, text, Fault::ThisMachine, wait);
    } else if pin {
        let text = format!("the TPM has counted {counter} of {max_tries} wrong PINs or power cuts");
        report.ok(LINK, text);
    }
}

/// Tells who can open the credential: no store keeps it from the programs of its own user.
fn users(report: &mut Report) {
    let user = rustix::process::geteuid();
    // Root is told of by itself.
    if user.is_root() || holds(user.as_raw()) {
        return;
    }
    report.warn(
        LINK,
        format!(
            "every program of this user (uid {}) can open it: if the agent is one, it can log in \
             to Vault by itself",
            user.as_raw()
        ),
        Fault::ThisMachine,
        "let a system user of its own enrol and run mcp-bridge serve --socket, and the agent's \
         client mcp-bridge attach",
    );
}

/// Whether a user has a socket where holders put theirs (mcp-bridge@.service), and so is apart from
/// the agents.
fn holds(user: u32) -> bool {
    let run = Path::new("/run/mcp-bridge");
    let folders = std::fs::read_dir(run).into_iter().flatten().flatten().map(|entry| entry.path());
    folders.chain([run.to_owned()]).any(|folder| {
        let socket = folder.join("mcp-bridge.sock").symlink_metadata();
        socket.is_ok_and(|data| data.file_type().is_socket() && data.uid() == user)
    })
}

/// Tells what the opened credential says: expiry, server, and settings that say otherwise.
fn opened(
    place: &Enrolled,
    credential: &Credential,
    report: &mut Report,
) -> Result<VaultServer, Exit> {
    let server = match enrolled::server_of(place, credential) {
        Ok(server) => server,
        Err(error) => {
            report.fail(LINK, error.to_string(), Fault::ThisMachine, ENROLL);
            return Err(broken(&error));
        }
    };
    let rotation = if credential.role_name.is_some() { "itself" } else { "by enrolling again" };
    report.ok(
        LINK,
        format!(
            "for {}{}{}, AppRole at auth/{}; authority: {}; secret_id accessor {}; renewed \
             {rotation}",
            server.names(),
            server.server_name.as_ref().map(|name| format!(" (as {name})")).unwrap_or_default(),
            server.namespace.as_ref().map(|name| format!(", namespace {name}")).unwrap_or_default(),
            credential.vault.auth_mount,
            if server.pinned.is_some() { "pinned" } else { "the system's" },
            credential.secret_id_accessor,
        ),
    );
    if let Some(previous) = &credential.previous_accessor {
        before(credential, previous, report);
    }
    if let Some(ignored) = enrolled::ignored(place, &server) {
        report.warn(LINK, ignored, Fault::ThisMachine, "unset them");
    }
    let again = "an operator runs mcp-bridge provision AGENT, and you mcp-bridge enroll --force";
    match credential.expires_at.map(|at| (at.checked_sub(enrolled::now()), at)) {
        None => report.ok(LINK, "the secret_id never expires"),
        Some((None, _)) => {
            report.fail(LINK, "the secret_id has expired", Fault::VaultOperator, again);
        }
        Some((Some(left), _)) if left <= enrolled::WARN.as_secs() => report.warn(
            LINK,
            format!("the secret_id expires in {} days", left / DAY),
            Fault::VaultOperator,
            again,
        ),
        Some((Some(left), _)) => {
            report.ok(LINK, format!("the secret_id expires in {} days", left / DAY));
        }
    }
    Ok(server)
}

/// Tells of the secret_id before, which logs in too until it is destroyed.
fn before(credential: &Credential, previous: &str, report: &mut Report) {
    let text = format!("the secret_id before it logs in too, accessor {previous}");
    let age = enrolled::now().saturating_sub(credential.issued_at);
    if age < 2 * enrolled::life::SETTLED.as_secs() {
        report.ok(LINK, format!("{text}: a bridge that runs destroys it soon"));
        return;
    }
    let role = credential.role_name.as_deref().unwrap_or("ROLE");
    let command = enrolled::destroy_command(&credential.vault.auth_mount, role, previous);
    report.warn(LINK, text, Fault::VaultOperator, command);
}

/// What mends it: no new credential where the old one is only out of reach.
fn mend(error: &EnrolledError) -> String {
    let EnrolledError::Kept(error) = error else { return ENROLL.to_owned() };
    if let CredentialError::File(FileError::OpenToOthers { path, .. }) = error {
        format!("chmod go= {path}")
    } else if let CredentialError::File(FileError::ForeignOwner { .. }) = error {
        "run it as the file's owner, or enrol as this user".to_owned()
    } else if let CredentialError::Tpm(TpmError::NoPermission { .. }) = error {
        "the command in the text".to_owned()
    } else if let CredentialError::Tpm(TpmError::PinMissing | TpmError::WrongPin { .. }) = error {
        format!("give the right PIN; if it is lost: {ENROLL}")
    } else if let CredentialError::Tpm(
        TpmError::NearLockout { wait_seconds, .. } | TpmError::Lockout { wait_seconds },
    ) = error
    {
        format!("wait {wait_seconds} s, and try no other PINs")
    } else {
        ENROLL.to_owned()
    }
}

/// The exit status, which must say that something is broken.
fn broken(error: &EnrolledError) -> Exit {
    let exit = error.exit();
    // No credential is there: for `status` a finding like any other.
    if exit == Exit::Usage { Exit::CredentialRefused } else { exit }
}

const ENROLL: &str =
    "have an operator run mcp-bridge provision AGENT, and run mcp-bridge enroll --force";
