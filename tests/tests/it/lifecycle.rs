//! The life of a plugin: versions shown, a hanging call under a reload, processes, kinds of mounts,
//! and what the server says of a plugin directory that isn't right.
#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "measurements are for people; a helper that fails, fails its test"
)]

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

use e2e::api::{Answer, Api};
use e2e::server::{Server, Storage, signal};
use e2e::upstream::Upstream;
use e2e::world::{World, definition};
use e2e::{cli, forms, programs, wait};
use rustix::process::Signal;
use serde_json::{Value, json};

const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

/// The ceiling that the hanging calls have, and what the server may need beside it.
const CEILING: Duration = Duration::from_secs(2);
const MARGIN: Duration = Duration::from_secs(3);

#[tokio::test]
async fn the_commands_show_the_running_version() {
    let world = World::start().await;
    for (arguments, row, times) in [
        // Name, type, version.
        (["plugin", "list", "-detailed", "secret"].as_slice(), "mcp-proxy ", 1),
        // Among others: version and running version.
        (["secrets", "list", "-detailed"].as_slice(), "mcp-proxy/ ", 1),
    ] {
        let output = cli::run(&world.root, arguments).await;
        let text = String::from_utf8(output.stdout).unwrap();
        let rows: Vec<_> = text.lines().filter(|line| line.starts_with(row)).collect();
        assert_eq!(rows.len(), times, "{text}");
        assert!(rows[0].split_whitespace().any(|word| word == VERSION), "{text}");
    }
    let mounts = world.root.read("sys/mounts").await.ok();
    assert_eq!(mounts.data()["mcp-proxy/"]["running_plugin_version"], VERSION);
}

#[tokio::test]
async fn a_hanging_upstream_holds_the_servers_commands_up_no_longer_than_the_ceiling() {
    let world = World::start().await;
    let (upstream, _) = world.service("demo").await;
    // The service's own timeout stays at 30 s: the mount's ceiling is what bounds.
    let ceiling = json!({ "max_timeout": CEILING.as_secs() });
    world.root.write("mcp-proxy/config", ceiling).await.ok();
    let commands = [
        ("reload", "POST", "sys/plugins/reload/backend", json!({ "plugin": "mcp-proxy" })),
        ("enable another mount", "POST", "sys/mounts/other", json!({ "type": "mcp-proxy" })),
        ("disable the other mount", "DELETE", "sys/mounts/other", Value::Null),
        ("disable", "DELETE", "sys/mounts/mcp-proxy", Value::Null),
    ];
    for (number, (what, method, path, body)) in commands.into_iter().enumerate() {
        let held = held(&world.root);
        wait::until("the call to hang", async || (holds(&upstream) > number).then_some(())).await;
        let started = Instant::now();
        let body = Some(body).filter(|body| !body.is_null());
        world.root.send(method, path, body.as_ref()).await.unwrap().ok();
        let took = started.elapsed();
        println!("{what}: {took:?} with a call that hangs until its ceiling of {CEILING:?}");
        assert!(took < CEILING + MARGIN, "{what}: {took:?}");
        let cut_off = held.await.unwrap();
        assert!(matches!(cut_off.status, 424 | 500), "{what}: {cut_off:?}");
        assert!(started.elapsed() < CEILING + MARGIN, "{what}: the call's end");
        if what != "disable" {
            works(&world.root, "mcp-proxy").await;
        }
    }
    assert_eq!(holds(&upstream), 4, "no call was repeated");
    // A mount that is enabled anew is another one, without the old one's data.
    world.root.write("sys/mounts/mcp-proxy", json!({ "type": "mcp-proxy" })).await.ok();
    assert_eq!(world.root.list("mcp-proxy/services").await.status, 404);
}

