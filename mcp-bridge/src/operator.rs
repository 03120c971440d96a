//! Makes and removes what Vault holds for an agent, with an operator's token.

mod agent;
mod provision;
mod removal;

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::Mount;
use crate::secret::VaultToken;
use crate::vault::{Client, Lost, Reply, Request, data, refusal};

pub(crate) use agent::{Agent, AgentName, Lifetime};
pub(crate) use provision::{Provisioned, provision};
pub(crate) use removal::{deprovision, restore};

/// One thing that Vault holds for an agent, and what was done about it.
#[derive(Debug, Serialize)]
pub(crate) struct Step {
    /// What was done.
    pub(crate) change: Change,
    /// With what.
    pub(crate) object: String,
}

/// What was done about one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Change {
    /// It wasn't there.
    Created,
    /// It was there, but otherwise.
    Changed,
    /// It was so already.
    Unchanged,
    /// It was there, and is gone.
    Removed,
    /// It was not there.
    Absent,
    /// It works no more.
    Disabled,
    /// It works again.
    Enabled,
    /// It was made anew, as each time.
    Issued,
    /// It is as it was, against what was asked for.
    Failed,
}

impl Change {
    /// The word at the head of a line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "as it was",
            Self::Removed => "removed",
            Self::Absent => "not there",
            Self::Disabled => "disabled",
            Self::Enabled => "enabled",
            Self::Issued => "issued",
            Self::Failed => "NOT DONE",
        }
    }
}

/// Why an operator's command stopped. What it did before stays, and it can be run again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OperatorError {
    /// Vault gave no answer.
    #[error("{0}")]
    Lost(Lost),
    /// Vault refused a step.
    #[error("Vault refused to {what} (HTTP {status}): {text}")]
    Refused {
        /// What was tried.
        what: String,
        /// The answer's status.
        status: u16,
        /// Vault's own words.
        text: String,
    },
    /// Vault answered something that can't be read.
    #[error("Vault's answer can't be read: {0}")]
    Unreadable(&'static str),
    /// AppRole isn't enabled where it should be.
    #[error(
        "AppRole isn't enabled at auth/{0}, or your token may not see it: vault auth enable \
         -path={0} approle"
    )]
    NoAppRole(Mount),
    /// Somebody else's entity has the agent's name: an alias would give the agent its rights.
    #[error(
        "the identity entity {0:?} exists and wasn't made by mcp-bridge: an agent under its name \
         would get its rights. Choose another name for the agent"
    )]
    ForeignEntity(String),
    /// A new agent was named without services.
    #[error("{0} isn't there yet: say which services it may call, --services a,b")]
    NoServices(String),
    /// The entity can't be told to be the agent's, so it wasn't disabled.
    #[error(
        "the identity entity {0:?} doesn't say that mcp-bridge made it, so it wasn't disabled: \
         tokens that were made before live on, without the policy. If it is the agent's: vault \
         write identity/entity/name/{0} disabled=true"
    )]
    NotDisabled(String),
    /// The agent was cut off, and what it had would serve again.
    #[error(
        "{0} is disabled, and its role is still there with every secret_id: somebody cut it off. \
         mcp-bridge deprovision {0} removes them, so that it can be provisioned anew; mcp-bridge \
         deprovision {0} --undo lets it go on as it was"
    )]
    Disabled(String),
    /// There is nothing to undo.
    #[error(
        "there is no entity {0:?} that mcp-bridge made: nothing can be undone, run mcp-bridge \
         provision"
    )]
    NothingToRestore(String),
}

/// An operator's seat at Vault: a client, a token, and where AppRole is.
#[derive(Debug)]
pub(crate) struct Desk<'a> {
    /// Speaks with Vault.
    pub(crate) client: &'a Client,
    /// The operator's own token.
    pub(crate) token: &'a VaultToken,
    /// Where AppRole is mounted.
    pub(crate) auth_mount: &'a Mount,
}

impl Desk<'_> {
    /// Reads the `data` of a path; none if nothing is there.
    async fn read<T: DeserializeOwned>(
        &self,
        path: &str,
        what: &str,
    ) -> Result<Option<T>, OperatorError> {
        let reply = self.send(&Request::get(path)).await?;
        match reply.status {
            200 => data(&reply.body).map(Some).ok_or(OperatorError::Unreadable("a read")),
            204 | 404 => Ok(None),
            _ => Err(refused(&reply, what)),
        }
    }

    /// Writes fields to a path.
    async fn write(&self, path: &str, body: &Value, what: &str) -> Result<(), OperatorError> {
        self.done(&Request::post(path, body.to_string()), what).await.map(drop)
    }

    /// Deletes what is at a path.
    async fn delete(&self, path: &str, what: &str) -> Result<(), OperatorError> {
        self.done(&Request::delete(path), what).await.map(drop)
    }

    async fn done(&self, request: &Request, what: &str) -> Result<Reply, OperatorError> {
        let reply = self.send(request).await?;
        if matches!(reply.status, 200 | 204) { Ok(reply) } else { Err(refused(&reply, what)) }
    }

    async fn send(&self, request: &Request) -> Result<Reply, OperatorError> {
        self.client.send(request, Some(self.token)).await.map_err(OperatorError::Lost)
    }
}

fn refused(reply: &Reply, what: &str) -> OperatorError {
    let (_, text) = refusal(&reply.body);
    let text = match (reply.status, text.trim()) {
        (403, _) => "your token may not".to_owned(),
        (_, "") => "no reason given".to_owned(),
        (_, text) => text.split_whitespace().collect::<Vec<_>>().join(" "),
    };
    OperatorError::Refused { what: what.to_owned(), status: reply.status, text }
}

/// An identity entity, as far as it matters here.
#[derive(Debug, Deserialize)]
struct Entity {
    id: String,
    #[serde(default)]
    disabled: bool,
    #[serde(default)]
    metadata: Option<BTreeMap<String, String>>,
    #[serde(default)]
    aliases: Option<Vec<Alias>>,
}

#[derive(Debug, Deserialize)]
struct Alias {
    id: String,
    name: String,
    mount_accessor: String,
}

impl Entity {
    /// Reads the entity with the agent's name, whoever made it; none if there is none.
    async fn of(desk: &Desk<'_>, agent: &AgentName) -> Result<Option<Self>, OperatorError> {
        let path = format!("identity/entity/name/{agent}");
        desk.read(&path, &format!("read the entity {agent}")).await
    }

    fn is_ours(&self) -> bool {
        let mark = self.metadata.as_ref().and_then(|metadata| metadata.get(MARK.0));
        mark.is_some_and(|value| value == MARK.1)
    }
}

/// Tells the entities that these commands made from everybody else's.
const MARK: (&str, &str) = ("managed_by", "mcp-bridge");
