//! Prints the Vault policy that an agent needs.

use std::fmt::Write as _;

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
    let services = arguments
        .services
        .iter()
        .map(|name| {
            ServiceName::parse(name).ok_or_else(|| {
                CommandError::Argument(format!(
                    "{name:?} isn't a service's name: lower-case letters, digits, single _ or -"
                ))
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let methods = methods(&arguments.methods)?;
    process::output(policy(&mount, &services, &methods).as_bytes())?;
    Ok(Exit::Success)
}

/// Which methods to allow.
enum Methods {
    Any,
    Some(Vec<Method>),
}

fn methods(names: &[String]) -> Result<Methods, CommandError> {
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

fn policy(mount: &Mount, services: &[ServiceName], methods: &Methods) -> String {
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
