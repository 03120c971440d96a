//! Gives an agent its policy, role, identity and secret_id; what is there already stays.

use std::collections::BTreeSet;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{Agent, Change, Desk, Entity, Lifetime, MARK, OperatorError, Step};
use crate::commands::policy::{policy, rotation_policy};
use crate::config::Mount;
use crate::vault::{Issued, Request, WRAPPED_FOR, wrapped};

/// What an agent has in Vault now.
#[derive(Debug)]
pub(crate) struct Provisioned {
    /// What was done, in order.
    pub(crate) steps: Vec<Step>,
    /// The role's id.
    pub(crate) role_id: String,
    /// Whether its policy lets it replace its own secret_id.
    pub(crate) self_rotating: bool,
    /// The new secret_id, if one was asked for.
    pub(crate) issued: Option<Issued>,
}

/// Brings Vault to what an agent needs, and issues a wrapped secret_id if `issue` says so.
///
/// A disabled entity is replaced where the role is gone, and with it every secret_id: the tokens that
/// were made under it stay dead.
///
/// # Errors
///
/// [`OperatorError::Disabled`] if the role is still there; else what was done before stays, and the
/// same command goes on from there.
pub(crate) async fn provision(
    desk: &Desk<'_>,
    mount: &Mount,
    agent: &Agent,
    issue: bool,
) -> Result<Provisioned, OperatorError> {
    let mut steps = Vec::new();
    let method = auth_method(desk).await?;
    // Before anything is made under a name that is somebody else's.
    let mut there = Entity::of(desk, &agent.name).await?;
    if there.as_ref().is_some_and(|entity| !entity.is_ours()) {
        return Err(OperatorError::ForeignEntity(agent.name.to_string()));
    }
    let role = read_role(desk, agent).await?;
    if let Some(disabled) = there.take_if(|entity| entity.disabled) {
        if role.is_some() {
            return Err(OperatorError::Disabled(agent.name.to_string()));
        }
        // First, so that a command that is cut short meets no disabled entity beside a new role.
        steps.push(remove_disabled(desk, agent, &disabled).await?);
    }
    let (step, self_rotating) = write_policy(desk, mount, agent).await?;
    steps.push(step);
    steps.push(write_role(desk, agent, role).await?);
    let role_id = role_id(desk, agent).await?;
    identify(desk, agent, there, (&method, &role_id), &mut steps).await?;
    let issued = if issue { Some(issue_secret_id(desk, agent, &mut steps).await?) } else { None };
    Ok(Provisioned { steps, role_id, self_rotating, issued })
}

/// Finds the accessor of AppRole's mount, which ties an alias to it.
async fn auth_method(desk: &Desk<'_>) -> Result<String, OperatorError> {
    #[derive(Deserialize)]
    struct AuthMethod {
        #[serde(rename = "type")]
        kind: String,
        accessor: String,
    }
    let path = format!("sys/internal/ui/mounts/auth/{}", desk.auth_mount);
    let what = format!("look up auth/{}", desk.auth_mount);
    // Vault answers 403 to who asks for a mount that isn't there, root included.
    let method = match desk.read::<AuthMethod>(&path, &what).await {
        Err(OperatorError::Refused { status: 403, .. }) => None,
        method => method?,
    };
    match method.filter(|method| method.kind == "approle") {
        Some(method) => Ok(method.accessor),
        None => Err(OperatorError::NoAppRole(desk.auth_mount.clone())),
    }
}

