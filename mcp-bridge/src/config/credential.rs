//! Picks the one credential that the settings lead to.

use std::path::PathBuf;

use super::layer::{Layer, Layers};
use super::{
    ConfigError, CredentialSource, Delivered, Enrolled, Mount, PinSource, Told, address, names,
};
use crate::secret::VaultToken;

impl Layers {
    /// The credential of the strongest source that gives one; else the enrolled one at its default
    /// place, if there is one; else an operator's token, if it may serve.
    pub(super) fn credential<'a>(
        &mut self,
        approle: &str,
        enrolled: Option<PathBuf>,
        operator_token: impl FnOnce() -> Option<&'a str>,
    ) -> Option<CredentialSource> {
        let kinds = |layer: &Layer| {
            [
                (names::TOKEN_FILE, layer.token_file.clone().map(Kind::Token)),
                (names::CREDENTIAL, layer.credential.clone().map(Kind::Enrolled)),
                (
                    names::WRAPPING_TOKEN_FILE,
                    layer.wrapping_token_file.clone().map(Kind::Delivered),
                ),
                (
                    names::SECRET_ID_FILE,
                    // A wrapping token comes in the place of the secret_id, beside the role_id.
                    (layer.secret_id_file.is_some()
                        || (layer.role_id_file.is_some() && layer.wrapping_token_file.is_none()))
                    .then_some(Kind::AppRole),
                ),
            ]
            .into_iter()
            .filter_map(|(name, kind)| Some((layer.names(name), kind?)))
            .collect::<Vec<_>>()
        };
        let mut given = self.layers.iter().map(kinds).find(|kinds| !kinds.is_empty());
        if let Some([(first, _), (second, _), ..]) = given.as_deref() {
            let name = format!("{first} and {second}");
            return self.invalid(name, "are both given: choose one credential");
        }
        match given.as_mut().and_then(Vec::pop).map(|(_, kind)| kind) {
            Some(Kind::Token(path)) => Some(CredentialSource::TokenFile(path)),
            Some(Kind::AppRole) => self.approle(approle),
            Some(Kind::Enrolled(path)) => Some(CredentialSource::Enrolled(self.enrolled(path))),
            Some(Kind::Delivered(token)) => self.delivered(approle, token),
            None => {
                if let Some(path) = enrolled {
                    return Some(CredentialSource::Enrolled(self.enrolled(path)));
                }
                match operator_token() {
                    Some(token) => match VaultToken::new(token) {
                        Ok(token) => Some(CredentialSource::Environment(token)),
                        Err(_) => self.invalid(names::VAULT_TOKEN.to_owned(), "isn't a token"),
                    },
                    None => {
                        self.errors.push(ConfigError::Missing {
                            name: "this machine's credential".to_owned(),
                            hint: "mcp-bridge enroll keeps one (or MCP_BRIDGE_ROLE_ID_FILE and \
                                   MCP_BRIDGE_SECRET_ID_FILE name files; or, for development, \
                                   MCP_BRIDGE_TOKEN_FILE)",
                        });
                        None
                    }
                }
            }
        }
    }

    /// The enrolled credential at a path, and what the settings say of the server, which it knows
    /// better.
    pub(super) fn enrolled(&mut self, file: PathBuf) -> Enrolled {
        let told = self.layers.iter().find(|layer| layer.address.is_some());
        let named_by = told.map_or_else(String::new, |layer| layer.names(names::ADDRESS));
        Enrolled {
            file,
            tcti: self.text(|layer| &layer.tcti),
            pin: self.path(|layer| &layer.pin_file).map_or(PinSource::None, PinSource::File),
            last_try: false,
            identity: self.identity(),
            told: Told {
                named_by,
                addresses: self
                    .text(|layer| &layer.address)
                    .and_then(|text| address::parse_all(&text)),
                namespace: self.namespace(),
                ca_cert: self.path(|layer| &layer.ca_cert),
                server_name: self.text(|layer| &layer.tls_server_name),
            },
        }
    }

    /// A credential of which one half is delivered, wrapped, at each start.
    fn delivered(&mut self, default_mount: &str, token: PathBuf) -> Option<CredentialSource> {
        let mount = self.mount(names::AUTH_MOUNT, |layer| &layer.auth_mount, default_mount);
        let role_id = self.path(|layer| &layer.role_id_file);
        if role_id.is_none() {
            self.missing(names::ROLE_ID_FILE, "a wrapping token gives the secret_id alone");
        }
        let role = self.role();
        Some(CredentialSource::Delivered(Delivered::new(mount?, role?, role_id?, token)))
    }

    /// The name of the role that a wrapping token must be of, checked.
    pub(super) fn role(&mut self) -> Option<String> {
        let Some((name, role)) = self.first(names::ROLE, |layer| &layer.role) else {
            self.missing(names::ROLE, "the AppRole role that the wrapping token must be of");
            return None;
        };
        // A role's name has no slash, or it could name another path.
        match Mount::parse(&role).filter(|_| !role.contains('/')) {
            Some(_) => Some(role),
            None => self.invalid(name, "isn't the name of a role"),
        }
    }

    fn approle(&mut self, default_mount: &str) -> Option<CredentialSource> {
        let mount = self.mount(names::AUTH_MOUNT, |layer| &layer.auth_mount, default_mount);
        let role_id = self.path(|layer| &layer.role_id_file);
        let secret_id = self.path(|layer| &layer.secret_id_file);
        if role_id.is_none() {
            self.missing(names::ROLE_ID_FILE, "AppRole needs a role_id as well as a secret_id");
        }
        if secret_id.is_none() {
            self.missing(names::SECRET_ID_FILE, "AppRole needs a secret_id as well as a role_id");
        }
        Some(CredentialSource::AppRole { mount: mount?, role_id: role_id?, secret_id: secret_id? })
    }
}

enum Kind {
    Token(PathBuf),
    AppRole,
    Enrolled(PathBuf),
    Delivered(PathBuf),
}
