//! Paths, declared once: pattern, fields, operations with their effect, help.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::error::Error;
use crate::field::Field;
use crate::operation::{Effect, Operation};
use crate::request::Call;
use crate::response::Response;
use crate::spec::Spec;

/// A boxed future, as handlers are kept.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Handler<B> = dyn Fn(Arc<B>, Call) -> BoxFuture<Result<Response, Error>> + Send + Sync;
type Exists<B> = dyn Fn(Arc<B>, Call) -> BoxFuture<Result<bool, Error>> + Send + Sync;

/// One operation of a path.
pub(crate) struct Endpoint<B> {
    pub(crate) effect: Effect,
    pub(crate) spec: Spec,
    pub(crate) handler: Arc<Handler<B>>,
}

/// One path of an engine `B`.
///
/// A pattern is segments with `/` between; a segment `:name` matches any one non-empty segment and
/// becomes a field of that name. A body field of the same name must be equal to it, so that what a
/// policy sees in the path is what happens.
pub struct Path<B> {
    pub(crate) segments: Vec<Segment>,
    pub(crate) pattern: &'static str,
    pub(crate) synopsis: &'static str,
    pub(crate) description: &'static str,
    pub(crate) fields: Vec<Field>,
    pub(crate) operations: BTreeMap<Operation, Endpoint<B>>,
    pub(crate) exists: Option<Arc<Exists<B>>>,
}

impl<B> std::fmt::Debug for Path<B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Path").field("pattern", &self.pattern).finish_non_exhaustive()
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    Literal(&'static str),
    Parameter(&'static str),
}

impl<B: Send + Sync + 'static> Path<B> {
    /// Declares a path with its one-line synopsis.
    pub fn new(pattern: &'static str, synopsis: &'static str) -> Self {
        let segments = pattern
            .split('/')
            .map(|segment| match segment.strip_prefix(':') {
                Some(name) => Segment::Parameter(name),
                None => Segment::Literal(segment),
            })
            .collect();
        Self {
            segments,
            pattern,
            synopsis,
            description: "",
            fields: Vec::new(),
            operations: BTreeMap::new(),
            exists: None,
        }
    }

    /// Adds the text that help shows below the synopsis.
    #[must_use]
    pub fn description(mut self, description: &'static str) -> Self {
        self.description = description;
        self
    }

    /// Declares the fields that writes take in their bodies; a path parameter is declared here too,
    /// for its help. What a read, list or delete takes in its query is declared with [`Spec::query`].
    #[must_use]
    pub fn fields(mut self, fields: impl IntoIterator<Item = Field>) -> Self {
        self.fields.extend(fields);
        self
    }

    /// Declares an operation: a summary will do, a [`Spec`] says what it takes and answers.
    #[must_use]
    pub fn operation<F, Fut>(
        mut self,
        operation: Operation,
        effect: Effect,
        spec: impl Into<Spec>,
        handler: F,
    ) -> Self
    where
        F: Fn(Arc<B>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        let handler: Arc<Handler<B>> =
            Arc::new(move |engine, call| Box::pin(handler(engine, call)));
        self.operations.insert(operation, Endpoint { effect, spec: spec.into(), handler });
        self
    }

    /// Declares `create` and `update` with one handler.
    #[must_use]
    pub fn write<F, Fut>(self, effect: Effect, spec: impl Into<Spec>, handler: F) -> Self
    where
        F: Fn(Arc<B>, Call) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = Result<Response, Error>> + Send + 'static,
    {
        let spec = spec.into();
        self.operation(Operation::Create, effect, spec.clone(), handler.clone()).operation(
            Operation::Update,
            effect,
            spec,
            handler,
        )
    }

    /// Declares how to tell `create` from `update`. It runs before the policy is checked: it must
    /// be cheap and answer nothing but yes or no.
    #[must_use]
    pub fn exists<F, Fut>(mut self, exists: F) -> Self
    where
        F: Fn(Arc<B>, Call) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, Error>> + Send + 'static,
    {
        self.exists = Some(Arc::new(move |engine, call| Box::pin(exists(engine, call))));
        self
    }

    /// Matches a concrete path and gives its parameters.
    pub(crate) fn matches<'p>(&self, path: &'p str) -> Option<Vec<(&'static str, &'p str)>> {
        let mut parameters = Vec::new();
        let mut parts = path.split('/');
        for segment in &self.segments {
            let part = parts.next()?;
            match segment {
                Segment::Literal(literal) if *literal == part => {}
                Segment::Parameter(name) if !part.is_empty() => parameters.push((*name, part)),
                Segment::Literal(_) | Segment::Parameter(_) => return None,
            }
        }
        parts.next().is_none().then_some(parameters)
    }

    /// The fields that one operation takes: those of its query, then the path's.
    pub(crate) fn fields_of(&self, operation: Operation) -> impl Iterator<Item = &Field> {
        let query = self.operations.get(&operation).map(|endpoint| &endpoint.spec.query);
        query.into_iter().flatten().chain(&self.fields)
    }

    /// The names of the path's parameters, in order.
    pub(crate) fn parameters(&self) -> impl Iterator<Item = &'static str> {
        self.segments.iter().filter_map(|segment| match segment {
            Segment::Literal(_) => None,
            Segment::Parameter(name) => Some(*name),
        })
    }
}
