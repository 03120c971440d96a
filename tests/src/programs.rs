//! Where the programs under test and the server are.

use std::path::{Path, PathBuf};

/// The checkout's top directory.
pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).parent().expect("a parent directory").into()
}

/// The plugin, built in the same profile as the running test; for benchmarks, the released one.
pub fn plugin() -> PathBuf {
    built("vault-plugin-mcp-proxy")
}

/// The bridge, built in the same profile as the running test.
pub fn bridge() -> PathBuf {
    built("mcp-bridge")
}

/// The plugin with what profilers need, which `make profile` builds.
pub fn profiled_plugin() -> PathBuf {
    target().join("profiling/vault-plugin-mcp-proxy")
}

/// An engine that does nothing, built as the plugin is.
pub fn floor() -> PathBuf {
    plugin().with_file_name("examples").join("floor")
}

/// The folder of a build's results.
pub fn target() -> PathBuf {
    let this = std::env::current_exe().expect("the path of this program");
    let named = |folder: &&Path| folder.ends_with("target");
    this.ancestors().find(named).expect("a folder named target").to_owned()
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
    // target/<profile>/deps/<test> and target/<profile>/<program>; what measures has a profile of its own,
    // beside that of what is measured.
    let own = this.ancestors().skip(1).take(2).map(Path::to_owned);
    let released = this.ancestors().nth(2).map(|target| target.join("release"));
    own.chain(released)
        .map(|folder| folder.join(name))
        .find(|path| path.is_file())
        .unwrap_or_else(|| panic!("{name} isn't built; run: cargo build (or make test)"))
}
