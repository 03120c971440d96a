//! A machine whose users have nothing in common, and a client that says what it likes.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::bridge::Bridge;
use e2e::machine::{enable_approle, provision};
use e2e::programs;
use e2e::swtpm::Swtpm;
use e2e::wait::{LIMIT, until};
use e2e::world::{AppRole, World};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Users of nobody: no name is needed.
pub(super) const HOLDER: u32 = 64_101;
pub(super) const AGENT: u32 = 64_102;
pub(super) const STRANGER: u32 = 64_103;

/// A machine on which three users have no more in common than the program.
pub(super) struct Host {
    /// The program, which all may run.
    program: PathBuf,
    /// The holder's own folder.
    pub(super) home: PathBuf,
    /// The folder of its socket, which it alone may change.
    pub(super) run: TempDir,
    _files: TempDir,
}

impl Host {
    /// None without the rights for it.
    pub(super) fn new() -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            #[expect(clippy::print_stderr, reason = "a test that doesn't run has to say so")]
            {
                eprintln!("SKIPPED: separate users can be tried by root alone");
            }
            return None;
        }
        let files = tempfile::tempdir().unwrap();
        fs::set_permissions(files.path(), Permissions::from_mode(0o755)).unwrap();
        let program = files.path().join("mcp-bridge");
        // By another process, so that none of ours, or a child of ours, has them open for writing when
        // they are started (execve(2), ETXTBSY).
        let helper = programs::bridge().with_file_name("mcp-bridge-tpm");
        let copied = std::process::Command::new("cp")
            .args([programs::bridge(), helper])
            .arg(files.path())
            .status();
        assert!(copied.unwrap().success());
        let home = files.path().join("home");
        fs::create_dir(&home).unwrap();
        fs::set_permissions(&home, Permissions::from_mode(0o700)).unwrap();
        chown(&home, Some(HOLDER), Some(HOLDER)).unwrap();
        // Below /tmp, where anybody makes folders, both sides refuse to meet.
        let run = tempfile::tempdir_in("/run").unwrap();
        fs::set_permissions(run.path(), Permissions::from_mode(0o755)).unwrap();
        chown(run.path(), Some(HOLDER), Some(HOLDER)).unwrap();
        Some(Self { program, home, run, _files: files })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.run.path().join("mcp-bridge.sock")
    }

    /// Gives the holder, and it alone, a credential.
    pub(super) fn keep(&self, role: &AppRole) {
        for file in [role.role_id_file(), role.secret_id_file()] {
            let kept = self.home.join(file.file_name().unwrap());
            fs::copy(file, &kept).unwrap();
            chown(&kept, Some(HOLDER), Some(HOLDER)).unwrap();
            fs::set_permissions(&kept, Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// Has the holder enrol itself at a TPM, by the command that an operator gets.
    pub(super) async fn enroll(&self, world: &World, tpm: &Swtpm) {
        enable_approle(world).await;
        let arguments = ["build7", "--services", "demo", "--methods", "GET,POST"];
        let provisioned = provision(world, world.server.address(), &arguments).await;
        let token = self.home.join("wrapping_token");
        fs::write(&token, provisioned.token()).unwrap();
        let mut command = self.command(HOLDER);
        command
            .env("HOME", &self.home)
            .env("MCP_BRIDGE_TCTI", tpm.tcti())
            .args(provisioned.command())
            .stdin(fs::File::open(token).unwrap());
        let output = command.output().await.unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    pub(super) fn command(&self, uid: u32) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().uid(uid).gid(uid).kill_on_drop(true);
        command
    }

    /// The holder with the credential in files.
    pub(super) fn holder(&self, address: &str) -> Command {
        self.holder_at(&self.socket(), address)
    }

    /// The same at another socket.
    pub(super) fn holder_at(&self, socket: &Path, address: &str) -> Command {
        let mut command = self.serve(socket);
        command
            .env("VAULT_ADDR", address)
            .env("MCP_BRIDGE_ROLE_ID_FILE", self.home.join("role_id"))
            .env("MCP_BRIDGE_SECRET_ID_FILE", self.home.join("secret_id"));
        command
    }

    /// The holder with nothing but what it finds in its home.
    pub(super) fn bare_holder(&self) -> Command {
        self.serve(&self.socket())
    }

    fn serve(&self, socket: &Path) -> Command {
        let mut command = self.command(HOLDER);
        command
            .env("HOME", &self.home)
            .arg("serve")
            .arg("--socket")
            .arg(socket)
            .args(["--allow-user", &AGENT.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Starts the holder; it takes connections when this returns.
    pub(super) async fn hold(&self, mut command: Command) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let holder = command.stderr(log).spawn().unwrap();
        until("the holder's socket", async || {
            UnixStream::connect(self.socket()).await.is_ok().then_some(())
        })
        .await;
        holder
    }

    pub(super) fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    pub(super) fn attach_command(&self, uid: u32) -> Command {
        let mut command = self.command(uid);
        command.env("MCP_BRIDGE_SOCKET", self.socket()).arg("attach");
        command
    }

    /// Attaches as a client of the older revisions does.
    pub(super) async fn attach(&self) -> Bridge {
        Bridge::start_as(self.attach_command(AGENT), tempfile::tempdir().unwrap()).await
    }

    /// What a user reads in a file.
    pub(super) async fn read_as(&self, uid: u32, file: &Path) -> String {
        let output = Command::new("cat").arg(file).uid(uid).gid(uid).output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A client that sends what it likes, and gets every line.
pub(super) struct Client {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Client {
    pub(super) fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, input, output }
    }

    pub(super) async fn send(&mut self, id: &str, method: &str, mut parameters: Value) {
        parameters["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let line = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters })
            .to_string();
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    pub(super) async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(LIMIT, self.output.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line.unwrap()).unwrap()
    }

    /// The next message that isn't a notification.
    pub(super) async fn answer(&mut self, id: &str) -> Value {
        loop {
            let message = self.next().await;
            if message.get("method").is_none() {
                assert_eq!(message["id"], id, "{message}");
                return message;
            }
        }
    }

    pub(super) async fn request(&mut self, id: &str, method: &str, parameters: Value) -> Value {
        self.send(id, method, parameters).await;
        self.answer(id).await
    }

    /// Leaves, and sees that attach leaves, too.
    pub(super) async fn leave(mut self) {
        drop(self.input);
        let status = tokio::time::timeout(LIMIT, self.process.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
}
