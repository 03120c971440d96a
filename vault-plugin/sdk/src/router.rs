//! From a request to a handler: path, operation, effect, fields; then deadline and containment.

mod fields;
mod help;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::backend::Backend;
use crate::error::Error;
use crate::field::Fields;
use crate::operation::{Effect, Operation};
use crate::path::{BoxFuture, Path};
use crate::request::{Call, Caller};
use crate::response::Response;
use crate::storage::Storage;
use crate::system_view::SystemView;

/// Below the hosts' own 90 s, after which they cancel without saying so to the plugin.
const DEADLINE: Duration = Duration::from_secs(80);

/// A request as it came, before a path was found for it.
pub struct Incoming {
    /// The host's request id.
    pub id: String,
    /// Below the mount; a list's ends in `/`.
    pub path: String,
    /// A JSON object, `null`, or empty.
    pub data: String,
    /// Who asks.
    pub caller: Caller,
    /// How long a wrapped answer lives, when one was asked for.
    pub wrap_ttl: Option<Duration>,
    /// See [`Call::mount_point`].
    pub mount_point: String,
    /// The mount's storage.
    pub storage: Arc<dyn Storage>,
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Finds the handler of a request and runs it by the rules of its declared effect.
#[derive(Debug)]
pub struct Router<B> {
    paths: Vec<Path<B>>,
}

impl<B: Backend> Default for Router<B> {
    fn default() -> Self {
        Self { paths: B::paths() }
    }
}

impl<B: Backend> Router<B> {
    /// Runs one operation on one instance.
    ///
    /// # Errors
    /// The handler's, and those of routing: unsupported path or operation, a field that doesn't
    /// fit, [`Error::ReadOnly`] on a node that may not write.
    pub async fn handle(
        &self,
        engine: &Arc<B>,
        system: &dyn SystemView,
        operation: Operation,
        incoming: Incoming,
    ) -> Result<Response, Error> {
        let requested = incoming.path.clone();
        let (path, parameters) = self.find(&requested)?;
        let endpoint = path.operations.get(&operation).ok_or(Error::UnsupportedOperation)?;
        if endpoint.effect == Effect::MayWrite {
            refuse_where_read_only(system).await?;
        }
        let fields = fields::parse(path, operation, &parameters, &incoming.data)?;
        let call = call(operation, incoming, fields);
        let request_id = call.id.clone();
        run(endpoint.effect, &request_id, (endpoint.handler)(Arc::clone(engine), call)).await
    }

    /// Tells `create` from `update`; `None` when the path makes no difference between them.
    ///
    /// # Errors
    /// The check's own. A path or field that doesn't fit is "makes no difference": the operation
    /// that follows will say what is wrong.
    pub async fn exists(&self, engine: &Arc<B>, incoming: Incoming) -> Result<Option<bool>, Error> {
        let requested = incoming.path.clone();
        let Ok((path, parameters)) = self.find(&requested) else { return Ok(None) };
        let Some(exists) = &path.exists else { return Ok(None) };
        let Ok(fields) = fields::parse(path, Operation::Update, &parameters, &incoming.data) else {
            return Ok(None);
        };
        let call = call(Operation::Update, incoming, fields);
        let request_id = call.id.clone();
        run(Effect::Pure, &request_id, exists(Arc::clone(engine), call)).await.map(Some)
    }

    /// The help of a path, or of the mount when `path` is empty. Never looks at storage.
    ///
    /// # Errors
    /// [`Error::UnsupportedPath`] when no path matches.
    pub fn help(&self, path: &str) -> Result<String, Error> {
        if path.is_empty() {
            return Ok(help::mount(B::HELP, &self.paths));
        }
        self.find(path).map(|(path, _)| help::path(path))
    }

    fn find<'a>(&'a self, path: &'a str) -> Result<(&'a Path<B>, Parameters<'a>), Error> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.paths
            .iter()
            .find_map(|candidate| candidate.matches(path).map(|parameters| (candidate, parameters)))
            .ok_or(Error::UnsupportedPath)
    }
}

type Parameters<'a> = Vec<(&'static str, &'a str)>;

fn call(operation: Operation, incoming: Incoming, fields: Fields) -> Call {
    Call {
        id: incoming.id,
        operation,
        path: incoming.path,
        fields,
        caller: incoming.caller,
        wrap_ttl: incoming.wrap_ttl,
        mount_point: incoming.mount_point,
        storage: incoming.storage,
    }
}

/// Before anything else, so that a request that the host will send again to the active node has
/// done nothing here.
async fn refuse_where_read_only(system: &dyn SystemView) -> Result<(), Error> {
    let unknown = |error: crate::system_view::SystemViewError| Error::Internal(error.to_string());
    let state = system.replication_state().await.map_err(unknown)?;
    if state.may_write(true) != state.may_write(false) {
        let local = system.local_mount().await.map_err(unknown)?;
        return if state.may_write(local) { Ok(()) } else { Err(Error::ReadOnly) };
    }
    if state.may_write(false) { Ok(()) } else { Err(Error::ReadOnly) }
}

/// Runs a handler with a deadline; a panic ends the request and nothing else.
async fn run<T: Send + 'static>(
    effect: Effect,
    request_id: &str,
    handler: BoxFuture<Result<T, Error>>,
) -> Result<T, Error> {
    let contained = AssertUnwindSafe(tokio::time::timeout(DEADLINE, handler)).catch_unwind();
    let outcome = match effect {
        // Goes on when the client leaves: a write must not stop between two entries.
        Effect::MayWrite => {
            tokio::spawn(contained).await.unwrap_or_else(|error| Err(Box::new(error)))
        }
        Effect::Pure | Effect::CallsOut => contained.await,
    };
    match outcome {
        Ok(Ok(result)) => result,
        Ok(Err(_elapsed)) => Err(unfinished(effect, request_id, "took longer than 80 s")),
        Err(_panic) => Err(unfinished(effect, request_id, "failed in a way that is a defect here")),
    }
}

fn unfinished(effect: Effect, request_id: &str, what: &str) -> Error {
    match effect {
        Effect::CallsOut => Error::Coded {
            status: 424,
            message: format!(
                "outcome_unknown: the call {what}, so it may have taken effect. \
                 Look before you repeat it. (request_id {request_id})"
            ),
        },
        Effect::Pure | Effect::MayWrite => Error::Internal(format!("request {request_id} {what}")),
    }
}

#[cfg(test)]
mod tests;
