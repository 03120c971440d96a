//! Finds the server that a resource's URI belongs to, and keeps the URIs of several apart.
//!
//! A URI stands as the server gave it where no other server has the same. Otherwise each of them gets
//! a prefix: the service's name, `_` as `.`, then `+`: `linear+file:///notes.txt`. With its prefix
//! every URI is understood, whether it was listed with it or not.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Entry, Offer, matches};
use crate::catalog::{Catalog, ServiceName};

/// The resources and templates of all servers.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    /// Definitions of resources, in the order of their services.
    pub(crate) listed: Vec<Value>,
    /// Definitions of templates, in the order of their services.
    pub(crate) templates: Vec<Value>,
    owners: HashMap<String, Vec<ServiceName>>,
    /// Patterns of templates, and whose they are.
    patterns: Vec<(String, ServiceName)>,
    services: Vec<ServiceName>,
}

/// Why a URI belongs to no server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unresolved {
    /// No server has it.
    Unknown,
    /// These all might.
    Several(Vec<ServiceName>),
}

impl Resources {
    /// Gathers what the services of a catalog offer.
    pub(crate) fn of(catalog: Option<&Catalog>) -> Self {
        let services = catalog.into_iter().flat_map(Catalog::offers);
        let services = services.filter(|(_, offer)| has_resources(offer)).collect::<Vec<_>>();
        let mut resources = Self::default();
        for (service, offer) in &services {
            resources.services.push((*service).clone());
            for entry in &offer.resources {
                resources.owners.entry(entry.name.clone()).or_default().push((*service).clone());
            }
            for entry in &offer.templates {
                resources.patterns.push((pattern(&entry.name), (*service).clone()));
            }
        }
        let templates = resources.patterns.iter().fold(HashMap::new(), |mut count, (text, _)| {
            *count.entry(text.clone()).or_insert(0_usize) += 1;
            count
        });
        for (service, offer) in services {
            for entry in &offer.resources {
                let shared = resources.owners.get(&entry.name).is_some_and(|all| all.len() > 1);
                resources.listed.push(definition(service, entry, "uri", shared));
            }
            for entry in &offer.templates {
                let shared = templates.get(&pattern(&entry.name)).is_some_and(|count| *count > 1);
                resources.templates.push(definition(service, entry, "uriTemplate", shared));
            }
        }
        resources
    }

    /// Whether there is a server with resources.
    pub(crate) fn is_empty(&self) -> bool {
        self.services.is_empty()
    }

    /// The service that a URI belongs to, the URI as its server knows it, and what was before it.
    ///
    /// # Errors
    ///
    /// [`Unresolved`] where none is listed with it, none has a template for it, and there is more
    /// than one.
    pub(crate) fn resolve(&self, uri: &str) -> Result<(ServiceName, String, String), Unresolved> {
        let whole = |service: &ServiceName| Ok((service.clone(), uri.to_owned(), String::new()));
        match self.owners.get(uri).map(Vec::as_slice) {
            Some([owner]) => return whole(owner),
            Some(owners) => return Err(Unresolved::Several(owners.to_vec())),
            None => {}
        }
        for service in &self.services {
            let prefix = prefix(service);
            if let Some(rest) = uri.strip_prefix(&prefix) {
                return Ok((service.clone(), rest.to_owned(), prefix));
            }
        }
        let fits = |(pattern, _): &&(String, ServiceName)| matches(pattern, uri);
        let mut fitting = self.patterns.iter().filter(fits).map(|(_, s)| s).collect::<Vec<_>>();
        fitting.dedup();
        match (&fitting[..], &self.services[..]) {
            ([service], _) => whole(service),
            // A resource needn't be listed (resources, "User Interaction Model").
            ([], [service]) => whole(service),
            ([], []) => Err(Unresolved::Unknown),
            ([], all) => Err(Unresolved::Several(all.to_vec())),
            (several, _) => {
                Err(Unresolved::Several(several.iter().map(|s| (*s).clone()).collect()))
            }
        }
    }
}

/// What stands before a URI to say whose it is. A scheme has no underscore (RFC 3986, section 3.1),
/// and a service's name no dot.
pub(crate) fn prefix(service: &ServiceName) -> String {
    format!("{}+", service.as_str().replace('_', "."))
}

fn has_resources(offer: &Offer) -> bool {
    !offer.resources.is_empty() || !offer.templates.is_empty()
}

fn definition(service: &ServiceName, entry: &Arc<Entry>, field: &str, shared: bool) -> Value {
    let mut definition = entry.definition.clone();
    if shared {
        let uri = format!("{}{}", prefix(service), entry.name);
        definition.insert(field.to_owned(), Value::from(uri));
    }
    Value::Object(definition)
}

/// What the URIs of a template (RFC 6570) look like, with `*` in each expression's place.
fn pattern(template: &str) -> String {
    let mut pattern = String::new();
    let mut rest = template;
    while let Some((before, after)) = rest.split_once('{') {
        pattern.push_str(before);
        pattern.push('*');
        rest = after.split_once('}').map_or("", |(_, rest)| rest);
    }
    pattern + rest
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn resources(services: Value) -> Resources {
        let services = services.as_object().unwrap().iter().map(|(name, lists)| {
            let entries = |list: &Value| {
                let uris = list.as_array().cloned().unwrap_or_default();
                uris.iter()
                    .map(|uri| {
                        json!({ "name": uri, "definition": { "uri": uri, "uriTemplate": uri } })
                    })
                    .collect::<Vec<_>>()
            };
            json!({ "name": name, "type": "mcp",
                    "offer": { "resources": entries(&lists[0]), "templates": entries(&lists[1]) } })
        });
        let catalog = json!({ "services": services.collect::<Vec<_>>() });
        Resources::of(Some(&serde_json::from_value(catalog).unwrap()))
    }

    fn check(resources: &Resources, uri: &str, service: &str, there: &str) {
        let (found, uri, _) = resources.resolve(uri).unwrap();
        assert_eq!((found.as_str(), &*uri), (service, there));
    }

    #[test]
    fn a_uri_stands_as_it_is_unless_two_servers_have_it() {
        let both = resources(json!({
            "a_b": [["file:///x", "a://1"], ["note://{id}"]],
            "c": [["file:///x"], ["note://{name}", "c://{+path}/raw"]],
        }));
        let uris = both.listed.iter().map(|d| d["uri"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(uris, ["a.b+file:///x", "a://1", "c+file:///x"]);
        let templates = both.templates.iter().map(|d| d["uriTemplate"].as_str().unwrap());
        assert_eq!(
            templates.collect::<Vec<_>>(),
            ["a.b+note://{id}", "c+note://{name}", "c://{+path}/raw"]
        );
        check(&both, "a://1", "a_b", "a://1");
        check(&both, "a.b+file:///x", "a_b", "file:///x");
        check(&both, "c+file:///x", "c", "file:///x");
        check(&both, "c+note://7", "c", "note://7");
        check(&both, "c://p/q/raw", "c", "c://p/q/raw");
        check(&both, "c+a://1", "c", "a://1");
        for shared in ["file:///x", "note://7", "other://1"] {
            assert!(
                matches!(both.resolve(shared), Err(Unresolved::Several(all)) if all.len() == 2)
            );
        }
    }

    #[test]
    fn the_only_server_gets_what_nobody_listed() {
        let one = resources(json!({ "a": [["a://1"], []], "b": [[], []] }));
        check(&one, "a://2", "a", "a://2");
        let none = resources(json!({ "b": [[], []] }));
        assert!(none.is_empty());
        assert_eq!(none.resolve("a://1"), Err(Unresolved::Unknown));
    }
}
