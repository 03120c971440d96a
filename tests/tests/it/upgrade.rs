//! Upgrade and downgrade with data: between this build and the example that stands for a later
//! version, and from the binary of an earlier commit.
#![expect(
    clippy::print_stdout,
    clippy::panic,
    reason = "findings are for people; a helper that fails, fails its test"
)]

use std::env;
use std::path::{Path, PathBuf};

use e2e::api::{Answer, Api};
use e2e::cli;
use e2e::server::{Server, Storage};
use e2e::upstream::Upstream;
use e2e::world::{binding, definition};
use e2e::{forms, programs, wait};
use serde_json::{Value, json};

const THIS: &str = concat!("v", env!("CARGO_PKG_VERSION"));
const LATER: &str = "v0.99.0";

/// What an operator can read of the data.
const READS: [&str; 7] = [
    "config",
    "services/own",
    "services/sharing",
    "credentials/own",
    "credentials/shared",
    "credentials/own/versions",
    "credentials/shared/versions",
];

#[tokio::test]
async fn a_later_version_takes_over_and_this_one_refuses_what_it_wrote() {
    let stage = Stage::start(&programs::plugin(), THIS).await;
    let before = stage.data().await;
    stage.works(["own", "sharing"]).await;

    stage.install(&later(), LATER).await;
    stage.run(LATER).await;
    assert_eq!(stage.data().await, before);
    stage.works(["own", "sharing"]).await;

    // Back and forth, while the later version has written nothing but usage: nothing is lost.
    stage.run(THIS).await;
    assert_eq!(stage.data().await, before);
    stage.works(["own", "sharing"]).await;

    stage.run(LATER).await;
    let rotated = stage.rotate("credentials/shared").await;
    stage.works(["own", "sharing"]).await;
    let after = stage.data().await;

    stage.run(THIS).await;
    stage.works(["own"]).await;
    let seen = stage.upstream.seen().len();
    let call = json!({ "path": "/a" });
    let refusals = [
        stage.api.write("mcp-proxy/proxy/sharing/GET", call).await,
        stage.api.read("mcp-proxy/credentials/shared").await,
        stage.api.write("mcp-proxy/credentials/shared", json!({ "token": "t" })).await,
        stage.api.delete("mcp-proxy/credentials/shared").await,
    ];
    for refusal in refusals {
        let refusal = refusal.refused(400, "service_disabled");
        let text = refusal.errors();
        assert!(text.contains("0.99.0") && text.contains(&THIS[1..]), "{text}");
        assert!(text.contains("credential/shared"), "names the entry: {text}");
        assert!(forms::found(text.as_bytes(), &rotated).is_empty(), "{text}");
        mend(&stage.api, &text, None).await;
    }
    assert_eq!(stage.upstream.seen().len(), seen, "nothing was sent");

    // The command that the refusal holds.
    let refusal = stage.api.read("mcp-proxy/credentials/shared").await.errors();
    mend(&stage.api, &refusal, Some(LATER)).await;
    assert_eq!(stage.running().await, LATER);
    assert_eq!(stage.data().await, after, "the older version changed nothing");
    stage.works(["own", "sharing"]).await;
}

/// Run by `make upgrade-test`, which builds that binary.
#[tokio::test]
#[ignore = "needs the binary of an earlier commit in UPGRADE_FROM; run: make upgrade-test"]
async fn from_the_binary_of_an_earlier_commit_and_back() {
    let earlier = env::var_os("UPGRADE_FROM").map(PathBuf::from).unwrap();
    let version = env::var("UPGRADE_FROM_VERSION").unwrap();
    let stage = Stage::start(&earlier, &version).await;
    let before = stage.data().await;
    stage.works(["own", "sharing"]).await;

    stage.install(&programs::plugin(), THIS).await;
    stage.run(THIS).await;
    let fields = |data: &[Value]| data.iter().map(common).collect::<Vec<_>>();
    for (before, after) in before.iter().zip(stage.data().await) {
        // A later version may show more; what was shown, it shows as it was.
        let Value::Object(before) = before else { panic!("{before}") };
        for (name, value) in before {
            assert_eq!(&after[name], value, "{name}");
        }
    }
    stage.works(["own", "sharing"]).await;
    stage.rotate("credentials/shared").await;
    stage.rotate("services/own").await;
    stage.works(["own", "sharing"]).await;
    let after = stage.data().await;

    stage.install(&earlier, &version).await;
    stage.run(&version).await;
    let call = json!({ "path": "/a" });
    let answer = stage.api.write("mcp-proxy/proxy/own/GET", call).await;
    if answer.status == 400 {
        // The form has changed in between.
        println!("the earlier version refuses: {}", answer.errors());
        answer.refused(400, "service_disabled");
    } else {
        stage.works(["own", "sharing"]).await;
        println!("the earlier version ({version}) works with what this one wrote");
    }
    stage.install(&programs::plugin(), THIS).await;
    stage.run(THIS).await;
    assert_eq!(fields(&stage.data().await), fields(&after));
    stage.works(["own", "sharing"]).await;
}

