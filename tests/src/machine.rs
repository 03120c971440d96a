//! A machine with nothing on it but the bridge: for enrolling it, and for copying it.

use std::ffi::OsStr;
use std::fs;
use std::io::{Seek as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;

use crate::bridge::Bridge;
use crate::programs;
use crate::swtpm::Swtpm;
use crate::world::World;

/// A home, and perhaps a TPM.
#[derive(Debug)]
pub struct Machine {
    home: TempDir,
    tcti: String,
}

/// A copy of the bridge, in a folder of its own, with something else in its helper's place.
#[derive(Debug)]
pub struct Installation {
    folder: TempDir,
}

/// What `provision --json` printed for one agent.
#[derive(Debug)]
pub struct Provisioned(pub Value);

impl Machine {
    /// A machine without a TPM.
    pub fn new() -> Self {
        let home = tempfile::tempdir().expect("a temporary directory");
        let tcti = format!("device:{}", home.path().join("no-tpm").display());
        Self { home, tcti }
    }

    /// A machine with one.
    pub fn with_tpm(tpm: &Swtpm) -> Self {
        Self::new().reaching(tpm.tcti())
    }

    /// The same machine with another way to its TPM.
    pub fn reaching(self, tcti: String) -> Self {
        Self { tcti, ..self }
    }

    /// Another machine, with a copy of this one's whole home.
    pub fn copied_to(&self, tpm: &Swtpm) -> Self {
        self.copied().reaching(tpm.tcti())
    }

    /// Another machine without a TPM, with a copy of this one's whole home.
    pub fn copied(&self) -> Self {
        let other = Self::new();
        let source = format!("{}/.", self.home().display());
        tool("cp", &["-a".as_ref(), "--".as_ref(), source.as_ref(), other.home().as_os_str()]);
        other
    }

    /// The home.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Where the credential is kept.
    pub fn credential(&self) -> PathBuf {
        self.home().join(".local/state/mcp-bridge/credential.sealed")
    }

    /// The bridge with nothing in its environment but this machine's home and TPM.
    pub fn command(&self) -> Command {
        self.command_at(&programs::bridge())
    }

    /// The same with another copy of the bridge.
    pub fn command_of(&self, installation: &Installation) -> Command {
        self.command_at(&installation.bridge())
    }

    fn command_at(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("HOME", self.home())
            .env("MCP_BRIDGE_TCTI", &self.tcti)
            .stdin(Stdio::null())
            .kill_on_drop(true);
        command
    }

    /// Runs the bridge to its end, with a text on its standard input.
    pub async fn run(&self, arguments: &[&str], input: &str) -> Output {
        run(self.command().args(arguments), input).await
    }

    /// Enrols the machine as `provisioned` says, by the very command that was printed.
    pub async fn enroll(&self, provisioned: &Provisioned, more: &[&str]) -> Output {
        let command = provisioned.command();
        let words = command.iter().map(String::as_str).chain(more.iter().copied());
        self.run(&words.collect::<Vec<_>>(), provisioned.token()).await
    }

    /// Starts the bridge as an MCP client would, with nothing configured.
    pub async fn serve(&self) -> Bridge {
        Self::serve_as(self.command()).await
    }

    /// Starts the bridge as an MCP client would, by a command.
    pub async fn serve_as(command: Command) -> Bridge {
        let scratch = tempfile::tempdir().expect("a temporary directory");
        Bridge::start_as(command, scratch).await
    }

    /// What a credential that is kept in clear says.
    pub fn payload(&self) -> Value {
        let file: Value = serde_json::from_slice(&self.kept()).expect("JSON");
        serde_json::from_str(file["payload"].as_str().expect("a payload in clear")).expect("JSON")
    }

    /// Changes what a credential that is kept in clear says.
    pub fn edit_payload(&self, change: impl FnOnce(&mut Value)) {
        let mut file: Value = serde_json::from_slice(&self.kept()).expect("JSON");
        let mut payload = self.payload();
        change(&mut payload);
        file["payload"] = payload.to_string().into();
        fs::write(self.credential(), file.to_string()).expect("a write");
    }

    /// Makes a credential that is kept in clear older than it is.
    pub fn age(&self, seconds: u64) {
        self.edit_payload(|payload| {
            for field in ["issued_at", "expires_at"] {
                let time = payload[field].as_u64().expect("a time");
                payload[field] = (time - seconds).into();
            }
        });
    }

    /// The kept credential's file.
    pub fn kept(&self) -> Vec<u8> {
        fs::read(self.credential()).expect("a kept credential")
    }
}

impl Installation {
    /// The bridge without its helper.
    pub fn without_helper() -> Self {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().expect("a temporary directory");
        // For any user.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("a mode");
        let installation = Self { folder };
        // By another process, so that none of ours, or a child of ours, has it open for writing
        // when it is started (execve(2), ETXTBSY).
        let (bridge, copy) = (programs::bridge(), installation.bridge());
        tool("cp", &["--".as_ref(), bridge.as_os_str(), copy.as_os_str()]);
        installation
    }

    /// The bridge with a shell script in its helper's place; `$HELPER` is the real one, and
    /// `$HERE` this folder.
    pub fn with_helper(script: &str) -> Self {
        let installation = Self::without_helper();
        let real = programs::bridge().with_file_name("mcp-bridge-tpm");
        let here = installation.folder().display();
        let text = format!("#!/bin/sh\nHELPER={}\nHERE={here}\n{script}\n", real.display());
        let file = installation.folder().join("mcp-bridge-tpm");
        let write = r#"printf %s "$1" >"$0" && chmod 755 "$0""#;
        tool("sh", &["-c".as_ref(), write.as_ref(), file.as_os_str(), text.as_ref()]);
        installation
    }

    /// The folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn bridge(&self) -> PathBuf {
        self.folder.path().join("mcp-bridge")
    }
}