#[tokio::test]
async fn a_second_catalog_name_is_a_process_of_its_own() {
    let world = World::start().await;
    let api = &world.root;
    let first = world.server.plugins();
    assert_eq!(first.len(), 1);
    api.write("sys/mounts/same", json!({ "type": "mcp-proxy" })).await.ok();
    assert_eq!(world.server.plugins(), first, "mounts of one name share a process");

    let sum = e2e::server::sha256(&programs::plugin());
    let entry = json!({ "sha256": sum, "command": "vault-plugin-mcp-proxy", "version": VERSION });
    api.write("sys/plugins/catalog/secret/mcp-proxy-b", entry).await.ok();
    api.write("sys/mounts/apart", json!({ "type": "mcp-proxy-b" })).await.ok();
    let both = world.server.plugins();
    println!("processes: {first:?} for mcp-proxy/ and same/, and with apart/ {both:?}");
    let second: Vec<_> = both.into_iter().filter(|pid| !first.contains(pid)).collect();
    assert_eq!(second.len(), 1);

    // What ends the one doesn't touch the other.
    let (_upstream, _) = service(&world, "apart").await;
    works(api, "apart").await;
    signal(first[0], Signal::KILL);
    works(api, "apart").await;
    assert!(world.server.plugins().contains(&second[0]));
    wait::until("the killed plugin's mounts to answer", async || {
        (api.read("same/info").await.status == 200).then_some(())
    })
    .await;
    api.write("sys/plugins/reload/backend", json!({ "plugin": "mcp-proxy" })).await.ok();
    assert!(world.server.plugins().contains(&second[0]), "a reload of the one isn't the other's");
}

#[tokio::test]
async fn seal_wrapped_and_local_mounts_work_and_secrets_lie_under_the_wrapped_prefix_alone() {
    let world = World::start_on(Storage::Raft).await;
    let api = &world.root;
    let wrapped = ["secrets", "enable", "-path=wrapped", "-seal-wrap", "mcp-proxy"];
    let local = ["secrets", "enable", "-path=local", "-local", "mcp-proxy"];
    for arguments in [wrapped, local] {
        let output = cli::run(api, &arguments).await;
        assert!(output.status.success(), "{output:?}");
    }
    let mounts = api.read("sys/mounts").await.ok();
    assert_eq!(mounts.data()["wrapped/"]["seal_wrap"], true);
    assert_eq!(mounts.data()["local/"]["local"], true);
    for mount in ["wrapped", "local"] {
        let (_upstream, token) = service(&world, mount).await;
        works(api, mount).await;
        let uuid = mounts.data()[format!("{mount}/")]["uuid"].as_str().unwrap();
        let root = format!("sys/raw/logical/{uuid}/");
        let (mut entries, mut holding) = (0, Vec::new());
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            for key in api.list(&format!("{root}{folder}")).await.ok().keys() {
                let key = format!("{folder}{key}");
                if key.ends_with('/') {
                    folders.push(key);
                    continue;
                }
                entries += 1;
                let value = api.read(&format!("{root}{key}")).await.ok().text;
                if !forms::found(value.as_bytes(), &token).is_empty() {
                    holding.push(key);
                }
            }
        }
        assert!(entries > 3, "{entries} entries");
        assert_eq!(holding.len(), 1, "{holding:?}");
        assert!(holding[0].starts_with("material/"), "{holding:?}");
    }
}

#[tokio::test]
async fn what_the_server_says_of_a_wrong_plugin_directory_stands_in_the_readme() {
    let server = Server::start(Storage::Memory).await;
    let api = server.api();
    let file = "vault-plugin-mcp-proxy-0.1.0";
    let catalog = "sys/plugins/catalog/secret/mcp-proxy";
    let entry = |sum: &str, version| json!({ "sha256": sum, "command": file, "version": version });
    let enable = async || api.write("sys/mounts/mcp-proxy", json!({ "type": "mcp-proxy" })).await;
    let sum = e2e::server::sha256(&programs::plugin());

    says(&enable().await, "plugin not found in the catalog");
    let absent = api.write(catalog, entry(&sum, VERSION)).await;
    says(&absent, "no such file or directory");

    server.install(&programs::plugin(), file);
    let path = server.plugin_directory().join(file);
    says(&api.write(catalog, entry(&sum, "v7.7.7")).await, "plugin version mismatch");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    api.write(catalog, entry(&sum, VERSION)).await.ok();
    says(&enable().await, "permission denied");
    let readable = shell(&server, &api, &[&readme("sudo chmod 755 ")]).await;
    assert!(readable.status.success(), "{readable:?}");

    // Registered with the sum of another file.
    let other = e2e::server::sha256(&programs::bridge());
    api.write(catalog, entry(&other, VERSION)).await.ok();
    says(&enable().await, "checksums did not match");
    let lines = ["PLUGIN=", "SHA256=", "vault plugin register "].map(readme);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let registered = shell(&server, &api, &lines).await;
    assert!(registered.status.success(), "{registered:?}");
    enable().await.ok();
    assert_eq!(api.read("mcp-proxy/info").await.status, 200);

    // A file that is replaced under its name while the engine is mounted: found at the next start.
    let mut bytes = fs::read(programs::plugin()).unwrap();
    bytes.push(0);
    fs::remove_file(&path).unwrap();
    fs::write(&path, bytes).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let reload = json!({ "plugin": "mcp-proxy" });
    says(&api.write("sys/plugins/reload/backend", reload).await, "checksums did not match");
    let mend = [&lines[..], &["vault plugin reload -plugin=mcp-proxy"]].concat();
    assert!(README.contains(mend[3]));
    let mended = shell(&server, &api, &mend).await;
    assert!(mended.status.success(), "{mended:?}");
    assert_eq!(api.read("mcp-proxy/info").await.status, 200);
}

