//! Holds one source's settings, and picks the strongest source's value of each.

use std::path::PathBuf;

use reqwest::Url;
use serde::Deserialize;

use super::names::{self, Name};
use super::{ConfigError, Environment, Log, Mount, address, tools};
use crate::catalog::ServiceName;
use crate::cli;

/// The settings of one source. The field names are the keys of the configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Layer {
    #[serde(skip)]
    source: Source,
    /// One URL, or several with commas between.
    #[serde(deserialize_with = "address::one_or_several")]
    pub(super) address: Option<String>,
    pub(super) namespace: Option<String>,
    pub(super) mount: Option<String>,
    pub(super) ca_cert: Option<PathBuf>,
    pub(super) client_cert: Option<PathBuf>,
    pub(super) client_key: Option<PathBuf>,
    pub(super) tls_server_name: Option<String>,
    pub(super) auth_mount: Option<String>,
    pub(super) role_id_file: Option<PathBuf>,
    pub(super) secret_id_file: Option<PathBuf>,
    pub(super) token_file: Option<PathBuf>,
    pub(super) credential: Option<PathBuf>,
    pub(super) pin_file: Option<PathBuf>,
    pub(super) wrapping_token_file: Option<PathBuf>,
    pub(super) role: Option<String>,
    pub(super) tcti: Option<String>,
    pub(super) services: Option<Vec<String>>,
    pub(super) favourites: Option<Vec<String>>,
    #[serde(deserialize_with = "tools::number")]
    pub(super) max_tools: Option<String>,
    #[serde(deserialize_with = "tools::number")]
    pub(super) max_tool_bytes: Option<String>,
    pub(super) structured_results: Option<bool>,
    pub(super) log: Option<String>,
    pub(super) log_file: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Source {
    Flags,
    Environment,
    #[default]
    File,
}

impl Layer {
    /// The settings that flags give.
    pub(super) fn of_flags(flags: &cli::Settings) -> Self {
        Self {
            source: Source::Flags,
            address: flags.address.clone(),
            namespace: flags.namespace.clone(),
            mount: flags.mount.clone(),
            ca_cert: flags.ca_cert.clone(),
            client_cert: flags.client_cert.clone(),
            client_key: flags.client_key.clone(),
            tls_server_name: flags.tls_server_name.clone(),
            auth_mount: flags.auth_mount.clone(),
            role_id_file: flags.role_id_file.clone(),
            secret_id_file: flags.secret_id_file.clone(),
            token_file: flags.token_file.clone(),
            credential: flags.credential.clone(),
            pin_file: flags.pin_file.clone(),
            wrapping_token_file: flags.wrapping_token_file.clone(),
            role: flags.role.clone(),
            tcti: flags.tcti.clone(),
            services: None,
            favourites: None,
            max_tools: None,
            max_tool_bytes: None,
            structured_results: None,
            log: flags.log.clone(),
            log_file: flags.log_file.clone(),
        }
    }

    /// The settings that the environment gives.
    pub(super) fn of_environment(environment: &Environment) -> Self {
        let text = |name: Name| environment.var(name.variable).map(str::to_owned);
        let path = |name: Name| environment.var(name.variable).map(PathBuf::from);
        Self {
            source: Source::Environment,
            address: text(names::ADDRESS),
            namespace: text(names::NAMESPACE),
            mount: text(names::MOUNT),
            ca_cert: path(names::CA_CERT),
            client_cert: path(names::CLIENT_CERT),
            client_key: path(names::CLIENT_KEY),
            tls_server_name: text(names::TLS_SERVER_NAME),
            auth_mount: text(names::AUTH_MOUNT),
            role_id_file: path(names::ROLE_ID_FILE),
            secret_id_file: path(names::SECRET_ID_FILE),
            token_file: path(names::TOKEN_FILE),
            credential: path(names::CREDENTIAL),
            pin_file: path(names::PIN_FILE),
            wrapping_token_file: path(names::WRAPPING_TOKEN_FILE),
            role: text(names::ROLE),
            tcti: text(names::TCTI),
            services: None,
            favourites: environment
                .var(names::FAVOURITES.variable)
                .map(|list| list.split(',').map(|name| name.trim().to_owned()).collect()),
            max_tools: text(names::MAX_TOOLS),
            max_tool_bytes: text(names::MAX_TOOL_BYTES),
            structured_results: None,
            log: text(names::LOG),
            log_file: path(names::LOG_FILE),
        }
    }

