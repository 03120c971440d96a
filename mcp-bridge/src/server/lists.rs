//! Knows what a client has listed, and tells it when that is out of date.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;

use crate::catalog::Snapshot;
use crate::tools::Tools;
use crate::upstream::Resources;

/// What can be listed, as definitions.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Lists {
    pub(super) tools: Vec<Value>,
    pub(super) prompts: Vec<Value>,
    pub(super) resources: Vec<Value>,
    pub(super) templates: Vec<Value>,
}

/// One of the lists that have a notification of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// Of tools.
    Tools,
    /// Of prompts.
    Prompts,
    /// Of resources and of their templates.
    Resources,
}

impl Lists {
    /// The lists that belong to what is known.
    pub(super) fn of(tools: &Tools, snapshot: &Snapshot) -> Self {
        let Resources { listed, templates, .. } = Resources::of(snapshot.catalog.as_deref());
        Self {
            tools: tools.definitions(snapshot),
            prompts: Tools::prompts(snapshot),
            resources: listed,
            templates,
        }
    }
}

/// What a client got last of each list; none where it never asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Listed(Arc<Mutex<Got>>);

#[derive(Debug, Default)]
struct Got {
    tools: Option<Vec<Value>>,
    prompts: Option<Vec<Value>>,
    resources: Option<Vec<Value>>,
    templates: Option<Vec<Value>>,
}

impl Listed {
    /// Takes note that a client got a list.
    pub(super) fn tools(&self, list: &[Value]) {
        self.got().tools = Some(list.to_vec());
    }

    /// Takes note that a client got a list.
    pub(super) fn prompts(&self, list: &[Value]) {
        self.got().prompts = Some(list.to_vec());
    }

    /// Takes note that a client got a list.
    pub(super) fn resources(&self, list: &[Value]) {
        self.got().resources = Some(list.to_vec());
    }

    /// Takes note that a client got a list.
    pub(super) fn templates(&self, list: &[Value]) {
        self.got().templates = Some(list.to_vec());
    }

    /// The lists that are others now than a moment ago, and than the client has them. Who has listed
    /// nothing yet has nothing that is out of date.
    fn outdated(&self, before: &Lists, now: &Lists) -> Vec<List> {
        let got = self.got();
        let changed = |before: &[Value], now: &[Value], got: &Option<Vec<Value>>| {
            before != now && got.as_ref().is_some_and(|got| got != now)
        };
        let tools = changed(&before.tools, &now.tools, &got.tools);
        let prompts = changed(&before.prompts, &now.prompts, &got.prompts);
        let resources = changed(&before.resources, &now.resources, &got.resources)
            || changed(&before.templates, &now.templates, &got.templates);
        let all = [(List::Tools, tools), (List::Prompts, prompts), (List::Resources, resources)];
        all.into_iter().filter(|(_, changed)| *changed).map(|(list, _)| list).collect()
    }

    /// Tells of the lists that are out of date.
    pub(super) async fn tell<F, E>(
        &self,
        before: &Lists,
        now: &Lists,
        mut tell: impl FnMut(List) -> F,
    ) -> Result<(), E>
    where
        F: Future<Output = Result<(), E>>,
    {
        for list in self.outdated(before, now) {
            tell(list).await?;
        }
        Ok(())
    }

    fn got(&self) -> std::sync::MutexGuard<'_, Got> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
