//! `scripts/install_plugin`: whole or not at all, the same command for an upgrade, and what it refuses.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::programs;
use tempfile::TempDir;

/// A folder with a plugin directory and a program of version 9.8.7, as `make dist` leaves it.
fn folder() -> (TempDir, PathBuf, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let (plugins, program) = (folder.path().join("plugins"), folder.path().join(NAME));
    fs::create_dir(&plugins).unwrap();
    mode(&plugins, 0o755);
    fs::copy(programs::plugin(), &program).unwrap();
    (folder, plugins, program)
}

const NAME: &str = "vault-plugin-mcp-proxy-9.8.7";

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

/// What the script printed, or why it refused.
fn install(directory: &Path, program: &Path) -> Result<String, String> {
    let script = programs::root().join("scripts/install_plugin");
    let output = Command::new(script).arg(directory).arg(program).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    let mut names: Vec<_> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_version_is_installed_once_and_the_next_one_beside_it() {
    let (folder, plugins, program) = folder();
    let first = install(&plugins, &program).unwrap();
    let sum = Command::new("sha256sum").arg(&program).output().unwrap().stdout;
    let sum = String::from_utf8(sum).unwrap()[..64].to_owned();
    let register = format!(
        "vault plugin register -sha256={sum} -command={NAME} -version=v9.8.7 secret mcp-proxy"
    );
    assert!(first.starts_with("Installed: "), "{first}");
    for printed in [register.as_str(), &format!("sha256sum = \"{sum}\""), "\"v9.8.7\""] {
        assert!(first.contains(printed), "{printed}: {first}");
    }
    let installed = fs::metadata(plugins.join(NAME)).unwrap();
    assert_eq!(installed.mode() & 0o7777, 0o755);

    let again = install(&plugins, &program).unwrap();
    assert!(again.starts_with("Already there: "), "{again}");
    assert_eq!(again.split_once('\n').unwrap().1, first.split_once('\n').unwrap().1);
    assert_eq!(fs::metadata(plugins.join(NAME)).unwrap().ino(), installed.ino());

    let next = folder.path().join("vault-plugin-mcp-proxy-9.9.0");
    fs::copy(&program, &next).unwrap();
    install(&plugins, &next).unwrap();
    assert_eq!(names(&plugins), [NAME, "vault-plugin-mcp-proxy-9.9.0"]);
}

#[test]
fn another_build_of_a_version_takes_the_name_and_leaves_the_running_file_alone() {
    let (_folder, plugins, program) = folder();
    fs::write(plugins.join(NAME), "an earlier build").unwrap();
    let running = fs::File::open(plugins.join(NAME)).unwrap();
    let said = install(&plugins, &program).unwrap();
    assert!(said.contains("register it again"), "{said}");
    assert_ne!(fs::metadata(plugins.join(NAME)).unwrap().ino(), running.metadata().unwrap().ino());
    assert_eq!(running.metadata().unwrap().len(), "an earlier build".len() as u64);
    assert_eq!(names(&plugins), [NAME]);
}

#[test]
fn what_the_server_would_refuse_is_refused_first_and_nothing_is_left() {
    let (folder, plugins, program) = folder();
    let refused = |directory: &Path, program: &Path, why: &str| {
        let said = install(directory, program).unwrap_err();
        assert!(said.contains(why), "{why}: {said}");
        assert!(names(&plugins).is_empty(), "{:?}", names(&plugins));
    };
    let link = folder.path().join("link");
    symlink(&plugins, &link).unwrap();
    refused(&link, &program, "symbolic link");
    refused(&folder.path().join("none"), &program, "sudo install -d");
    mode(&plugins, 0o775);
    refused(&plugins, &program, "chmod go-w");
    mode(&plugins, 0o755);
    let other = folder.path().join("vault-plugin-mcp-proxy-1.0.0");
    fs::copy("/bin/true", &other).unwrap();
    refused(&plugins, &other, "doesn't run");
    fs::write(folder.path().join("SHA256SUMS"), format!("{}  {NAME}\n", "0".repeat(64))).unwrap();
    refused(&plugins, &program, "SHA256SUMS");
}
