//! Prints, installs or takes out the bridge's entry in an MCP client's configuration.

use std::path::{Path, PathBuf};

use super::clients::{self, Client, EditError, Entry};
use crate::cli;
use crate::config::{Config, Environment, OperatorToken, names};
use crate::error::{CommandError, Exit};
use crate::process;
#[cfg(unix)]
use crate::socket;

/// Prints the entry, or writes it to the client's own file, or takes it out.
///
/// # Errors
///
/// [`CommandError::Argument`] if the file can't be changed; it is as it was then.
pub(crate) fn run(
    settings: &cli::Settings,
    arguments: &cli::ClientConfig,
) -> Result<Exit, CommandError> {
    let client = arguments.client;
    let name = &arguments.name;
    let usable = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if !usable {
        return Err(CommandError::Argument(format!(
            "--name: letters, digits, _ and -, at most {MAX_NAME}: models see it in each tool's name"
        )));
    }
    let environment = Environment::of_process();
    let path = arguments.file.clone().or_else(|| client.file(&environment)).ok_or_else(|| {
        CommandError::Argument("there is no home directory: say where with --file".to_owned())
    })?;
    let failed = |error: EditError| {
        CommandError::Argument(format!("{}: {} {error}", client.title(), path.display()))
    };
    let title = client.title();
    let shown = path.display();
    if arguments.uninstall {
        let before = clients::read(&path).map_err(failed)?;
        let after = client.take_out(&before, name).map_err(failed)?;
        if after == before {
            return say(&format!("{title}: nothing named {name:?} in {shown}\n"));
        }
        clients::write(&path, &after).map_err(failed)?;
        return say(&format!("{title}: took {name:?} out of {shown}\n"));
    }
    #[cfg(unix)]
    let entry =
        if arguments.attach { attaching(&environment)? } else { entry(settings, &environment)? };
    #[cfg(not(unix))]
    let entry = entry(settings, &environment)?;
    if arguments.install {
        let before = clients::read(&path).map_err(failed)?;
        let after = client.put(&before, name, &entry).map_err(failed)?;
        if after == before {
            return say(&format!("{title}: {name:?} is in {shown} already\n"));
        }
        clients::write(&path, &after).map_err(failed)?;
        return say(&format!("{title}: wrote {name:?} to {shown}; restart the client to use it\n"));
    }
    process::note(&format!("# For {shown}; --install writes it there."));
    say(&client.put("", name, &entry).map_err(failed)?)
}

fn say(text: &str) -> Result<Exit, CommandError> {
    process::output(text.as_bytes()).map(|()| Exit::Success)
}

