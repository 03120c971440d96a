//! Checks what this machine alone can tell: settings, the credential's files, clients.

use std::path::Path;

use crate::commands::client_config::{State, installed};
use crate::config::{Config, CredentialSource, Environment};
use crate::private;
use crate::process;
use crate::secret::{RoleId, SecretError, SecretId, VaultToken};

use super::super::report::{Fault, Report};

/// Tells which settings are in force.
pub(super) fn configuration(config: &Config, report: &mut Report) {
    let file = config.file.as_ref().map_or_else(
        || "flags and environment alone".to_owned(),
        |path| path.display().to_string(),
    );
    let profile = config.profile.as_ref().map(|name| format!(", profile {name}"));
    let namespace = config.vault.namespace.as_ref().map(|name| format!(", namespace {name}"));
    report.ok(
        "configuration",
        format!(
            "{file}{}; Vault at {}{}, engine at {}/",
            profile.unwrap_or_default(),
            config.vault.names(),
            namespace.unwrap_or_default(),
            config.mount
        ),
    );
    for ignored in &config.ignored {
        report.warn("configuration", ignored.as_str(), Fault::ThisMachine, "unset VAULT_ADDR");
    }
    if config.vault.is_plain_and_far() {
        report.warn(
            "configuration",
            "Vault's address is plain http to another machine: whoever listens reads the token",
            Fault::VaultOperator,
            "give Vault's listener a certificate, and use https://",
        );
    }
    if process::is_root() {
        report.warn(
            "configuration",
            "this runs as root, whom no file's permissions stop",
            Fault::ThisMachine,
            "run the bridge and its agent as a user of their own",
        );
    }
}

/// Tells whether the credential can be read, and how well it is kept.
pub(super) fn credential(source: &CredentialSource, report: &mut Report) -> bool {
    let before = report.holds();
    match source {
        CredentialSource::AppRole { mount, role_id, secret_id } => {
            let readable = readable(role_id, RoleId::from_file(role_id).err(), report)
                & readable(secret_id, SecretId::from_file(secret_id).err(), report);
            if readable {
                report.ok(
                    "credential",
                    format!(
                        "AppRole at auth/{mount}, kept in files. NOT PROTECTED: whoever copies \
                         {} and {} has it",
                        role_id.display(),
                        secret_id.display()
                    ),
                );
            }
        }
        CredentialSource::TokenFile(path) => {
            if readable(path, VaultToken::from_file(path).err(), report) {
                report.warn(
                    "credential",
                    format!(
                        "a token in {}: it ends some day, and nothing renews it then",
                        path.display()
                    ),
                    Fault::ThisMachine,
                    "use AppRole for machines: --role-id-file and --secret-id-file",
                );
            }
        }
        CredentialSource::Environment(_) => report.ok("credential", "VAULT_TOKEN"),
    }
    report.holds() == before
}

fn readable(path: &Path, error: Option<SecretError>, report: &mut Report) -> bool {
    let shown = path.display();
    let Some(error) = error else {
        if std::fs::metadata(path).is_ok_and(|data| private::is_shared(&data)) {
            report.warn(
                "credential",
                format!("other users may read {shown}"),
                Fault::ThisMachine,
                format!("chmod 600 {shown}"),
            );
        }
        return true;
    };
    let mend = match error {
        SecretError::Missing => format!("put the credential into {shown}"),
        SecretError::Unreadable => {
            format!("make {shown} readable by the user that runs the bridge")
        }
        SecretError::Empty | SecretError::Malformed => {
            format!("put one line into {shown}: the credential and nothing else")
        }
    };
    report.fail("credential", format!("{shown}: {error}"), Fault::ThisMachine, mend);
    false
}

/// Tells which clients on this machine start the bridge.
pub(super) fn clients(environment: &Environment, report: &mut Report) {
    let installed = installed(environment);
    if installed.is_empty() {
        report.warn(
            "client",
            "no MCP client's own file names the bridge (a project's file may)",
            Fault::ThisMachine,
            "mcp-bridge client-config CLIENT --install",
        );
    }
    for found in installed {
        let (title, shown) = (found.client.title(), found.path.display());
        let again = format!("mcp-bridge client-config {} --install", found.client.key());
        match found.state {
            State::Sound(name) => {
                report.ok("client", format!("{title}: {name:?} in {shown}"));
            }
            State::ProgramMissing(program) => report.fail(
                "client",
                format!("{title}: {shown} starts {}, which isn't there", program.display()),
                Fault::ThisMachine,
                again,
            ),
            State::HoldsToken => report.fail(
                "client",
                format!("{title}: a Vault token stands in {shown}, and the bridge never uses it"),
                Fault::ThisMachine,
                format!("take VAULT_TOKEN out of {shown}, and revoke that token"),
            ),
            State::Unreadable(error) => report.fail(
                "client",
                format!("{title}: {shown} {error}"),
                Fault::ThisMachine,
                format!("mend {shown} by hand"),
            ),
        }
    }
}
