//! What a handler is given.

use std::sync::Arc;
use std::time::Duration;

use crate::field::Fields;
use crate::operation::Operation;
use crate::storage::Storage;

/// Who asks, as the host established it. Nothing here comes from the request's body.
#[derive(Clone, Debug, Default)]
pub struct Caller {
    /// The identity entity; empty for root and for tokens without one.
    pub entity_id: String,
    /// How the login named itself, e.g. `approle`.
    pub display_name: String,
    /// The token's accessor; names the token without being it.
    pub token_accessor: String,
    /// The client's address, where the host knows it.
    pub remote_address: String,
}

/// One request, routed and with its fields parsed.
pub struct Call {
    /// The host's request id (a UUID); it stands in the audit log too.
    pub id: String,
    /// What is asked.
    pub operation: Operation,
    /// The path below the mount.
    pub path: String,
    /// Path parameters and body fields, typed as declared.
    pub fields: Fields,
    /// Who asks.
    pub caller: Caller,
    /// Set when the client asked for a wrapped answer: how long the wrapping token lives.
    pub wrap_ttl: Option<Duration>,
    /// The mount's path, with its namespace and a trailing slash. It changes when the mount is
    /// moved: never a key.
    pub mount_point: String,
    /// The mount's storage.
    pub storage: Arc<dyn Storage>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("id", &self.id)
            .field("operation", &self.operation)
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}
