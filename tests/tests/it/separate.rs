//! The bridge under another uid than the agent's: who can use it, what it survives, how it ends.
//!
//! These cases need root, to start processes as other users; without it they say that they were
//! left out.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;

use e2e::bridge::{Bridge, ToolResult};
use e2e::machine::{enable_approle, provision};
use e2e::programs;
use e2e::server::signal;
use e2e::swtpm::Swtpm;
use e2e::wait::{LIMIT, until};
use e2e::world::{AppRole, World};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::UnixStream;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

/// Users of nobody: no name is needed.
const HOLDER: u32 = 64_101;
const AGENT: u32 = 64_102;
const STRANGER: u32 = 64_103;

const RULES: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/proxy/demo/+" { capabilities = ["update"] }
"#;

/// A machine on which three users have no more in common than the program.
struct Host {
    /// The program, which all may run.
    program: PathBuf,
    /// The holder's own folder.
    home: PathBuf,
    /// The folder of its socket, which it alone may change.
    run: TempDir,
    _files: TempDir,
}

impl Host {
    /// None without the rights for it.
    fn new() -> Option<Self> {
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

    fn socket(&self) -> PathBuf {
        self.run.path().join("mcp-bridge.sock")
    }

    /// Gives the holder, and it alone, a credential.
    fn keep(&self, role: &AppRole) {
        for file in [role.role_id_file(), role.secret_id_file()] {
            let kept = self.home.join(file.file_name().unwrap());
            fs::copy(file, &kept).unwrap();
            chown(&kept, Some(HOLDER), Some(HOLDER)).unwrap();
            fs::set_permissions(&kept, Permissions::from_mode(0o600)).unwrap();
        }
    }

    /// Has the holder enrol itself at a TPM, by the command that an operator gets.
    async fn enroll(&self, world: &World, tpm: &Swtpm) {
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

    fn command(&self, uid: u32) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().uid(uid).gid(uid).kill_on_drop(true);
        command
    }

    /// The holder with the credential in files.
    fn holder(&self, address: &str) -> Command {
        let mut command = self.bare_holder();
        command
            .env("VAULT_ADDR", address)
            .env("MCP_BRIDGE_ROLE_ID_FILE", self.home.join("role_id"))
            .env("MCP_BRIDGE_SECRET_ID_FILE", self.home.join("secret_id"));
        command
    }

    /// The holder with nothing but what it finds in its home.
    fn bare_holder(&self) -> Command {
        let mut command = self.command(HOLDER);
        command
            .env("HOME", &self.home)
            .arg("serve")
            .arg("--socket")
            .arg(self.socket())
            .args(["--allow-user", &AGENT.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }

    /// Starts the holder; it takes connections when this returns.
    async fn hold(&self, mut command: Command) -> Child {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log()).unwrap();
        let holder = command.stderr(log).spawn().unwrap();
        until("the holder's socket", async || {
            UnixStream::connect(self.socket()).await.is_ok().then_some(())
        })
        .await;
        holder
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    fn attach_command(&self, uid: u32) -> Command {
        let mut command = self.command(uid);
        command.env("MCP_BRIDGE_SOCKET", self.socket()).arg("attach");
        command
    }

    /// Attaches as a client of the older revisions does.
    async fn attach(&self) -> Bridge {
        Bridge::start_as(self.attach_command(AGENT), tempfile::tempdir().unwrap()).await
    }

    /// What a user reads in a file.
    async fn read_as(&self, uid: u32, file: &Path) -> String {
        let output = Command::new("cat").arg(file).uid(uid).gid(uid).output().await.unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// A client that sends what it likes, and gets every line.
struct Client {
    process: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Client {
    fn start(mut command: Command) -> Self {
        let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut process = command.spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let output = BufReader::new(process.stdout.take().unwrap()).lines();
        Self { process, input, output }
    }

    async fn send(&mut self, id: &str, method: &str, mut parameters: Value) {
        parameters["_meta"] = json!({
            "io.modelcontextprotocol/protocolVersion": "2026-07-28",
            "io.modelcontextprotocol/clientCapabilities": {},
        });
        let line = json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": parameters })
            .to_string();
        self.input.write_all(format!("{line}\n").as_bytes()).await.unwrap();
    }

    async fn next(&mut self) -> Value {
        let line = tokio::time::timeout(LIMIT, self.output.next_line()).await.unwrap().unwrap();
        serde_json::from_str(&line.unwrap()).unwrap()
    }

    /// The next message that isn't a notification.
    async fn answer(&mut self, id: &str) -> Value {
        loop {
            let message = self.next().await;
            if message.get("method").is_none() {
                assert_eq!(message["id"], id, "{message}");
                return message;
            }
        }
    }

    async fn request(&mut self, id: &str, method: &str, parameters: Value) -> Value {
        self.send(id, method, parameters).await;
        self.answer(id).await
    }

    /// Leaves, and sees that attach leaves, too.
    async fn leave(mut self) {
        drop(self.input);
        let status = tokio::time::timeout(LIMIT, self.process.wait()).await.unwrap().unwrap();
        assert!(status.success(), "{status}");
    }
}

fn read(path: &str) -> Value {
    json!({ "service": "demo", "path": path })
}

fn write(path: &str) -> Value {
    json!({ "service": "demo", "method": "POST", "path": path, "body": "once" })
}

/// How many tokens the server knows.
async fn tokens(world: &World) -> usize {
    world.root.list("auth/token/accessors").await.ok().keys().len()
}

#[tokio::test]
async fn the_agent_uses_what_it_cannot_read_and_nobody_else_does() {
    let Some(host) = Host::new() else { return };
    let world = World::start().await;
    let (upstream, token) = world.service("demo").await;
    let tpm = Swtpm::start().await;
    host.enroll(&world, &tpm).await;
    let before = tokens(&world).await;
    let mut holder = host.bare_holder();
    holder.env("MCP_BRIDGE_TCTI", tpm.tcti());
    let mut holder = host.hold(holder).await;
    let pid = holder.id().unwrap();

    let (mut one, mut two) = (host.attach().await, host.attach().await);
    for agent in [&mut one, &mut two] {
        let answer = agent.call("proxy_read", read("/a")).await;
        assert!(answer.text.starts_with("200 OK"), "{}", answer.text);
    }
    assert_eq!(upstream.seen()[0].header("authorization"), Some(&*format!("Bearer {token}")));
    assert_eq!(tokens(&world).await, before + 1, "all clients share one login");

    let credential = host.home.join(".local/state/mcp-bridge/credential.sealed");
    for secret in [&credential, &format!("/proc/{pid}/environ").into()] {
        assert_eq!(host.read_as(AGENT, secret).await, "", "{}", secret.display());
    }
    assert_ne!(host.read_as(HOLDER, &credential).await, "");

    // Refused without having said a word. Root is nobody in particular, too.
    let mut stream = UnixStream::connect(host.socket()).await.unwrap();
    let mut said = String::new();
    let all = tokio::time::timeout(LIMIT, stream.read_to_string(&mut said));
    all.await.expect("a connection that is closed").unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("not_permitted: user 0 "), "{said}");
    let mut stranger = Client::start(host.attach_command(STRANGER));
    let call = json!({ "name": "proxy_read", "arguments": read("/a") });
    let answer = stranger.request("1", "tools/call", call).await;
    let text = ToolResult::of(&answer["result"]).text;
    assert!(text.contains("not_permitted") && text.contains("Nothing was sent"), "{text}");
    stranger.leave().await;
    assert_eq!(upstream.seen().len(), 2);
    let log = fs::read_to_string(host.log()).unwrap();
    assert!(
        log.contains("refused a connection") && log.contains(&format!("uid={STRANGER}")),
        "{log}"
    );

    // What is under way may end; then nothing is left.
    let id =
        one.begin("tools/call", json!({ "name": "proxy_read", "arguments": read("/hold") })).await;
    upstream.saw(3).await;
    signal(pid, Signal::TERM);
    until("the socket to go", async || (!host.socket().exists()).then_some(())).await;
    let refused = two.call("proxy_read", read("/a")).await;
    assert!(refused.text.ends_with("Try again in a few seconds."), "{}", refused.text);
    upstream.release();
    let answer = ToolResult::of(&one.answer(id).await);
    assert!(answer.text.starts_with("200 OK"), "{}", answer.text);
    let status = tokio::time::timeout(LIMIT, holder.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
    assert_eq!(tokens(&world).await, before, "the token is revoked");
    for agent in [one, two] {
        agent.leave().await;
    }
}

#[tokio::test]
async fn a_holder_that_is_killed_in_a_call_leaves_it_unknown_and_the_next_call_works() {
    let Some(host) = Host::new() else { return };
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    host.keep(&world.app_role("agent", RULES).await);
    let mut holder = host.hold(host.holder(world.server.address())).await;
    let mut old = host.attach().await;
    assert_eq!(old.request("tools/list", json!({})).await["tools"].as_array().unwrap().len(), 3);
    let mut new = Client::start(host.attach_command(AGENT));
    let filter = json!({ "notifications": { "toolsListChanged": true } });
    new.send("listen", "subscriptions/listen", filter).await;
    let begun = new.next().await;
    assert_eq!(begun["method"], "notifications/subscriptions/acknowledged", "{begun}");
    new.request("list", "tools/list", json!({})).await;

    let call = json!({ "name": "proxy_request", "arguments": write("/hold") });
    let id = old.begin("tools/call", call.clone()).await;
    new.send("call", "tools/call", call).await;
    upstream.saw(2).await;
    holder.kill().await.unwrap();
    let result = new.answer("call").await["result"].clone();
    assert_eq!(result["resultType"], "complete", "{result}");
    for result in [result, old.answer(id).await] {
        let answer = ToolResult::of(&result);
        assert!(answer.is_error && answer.text.starts_with("outcome_unknown: "), "{}", answer.text);
        assert!(answer.text.contains("\"demo\"") && answer.text.contains("Don't repeat it"));
    }

    // What the dead one left is in nobody's way. A call that comes meanwhile waits for the next.
    assert!(host.socket().exists());
    let id =
        old.begin("tools/call", json!({ "name": "proxy_read", "arguments": read("/a") })).await;
    let mut holder = host.hold(host.holder(world.server.address())).await;
    let answer = ToolResult::of(&old.answer(id).await);
    assert!(answer.text.starts_with("200 OK"), "{}", answer.text);
    // The subscription goes on; the client hears that the tools may be others.
    let told = new.next().await;
    assert_eq!(told["method"], "notifications/tools/list_changed", "{told}");
    assert_eq!(
        told["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"], "listen",
        "{told}"
    );
    let call = json!({ "name": "proxy_read", "arguments": read("/a") });
    let answer = new.request("again", "tools/call", call).await;
    assert!(ToolResult::of(&answer["result"]).text.starts_with("200 OK"), "{answer}");
    // The client of an older revision is told as well, and sees one handshake alone.
    let handshakes = old.transcript().matches("serverInfo").count();
    assert_eq!(handshakes, 1, "{}", old.transcript());
    assert!(old.transcript().contains("notifications/tools/list_changed"));
    upstream.release();
    let posts = upstream.seen().iter().filter(|seen| seen.method == "POST").count();
    assert_eq!(posts, 2, "no call was repeated");

    new.leave().await;
    old.leave().await;
    holder.kill().await.unwrap();
}

#[tokio::test]
async fn what_could_be_somebody_elses_is_refused_and_what_isnt_there_is_named() {
    let Some(host) = Host::new() else { return };
    let nobody = "http://127.0.0.1:9";
    for file in ["role_id", "secret_id"] {
        fs::write(host.home.join(file), "none").unwrap();
        chown(host.home.join(file), Some(HOLDER), Some(HOLDER)).unwrap();
    }
    let hello = json!({ "protocolVersion": "2025-11-25", "capabilities": {},
                        "clientInfo": { "name": "e2e", "version": "1" } });
    let failed = async |client: &mut Client, id: &str| {
        let answer = client.request(id, "initialize", hello.clone()).await;
        answer["error"]["message"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
    };

    // Nobody there.
    let mut client = Client::start(host.attach_command(AGENT));
    let text = failed(&mut client, "1").await;
    let socket = host.socket().display().to_string();
    assert!(text.contains(&socket) && text.contains("systemctl status"), "{text}");

    let refused = async |mut command: Command| {
        let output = tokio::time::timeout(LIMIT, command.output()).await.expect("an end").unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };

    // The holder doesn't begin where others could take its place, or its place is taken.
    fs::set_permissions(host.run.path(), Permissions::from_mode(0o777)).unwrap();
    let errors = refused(host.holder(nobody)).await;
    assert!(errors.contains("is writable by others (mode 777)"), "{errors}");
    fs::set_permissions(host.run.path(), Permissions::from_mode(0o755)).unwrap();
    let mut holder = host.hold(host.holder(nobody)).await;
    let mut second = host.holder(nobody);
    second.args(["--allow-user", "0"]);
    let errors = refused(second).await;
    assert!(errors.contains("another process serves there"), "{errors}");
    assert!(errors.contains("no separation: --allow-user root"), "{errors}");

    // The client that was there first needs nothing but to ask again.
    until("the handshake", async || {
        let answer = client.request("2", "initialize", hello.clone()).await;
        answer["result"]["serverInfo"].is_object().then_some(())
    })
    .await;
    client.leave().await;

    // The agent's side doesn't speak where others could have put what answers.
    fs::set_permissions(host.run.path(), Permissions::from_mode(0o777)).unwrap();
    let mut client = Client::start(host.attach_command(AGENT));
    let text = failed(&mut client, "1").await;
    assert!(text.contains("isn't to be trusted"), "{text}");
    // Whoever owns the socket's file must be who answers.
    fs::set_permissions(host.run.path(), Permissions::from_mode(0o755)).unwrap();
    chown(host.socket(), Some(0), Some(0)).unwrap();
    chown(host.run.path(), Some(0), Some(0)).unwrap();
    let text = failed(&mut client, "2").await;
    assert!(text.contains(&format!("but user {HOLDER} serves on it")), "{text}");
    client.leave().await;

    signal(holder.id().unwrap(), Signal::TERM);
    let status = tokio::time::timeout(LIMIT, holder.wait()).await.unwrap().unwrap();
    assert!(status.success(), "{status}");
}
