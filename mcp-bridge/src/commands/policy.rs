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
    let text = if arguments.tools.is_empty() {
        policy(&mount, &services, &methods(&arguments.methods)?)
    } else {
        tools_policy(&mount, &services, &tools(&arguments.tools)?)
    };
    process::output(text.as_bytes())?;
    Ok(Exit::Success)
}

/// Which methods to allow.
#[derive(Debug)]
pub(crate) enum Methods {
    /// Every one that the service takes.
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
enum ToolNames {
    /// All that an operator approves, with prompts and resources.
    Any,
    /// These, by their segments, and nothing else.
    Some(Vec<String>),
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
pub(crate) fn policy(mount: &Mount, services: &[ServiceName], methods: &Methods) -> String {
    let mut text = head(
        mount,
        services,
        "A service's name ends in /METHOD or /+, never in *, which would open longer names too.",
    );
    text.push_str("\n# The calls:\n");
    for service in services {
        let mut path =
            |method: &str| allow(&mut text, &format!("{mount}/proxy/{service}/{method}"));
        match methods {
            Methods::Any => path("+"),
            Methods::Some(methods) => methods.iter().for_each(|method| path(method.as_str())),
        }
    }
    text + TAIL
}

/// Writes the policy of an agent that may use some MCP servers through the engine at `mount`.
fn tools_policy(mount: &Mount, services: &[ServiceName], tools: &ToolNames) -> String {
    let mut text = head(
        mount,
        services,
        "A service's name ends in /TOOL or /+, never in *, which would open longer names too.",
    );
    text.push_str("\n# The tools, once an operator has approved them:\n");
    for service in services {
        match tools {
            ToolNames::Any => allow(&mut text, &format!("{mount}/call/{service}/+")),
            ToolNames::Some(names) => {
                for name in names {
                    allow(&mut text, &format!("{mount}/call/{service}/{name}"));
                }
            }
        }
    }
    if let ToolNames::Any = tools {
        text.push_str("\n# Its prompts and resources:\n");
        for service in services {
            allow(&mut text, &format!("{mount}/prompts/{service}/+"));
            allow(&mut text, &format!("{mount}/resources/{service}"));
        }
    }
    text + TAIL
}

/// What every policy begins with: what there is.
fn head(mount: &Mount, services: &[ServiceName], rule: &str) -> String {
    let names = services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "# Lets an agent call {names} through the engine at {mount}/.\n\
         # {rule}\n\
         \n\
         # Which services there are, without secrets:\n\
         path \"{mount}/catalog\" {{ capabilities = [\"read\"] }}\n"
    );
    for service in services {
        let _ =
            writeln!(text, "path \"{mount}/catalog/{service}\" {{ capabilities = [\"read\"] }}");
    }
    text
}

fn allow(text: &mut String, path: &str) {
    let _ = writeln!(text, "path \"{path}\" {{ capabilities = [\"update\"] }}");
}

/// What every policy ends with.
const TAIL: &str = "\n# Vault's policy \"default\" gives the rest: the token's own look-up, renewal and end, and\n\
                    # sys/capabilities-self. A role without it needs them here.\n";