/// Writes the policy, or adds to the one that is there; says whether the agent may replace its own
/// secret_id then.
async fn write_policy(
    desk: &Desk<'_>,
    mount: &Mount,
    agent: &Agent,
) -> Result<(Step, bool), OperatorError> {
    #[derive(Deserialize)]
    struct Policy {
        policy: String,
    }
    let role = agent.name.role();
    let path = format!("sys/policies/acl/{role}");
    let there: Option<Policy> = desk.read(&path, &format!("read policy {role}")).await?;
    let rotation = rotation_policy(desk.auth_mount, &role);
    let rotates = |text: &str| text.contains(&rotation);
    let rotated = there.as_ref().is_some_and(|there| rotates(&there.policy));
    let (mut text, mut object) = if agent.grant.is_empty() {
        let Some(there) = &there else {
            return Err(OperatorError::NoServices(agent.name.to_string()));
        };
        (there.policy.clone(), format!("policy {role}"))
    } else {
        (policy(mount, &agent.grant), format!("policy {role}: {}", agent.grant))
    };
    if agent.self_rotate && !rotates(&text) {
        text.push_str(&rotation);
    }
    let self_rotating = rotates(&text);
    if rotated && !self_rotating {
        object.push_str(
            "; it LOSES the right to replace its own secret_id, which --self-rotate keeps",
        );
    } else if self_rotating {
        object.push_str("; it may replace its own secret_id");
    }
    let change = match there {
        Some(there) if there.policy == text => Change::Unchanged,
        Some(_) => Change::Changed,
        None => Change::Created,
    };
    if change != Change::Unchanged {
        desk.write(&path, &json!({ "policy": text }), &format!("write policy {role}")).await?;
    }
    Ok((Step { change, object }, self_rotating))
}

async fn read_role(desk: &Desk<'_>, agent: &Agent) -> Result<Option<Value>, OperatorError> {
    let role = agent.name.role();
    let path = format!("auth/{}/role/{role}", desk.auth_mount);
    desk.read(&path, &format!("read role {role}")).await
}

async fn write_role(
    desk: &Desk<'_>,
    agent: &Agent,
    there: Option<Value>,
) -> Result<Step, OperatorError> {
    let role = agent.name.role();
    let path = format!("auth/{}/role/{role}", desk.auth_mount);
    let wanted = role_fields(agent, there.is_none());
    let differs = |there: &Value| {
        wanted.iter().any(|(field, value)| !same(value, there.get(*field).unwrap_or(&Value::Null)))
    };
    let change = match &there {
        Some(there) if !differs(there) => Change::Unchanged,
        Some(_) => Change::Changed,
        None => Change::Created,
    };
    if change != Change::Unchanged {
        let fields = wanted.into_iter().map(|(field, value)| (field.to_owned(), value));
        let body = Value::Object(fields.collect());
        desk.write(&path, &body, &format!("write role {role}")).await?;
    }
    Ok(Step { change, object: format!("role {role} at auth/{}", desk.auth_mount) })
}

/// What a role is to have: short tokens that end with the role, any number of logins within the
/// secret_id's life. `token_num_uses` must be 0, since a bridge makes any number of requests.
fn role_fields(agent: &Agent, is_new: bool) -> Vec<(&'static str, Value)> {
    let mut fields = vec![
        ("bind_secret_id", json!(true)),
        ("secret_id_num_uses", json!(0)),
        ("token_policies", json!([agent.name.role()])),
        ("token_type", json!("service")),
        ("token_ttl", json!(TOKEN_TTL.as_secs())),
        ("token_max_ttl", json!(TOKEN_MAX_TTL.as_secs())),
        ("token_num_uses", json!(0)),
        ("token_period", json!(0)),
        ("token_no_default_policy", json!(false)),
    ];
    if let Some(lifetime) = agent.lifetime.or_else(|| is_new.then_some(LIFETIME)) {
        fields.push(("secret_id_ttl", json!(lifetime.0.as_secs())));
    }
    if let Some(cidrs) = &agent.cidrs {
        fields.push(("secret_id_bound_cidrs", json!(cidrs)));
        fields.push(("token_bound_cidrs", json!(cidrs)));
    }
    fields
}

/// Whether Vault holds a value already. Lists come back in another order, an empty one as null, and
/// a network of one address without its length.
fn same(wanted: &Value, there: &Value) -> bool {
    let Value::Array(wanted) = wanted else { return wanted == there };
    let plain = |value: &Value| {
        let text = value.as_str().unwrap_or_default();
        let text = text.strip_suffix("/32").or_else(|| text.strip_suffix("/128")).unwrap_or(text);
        text.to_owned()
    };
    let there = there.as_array().map(Vec::as_slice).unwrap_or_default();
    wanted.iter().map(plain).collect::<BTreeSet<_>>()
        == there.iter().map(plain).collect::<BTreeSet<_>>()
}

