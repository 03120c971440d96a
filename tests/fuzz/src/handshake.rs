//! The environment in which a host offers its handshake.

use std::collections::BTreeMap;
use std::path::Path;

use arbitrary::{Result, Unstructured};
use go_plugin::{ServeConfig, ServeError};

use crate::text_of;

const CONFIG: ServeConfig = ServeConfig::new("COOKIE", "yes", 5);
/// A PEM section whose content isn't looked at, but for its base64.
const CERTIFICATE: &str =
    "-----BEGIN CERTIFICATE-----\nTk9UIEEgQ0VSVElGSUNBVEU=\n-----END CERTIFICATE-----\n";

const VERSIONS: &[&str] = &["5", "4", ",", " ", "+", "-", "0", "55", "\n", "5,", ",5"];
const PEM: &[&str] = &[
    CERTIFICATE,
    "-----BEGIN CERTIFICATE-----",
    "-----END CERTIFICATE-----",
    "-----BEGIN EC PRIVATE KEY-----",
    "-----",
    "\n",
    "\r\n",
    "AAAA",
    "=",
    "Tk9U",
];

/// What is accepted was offered in full, and its answer is one line of the fields that hosts split.
pub(crate) fn run(u: &mut Unstructured<'_>) -> Result<()> {
    let mut env = BTreeMap::new();
    for (name, pieces) in [
        ("COOKIE", ["yes", "no", ""].as_slice()),
        ("PLUGIN_PROTOCOL_VERSIONS", VERSIONS),
        ("PLUGIN_CLIENT_CERT", PEM),
        ("PLUGIN_MULTIPLEX_GRPC", &["true", "false", "1", ""]),
    ] {
        let value =
            if u.ratio(1, 3)? { u.choose(pieces)?.to_string() } else { text_of(u, pieces, 6)? };
        if u.ratio(7, 8)? {
            env.insert(name.to_owned(), value);
        }
    }
    let own: Vec<u8> = u.arbitrary()?;

    let given = |name| env.get(name).map_or("", String::as_str);
    match go_plugin::answer(&CONFIG, &env, Path::new("/tmp/plugin1"), &own) {
        Ok(line) => {
            assert_eq!(given("COOKIE"), "yes");
            assert!(given("PLUGIN_PROTOCOL_VERSIONS").contains('5'));
            assert!(given("PLUGIN_CLIENT_CERT").contains("-----BEGIN CERTIFICATE-----"));
            let fields: Vec<&str> = line.split('|').collect();
            let asked = !given("PLUGIN_MULTIPLEX_GRPC").is_empty();
            assert_eq!(fields.len(), if asked { 7 } else { 6 }, "{line:?}");
            assert_eq!(fields[..5], ["1", "5", "unix", "/tmp/plugin1", "grpc"]);
            assert!(line.bytes().all(|byte| byte.is_ascii_graphic()), "{line:?}");
            assert!(!fields[5].contains('='), "{line:?}");
        }
        Err(error) => {
            // It says what is missing, and quotes nothing but the versions.
            let quoted = matches!(error, ServeError::ProtocolVersion { .. });
            let pem = given("PLUGIN_CLIENT_CERT");
            assert!(quoted || pem.len() < 4 || !error.to_string().contains(pem), "{error}");
            if given("COOKIE") == "yes" && given("PLUGIN_PROTOCOL_VERSIONS") == "5" {
                assert_ne!(pem, CERTIFICATE, "{error}");
            }
        }
    }
    Ok(())
}
