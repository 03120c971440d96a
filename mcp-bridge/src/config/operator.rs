//! Finds what an operator's commands need: Vault's address and the operator's own token.

use super::layer::{Layer, Layers};
use super::{ConfigError, ConfigErrors, Environment, Log, Mount, VaultServer, file, names, server};
use crate::cli;
use crate::secret::{SecretError, VaultToken};

/// What an operator's commands work with.
#[derive(Debug)]
pub(crate) struct Operator {
    /// Where Vault is and how it is recognised.
    pub(crate) vault: VaultServer,
    /// Where the engine is mounted.
    pub(crate) mount: Mount,
    /// Where AppRole is mounted.
    pub(crate) auth_mount: Mount,
    /// The operator's own token.
    pub(crate) token: VaultToken,
    /// What to log, and where.
    pub(crate) log: Log,
}

impl Operator {
    /// Reads flags, environment and file. The token comes from `--token-file`, from `VAULT_TOKEN`
    /// or from `~/.vault-token`, where `vault login` puts it.
    ///
    /// # Errors
    ///
    /// All faults at once, so that they can be mended at once.
    pub(crate) fn load(
        flags: &cli::Settings,
        environment: &Environment,
    ) -> Result<Self, ConfigErrors> {
        let mut errors = Vec::new();
        let mut layers = vec![Layer::of_flags(flags), Layer::of_environment(environment)];
        let file = file::load(flags, environment).unwrap_or_else(|error| {
            errors.push(error);
            file::Loaded::default()
        });
        layers.extend(file.layers);
        let token = token(flags, environment).map_err(|error| errors.push(error)).ok();
        let mut layers = Layers::new(layers, errors);
        let vault = server(&mut layers);
        let mount = layers.mount(names::MOUNT, |layer| &layer.mount, Mount::ENGINE);
        let auth_mount = layers.mount(names::AUTH_MOUNT, |layer| &layer.auth_mount, Mount::APPROLE);
        let log = layers.log();
        match (vault, mount, auth_mount, token, layers.into_errors()) {
            (Some(vault), Some(mount), Some(auth_mount), Some(token), errors)
                if errors.is_empty() =>
            {
                Ok(Self { vault, mount, auth_mount, token, log })
            }
            (_, _, _, _, errors) => Err(ConfigErrors(errors)),
        }
    }
}

fn token(flags: &cli::Settings, environment: &Environment) -> Result<VaultToken, ConfigError> {
    let unusable = |name: &str| {
        let name = name.to_owned();
        move |_: SecretError| ConfigError::Invalid { name, problem: "holds no usable token" }
    };
    if let Some(path) = &flags.token_file {
        return VaultToken::from_file(path).map_err(unusable(names::TOKEN_FILE.flag));
    }
    if let Some(token) = environment.var(names::VAULT_TOKEN) {
        return VaultToken::new(token).map_err(unusable(names::VAULT_TOKEN));
    }
    let kept = environment.home().map(|home| home.join(".vault-token"));
    match kept.filter(|path| path.exists()) {
        Some(path) => VaultToken::from_file(&path).map_err(unusable("~/.vault-token")),
        None => Err(ConfigError::Missing {
            name: names::VAULT_TOKEN.to_owned(),
            hint: "the operator's own token (vault login keeps one in ~/.vault-token)",
        }),
    }
}
