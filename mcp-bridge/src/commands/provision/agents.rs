//! Reads which agents to provision: one from the arguments, or all of a file.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::cli;
use crate::commands::policy::{self, Grant, ToolNames};
use crate::error::CommandError;
use crate::operator::{Agent, AgentName, Lifetime};

/// What a file says.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    agents: BTreeMap<String, Entry>,
}

/// What it says of one agent.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    #[serde(default)]
    services: Vec<String>,
    methods: Option<Vec<String>>,
    #[serde(default)]
    mcp_services: Vec<String>,
    cidr: Option<Vec<String>>,
    ttl: Option<String>,
    #[serde(default)]
    self_rotate: bool,
}

/// Reads the agents; every one is checked before Vault is asked for any.
///
/// # Errors
///
/// [`CommandError::Argument`] for what can't be used.
pub(super) fn of(arguments: &cli::Provision) -> Result<Vec<Agent>, CommandError> {
    if let Some(path) = &arguments.from {
        return read(path, &arguments.methods, arguments.self_rotate);
    }
    let name = arguments.agent.as_deref().unwrap_or_default();
    let entry = Entry {
        services: arguments.services.clone(),
        methods: Some(arguments.methods.clone()),
        mcp_services: arguments.mcp_services.clone(),
        cidr: arguments.cidr.clone(),
        ttl: arguments.ttl.clone(),
        self_rotate: arguments.self_rotate,
    };
    agent(name, &entry, &arguments.methods).map(|agent| vec![agent])
}

fn read(path: &Path, methods: &[String], self_rotate: bool) -> Result<Vec<Agent>, CommandError> {
    let fault = |problem: &str| CommandError::Argument(format!("{}: {problem}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| fault(&error.kind().to_string()))?;
    let file: File = toml::from_str(&text).map_err(|error| fault(error.message()))?;
    let agents = file.agents.iter().map(|(name, entry)| {
        let agent = agent(name, entry, methods).map_err(|error| fault(&error.to_string()))?;
        Ok(Agent { self_rotate: agent.self_rotate || self_rotate, ..agent })
    });
    agents.collect()
}

fn agent(name: &str, entry: &Entry, methods: &[String]) -> Result<Agent, CommandError> {
    let services =
        |names: &[String]| names.iter().map(|name| policy::service(name)).collect::<Result<_, _>>();
    Ok(Agent {
        name: self::name(name)?,
        grant: Grant {
            services: services(&entry.services)?,
            methods: policy::methods(entry.methods.as_deref().unwrap_or(methods))?,
            mcp_services: services(&entry.mcp_services)?,
            tools: ToolNames::Any,
        },
        cidrs: entry.cidr.clone(),
        lifetime: match &entry.ttl {
            None => None,
            Some(text) => Some(Lifetime::parse(text).ok_or_else(|| {
                CommandError::Argument(format!("{text:?} isn't a time, like 720h or 30d"))
            })?),
        },
        self_rotate: entry.self_rotate,
    })
}

/// Reads the name of an agent.
///
/// # Errors
///
/// [`CommandError::Argument`] if it can't be one.
pub(in crate::commands) fn name(text: &str) -> Result<AgentName, CommandError> {
    AgentName::parse(text).ok_or_else(|| {
        CommandError::Argument(format!(
            "{text:?} isn't an agent's name: up to 48 lower-case letters, digits, -, _ and ., a \
             letter or digit at both ends"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Vec<Agent>, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("agents.toml");
        std::fs::write(&path, text).unwrap();
        read(&path, &["GET".to_owned()], false).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_names_agents_and_the_flags_fill_what_it_leaves_out() {
        let agents = parse(
            "[agents.b]\nservices = [\"github\"]\nmethods = [\"any\"]\nttl = \"30d\"\n\
             [agents.a]\nservices = [\"sonarr\"]\nmcp_services = [\"linear\"]\ncidr = [\"10.0.0.7/32\"]\n",
        )
        .unwrap();
        let names = agents.iter().map(|agent| agent.name.to_string()).collect::<Vec<_>>();
        assert_eq!(names, ["a", "b"]);
        let grants = agents.iter().map(|agent| agent.grant.to_string()).collect::<Vec<_>>();
        assert_eq!(grants, ["GET on sonarr; any approved tool of linear", "any method on github"]);
        assert_eq!(agents[0].cidrs.as_deref().unwrap(), ["10.0.0.7/32"]);
        assert!(agents[1].lifetime.is_some() && agents[1].cidrs.is_none());
    }

    #[test]
    fn a_fault_names_the_file_and_what_is_wrong() {
        for (text, expected) in [
            ("[agents.A]\nservices = []", "isn't an agent's name"),
            ("[agents.a]\nservices = [\"No\"]", "isn't a service's name"),
            ("[agents.a]\nservices = []\nttl = \"1w\"", "isn't a time"),
            ("[agents.a]\nservices = []\ntoken = \"x\"", "unknown field"),
            ("[agents.a", "agents.toml"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected) && error.contains("agents.toml"), "{error}");
        }
    }
}