impl Default for Machine {
    fn default() -> Self {
        Self::new()
    }
}

impl Provisioned {
    /// The arguments of the printed command.
    pub fn command(&self) -> Vec<String> {
        let command = self.0["command"].as_str().expect("a command");
        let words = command.split(' ').map(|word| word.trim_matches('\'').to_owned());
        let mut words = words.collect::<Vec<_>>();
        assert_eq!(words.remove(0), "mcp-bridge");
        words
    }

    /// The wrapping token.
    pub fn token(&self) -> &str {
        self.0["wrapping_token"].as_str().expect("a wrapping token")
    }

    /// A field that is a text.
    pub fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_else(|| panic!("{field} in {}", self.0))
    }

    /// What was done, as `change object` lines.
    pub fn steps(&self) -> Vec<String> {
        steps(&self.0)
    }
}

/// The steps of an operator's command, as `change object` lines.
pub fn steps(printed: &Value) -> Vec<String> {
    let steps = printed["steps"].as_array().expect("steps").iter();
    let line = |step: &Value| {
        format!(
            "{} {}",
            step["change"].as_str().unwrap_or_default(),
            step["object"].as_str().unwrap_or_default()
        )
    };
    steps.map(line).collect()
}

/// Enables AppRole, as an operator does once.
pub async fn enable_approle(world: &World) {
    let _ = world.root.write("sys/auth/approle", serde_json::json!({ "type": "approle" })).await;
}

/// Runs an operator's command with a token in its environment.
pub async fn operate(address: &str, token: &str, arguments: &[&str]) -> Output {
    let home = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(programs::bridge());
    command
        .env_clear()
        .env("HOME", home.path())
        .env("VAULT_ADDR", address)
        .env("VAULT_TOKEN", token)
        .kill_on_drop(true);
    run(command.args(arguments), "").await
}

/// Provisions an agent with the root token.
pub async fn provision(world: &World, address: &str, arguments: &[&str]) -> Provisioned {
    let arguments = [&["provision", "--json"], arguments].concat();
    let output = operate(address, world.root.token(), &arguments).await;
    assert!(output.status.success(), "{output:?}");
    Provisioned(serde_json::from_slice(&output.stdout).expect("JSON"))
}

fn tool(program: &str, arguments: &[&OsStr]) {
    let status = std::process::Command::new(program).args(arguments).status();
    assert!(status.is_ok_and(|status| status.success()), "{program} {arguments:?}");
}

async fn run(command: &mut Command, input: &str) -> Output {
    // The standard input as a file: no write that could block, or come too late.
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(input.as_bytes()).expect("a write");
    file.rewind().expect("a rewind");
    command.stdin(file).output().await.expect("the bridge")
}

/// Every file below a folder, with its content.
pub fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(bytes) = fs::read(&path) {
                found.push((path, bytes));
            }
        }
    }
    found
}
