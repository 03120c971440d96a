//! Takes from an agent what it has in Vault: first its identity, so that every token stops at once.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{AgentName, Change, Desk, Entity, OperatorError, Step};

/// Disables the agent's entity, then removes its role with every secret_id, then its policy. A step
/// that fails keeps no other from being done: the agent is to be left with as little as can be.
///
/// The entity stays, disabled: [`restore`] can give it back, and nobody else takes its name.
///
/// # Errors
///
/// The first [`OperatorError`], after every step was tried; the same command goes on from there.
pub(crate) async fn deprovision(
    desk: &Desk<'_>,
    agent: &AgentName,
    steps: &mut Vec<Step>,
) -> Result<(), OperatorError> {
    let role = agent.role();
    let mut first = Ok(());
    let mut note = |outcome: Result<Step, OperatorError>, object: String| match outcome {
        Ok(step) => steps.push(step),
        Err(error) => {
            steps.push(Step { change: Change::Failed, object });
            if first.is_ok() {
                first = Err(error);
            }
        }
    };
    note(disable(desk, agent).await, format!("entity {agent}"));
    note(remove_role(desk, &role).await, format!("role {role}"));
    note(remove_policy(desk, &role).await, format!("policy {role}"));
    first
}

/// Enables the agent's entity again: tokens that haven't ended serve again, for what their policies
/// still allow.
///
/// # Errors
///
/// [`OperatorError::NothingToRestore`] if there is none of ours; else what Vault refused.
pub(crate) async fn restore(
    desk: &Desk<'_>,
    agent: &AgentName,
    steps: &mut Vec<Step>,
) -> Result<(), OperatorError> {
    let change = match Entity::of(desk, agent).await?.filter(Entity::is_ours) {
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

/// Disables the agent's entity. Somebody else's of the same name is left alone.
async fn disable(desk: &Desk<'_>, agent: &AgentName) -> Result<Step, OperatorError> {
    let change = match Entity::of(desk, agent).await? {
        None => Change::Absent,
        Some(entity) if entity.disabled => Change::Unchanged,
        Some(entity) if !entity.is_ours() => {
            return Err(OperatorError::NotDisabled(agent.to_string()));
        }
        Some(_) => {
            switch(desk, agent, false).await?;
            Change::Disabled
        }
    };
    Ok(Step { change, object: format!("entity {agent}, and with it every token of the agent") })
}

async fn switch(desk: &Desk<'_>, agent: &AgentName, on: bool) -> Result<(), OperatorError> {
    let what = if on { "enable" } else { "disable" };
    let path = format!("identity/entity/name/{agent}");
    desk.write(&path, &json!({ "disabled": !on }), &format!("{what} the entity {agent}")).await
}

/// Removes the role; AppRole destroys its secret_ids with it (`path_role.go`, `pathRoleDelete`).
///
/// Whether it is there, and with how many secret_ids, is asked for the telling alone: it is removed
/// also where that can't be read.
async fn remove_role(desk: &Desk<'_>, role: &str) -> Result<Step, OperatorError> {
    #[derive(Deserialize)]
    struct Accessors {
        keys: Vec<String>,
    }
    let path = format!("auth/{}/role/{role}", desk.auth_mount);
    let there = desk.read::<Value>(&path, &format!("read role {role}")).await;
    if matches!(there, Ok(None)) {
        return Ok(Step { change: Change::Absent, object: format!("role {role}") });
    }
    let list = format!("{path}/secret-id?list=true");
    let accessors = desk.read::<Accessors>(&list, &format!("list what role {role} has")).await;
    desk.delete(&path, &format!("remove role {role}")).await?;
    let count = match accessors {
        Ok(accessors) => accessors.map_or(0, |accessors| accessors.keys.len()).to_string(),
        Err(_) => "all".to_owned(),
    };
    let object = format!("role {role}, and with it {count} secret_ids");
    Ok(Step { change: Change::Removed, object })
}

async fn remove_policy(desk: &Desk<'_>, role: &str) -> Result<Step, OperatorError> {
    let object = format!("policy {role}");
    let path = format!("sys/policies/acl/{role}");
    let there = desk.read::<Value>(&path, &format!("read {object}")).await;
    if matches!(there, Ok(None)) {
        return Ok(Step { change: Change::Absent, object });
    }
    desk.delete(&path, &format!("remove {object}")).await?;
    Ok(Step { change: Change::Removed, object })
}
