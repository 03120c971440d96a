//! Reads what MCP servers offer, and keeps what was last seen where that can't be read.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};

use super::{Catalog, Details, Kind, ServiceName, Store, Use};
use crate::upstream::{Entry, Offer, offer};
use crate::vault::{self, Request};

/// What is known of all MCP servers.
#[derive(Debug, Default)]
pub(super) struct Offers {
    known: HashMap<ServiceName, Known>,
    /// The catalog's revision that was last begun with.
    revision: String,
}

/// What is known of one.
#[derive(Debug, Default)]
struct Known {
    /// What it offers, whether this token may use it or not; none if that was never read, or may
    /// not be.
    offer: Option<Arc<Offer>>,
    /// When it was read, and at which revision of the catalog; none until it was.
    read: Option<(String, Instant)>,
}

/// What the engine said of a server: none where it may not be read.
pub(super) type Read = (ServiceName, Option<Offer>);

impl Offers {
    /// Begins with a catalog: forgets the servers that aren't in it, takes from the one before what
    /// was never read in this process's life, and names those that are to be read.
    pub(super) fn begin(
        &mut self,
        catalog: &Catalog,
        before: Option<&Catalog>,
    ) -> Vec<ServiceName> {
        let servers = || catalog.services.iter().filter(|service| service.kind == Kind::Mcp);
        let names =
            servers().map(|service| &service.name).collect::<std::collections::HashSet<_>>();
        self.known.retain(|name, _| names.contains(name));
        self.revision.clone_from(&catalog.revision);
        for name in names {
            self.known.entry(name.clone()).or_insert_with(|| Known {
                offer: before.and_then(|before| before.find(name.as_str())?.offer.clone()),
                read: None,
            });
        }
        self.unread()
    }

    /// The servers that were not read since the catalog changed, or not for long: what the engine
    /// knows of a server it looks up when it is asked.
    pub(super) fn unread(&self) -> Vec<ServiceName> {
        let fresh = |known: &Known| {
            known
                .read
                .as_ref()
                .is_some_and(|(revision, at)| *revision == self.revision && at.elapsed() < MAX_AGE)
        };
        let unread = self.known.iter().filter(|(_, known)| !fresh(known));
        let mut unread = unread.map(|(name, _)| name.clone()).collect::<Vec<_>>();
        unread.sort();
        unread
    }

    /// Keeps what was read.
    pub(super) fn keep(&mut self, read: Vec<Read>) {
        for (name, offer) in read {
            if let Some(known) = self.known.get_mut(&name) {
                known.offer = offer.map(Arc::new);
                known.read = Some((self.revision.clone(), Instant::now()));
            }
        }
    }

    /// Everything that a token could use.
    pub(super) fn uses(&self) -> Vec<(&ServiceName, Use)> {
        let offers =
            self.known.iter().filter_map(|(name, known)| Some((name, known.offer.as_ref()?)));
        let mut uses = offers
            .flat_map(|(name, offer)| {
                let tools = offer.tools.iter().map(|tool| Use::Tool(tool.segment.clone()));
                let prompts = offer.prompts.iter().map(|one| Use::Prompt(one.segment.clone()));
                let some = !(offer.resources.is_empty() && offer.templates.is_empty());
                let resources = some.then_some(Use::Resources);
                tools.chain(prompts).chain(resources).map(move |one| (name, one))
            })
            .collect::<Vec<_>>();
        uses.sort_by_key(|(name, _)| *name);
        uses
    }

    /// What a server offers of which a token may use all.
    pub(super) fn permitted(
        &self,
        name: &ServiceName,
        may: impl Fn(&Use) -> bool,
    ) -> Option<Arc<Offer>> {
        let offer = self.known.get(name)?.offer.as_ref()?;
        let of = |entries: &[Arc<Entry>], kind: fn(String) -> Use| {
            let permitted = entries.iter().filter(|entry| may(&kind(entry.segment.clone())));
            permitted.cloned().collect::<Vec<_>>()
        };
        let readable = may(&Use::Resources);
        let located = |entries: &[Arc<Entry>]| if readable { entries.to_vec() } else { Vec::new() };
        Some(Arc::new(Offer {
            tools: of(&offer.tools, Use::Tool),
            prompts: of(&offer.prompts, Use::Prompt),
            resources: located(&offer.resources),
            templates: located(&offer.templates),
            stale: offer.stale,
        }))
    }
}

