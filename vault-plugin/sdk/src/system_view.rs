//! What the host tells an engine about itself.

use async_trait::async_trait;

/// The host could not answer.
#[derive(Debug, Clone, thiserror::Error)]
#[error("system view: {0}")]
pub struct SystemViewError(pub String);

/// The node's part in replication, as a set of bits (OpenBao `sdk/helper/consts/replication.go`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicationState(pub u32);

impl ReplicationState {
    /// A standby of a cluster, which may not write.
    pub const STANDBY_NODE: Self = Self(Self::STANDBY);

    const PERFORMANCE_SECONDARY: u32 = 0x40;
    const DR_SECONDARY: u32 = 0x200;
    const STANDBY: u32 = 0x4000;

    /// Whether this node may write to the mount's storage. A performance secondary may write to a
    /// mount that isn't replicated.
    pub fn may_write(self, local_mount: bool) -> bool {
        let refused = if local_mount {
            Self::DR_SECONDARY | Self::STANDBY
        } else {
            Self::PERFORMANCE_SECONDARY | Self::DR_SECONDARY | Self::STANDBY
        };
        self.0 & refused == 0
    }
}

/// An identity entity, as far as an engine may see it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// Stable.
    pub id: String,
    /// An operator may change it.
    pub name: String,
    /// Set by operators.
    pub metadata: std::collections::HashMap<String, String>,
    /// Tokens of a disabled entity are refused by the host.
    pub disabled: bool,
}

/// The host's answers. What works over a plugin's connection, and no more: a token, a policy or
/// the mount table can't be seen from here.
#[async_trait]
pub trait SystemView: Send + Sync {
    /// The node's part in replication.
    async fn replication_state(&self) -> Result<ReplicationState, SystemViewError>;
    /// Whether the mount was enabled with `-local`.
    async fn local_mount(&self) -> Result<bool, SystemViewError>;
    /// The server's version, without `v`. It doesn't tell the products apart.
    async fn server_version(&self) -> Result<String, SystemViewError>;
    /// An entity by id; `None` when there is none.
    async fn entity(&self, id: &str) -> Result<Option<Entity>, SystemViewError>;
    /// A password made by one of the operator's password policies.
    async fn password(&self, policy: &str) -> Result<secrecy::SecretString, SystemViewError>;
}

/// A standalone node that may write, for tests of an engine's paths.
#[derive(Debug, Default)]
pub struct StaticSystemView {
    /// The state it reports.
    pub state: ReplicationState,
    /// Whether it calls the mount local.
    pub local: bool,
}

#[async_trait]
impl SystemView for StaticSystemView {
    async fn replication_state(&self) -> Result<ReplicationState, SystemViewError> {
        Ok(self.state)
    }
    async fn local_mount(&self) -> Result<bool, SystemViewError> {
        Ok(self.local)
    }
    async fn server_version(&self) -> Result<String, SystemViewError> {
        Ok("0.0.0".into())
    }
    async fn entity(&self, _id: &str) -> Result<Option<Entity>, SystemViewError> {
        Ok(None)
    }
    async fn password(&self, _policy: &str) -> Result<secrecy::SecretString, SystemViewError> {
        Err(SystemViewError("no password policies here".into()))
    }
}

#[cfg(test)]
mod tests {
    use super::ReplicationState;

    #[test]
    fn who_may_write() {
        // Values seen on a real server: standalone, active of a cluster, standby.
        assert!(ReplicationState(12_288).may_write(false));
        assert!(ReplicationState(8_224).may_write(false));
        assert!(!ReplicationState(24_576).may_write(false));
        assert!(
            !ReplicationState(24_576).may_write(true),
            "a standby's local mount is no exception"
        );
        assert!(!ReplicationState(0x40).may_write(false));
        assert!(ReplicationState(0x40).may_write(true));
        assert!(!ReplicationState(0x200).may_write(true));
    }
}
