//! Asks Vault which services and methods this token may use.

use std::collections::HashMap;

use serde::Deserialize;

use super::{Method, ServiceName};
use crate::config::Mount;
use crate::vault::{Request, Session, SessionError};

/// The most paths in one question: OpenBao refuses bodies of over 1,000 strings.
const BATCH: usize = 400;

/// What this token may do, remembered for the token's life.
#[derive(Debug, Default)]
pub(super) struct Capabilities {
    generation: u64,
    permitted: HashMap<ServiceName, Vec<Method>>,
}

#[derive(Deserialize)]
struct Answer {
    data: HashMap<String, Vec<String>>,
}

impl Capabilities {
    /// Forgets what is known of a service, for example after a surprising 403.
    pub(super) fn forget(&mut self, name: &ServiceName) {
        self.permitted.remove(name);
    }

    /// Forgets the services of which nothing is permitted, as many as one question can ask of
    /// again.
    pub(super) fn forget_refused(&mut self) {
        let refused = self.permitted.iter().filter(|(_, methods)| methods.is_empty());
        let refused = refused.map(|(name, _)| name.clone());
        for name in refused.take(BATCH / Method::ALL.len()).collect::<Vec<_>>() {
            self.forget(&name);
        }
    }

    /// Learns what isn't known yet of some services.
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
        if self.generation != session.generation() {
            self.permitted.clear();
        }
        let unknown =
            names.filter(|name| !self.permitted.contains_key(name)).cloned().collect::<Vec<_>>();
        for batch in unknown.chunks(BATCH / Method::ALL.len()) {
            let paths = batch
                .iter()
                .flat_map(|name| Method::ALL.map(|method| path(mount, name, method)))
                .collect::<Vec<_>>();
            let body = serde_json::json!({ "paths": paths }).to_string();
            let request = Request::post("sys/capabilities-self", body).asking_on();
            let reply = session.request(&request).await?;
            let answer = match reply.status {
                200 => serde_json::from_slice::<Answer>(&reply.body).ok().map(|a| a.data),
                status => {
                    tracing::warn!(status, "Vault doesn't tell what this token may do");
                    None
                }
            };
            for name in batch {
                let permitted = match &answer {
                    None => Method::ALL.to_vec(),
                    Some(capabilities) => Method::ALL
                        .into_iter()
                        .filter(|method| {
                            capabilities.get(&path(mount, name, *method)).is_some_and(|held| {
                                held.iter().any(|c| c == "update" || c == "root")
                            })
                        })
                        .collect(),
                };
                self.permitted.insert(name.clone(), permitted);
            }
        }
        // A login in between may have changed the token: what was learned then belongs to either.
        self.generation = session.generation();
        Ok(())
    }

    /// The methods that are known to be permitted.
    pub(super) fn permitted(&self, name: &ServiceName) -> Vec<Method> {
        self.permitted.get(name).cloned().unwrap_or_default()
    }
}

fn path(mount: &Mount, name: &ServiceName, method: Method) -> String {
    format!("{mount}/proxy/{name}/{method}")
}
