//! Gives agents what they need in Vault, and prints the command for each one's machine.

mod agents;

pub(super) use self::agents::name;

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cli;
use crate::config::{Mount, Operator};
use crate::error::{CommandError, Exit};
use crate::operator::{self, Agent, Desk, Provisioned, Step};
use crate::process;
use crate::vault::{Client, WRAPPED_FOR};

/// Provisions one agent, or each of a file.
///
/// # Errors
///
/// [`CommandError`] at the first agent that can't be provisioned; what was done is printed first.
pub(crate) fn run(
    settings: &cli::Settings,
    arguments: &cli::Provision,
) -> Result<Exit, CommandError> {
    let agents = agents::of(arguments)?;
    let operator = super::prepare_operator(settings)?;
    super::block_on(async move {
        let client = Client::new(operator.vault.clone());
        let desk =
            Desk { client: &client, token: &operator.token, auth_mount: &operator.auth_mount };
        let mut done = Vec::new();
        for agent in &agents {
            let issue = !arguments.no_secret_id;
            match operator::provision(&desk, &operator.mount, agent, issue).await {
                Ok(provisioned) => {
                    let command = command(&operator, agent, &provisioned);
                    if arguments.json {
                        done.push(object(agent, &provisioned, &command));
                    } else {
                        process::output(text(agent, &provisioned, &command).as_bytes())?;
                    }
                }
                Err(error) => {
                    // Tokens that were issued must not be lost with the one that failed.
                    print(&mut done, arguments)?;
                    let error = CommandError::from(error);
                    process::note(&format!("mcp-bridge: {}: stopped here", agent.name));
                    return Err(error);
                }
            }
        }
        print(&mut done, arguments)?;
        Ok(Exit::Success)
    })
}

/// Prints the JSON: one object for one agent, a list for a file's.
fn print(done: &mut Vec<Value>, arguments: &cli::Provision) -> Result<(), CommandError> {
    if !arguments.json {
        return Ok(());
    }
    let json = match (&arguments.from, done.len()) {
        (None, 0) => return Ok(()),
        (None, _) => done.remove(0),
        (Some(_), _) => Value::Array(std::mem::take(done)),
    };
    process::output(format!("{json}\n").as_bytes())
}

/// The steps as lines: what was done, with what.
pub(super) fn lines(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |mut text, step| {
        let _ = writeln!(text, "  {:<10} {}", step.change.word(), step.object);
        text
    })
}

fn text(agent: &Agent, provisioned: &Provisioned, command: &str) -> String {
    let mut text = format!("{}\n{}", agent.name, lines(&provisioned.steps));
    if let Some(issued) = &provisioned.issued {
        let _ = write!(
            text,
            "\nOn {}'s machine, within {} minutes, run this and give it the wrapping token on \
             stdin:\n\n  {command}\n\nwrapping token: {}\n\n",
            agent.name,
            WRAPPED_FOR.as_secs() / 60,
            issued.token.shown()
        );
    }
    text
}

fn object(agent: &Agent, provisioned: &Provisioned, command: &str) -> Value {
    let mut object = json!({
        "agent": agent.name.to_string(),
        "role": agent.name.role(),
        "role_id": provisioned.role_id,
        "steps": provisioned.steps,
    });
    if let Some(issued) = &provisioned.issued {
        object["command"] = json!(command);
        object["secret_id_accessor"] = json!(issued.accessor);
        object["wrapping_token"] = json!(issued.token.shown());
        object["wrapping_token_ttl"] = json!(WRAPPED_FOR.as_secs());
    }
    object
}

/// The command for the agent's machine: everything but the token.
fn command(operator: &Operator, agent: &Agent, provisioned: &Provisioned) -> String {
    let vault = &operator.vault;
    let addresses = vault.addresses.iter().map(|url| url.as_str().trim_end_matches('/'));
    let mut words = vec!["mcp-bridge".to_owned(), "enroll".to_owned()];
    let mut option = |flag: &str, value: &str| words.extend([flag.to_owned(), quoted(value)]);
    option("--address", &addresses.collect::<Vec<_>>().join(","));
    if let Some(namespace) = &vault.namespace {
        option("--namespace", namespace);
    }
    if let Some(ca) = &vault.ca_cert {
        option("--ca-cert", &ca.display().to_string());
    }
    if let Some(name) = &vault.server_name {
        option("--tls-server-name", name);
    }
    if operator.auth_mount.as_str() != Mount::APPROLE {
        option("--auth-mount", operator.auth_mount.as_str());
    }
    option("--role", &agent.name.role());
    option("--role-id", &provisioned.role_id);
    if let Some(accessor) = provisioned.issued.as_ref().and_then(|i| i.accessor.as_ref()) {
        option("--accessor", accessor);
    }
    if provisioned.self_rotating {
        words.push("--self-rotate".to_owned());
    }
    words.join(" ")
}

/// A word of a POSIX shell's command line.
pub(super) fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:,@%+=".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted("https://v:8200,https://w"), "https://v:8200,https://w");
        assert_eq!(quoted("/tmp/a b's"), "'/tmp/a b'\\''s'");
        assert_eq!(quoted(""), "''");
    }
}
