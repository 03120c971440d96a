//! Finds the server that a resource's URI belongs to, and keeps the URIs of several apart.
//!
//! A URI stands as the server gave it where it can be no other server's: none lists it, none has a
//! template for it, and it doesn't begin like a prefix. Otherwise it gets one: the service's name, `_`
//! as `.`, then `+`: `linear+file:///notes.txt`. With its prefix every URI is understood, whether it
//! was listed with it or not, and nothing that a server lists comes before that.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

use super::{Entry, Offer, matches};
use crate::catalog::{Catalog, Kind, ServiceName};

/// The resources and templates of all servers.
#[derive(Debug, Default)]
pub(crate) struct Resources {
    /// Definitions of resources, in the order of their services.
    pub(crate) listed: Vec<Value>,
    /// Definitions of templates, in the order of their services.
    pub(crate) templates: Vec<Value>,
    /// What is listed, and by whom.
    owners: HashMap<String, Vec<ServiceName>>,
    /// Patterns of templates that tell whose a URI is, and whose they are.
    patterns: HashMap<String, Vec<ServiceName>>,
    /// The servers with resources.
    services: Vec<ServiceName>,
    /// All servers, by what stands before the `+` of their prefix: one that offers nothing now, or
    /// nothing to this agent, keeps its own.
    prefixes: HashMap<String, ServiceName>,
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
        let mut resources = Self::default();
        let all = catalog.into_iter().flat_map(|catalog| &catalog.services);
        for service in all.filter(|service| service.kind == Kind::Mcp) {
            resources.prefixes.insert(scheme(&service.name), service.name.clone());
        }
        let offers = catalog.into_iter().flat_map(Catalog::offers);
        let offers = offers.filter(|(_, offer)| has_resources(offer)).collect::<Vec<_>>();
        for (service, offer) in &offers {
            resources.services.push((*service).clone());
            for entry in &offer.resources {
                own(&mut resources.owners, entry.name.clone(), service);
            }
            let telling = offer.templates.iter().filter_map(|entry| resources.telling(entry));
            for pattern in telling.take(MAX_PATTERNS).collect::<Vec<_>>() {
                own(&mut resources.patterns, pattern, service);
            }
        }
        for (service, offer) in offers {
            for entry in &offer.resources {
                let alone = resources.prefixed(&entry.name).is_none()
                    && resources.having(&entry.name) == [service];
                resources.listed.push(definition(service, entry, "uri", !alone));
            }
            for entry in &offer.templates {
                let pattern = resources.telling(entry);
                let owners = pattern.and_then(|pattern| resources.patterns.get(&pattern));
                let alone = owners.is_some_and(|owners| owners.iter().eq([service]));
                resources.templates.push(definition(service, entry, "uriTemplate", !alone));
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
    /// [`Unresolved`] where several list it or have a template for it, where none does and there is
    /// more than one, and where its prefix is that of a server without resources.
    pub(crate) fn resolve(&self, uri: &str) -> Result<(ServiceName, String, String), Unresolved> {
        if let Some((service, rest)) = self.prefixed(uri) {
            if !self.services.contains(service) {
                return Err(Unresolved::Unknown);
            }
            return Ok((service.clone(), rest.to_owned(), prefix(service)));
        }
        let whole = |service: &ServiceName| Ok((service.clone(), uri.to_owned(), String::new()));
        match (&self.having(uri)[..], &self.services[..]) {
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

    /// Whose prefix a URI begins with, in any case as schemes are (RFC 3986, section 3.1), and what
    /// comes after it.
    fn prefixed<'u>(&self, uri: &'u str) -> Option<(&ServiceName, &'u str)> {
        let (before, rest) = uri.split_once('+')?;
        Some((self.prefixes.get(&before.to_ascii_lowercase())?, rest))
    }

    /// Who lists a URI without a prefix, or has a template for it.
    fn having(&self, uri: &str) -> Vec<&ServiceName> {
        let fitting = self.patterns.iter().filter(|(pattern, _)| matches(pattern, uri));
        let fitting = fitting.flat_map(|(_, services)| services);
        let mut having =
            self.owners.get(uri).into_iter().flatten().chain(fitting).collect::<Vec<_>>();
        having.sort_unstable();
        having.dedup();
        having
    }

    /// The pattern of a template that tells whose a URI without a prefix is. One that leaves the
    /// scheme open would fit the URIs of every other server.
    fn telling(&self, template: &Entry) -> Option<String> {
        let pattern = pattern(&template.name);
        let (scheme, _) = pattern.split_once(':')?;
        let sound = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
        (scheme.chars().all(sound) && self.prefixed(&pattern).is_none()).then_some(pattern)
    }
}

fn own(owners: &mut HashMap<String, Vec<ServiceName>>, what: String, service: &ServiceName) {
    let owners = owners.entry(what).or_default();
    if owners.last() != Some(service) {
        owners.push(service.clone());
    }
}

/// What stands before a URI to say whose it is. A scheme has no underscore (RFC 3986, section 3.1),
/// and a service's name no dot.
pub(crate) fn prefix(service: &ServiceName) -> String {
    format!("{}+", scheme(service))
}

fn scheme(service: &ServiceName) -> String {
    service.as_str().replace('_', ".")
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

/// How many templates of one server tell whose a URI is: each is tried on all that is listed.
const MAX_PATTERNS: usize = 64;

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
    fn no_server_gets_what_was_meant_for_another() {
        let hostile = resources(json!({
            "a_b": [["file:///x", "log:1"], ["note://{id}"]],
            "evil": [
                ["a.b+file:///x", "A.B+file:///x", "evil+own", "note://7", "free:1", "free:1"],
                ["{+all}", "a.b+file:///{p}", "a.b{+rest}", "log:{n}", "free:{n}", "free:{m}"],
            ],
        }));
        let uris = hostile.listed.iter().map(|d| d["uri"].as_str().unwrap()).collect::<Vec<_>>();
        assert_eq!(
            uris,
            [
                "file:///x",
                "a.b+log:1",
                "evil+a.b+file:///x",
                "evil+A.B+file:///x",
                "evil+evil+own",
                "evil+note://7",
                "free:1",
                "free:1",
            ]
        );
        let templates = hostile.templates.iter().map(|d| d["uriTemplate"].as_str().unwrap());
        assert_eq!(
            templates.collect::<Vec<_>>(),
            [
                "note://{id}",
                "evil+{+all}",
                "evil+a.b+file:///{p}",
                "evil+a.b{+rest}",
                "log:{n}",
                "free:{n}",
                "free:{m}",
            ]
        );
        // A prefix comes before all that was listed, in any case (RFC 3986, section 3.1).
        check(&hostile, "a.b+file:///x", "a_b", "file:///x");
        check(&hostile, "A.B+file:///x", "a_b", "file:///x");
        check(&hostile, "evil+a.b+file:///x", "evil", "a.b+file:///x");
        check(&hostile, "evil+evil+own", "evil", "evil+own");
        check(&hostile, "file:///x", "a_b", "file:///x");
        check(&hostile, "note://8", "a_b", "note://8");
        check(&hostile, "free:2", "evil", "free:2");
        // What one lists and another has a template for, and what nobody said to have.
        for unclear in ["log:1", "note://7", "file:///y"] {
            let found = hostile.resolve(unclear);
            assert!(matches!(found, Err(Unresolved::Several(all)) if all.len() == 2), "{unclear}");
        }
    }

    #[test]
    fn a_prefix_is_kept_for_a_server_that_offers_nothing_now() {
        let gone = resources(json!({ "evil": [["a+file:///x"], []], "a": [[], []] }));
        assert_eq!(gone.listed[0]["uri"], "evil+a+file:///x");
        assert_eq!(gone.resolve("a+file:///x"), Err(Unresolved::Unknown));
        check(&gone, "evil+a+file:///x", "evil", "a+file:///x");
    }

    #[test]
    fn templates_beyond_a_bound_want_their_prefix() {
        let many = (0..=MAX_PATTERNS).map(|i| format!("t{i}:{{x}}")).collect::<Vec<_>>();
        let many = resources(json!({ "a": [[], many], "b": [["b:1"], []] }));
        let prefixed = |d: &&Value| d["uriTemplate"].as_str().unwrap().starts_with("a+");
        assert_eq!(many.templates.iter().filter(prefixed).count(), 1);
        check(&many, "t0:1", "a", "t0:1");
        check(&many, &format!("a+t{MAX_PATTERNS}:1"), "a", &format!("t{MAX_PATTERNS}:1"));
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
