//! Turns flags, environment and file into settings that can be used as they are.

mod address;
mod credential;
#[cfg(unix)]
mod enrolling;
mod file;
mod layer;
pub(crate) mod names;
mod operator;
mod source;
mod tools;

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use reqwest::Url;

use crate::catalog::ServiceName;
use crate::cli;

use self::layer::{Layer, Layers};

pub(crate) use self::address::{is_server_name, parse_all as addresses};

#[cfg(unix)]
pub(crate) use self::enrolling::Enrolling;
pub(crate) use self::operator::Operator;
pub(crate) use self::source::{CredentialSource, Delivered, Enrolled, PinSource, Told};
pub(crate) use self::tools::ToolLimits;

/// Everything the bridge needs to know to work.
#[derive(Debug)]
pub(crate) struct Config {
    /// Where Vault is and how it is recognised; none if an enrolled credential alone knows.
    pub(crate) vault: Option<VaultServer>,
    /// Where the engine is mounted.
    pub(crate) mount: Mount,
    /// What the bridge logs in with.
    pub(crate) credential: CredentialSource,
    /// Services to show where the catalog may not be read.
    pub(crate) services: Vec<ServiceName>,
    /// How many tools of MCP servers are listed one by one.
    pub(crate) tool_limits: ToolLimits,
    /// Whether results carry `structuredContent` as well.
    pub(crate) structured_results: bool,
    /// Where the last catalog is kept, if anywhere.
    pub(crate) cache_dir: Option<PathBuf>,
    /// What to log, and where.
    pub(crate) log: Log,
    /// The configuration file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    /// The profile of the file that was chosen, if any.
    pub(crate) profile: Option<String>,
    /// What was set but isn't followed, and why: for whoever reads stderr.
    pub(crate) ignored: Vec<String>,
}

/// What to log, and where.
#[derive(Clone, Debug, Default)]
pub(crate) struct Log {
    /// The filter, if not the default.
    pub(crate) filter: Option<String>,
    /// The file that gets the log, beside what stderr gets.
    pub(crate) file: Option<PathBuf>,
}

/// Where Vault is and how it is recognised.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct VaultServer {
    /// The server's address, its path ending in `/`; several if they are nodes of one cluster. At
    /// least one.
    pub(crate) addresses: Vec<Url>,
    /// The namespace that every request names.
    pub(crate) namespace: Option<String>,
    /// Authorities to trust instead of the system's.
    pub(crate) ca_cert: Option<PathBuf>,
    /// The authorities themselves, where an enrolled credential pins them: they win.
    pub(crate) pinned: Option<Arc<[u8]>>,
    /// Certificate and key of this machine.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
    /// The name that the server's certificate must carry, if not the address's.
    pub(crate) server_name: Option<String>,
}

impl VaultServer {
    /// Whether a token would cross the network in clear.
    pub(crate) fn is_plain_and_far(&self) -> bool {
        self.addresses.iter().any(|address| {
            let host = address.host_str().unwrap_or_default();
            let near = host == "localhost" || host == "[::1]" || host.starts_with("127.");
            address.scheme() == "http" && !near
        })
    }

    /// The addresses as one text.
    pub(crate) fn names(&self) -> String {
        let names = self.addresses.iter().map(Url::as_str).collect::<Vec<_>>();
        names.join(", ")
    }
}

/// A mount's path: one or more segments, without slashes at the ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mount(String);

impl Mount {
    /// The engine's default mount.
    pub(crate) const ENGINE: &str = "mcp-proxy";
    /// AppRole's default mount.
    pub(crate) const APPROLE: &str = "approle";

    /// Reads a mount's path; slashes at the ends are ignored.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let path = text.trim_matches('/');
        let sound = |segment: &str| {
            !segment.is_empty()
                && segment != "."
                && segment != ".."
                && segment.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        };
        path.split('/').all(sound).then(|| Self(path.to_owned()))
    }

    /// The path without slashes at the ends.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One fault of the settings. Names the setting, never its value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ConfigError {
    /// Nothing sets it, and there is no default.
    #[error("{name} isn't set: {hint}")]
    Missing {
        /// The setting.
        name: String,
        /// What it should hold.
        hint: &'static str,
    },
    /// Its value can't be used.
    #[error("{name} {problem}")]
    Invalid {
        /// The setting.
        name: String,
        /// What is wrong with the value.
        problem: &'static str,
    },
    /// The configuration file can't be used.
    #[error("configuration file {path}: {problem}")]
    File {
        /// The file.
        path: String,
        /// What is wrong, with the line where that is known.
        problem: String,
    },
}

