//! `client-config` in a home of the test's own: every client's real file.

use std::path::PathBuf;

use tokio::process::Command;

use crate::bridge::Machine;
use crate::commands::run;

const CLIENTS: [(&str, &str); 7] = [
    ("claude-code", ".claude.json"),
    ("claude-desktop", ".config/Claude/claude_desktop_config.json"),
    ("codex", ".codex/config.toml"),
    ("cursor", ".cursor/mcp.json"),
    ("vscode", ".config/Code/User/mcp.json"),
    ("gemini", ".gemini/settings.json"),
    ("opencode", ".config/opencode/opencode.json"),
];

fn command(machine: &Machine, arguments: &[&str]) -> Command {
    let mut command = machine.command("https://vault.example:8200");
    command.env("VAULT_TOKEN", "hvs.canary-operator").arg("client-config").args(arguments);
    command
}

async fn install(machine: &Machine, client: &str, more: &[&str]) -> (i32, String, String) {
    run(&mut command(machine, &[&[client, "--install"], more].concat())).await
}

#[tokio::test]
async fn every_client_is_written_to_its_own_file_once_and_taken_out_again() {
    let machine = Machine::new();
    for (client, file) in CLIENTS {
        let path = machine.path(file);
        let (status, said, stderr) = install(&machine, client, &[]).await;
        assert_eq!(status, 0, "{client}: {stderr}");
        assert!(said.contains(file), "{said}");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(env!("CARGO_BIN_EXE_mcp-bridge")), "{text}");
        assert!(
            text.contains("--address") && text.contains("https://vault.example:8200"),
            "{text}"
        );
        assert!(text.contains(&machine.path("secret_id").display().to_string()), "{text}");
        assert!(!text.contains("canary"), "a secret: {text}");
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

        let (status, said, _) = install(&machine, client, &[]).await;
        assert_eq!(status, 0);
        assert!(said.contains("already"), "{said}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), text);

        let (status, _, _) = run(&mut command(&machine, &[client, "--uninstall"])).await;
        assert_eq!(status, 0);
        assert!(!std::fs::read_to_string(&path).unwrap().contains("apis"));
        let (_, said, _) = run(&mut command(&machine, &[client, "--uninstall"])).await;
        assert!(said.contains("nothing named"), "{said}");
    }
}

#[tokio::test]
async fn what_others_wrote_stays_byte_for_byte_and_links_stay_links() {
    let machine = Machine::new();
    let real = machine.path("dotfiles.json");
    let before = "// mine\n{\n  \"numbers\": [1.50, 1e3],\n  \"mcpServers\": {\n    \
                  \"other\": { \"command\": \"x\" }, // keep\n  }\n}\n";
    std::fs::write(&real, before).unwrap();
    std::fs::create_dir(machine.path(".gemini")).unwrap();
    let link = machine.path(".gemini/settings.json");
    std::os::unix::fs::symlink(&real, &link).unwrap();
    assert_eq!(install(&machine, "gemini", &["--name", "work"]).await.0, 0);
    let with = std::fs::read_to_string(&real).unwrap();
    assert!(with.contains("// keep") && with.contains("1.50, 1e3") && with.contains("\"work\""));
    let out = ["gemini", "--uninstall", "--name", "work"];
    assert_eq!(run(&mut command(&machine, &out)).await.0, 0);
    assert_eq!(std::fs::read_to_string(&real).unwrap(), before);
    assert!(std::fs::symlink_metadata(&link).unwrap().is_symlink());
}

#[tokio::test]
async fn a_file_that_cannot_be_read_or_belongs_to_others_is_left_as_it_is() {
    let machine = Machine::new();
    let file = machine.path("mcp.json");
    let check = async |content: &str, expected: &str| {
        std::fs::write(&file, content).unwrap();
        let more = ["--file", file.to_str().unwrap()];
        let (status, _, stderr) = install(&machine, "cursor", &more).await;
        assert_eq!(status, 2, "{stderr}");
        assert!(stderr.contains(expected) && !stderr.contains("hunter2"), "{stderr}");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), content);
    };
    check("{\n  \"a\": hunter2", "isn't valid: line 2").await;
    check("{\"mcpServers\":{\"apis\":{\"command\":\"npx\"}}}", "has another server").await;
    for name in ["", "a b", "a.b", "a-name-that-is-far-too-long"] {
        assert_eq!(install(&machine, "cursor", &["--name", name]).await.0, 2, "{name:?}");
    }
    let mut secret = command(&machine, &["cursor", "--install"]);
    let (status, _, stderr) = run(secret.env("VAULT_ADDR", "https://u:hunter2@vault")).await;
    assert_eq!(status, 2);
    assert!(!stderr.contains("hunter2"), "{stderr}");
    assert!(!machine.path(".cursor/mcp.json").exists());
}

#[tokio::test]
async fn doctor_knows_the_clients_that_start_the_bridge() {
    let machine = Machine::new();
    let doctor = async || {
        let mut command = machine.bare();
        run(command.args(["doctor"])).await.1
    };
    assert!(doctor().await.contains("no MCP client's own file names the bridge"));
    install(&machine, "codex", &[]).await;
    let text = doctor().await;
    assert!(text.contains("ok    client         Codex: \"apis\" in "), "{text}");
    let path: PathBuf = machine.path(".cursor/mcp.json");
    std::fs::create_dir(path.parent().unwrap()).unwrap();
    let entry = |command: &str, env: &str| {
        let text =
            format!("{{\"mcpServers\":{{\"x\":{{\"command\":\"{command}\",\"env\":{{{env}}}}}}}}}");
        std::fs::write(&path, text).unwrap();
    };
    entry("/no/such/mcp-bridge", "");
    assert!(doctor().await.contains("starts /no/such/mcp-bridge, which isn't there"));
    entry(env!("CARGO_BIN_EXE_mcp-bridge"), "\"VAULT_TOKEN\":\"hvs.canary\"");
    let text = doctor().await;
    assert!(text.contains("a Vault token stands in") && !text.contains("canary"), "{text}");
}

#[tokio::test]
async fn without_install_the_entry_is_printed_and_nothing_written() {
    let machine = Machine::new();
    let (status, text, stderr) = run(&mut command(&machine, &["claude-code"])).await;
    assert_eq!(status, 0);
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["mcpServers"]["apis"]["type"], "stdio");
    assert!(stderr.contains("--install"), "{stderr}");
    assert!(!machine.path(".claude.json").exists());
    // The file's own settings are found in the file again.
    let config = machine.path("config.toml");
    std::fs::write(&config, "address = \"https://home\"\ntoken_file = \"t\"\n").unwrap();
    let mut bare = machine.bare();
    bare.env("MCP_BRIDGE_CONFIG", &config).env("VAULT_ADDR", "https://foreign");
    let (_, text, _) = run(bare.args(["client-config", "codex"])).await;
    assert!(text.contains("--config") && !text.contains("foreign"), "{text}");
}
