//! Checks what needs a token: login, mount, policy, services.

use serde::Deserialize;

use crate::catalog::{Catalog, HealthState, Store};
use crate::config::{Delivered, VaultServer};
use crate::error::{CallError, Exit};
use crate::refusal::policy_flags;
use crate::secret::WrappingToken;
use crate::vault::{self, Client, LoginError, Request, SessionError, Unavailable, WrappingError};

use super::super::report::{Fault, Report};

/// What `auth/token/lookup-self` tells.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Token {
    #[serde(rename = "type")]
    kind: String,
    ttl: u64,
    renewable: bool,
    num_uses: u64,
    policies: Vec<String>,
    identity_policies: Vec<String>,
}

/// Looks a delivered wrapping token up: a login would use up what the next start of a bridge needs.
pub(super) async fn delivered(
    vault: &VaultServer,
    delivered: &Delivered,
    report: &mut Report,
) -> Exit {
    // Whether it can be read has been told.
    let Ok(token) = WrappingToken::from_file(&delivered.token) else {
        return Exit::CredentialRefused;
    };
    let path = vault::issuing_path(&delivered.mount, &delivered.role);
    let exit = match vault::check(&Client::new(vault.clone()), &token, &path).await {
        Ok(()) => {
            let text = "the delivered wrapping token is good for one login, and wasn't used";
            report.ok("login", text);
            Exit::Success
        }
        Err(error @ (WrappingError::Unavailable(_) | WrappingError::NoVault(_))) => {
            report.fail("login", error.to_string(), Fault::Network, "see Vault's own log");
            Exit::VaultUnreachable
        }
        Err(error) => {
            report.fail(
                "login",
                error.to_string(),
                Fault::VaultOperator,
                "where a bridge runs, it has used it; another start needs another token",
            );
            Exit::CredentialRefused
        }
    };
    report.skip(&["mount", "policy", "services"]);
    exit
}

/// Tries the links from the login on, until one breaks.
pub(super) async fn links(store: &Store, report: &mut Report) -> Exit {
    match store.session().request(&Request::get("auth/token/lookup-self")).await {
        Ok(reply) => match vault::data::<Token>(&reply.body).filter(|_| reply.status == 200) {
            Some(token) => self::token(&token, report),
            None => report.warn(
                "login",
                format!("logged in, but the token may not look itself up ({})", reply.status),
                Fault::VaultOperator,
                "give the role the policy \"default\": renewal, end and capabilities need it too",
            ),
        },
        Err(error) => {
            report.skip_after_login(&error);
            return match error {
                SessionError::Login(LoginError::Unavailable(_)) | SessionError::Lost(_) => {
                    Exit::VaultUnreachable
                }
                SessionError::Login(
                    LoginError::Refused
                    | LoginError::Unreadable
                    | LoginError::WrongPin
                    | LoginError::TpmAway
                    | LoginError::TooSoon,
                ) => Exit::CredentialRefused,
            };
        }
    }
    let outcome = store.refresh().await;
    if !mount(store, &outcome, report).await {
        report.skip(&["policy", "services"]);
        return Exit::Broken;
    }
    if let Ok(catalog) = outcome {
        policy(store, &catalog, report);
        services(store, &catalog, report);
    }
    Exit::Success
}

impl Report {
    fn skip_after_login(&mut self, error: &SessionError) {
        match error {
            SessionError::Login(LoginError::Refused) => self.fail(
                "login",
                "Vault refused the credential",
                Fault::VaultOperator,
                "have an operator run mcp-bridge provision AGENT, and run mcp-bridge enroll --force; \
                 where the secret_id lies in a file of yours, put a new one there. Or the role \
                 binds another address, or --auth-mount is another. The line on stderr has Vault's \
                 own words",
            ),
            SessionError::Login(
                LoginError::Unreadable | LoginError::WrongPin | LoginError::TpmAway,
            ) => self.fail(
                "login",
                "the credential can't be read",
                Fault::ThisMachine,
                "see the link \"credential\"",
            ),
            SessionError::Login(error @ (LoginError::Unavailable(_) | LoginError::TooSoon)) => {
                self.fail("login", error.to_string(), Fault::VaultOperator, "see Vault's own log")
            }
            SessionError::Lost(error) => {
                self.fail("login", error.to_string(), Fault::Network, "see Vault's own log");
            }
        }
        self.skip(&["mount", "policy", "services"]);
    }
}

fn token(token: &Token, report: &mut Report) {
    let policies = [token.policies.as_slice(), &token.identity_policies].concat();
    let has = |name: &str| policies.iter().any(|policy| policy == name);
    let life = if token.ttl == 0 { "for ever".to_owned() } else { format!("{} s", token.ttl) };
    let renewal = if token.renewable { "renewable" } else { "not renewable" };
    let kind = if token.kind.is_empty() { "unknown" } else { &token.kind };
    report.ok(
        "login",
        format!("a {kind} token, lives {life}, {renewal}; policies: {}", policies.join(", ")),
    );
    if token.kind == "batch" {
        report.warn(
            "login",
            "a batch token: it can neither be renewed nor ended",
            Fault::VaultOperator,
            "vault write auth/approle/role/ROLE token_type=service",
        );
    }
    if token.num_uses > 0 {
        report.warn(
            "login",
            format!("the token ends after {} more requests", token.num_uses),
            Fault::VaultOperator,
            "vault write auth/approle/role/ROLE token_num_uses=0",
        );
    }
    if has("root") {
        report.warn(
            "login",
            "the policy \"root\": the agent may do anything in Vault",
            Fault::VaultOperator,
            "give the agent a role of its own; mcp-bridge policy SERVICE prints its policy",
        );
    } else if !has("default") {
        report.warn(
            "login",
            "the token lacks the policy \"default\": Vault may refuse to renew and end it, and to \
             tell what it may do",
            Fault::VaultOperator,
            "vault write auth/approle/role/ROLE token_no_default_policy=false",
        );
    }
}

