//! Prints the Vault policy that an agent needs.

use std::fmt::{self, Write as _};

use crate::catalog::{Method, ServiceName};
use crate::cli;
use crate::config::{Environment, Mount, names};
use crate::error::{CommandError, Exit};
use crate::process;
use crate::upstream;

/// Prints HCL; asks nothing of Vault and needs no settings but the mount.
///
/// # Errors
///
/// [`CommandError::Argument`] with everything that can't be used.
pub(crate) fn run(settings: &cli::Settings, arguments: &cli::Policy) -> Result<Exit, CommandError> {
    let environment = Environment::of_process();
    let mount = settings
        .mount
        .as_deref()
        .or_else(|| environment.var(names::MOUNT.variable))
        .unwrap_or(Mount::ENGINE);
    let mount = Mount::parse(mount)
        .ok_or_else(|| CommandError::Argument("--mount isn't the path of a mount".to_owned()))?;
    let services =
        arguments.services.iter().map(|name| service(name)).collect::<Result<Vec<_>, _>>()?;
    let grant = if arguments.tools.is_empty() {
        Grant { services, methods: methods(&arguments.methods)?, ..Grant::default() }
    } else {
        Grant { mcp_services: services, tools: tools(&arguments.tools)?, ..Grant::default() }
    };
    process::output(policy(&mount, &grant).as_bytes())?;
    Ok(Exit::Success)
}

/// What an agent may call.
#[derive(Debug, Default)]
pub(crate) struct Grant {
    /// The services that speak HTTP.
    pub(crate) services: Vec<ServiceName>,
    /// By which methods.
    pub(crate) methods: Methods,
    /// The services that are MCP servers.
    pub(crate) mcp_services: Vec<ServiceName>,
    /// Which of their tools.
    pub(crate) tools: ToolNames,
}

impl Grant {
    /// Whether it allows nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty() && self.mcp_services.is_empty()
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names = |services: &[ServiceName]| {
            services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ")
        };
        let mut parts = Vec::new();
        if !self.services.is_empty() {
            parts.push(format!("{} on {}", self.methods, names(&self.services)));
        }
        if !self.mcp_services.is_empty() {
            parts.push(format!("{} of {}", self.tools, names(&self.mcp_services)));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Which methods to allow.
#[derive(Debug, Default)]
pub(crate) enum Methods {
    /// Every one that the service takes.
    #[default]
    Any,
    /// These.
    Some(Vec<Method>),
}

impl fmt::Display for Methods {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any method"),
            Self::Some(methods) => {
                let names = methods.iter().map(|method| method.as_str()).collect::<Vec<_>>();
                f.write_str(&names.join(", "))
            }
        }
    }
}

/// Reads names of methods, or `any`.
///
/// # Errors
///
/// [`CommandError::Argument`] for a name that is none.
pub(crate) fn methods(names: &[String]) -> Result<Methods, CommandError> {
    if names.iter().any(|name| name.trim().eq_ignore_ascii_case("any") || name.trim() == "+") {
        return Ok(Methods::Any);
    }
    let parsed = names.iter().map(|name| {
        Method::parse(name).ok_or_else(|| {
            let all = Method::ALL.map(Method::as_str).join(", ");
            CommandError::Argument(format!("--methods: {name:?} is none of {all}, any"))
        })
    });
    parsed.collect::<Result<Vec<_>, _>>().map(Methods::Some)
}

/// Which tools of MCP servers to allow.
#[derive(Debug, Default)]
pub(crate) enum ToolNames {
    /// All that an operator approves, with prompts and resources.
    #[default]
    Any,
    /// These, by their segments, and nothing else.
    Some(Vec<String>),
}

impl fmt::Display for ToolNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any approved tool"),
            Self::Some(names) => f.write_str(&names.join(", ")),
        }
    }
}

