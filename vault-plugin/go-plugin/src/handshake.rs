//! The handshake: what the host offers in the environment, and the one line that answers it.
//!
//! Protocol: go-plugin, `docs/guide-plugin-write-non-go.md`, `server.go` (`Serve`,
//! `protocolVersion`) and `client.go` (`Start`).

use std::{
    io::{self, Write},
    path::Path,
};

use base64::{Engine, prelude::BASE64_STANDARD_NO_PAD};
use rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::{Environment, ServeConfig, ServeError};

/// What the host told in the environment, once found acceptable.
#[derive(Debug)]
pub(crate) struct Offer {
    pub(crate) host_certificate: CertificateDer<'static>,
    protocol_version: u32,
    asks_for_multiplexing: bool,
}

impl Offer {
    pub(crate) fn read(config: &ServeConfig, env: &impl Environment) -> Result<Self, ServeError> {
        if env.var(config.cookie_key).as_deref() != Some(config.cookie_value) {
            return Err(ServeError::NotStartedByHost { variable: config.cookie_key });
        }
        let ours = config.protocol_version;
        let offered = env.var("PLUGIN_PROTOCOL_VERSIONS").unwrap_or_default();
        if !offered.split(',').any(|version| version.trim().parse() == Ok(ours)) {
            return Err(ServeError::ProtocolVersion { ours, offered });
        }
        let pem = env
            .var("PLUGIN_CLIENT_CERT")
            .filter(|pem| !pem.is_empty())
            .ok_or(ServeError::HostCertificateMissing)?;
        let host_certificate = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| ServeError::HostCertificateMalformed)?;
        Ok(Self {
            host_certificate,
            protocol_version: ours,
            asks_for_multiplexing: env
                .var("PLUGIN_MULTIPLEX_GRPC")
                .is_some_and(|value| !value.is_empty()),
        })
    }

    /// Composes the answer, without its newline.
    pub(crate) fn answer(&self, socket: &Path, certificate: &CertificateDer<'_>) -> String {
        // The host decodes with Go's RawStdEncoding, which takes padding for an error.
        let certificate = BASE64_STANDARD_NO_PAD.encode(certificate);
        let mut line =
            format!("1|{}|unix|{}|grpc|{certificate}", self.protocol_version, socket.display());
        // Older hosts don't know a seventh field, so it goes only to those that asked. "false"
        // makes such a host refuse the plugin at once instead of waiting for knocks.
        if self.asks_for_multiplexing {
            line.push_str("|false");
        }
        line
    }
}

/// Answers what `env` offers as [`serve_with`](crate::serve_with) does, without serving: for tests of
/// what hosts may offer. Without the newline.
///
/// # Errors
/// The offer's own.
pub fn answer(
    config: &ServeConfig,
    env: &impl Environment,
    socket: &Path,
    certificate: &[u8],
) -> Result<String, ServeError> {
    let offer = Offer::read(config, env)?;
    Ok(offer.answer(socket, &CertificateDer::from(certificate)))
}

/// Writes the answer to standard output, whole.
pub(crate) fn write(line: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(format!("{line}\n").as_bytes())?;
    stdout.flush()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const CONFIG: ServeConfig = ServeConfig::new("COOKIE", "yes", 5);

    fn environment(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
        let pem = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap().cert.pem();
        let mut env = BTreeMap::from([
            ("COOKIE".to_owned(), "yes".to_owned()),
            ("PLUGIN_PROTOCOL_VERSIONS".to_owned(), "4,5".to_owned()),
            ("PLUGIN_CLIENT_CERT".to_owned(), pem),
        ]);
        env.extend(changes.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())));
        env
    }

    #[test]
    fn unacceptable_offers_are_refused() {
        let refused = |changes: &[_]| Offer::read(&CONFIG, &environment(changes)).unwrap_err();
        assert!(matches!(
            refused(&[("COOKIE", "no")]),
            ServeError::NotStartedByHost { variable: "COOKIE" }
        ));
        for offered in ["", "4", "50,55", "-5"] {
            assert!(matches!(
                refused(&[("PLUGIN_PROTOCOL_VERSIONS", offered)]),
                ServeError::ProtocolVersion { ours: 5, offered: said } if said == offered
            ));
        }
        assert!(matches!(
            refused(&[("PLUGIN_CLIENT_CERT", "")]),
            ServeError::HostCertificateMissing
        ));
        assert!(matches!(
            refused(&[("PLUGIN_CLIENT_CERT", "nonsense")]),
            ServeError::HostCertificateMalformed
        ));
    }

    #[test]
    fn versions_may_come_in_any_order() {
        for offered in ["5", "5,4", "4,5", " 4, 5 "] {
            let env = environment(&[("PLUGIN_PROTOCOL_VERSIONS", offered)]);
            Offer::read(&CONFIG, &env).unwrap();
        }
    }

    #[test]
    fn answer_never_pads_whatever_the_length() {
        let offer = Offer::read(&CONFIG, &environment(&[])).unwrap();
        for length in 300..303 {
            let certificate = CertificateDer::from(vec![0xff; length]);
            let line = offer.answer(Path::new("/s/p"), &certificate);
            let fields: Vec<_> = line.split('|').collect();
            assert_eq!(&fields[..5], ["1", "5", "unix", "/s/p", "grpc"]);
            assert_eq!(fields.len(), 6);
            assert!(!line.contains('='));
            assert_eq!(BASE64_STANDARD_NO_PAD.decode(fields[5]).unwrap(), certificate.as_ref());
        }
    }

    #[test]
    fn seventh_field_answers_only_who_asked() {
        let certificate = CertificateDer::from(vec![0; 300]);
        for (value, fields) in [("", 6), ("true", 7), ("1", 7)] {
            let env = environment(&[("PLUGIN_MULTIPLEX_GRPC", value)]);
            let line = Offer::read(&CONFIG, &env).unwrap().answer(Path::new("/s/p"), &certificate);
            assert_eq!(line.split('|').count(), fields);
            assert_eq!(line.ends_with("|false"), fields == 7);
        }
    }
}