#[derive(Deserialize)]
struct MountInfo {
    #[serde(rename = "type", default)]
    kind: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EngineInfo {
    version: String,
}

/// Tells whether the engine is where the settings say.
async fn mount(
    store: &Store,
    outcome: &Result<std::sync::Arc<Catalog>, CallError>,
    report: &mut Report,
) -> bool {
    let place = store.mount();
    let enable = format!(
        "mend MCP_BRIDGE_MOUNT or VAULT_NAMESPACE, or: vault secrets enable -path={place} mcp-proxy"
    );
    let session = store.session();
    let request = Request::get(format!("sys/internal/ui/mounts/{place}"));
    let found = session.request(&request).await.ok().filter(|reply| reply.status == 200);
    let kind = found.and_then(|reply| vault::data::<MountInfo>(&reply.body)).map(|info| info.kind);
    if let Some(kind) = kind.as_ref().filter(|kind| *kind != ENGINE) {
        let text = format!("at {place}/ there is another engine: {kind}");
        report.fail("mount", text, Fault::ThisMachine, enable);
        return false;
    }
    match outcome {
        Ok(catalog) if catalog.revision.is_empty() && kind.is_none() => {
            report.warn(
                "mount",
                format!("can't be told: this token may see nothing at {place}/"),
                Fault::VaultOperator,
                enable,
            );
            true
        }
        Ok(_) => {
            let info = session.request(&Request::get(format!("{place}/info"))).await.ok();
            let info = info.filter(|reply| reply.status == 200);
            let version = info.and_then(|reply| vault::data::<EngineInfo>(&reply.body));
            let version = version.map(|info| format!(", version {}", info.version));
            report.ok("mount", format!("the engine is at {place}/{}", version.unwrap_or_default()));
            true
        }
        Err(CallError::Unavailable(Unavailable::NotMounted)) => {
            report.fail(
                "mount",
                format!("nothing is mounted at {place}/"),
                Fault::ThisMachine,
                enable,
            );
            false
        }
        Err(error) => {
            report.fail("mount", error.message(), Fault::VaultOperator, "see Vault's own log");
            false
        }
    }
}

/// Tells what the policy lets this agent do.
fn policy(store: &Store, catalog: &Catalog, report: &mut Report) {
    let (place, flag) = (store.mount(), policy_flags(store.mount()));
    if catalog.revision.is_empty() {
        report.warn(
            "policy",
            format!(
                "the catalog at {place}/catalog may not be read: only names that the \
                     configuration lists are known"
            ),
            Fault::VaultOperator,
            format!("add what mcp-bridge policy SERVICE{flag} prints to the agent's policy"),
        );
    }
    let callable = catalog
        .callable()
        .map(|service| format!("{} ({})", service.name, service.uses()))
        .collect::<Vec<_>>();
    if callable.is_empty() {
        report.warn(
            "policy",
            format!("allows no call; {} services are in the catalog", catalog.services.len()),
            Fault::VaultOperator,
            format!("mcp-bridge policy SERVICE{flag} | vault policy write NAME -"),
        );
    } else {
        report.ok("policy", format!("may call {}", callable.join(", ")));
    }
}

/// Tells how the services that this agent may call are.
fn services(store: &Store, catalog: &Catalog, report: &mut Report) {
    for service in catalog.visible() {
        let name = &service.name;
        let place = format!("{}/services/{name}", store.mount());
        if !service.enabled {
            report.warn(
                "services",
                format!("{name}: switched off"),
                Fault::VaultOperator,
                format!("vault write {place} enabled=true"),
            );
            continue;
        }
        match service.health.state {
            HealthState::Ok => report.ok("services", format!("{name}: works")),
            HealthState::Unknown => report.ok("services", format!("{name}: not called lately")),
            HealthState::Failing => {
                let code = service.health.code.as_deref().unwrap_or("unknown");
                let since = service.health.since.as_deref().unwrap_or("its last call");
                let (fault, mend) = match code {
                    "credential_refused" | "credential_missing" | "credential_expired" => {
                        (Fault::VaultOperator, format!("vault write {place} token=-"))
                    }
                    "upstream_unreachable" | "outcome_unknown" => (
                        Fault::Service,
                        format!(
                            "see whether it runs: vault write -f {}/check/{name}",
                            store.mount()
                        ),
                    ),
                    _ => (
                        Fault::VaultOperator,
                        format!("vault write -f {}/check/{name} says more", store.mount()),
                    ),
                };
                report.fail(
                    "services",
                    format!("{name}: fails since {since}: {code}"),
                    fault,
                    mend,
                );
            }
        }
    }
}

/// The engine's name in Vault's catalog of plugins.
const ENGINE: &str = "mcp-proxy";
