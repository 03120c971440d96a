//! Tests how settings are found, joined and refused.

use super::*;

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment(variables.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect())
}

const SOUND: &[(&str, &str)] = &[
    ("VAULT_ADDR", "https://vault.example:8200"),
    ("MCP_BRIDGE_ROLE_ID_FILE", "/etc/role"),
    ("MCP_BRIDGE_SECRET_ID_FILE", "/etc/secret"),
];

fn load(flags: &cli::Settings, variables: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    Config::load(flags, &environment(variables), OperatorToken::Ignored)
}

#[test]
fn the_environment_is_enough() {
    let config = load(&cli::Settings::default(), SOUND).unwrap();
    assert_eq!(config.vault.names(), "https://vault.example:8200/");
    assert_eq!(config.mount.as_str(), "mcp-proxy");
    assert!(matches!(config.credential, CredentialSource::AppRole { ref mount, .. }
        if mount.as_str() == "approle"));
}

#[test]
fn a_flag_beats_a_variable_and_a_variable_beats_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(
        &file,
        "mount = \"from-top\"\nnamespace = \"from-top\"\naddress = \"https://top\"\n\
         [profiles.work]\nnamespace = \"from-work\"\naddress = \"https://work\"\n\
         services = [\"github\"]\n",
    )
    .unwrap();
    let flags = cli::Settings {
        config: Some(file),
        profile: Some("work".to_owned()),
        address: Some("https://flag".to_owned()),
        token_file: Some("/etc/token".into()),
        ..cli::Settings::default()
    };
    let config = load(&flags, &[("VAULT_ADDR", "https://variable")]).unwrap();
    assert_eq!(config.vault.names(), "https://flag/");
    assert_eq!(config.vault.namespace.as_deref(), Some("from-work"));
    assert_eq!(config.mount.as_str(), "from-top");
    assert_eq!(config.profile.as_deref(), Some("work"));
    assert!(config.ignored.is_empty());
}

#[test]
fn all_faults_are_reported_together_by_name_and_without_values() {
    let errors = load(
        &cli::Settings::default(),
        &[
            ("VAULT_ADDR", "https://user:hunter2@vault"),
            ("MCP_BRIDGE_MOUNT", "../sys"),
            ("MCP_BRIDGE_ROLE_ID_FILE", "/etc/role"),
            ("VAULT_CLIENT_CERT", "/etc/cert"),
        ],
    )
    .unwrap_err();
    let text = errors.to_string();
    for name in ["VAULT_ADDR", "MCP_BRIDGE_MOUNT", "MCP_BRIDGE_SECRET_ID_FILE", "VAULT_CLIENT_KEY"]
    {
        assert!(text.contains(name), "{name} is missing in:\n{text}");
    }
    assert!(!text.contains("hunter2") && !text.contains("../sys"), "{text}");
    assert_eq!(errors.0.len(), 4);
}

#[test]
fn an_operators_token_is_read_only_where_that_is_allowed() {
    let variables = environment(&[("VAULT_ADDR", "https://vault"), ("VAULT_TOKEN", "hvs.x")]);
    let flags = cli::Settings::default();
    assert!(Config::load(&flags, &variables, OperatorToken::Ignored).is_err());
    let config = Config::load(&flags, &variables, OperatorToken::Fallback).unwrap();
    assert!(matches!(config.credential, CredentialSource::Environment(_)));
}

#[test]
fn a_file_with_an_unknown_key_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    let flags = cli::Settings { config: Some(file.clone()), ..cli::Settings::default() };
    let check = |content: &str, expected: &str| {
        std::fs::write(&file, content).unwrap();
        let text = load(&flags, SOUND).unwrap_err().to_string();
        assert!(text.contains(expected), "{text}");
        assert!(!text.contains("hunter2"), "{text}");
    };
    check("adress = \"hunter2\"", "adress");
    check("mount = \"a\"\naddress = hunter2", "line 2");
    check("profile = \"home\"", "no profile \"home\"");
    std::fs::remove_file(&file).unwrap();
    assert!(load(&flags, SOUND).unwrap_err().to_string().contains("config.toml"));
}

#[test]
fn mounts_and_addresses_are_checked() {
    for good in ["mcp-proxy", "/team/mcp-proxy/", "a.b_c"] {
        assert!(Mount::parse(good).is_some(), "{good}");
    }
    for bad in ["", "/", "a//b", "a/../b", "a b", "a?b", "a%2fb"] {
        assert!(Mount::parse(bad).is_none(), "{bad}");
    }
    for bad in ["vault:8200", "ftp://vault", "https://vault?x=1", "https://vault#x", "https://"] {
        let variables = [("VAULT_ADDR", bad), ("MCP_BRIDGE_TOKEN_FILE", "/t")];
        assert!(load(&cli::Settings::default(), &variables).is_err(), "{bad}");
    }
}