/// The settings of this command line and environment, as flags: a client starts the bridge in an
/// environment of its own. What stands in the configuration file is found there again.
fn entry(settings: &cli::Settings, environment: &Environment) -> Result<Entry, CommandError> {
    // What the environment says of a foreign server isn't followed when serving, so not kept either.
    let foreign = match Config::load(settings, environment, OperatorToken::Ignored) {
        Ok(config) => !config.ignored.is_empty(),
        Err(errors) => {
            process::note(&format!("mcp-bridge: not ready to serve yet: {errors}"));
            false
        }
    };
    let mut args = Vec::new();
    let text = |path: &Option<PathBuf>| path.as_deref().map(|path| path.display().to_string());
    for (setting, flag, is_path) in [
        (names::CONFIG, text(&settings.config), true),
        (names::PROFILE, settings.profile.clone(), false),
        (names::ADDRESS, settings.address.clone(), false),
        (names::NAMESPACE, settings.namespace.clone(), false),
        (names::MOUNT, settings.mount.clone(), false),
        (names::CA_CERT, text(&settings.ca_cert), true),
        (names::CLIENT_CERT, text(&settings.client_cert), true),
        (names::CLIENT_KEY, text(&settings.client_key), true),
        (names::TLS_SERVER_NAME, settings.tls_server_name.clone(), false),
        (names::AUTH_MOUNT, settings.auth_mount.clone(), false),
        (names::ROLE_ID_FILE, text(&settings.role_id_file), true),
        (names::SECRET_ID_FILE, text(&settings.secret_id_file), true),
        (names::TOKEN_FILE, text(&settings.token_file), true),
        (names::CREDENTIAL, text(&settings.credential), true),
        (names::PIN_FILE, text(&settings.pin_file), true),
        (names::WRAPPING_TOKEN_FILE, text(&settings.wrapping_token_file), true),
        (names::ROLE, settings.role.clone(), false),
        (names::TCTI, settings.tcti.clone(), false),
        (names::LOG_FILE, text(&settings.log_file), true),
    ] {
        let followed = !(foreign && setting.variable.starts_with("VAULT_"));
        let variable = || environment.var(setting.variable).filter(|_| followed);
        let value = flag.or_else(|| variable().map(str::to_owned));
        let Some(value) = value else { continue };
        // A URL with a user has a password in it; no other setting can hold a secret.
        if setting.flag == names::ADDRESS.flag && value.contains('@') {
            return Err(CommandError::Argument(format!(
                "{}: an address with a user in it isn't written to a file",
                setting.both()
            )));
        }
        args.push(setting.flag.to_owned());
        args.push(if is_path { absolute(&value) } else { value });
    }
    Ok(Entry { command: program()?, args })
}

/// The entry of a client whose bridge runs as another user: nothing but where its socket is.
#[cfg(unix)]
fn attaching(environment: &Environment) -> Result<Entry, CommandError> {
    let mut args = vec!["attach".to_owned()];
    if let Some(path) = environment.var(socket::VARIABLE) {
        args.extend(["--socket".to_owned(), absolute(path)]);
    }
    Ok(Entry { command: program()?, args })
}

fn program() -> Result<String, CommandError> {
    let program = std::env::current_exe()
        .map_err(|_| CommandError::Start("this program's own path isn't known"))?;
    Ok(program.display().to_string())
}

/// A client starts the bridge in a directory of its own choice.
fn absolute(path: &str) -> String {
    std::path::absolute(Path::new(path))
        .map_or_else(|_| path.to_owned(), |path| path.display().to_string())
}

/// Tools are called `mcp__<name>__<tool>`, at most 64 characters in all.
const MAX_NAME: usize = 20;

/// The clients whose files name the bridge, for `doctor`.
pub(super) fn installed(environment: &Environment) -> Vec<Installed> {
    let mut all = Vec::new();
    for client in Client::ALL {
        let Some(path) = client.file(environment).filter(|path| path.exists()) else { continue };
        let listed = clients::read(&path).and_then(|text| client.list(&text));
        match listed {
            Err(error) => all.push(Installed { client, path, state: State::Unreadable(error) }),
            Ok(found) => {
                for found in found.into_iter().filter(clients::Found::is_bridge) {
                    let program = PathBuf::from(found.command.first().cloned().unwrap_or_default());
                    let missing = program.is_absolute() && !program.exists();
                    let secret =
                        found.variables.into_iter().find(|name| name == names::VAULT_TOKEN);
                    let state = match (missing, secret) {
                        (true, _) => State::ProgramMissing(program),
                        (false, Some(_)) => State::HoldsToken,
                        (false, None) => State::Sound(found.name),
                    };
                    all.push(Installed { client, path: path.clone(), state });
                }
            }
        }
    }
    all
}

/// What a client's file says of the bridge.
pub(super) struct Installed {
    /// The client.
    pub(super) client: Client,
    /// Its file.
    pub(super) path: PathBuf,
    /// What is in it.
    pub(super) state: State,
}

/// Whether a client can start the bridge.
pub(super) enum State {
    /// It can, under this name.
    Sound(String),
    /// The program isn't there any more.
    ProgramMissing(PathBuf),
    /// A Vault token stands in the file.
    HoldsToken,
    /// The file can't be read.
    Unreadable(EditError),
}
