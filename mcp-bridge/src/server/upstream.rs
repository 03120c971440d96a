//! Answers requests for prompts and resources by the MCP servers that have them.

use rmcp::model::{
    ErrorData, GetPromptRequestMethod, GetPromptRequestParams, ProtocolVersion,
    ReadResourceRequestMethod, ReadResourceRequestParams,
};
use serde_json::{Value, json};

use super::Handler;
use crate::catalog::Use;
use crate::error::CallError;
use crate::tools::{Tools, passed_on, refusal, unreadable};
use crate::upstream::{
    Call, Given, Outcome, Resources, Unresolved, prefix, resource_result, result, send,
};

impl Handler {
    /// Gets a prompt; gives the text of its result.
    pub(super) async fn prompt(
        &self,
        request: GetPromptRequestParams,
        revision: ProtocolVersion,
    ) -> Result<String, ErrorData> {
        let Some((service, one)) = self.tools.find_prompt(&request.name) else {
            if Tools::prompts(&self.store.snapshot()).is_empty() {
                return Err(ErrorData::method_not_found::<GetPromptRequestMethod>());
            }
            let text = format!("Unknown prompt: {}", request.name);
            return Err(ErrorData::invalid_params(text, None));
        };
        let arguments = Value::Object(request.arguments.unwrap_or_default()).to_string();
        let call = Call { service, one, given: Given::Arguments(arguments) };
        self.ask(&call, &revision, |text| result(text, &revision)).await
    }

    /// Reads a resource; gives the text of its result.
    pub(super) async fn resource(
        &self,
        request: ReadResourceRequestParams,
        revision: ProtocolVersion,
    ) -> Result<String, ErrorData> {
        let resources = Resources::of(self.store.snapshot().catalog.as_deref());
        if resources.is_empty() {
            return Err(ErrorData::method_not_found::<ReadResourceRequestMethod>());
        }
        let (service, uri, before) = resources.resolve(&request.uri).map_err(|unresolved| {
            let text = match &unresolved {
                Unresolved::Unknown => "There is no such resource.".to_owned(),
                Unresolved::Several(services) => {
                    let uris =
                        services.iter().map(|name| format!("{}{}", prefix(name), request.uri));
                    let uris = uris.collect::<Vec<_>>().join(" or ");
                    format!("Several services may have it. Say which: {uris}")
                }
            };
            ErrorData::resource_not_found(text, Some(json!({ "uri": request.uri })))
        })?;
        let prefixed = (!before.is_empty()).then(|| service.clone());
        let call = Call { service, one: Use::Resources, given: Given::Uri(uri) };
        let shape = |text: &str| resource_result(text, &revision, prefixed.as_ref());
        self.ask(&call, &revision, shape).await
    }

    async fn ask(
        &self,
        call: &Call,
        revision: &ProtocolVersion,
        shape: impl Fn(&str) -> Option<String>,
    ) -> Result<String, ErrorData> {
        let answer = send(&self.store, call, revision.as_str()).await;
        match answer.map_err(|failed| error(&failed))?.outcome {
            Outcome::Result(text) => {
                shape(&text).ok_or_else(|| error(&unreadable(&self.store, call)))
            }
            Outcome::Error(failed) => Err(passed_on(&failed).unwrap_or_else(|| {
                ErrorData::internal_error(refusal(&call.service, &failed), None)
            })),
        }
    }
}

/// An error where a result can't tell of one.
pub(super) fn error(error: &CallError) -> ErrorData {
    ErrorData::internal_error(error.message(), None)
}
