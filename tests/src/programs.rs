//! Where the programs under test and the server are.

use std::path::PathBuf;

/// The checkout's top directory.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent directory").into()
}

/// The plugin, built in the same profile as the running test.
pub fn plugin() -> PathBuf {
    built("vault-plugin-mcp-proxy")
}

/// The bridge, built in the same profile as the running test.
pub fn bridge() -> PathBuf {
    built("mcp-bridge")
}

/// The `bao` or `vault` program: `VAULT_BIN`, or what the set-up fetched.
///
/// # Panics
/// When there is none, naming the command that installs it.
pub fn server() -> PathBuf {
    let named = std::env::var_os("VAULT_BIN").filter(|name| !name.is_empty());
    let path = named.map_or_else(|| root().join(".cache/bin/bao"), PathBuf::from);
    if path.components().count() == 1 {
        // A bare name is looked up in PATH by whoever starts it.
        return path;
    }
    assert!(path.exists(), "{} is missing; run: scripts/setup server", path.display());
    path
}

/// The nginx program: a real upstream that demands a credential by itself.
///
/// # Panics
/// When there is none, naming the command that installs it.
pub fn nginx() -> PathBuf {
    let known = ["/usr/sbin/nginx", "/usr/local/sbin/nginx", "/usr/local/bin/nginx"];
    let found = known.into_iter().map(PathBuf::from).find(|path| path.is_file());
    found.unwrap_or_else(|| panic!("nginx is missing; run: scripts/setup nginx"))
}

fn built(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the path of this test");
    // target/<profile>/deps/<test> and target/<profile>/<program>.
    let found = this.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    found
        .into_iter()
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} isn't built; run: cargo build (or make test)"))
}
