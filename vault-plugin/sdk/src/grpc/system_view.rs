//! What the host tells about itself, over the brokered connection.

use async_trait::async_trait;
use proto::pb;
use proto::pb::system_view_client::SystemViewClient;
use secrecy::SecretString;
use tonic::Status;
use tonic::transport::Channel;

use crate::system_view::{Entity, ReplicationState, SystemView, SystemViewError};

pub(super) struct GrpcSystemView {
    client: SystemViewClient<Channel>,
}

impl GrpcSystemView {
    pub(super) fn new(channel: Channel) -> Self {
        Self { client: SystemViewClient::new(channel) }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn failed(status: Status) -> SystemViewError {
    SystemViewError(format!("{:?}: {}", status.code(), status.message()))
}

fn check(err: String) -> Result<(), SystemViewError> {
    if err.is_empty() { Ok(()) } else { Err(SystemViewError(err)) }
}

#[async_trait]
impl SystemView for GrpcSystemView {
    async fn replication_state(&self) -> Result<ReplicationState, SystemViewError> {
        let reply = self.client.clone().replication_state(pb::Empty {}).await.map_err(failed)?;
        // A set of bits that travels as int32.
        Ok(ReplicationState(reply.into_inner().state.cast_unsigned()))
    }

    async fn local_mount(&self) -> Result<bool, SystemViewError> {
        let reply = self.client.clone().local_mount(pb::Empty {}).await.map_err(failed)?;
        Ok(reply.into_inner().local)
    }

    async fn server_version(&self) -> Result<String, SystemViewError> {
        let reply =
            self.client.clone().plugin_env(pb::Empty {}).await.map_err(failed)?.into_inner();
        check(reply.err)?;
        Ok(reply
            .plugin_environment
            .map(|environment| environment.vault_version)
            .unwrap_or_default())
    }

    async fn entity(&self, id: &str) -> Result<Option<Entity>, SystemViewError> {
        let args = pb::EntityInfoArgs { entity_id: id.to_owned() };
        let reply = self.client.clone().entity_info(args).await.map_err(failed)?.into_inner();
        check(reply.err)?;
        Ok(reply.entity.map(|entity| Entity {
            id: entity.id,
            name: entity.name,
            metadata: entity.metadata,
            disabled: entity.disabled,
        }))
    }

    async fn password(&self, policy: &str) -> Result<SecretString, SystemViewError> {
        let args = pb::GeneratePasswordFromPolicyRequest { policy_name: policy.to_owned() };
        let reply =
            self.client.clone().generate_password_from_policy(args).await.map_err(failed)?;
        Ok(reply.into_inner().password.into())
    }
}
