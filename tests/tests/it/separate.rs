//! The bridge under another uid than the agent's: who can use it, what it survives, how it ends.
//!
//! These cases need root, to start processes as other users; without it they say that they were
//! left out.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};

use e2e::bridge::ToolResult;
use e2e::server::signal;
use e2e::swtpm::Swtpm;
use e2e::wait::{LIMIT, until};
use e2e::world::World;
use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::net::UnixStream;
use tokio::process::Command;

mod host;

use host::{AGENT, Client, HOLDER, Host, STRANGER};

const RULES: &str = r#"
path "mcp-proxy/catalog" { capabilities = ["read"] }
path "mcp-proxy/proxy/demo/+" { capabilities = ["update"] }
"#;

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

    // The kernel keeps everybody else out: no stranger costs the holder anything.
    let mut stranger = Client::start(host.attach_command(STRANGER));
    let call = json!({ "name": "proxy_read", "arguments": read("/a") });
    let answer = stranger.request("1", "tools/call", call).await;
    let text = ToolResult::of(&answer["result"]).text;
    assert!(text.contains("isn't for this user") && text.contains("Nothing was sent"), "{text}");
    stranger.leave().await;
    // But root, whom the holder refuses without having heard a word, as anybody where the kernel
    // doesn't; the log tells of many refusals once.
    for _ in 0..3 {
        let mut stream = UnixStream::connect(host.socket()).await.unwrap();
        let mut said = String::new();
        let all = tokio::time::timeout(LIMIT, stream.read_to_string(&mut said));
        all.await.expect("a connection that is closed").unwrap();
        assert_eq!(said.lines().count(), 1, "{said}");
        assert!(said.contains("not_permitted: user 0 "), "{said}");
    }
    assert_eq!(upstream.seen().len(), 2);
    let log = fs::read_to_string(host.log()).unwrap();
    assert_eq!(log.matches("refused a connection").count(), 1, "{log}");
    assert!(log.contains("uid=0 ") && !log.contains(&format!("uid={STRANGER}")), "{log}");

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
    // Nor where a link of theirs leads to a place of its own.
    let theirs = tempfile::tempdir_in("/run").unwrap();
    fs::set_permissions(theirs.path(), Permissions::from_mode(0o755)).unwrap();
    let link = theirs.path().join("link");
    symlink(host.run.path(), &link).unwrap();
    chown(theirs.path(), Some(AGENT), Some(AGENT)).unwrap();
    let linked = link.join("mcp-bridge.sock");
    let errors = refused(host.holder_at(&linked, nobody)).await;
    assert!(errors.contains(&format!("belongs to user {AGENT}")), "{errors}");
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

    // The agent's side doesn't speak where others could have put what answers, be it by a link.
    let mut attach = host.attach_command(STRANGER);
    let mut client = Client::start({
        attach.env("MCP_BRIDGE_SOCKET", &linked);
        attach
    });
    let text = failed(&mut client, "1").await;
    assert!(text.contains("isn't to be trusted") && text.contains("/link"), "{text}");
    client.leave().await;
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