#[tokio::test]
async fn the_readmes_lines_upgrade_and_make_a_second_name() {
    let world = World::start().await;
    let (_upstream, _) = world.service("demo").await;
    let later = programs::plugin().with_file_name("examples").join("later");
    let sum = world.server.install(&later, "vault-plugin-mcp-proxy-0.99.0");
    let starts = [
        "vault plugin register -sha256=SUM -command=vault-plugin-mcp-proxy-0.1.1",
        "vault secrets tune -plugin-version=v0.1.1",
        "vault plugin reload -scope=global",
    ];
    let here = |line: String| line.replace("0.1.1", "0.99.0").replace("=SUM", &format!("={sum}"));
    let lines = starts.map(readme).map(here);
    let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
    let output = shell(&world.server, &world.root, &lines).await;
    assert!(output.status.success(), "{output:?}");
    let mounts = world.root.read("sys/mounts").await.ok();
    assert_eq!(mounts.data()["mcp-proxy/"]["running_plugin_version"], "v0.99.0");
    works(&world.root, "mcp-proxy").await;

    let second = README.lines().filter(|line| line.contains("mcp-proxy-team-b"));
    let second: Vec<_> =
        second.map(|line| here(line.to_owned().replace("0.1.0", "0.99.0"))).collect();
    let second: Vec<&str> = second.iter().map(String::as_str).collect();
    assert_eq!(second.len(), 2);
    let output = shell(&world.server, &world.root, &second).await;
    assert!(output.status.success(), "{output:?}");
    assert_eq!(world.root.read("team-b/info").await.status, 200);
    assert_eq!(world.server.plugins().len(), 2);
}

#[tokio::test]
async fn the_plugin_reads_the_variables_that_it_is_registered_with_and_the_servers() {
    let upstream = Upstream::start().await;
    // A proxy from the environment would get the calls; nobody listens there.
    let proxy = ("HTTPS_PROXY", "http://127.0.0.1:9");
    let server = Server::start_with(Storage::Memory, "info", &[proxy]).await;
    let ca = tempfile::NamedTempFile::new().unwrap();
    fs::write(&ca, upstream.ca()).unwrap();
    let trusting = format!("SSL_CERT_FILE={}", ca.path().display());
    let api = enabled(&server, &[]).await;
    let mut fields = definition(&upstream);
    fields.as_object_mut().unwrap().remove("ca_cert");
    api.write("mcp-proxy/services/demo", fields.clone()).await.ok();
    call(&api, "mcp-proxy").await.refused(424, "tls_failed");

    register(&server, &[&trusting, "MCP_PROXY_LOG=error"]).await;
    reload(&api).await;
    let quiet = works(&api, "mcp-proxy").await;
    register(&server, &[&trusting]).await;
    reload(&api).await;
    let loud = works(&api, "mcp-proxy").await;
    wait::until("the second call's line", async || server.log().contains(&loud).then_some(()))
        .await;
    assert!(!server.log().contains(&quiet), "MCP_PROXY_LOG=error leaves its line out");
    drop(server);

    // Where both set one: OpenBao takes the server's, Vault what was registered.
    let own = ("SSL_CERT_FILE", "/nonexistent/ca.pem");
    let server = Server::start_with(Storage::Memory, "info", &[own]).await;
    let api = enabled(&server, &[&trusting]).await;
    api.write("mcp-proxy/services/demo", fields).await.ok();
    if programs::server().file_name().is_some_and(|name| name == "vault") {
        works(&api, "mcp-proxy").await;
    } else {
        call(&api, "mcp-proxy").await.refused(424, "tls_failed");
    }
}

const README: &str = include_str!("../../../README.md");