/// Settings from a file of this content beside flags and variables.
fn with_file(
    content: &str,
    flags: cli::Settings,
    variables: &[(&str, &str)],
) -> Result<Config, ConfigErrors> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("config.toml");
    std::fs::write(&file, content).unwrap();
    load(&cli::Settings { config: Some(file), ..flags }, variables)
}

#[test]
fn a_credential_of_the_file_stays_with_the_server_of_the_file() {
    let content = "address = \"https://home\"\nnamespace = \"ours\"\nca_cert = \"ca.pem\"\n\
                   role_id_file = \"role\"\nsecret_id_file = \"secret\"\n";
    let foreign = [
        ("VAULT_ADDR", "https://foreign"),
        ("VAULT_NAMESPACE", "theirs"),
        ("VAULT_CACERT", "/foreign.pem"),
        ("MCP_BRIDGE_MOUNT", "kept"),
    ];
    let config = with_file(content, cli::Settings::default(), &foreign).unwrap();
    assert_eq!(config.vault.names(), "https://home/");
    assert_eq!(config.vault.namespace.as_deref(), Some("ours"));
    assert!(config.vault.ca_cert.unwrap().ends_with("ca.pem"));
    assert_eq!(config.mount.as_str(), "kept");
    assert_eq!(
        config.ignored,
        ["VAULT_ADDR (https://foreign/) isn't the server of the configuration file, whose \
          credential goes nowhere else; ignored: VAULT_ADDR, VAULT_NAMESPACE, VAULT_CACERT"]
    );
    // An address with a password in it isn't shown.
    let secret = [("VAULT_ADDR", "https://u:hunter2@foreign")];
    let config = with_file(content, cli::Settings::default(), &secret).unwrap();
    assert!(!config.ignored[0].contains("hunter2"), "{:?}", config.ignored);
    // The same server by another spelling is no other, and its settings hold.
    let same = [("VAULT_ADDR", "https://HOME:443/"), ("VAULT_NAMESPACE", "other")];
    let config = with_file(content, cli::Settings::default(), &same).unwrap();
    assert_eq!(config.vault.namespace.as_deref(), Some("other"));
    assert!(config.ignored.is_empty());
    // Asked for by hand: refused, rather than followed or forgotten.
    let flags =
        cli::Settings { address: Some("https://foreign".to_owned()), ..cli::Settings::default() };
    let errors = with_file(content, flags, &[]).unwrap_err();
    assert!(errors.to_string().starts_with("--address isn't the server"), "{errors}");
    // A credential that isn't the file's goes where the environment says.
    let own = [
        ("VAULT_ADDR", "https://foreign"),
        ("MCP_BRIDGE_ROLE_ID_FILE", "/role"),
        ("MCP_BRIDGE_SECRET_ID_FILE", "/secret"),
    ];
    let config = with_file(content, cli::Settings::default(), &own).unwrap();
    assert_eq!(config.vault.names(), "https://foreign/");
    // The secret decides, wherever the role_id comes from.
    let config = with_file(content, cli::Settings::default(), &own[..2]).unwrap();
    assert_eq!(config.vault.names(), "https://home/");
}

#[test]
fn several_addresses_are_read_from_every_source() {
    let credential = "token_file = \"t\"\n";
    let check = |address: &str, variables: &[(&str, &str)]| {
        let content = format!("{address}\n{credential}");
        with_file(&content, cli::Settings::default(), variables).unwrap().vault.names()
    };
    assert_eq!(
        check("address = [\"https://a\", \"https://b:1\"]", &[]),
        "https://a/, https://b:1/"
    );
    assert_eq!(check("address = \"https://a, https://b\"", &[]), "https://a/, https://b/");
    assert_eq!(check("", &[("VAULT_ADDR", "http://a,http://b")]), "http://a/, http://b/");
    // One node of the file's cluster is no foreign server.
    let one = [("VAULT_ADDR", "https://b")];
    assert_eq!(check("address = [\"https://a\", \"https://b\"]", &one), "https://b/");
    for wrong in ["address = []", "address = 1", "address = [\"https://a\", \"b\"]"] {
        let content = format!("{wrong}\n{credential}");
        assert!(with_file(&content, cli::Settings::default(), &[]).is_err(), "{wrong}");
    }
}
