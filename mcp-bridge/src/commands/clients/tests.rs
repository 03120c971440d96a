//! Tests that a client's file stays what its user made of it.

use super::*;

fn entry() -> Entry {
    Entry {
        command: "/usr/local/bin/mcp-bridge".to_owned(),
        args: vec!["--profile".into(), "w".into()],
    }
}

#[test]
fn an_entry_goes_in_once_and_comes_out_without_a_trace() {
    for client in Client::ALL {
        let files = match client {
            Client::Codex => vec![
                "",
                "# mine\nmodel = \"o5\" # best\n\n[mcp_servers.other]\ncommand = \"x\"\n",
                "[mcp_servers]\nother = { command = \"x\" }\n",
            ],
            Client::Vscode => vec!["", "{\n\t// mine\n\t\"servers\": {\n\t\t\"b\": {},\n\t},\n}\n"],
            Client::Opencode => {
                vec!["{}\n", "{\n  \"mcp\": {\n    \"b\": {}\n  }, // c\n  \"z\": 1.50\n}\n"]
            }
            Client::ClaudeCode | Client::ClaudeDesktop | Client::Cursor | Client::Gemini => vec![
                "",
                "{\"mcpServers\":{\"b\":{\"command\":\"x\"}},\"a\":1e3}\n",
                "{\r\n  \"z\": [1, 2],\r\n  \"mcpServers\": {\r\n    \"b\": {}\r\n  }\r\n}\r\n",
            ],
        };
        for before in files {
            let with = client.put(before, "apis", &entry()).unwrap();
            let found = client.list(&with).unwrap();
            let ours = found.iter().find(|found| found.name == "apis").unwrap();
            assert_eq!(ours.command, ["/usr/local/bin/mcp-bridge", "--profile", "w"], "{with}");
            assert_eq!(client.put(&with, "apis", &entry()).unwrap(), with, "twice is once");
            let after = client.take_out(&with, "apis").unwrap();
            assert!(!after.contains("apis"), "{client:?}: {after}");
            if before.lines().count() > 1 {
                assert_eq!(after, before, "{client:?}");
            } else if before.len() > 3 {
                // What stood on one line is spread over several; nothing else changes.
                let bare = |text: &str| text.split_whitespace().collect::<String>();
                assert_eq!(bare(&after), bare(before), "{client:?}");
            }
            let other = Entry { command: "/opt/mcp-bridge".to_owned(), args: Vec::new() };
            let moved = client.put(&with, "apis", &other).unwrap();
            assert!(moved.contains("/opt/mcp-bridge") && !moved.contains("--profile"), "{moved}");
        }
    }
}

#[test]
fn each_client_gets_the_shape_that_it_documents() {
    let plain = |client: Client| -> serde_json::Value {
        serde_json::from_str(&client.put("", "apis", &entry()).unwrap()).unwrap()
    };
    let (command, args) = ("/usr/local/bin/mcp-bridge", ["--profile", "w"]);
    let stdio = serde_json::json!({ "type": "stdio", "command": command, "args": args });
    let bare = serde_json::json!({ "command": command, "args": args });
    assert_eq!(plain(Client::ClaudeCode)["mcpServers"]["apis"], stdio);
    assert_eq!(plain(Client::Vscode)["servers"]["apis"], stdio);
    for client in [Client::ClaudeDesktop, Client::Cursor, Client::Gemini] {
        assert_eq!(plain(client)["mcpServers"]["apis"], bare);
    }
    assert_eq!(
        plain(Client::Opencode)["mcp"]["apis"],
        serde_json::json!({ "type": "local", "command": [command, args[0], args[1]], "enabled": true })
    );
    assert_eq!(
        Client::Codex.put("", "apis", &entry()).unwrap(),
        "[mcp_servers.apis]\ncommand = \"/usr/local/bin/mcp-bridge\"\nargs = [\"--profile\", \"w\"]\n"
    );
}

#[test]
fn what_is_not_ours_or_not_valid_is_left_alone() {
    let check = |client: Client, text: &str, expected: &str| {
        let error = client.put(text, "apis", &entry()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(client.take_out(text, "apis").is_err() || expected.contains("table"), "{text}");
    };
    check(Client::Cursor, "{\"mcpServers\":{\"apis\":{\"command\":\"npx\"}}}", "another server");
    check(Client::Codex, "[mcp_servers.apis]\ncommand = \"npx\"\n", "another server");
    check(Client::Cursor, "{\n\"a\": hunter2 \n", "isn't valid: line 2");
    check(Client::Codex, "a = hunter2\n", "isn't valid: line 1");
    check(Client::Cursor, "[]", "something else than a table");
    check(Client::Vscode, "{\"servers\":[]}", "something else than a table");
    check(Client::Codex, "mcp_servers = 1\n", "something else than a table");
}

#[test]
fn what_a_user_added_to_the_entry_stays() {
    let text =
        "[mcp_servers.apis]\ncommand = \"/old/mcp-bridge\"\nstartup_timeout_sec = 20 # slow\n";
    let text = Client::Codex.put(text, "apis", &entry()).unwrap();
    assert!(text.contains("startup_timeout_sec = 20 # slow"), "{text}");
    let text = "{\"mcpServers\":{\"apis\":{\"command\":\"/usr/local/bin/mcp-bridge\",\
                \"args\":[\"--profile\",\"w\"],\"env\":{\"A\":\"b\"}}}}";
    assert_eq!(Client::Gemini.put(text, "apis", &entry()).unwrap(), text);
    assert_eq!(Client::Gemini.list(text).unwrap()[0].variables, ["A"]);
}
