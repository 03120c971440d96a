//! Asks Vault which services and methods this token may use.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Method, ServiceName, Use};
use crate::config::Mount;
use crate::vault::{Request, Session, SessionError};

/// The most paths in one question: OpenBao refuses bodies of over 1,000 strings.
const BATCH: usize = 400;

/// What this token may do, remembered for the token's life.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    generation: u64,
    permitted: HashMap<ServiceName, Vec<Method>>,
    /// The same of MCP servers, whose uses are as many as their tools.
    uses: HashMap<ServiceName, HashMap<Use, bool>>,
}

#[derive(Deserialize)]
struct Answer {
    data: HashMap<String, Vec<String>>,
}

impl Capabilities {
    /// Forgets what is known of a service, for example after a surprising 403.
    pub(super) fn forget(&mut self, name: &ServiceName) {
        self.permitted.remove(name);
        self.uses.remove(name);
    }

    /// Forgets what isn't permitted, as much as one question can ask of again: services of which
    /// nothing is, and single uses of MCP servers.
    pub(super) fn forget_refused(&mut self) {
        let refused = self.permitted.iter().filter(|(_, methods)| methods.is_empty());
        let refused = refused.map(|(name, _)| name.clone());
        for name in refused.take(BATCH / Method::ALL.len()).collect::<Vec<_>>() {
            self.permitted.remove(&name);
        }
        let mut room = BATCH;
        for uses in self.uses.values_mut() {
            uses.retain(|_, permitted| {
                let keep = *permitted || room == 0;
                room -= usize::from(!keep);
                keep
            });
        }
    }

    /// Learns what isn't known yet of some HTTP services.
    ///
    /// # Errors
    ///
    /// [`SessionError`] if Vault can't be asked. What Vault refuses to tell counts as permitted:
    /// Vault decides again on the call.
    pub(super) async fn learn(
        &mut self,
        session: &Session,
        mount: &Mount,
        names: impl Iterator<Item = &ServiceName>,
    ) -> Result<(), SessionError> {
        self.outlive(session);
        let unknown =
            names.filter(|name| !self.permitted.contains_key(name)).cloned().collect::<Vec<_>>();
        for batch in unknown.chunks(BATCH / Method::ALL.len()) {
            let path = |name: &ServiceName, method| Use::Method(method).path(mount, name);
            let paths = batch.iter().flat_map(|name| Method::ALL.map(|method| path(name, method)));
            let held = ask(session, paths.collect()).await?;
            for name in batch {
                let permitted =
                    Method::ALL.into_iter().filter(|method| held.update(&path(name, *method)));
                self.permitted.insert(name.clone(), permitted.collect());
            }
        }
        // A login in between may have changed the token: what was learned then belongs to either.
        self.generation = session.generation();
        Ok(())
    }

    /// Learns what isn't known yet of some uses of MCP servers.
    ///
    /// # Errors
    ///
    /// As [`Self::learn`].
    pub(super) async fn learn_uses(
        &mut self,
        session: &Session,
        mount: &Mount,
        wanted: Vec<(&ServiceName, Use)>,
    ) -> Result<(), SessionError> {
        self.outlive(session);
        let unknown = wanted
            .into_iter()
            .filter(|(name, one)| !self.uses.get(name).is_some_and(|uses| uses.contains_key(one)));
        let unknown = unknown.collect::<Vec<_>>();
        for batch in unknown.chunks(BATCH) {
            let paths = batch.iter().map(|(name, one)| one.path(mount, name)).collect();
            let held = ask(session, paths).await?;
            for (name, one) in batch {
                let permitted = held.update(&one.path(mount, name));
                self.uses.entry((*name).clone()).or_default().insert(one.clone(), permitted);
            }
        }
        self.generation = session.generation();
        Ok(())
    }

    /// Forgets all when the token is another.
    fn outlive(&mut self, session: &Session) {
        if self.generation != session.generation() {
            self.permitted.clear();
            self.uses.clear();
        }
    }

    /// Whether a use is known to be permitted.
    pub(super) fn may(&self, name: &ServiceName, one: &Use) -> bool {
        self.uses.get(name).and_then(|uses| uses.get(one)).copied().unwrap_or_default()
    }

    /// The methods that are known to be permitted.
    pub(super) fn permitted(&self, name: &ServiceName) -> Vec<Method> {
        self.permitted.get(name).cloned().unwrap_or_default()
    }
}

/// What Vault says of some paths; none where it doesn't tell.
struct Held(Option<HashMap<String, Vec<String>>>);

impl Held {
    fn update(&self, path: &str) -> bool {
        self.0.as_ref().is_none_or(|paths| {
            let held = paths.get(path).map(Vec::as_slice).unwrap_or_default();
            held.iter().any(|capability| capability == "update" || capability == "root")
        })
    }
}

async fn ask(session: &Session, paths: Vec<String>) -> Result<Held, SessionError> {
    let body = serde_json::json!({ "paths": paths }).to_string();
    let request = Request::post("sys/capabilities-self", body).asking_on();
    let reply = session.request(&request).await?;
    Ok(Held(match reply.status {
        200 => serde_json::from_slice::<Answer>(&reply.body).ok().map(|answer| answer.data),
        status => {
            tracing::warn!(status, "Vault doesn't tell what this token may do");
            None
        }
    }))
}