    /// Every setting that is a path, for the file's loader to make absolute.
    pub(super) fn paths_mut(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        [
            &mut self.ca_cert,
            &mut self.client_cert,
            &mut self.client_key,
            &mut self.role_id_file,
            &mut self.secret_id_file,
            &mut self.token_file,
            &mut self.credential,
            &mut self.pin_file,
            &mut self.wrapping_token_file,
            &mut self.log_file,
        ]
        .into_iter()
        .flatten()
    }

    /// What this source calls a setting.
    pub(super) fn names(&self, name: Name) -> String {
        match self.source {
            Source::Flags => name.flag.to_owned(),
            Source::Environment => name.variable.to_owned(),
            Source::File => format!("{} in the configuration file", name.key),
        }
    }
}

/// All sources, strongest first, and the faults found in them so far.
#[derive(Debug)]
pub(super) struct Layers {
    pub(super) layers: Vec<Layer>,
    pub(super) errors: Vec<ConfigError>,
}

impl Layers {
    pub(super) fn new(layers: Vec<Layer>, errors: Vec<ConfigError>) -> Self {
        Self { layers, errors }
    }

    pub(super) fn into_errors(self) -> Vec<ConfigError> {
        self.errors
    }

    pub(super) fn text(&self, field: impl Fn(&Layer) -> &Option<String>) -> Option<String> {
        self.layers.iter().find_map(|layer| field(layer).clone())
    }

    pub(super) fn path(&self, field: impl Fn(&Layer) -> &Option<PathBuf>) -> Option<PathBuf> {
        self.layers.iter().find_map(|layer| field(layer).clone())
    }

    pub(super) fn flag(&self, field: impl Fn(&Layer) -> Option<bool>) -> bool {
        self.layers.iter().find_map(field).unwrap_or_default()
    }

    /// What to log, and where.
    pub(super) fn log(&self) -> Log {
        Log { filter: self.text(|layer| &layer.log), file: self.path(|layer| &layer.log_file) }
    }

    /// The namespace without slashes at the ends; none if nothing is left.
    pub(super) fn namespace(&self) -> Option<String> {
        let namespace = self.text(|layer| &layer.namespace)?;
        let namespace = namespace.trim_matches('/');
        (!namespace.is_empty()).then(|| namespace.to_owned())
    }

    /// Keeps a credential of the file with the server of the file.
    ///
    /// `VAULT_ADDR` is often another project's: to log in there would hand this machine's secret_id
    /// to a foreign server. What the environment says of that server is dropped with its address,
    /// and the answer names it. A flag that differs is a fault: somebody asked for it by hand.
    ///
    /// A credential that carries its own address (an enrolled one) needs none of this.
    pub(super) fn keep_credential_home(&mut self) -> Option<String> {
        if self.secret_source() != Some(Source::File) {
            return None;
        }
        let address = |source: Source| {
            let mut of_source = self.layers.iter().filter(|layer| layer.source == source);
            of_source.find_map(|layer| layer.address.clone())
        };
        let home = address::parse_all(&address(Source::File)?)?;
        let foreign = |text: &String| {
            address::parse_all(text).is_none_or(|urls| urls.iter().any(|url| !home.contains(url)))
        };
        if address(Source::Flags).as_ref().is_some_and(foreign) {
            return self.invalid(
                names::ADDRESS.flag.to_owned(),
                "isn't the server that the configuration file's credential belongs to: choose \
                 another --profile, or give the credential's files as flags too",
            );
        }
        let text = address(Source::Environment).filter(foreign)?;
        // An address that can't be read might hold a password.
        let shown = address::parse_all(&text).map_or_else(String::new, |urls| {
            format!(" ({})", urls.iter().map(Url::as_str).collect::<Vec<_>>().join(", "))
        });
        let layer = self.layers.iter_mut().find(|layer| layer.source == Source::Environment)?;
        let dropped = [
            (names::ADDRESS, layer.address.take().is_some()),
            (names::NAMESPACE, layer.namespace.take().is_some()),
            (names::CA_CERT, layer.ca_cert.take().is_some()),
            (names::CLIENT_CERT, layer.client_cert.take().is_some()),
            (names::CLIENT_KEY, layer.client_key.take().is_some()),
            (names::TLS_SERVER_NAME, layer.tls_server_name.take().is_some()),
        ];
        let dropped = dropped.iter().filter(|(_, set)| *set).map(|(name, _)| name.variable);
        Some(format!(
            "VAULT_ADDR{shown} isn't the server of the configuration file, whose credential goes \
             nowhere else; ignored: {}",
            dropped.collect::<Vec<_>>().join(", ")
        ))
    }

