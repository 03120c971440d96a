//! Prints the Vault policy that an agent needs.

use std::fmt::{self, Write as _};

use crate::catalog::{Method, ServiceName};
use crate::cli;
use crate::config::{Environment, Mount, names};
use crate::error::{CommandError, Exit};
use crate::process;

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
    let methods = methods(&arguments.methods)?;
    process::output(policy(&mount, &services, &methods).as_bytes())?;
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
    let names = services.iter().map(ServiceName::as_str).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "# Lets an agent call {names} through the engine at {mount}/.\n\
         # A service's name ends in /METHOD or /+, never in *, which would open longer names too.\n\
         \n\
         # Which services there are, without secrets:\n\
         path \"{mount}/catalog\" {{ capabilities = [\"read\"] }}\n"
    );
    for service in services {
        let _ =
            writeln!(text, "path \"{mount}/catalog/{service}\" {{ capabilities = [\"read\"] }}");
    }
    text.push_str("\n# The calls:\n");
    for service in services {
        let mut path = |method: &str| {
            let _ = writeln!(
                text,
                "path \"{mount}/proxy/{service}/{method}\" {{ capabilities = [\"update\"] }}"
            );
        };
        match methods {
            Methods::Any => path("+"),
            Methods::Some(methods) => methods.iter().for_each(|method| path(method.as_str())),
        }
    }
    text.push_str(
        "\n# Vault's policy \"default\" gives the rest: the token's own look-up, renewal and end, and\n\
         # sys/capabilities-self. A role without it needs them here.\n",
    );
    text
}