/// Reads segments of tools, or `any`.
fn tools(names: &[String]) -> Result<ToolNames, CommandError> {
    if names.iter().any(|name| name.eq_ignore_ascii_case("any") || name == "+") {
        return Ok(ToolNames::Any);
    }
    let sound = |name: &String| upstream::is_segment(name);
    match names.iter().find(|name| !sound(name)) {
        None => Ok(ToolNames::Some(names.to_vec())),
        Some(name) => Err(CommandError::Argument(format!(
            "--tools: {name:?} isn't a tool's path segment: letters, digits, _ or -, at most 64"
        ))),
    }
}

/// Reads the name of a service.
///
/// # Errors
///
/// [`CommandError::Argument`] if it can't be one.
pub(crate) fn service(name: &str) -> Result<ServiceName, CommandError> {
    ServiceName::parse(name).ok_or_else(|| {
        CommandError::Argument(format!(
            "{name:?} isn't a service's name: lower-case letters, digits, single _ or -"
        ))
    })
}

/// Writes the policy that lets an agent renew its own secret_id: wrapped alone, so that the secret
/// stands in no answer that somebody might log. Whoever has one of its tokens can do the same.
pub(crate) fn rotation_policy(auth_mount: &Mount, role: &str) -> String {
    format!(
        "\n# To replace its own secret_id; whoever steals a token can do so too:\n\
         path \"auth/{auth_mount}/role/{role}/secret-id\" {{\n  \
         capabilities = [\"update\"]\n  min_wrapping_ttl = \"1s\"\n  max_wrapping_ttl = \"300s\"\n}}\n\
         path \"auth/{auth_mount}/role/{role}/secret-id-accessor/destroy\" {{ \
         capabilities = [\"update\"] }}\n"
    )
}

/// Writes the policy of an agent that may call some services through the engine at `mount`.
pub(crate) fn policy(mount: &Mount, grant: &Grant) -> String {
    let all = || grant.services.iter().chain(&grant.mcp_services);
    let names = all().map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "# Lets an agent call {names} through the engine at {mount}/.\n\
         # A service's name ends in {} or /+, never in *, which would open longer names too.\n\
         \n\
         # Which services there are, without secrets:\n\
         path \"{mount}/catalog\" {{ capabilities = [\"read\"] }}\n",
        if grant.services.is_empty() { "/TOOL" } else { "/METHOD" }
    );
    for service in all() {
        let _ =
            writeln!(text, "path \"{mount}/catalog/{service}\" {{ capabilities = [\"read\"] }}");
    }
    if !grant.services.is_empty() {
        calls(&mut text, mount, grant);
    }
    if !grant.mcp_services.is_empty() {
        tool_calls(&mut text, mount, grant);
    }
    text + TAIL
}

fn calls(text: &mut String, mount: &Mount, grant: &Grant) {
    text.push_str("\n# The calls:\n");
    for service in &grant.services {
        let mut path = |method: &str| allow(text, &format!("{mount}/proxy/{service}/{method}"));
        match &grant.methods {
            Methods::Any => path("+"),
            Methods::Some(methods) => methods.iter().for_each(|method| path(method.as_str())),
        }
    }
}

fn tool_calls(text: &mut String, mount: &Mount, grant: &Grant) {
    text.push_str("\n# The tools, once an operator has approved them:\n");
    for service in &grant.mcp_services {
        let mut path = |tool: &str| allow(text, &format!("{mount}/call/{service}/{tool}"));
        match &grant.tools {
            ToolNames::Any => path("+"),
            ToolNames::Some(names) => names.iter().for_each(|name| path(name)),
        }
    }
    if let ToolNames::Any = grant.tools {
        text.push_str("\n# Its prompts and resources:\n");
        for service in &grant.mcp_services {
            allow(text, &format!("{mount}/prompts/{service}/+"));
            allow(text, &format!("{mount}/resources/{service}"));
        }
    }
}

fn allow(text: &mut String, path: &str) {
    let _ = writeln!(text, "path \"{path}\" {{ capabilities = [\"update\"] }}");
}

/// What every policy ends with.
const TAIL: &str = "\n# Vault's policy \"default\" gives the rest: the token's own look-up, renewal and end, and\n\
                    # sys/capabilities-self. A role without it needs them here.\n";