/// Reads what some servers offer, a few at a time, until all are read or the time is over. Those
/// that can't be read by then aren't in the answer.
pub(super) async fn read(store: &Store, names: Vec<ServiceName>, limit: Duration) -> Vec<Read> {
    let reading = stream::iter(names).map(|name| one(store, name)).buffer_unordered(AT_ONCE);
    let over = tokio::time::sleep(limit);
    let reading = reading.take_until(over);
    reading.filter_map(std::future::ready).collect().await
}

async fn one(store: &Store, name: ServiceName) -> Option<Read> {
    let request = Request::get(format!("{}/catalog/{name}", store.mount()));
    let reply = store.session().request(&request).await.ok()?;
    let read = match reply.status {
        200 => {
            vault::data::<Details>(&reply.body).map(|details| Some(offer(&name, &details.listed)))
        }
        // It may not be read, or is gone by now.
        403 | 404 => Some(None),
        _ => None,
    };
    if read.is_none() {
        tracing::debug!(service = %name, status = reply.status, "what it offers can't be read");
    }
    read.map(|offer| (name, offer))
}

/// How many servers are asked about at once.
const AT_ONCE: usize = 8;
/// How long what was read counts without a change of the catalog.
const MAX_AGE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalog(revision: &str, names: &[&str]) -> Catalog {
        let services = names.iter().map(|name| json!({ "name": name, "type": "mcp" }));
        let services = services.collect::<Vec<_>>();
        serde_json::from_value(json!({ "revision": revision, "services": services })).unwrap()
    }

    fn offering(tool: &str) -> Offer {
        let tool = json!({ "name": tool, "segment": tool, "definition": {} });
        serde_json::from_value(json!({ "tools": [tool] })).unwrap()
    }

    fn names(names: &[ServiceName]) -> Vec<&str> {
        names.iter().map(ServiceName::as_str).collect()
    }

    #[test]
    fn each_server_is_read_once_for_a_revision_and_what_was_seen_stays() {
        let mut offers = Offers::default();
        let [a, b] = ["a", "b"].map(|name| ServiceName::parse(name).unwrap());
        assert_eq!(names(&offers.begin(&catalog("1", &["a", "b"]), None)), ["a", "b"]);
        offers.keep(vec![(a.clone(), Some(offering("x")))]);
        assert_eq!(names(&offers.unread()), ["b"]);
        offers.keep(vec![(b.clone(), None)]);
        assert!(offers.begin(&catalog("1", &["a", "b"]), None).is_empty());
        // A change: nothing can be read, and all is as it was.
        assert_eq!(names(&offers.begin(&catalog("2", &["a", "b"]), None)), ["a", "b"]);
        assert_eq!(offers.permitted(&a, |_| true).unwrap().tools.len(), 1);
        assert_eq!(offers.permitted(&b, |_| true), None);
        assert!(offers.permitted(&a, |_| false).unwrap().is_empty());
        offers.begin(&catalog("3", &["b"]), None);
        assert_eq!(offers.permitted(&a, |_| true), None);
    }

    #[test]
    fn what_was_saved_serves_until_it_is_read_again() {
        let mut before = catalog("1", &["a"]);
        before.services[0].offer = Some(Arc::new(offering("x")));
        let mut offers = Offers::default();
        assert_eq!(names(&offers.begin(&catalog("1", &["a"]), Some(&before))), ["a"]);
        let a = ServiceName::parse("a").unwrap();
        assert_eq!(offers.permitted(&a, |_| true).unwrap().tools[0].name, "x");
    }
}
