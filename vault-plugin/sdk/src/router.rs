//! From a request to a handler: path, operation, effect, fields; then deadline and containment.

#[cfg(debug_assertions)]
mod answers;
mod fields;
mod help;
mod openapi;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;

use crate::apart::apart;
use crate::backend::Backend;
use crate::error::Error;
use crate::field::Fields;
use crate::operation::{Effect, Operation};
use crate::path::Path;
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
        // A list's path ends in `/`, and no other's does: a policy on `a` says nothing of `a/`.
        let path = match operation {
            Operation::List => without_slash(&requested),
            Operation::Create
            | Operation::Read
            | Operation::Update
            | Operation::Patch
            | Operation::Delete => &requested,
        };
        let (path, parameters) = self.find(path)?;
        let endpoint = path.operations.get(&operation).ok_or(Error::UnsupportedOperation)?;
        if endpoint.effect == Effect::MayWrite {
            refuse_where_read_only(system).await?;
        }
        let data = &incoming.data;
        let fields = apart(data.len(), || fields::parse(path, operation, &parameters, data))
            .map_err(|error| named(error, &incoming.id))?;
        let call = call(operation, incoming, fields);
        let request_id = call.id.clone();
        let (handler, engine) = (Arc::clone(&endpoint.handler), Arc::clone(engine));
        let result =
            run(endpoint.effect, &request_id, async move { handler(engine, call).await }).await;
        let result = match endpoint.effect {
            Effect::CallsOut => result.map_err(|error| unrepeatable(error, &request_id)),
            Effect::Pure | Effect::MayWrite => result,
        };
        // Last, so that a test sees what isn't declared, of a call too.
        #[cfg(debug_assertions)]
        let result = answers::declared(operation, endpoint, result);
        result
    }

    /// Tells `create` from `update`; `None` when the path makes no difference between them.
    ///
    /// # Errors
    /// The check's own. A path or field that doesn't fit, or [`Error::Invalid`] from the check, is
    /// "makes no difference": the operation that follows will say what is wrong.
    pub async fn exists(&self, engine: &Arc<B>, incoming: Incoming) -> Result<Option<bool>, Error> {
        let requested = incoming.path.clone();
        let Ok((path, parameters)) = self.find(&requested) else { return Ok(None) };
        let Some(exists) = &path.exists else { return Ok(None) };
        let data = &incoming.data;
        let parse = || fields::parse(path, Operation::Update, &parameters, data);
        let Ok(fields) = apart(data.len(), parse) else { return Ok(None) };
        let call = call(Operation::Update, incoming, fields);
        let request_id = call.id.clone();
        let (exists, engine) = (Arc::clone(exists), Arc::clone(engine));
        match run(Effect::Pure, &request_id, async move { exists(engine, call).await }).await {
            Err(Error::Invalid(_)) => Ok(None),
            result => result.map(Some),
        }
    }

    /// The help of a path, or of the mount when `path` is empty. Never looks at storage.
    ///
    /// # Errors
    /// [`Error::UnsupportedPath`] when no path matches.
    pub fn help(&self, path: &str) -> Result<String, Error> {
        if path.is_empty() {
            return Ok(help::mount(B::HELP, &self.paths));
        }
        self.find(without_slash(path)).map(|(path, _)| help::path(path))
    }

    /// The OpenAPI document of the mount, with paths relative to it; `prefix`, such as the engine's
    /// name, begins each operation's id.
    pub fn openapi(&self, prefix: &str) -> serde_json::Value {
        openapi::document(&self.paths, &B::special_paths().root, prefix)
    }

    /// The operations that declare no answer, as `path: operation`: for a test that wants all to.
    pub fn undeclared(&self) -> Vec<String> {
        let undeclared = |path: &Path<B>| {
            let operations = path.operations.iter();
            operations
                .filter(|(_, endpoint)| {
                    endpoint.spec.data.is_none() && endpoint.spec.empty.is_none()
                })
                .map(|(operation, _)| format!("{}: {operation}", path.pattern))
                .collect::<Vec<_>>()
        };
        self.paths.iter().flat_map(undeclared).collect()
    }

    fn find<'a>(&'a self, path: &'a str) -> Result<(&'a Path<B>, Parameters<'a>), Error> {
        self.paths
            .iter()
            .find_map(|candidate| candidate.matches(path).map(|parameters| (candidate, parameters)))
            .ok_or(Error::UnsupportedPath)
    }
}

/// Ends a refusal of the router's own like an engine's: with the id that the audit log has too.
fn named(error: Error, request_id: &str) -> Error {
    match error {
        Error::Invalid(message) => Error::Invalid(format!("{message}. (request_id {request_id})")),
        error @ (Error::Coded { .. }
        | Error::UnsupportedOperation
        | Error::UnsupportedPath
        | Error::ReadOnly
        | Error::Storage(_)
        | Error::Internal(_)) => error,
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

fn without_slash(path: &str) -> &str {
    path.strip_suffix('/').unwrap_or(path)
}

/// Runs an engine's future with a deadline; a panic ends the request and nothing else.
pub(crate) async fn run<T: Send + 'static>(
    effect: Effect,
    request_id: &str,
    future: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let contained = AssertUnwindSafe(future).catch_unwind();
    let outcome = match effect {
        // The deadline and the client's leaving end the wait for it alone: a write must not stop
        // between two entries.
        Effect::MayWrite => {
            let task = tokio::spawn(contained);
            tokio::time::timeout(DEADLINE, task)
                .await
                .map(|joined| joined.unwrap_or_else(|error| Err(Box::new(error))))
        }
        Effect::Pure | Effect::CallsOut => tokio::time::timeout(DEADLINE, contained).await,
    };
    let failed = |how| Err(Error::Internal(format!("request {request_id} {how}")));
    match outcome {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => failed("panicked"),
        Err(_elapsed) => failed("took longer than 80 s"),
    }
}

/// A call's failure in a form that nobody answers by sending the request again: not the hosts'
/// clients, which repeat 412, 429 and 5xx, and not a standby's host, which forwards what meets the
/// read-only error.
fn unrepeatable(error: Error, request_id: &str) -> Error {
    const FAILED_DEPENDENCY: u16 = 424;
    match error {
        Error::Coded { status: 412 | 429 | 500.., message } => {
            Error::Coded { status: FAILED_DEPENDENCY, message }
        }
        Error::ReadOnly | Error::Storage(_) | Error::Internal(_) => {
            tracing::error!(request_id, cause = ?error, "a call ended without a result");
            Error::Coded {
                status: FAILED_DEPENDENCY,
                message: format!(
                    "outcome_unknown: the call failed inside the plugin, so it may have taken \
                     effect. Look before you repeat it; the server's log has the reason. \
                     (request_id {request_id})"
                ),
            }
        }
        Error::Coded { .. }
        | Error::Invalid(_)
        | Error::UnsupportedOperation
        | Error::UnsupportedPath => error,
    }
}

#[cfg(test)]
mod tests;