/// All faults of the settings at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigErrors(pub(crate) Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str("\nmcp-bridge: ")?;
            }
            write!(f, "{error}")?;
        }
        Ok(())
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}

/// The process's environment, or a test's.
#[derive(Debug, Default)]
pub(crate) struct Environment(HashMap<String, String>);

impl Environment {
    /// Reads the environment of this process. A value that isn't UTF-8 counts as not set.
    pub(crate) fn of_process() -> Self {
        let text = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        };
        Self(std::env::vars_os().filter_map(text).collect())
    }

    /// A variable's value; an empty one counts as not set.
    pub(crate) fn var(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The user's home directory.
    pub(crate) fn home(&self) -> Option<PathBuf> {
        let name = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
        self.var(name).map(PathBuf::from)
    }
}

/// Whether an operator's `VAULT_TOKEN` may serve as the credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OperatorToken {
    /// It may, if nothing else is configured.
    Fallback,
    /// It is never read: an agent must not inherit an operator's rights.
    Ignored,
}

impl Config {
    /// Reads flags, environment and file, strongest first.
    ///
    /// # Errors
    ///
    /// All faults at once, so that they can be mended at once.
    pub(crate) fn load(
        flags: &cli::Settings,
        environment: &Environment,
        operator_token: OperatorToken,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut layers = vec![Layer::of_flags(flags), Layer::of_environment(environment)];
        let file = file::load(flags, environment).unwrap_or_else(|error| {
            errors.push(error);
            file::Loaded::default()
        });
        layers.extend(file.layers);
        let mut layers = Layers::new(layers, errors);

        let ignored = layers.keep_credential_home();
        let mount = layers.mount(names::MOUNT, |layer| &layer.mount, Mount::ENGINE);
        let kept = default_credential(environment).filter(|path| path.symlink_metadata().is_ok());
        let credential = layers.credential(Mount::APPROLE, kept, || {
            (operator_token == OperatorToken::Fallback)
                .then(|| environment.var(names::VAULT_TOKEN))
                .flatten()
        });
        let enrolled = matches!(credential, Some(CredentialSource::Enrolled(_)));
        let vault = if enrolled { None } else { server(&mut layers) };
        let services = layers.services();
        let tool_limits = ToolLimits::of(&mut layers);
        let log = layers.log();
        let structured_results = layers.flag(|layer| layer.structured_results);
        match (mount, credential, layers.into_errors()) {
            (Some(mount), Some(credential), errors) if errors.is_empty() => Ok(Self {
                vault,
                mount,
                credential,
                services,
                tool_limits,
                structured_results,
                cache_dir: cache_dir(environment),
                log,
                file: file.path,
                profile: file.profile,
                ignored: ignored.into_iter().collect(),
            }),
            (_, _, errors) => Err(ConfigErrors(errors)),
        }
    }
}

/// Where Vault is and how it is recognised; none if a part of it can't be used.
fn server(layers: &mut Layers) -> Option<VaultServer> {
    let addresses = layers.addresses();
    let identity = layers.identity();
    let server_name = layers.server_name(addresses.as_deref());
    Some(VaultServer {
        addresses: addresses?,
        namespace: layers.namespace(),
        ca_cert: layers.path(|layer| &layer.ca_cert),
        pinned: None,
        identity,
        server_name,
    })
}

/// Where `enroll` keeps the credential unless told otherwise (XDG Base Directory Specification).
fn default_credential(environment: &Environment) -> Option<PathBuf> {
    let base = match environment.var("XDG_STATE_HOME") {
        Some(path) => PathBuf::from(path),
        None => environment.home()?.join(".local/state"),
    };
    base.is_absolute().then(|| base.join("mcp-bridge").join("credential.sealed"))
}

fn cache_dir(environment: &Environment) -> Option<PathBuf> {
    let base = match environment.var("XDG_CACHE_HOME") {
        Some(path) => PathBuf::from(path),
        None => environment.home()?.join(".cache"),
    };
    base.is_absolute().then(|| base.join("mcp-bridge"))
}

#[cfg(test)]
mod tests;
