//! Takes from an agent what it has in Vault: first its identity, so that every token stops at once.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{AgentName, Change, Desk, Entity, OperatorError, Step};

/// Disables the agent's entity, then removes its role with every secret_id, then its policy.
///
/// The entity stays, disabled: [`restore`] can give it back, and nobody else takes its name.
///
/// # Errors
///
/// [`OperatorError`]; what was done before stays, and the same command goes on from there.
pub(crate) async fn deprovision(
    desk: &Desk<'_>,
    agent: &AgentName,
    steps: &mut Vec<Step>,
) -> Result<(), OperatorError> {
    let object = format!("entity {agent}, and with it every token of the agent");
    let change = match Entity::of(desk, agent).await? {
        None => Change::Absent,
        Some(entity) if entity.disabled => Change::Unchanged,
        Some(_) => {
            switch(desk, agent, false).await?;
            Change::Disabled
        }
    };
    steps.push(Step { change, object });
    remove_role(desk, agent, steps).await?;

    let role = agent.role();
    let path = format!("sys/policies/acl/{role}");
    let there: Option<Value> = desk.read(&path, &format!("read policy {role}")).await?;
    let change = if there.is_some() {
        desk.delete(&path, &format!("remove policy {role}")).await?;
        Change::Removed
    } else {
        Change::Absent
    };
    steps.push(Step { change, object: format!("policy {role}") });
    Ok(())
}

/// Enables the agent's entity again: tokens that haven't ended serve again.
///
/// # Errors
///
/// [`OperatorError::NothingToRestore`] if there is none; else what Vault refused.
pub(crate) async fn restore(
    desk: &Desk<'_>,
    agent: &AgentName,
    steps: &mut Vec<Step>,
) -> Result<(), OperatorError> {
    let change = match Entity::of(desk, agent).await? {
        None => return Err(OperatorError::NothingToRestore(agent.to_string())),
        Some(entity) if !entity.disabled => Change::Unchanged,
        Some(_) => {
            switch(desk, agent, true).await?;
            Change::Enabled
        }
    };
    steps.push(Step { change, object: format!("entity {agent}") });
    Ok(())
}

async fn switch(desk: &Desk<'_>, agent: &AgentName, on: bool) -> Result<(), OperatorError> {
    let what = if on { "enable" } else { "disable" };
    let path = format!("identity/entity/name/{agent}");
    desk.write(&path, &json!({ "disabled": !on }), &format!("{what} the entity {agent}")).await
}

/// Removes the role; AppRole destroys its secret_ids with it (`path_role.go`, `pathRoleDelete`).
async fn remove_role(
    desk: &Desk<'_>,
    agent: &AgentName,
    steps: &mut Vec<Step>,
) -> Result<(), OperatorError> {
    #[derive(Deserialize)]
    struct Accessors {
        keys: Vec<String>,
    }
    let role = agent.role();
    let path = format!("auth/{}/role/{role}", desk.auth_mount);
    let there: Option<Value> = desk.read(&path, &format!("read role {role}")).await?;
    if there.is_none() {
        steps.push(Step { change: Change::Absent, object: format!("role {role}") });
        return Ok(());
    }
    let list = format!("{path}/secret-id?list=true");
    let what = format!("list the secret_ids of role {role}");
    let accessors: Option<Accessors> = desk.read(&list, &what).await?;
    let count = accessors.map_or(0, |accessors| accessors.keys.len());
    desk.delete(&path, &format!("remove role {role}")).await?;
    let object = format!("role {role}, and with it {count} secret_ids");
    steps.push(Step { change: Change::Removed, object });
    Ok(())
}
