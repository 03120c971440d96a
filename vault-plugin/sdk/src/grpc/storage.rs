//! A mount's storage over the brokered connection.

use async_trait::async_trait;
use proto::pb;
use proto::pb::storage_client::StorageClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::error::READ_ONLY;
use crate::storage::{Storage, StorageError};

/// The largest entry read: far over integrated storage's 1 MiB, and a bound all the same.
const MAX_ENTRY: usize = 64 << 20;

/// Storage served by the host. Requests carry no metadata: newer hosts read keys there that a
/// plugin must not pass on by accident.
pub(super) struct GrpcStorage {
    client: StorageClient<Channel>,
}

impl GrpcStorage {
    pub(super) fn new(channel: Channel) -> Self {
        Self { client: StorageClient::new(channel).max_decoding_message_size(MAX_ENTRY) }
    }
}

/// Storage errors come as text in the reply, not as a gRPC status.
fn check(err: &str) -> Result<(), StorageError> {
    if err.is_empty() {
        Ok(())
    } else if err.contains(READ_ONLY) {
        Err(StorageError::ReadOnly)
    } else {
        Err(StorageError::Failed(err.to_owned()))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err takes")]
fn failed(status: Status) -> StorageError {
    StorageError::Failed(format!("{:?}: {}", status.code(), status.message()))
}

#[async_trait]
impl Storage for GrpcStorage {
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StorageError> {
        let args = pb::StorageListArgs { prefix: prefix.to_owned(), ..Default::default() };
        let reply = self.client.clone().list(args).await.map_err(failed)?.into_inner();
        check(&reply.err)?;
        Ok(reply.keys)
    }

    async fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StorageError> {
        let args = pb::StorageGetArgs { key: key.to_owned(), ..Default::default() };
        let reply = self.client.clone().get(args).await.map_err(failed)?.into_inner();
        check(&reply.err)?;
        Ok(reply.entry.map(|entry| entry.value))
    }

    async fn put(&self, key: &str, value: Vec<u8>) -> Result<(), StorageError> {
        let entry = pb::StorageEntry { key: key.to_owned(), value, seal_wrap: false };
        let args = pb::StoragePutArgs { entry: Some(entry), ..Default::default() };
        let reply = self.client.clone().put(args).await.map_err(failed)?.into_inner();
        check(&reply.err)
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        let args = pb::StorageDeleteArgs { key: key.to_owned(), ..Default::default() };
        let reply = self.client.clone().delete(args).await.map_err(failed)?.into_inner();
        check(&reply.err)
    }
}
