//! One log line for each proxied request and each probe: who, where, what was decided, how it ended.

use std::time::Instant;

use http::Method;
use vault_sdk::Call;

use super::answer::ProxyResponse;
use super::credential::Credential;
use super::headers::parse_method;
use crate::error::{Code, Error};
use crate::mcp::segment::is_segment;
use crate::name::Name;

/// The record of one request. It never holds a path, a query, a header or a body.
pub(crate) struct Decision {
    request_id: String,
    entity: String,
    display_name: String,
    service: String,
    method: String,
    /// The segment of a tool or prompt; empty for all else.
    named: String,
    credential: String,
    rule: String,
    sending: bool,
    ended: bool,
    started: Instant,
}

impl Decision {
    pub(crate) fn begin(call: &Call) -> Self {
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
            named: String::new(),
            credential: String::new(),
            rule: String::new(),
            sending: false,
            ended: false,
            started: Instant::now(),
        }
    }

    /// The record of a probe, whose method the caller doesn't choose.
    pub(crate) fn probe(call: &Call, method: &Method) -> Self {
        let mut decision = Self::begin(call);
        decision.method = method.to_string();
        decision
    }

    /// The record of a call to an MCP server.
    pub(crate) fn message(call: &Call, method: &str, named: &str) -> Self {
        let mut decision = Self::begin(call);
        decision.method = method.to_owned();
        // What is no segment isn't worth a line of the log.
        if is_segment(named) {
            decision.named = named.to_owned();
        }
        decision
    }

    /// The end of a call to an MCP server, which gave a result or an error of its own.
    pub(crate) fn answered(&mut self, outcome: Result<bool, &Error>) {
        self.ended = true;
        match outcome {
            Ok(true) => self.write("allowed", "", 0),
            Ok(false) => self.write("allowed", "rpc_error", 0),
            Err(error) => self.failed(error),
        }
    }

    fn failed(&self, error: &Error) {
        match error {
            Error::Failure(failure) => {
                let verdict = if self.sending { "failed" } else { "refused" };
                self.write(verdict, failure.code.as_str(), 0);
            }
            Error::Storage(_) | Error::Internal(_) => self.write("failed", "internal", 0),
        }
    }

    pub(crate) fn uses(&mut self, credential: Option<&Credential>) {
        if let Some(credential) = credential {
            self.credential = format!("{} v{}", credential.name, credential.version);
        }
    }

    pub(crate) fn allowed(&mut self, rule: Option<&str>) {
        self.rule = rule.unwrap_or_default().to_owned();
    }

    pub(crate) fn sending(&mut self) {
        self.sending = true;
    }

    pub(crate) fn end(&mut self, outcome: &Result<ProxyResponse, Error>) {
        self.ended = true;
        match outcome {
            Ok(response) => self.write("allowed", "", response.status()),
            Err(error) => self.failed(error),
        }
    }

    /// The end of a probe: what the upstream answered, or the code of what was in the way.
    pub(crate) fn probed(&mut self, outcome: Result<u16, Code>) {
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
            named = self.named,
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