async fn role_id(desk: &Desk<'_>, agent: &Agent) -> Result<String, OperatorError> {
    #[derive(Deserialize)]
    struct RoleId {
        role_id: String,
    }
    let role = agent.name.role();
    let path = format!("auth/{}/role/{role}/role-id", desk.auth_mount);
    let answer: Option<RoleId> =
        desk.read(&path, &format!("read the role_id of role {role}")).await?;
    answer.map(|answer| answer.role_id).ok_or(OperatorError::Unreadable("a role_id"))
}

async fn remove_disabled(
    desk: &Desk<'_>,
    agent: &Agent,
    disabled: &Entity,
) -> Result<Step, OperatorError> {
    let object = format!("the disabled entity {}", agent.name);
    desk.delete(&format!("identity/entity/id/{}", disabled.id), &format!("remove {object}"))
        .await?;
    Ok(Step { change: Change::Removed, object })
}

/// Ties the role to an entity with the agent's name, so that logs and rules know who calls.
async fn identify(
    desk: &Desk<'_>,
    agent: &Agent,
    there: Option<Entity>,
    (method, role_id): (&str, &str),
    steps: &mut Vec<Step>,
) -> Result<(), OperatorError> {
    let name = &agent.name;
    let object = format!("entity {name}");
    let (id, aliases) = match there {
        Some(entity) => {
            steps.push(Step { change: Change::Unchanged, object });
            (entity.id, entity.aliases.unwrap_or_default())
        }
        None => {
            let body = json!({ "name": name.to_string(), "metadata": { MARK.0: MARK.1 } });
            desk.write("identity/entity", &body, &format!("create {object}")).await?;
            let made = Entity::of(desk, name).await?;
            steps.push(Step { change: Change::Created, object });
            (made.ok_or(OperatorError::Unreadable("an entity"))?.id, Vec::new())
        }
    };
    let mut change = Change::Created;
    for alias in aliases.iter().filter(|alias| alias.mount_accessor == method) {
        if alias.name == role_id {
            change = Change::Unchanged;
        } else {
            // Of a role that somebody deleted: an entity has one alias for each mount.
            let path = format!("identity/entity-alias/id/{}", alias.id);
            desk.delete(&path, &format!("remove the old alias of {name}")).await?;
        }
    }
    if change == Change::Created {
        let body = json!({ "name": role_id, "canonical_id": id, "mount_accessor": method });
        desk.write("identity/entity-alias", &body, &format!("tie the role to {name}")).await?;
    }
    steps.push(Step { change, object: "the role's alias in the entity".to_owned() });
    Ok(())
}

async fn issue_secret_id(
    desk: &Desk<'_>,
    agent: &Agent,
    steps: &mut Vec<Step>,
) -> Result<Issued, OperatorError> {
    let role = agent.name.role();
    let path = format!("auth/{}/role/{role}/secret-id", desk.auth_mount);
    let request = Request::post(path, "{}").wrapped(WRAPPED_FOR);
    let reply = desk.done(&request, &format!("issue a secret_id of role {role}")).await?;
    let issued = wrapped(&reply).ok_or(OperatorError::Unreadable("a wrapped secret_id"))?;
    let accessor = issued.accessor.as_ref().map(|accessor| format!(", accessor {accessor}"));
    let object = format!("a secret_id, wrapped{}", accessor.unwrap_or_default());
    steps.push(Step { change: Change::Issued, object });
    Ok(issued)
}

/// How long a secret_id serves, unless said otherwise.
const LIFETIME: Lifetime = Lifetime(Duration::from_secs(720 * 3600));
/// How long a token serves without being renewed.
const TOKEN_TTL: Duration = Duration::from_secs(15 * 60);
/// How long a token serves at most.
const TOKEN_MAX_TTL: Duration = Duration::from_secs(4 * 3600);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vault_gives_back_otherwise_counts_as_the_same() {
        for (wanted, there, expected) in [
            (json!(0), json!(0), true),
            (json!(["b", "a"]), json!(["a", "b"]), true),
            (json!(["10.0.0.7/32"]), json!(["10.0.0.7"]), true),
            (json!([]), Value::Null, true),
            (json!(["a"]), Value::Null, false),
            (json!("service"), json!("batch"), false),
            (json!(900), Value::Null, false),
        ] {
            assert_eq!(same(&wanted, &there), expected, "{wanted} {there}");
        }
    }
}