/// The first line of the README that begins so.
fn readme(start: &str) -> String {
    let line = README.lines().find(|line| line.starts_with(start));
    line.unwrap_or_else(|| panic!("the README has no line {start}")).to_owned()
}

/// A refusal by the server itself, which the README explains.
#[track_caller]
fn says(answer: &Answer, text: &str) {
    assert!(answer.status >= 400, "{text}: {}", answer.text);
    assert!(answer.errors().contains(text), "{text}: {}", answer.text);
    assert!(README.contains(text), "the README doesn't explain: {text}");
}

/// Runs lines of the README as they stand, but for where the plugin directory is.
async fn shell(server: &Server, api: &Api, lines: &[&str]) -> Output {
    let commands = server.directory().join("commands");
    fs::create_dir_all(&commands).unwrap();
    let program = fs::canonicalize(programs::server()).unwrap();
    for (name, target) in [("vault", program.as_path()), ("sudo", Path::new("/usr/bin/env"))] {
        let _ = symlink(target, commands.join(name));
    }
    let directory = server.plugin_directory();
    let script = lines.join("\n").replace("/etc/vault.d/plugins", &directory.to_string_lossy());
    let path = format!("{}:{}", commands.display(), std::env::var("PATH").unwrap());
    let mut command = tokio::process::Command::new("sh");
    command.args(["-eu", "-c", &script]).env("PATH", path).env("HOME", "/nonexistent");
    command.env("PLUGIN", "vault-plugin-mcp-proxy-0.1.0");
    for prefix in ["BAO", "VAULT"] {
        command.env(format!("{prefix}_ADDR"), api.address());
        command.env(format!("{prefix}_TOKEN"), api.token());
    }
    command.output().await.unwrap()
}

/// Enables the plugin with variables of its own.
async fn enabled(server: &Server, environment: &[&str]) -> Api {
    let api = server.api();
    server.install_plugin();
    register(server, environment).await;
    api.write("sys/mounts/mcp-proxy", json!({ "type": "mcp-proxy" })).await.ok();
    api.write("mcp-proxy/config", json!({ "upstream_cidrs": "127.0.0.0/8" })).await.ok();
    api
}

/// Registers as the README says, where the command has no flag for variables.
async fn register(server: &Server, environment: &[&str]) {
    let sum = e2e::server::sha256(&programs::plugin());
    let sum = format!("sha256={sum}");
    let version = format!("version={VERSION}");
    let environment: Vec<_> = environment.iter().map(|pair| format!("env={pair}")).collect();
    let catalog = "sys/plugins/catalog/secret/mcp-proxy";
    let mut arguments = vec!["write", catalog, &sum, "command=vault-plugin-mcp-proxy", &version];
    arguments.extend(environment.iter().map(String::as_str));
    let output = cli::run(&server.api(), &arguments).await;
    assert!(output.status.success(), "{output:?}");
}

async fn reload(api: &Api) {
    api.write("sys/plugins/reload/backend", json!({ "plugin": "mcp-proxy" })).await.ok();
}

/// The service `demo` on a mount, and its token.
async fn service(world: &World, mount: &str) -> (Upstream, String) {
    let token = world.secret();
    let upstream = Upstream::start().await;
    let config = json!({ "upstream_cidrs": "127.0.0.0/8" });
    world.root.write(&format!("{mount}/config"), config).await.ok();
    let mut fields = definition(&upstream);
    fields["auth"] = json!("bearer");
    fields["token"] = json!(token);
    world.root.write(&format!("{mount}/services/demo"), fields).await.ok();
    (upstream, token)
}

async fn call(api: &Api, mount: &str) -> Answer {
    api.write(&format!("{mount}/proxy/demo/GET"), json!({ "path": "/a" })).await
}

/// Makes a call; its id.
async fn works(api: &Api, mount: &str) -> String {
    let answer = call(api, mount).await.ok();
    assert_eq!(answer.data()["status"], 200, "{}", answer.text);
    answer.data()["request_id"].as_str().unwrap().to_owned()
}

/// A call that the upstream doesn't answer.
fn held(api: &Api) -> tokio::task::JoinHandle<Answer> {
    let api = api.clone();
    tokio::spawn(async move {
        let call = json!({ "path": "/hold", "body": "once" });
        api.write("mcp-proxy/proxy/demo/POST", call).await
    })
}

fn holds(upstream: &Upstream) -> usize {
    upstream.seen().iter().filter(|seen| seen.target == "/hold").count()
}