/// A mount with two services, one of which uses a shared credential with two versions.
struct Stage {
    server: Server,
    api: Api,
    upstream: Upstream,
}

impl Stage {
    async fn start(program: &Path, version: &str) -> Self {
        let server = Server::start(Storage::Raft).await;
        let api = server.api();
        let upstream = Upstream::start().await;
        let stage = Self { server, api, upstream };
        stage.install(program, version).await;
        let mount = json!({ "type": "mcp-proxy", "config": { "plugin_version": version } });
        stage.api.write("sys/mounts/mcp-proxy", mount).await.ok();
        assert_eq!(stage.running().await, version);

        let config = json!({ "upstream_cidrs": "127.0.0.0/8", "max_versions": 5 });
        stage.write("config", config).await;
        let mut own = definition(&stage.upstream);
        own["auth"] = json!("bearer");
        own["token"] = json!(forms::canary());
        own["rules"] = json!("allow GET /**");
        stage.write("services/own", own).await;
        stage.rotate("services/own").await;
        let mut shared = binding(&stage.upstream);
        shared["auth"] = json!("header");
        shared["header_name"] = json!("X-Api-Key");
        shared["token"] = json!(forms::canary());
        stage.write("credentials/shared", shared).await;
        stage.rotate("credentials/shared").await;
        let mut sharing = definition(&stage.upstream);
        sharing["auth"] = json!("header");
        sharing["header_name"] = json!("X-Api-Key");
        sharing["credential"] = json!("shared");
        stage.write("services/sharing", sharing).await;
        stage
    }

    async fn write(&self, path: &str, fields: Value) {
        self.api.write(&format!("mcp-proxy/{path}"), fields).await.ok();
    }

    /// Writes a fresh token; gives it.
    async fn rotate(&self, path: &str) -> String {
        let token = forms::canary();
        self.write(path, json!({ "token": token })).await;
        token
    }

    /// Copies and registers, as the README says.
    async fn install(&self, program: &Path, version: &str) {
        let file = format!("vault-plugin-mcp-proxy-{}", &version[1..]);
        let sum = self.server.install(program, &file);
        let entry = json!({ "sha256": sum, "command": file, "version": version });
        self.api.write("sys/plugins/catalog/secret/mcp-proxy", entry).await.ok();
    }

    /// Switches to a version that is registered.
    async fn run(&self, version: &str) {
        let tune = json!({ "plugin_version": version });
        self.api.write("sys/mounts/mcp-proxy/tune", tune).await.ok();
        let before = self.server.plugins();
        let reload = json!({ "plugin": "mcp-proxy" });
        self.api.write("sys/plugins/reload/backend", reload).await.ok();
        assert_eq!(self.running().await, version);
        assert_ne!(self.server.plugins(), before, "another process");
    }

    async fn running(&self) -> String {
        let mounts = self.api.read("sys/mounts").await.ok();
        let version = &mounts.data()["mcp-proxy/"]["running_plugin_version"];
        version.as_str().unwrap().to_owned()
    }

    /// Everything that can be read, less what changes by itself.
    async fn data(&self) -> Vec<Value> {
        let mut data = Vec::new();
        for path in READS {
            let answer: Answer = self.api.read(&format!("mcp-proxy/{path}")).await.ok();
            data.push(common(answer.data()));
        }
        data
    }

    /// Makes a call of each service.
    async fn works(&self, services: impl IntoIterator<Item = &str>) {
        for name in services {
            let call = json!({ "path": "/a" });
            let path = format!("mcp-proxy/proxy/{name}/GET");
            let before = self.upstream.seen().len();
            let answer = self.api.write(&path, call).await.ok();
            assert_eq!(answer.data()["status"], 200, "{name}: {}", answer.text);
            let seen = self.upstream.seen();
            assert_eq!(seen.len(), before + 1);
            let header = if name == "own" { "authorization" } else { "x-api-key" };
            assert!(seen[before].header(header).is_some(), "{name}: {:?}", seen[before]);
        }
    }
}

/// Without the times of use.
fn common(data: &Value) -> Value {
    let mut data = data.clone();
    if let Value::Object(fields) = &mut data {
        fields.retain(|name, _| !name.starts_with("last_"));
    }
    data
}

/// The command at the end of a refusal; it is run when `expected` says what then runs.
async fn mend(api: &Api, refusal: &str, expected: Option<&str>) {
    let start = refusal.find("vault secrets tune").unwrap_or_else(|| panic!("{refusal}"));
    let command = refusal[start..].split(" (request_id").next().unwrap();
    assert!(command.contains(LATER) && command.contains("mcp-proxy/"), "{command}");
    if expected.is_some() {
        for line in command.split(" && ") {
            let output = cli::run_line(api, line.trim(), "").await;
            assert!(output.status.success(), "{line}: {output:?}");
        }
        wait::until("the mount to answer", async || {
            (api.read("mcp-proxy/info").await.status == 200).then_some(())
        })
        .await;
    }
}

/// The example `later` of the plugin.
fn later() -> PathBuf {
    let path = programs::plugin().with_file_name("examples").join("later");
    assert!(path.is_file(), "{} isn't built; run: make test", path.display());
    path
}
