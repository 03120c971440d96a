//! Finds what `enroll` works with: the server, the role, the place and the wrapping token.

use std::path::PathBuf;

use super::layer::{Layer, Layers};
use super::{
    ConfigErrors, Enrolled, Environment, Log, Mount, VaultServer, default_credential, file, names,
    server,
};
use crate::cli;

/// What `enroll` works with.
#[derive(Debug)]
pub(crate) struct Enrolling {
    /// The server that the credential will be for.
    pub(crate) vault: VaultServer,
    /// Where AppRole is mounted.
    pub(crate) auth_mount: Mount,
    /// The role that the wrapping token must be of.
    pub(crate) role: String,
    /// Where the credential is to be kept, and the way to what protects it.
    pub(crate) place: Enrolled,
    /// The file of the wrapping token; none means stdin.
    pub(crate) token: Option<PathBuf>,
    /// What to log, and where.
    pub(crate) log: Log,
}

impl Enrolling {
    /// Reads flags, environment and file, strongest first.
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
        let mut layers = Layers::new(layers, errors);
        let vault = server(&mut layers);
        let auth_mount = layers.mount(names::AUTH_MOUNT, |layer| &layer.auth_mount, Mount::APPROLE);
        let role = layers.role();
        let kept =
            layers.path(|layer| &layer.credential).or_else(|| default_credential(environment));
        if kept.is_none() {
            layers.refuse(names::CREDENTIAL, "isn't set, and there is no home directory");
        }
        let place = kept.map(|path| layers.enrolled(path));
        let token = layers.path(|layer| &layer.wrapping_token_file);
        let log = layers.log();
        match (vault, auth_mount, role, place, layers.into_errors()) {
            (Some(vault), Some(auth_mount), Some(role), Some(place), errors)
                if errors.is_empty() =>
            {
                Ok(Self { vault, auth_mount, role, place, token, log })
            }
            (_, _, _, _, errors) => Err(ConfigErrors(errors)),
        }
    }
}