    /// Which source the secret comes from that the bridge would log in with.
    fn secret_source(&self) -> Option<Source> {
        let first = self.layers.iter().find(|layer| {
            layer.token_file.is_some()
                || layer.role_id_file.is_some()
                || layer.secret_id_file.is_some()
                || layer.credential.is_some()
                || layer.wrapping_token_file.is_some()
        })?;
        if first.credential.is_some() {
            // It carries its own server.
            return None;
        }
        if first.token_file.is_some() || first.wrapping_token_file.is_some() {
            return Some(first.source);
        }
        let secret = self.layers.iter().find(|layer| layer.secret_id_file.is_some());
        secret.map(|layer| layer.source)
    }

    /// Vault's addresses, checked; at least one.
    pub(super) fn addresses(&mut self) -> Option<Vec<Url>> {
        let Some((name, text)) = self.first(names::ADDRESS, |layer| &layer.address) else {
            self.missing(names::ADDRESS, "the address of Vault, like https://vault.example:8200");
            return None;
        };
        match address::parse_all(&text) {
            Some(urls) => {
                self.check_namespace();
                Some(urls)
            }
            None => self.invalid(
                name,
                "isn't an http or https URL of a server, without user, query or fragment (several \
                 nodes of one cluster: with commas between)",
            ),
        }
    }

    /// A mount's path, checked, or its default.
    pub(super) fn mount(
        &mut self,
        name: Name,
        field: impl Fn(&Layer) -> &Option<String>,
        default: &str,
    ) -> Option<Mount> {
        let Some((name, text)) = self.first(name, field) else {
            return Mount::parse(default);
        };
        Mount::parse(&text).or_else(|| self.invalid(name, "isn't the path of a mount"))
    }

    /// The name that the server's certificate must have. Only a name, and only over TLS: it stands in
    /// the URL, where an address would be connected to.
    pub(super) fn server_name(&mut self, addresses: Option<&[Url]>) -> Option<String> {
        let (name, text) = self.first(names::TLS_SERVER_NAME, |layer| &layer.tls_server_name)?;
        if !address::is_server_name(&text) {
            return self.invalid(name, "isn't a host name, like vault.example (no address)");
        }
        let plain = |addresses: &[Url]| addresses.iter().any(|url| url.scheme() != "https");
        if addresses.is_some_and(plain) {
            return self.invalid(name, "means nothing without TLS: the address isn't https");
        }
        Some(text)
    }

    /// The client certificate and its key: both or neither.
    pub(super) fn identity(&mut self) -> Option<(PathBuf, PathBuf)> {
        let certificate = self.path(|layer| &layer.client_cert);
        let key = self.path(|layer| &layer.client_key);
        match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => {
                self.missing(names::CLIENT_KEY, "a client certificate needs its key");
                None
            }
            (None, Some(_)) => {
                self.missing(names::CLIENT_CERT, "a client key needs its certificate");
                None
            }
        }
    }

    /// The services of the strongest source that names any, checked.
    pub(super) fn services(&mut self) -> Vec<ServiceName> {
        let names = self.layers.iter().find_map(|layer| {
            layer.services.as_ref().map(|services| (layer.names(names::SERVICES), services.clone()))
        });
        let Some((name, services)) = names else { return Vec::new() };
        let parsed = services.iter().map(|name| ServiceName::parse(name)).collect::<Option<_>>();
        parsed.unwrap_or_else(|| {
            self.invalid::<()>(name, "holds something that isn't a service's name");
            Vec::new()
        })
    }

    fn check_namespace(&mut self) {
        let namespace = self.first(names::NAMESPACE, |layer| &layer.namespace);
        if let Some((name, text)) = namespace
            && !text.trim_matches('/').is_empty()
            && Mount::parse(&text).is_none()
        {
            self.invalid::<()>(name, "isn't the path of a namespace");
        }
    }

    pub(super) fn first(
        &self,
        name: Name,
        field: impl Fn(&Layer) -> &Option<String>,
    ) -> Option<(String, String)> {
        self.layers
            .iter()
            .find_map(|layer| field(layer).clone().map(|value| (layer.names(name), value)))
    }

    /// Records that a setting can't be used here.
    #[cfg(unix)]
    pub(super) fn refuse(&mut self, name: Name, problem: &'static str) {
        self.invalid::<()>(name.both(), problem);
    }

    pub(super) fn missing(&mut self, name: Name, hint: &'static str) {
        self.errors.push(ConfigError::Missing { name: name.both(), hint });
    }

    pub(super) fn invalid<T>(&mut self, name: String, problem: &'static str) -> Option<T> {
        self.errors.push(ConfigError::Invalid { name, problem });
        None
    }
}
