//! One log line for each proxied request and each probe: who, where, what was decided, how it ended.

use std::time::Instant;

use http::Method;
use vault_sdk::Call;

use super::answer::ProxyResponse;
use super::credential::Credential;
use super::headers::parse_method;
use crate::error::{Code, Error};
use crate::name::Name;

/// The record of one request. It never holds a path, a query, a header or a body.
pub(super) struct Decision {
    request_id: String,
    entity: String,
    display_name: String,
    service: String,
    method: String,
    credential: String,
    rule: String,
    sending: bool,
    ended: bool,
    started: Instant,
}

impl Decision {
    pub(super) fn begin(call: &Call) -> Self {
        Self {
            request_id: call.id.clone(),
            entity: call.caller.entity_id.clone(),
            display_name: call.caller.display_name.clone(),
            // Also of a request that can't be read otherwise; what is neither a name nor a method
            // isn't worth a line of the log.
            service: Name::parse(call.fields.text("service"))
                .map_or_else(|_| String::new(), |name| name.to_string()),
            method: match call.fields.text("method") {
                "" => "GET".to_owned(),
                given => parse_method(given).map_or_else(|_| String::new(), |m| m.to_string()),
            },
            credential: String::new(),
            rule: String::new(),
            sending: false,
            ended: false,
            started: Instant::now(),
        }
    }

    /// The record of a probe, whose method the caller doesn't choose.
    pub(super) fn probe(call: &Call, method: &Method) -> Self {
        let mut decision = Self::begin(call);
        decision.method = method.to_string();
        decision
    }

    pub(super) fn uses(&mut self, credential: Option<&Credential>) {
        if let Some(credential) = credential {
            self.credential = format!("{} v{}", credential.name, credential.version);
        }
    }

    pub(super) fn allowed(&mut self, rule: Option<&str>) {
        self.rule = rule.unwrap_or_default().to_owned();
    }

    pub(super) fn sending(&mut self) {
        self.sending = true;
    }

    pub(super) fn end(&mut self, outcome: &Result<ProxyResponse, Error>) {
        self.ended = true;
        match outcome {
            Ok(response) => self.write("allowed", "", response.status()),
            Err(Error::Failure(failure)) => {
                let verdict = if self.sending { "failed" } else { "refused" };
                self.write(verdict, failure.code.as_str(), 0);
            }
            Err(Error::Storage(_) | Error::Internal(_)) => self.write("failed", "internal", 0),
        }
    }

    /// The end of a probe: what the upstream answered, or the code of what was in the way.
    pub(super) fn probed(&mut self, outcome: Result<u16, Code>) {
        self.ended = true;
        match outcome {
            Ok(status) => self.write("allowed", "probe", status),
            Err(code) => {
                let verdict = if self.sending { "failed" } else { "refused" };
                self.write(verdict, code.as_str(), 0);
            }
        }
    }

    fn write(&self, verdict: &str, reason: &str, status: u16) {
        tracing::info!(
            request_id = self.request_id,
            entity = self.entity,
            display_name = self.display_name,
            service = self.service,
            method = self.method,
            credential = self.credential,
            rule = self.rule,
            verdict,
            reason,
            status,
            duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            "proxy decision"
        );
    }
}

impl Drop for Decision {
    /// The caller left: the work was dropped where it stood.
    fn drop(&mut self) {
        if !self.ended {
            let reason = if self.sending { "caller left; outcome unknown" } else { "caller left" };
            self.write("cancelled", reason, 0);
        }
    }
}
