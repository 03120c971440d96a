//! Reads the configuration file: common settings at the top level, others in profiles.

use std::path::{Path, PathBuf};

use serde::Deserialize as _;
use toml::{Table, Value};

use super::layer::Layer;
use super::{ConfigError, Environment, names};
use crate::cli;

/// What the configuration file says.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// Its layers, strongest first: the chosen profile, then the top level.
    pub(super) layers: Vec<Layer>,
    /// Where it is; none if there is no file.
    pub(super) path: Option<PathBuf>,
    /// The chosen profile.
    pub(super) profile: Option<String>,
}

/// Reads the file, if there is one.
///
/// # Errors
///
/// [`ConfigError::File`] if a file that was asked for isn't there, or can't be understood.
pub(super) fn load(
    flags: &cli::Settings,
    environment: &Environment,
) -> Result<Loaded, ConfigError> {
    let asked =
        flags.config.clone().or_else(|| environment.var(names::CONFIG.variable).map(PathBuf::from));
    let required = asked.is_some();
    let profile = flags.profile.as_deref().or_else(|| environment.var(names::PROFILE.variable));
    let Some(path) = asked.or_else(|| default_path(environment)) else {
        return no_file(profile);
    };
    let fault = |problem: String| ConfigError::File { path: path.display().to_string(), problem };
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound && !required => {
            return no_file(profile);
        }
        Err(error) => return Err(fault(error.kind().to_string())),
    };
    let (mut layers, profile) = parse(&text, profile).map_err(fault)?;
    let directory = path.parent().unwrap_or(Path::new("."));
    for path in layers.iter_mut().flat_map(Layer::paths_mut) {
        *path = match path.strip_prefix("~") {
            Ok(rest) => environment.home().unwrap_or_default().join(rest),
            Err(_) => directory.join(&path),
        };
    }
    Ok(Loaded { layers, path: Some(path), profile })
}

fn no_file(profile: Option<&str>) -> Result<Loaded, ConfigError> {
    match profile {
        None => Ok(Loaded::default()),
        Some(_) => Err(ConfigError::Invalid {
            name: names::PROFILE.both(),
            problem: "names a profile, but there is no configuration file",
        }),
    }
}

fn default_path(environment: &Environment) -> Option<PathBuf> {
    let base = match environment.var("XDG_CONFIG_HOME") {
        Some(path) => PathBuf::from(path),
        None => environment.home()?.join(".config"),
    };
    Some(base.join("mcp-bridge").join("config.toml"))
}

/// Reads the layers, and which profile was chosen.
fn parse(text: &str, profile: Option<&str>) -> Result<(Vec<Layer>, Option<String>), String> {
    let mut table = text.parse::<Table>().map_err(|error| located(text, &error))?;
    let profiles = match table.remove("profiles") {
        None => Table::new(),
        Some(Value::Table(profiles)) => profiles,
        Some(_) => return Err("profiles must be tables: [profiles.NAME]".to_owned()),
    };
    let default = match table.remove(names::PROFILE.key) {
        None => None,
        Some(Value::String(name)) => Some(name),
        Some(_) => return Err("profile must be the name of a profile".to_owned()),
    };
    let mut layers = Vec::new();
    let chosen = profile.map(str::to_owned).or(default);
    if let Some(name) = &chosen {
        let Some(profile) = profiles.get(name) else {
            let known = profiles.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
            return Err(format!("there is no profile {name:?}; there is: {known}"));
        };
        let layer = Layer::deserialize(profile.clone())
            .map_err(|error| format!("profile {name}: {}", error.message()))?;
        layers.push(layer);
    }
    layers.push(Layer::deserialize(table).map_err(|error| error.message().to_owned())?);
    Ok((layers, chosen))
}

/// The parser's message with its line, but without the line's text, which might hold a secret.
fn located(text: &str, error: &toml::de::Error) -> String {
    let line = error.span().map(|span| {
        let before = text.get(..span.start).unwrap_or(text);
        before.matches('\n').count() + 1
    });
    match line {
        Some(line) => format!("line {line}: {}", error.message()),
        None => error.message().to_owned(),
    }
}
